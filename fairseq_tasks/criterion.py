"""Cross-entropy logged exactly: loss in nats, unrounded, and the counts that accuracy is made of."""

from typing import Any

from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionConfig, SentencePredictionCriterion
from fairseq.logging import metrics


@register_criterion("warmstart_classification", dataclass=SentencePredictionConfig)
class ClassificationCriterion(SentencePredictionCriterion):
    """fairseq's sentence_prediction loss; stock logs bits to 3 decimals and accuracy to 0.1."""

    @staticmethod
    def reduce_metrics(logging_outputs: list[dict[str, Any]]) -> None:
        """Log loss (nats an example), n_correct, n and accuracy (percent) over the batches of one interval."""
        n = sum(float(log["nsentences"]) for log in logging_outputs)
        metrics.log_scalar("loss", sum(float(log["loss"]) for log in logging_outputs) / n, n)
        metrics.log_scalar_sum("n_correct", sum(float(log["ncorrect"]) for log in logging_outputs))
        metrics.log_scalar_sum("n", n)
        metrics.log_derived("accuracy", lambda meters: 100 * meters["n_correct"].sum / meters["n"].sum)
