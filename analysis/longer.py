"""Compare the gap of pre-trained and random weights with the gap after a longer training: is it the schedule's?"""

from dataclasses import dataclass

from analysis.alike import unequal_terms
from analysis.common_seeds import of_common_seeds
from analysis.comparisons import Comparison, compare
from analysis.estimates import Estimate
from analysis.evidence import Evidence
from analysis.groups import Group
from analysis.intervals import difference_over_seeds
from data_prep.doses import base_and_dose


@dataclass(frozen=True)
class Longer:
    """Pre-trained against random weights in the usual number of steps and in several times as many.

    All four groups hold the runs of the same seeds.
    """

    usual: Comparison
    longer: Comparison
    left_out: list[str]  # runs of a seed that not all four groups have

    @property
    def change(self) -> Estimate:
        """The gap after the longer training minus the gap after the usual one, in points, paired by seed."""
        gap, usual_gap = (comparison.one.test - comparison.other.test for comparison in (self.longer, self.usual))
        return difference_over_seeds(gap, usual_gap, paired=True)


def longer_trainings(evidence: Evidence) -> tuple[list[Longer], list[str]]:
    """Return each longer training beside the usual one that differs in nothing else, and why others have none."""
    whole = {group.title: group for group in evidence.groups}  # a comparison has only the runs that it pairs
    of_init = [c for c in evidence.comparisons if c.sides == ("pretrained", "random")]
    usual = {_but_for_length(c): c for c in of_init if c.one.length == 1}
    found: list[Longer] = []
    compared = {group.title for c in of_init for group in (c.one, c.other)}
    compared |= {group.title for c, _ in evidence.unequal for group in (c.one, c.other)}  # the report says why not
    without = [
        f"{group.title}: no runs of the other init with results have this length, so the gap there is not known."
        for group in evidence.groups
        if group.length > 1 and group.names["init"] in ("pretrained", "random") and group.title not in compared
        if base_and_dose(group.names["model"])[1] is None
    ]
    for c in (c for c in of_init if c.one.length > 1):
        shared = usual.get(_but_for_length(c))
        if shared is None:
            without.append(f"{c.title}: no runs of both inits have the usual length, so nothing is set beside it.")
            continue
        lengths: dict[int, list[Group]] = {
            own.one.length: [whole[own.one.title], whole[own.other.title]] for own in (shared, c)
        }
        pairs = zip(*lengths.values(), strict=True)
        why_not = dict.fromkeys(why for one, other in pairs for why in unequal_terms("length", other, one))
        chosen, left_out = of_common_seeds(lengths, 1)
        if why_not or not chosen:
            differ = f"they differ in {'; '.join(why_not)}" if why_not else "no seed is in all of its groups"
            without.append(f"{c.title}: not set beside the usual length, because {differ}.")
            continue
        in_usual, in_longer = (compare("init", one, other, evidence.threshold) for one, other in chosen.values())
        found.append(Longer(in_usual, in_longer, left_out))
    return found, without


def _but_for_length(c: Comparison) -> tuple[str, ...]:
    return tuple(name for key, name in c.rest.items() if key != "length")
