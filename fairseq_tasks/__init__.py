"""fairseq `--user-dir` plug-in: architectures, the tasks, initialisation, batching, exact metrics, Adam.

Importing this package registers everything; `fairseq-hydra-train common.user_dir=<this folder>` does the same.
"""

from fairseq_tasks import architectures, classification, criterion, fused_adam, masked_lm

__all__ = ["architectures", "classification", "criterion", "fused_adam", "masked_lm"]
