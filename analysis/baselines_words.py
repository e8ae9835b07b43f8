"""Words how simple baselines do beside the runs: TF-IDF, the commonest class, the probe on a frozen encoder."""

from analysis.baselines import Baseline
from analysis.comparisons import Comparison
from analysis.groups import Group
from analysis.phrases import above, failed_seeds, listed, prose, with_texts
from foundation.counts import counted


def against_baseline(c: Comparison, baseline: Baseline) -> str:
    """Return how far two groups are above or below a simple baseline."""
    standing = [
        f"{f'the {prose(side)} run is' if group.n == 1 else f'{prose(side)} runs are'} "
        f"{above(group.spread.mean - baseline.test)} it{'' if group.n == 1 else ' on average'}"
        for side, group in zip(c.sides, (c.one, c.other), strict=True)
    ]
    return (
        f"{c.rest['dataset']}{with_texts({'train': c.rest['train']})}: {baseline.name} on the same splits reaches "
        f"{accuracy_of(baseline)}. {c.rest['model']} ({c.rest['backend']}, {c.rest['method']})"
        f"{with_texts({'length': c.rest['length']})}: {listed(standing)}."
    )


def against_probe(group: Group, probe: Baseline) -> str:
    """Return how far fully fine-tuned runs are above or below the probe on the same encoder, frozen."""
    names = group.names
    gap = group.spread.mean - probe.test
    each = "the pre-trained run is" if group.n == 1 else f"the {group.n} pre-trained runs are on average"
    return (
        f"{names['dataset']}: logistic regression on the pre-trained encoder as it is, a probe "
        f"({names['model']}, {probe.name.partition(': ')[2]}), reaches {accuracy_of(probe)}. With all weights "
        f"trained {each} {above(gap)} it ({names['backend']})."
    )


def is_beaten(group: Group, probe: Baseline) -> bool:
    """Return whether a probe is above the mean of the fully trained runs."""
    return probe.test - group.spread.mean >= 0.005


def accuracy_of(baseline: Baseline) -> str:
    """Return a baseline's test accuracy and its interval."""
    return f"{baseline.test:.2f} % (95 % interval {baseline.low:.2f} to {baseline.high:.2f} for new texts)"


def failed(group: Group, commonest: Baseline) -> str | None:
    """Return how many runs learned nothing, and how this is seen, or None when all runs learned something."""
    count = len(failed_seeds(group, commonest))
    if not count:
        return None
    they, is_, give = ("it", "is", "gives") if count == 1 else ("they", "are", "give")
    of = f"{group.title}: {count} of {counted(group.n, 'run')}"
    if group.right is not None:
        return f"{of} learned nothing: {they} {give} every test text the same class."
    return (
        f"{of} {is_} exactly as accurate as the commonest class ({commonest.test:.2f} %): {they} may have learned "
        "nothing."
    )
