"""Compute what each dose of pre-training buys. A dose is the number of tokens that a checkpoint has been trained on."""

from dataclasses import dataclass
from pathlib import Path

from analysis.alike import unequal_terms
from analysis.common_seeds import of_common_seeds, with_left_out
from analysis.estimates import Estimate
from analysis.evidence import Evidence
from analysis.groups import Group, told
from analysis.intervals import difference_over_seeds
from data_prep.doses import base_and_dose
from foundation.whole_files import sha256_of
from sweeps.folders import read_json

REST = ("dataset", "model", "backend", "method", "train", "length")


@dataclass(frozen=True)
class HeldOut:
    """The loss of a checkpoint, in nats per masked token of text that it was not trained on."""

    loss: float
    by_frequency: float | None  # of a guess from token frequencies alone; None: pre-trained before it was recorded
    # the first position that no text of training has reached; None: all are trained, none is learned, or not recorded
    untrained_from: int | None = None


Losses = dict[tuple[str, str], HeldOut]  # (dataset, model) -> its loss


@dataclass(frozen=True)
class DoseCurve:
    """The groups of one dataset, model, back end, method, number of training texts and length that differ in the dose.

    Every group holds the runs of the same seeds, so that means and differences are of the same runs.
    """

    rest: dict[str, str]  # dataset, model (without its dose), backend, method, train, length
    doses: list[int]  # tokens, ascending; the first is 0
    groups: list[Group]  # one for each dose
    left_out: list[str]  # what has no place in the curve, and why
    on_terms: list[Group]  # of every dose on equal terms with dose 0, also where it has no place for its seeds

    @property
    def gains(self) -> list[Estimate]:
        """The paired difference from dose 0 of each dose above 0, in points."""
        return [difference_over_seeds(group.test, self.groups[0].test, paired=True) for group in self.groups[1:]]

    @property
    def smallest(self) -> int | None:
        """The place of the smallest dose whose interval of the difference from dose 0 lies above 0; None without."""
        return next((place for place, gain in enumerate(self.gains, 1) if gain.low > 0), None)


def dose_curves(evidence: Evidence) -> tuple[list[DoseCurve], list[str]]:
    """Return the curves over dose 0 and one more dose or more, and why others have none.

    A dose that differs from dose 0 in more than its weights is left out. So is a dose with fewer seeds than the others,
    or a run whose seed not every dose has.
    """
    found: dict[tuple[str, ...], dict[int, Group]] = {}
    for group in evidence.groups:
        model, dose = base_and_dose(group.names["model"])
        if dose is not None and group.names["init"] == "pretrained":
            names = {**group.names, "model": model}
            found.setdefault(tuple(names[key] for key in REST), {})[dose] = group
    curves, without = [], []
    for values, by_dose in found.items():
        rest = dict(zip(REST, values, strict=True))
        if len(by_dose) < 2:
            continue
        unequal = {
            dose: f"{group.title} (other terms: {', '.join(why)})"
            for dose, group in by_dose.items()
            if 0 in by_dose and (why := unequal_terms("dose", group, by_dose[0]))
        }
        kept = {dose: group for dose, group in by_dose.items() if dose not in unequal}  # ascending
        points = {dose: [group] for dose, group in kept.items()}
        chosen, of_other_seeds = of_common_seeds(points, 0) if 0 in points else ({}, [])
        why_none = "" if chosen else with_left_out("no seed is in all of them", list(unequal.values()))
        if len(kept) < 2:
            why_none = f"no dose is on equal terms with dose 0: {'; '.join(unequal.values())}"
        if 0 not in kept:
            why_none = "no run of dose 0 has results"
        if why_none:
            without.append(f"{' · '.join(told(rest))}: no curve over doses, because {why_none}.")
            continue
        groups = [group for [group] in chosen.values()]
        left_out = [*unequal.values(), *of_other_seeds]
        curves.append(DoseCurve(rest, list(chosen), groups, left_out, list(kept.values())))
    return curves, without


def held_out_losses(doses: list[DoseCurve], data_dir: Path) -> Losses:
    """Return the loss of each dose's checkpoint, by its pretraining.json, where the runs started from it."""
    losses = {}
    for group in (group for curve in doses for group in curve.groups):
        folder = data_dir / "models" / group.names["model"]
        about, checkpoint = read_json(folder / "pretraining.json"), folder / "model.pt"
        if "loss" in about and checkpoint.is_file() and sha256_of(checkpoint) == group.inputs.get("checkpoint"):
            own = HeldOut(float(about["loss"]), about.get("frequency_loss"), about.get("untrained_from"))
            losses[group.names["dataset"], group.names["model"]] = own
    return losses


def losses_of(curve: DoseCurve, losses: Losses) -> list[HeldOut | None]:
    """Return the loss of each dose's checkpoint, None where it is not known."""
    return [losses.get((curve.rest["dataset"], group.names["model"])) for group in curve.groups]


def loss_by_frequency(curve: DoseCurve, losses: Losses) -> float | None:
    """Return the held-out loss of a guess from token frequencies alone, the same for all doses of a training."""
    return next((own.by_frequency for own in losses_of(curve, losses) if own and own.by_frequency is not None), None)


def one_for_all(evidence: Evidence, doses: list[DoseCurve]) -> list[Group]:
    """Return the groups without the doses of a curve above 0, whose data and settings are those of dose 0."""
    more = [group.title for curve in doses for group in curve.on_terms[1:]]
    return [group for group in evidence.groups if group.title not in more]
