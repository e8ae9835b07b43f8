"""Choose the seeds that two groups are paired by, and the seeds that all points of a curve share."""

from analysis.groups import Group


def pairs_of(one: list[int], other: list[int]) -> list[int]:
    """Return the seeds to pair: the seeds that both groups have, at least two and at least half of the larger group.

    Groups with the same seeds are always paired. No seeds: the groups are compared unpaired, with all their runs.
    """
    both = sorted(set(one) & set(other))
    if one == other or (len(both) >= 2 and 2 * len(both) >= max(len(one), len(other))):
        return both
    return []


def of_common_seeds(points: dict[int, list[Group]], needed: int) -> tuple[dict[int, list[Group]], list[str]]:
    """Return the points of a curve with the runs of the seeds that all of them have, and what is left out, and why.

    A point that lacks seeds of the others is left out when more runs stay in the curve without it. The point `needed`
    always stays. Fewer than two points are no curve: no seed is in all of them.
    """
    own = {
        place: frozenset[int].intersection(*(frozenset(group.seeds) for group in at)) for place, at in points.items()
    }
    candidates = {own[needed]}
    for there in set(own.values()):
        candidates |= {seeds & there for seeds in candidates}

    def with_all(seeds: frozenset[int]) -> list[int]:
        return [place for place in own if seeds <= own[place]]

    def kept_runs(seeds: frozenset[int]) -> tuple[int, int, list[int]]:
        kept = with_all(seeds)
        n = sum(len(points[place]) for place in kept) * len(seeds)
        return (n if len(kept) > 1 else 0), len(kept), [-seed for seed in sorted(seeds)]  # on a tie the lower seeds

    seeds = max(candidates, key=kept_runs)
    kept = with_all(seeds) if kept_runs(seeds)[0] else []
    left_out = [
        f"{group.title} (no runs of seed {', '.join(map(str, sorted(seeds - own[place])))} there)"
        for place in own
        if place not in kept
        for group in points[place]
    ]
    others = [run for place in kept for group in points[place] for run in group.runs if run.key.seed not in seeds]
    chosen = {place: [group.only(sorted(seeds)) for group in points[place]] for place in kept}
    return chosen, left_out + [f"{run.key} (a seed that not all have)" for run in others]


def with_left_out(why: str, left_out: list[str]) -> str:
    """Return why there is no curve, with what had no place in it before."""
    return f"{why}. Left out: {'; '.join(left_out)}" if left_out else why
