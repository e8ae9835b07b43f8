"""Compute which part of the gain of pre-training each init between random and pre-trained weights brings."""

from dataclasses import dataclass

from analysis.alike import unequal_terms
from analysis.common_seeds import of_common_seeds, with_left_out
from analysis.estimates import Estimate
from analysis.evidence import Evidence
from analysis.groups import Group, told
from analysis.intervals import difference_over_seeds, ratio_of_means


@dataclass(frozen=True)
class Rung:
    """An init between, its gain over random weights (points), and its share of the gain of pre-trained weights."""

    group: Group
    gain: Estimate
    share: Estimate


@dataclass(frozen=True)
class Ladder:
    """Pre-trained and random runs, and the inits between them that are on equal terms with both.

    Every group holds the runs of the same seeds, so that the shares are of one gain.
    """

    top: Group
    bottom: Group
    gap: Estimate
    rungs: list[Rung]
    left_out: list[str]  # inits and runs without a place, and why
    has_all_seeds: bool  # no pre-trained or random run is left out

    @property
    def rest(self) -> dict[str, str]:
        """The names that all inits share."""
        return {key: name for key, name in self.top.names.items() if key != "init"}

    @property
    def is_without_gain(self) -> bool:
        """True when the runs show no gain of pre-training to share out: none is seen, or its interval holds 0."""
        return self.gap.value < 0.005 or (self.gap.has_interval and not self.gap.excludes(0))


def ladders(evidence: Evidence) -> tuple[list[Ladder], list[str]]:
    """Return a ladder for each pre-trained and random group with an init between, and why some have none.

    An init that differs from pre-trained or random runs in more than its first weights is left out. So is an init with
    fewer seeds than the others, or a run whose seed not all have.
    """
    found: dict[tuple[str, ...], dict[str, Group]] = {}
    for group in evidence.groups:
        rest = tuple(value for key, value in group.names.items() if key != "init")
        found.setdefault(rest, {})[group.names["init"]] = group
    made, without = [], []
    for inits in found.values():
        if len(inits) < 3 or not {"pretrained", "random"} <= inits.keys():
            continue
        ends = [inits.pop("pretrained"), inits.pop("random")]
        if unequal_terms("init", *ends):
            continue  # the answer says so
        unequal = {
            init: why
            for init, group in inits.items()
            if (why := {key: None for end in ends for key in unequal_terms("init", group, end)})
        }
        between = [group for init, group in inits.items() if init not in unequal]
        chosen, of_other_seeds = of_common_seeds({0: ends, **{n: [own] for n, own in enumerate(between, 1)}}, 0)
        apart = [f"{init} (other terms: {', '.join(why)})" for init, why in unequal.items()]
        if not chosen:
            shared = told({key: name for key, name in ends[0].names.items() if key != "init"})
            why_none = with_left_out("no seed is in all of them" if between else "no init is on equal terms", apart)
            without.append(f"{' · '.join(shared)}: no shares of the gain, because {why_none}.")
            continue
        (top, bottom), *others = chosen.values()
        gap = difference_over_seeds(top.test, bottom.test, paired=True)
        rungs = [
            Rung(
                own,
                difference_over_seeds(own.test, bottom.test, paired=True),
                ratio_of_means(own.test - bottom.test, top.test - bottom.test),
            )
            for [own] in others
        ]
        has_all_seeds = all(of.n == end.n for of, end in zip((top, bottom), ends, strict=True))
        made.append(Ladder(top, bottom, gap, rungs, apart + of_other_seeds, has_all_seeds))
    return made, without
