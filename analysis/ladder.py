"""Compute which part of the gain of pre-training each init between random and pre-trained weights brings."""

from dataclasses import dataclass

from analysis.evidence import Evidence, Group
from analysis.statistics import Estimate, difference_over_seeds, ratio_of_means


@dataclass(frozen=True)
class Rung:
    """An init between, its gain over random weights (points), and its share of the gain of pre-trained weights.

    All are over the seeds that pre-trained, random and this init's runs have in common; `group` holds these runs.
    """

    group: Group
    gain: Estimate
    share: Estimate


@dataclass(frozen=True)
class Ladder:
    """Pre-trained and random runs of the same seeds, and the inits between them that are on equal terms with both."""

    top: Group
    bottom: Group
    gap: Estimate
    rungs: list[Rung]
    left_out: list[str]  # inits without a place, and why

    @property
    def rest(self) -> dict[str, str]:
        """The names that all inits share."""
        return {key: name for key, name in self.top.names.items() if key != "init"}

    @property
    def is_without_gain(self) -> bool:
        """True when the runs show no gain of pre-training to share out: none is seen, or its interval holds 0."""
        return self.gap.value < 0.005 or (self.gap.has_interval and not self.gap.excludes(0))


def ladders(evidence: Evidence) -> list[Ladder]:
    """Return a ladder for each set of groups with pre-trained and random runs of a common seed and an init between."""
    found: dict[tuple[str, ...], dict[str, Group]] = {}
    for group in evidence.groups:
        rest = tuple(value for key, value in group.names.items() if key != "init")
        found.setdefault(rest, {})[group.names["init"]] = group
    unequal = [{c.one.title, c.other.title} for c, _ in evidence.unequal]
    made = []
    for inits in found.values():
        if len(inits) < 3 or not {"pretrained", "random"} <= inits.keys():
            continue
        whole, floor = inits["pretrained"], inits["random"]
        both = sorted(set(whole.seeds) & set(floor.seeds))
        if not both or {whole.title, floor.title} in unequal:
            continue
        rungs, left_out = [], []
        for init, group in inits.items():
            seeds = sorted(set(group.seeds) & set(both))
            if init in ("pretrained", "random"):
                continue
            if {group.title, floor.title} in unequal:
                left_out.append(f"{init} (not on equal terms)")
            elif not seeds:
                left_out.append(f"{init} (no seed in common with pre-trained and random runs)")
            else:
                own, top, bottom = (of.only(seeds).test for of in (group, whole, floor))
                gain = difference_over_seeds(own, bottom, paired=True)
                rungs.append(Rung(group.only(seeds), gain, ratio_of_means(own - bottom, top - bottom)))
        if rungs:
            top_group, bottom_group = whole.only(both), floor.only(both)
            gap = difference_over_seeds(top_group.test, bottom_group.test, paired=True)
            made.append(Ladder(top_group, bottom_group, gap, rungs, left_out))
    return made
