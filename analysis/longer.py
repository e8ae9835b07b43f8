"""Compare the gap of pre-trained and random weights with the gap after a longer training: is it the schedule's?"""

from dataclasses import dataclass

from analysis.alike import unequal_terms
from analysis.evidence import Comparison, Evidence
from analysis.statistics import Estimate, difference_over_seeds, no_interval

NOT_PAIRED = "the runs of the two lengths are not of the same seeds"


@dataclass(frozen=True)
class Longer:
    """Pre-trained against random weights in the usual number of steps and in several times as many."""

    usual: Comparison
    longer: Comparison

    @property
    def change(self) -> Estimate:
        """The gap after the longer training minus the gap after the usual one, in points, paired by seed."""
        usual, longer = self.usual, self.longer
        if not (usual.paired and longer.paired and usual.one.seeds == longer.one.seeds):
            return no_interval(longer.difference.value - usual.difference.value, NOT_PAIRED)
        gap, usual_gap = (comparison.one.test - comparison.other.test for comparison in (longer, usual))
        return difference_over_seeds(gap, usual_gap, paired=True)


def longer_trainings(evidence: Evidence) -> tuple[list[Longer], list[str]]:
    """Return each longer training beside the usual one that differs in nothing else, and why others have none."""
    of_init = [c for c in evidence.comparisons if c.sides == ("pretrained", "random")]
    usual = {tuple(c.rest.items())[:-1]: c for c in of_init if c.one.length == 1}  # the last name is the length
    found, without = [], []
    for c in of_init:
        shared = usual.get(tuple(c.rest.items())[:-1])
        if c.one.length == 1 or shared is None:
            continue
        pairs = ((c.one, shared.one), (c.other, shared.other))
        why_not = dict.fromkeys(why for pair in pairs for why in unequal_terms("length", *pair))
        if why_not:
            without.append(f"{c.title}: not set beside the usual length, because they differ in {'; '.join(why_not)}.")
        else:
            found.append(Longer(shared, c))
    return found, without
