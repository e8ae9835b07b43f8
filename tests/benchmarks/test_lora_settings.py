"""The measurements that docs/lora.md shows: they say what the document says."""

import re

import pytest

pytest.importorskip("peft", reason="the extra hf is not installed: make setup EXTRAS=dev,hf")

from benchmarks.lora_settings import (
    MEASURES,
    STEPS,
    WIDTH,
    measure_alpha,
    measure_bias,
    measure_dropout,
    measure_r,
    measure_task,
)


def numbers(row: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", row)]


def test_every_published_setting_is_measured() -> None:
    assert list(MEASURES) == ["r", "lora_alpha", "lora_dropout", "bias", "target_modules", "task_type"]


def test_r_is_the_rank_and_the_cost() -> None:
    for row in measure_r():
        r, weights, rank, width = numbers(row)
        assert rank <= r
        assert weights == 2 * r * (WIDTH + 3 * WIDTH)
        assert width == WIDTH


def test_twice_alpha_is_twice_the_rate_for_one_step_and_not_for_many() -> None:
    first, later = (numbers(row)[-2:] for row in measure_alpha())
    assert first == pytest.approx([2, 2], abs=0.05)
    assert abs(later[0] - later[1]) > 0.1
    assert STEPS[0] == 1


def test_dropout_is_for_training_only() -> None:
    training, evaluation = numbers(measure_dropout()[0])
    assert training > 0
    assert evaluation == 0


def test_no_bias_is_trained_unless_asked_for() -> None:
    none, lora_only, everywhere = (numbers(row)[-1] for row in measure_bias())
    assert none == 0 < lora_only < everywhere


def test_only_a_classifier_has_a_head_of_its_own() -> None:
    causal, classifier = measure_task()
    assert "all of the adapter" in causal
    assert "trains the head (score)" in classifier
