"""Words the figures: each title is a finding, each caption says what is drawn and from how many runs."""

import numpy as np

from analysis.baselines import Baseline
from analysis.crossings import WAVER
from analysis.evidence import Comparison, Evidence, Group, told
from analysis.findings import POSSIBLE, above, label, listed, prose, tighter, times, with_texts
from analysis.statistics import NEW_TEXTS, SAME_TEXTS
from foundation.counts import counted


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


def of(c: Comparison, evidence: Evidence) -> str:
    own = label(c, evidence)
    sizes = {group.names["train"] for group in evidence.groups}
    texts = f" with {c.rest['train']}" if len(sizes) > 1 else with_texts(c.rest)
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
    one, other = found[0].sides
    said = []
    for c in found:
        if c.steps is None:
            said.append(f"a run starts above it{of(c, evidence)}")
        elif not c.steps.is_known:
            whole = all(group.n_censored == group.n for group in (c.one, c.other))
            said.append(f"{'no run passes it' if whole else 'some runs of each kind never pass it'}{of(c, evidence)}")
        else:
            said.append(f"{prose(other)} runs need {times(c.steps)} the steps of {prose(one)} runs{of(c, evidence)}")
    return f"Steps to {mark}: {'; '.join(said)}"


def title_of_curves(evidence: Evidence, split: str) -> str:
    """Return the finding of a figure of curves: the mean accuracy of each group at the best steps."""
    if len(evidence.groups) > 2:
        return f"{'Validation' if split == 'valid' else 'Test'} accuracy over steps"
    what = "Best validation accuracy" if split == "valid" else "Test accuracy at the best step"
    differing = [key for key in evidence.groups[0].names if len({group.names[key] for group in evidence.groups}) > 1]
    means = []
    for group in evidence.groups:
        values = [run.best_valid if split == "valid" else run.test for run in group.runs]
        name = " · ".join(prose(group.names[key]) for key in differing or ["init"])
        mean = float(np.mean(np.array(values, dtype=np.float64)))
        means.append(f"{mean:.2f} % ({name}{_of_n(group)})")
    return f"{what}: {listed(means)}"


def _of_n(group: Group) -> str:
    return "" if group.n == 1 else f", mean of {group.n}"


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


def shared_words(evidence: Evidence) -> str:
    """Return the names that all groups share, for a caption; empty when there are none."""
    first, *others = (group.names for group in evidence.groups)
    same = {
        key: value for key, value in first.items() if key != "init" and all(names[key] == value for names in others)
    }
    shared = told(same)
    return f"{' · '.join(shared)}. " if shared else ""


def runs_words(evidence: Evidence) -> str:
    """Return how many runs each group has: `3 runs per group`, `2 to 3 runs per group`."""
    counts = sorted({group.n for group in evidence.groups})
    if len(counts) == 1:
        return f"{counted(counts[0], 'run')} per group"
    return f"{counts[0]} to {counts[-1]} runs per group"


def caption_of_curves(evidence: Evidence) -> str:
    words = [f"{shared_words(evidence)}{runs_words(evidence)}. Thin line: one run."]
    if any(group.n > 1 for group in evidence.groups):
        words.append(
            "Thick line: mean of a group. Band: 95 % interval of the mean (Student's t over seeds), where the "
            "runs differ."
        )
    words.append("Open marker: best step (highest validation accuracy, the earliest on a tie).")
    return " ".join(words)


def caption_of_gaps(evidence: Evidence) -> str:
    words = [f"{shared_words(evidence)}{runs_words(evidence)}. Point: one run. Bar: mean of a group."]
    if any(group.over_seeds.has_interval for group in evidence.groups):
        words.append(f"Thick line: 95 % interval of the mean for {SAME_TEXTS} (Student's t).")
    if any(group.over_texts is not None and group.over_texts.has_interval for group in evidence.groups):
        words.append(f"Thin line: for {NEW_TEXTS} (crossed random effects).")
    if any(c.left_out for c in evidence.comparisons):
        words.append("Runs without a partner of the same seed are drawn here and left out of the difference.")
    return " ".join(words)


def caption_of_steps(evidence: Evidence) -> str:
    words = [
        f"{shared_words(evidence)}{runs_words(evidence)}. Line: one run, from the last evaluation more than {WAVER:g} "
        f"points below {evidence.threshold:g} % to the first at or above it; it passes in between."
    ]
    if any(group.n_censored for group in evidence.groups):
        words.append("Arrow: a run that no evaluation finds at or above it.")
    if any(bracket.is_at_start for group in evidence.groups for bracket in group.brackets):
        words.append("Dot at step 0: a run that starts at or above it.")
    return " ".join(words)


def caption_of_spread(evidence: Evidence) -> str:
    words = [f"{shared_words(evidence)}{runs_words(evidence)}. Point: one run."]
    if any(group.n > 1 for group in evidence.groups):
        words.append("Line: one std (ddof 0) to each side.")
    if any(c.left_out for c in evidence.comparisons):
        words.append("Runs without a partner of the same seed are drawn here and left out of the comparison.")
    return " ".join(words)


def caption_of_luck(evidence: Evidence) -> str:
    return (
        f"{shared_words(evidence)}{runs_words(evidence)}. Dashed: equal. The best step is chosen by validation "
        "accuracy, which tends to be too high there; test accuracy has no part in the choice."
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
    few, many = min(counts), max(counts)
    n = counted(few, "run") if few == many else f"{few} to {many} runs"
    words = f"{n} per group. Thin line: one run, mean over each logging interval."
    return words + (" Thick line: mean of a group." if many > 1 else "")


# --- the foot and the problems
