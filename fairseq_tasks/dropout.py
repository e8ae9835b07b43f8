"""Dropout that takes 16 random bits a decision: on one CPU core, drawing the mask took longer than all layer norms.

torch's own draws a double a decision. Here one 64-bit number decides four elements, so that the probability is a
multiple of 1 / 65,536 (0.1 becomes 0.100006), and what is kept is scaled by that probability's own factor. In float32
the mean is exact; in bfloat16 the factor is rounded (1.1094 for 0.1), as it is in torch's own dropout. The numbers
come from torch's generator, so the seed decides them as it decides everything else.
"""

import torch
from fairseq.modules import FairseqDropout

LEVELS = 2**16


class QuickDropout(FairseqDropout):
    """fairseq's dropout with the mask above; on CUDA, where torch's kernel is quick, it is torch's."""

    def forward(self, x: torch.Tensor, inplace: bool = False) -> torch.Tensor:
        """Return `x`, any shape, with a share `p` of its elements zeroed while training."""
        if x.is_cuda or self.p == 0 or not self.training:
            dropped: torch.Tensor = super().forward(x, inplace)
            return dropped
        return x * quick_mask(x.shape, self.p, x.dtype)


def quick_mask(shape: torch.Size, p: float, kind: torch.dtype = torch.float32) -> torch.Tensor:
    """Return a mask of `shape` on the CPU: 0 with probability round(65536 p) / 65536, else 1 / (1 - that)."""
    drop = round(LEVELS * p)
    numbers = torch.empty(-(-shape.numel() // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
    kept = numbers.view(torch.int16)[: shape.numel()] >= drop - LEVELS // 2
    return kept.view(shape).to(kind).mul_(LEVELS / (LEVELS - drop))


def use_quick_dropout(encoder: torch.nn.Module) -> None:
    """Put it in the place of every dropout of fairseq's in the encoder."""
    for module in list(encoder.modules()):
        for name in ("dropout_module", "activation_dropout_module"):
            if isinstance(stock := getattr(module, name, None), FairseqDropout):
                setattr(module, name, QuickDropout(stock.p, stock.module_name))
