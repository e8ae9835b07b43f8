"""What the datasets keep: `</s>`, every example, and new batches each epoch."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairseq_tasks.batches import PairDataset, ShuffledDataset, TruncatedDataset
from sweeps.seeds import LARGEST, STRIDE, internal_seed
from tests.conftest import SIZES, Workspace
from tests.fairseq_tasks.plain import plain_settings, plain_task

EOS = 2


class Texts(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Texts of the given numbers of tokens, each closed by </s>."""

    def __init__(self, lengths: list[int]) -> None:
        self.sizes = np.array(lengths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([5 + index] * (self.sizes[index] - 1) + [EOS])

    def __len__(self) -> int:
        return len(self.sizes)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=10), st.integers(2, 20))
def test_a_cut_text_keeps_its_end_and_a_short_one_is_untouched(lengths: list[int], limit: int) -> None:
    texts = Texts(lengths)
    cut = TruncatedDataset(texts, limit)
    for index, length in enumerate(lengths):
        tokens = cut[index]
        assert len(tokens) == min(length, limit) == cut.size(index) == cut.num_tokens(index)
        assert tokens[-1] == EOS
        assert torch.equal(tokens[:-1], texts[index][: len(tokens) - 1])


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=8), st.integers(6, 40))
def test_a_pair_keeps_its_separators_and_the_start_of_both_texts(pairs: list[tuple[int, int]], limit: int) -> None:
    first, second = (Texts([pair[side] for pair in pairs]) for side in (0, 1))
    dataset = PairDataset(first, second, bos=0, limit=limit)
    for index in range(len(pairs)):
        tokens = dataset[index].tolist()
        assert len(tokens) == dataset.size(index) == dataset.num_tokens(index) <= limit
        assert tokens[0] == 0
        assert tokens.count(EOS) == 3
        assert tokens[-1] == EOS
        middle = tokens.index(EOS)
        assert tokens[middle + 1] == EOS
        assert tokens[1:middle] == first[index].tolist()[: middle - 1]
        assert tokens[middle + 2 : -1] == second[index].tolist()[: len(tokens) - middle - 3]


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    orders = set()
    for seed in (0, 1):
        dataset = ShuffledDataset(Texts([3] * 50), internal_seed(seed), reshuffle=True)
        for epoch in (1, 2, 3):
            dataset.set_epoch(epoch)
            order = dataset.ordered_indices()
            assert sorted(order) == list(range(50))
            orders.add(tuple(order))
    assert len(orders) == 6


def batches(task: Any, epoch: int) -> list[frozenset[int]]:
    iterator = task.get_batch_iterator(task.dataset("train"), max_sentences=8, seed=task.cfg.seed, epoch=epoch)
    return [frozenset(int(index) for index in batch["id"]) for batch in iterator.next_epoch_itr(shuffle=True)]


def test_batches_are_new_in_each_epoch_and_hold_every_example_once(workspace: Workspace, tmp_path: Path) -> None:
    task = plain_task(workspace, tmp_path)
    task.load_dataset("train")
    first, second = batches(task, 1), batches(task, 2)
    assert sorted(index for batch in first for index in batch) == list(range(SIZES["train"]))
    assert not set(first) & set(second)


def test_the_published_batches_are_fixed_and_only_their_order_changes(workspace: Workspace, tmp_path: Path) -> None:
    task = plain_task(workspace, tmp_path, "experiment=published")
    task.load_dataset("train")
    first, second = batches(task, 1), batches(task, 2)
    assert set(first) == set(second)
    assert first != second


def test_an_evaluation_batches_texts_of_like_length_and_scores_each_once(workspace: Workspace, tmp_path: Path) -> None:
    task = plain_task(workspace, tmp_path)
    for split in ("valid", "test"):
        task.load_dataset(split)
        iterator = task.get_batch_iterator(task.dataset(split), max_sentences=8)
        made = list(iterator.next_epoch_itr(shuffle=False))
        lengths = [int(length) for batch in made for length in batch["net_input"]["src_lengths"]]
        assert lengths == sorted(lengths)
        assert sorted(int(index) for batch in made for index in batch["id"]) == list(range(SIZES[split]))


def test_no_two_seeds_share_a_random_stream_within_the_stride() -> None:
    starts = [internal_seed(seed) for seed in range(LARGEST + 1)]
    assert min(b - a for a, b in pairwise(starts)) == STRIDE
    assert starts[-1] + STRIDE < 2**32  # numpy's limit


def test_neighbouring_seeds_and_steps_draw_different_dropout_masks(workspace: Workspace, tmp_path: Path) -> None:
    """Stock fairseq gives step k of seed 1 the masks of step k + 1 of seed 0."""
    from fairseq.trainer import Trainer

    masks = []
    for seed in (0, 1, 2):
        settings = plain_settings(workspace, tmp_path, f"seed={seed}")
        task = plain_task(workspace, tmp_path, f"seed={seed}")
        model = task.build_model(settings.model)
        trainer = Trainer(settings, task, model, task.build_criterion(settings.criterion))
        for step in range(4):
            trainer._num_updates = step
            trainer._set_seed()
            masks.append(tuple(torch.nn.functional.dropout(torch.ones(256), 0.5).tolist()))
    assert len(set(masks)) == len(masks)
