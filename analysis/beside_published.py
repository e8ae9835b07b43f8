"""The report's sections on the published experiment: tables side by side, replications, verdicts, errata."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from analysis.baselines import Baseline
from analysis.groups import Group
from analysis.intervals import difference_over_seeds
from analysis.leaks import keeps_leaks, leaked_ids
from analysis.phrases import POSSIBLE, above, listed, prose
from analysis.replications import (
    AS_SET,
    LONGER,
    REPORT,
    SHARED_DRAWS,
    by_epoch,
    longer_schedule,
    sources,
    sources_table,
)
from analysis.sections import Material, Picture, Section, Table
from analysis.tables import mean_and_std
from analysis.verdict import (
    CANNOT_TELL,
    FALLS_TO,
    MEAN,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    WARM_UP,
    Verdict,
    departures,
    errata,
    published,
    published_groups,
    published_tests,
)
from data_prep.stages import read_manifest
from foundation.counts import counted

OTHER_VALIDATION = (
    "The published validation reviews are not known: ours are others, so best steps and validation accuracies "
    "get no verdict. The test reviews are the same."
)


def beside_published(material: Material, picture: Picture | None) -> list[Section]:
    """Return the published tables next to ours, only for the runs that belong to the published experiment.

    `picture` shows the sources of all datasets. The picture appears with the table of the first dataset.
    """
    evidence, report = material.evidence, published()
    parts = []
    others = [f"{group.title}: {', '.join(why.values())}." for group in evidence.groups if (why := departures(group))]
    if others:
        said = (
            "These runs are of the published dataset and model, and their training is not the published one, or is "
            "not recorded: they get no verdict."
        )
        slower = [
            group
            for group in evidence.groups
            if group.config.get(FALLS_TO) == longer_schedule()["falls_to"]
            and (departures(group) or {}).keys() == {FALLS_TO, WARM_UP}
        ]
        longer = [
            Table(f"After each epoch: {group.title}, and replication {LONGER}", frame)
            for group in slower
            if len(frame := by_epoch(material.scalars, group, LONGER))
        ]
        parts.append(Section("Not beside the published tables", [said], others, longer))
    found_groups = published_groups(evidence)
    if not found_groups:
        return parts
    for dataset, groups in found_groups.items():
        tables = []
        for number, backend in ((1, "fairseq"), (2, "hf")):
            if own := [group for group in groups if group.names["backend"] == backend]:
                numbers = [row for row in material.numbers if row.dataset == dataset]
                frame = side_by_side(backend, own, numbers)
                tables.append(Table(f"Table {number} ({backend}): published, replications, ours", frame))
        told = [OTHER_VALIDATION] if dataset in report["own_validation_split"] else []
        title = f"Beside the published tables: {dataset}, {report['model']}"
        parts.append(Section(title, told, tables=tables))
        shown = [picture] if picture and groups is next(iter(found_groups.values())) else []
        parts.append(_three_parties(material, dataset, groups, shown))
    verdicts = [Table("Published numbers", numbers_table([row for row in material.numbers if row.verdict != NOT_RUN]))]
    not_run = dict.fromkeys(row.where for row in material.numbers if row.verdict == NOT_RUN)
    if material.claims:
        claims = pd.DataFrame(material.claims).rename(columns={"says": "claim", "comparison": "compared"})
        verdicts.append(Table("Published claims", claims))
    margins = report["margins"]
    rule = (
        f"Rule for numbers: the 95 % interval of ours minus published lies within {margins['points']:g} points, "
        f"{margins['steps']} steps or a factor of {margins['ratio']:g}: {REPRODUCED}; wholly outside: "
        f"{NOT_REPRODUCED}; else: {CANNOT_TELL}. A single run is compared with what one more of our runs would "
        "give (prediction interval), a mean by Welch's t on the published runs and ours, a std by the F "
        "distribution. A claim holds when its interval or test says so at 5 %, and fails when it says the "
        "opposite."
    )
    left = [f"Not run, so without a verdict: {listed(not_run)}."] if not_run else []
    parts.append(Section("Verdict", [rule, *left], tables=verdicts))
    parts.append(Section("Errata of the published tables", items=errata()))
    parts.append(Section("What the published numbers are worth", items=_worth(material, found_groups)))
    return parts


def against_published(material: Material) -> list[str]:
    """Return both means and the verdict for each published mean that has runs of ours beside it, and the baseline."""
    inits = {table["where"]: table["init"] for table in published()["tables"]}
    said = []
    for row in material.numbers:
        if row.what == MEAN and row.ours is not None:
            ends = "no interval" if math.isnan(row.low) else f"95 % interval {row.low:+.2f} to {row.high:+.2f}"
            said.append(
                f"{prose(inits[row.where], True)} weights on {row.dataset}, trained as published, reach {row.ours:.2f} "
                f"% test accuracy on average, compared with {row.published:.2f} % ({row.where}). Ours minus published "
                f"is {row.difference:+.2f} points, {ends}: {row.verdict}."
            )
    return said + _simple(material, published_groups(material.evidence))


def _simple(material: Material, datasets: Iterable[str]) -> list[str]:
    """Return what a simple baseline on each dataset says about the published pre-trained model."""
    return [
        worth_beside_baseline(dataset, baseline, published_tests("pretrained"))
        for dataset in datasets
        for baseline in material.baselines.get(dataset, [])[:1]
    ]


def _worth(material: Material, found: dict[str, list[Group]]) -> list[str]:
    """Return what puts the published numbers into perspective: leaks, a simple baseline, a longer schedule."""
    said = []
    for dataset, groups in found.items():
        splits = material.data_dir / "splits" / dataset
        if any(keeps_leaks(group) for group in groups) and (leaked := leaked_ids(splits)):
            said.append(worth_beside_leaks(dataset, len(leaked), (read_manifest(splits) or {})["examples"]["test"]))
    said += _simple(material, found)
    longer = longer_schedule()
    said.append(worth_beside_schedule(longer["name"], longer["settings"], longer["random"], published_tests("random")))
    return said


def worth_beside_leaks(dataset: str, leaked: int, texts: int) -> str:
    return (
        f"Leaks: {leaked:,} of {counted(texts, 'test review')} of {dataset} stand among the training and validation "
        "reviews, too, and nobody who published numbers dropped them there."
    )


def worth_beside_baseline(dataset: str, baseline: Baseline, published: list[float]) -> str:
    mean = float(np.mean(published))
    return (
        f"A simple baseline: {baseline.name.split(',')[0]} reaches {baseline.test:.2f} % on {dataset} (95 % interval "
        f"{baseline.low:.2f} to {baseline.high:.2f} for new texts), {above(baseline.test - mean)} the published mean "
        f"of the pre-trained runs, {mean:.2f} % (n = {len(published)})."
    )


def worth_beside_schedule(name: str, settings: str, longer: list[float], published: list[float]) -> str:
    gap = difference_over_seeds(longer, published, paired=False)
    return (
        f"The schedule: replication {name} ({settings}) reaches {np.mean(longer):.2f} % from random weights "
        f"(n = {len(longer)}), {above(gap.value)} the published {np.mean(published):.2f} % (n = {len(published)}; "
        f"{gap.words('+.2f', *POSSIBLE)}, {gap.method.split(',')[0]}). So a part of the published gap between the "
        "inits is a choice of the schedule."
    )


def _three_parties(material: Material, dataset: str, groups: list[Group], pictures: list[Picture]) -> Section:
    """Return our runs next to the report and the replications: test accuracies, and values after each epoch."""
    found = {
        backend: sources(groups, backend)
        for backend in ("fairseq", "hf")
        if any(group.names["backend"] == backend for group in groups)
    }
    tables = [
        Table(f"Test accuracy at the best validation step ({backend})", sources_table(of_backend))
        for backend, of_backend in found.items()
    ]
    shares = any(SHARED_DRAWS in source.about for of_backend in found.values() for source in of_backend)
    n_sources = len(tables)
    for group in groups:
        frame = by_epoch(material.scalars, group, AS_SET)
        if group.names["backend"] == "fairseq" and len(frame):
            tables.append(Table(f"After each epoch: {group.title}, and replication {AS_SET}", frame))
    about = about_replications(shares, AS_SET if len(tables) > n_sources else None)
    return Section(f"Published, replications, ours: {dataset}", [about], tables=tables, pictures=pictures)


def about_replications(shares_draws: bool, name: str | None) -> str:
    """Return what stands in the tables. `name` is the replication whose values after each epoch stand there, if any."""
    said = (
        "Three parties: the published report, others who did the same exercise and made their runs public "
        "(replications, by letter), and the runs of this sweep."
    )
    if shares_draws:
        said += " Two replications have nearly the report's numbers, so the three are hardly independent of each other."
    if name is not None:
        said += (
            f" After each epoch, ours stand beside replication {name}, whose warm-up had 6 steps in place of 67; the "
            "interval is that of one more of its runs (Student's prediction interval)."
        )
    return said


def side_by_side(backend: str, groups: list[Group], numbers: list[Verdict]) -> pd.DataFrame:
    """Return the published table of one back end next to the replications and our runs of the same seeds."""
    rows = []
    verdicts = {(row.where, row.what): row.verdict for row in numbers}
    for table in published()["tables"]:
        if table["backend"] != backend:
            continue
        group = next((group for group in groups if group.names["init"] == table["init"]), None)
        others = [source for source in sources([], backend) if source.init == table["init"] and source.name != REPORT]
        letters = {source.name.removeprefix("replication "): source for source in others}
        ours = {run.key.seed: run for run in group.runs} if group else {}
        for number, run in enumerate(table["runs"]):
            own = ours.get(run["seed"])
            theirs = [f"{name} {source.values[number]:g}" for name, source in letters.items() if source.values]
            rows.append(
                {
                    "init": table["init"],
                    "seed": str(run["seed"]),
                    "published: best validation (step, %)": f"{run['best_step']}, {run['valid']:g}",
                    "published: test %": f"{run['test']:g}",
                    "replications: test %": ", ".join(theirs) or "none",
                    "ours: best validation (step, %)": f"{own.best_step}, {own.best_valid:.2f}" if own else "no result",
                    "ours: test %": f"{own.test:.2f}" if own else "no result",
                    "verdict": verdicts.get((table["where"], f"test accuracy, seed {run['seed']}"), NOT_RUN),
                }
            )
        told = table["printed"]
        tests = [run["test"] for run in table["runs"]]
        rows.append(
            {
                "init": table["init"],
                "seed": "mean, std",
                "published: best validation (step, %)": f"printed: {told['mean']}{told['unit']}, {told['std']}",
                "published: test %": f"of the three: {pd.Series(tests).mean():.2f}, {pd.Series(tests).std(ddof=0):.2f}",
                "replications: test %": ", ".join(f"{name} {source.mean:.2f}" for name, source in letters.items()),
                "ours: best validation (step, %)": f"n = {group.n}" if group else "no result",
                "ours: test %": mean_and_std(group) if group else "no result",
                "verdict": verdicts.get((table["where"], MEAN), NOT_RUN),
            }
        )
    return pd.DataFrame(rows)


def numbers_table(numbers: list[Verdict]) -> pd.DataFrame:
    """Return the published numbers, ours, the differences with their intervals and the verdicts."""

    def is_ratio(row: Verdict) -> bool:
        return row.unit == "ratio" and row.difference is not None and row.difference == row.difference

    def show(value: float | None, unit: str, signed: bool = False) -> str:
        if value is None or value != value:
            return "none"
        return f"{value:{'+' if signed and unit != 'ratio' else ''},.{0 if unit in ('steps', 'weights') else 2}f}"

    return pd.DataFrame(
        [
            {
                "dataset": row.dataset,
                "number": row.what,
                "where": row.where,
                "published": show(row.published, row.unit),
                "ours (over all seeds)": show(row.ours, row.unit),
                "difference": show(row.difference, row.unit, True) + " times" * is_ratio(row),
                "95 % interval": f"{show(row.low, row.unit, True)} to {show(row.high, row.unit, True)}"
                if row.low == row.low
                else "none",
                "verdict": row.verdict,
            }
            for row in numbers
        ]
    )
