"""Compute which part of the gain of pre-training each init between random and pre-trained weights brings."""

from dataclasses import dataclass

from analysis.evidence import Evidence, Group
from analysis.statistics import Estimate, difference_over_seeds, ratio_of_means


@dataclass(frozen=True)
class Rung:
    """An init, its gain over random weights (points), and its share of the gain of pre-trained weights.

    Gain and share are over the seeds that pre-trained, random and this init's runs have.
    """

    group: Group
    gain: Estimate
    share: Estimate


def ladders(evidence: Evidence) -> list[tuple[Group, Group, list[Rung]]]:
    """Return (pre-trained, random, the rungs between them) for each set of groups with at least one rung between."""
    found: dict[tuple[str, ...], dict[str, Group]] = {}
    for group in evidence.groups:
        rest = tuple(value for key, value in group.names.items() if key != "init")
        found.setdefault(rest, {})[group.names["init"]] = group
    made = []
    for inits in found.values():
        if len(inits) < 3 or not {"pretrained", "random"} <= inits.keys():
            continue
        top, bottom = inits["pretrained"], inits["random"]
        rungs = []
        for init, group in inits.items():
            seeds = sorted(set(group.seeds) & set(top.seeds) & set(bottom.seeds))
            if init in ("pretrained", "random") or not seeds:
                continue
            own, whole, floor = (of.only(seeds).test for of in (group, top, bottom))
            gain = difference_over_seeds(own, floor, paired=True)
            rungs.append(Rung(group, gain, ratio_of_means(own - floor, whole - floor)))
        made.append((top, bottom, rungs))
    return made
