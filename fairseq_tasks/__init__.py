"""fairseq `--user-dir` plug-in: architectures, the classification task, initialisation, batching, exact metrics.

Importing it registers everything; `fairseq-hydra-train common.user_dir=<this folder>` does the same.
"""

from fairseq_tasks import architectures, classification, criterion

__all__ = ["architectures", "classification", "criterion"]
