"""A fast tokenizer with the pieces, scores and normalisation of a sentencepiece model, and fairseq's ids.

transformers loads it as a plain `tokenizer.json`, without any code of this project. sentencepiece takes the longest
match of its rules at each character. The normaliser `Precompiled` takes whole grapheme clusters, and drops the text
that follows a match inside a cluster. So a control character is first put between all characters. The rules, or the
step after them, remove the control character. Before that, texts are put into NFC, as prep writes them: the rules match
several characters only in sequences that NFC composes. Only ties can still differ: `....` is `...` and `.`, or `.` and
`...`, with the same score, and sums in float32 and float64 choose differently.
"""

from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

from data_prep.binarise import SPECIAL, read_dictionary
from foundation.errors import UsageError

APART = "\x01"
META = "▁"
WRITTEN = r"(?<=<s|</s|<pad|<unk|<mask)>"  # the end of a special token's name in a text


def vocabulary(model_folder: Path, proto: Any) -> tuple[list[tuple[str, float]], dict[str, int]]:
    """Return (piece, score) in the order of fairseq's ids, and the id of each special symbol.

    A later line of dict.txt may repeat a symbol such as `<s>`, as in CamemBERT. The first entry is then called
    `<s>NOTUSED`. Raises `UsageError` when a piece of the sentencepiece model is not in dict.txt, because texts with
    this piece cannot get the same ids.
    """
    normal = sentencepiece_model_pb2.ModelProto.SentencePiece.NORMAL
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == normal}
    symbols = [*SPECIAL, *read_dictionary(model_folder / "dict.txt"), "<mask>"]
    ids = {symbol: index for index, symbol in enumerate(symbols)}
    missing = [piece for piece in scores if piece not in ids]
    if missing:
        raise UsageError(
            f"{len(missing)} pieces of {model_folder}'s sentencepiece model are not in its dict.txt, the "
            f"first {missing[0]!r}; transformers' tokenizer cannot give the same ids"
        )
    lowest = min(scores.values())
    named = [
        (symbol if ids[symbol] == index else f"{symbol}NOTUSED", scores.get(symbol, 0.0 if index < 4 else lowest))
        for index, symbol in enumerate(symbols)
    ]
    return named, {symbol: ids[symbol] for symbol in (*SPECIAL, "<mask>")}


def make_tokenizer(model_folder: Path, max_positions: int, has_mask: bool = True) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a fairseq folder, for texts of at most `max_positions` tokens.

    With `has_mask`, the string `<mask>` or `<s>` in a text is the special token, as the user of a masked LM expects.
    Without `has_mask`, for a classifier, the string is ordinary text, as it was during training.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((model_folder / "sentencepiece.bpe.model").read_bytes())
    if proto.trainer_spec.model_type != sentencepiece_model_pb2.TrainerSpec.UNIGRAM or proto.trainer_spec.byte_fallback:
        raise UsageError(
            f"{model_folder / 'sentencepiece.bpe.model'} is not a plain unigram model; only those can be "
            "converted exactly"
        )
    named, ids = vocabulary(model_folder, proto)
    tokenizer = Tokenizer(Unigram(named, unk_id=ids["<unk>"], byte_fallback=False))
    rules = proto.normalizer_spec.precompiled_charsmap
    steps: list[Any] = [normalizers.NFC()]
    if rules:
        steps += [normalizers.Replace(Regex(r"(?<=[\s\S])(?=[\s\S])"), APART), normalizers.Precompiled(rules)]
        steps += [normalizers.Replace(APART, "")]
    if proto.normalizer_spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(" +"), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    scheme = "always" if proto.normalizer_spec.add_dummy_prefix else "never"
    words: list[Any] = [pre_tokenizers.Metaspace(META, prepend_scheme=scheme, split=False)]
    if not has_mask:  # so that no piece of the model matches a special token's name
        words.append(pre_tokenizers.Split(Regex(WRITTEN), behavior="merged_with_next"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)
    tokenizer.decoder = decoders.Metaspace(META, prepend_scheme=scheme, split=False)
    ends = [("<s>", ids["<s>"]), ("</s>", ids["</s>"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=max_positions,
        split_special_tokens=not has_mask,
        clean_up_tokenization_spaces=False,
    )
