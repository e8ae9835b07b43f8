"""fairseq's Adam in one pass over the weights, with torch's fused kernel: the same formula in a third of the time.

fairseq adds epsilon to the square root of the raw second moment. torch adds epsilon to the square root of the
bias-corrected second moment:

    fairseq   lr sqrt(1 - b2^t) / (1 - b1^t)  m / (sqrt(v) + eps)
    torch     lr / (1 - b1^t)  m / (sqrt(v) / sqrt(1 - b2^t) + eps)

Both are equal when torch's epsilon is fairseq's epsilon divided by sqrt(1 - b2^t).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from fairseq.optim import register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from fairseq.optim.fairseq_optimizer import FairseqOptimizer


class FusedAdam(torch.optim.AdamW):
    """torch's fused AdamW with fairseq's epsilon and flat-parameter support."""

    supports_memory_efficient_fp16 = False
    supports_flat_params = True

    def __init__(self, params: Any, eps: float, **settings: Any) -> None:
        super().__init__(params, eps=eps, fused=True, **settings)
        self.plain_eps = eps

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step, with this step's epsilon. One count fits all: trained weights get gradients every step.

        `param_groups` holds the count of steps, and is saved and loaded. torch's own count is on the GPU.
        """
        for group in self.param_groups:
            if "taken" not in group:  # the first step, or the first step after a checkpoint without the count
                group["taken"] = next((int(self.state[p]["step"]) for p in group["params"] if p in self.state), 0)
            group["taken"] += 1
            group["eps"] = self.plain_eps / math.sqrt(1 - group["betas"][1] ** group["taken"])
        return super().step(closure)


@register_optimizer("warmstart_adam", dataclass=FairseqAdamConfig)
class WarmstartAdam(FairseqAdam):
    """fairseq's `adam`, fused. It takes the same settings."""

    def __init__(self, cfg: FairseqAdamConfig, params: Any) -> None:
        FairseqOptimizer.__init__(self, cfg)
        self._optimizer = FusedAdam(params, **self.optimizer_config)
