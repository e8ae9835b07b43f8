"""Words the figures: each title is a finding, each caption says what is drawn and from how many runs."""

from collections.abc import Iterable

import numpy as np

from analysis.baselines import Baseline
from analysis.comparisons import Comparison
from analysis.crossings import WAVER
from analysis.estimates import NEW_TEXTS, SAME_TEXTS
from analysis.evidence import Evidence
from analysis.findings import tighter
from analysis.groups import told
from analysis.phrases import POSSIBLE, above, listed, prose, with_texts
from analysis.steps_words import times, why_no_ratio
from foundation.counts import counted

WITHOUT_PARTNER = "Runs without a partner of the same seed are drawn here and left out of the {}."
OF_MEAN = f"95 % interval of the mean for {SAME_TEXTS} (Student's t)."


def title_of_gaps(evidence: Evidence) -> str:
    """Return the finding on the final accuracies: each comparison by name, or their range when there are many."""
    found = evidence.leading()
    if not found:
        return "Test accuracy at the best step of each run"
    one, other = found[0].sides
    start = f"{prose(one, True)} minus {prose(other)}: "
    if len(found) > 3:
        gaps = sorted(c.difference.value for c in found)
        ends = list(dict.fromkeys([f"{gaps[0]:+.2f}", f"{gaps[-1]:+.2f}"]))
        return f"{start}{' to '.join(ends)} points of test accuracy in {len(found)} comparisons"
    return start + "; ".join(
        f"{c.difference.value:+.2f} points of test accuracy{of(c, evidence)} ({c.difference.words('+.2f', *POSSIBLE)})"
        for c in found
    )


def label(c: Comparison, evidence: Evidence) -> str:
    """Return the names that set a comparison apart from the sweep's other groups, but for texts and length."""
    names = {key: name for key, name in c.rest.items() if key not in ("train", "length")}
    return " · ".join(name for key, name in names.items() if any(of.names[key] != name for of in evidence.groups))


def of(c: Comparison, evidence: Evidence) -> str:
    own = label(c, evidence)
    sizes = {group.names["train"] for group in evidence.groups}
    lengths = {group.names["length"] for group in evidence.groups}
    usual = [c.rest["train"]] if len(sizes) > 1 else []
    usual += [f"the {c.rest['length']}"] if len(lengths) > 1 else []
    texts = with_texts(c.rest) or (f" with {' and '.join(usual)}" if usual else "")
    return (f" on {own}" if own else "") + texts


def title_of_sources(published: dict[str, float], ours: dict[str, dict[str, float]]) -> str:
    """Return a title with the mean test accuracies of the report by init, and of our runs by init and dataset."""
    said = []
    for init, means in ours.items():
        own = listed(f"{mean:.2f} %{f' ({dataset})' if len(means) > 1 else ''}" for dataset, mean in means.items())
        said.append(f"{prose(init)}: published {published[init]:.2f} %, ours {own}")
    return f"Test accuracy, {'; '.join(said)}"


def caption_of_sources(best: dict[str, Baseline]) -> str:
    """Return the caption of the figure of sources. `best` has one baseline for each dataset."""
    lines = [f"{found.name.split(',')[0]} on {dataset} ({found.test:.2f} %)" for dataset, found in best.items()]
    dashed = f" Dashed: {listed(lines)}." if lines else ""
    return (
        "One point per seed, a bar for their mean. Replications are others who did the same exercise; D and E have "
        f"nearly the report's numbers, so the three are hardly independent.{dashed}"
    )


def title_of_steps(evidence: Evidence) -> str:
    """Return the finding on the steps to the threshold: each comparison by name, or a plain title."""
    mark = f"{evidence.threshold:g} % test accuracy"
    found = evidence.leading()
    if not found or len(found) > 3:
        return f"Steps to {mark}"
    one, other = (prose(side) for side in found[0].sides)
    said = [
        f"{other} runs need {times(c.steps)} the steps of {one} runs{of(c, evidence)}"
        if c.steps is not None and c.steps.is_known
        else f"{why_no_ratio(c)}{of(c, evidence)}"
        for c in found
    ]
    return f"Steps to {mark}: {'; '.join(said)}"


def title_of_curves(evidence: Evidence, split: str) -> str:
    """Return the finding of a figure of curves: the mean accuracy of each group at the best steps."""
    if len(evidence.groups) > 2:
        return f"{'Validation' if split == 'valid' else 'Test'} accuracy over steps"
    what = "Best validation accuracy" if split == "valid" else "Test accuracy at the best step"
    differing = [key for key in evidence.groups[0].names if len({group.names[key] for group in evidence.groups}) > 1]
    means = []
    for group in evidence.groups:
        values = [(run.best_valid if split == "valid" else run.test) or 0.0 for run in group.runs]
        name = " · ".join(prose(group.names[key]) for key in differing or ["init"])
        n = "" if group.n == 1 else f", mean of {group.n}"
        means.append(f"{np.mean(values):.2f} % ({name}{n})")
    return f"{what}: {listed(means)}"


