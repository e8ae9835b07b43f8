"""Dropout with 16 random bits per element. On one CPU core, drawing torch's mask took longer than all layer norms.

torch's own dropout draws a double per element. Here one 64-bit number decides four elements. So the probability is a
multiple of 1 / 65,536 (0.1 becomes 0.100006), and kept elements are scaled by the factor of this probability. In
float32 the mean is exact. In bfloat16 the factor is rounded (1.1094 for 0.1), as in torch's own dropout. The numbers
come from torch's generator, so the seed determines them.
"""

import torch
from fairseq.modules import FairseqDropout

LEVELS = 2**16


class QuickDropout(FairseqDropout):
    """fairseq's dropout with `quick_mask`. On CUDA it is torch's dropout, because torch's kernel is quick there."""

    def forward(self, x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
        """Return `x`, any shape, with a share `p` of its elements zeroed while training."""
        if x.is_cuda or self.p == 0 or not self.training:
            dropped: torch.Tensor = super().forward(x, inplace)
            return dropped
        return x * quick_mask(x.shape, self.p, x.dtype)


def quick_mask(shape: torch.Size, p: float, kind: torch.dtype = torch.float32) -> torch.Tensor:
    """Return a mask of `shape` on the CPU: 0 with probability q = round(65536 p) / 65536, else 1 / (1 - q)."""
    drop = round(LEVELS * p)
    numbers = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    kept = numbers.view(torch.int16)[: shape.numel()] >= drop - LEVELS // 2
    return kept.view(shape).to(kind).mul_(LEVELS / (LEVELS - drop))


def use_quick_dropout(encoder: torch.nn.Module) -> None:
    """Replace every fairseq dropout in the encoder by `QuickDropout`."""
    for module in list(encoder.modules()):
        for name in ("dropout_module", "activation_dropout_module"):
            if isinstance(stock := getattr(module, name, None), FairseqDropout):
                setattr(module, name, QuickDropout(stock.p, stock.module_name))
