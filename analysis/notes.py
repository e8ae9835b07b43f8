"""Words what is missing, failed, damaged or tied, how results are read, what leaks change, what few seeds allow."""

from collections import Counter
from pathlib import Path

import numpy as np

from analysis.best_steps import RunResult
from analysis.comparisons import Comparison
from analysis.estimates import NEW_TEXTS, SAME_TEXTS, Estimate
from analysis.event_files import SweepLogs
from analysis.evidence import Evidence
from analysis.groups import Group
from analysis.intervals import std_factors
from analysis.phrases import CHANCE, POSSIBLE, listed, prose, seeds_words, with_texts
from foundation.counts import counted

FEW = 5  # seeds; with fewer, the report says in words what the seeds can show
FEW_TEXTS = 50  # of validation; with fewer, one text is more than 2 points
T_BOUND = {2: "12.7", 3: "4.3", 4: "3.2"}  # n -> standard errors on each side of a mean, by Student's t


# --- runs that are missing, failed, damaged or not recorded


def absent(results: list[RunResult]) -> list[str]:
    """Return the runs without a test accuracy, each with its state."""
    return [
        f"{result.key} ({result.status}{f': {result.why}' if result.why else ''})"
        for result in results
        if result.test is None
    ]


def states_of(results: list[RunResult]) -> tuple[str, str]:
    """Return how many runs without results are in which state, and what to do about them."""
    states = Counter(run.status for run in results)
    todo = "Mend what stopped them and call the same `make sweep` again"
    if states.keys() <= {"missing", "pending", "running"}:
        todo = "They are not trained to their end; call the same `make sweep` again"
    return ", ".join(f"{n} {state}" for state, n in sorted(states.items())), todo


def nothing_to_report(sweep: str, sweep_folder: Path, results: list[RunResult]) -> str:
    """Return why a sweep has no run with results, and what to do."""
    if not results:
        return f"{sweep_folder} holds no run; `make sweep SWEEP={sweep}` trains some"
    states, advice = states_of(results)
    first = next((f"; {absent([run])[0]}" for run in results if run.why), "")
    return f"{sweep_folder} holds no run with results ({states}){first}. {advice}"


def unrecorded(evidence: Evidence, folders: dict[str, Path]) -> list[str]:
    """Return a sentence for each run that has a test accuracy but no record of its configuration or inputs."""
    said = []
    for name in (str(run.key) for group in evidence.groups for run in group.runs):
        gone = [file for file in ("config.yaml", "provenance.json") if not (folders[name] / file).is_file()]
        if gone:
            is_ = "is" if len(gone) == 1 else "are"
            said.append(f"{name}: {listed(gone)} {is_} not there, so whether the run is alike the others is not known.")
    return said


def problems_of_logs(logs: SweepLogs, results: list[RunResult]) -> list[str]:
    """Return sentences on damaged files, further attempts and skipped steps of the runs that have a test accuracy."""
    have = {result.key for result in results if result.test is not None}
    counts = {
        key: {name: n for name, n in status.items() if isinstance(n, int)}
        for key, status in logs.statuses.items()
        if key in have
    }
    return [
        *(sentence for key, sentences in logs.damage.items() if key in have for sentence in sentences),
        *(
            f"{key} took {counted(of['attempts'], 'attempt')} (cut and taken up, or redone)."
            for key, of in counts.items()
            if of.get("attempts", 1) > 1
        ),
        *(
            f"{key} skipped {of['skipped_steps']:,} of {counted(of['planned_steps'], 'step')}: the gradients "
            "overflowed."
            for key, of in counts.items()
            if of.get("skipped_steps", 0) > 0 and "planned_steps" in of
        ),
    ]


# --- how the results are read


def about_std() -> str:
    return (
        f"std: over seeds, ddof 0. {SAME_TEXTS.capitalize()}: Student's t. "
        f"{NEW_TEXTS.capitalize()}: crossed random effects of seeds and texts; for a baseline, Wilson's interval."
    )


def about_best_step() -> str:
    return (
        "Best step: highest validation accuracy, the earliest on a tie; test accuracy is read there and chooses "
        "nothing."
    )