def title_of_spread(evidence: Evidence) -> str:
    found = evidence.leading()
    if len(found) != 1:
        return "Spread of test accuracy over seeds"
    own = (label(found[0], evidence) + with_texts(found[0].rest)).strip()
    return f"{own}: {tighter(found[0])}".removeprefix(": ").removesuffix(".")


def title_of_luck(evidence: Evidence) -> str:
    """Return how far the best validation accuracies are above the test accuracies at the same steps."""
    runs = [run for group in evidence.groups for run in group.runs]
    gap = float(np.mean([(run.best_valid or 0) - (run.test or 0) for run in runs]))
    if len(runs) == 1:
        return f"The best validation accuracy is {above(gap)} the test accuracy at that step"
    return f"The best validation accuracies of {len(runs)} runs are on average {above(gap)} their test accuracies"


def opening(evidence: Evidence) -> str:
    """Return the names that all groups share and the number of runs, which a caption begins with."""
    first, *others = (group.names for group in evidence.groups)
    shared = {
        key: value for key, value in first.items() if key != "init" and all(names[key] == value for names in others)
    }
    names = f"{' · '.join(told(shared))}. " if told(shared) else ""
    return f"{names}{counted_range(group.n for group in evidence.groups)} per group."


def counted_range(counts: Iterable[int]) -> str:
    """Return `3 runs`, or `2 to 3 runs` when the counts differ."""
    few, *_, many = sorted([*counts] * 2)
    return counted(few, "run") if few == many else f"{few} to {many} runs"


def caption(start: str, more: dict[str, bool]) -> str:
    """Return the start of a caption and each of `more` that is true."""
    return " ".join([start, *(said for said, is_true in more.items() if is_true)])


def caption_of_curves(evidence: Evidence) -> str:
    mean = (
        "Thick line: mean of a group. Band: 95 % interval of the mean (Student's t over seeds), where the runs differ."
    )
    best = "Open marker: best step (highest validation accuracy, the earliest on a tie)."
    several = any(group.n > 1 for group in evidence.groups)
    return caption(f"{opening(evidence)} {'Thin line' if several else 'Line'}: one run.", {mean: several, best: True})


def caption_of_gaps(evidence: Evidence) -> str:
    over_texts = [group.over_texts for group in evidence.groups if group.over_texts is not None]
    return caption(
        f"{opening(evidence)} Point: one run. Bar: mean of a group.",
        {
            f"Thick line: {OF_MEAN}": any(group.over_seeds.has_interval for group in evidence.groups),
            f"Thin line: for {NEW_TEXTS} (crossed random effects).": any(of.has_interval for of in over_texts),
            WITHOUT_PARTNER.format("difference"): any(c.left_out for c in evidence.leading()),
        },
    )


def caption_of_steps(evidence: Evidence) -> str:
    return caption(
        f"{opening(evidence)} Line: one run, from the last evaluation more than {WAVER:g} points below "
        f"{evidence.threshold:g} % to the first at or above it; it passes in between.",
        {
            "Arrow: a run that no evaluation finds at or above it.": any(of.n_censored for of in evidence.groups),
            "Dot at step 0: a run that starts at or above it.": any(
                bracket.is_at_start for group in evidence.groups for bracket in group.brackets
            ),
        },
    )


def caption_of_spread(evidence: Evidence) -> str:
    return caption(
        f"{opening(evidence)} Point: one run.",
        {
            "Line: one std (ddof 0) to each side.": any(group.n > 1 for group in evidence.groups),
            WITHOUT_PARTNER.format("comparison"): any(c.left_out for c in evidence.leading()),
        },
    )


def caption_of_luck(evidence: Evidence) -> str:
    return (
        f"{opening(evidence)} Dashed: equal. The best step has the highest validation accuracy, which is likely "
        "too high there; test accuracy has no part in the choice."
    )


def title_of_loss(last: dict[str, float]) -> str:
    """Return the mean final training loss (nats) by init, or a plain title for several configurations (no `last`)."""
    if not last:
        return "Training loss over steps"
    return "Training loss at the last logged step: " + listed(
        f"{loss:.2f} nats ({prose(init)})" for init, loss in last.items()
    )


def caption_of_loss(counts: list[int]) -> str:
    """Return the caption of the loss figure. `counts` has the number of runs of each group."""
    several = max(counts) > 1
    start = f"{counted_range(counts)} per group. {'Thin line' if several else 'Line'}: one run, mean over each logging "
    return caption(f"{start}interval.", {"Thick line: mean of a group.": several})
