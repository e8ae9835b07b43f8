"""Writes a small E5S1 file, from the layout's description, and runs it with a plain PyTorch encoder of its own."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

WIDTH, LAYERS, HEADS, FEED_FORWARD, POSITIONS = 64, 2, 4, 64, 300
EPSILON = 1e-12
MATRICES = {
    "q": (WIDTH, WIDTH),
    "k": (WIDTH, WIDTH),
    "v": (WIDTH, WIDTH),
    "ao": (WIDTH, WIDTH),
    "fi": (FEED_FORWARD, WIDTH),
    "fo": (WIDTH, FEED_FORWARD),
}


@dataclass
class SmallE5:
    """The weights that the file holds, as exact float32."""

    pieces: list[str]
    scores: list[float]
    tensors: dict[str, NDArray[np.float32]]


def quantise(weights: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """Return the Q4 bytes of a matrix and the float32 matrix that they stand for."""
    out, exact = b"", []
    for block in weights.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 7 or 1)
        levels = np.clip(np.round(block / np.float32(scale)) + 8, 0, 15).astype(np.uint8)
        out += scale.tobytes() + (levels[:16] | (levels[16:] << 4)).tobytes()
        exact.append((levels.astype(np.float32) - 8) * np.float32(scale))
    return out, np.concatenate(exact).reshape(weights.shape)


def write_small_e5(path: Path, pieces: list[str], seed: int = 0) -> SmallE5:
    """Write the file; `pieces` begin with the four special tokens and end with <mask>."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> NDArray[np.float32]:
        return generator.normal(0, 0.3, shape).astype(np.float32)

    wanted = {"emb.word": draw(len(pieces) + 2, WIDTH), "emb.pos": draw(POSITIONS, WIDTH), "emb.type": draw(2, WIDTH)}
    wanted |= {"emb.ln.w": 1 + draw(WIDTH), "emb.ln.b": draw(WIDTH)}
    for layer in range(LAYERS):
        for name, shape in MATRICES.items():
            wanted |= {f"l{layer}.{name}.w": draw(*shape), f"l{layer}.{name}.b": draw(shape[0])}
        for name in ("aln", "oln"):
            wanted |= {f"l{layer}.{name}.w": 1 + draw(WIDTH), f"l{layer}.{name}.b": draw(WIDTH)}
    blobs, tensors = {}, {}
    for name, weights in wanted.items():
        q4 = name == "emb.word" or (name.split(".")[-2] in MATRICES and name.endswith(".w"))
        blobs[name], tensors[name] = quantise(weights) if q4 else (weights.tobytes(), weights)
    scores = [0.0] * 4 + [-float(number) for number in range(1, len(pieces) - 4)] + [0.0]

    encoded = [piece.encode() for piece in pieces]
    offsets = np.cumsum([0] + [len(piece) for piece in encoded]).astype("<u4")
    head = b"E5S1" + struct.pack(
        "<I7ifi", 1, WIDTH, LAYERS, HEADS, FEED_FORWARD, len(pieces) + 2, POSITIONS, 2, EPSILON, 32
    )
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, int(offsets[-1])) + offsets.tobytes()
    head += np.array(scores, dtype="<f4").tobytes() + b"".join(encoded)
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 0x2F00, 1, 0x4E00)
    directory_size = 4 + sum(2 + len(name) + 21 for name in blobs)
    at = len(head) + directory_size
    directory = struct.pack("<i", len(blobs))
    for name, blob in blobs.items():
        kind = 0 if blob == wanted[name].tobytes() else 1
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, wanted[name].size, at, len(blob))
        at += len(blob)
    path.write_bytes(head + directory + b"".join(blobs.values()))
    return SmallE5(pieces, scores, tensors)


def encode(e5: dict[str, NDArray[np.float32]], ids: list[int], heads: int, layers: int) -> torch.Tensor:
    """Return the last hidden states (tokens, width) of a post-norm BERT encoder, written without fairseq."""
    weight = {name: torch.from_numpy(np.array(value)) for name, value in e5.items()}
    width = weight["emb.word"].shape[1]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (width,), weight[f"{name}.w"], weight[f"{name}.b"], EPSILON)

    x = weight["emb.word"][ids] + weight["emb.pos"][: len(ids)] + weight["emb.type"][0]
    x = norm(x, "emb.ln")
    for layer in range(layers):

        def linear(x: torch.Tensor, name: str, layer: int = layer) -> torch.Tensor:
            return x @ weight[f"l{layer}.{name}.w"].T + weight[f"l{layer}.{name}.b"]

        q, k, v = (linear(x, name).view(len(ids), heads, -1).transpose(0, 1) for name in "qkv")
        attention = torch.softmax(q @ k.transpose(1, 2) / (width // heads) ** 0.5, dim=-1)
        mixed = (attention @ v).transpose(0, 1).reshape(len(ids), width)
        x = norm(x + linear(mixed, "ao"), f"l{layer}.aln")
        x = norm(x + linear(F.gelu(linear(x, "fi")), "fo"), f"l{layer}.oln")
    return x
