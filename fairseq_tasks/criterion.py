"""Cross-entropy with exact logs: the unrounded loss in nats, and the counts from which accuracy is computed."""

from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionConfig, SentencePredictionCriterion
from fairseq.logging import metrics
from torch.nn import functional


@register_criterion("warmstart_classification", dataclass=SentencePredictionConfig)
class ClassificationCriterion(SentencePredictionCriterion):
    """fairseq's sentence_prediction loss with exact logs. Stock fairseq logs bits to 3 decimals and accuracy to 0.1."""

    logits: torch.Tensor  # (examples, classes), of the last batch

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple[Any, int, dict[str, Any]]:
        """Return a batch's summed loss (nats), its number of examples, and its values for the log."""
        name = self.classification_head_name
        logits, _ = model(**sample["net_input"], features_only=True, classification_head_name=name)
        targets = model.get_targets(sample, [logits]).view(-1)
        n = targets.numel()
        scores = functional.log_softmax(logits, dim=-1, dtype=torch.float32)
        loss = functional.nll_loss(scores, targets, reduction="sum")
        self.logits = logits.detach()
        n_correct = (logits.argmax(dim=1) == targets).sum()
        counts = {"ntokens": sample["ntokens"], "nsentences": n, "sample_size": n, "ncorrect": n_correct}
        return loss, n, {"loss": loss.data, **counts}

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log loss (nats per example), n_correct, n and accuracy (percent) over the batches of one interval."""
        n = sum(float(log["nsentences"]) for log in logging_outputs)
        metrics.log_scalar("loss", sum(float(log["loss"]) for log in logging_outputs) / n, n)
        metrics.log_scalar_sum("n_correct", sum(float(log["ncorrect"]) for log in logging_outputs))
        metrics.log_scalar_sum("n", n)
        metrics.log_derived("accuracy", lambda meters: 100 * meters["n_correct"].sum / meters["n"].sum)
