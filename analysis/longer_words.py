"""Words whether a longer training changes the gap."""

import pandas as pd

from analysis.baselines import Fits
from analysis.comparisons import Comparison
from analysis.findings import flat
from analysis.groups import Group
from analysis.longer import Longer
from analysis.phrases import (
    NOTHING,
    POSSIBLE,
    accuracy_columns,
    failed_runs,
    listed,
    means_of,
    prose,
    setting,
    signed,
    with_interval,
    without,
)

OF_TWO_GAPS = (-200.0, 200.0)  # points; a difference of two gaps is in this range


def longer_sentence(found: Longer, fits: Fits) -> str:
    """Return the gap after a longer training, how it differs from the usual one, and whether the curves are flat."""
    usual, longer = found.usual, found.longer
    change, gap = found.change, longer.difference
    failed = failed_of_lengths(found, fits)
    said = (
        f"{setting(usual.rest)}: pre-trained minus random is {usual.difference.value:+.2f} points with the usual "
        f"{usual.one.last_step:,} steps and {gap.value:+.2f} with {longer.rest['length']}, "
        f"{longer.one.last_step:,} ({means_of(longer)}; {gap.words('+.2f', *POSSIBLE)})."
    )
    if failed:
        said += f" {listed(failed)} {NOTHING}, so no change of the gap is told."
    else:
        said += (
            f" The longer training changes the gap by {signed(change.value)} points "
            f"({change.words('+.2f', *OF_TWO_GAPS)})."
        )
    ends = flat(longer) or ["The evaluations are too few to say whether the longer curves are flat."]
    return " ".join([said, *ends]) + without(found.left_out)


def failed_of_lengths(found: Longer, fits: Fits) -> list[str]:
    """Return how many runs of each group learned nothing, for the groups with such runs."""
    return [
        f"{len(seeds)} of {group.n} {prose(group.names['init'])} runs of {group.last_step:,} steps"
        for group in (found.usual.one, found.usual.other, found.longer.one, found.longer.other)
        if (seeds := failed_runs(group, fits))
    ]


def longer_table(found: list[Longer], fits: Fits) -> pd.DataFrame:
    """Return a row for each number of training texts and each length: accuracies, gap, and rises at the end."""
    rows: dict[str, tuple[Comparison, str]] = {}
    for own in found:
        rows.setdefault(own.usual.title, (own.usual, "usual length"))
        change = (
            "not told: runs learned nothing" if failed_of_lengths(own, fits) else with_interval(own.change, OF_TWO_GAPS)
        )
        rows[own.longer.title] = (own.longer, change)
    compared = [comparison for comparison, _ in rows.values()]

    def late_rise(group: Group) -> str:
        if len(failed_runs(group, fits)) == group.n:
            return NOTHING
        return "too few evaluations" if group.late_rise is None else with_interval(group.late_rise[1])

    return pd.DataFrame(
        {
            "labels": [f"{c.one.n_train:,}" if c.one.n_train is not None else "not recorded" for c in compared],
            "steps": [f"{c.one.last_step:,}" for c in compared],
            **accuracy_columns([c.one for c in compared], fits, of="pre-trained, "),
            **accuracy_columns([c.other for c in compared], fits, of="random, "),
            "gap, points": [with_interval(c.difference) for c in compared],
            "change of the gap, points": [change for _, change in rows.values()],
            "pre-trained, late rise": [late_rise(c.one) for c in compared],
            "random, late rise": [late_rise(c.other) for c in compared],
        }
    )


def about_longer() -> str:
    """Return how the table of lengths is to be read."""
    return (
        "Is the gap only an effect of the short training? A longer training takes several times the steps and is "
        "evaluated as often, so that it has as many evaluations to choose the best step from. Its learning rates are "
        "those of the usual length; none was searched for it. In brackets: 95 % intervals for new seeds on this test "
        "set, none corrected for the number of lengths. Late rise: of test accuracy in points, from the latest "
        "evaluation in the first two "
        "thirds of the steps to the last step."
    )