def tied_steps(group: Group) -> str | None:
    """Return how the rule for tied best steps changes a group's mean, or None when it changes no run's accuracy."""
    latest = {run.key.seed: run.latest for run in group.runs if run.latest is not None}
    if all(latest[run.key.seed][1] == run.test for run in group.runs if run.key.seed in latest):
        return None
    tests = [latest[run.key.seed][1] if run.key.seed in latest else run.test or 0.0 for run in group.runs]
    told = listed(f"seed {seed} (step {step}: {test:.2f} %)" for seed, (step, test) in latest.items())
    return (
        f"{group.title}: {counted(len(latest), 'run')} of {group.n} "
        f"{'has its' if len(latest) == 1 else 'have their'} highest validation accuracy at several steps. The earliest "
        f"counts here: mean test accuracy {group.spread.mean:.2f} %. Stock fairseq keeps the latest, {told}: "
        f"{np.mean(tests):.2f} %."
    )


def warnings(evidence: Evidence) -> list[str]:
    """Return which runs are judged before their first update, and which validation splits hardly tell steps apart."""
    said = []
    for group in evidence.groups:
        seeds = [run.key.seed for run in group.runs if run.best_step == 0]
        if seeds:
            said.append(
                f"{group.title}: the best step of {seeds_words(seeds)} is 0, so the test accuracy there is that of the "
                "weights before the first update: by validation, training did not help. Train longer, or draw more "
                "validation texts."
            )
    sizes = {group.names["dataset"]: (group.inputs.get("examples") or {}).get("valid") for group in evidence.groups}
    said += [
        f"{dataset}: {counted(n, 'validation text')}: one text is {100 / n:.2f} points, so the best step is chosen "
        "almost by chance. With a table of your own dataset.n_valid=N draws more."
        for dataset, n in sizes.items()
        if n and n < FEW_TEXTS
    ]
    return said


# --- what few seeds allow


def notes(evidence: Evidence) -> list[str]:
    """Return the limits of few seeds: for a group by its number of seeds, for a comparison by its permutation test."""
    said = [sentence for n in sorted({group.n for group in evidence.groups}) for sentence in of_few(n)]
    tests = [
        of_test(c) for c in evidence.comparisons if c.permutation.smallest > CHANCE and min(c.one.n, c.other.n) > 1
    ]
    return [*said, *dict.fromkeys(tests)]


def of_few(n: int) -> list[str]:
    """Return what n seeds can show about a group; empty from five seeds on."""
    if n >= FEW:
        return []
    if n == 1:
        return ["One seed is one draw: it has no interval and no spread, and does not tell what another seed gives."]
    low, high = std_factors(n)
    return [
        f"{n} seeds: the 95 % interval of a mean reaches {T_BOUND[n]} standard errors to each side (2.3 with ten "
        f"seeds), and rests on accuracies that are normal over seeds, which {n} seeds cannot show.",
        f"{n} seeds: the true std may be {low:.2f} to {high:.1f} times the std in the table (ddof 0).",
    ]


def of_test(c: Comparison) -> str:
    """Return the smallest p that a permutation test can give with the few runs of a comparison."""
    if c.paired:
        what = f"A sign-flip test of {counted(c.one.n, 'pair')}"
    else:
        what = f"A permutation test of {c.one.n} against {counted(c.other.n, 'run')}"
    return f"{what} cannot give a p below {c.permutation.smallest:.3g}, so it never reaches {CHANCE:.2g}."


# --- leaks


def about_leaks(datasets: list[str], has_both_sides: bool) -> str:
    """Return how the table of leaks is to be read. `datasets` are those with leaked test texts."""
    said = (
        "Some test texts stand in train or validation, too, perhaps in other case, or did before prep dropped them. "
        "These texts may also be easier or harder than the others, so the difference in the table is not what the "
        "leaks bring."
    )
    if has_both_sides:
        return said
    sides = "the same dataset with dataset.leaks=keep and without, under two names"
    if set(datasets) <= {"cls_books", "cls_books_published"}:
        sides = "DATASET=cls_books and cls_books_published"
    return f"{said} Runs with and without them tell that: train {sides} in one SWEEP."


def leak_effect(kept: Group, dropped: Group, difference: Estimate) -> str:
    """Return the effect of the leaks: runs with the leaks minus runs of the same seeds without the leaks."""
    return (
        f"{prose(kept.names['init'], opens=True)} runs ({kept.names['model']}, {kept.names['backend']}, "
        f"{kept.names['method']}){with_texts(kept.names)}, with the leaks minus without them ({kept.names['dataset']}, "
        f"{dropped.names['dataset']}): {difference.value:+.2f} points of test accuracy over "
        f"{counted(kept.n, 'paired seed')}, {difference.words('+.2f', *POSSIBLE)}."
    )
