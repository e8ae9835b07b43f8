"""Write report.html, one file that needs no network, and report.md, both from the same sections."""

import base64
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from omegaconf import OmegaConf

from analysis.baselines import Baseline
from analysis.best_steps import RunResult
from analysis.evidence import Evidence, Group
from analysis.findings import (
    about_best_step,
    about_leaks,
    about_replications,
    about_std,
    absent,
    against_baseline,
    answers,
    at_commonest,
    comparisons,
    leak_effect,
    notes,
    tied_steps,
    worth_beside_baseline,
    worth_beside_leaks,
    worth_beside_schedule,
)
from analysis.leaks import leak_effects, leaked_ids, leaks_table
from analysis.replications import AS_SET, LONGER, REPORT, by_epoch, longer_schedule, sources, sources_table
from analysis.statistics import NEW_TEXTS, SAME_TEXTS
from analysis.tables import comparisons_table, groups_table, in_markdown, mean_and_std, results_table, steps_table
from analysis.verdict import (
    CANNOT_TELL,
    FALLS_TO,
    NOT_REPRODUCED,
    REPRODUCED,
    ClaimVerdict,
    Verdict,
    departures,
    errata,
    published,
    published_groups,
)
from data_prep.splits import split_notes
from data_prep.stages import read_manifest
from foundation.whole_files import write_text
from sweeps.commands import make_word
from sweeps.folders import read_json, texts_in

QUESTION = "How much does pre-training buy?"
LONG = 40  # rows; a longer table is collapsed
THRESHOLD = 70.0  # percent; the default test accuracy for the comparison of steps
FIRST = ("test_accuracy", "final_accuracy")  # figures directly below the answer
SOURCES = "published_sources"  # the figure next to the published numbers
ALSO = {
    "test_accuracy": "Test accuracy over steps.",
    "valid_accuracy": "Validation accuracy over steps.",
    "final_accuracy": "Test accuracy at the best step of each run.",
    "steps_to_threshold": "Steps to the threshold.",
    "seed_spread": "Spread over seeds.",
    "valid_against_test": "Validation against test accuracy.",
    "train_loss": "Training loss over steps.",
    "published_sources": "The report, the replications and these runs.",
}


@dataclass(frozen=True)
class Table:
    title: str
    frame: pd.DataFrame
    is_upright: bool = False  # each column describes one thing, read from top to bottom

    @property
    def is_long(self) -> bool:
        return len(self.frame) > LONG

    @property
    def html(self) -> str:
        return self.frame.to_html(index=False, header=True, border=0, classes="upright" if self.is_upright else None)

    @property
    def markdown(self) -> str:
        return in_markdown(self.frame)


@dataclass(frozen=True)
class Picture:
    name: str
    title: str  # the finding
    caption: str
    svg: Path

    @property
    def what(self) -> str:
        return ALSO[self.name]

    @property
    def source(self) -> str:
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.read_bytes()).decode("ascii")


@dataclass(frozen=True)
class Section:
    title: str
    paragraphs: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Material:
    """Everything that a report is made from."""

    sweep: str
    sweep_folder: Path
    data_dir: Path
    results: list[RunResult]
    evidence: Evidence
    baselines: dict[str, list[Baseline]]
    numbers: list[Verdict]
    claims: list[ClaimVerdict]
    titles: dict[str, tuple[str, str]]  # figure -> its finding and caption
    figures: Path
    problems: list[str]
    folders: dict[str, Path]  # run -> its folder
    scalars: pd.DataFrame  # every scalar of the sweep's logs


def upright(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the transposed table. The values of the first column become the header."""
    turned = frame.set_index(frame.columns[0]).T.rename_axis(index=None, columns=None).reset_index()
    return turned.rename(columns={"index": str(frame.columns[0])})


def sections(material: Material) -> list[Section]:
    """Return the sections of the report, from the answer down to the provenance."""
    evidence = material.evidence
    pictures = _pictures(material)
    missing = [*absent(material.results), *material.problems]
    ties = [said for group in evidence.groups if (said := tied_steps(group))]
    table = Table("", results_table(material.results, evidence, material.baselines))
    return [
        Section(
            "Answer",
            answers(evidence, material.results),
            _standing(material),
            pictures=[pictures[name] for name in FIRST if name in pictures],
        ),
        Section("Results", items=[about_std(), about_best_step(), *ties], tables=[table]),
        Section("Which ends higher, is faster, spreads less", items=_questions(evidence)),
        Section("What few seeds allow", items=notes(evidence)),
        *_beside_published(material, pictures.get(SOURCES)),
        _leaks(material),
        Section("More figures", pictures=[pictures[name] for name in pictures if name not in (*FIRST, SOURCES)]),
        _statistics(evidence),
        *_data_cards(material),
        _recipes(material),
        Section("Missing, failed, damaged or taken up again", [] if missing else ["None."], missing),
        _provenance(material),
    ]


def _pictures(material: Material) -> dict[str, Picture]:
    return {
        name: Picture(name, title, caption, material.figures / f"{name}.svg")
        for name, (title, caption) in material.titles.items()
    }


def _standing(material: Material) -> list[str]:
    """Return how far each init is from the first baseline, and which runs only match the commonest class."""
    standing = [
        against_baseline(comparison, baseline)
        for comparison in material.evidence.of_init()
        for baseline in material.baselines.get(comparison.one.names["dataset"], [])[:1]
    ]
    nothing = [
        at_commonest(group, material.baselines[group.names["dataset"]][-1])
        for group in material.evidence.groups
        if material.baselines.get(group.names["dataset"])
    ]
    return [*standing, *filter(None, nothing)]


def _questions(evidence: Evidence) -> list[str]:
    """Return each comparison's answers to the three questions, with its title when there are several comparisons."""
    found = comparisons(evidence)
    if len(found) == 1 and len(evidence.groups) == 2:
        return found[0][1]
    return [f"{title}. {' '.join(said)}" for title, said in found]


def _beside_published(material: Material, picture: Picture | None) -> list[Section]:
    """Return the published tables next to ours, only for the runs that belong to the published experiment.

    `picture` shows the sources of all datasets. The picture appears with the table of the first dataset.
    """
    evidence, report = material.evidence, published()
    parts = []
    others = [f"{group.title}: {', '.join(found)}." for group in evidence.groups if (found := departures(group))]
    if others:
        said = (
            "These runs are of the published dataset and model, and their training is not the published one, or is "
            "not recorded: they get no verdict."
        )
        slower = [group for group in evidence.groups if group.config.get(FALLS_TO) == longer_schedule()["falls_to"]]
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
            frame = side_by_side(backend, [group for group in groups if group.names["backend"] == backend])
            tables.append(Table(f"Table {number} ({backend}): published, and ours", frame))
        told = _of_validation(dataset)
        title = f"Beside the published tables: {dataset}, {report['model']}"
        parts.append(Section(title, [told] if told else [], tables=tables))
        shown = [picture] if picture and groups is next(iter(found_groups.values())) else []
        parts.append(_three_parties(material, dataset, groups, shown))
    verdicts = [Table("Published numbers", numbers_table(material.numbers))]
    if material.claims:
        verdicts.append(Table("Published claims", claims_table(material.claims)))
    margins = report["margins"]
    rule = (
        f"Rule for numbers: the 95 % interval of ours minus published lies within {margins['points']:g} points, "
        f"{margins['steps']} steps or a factor of {margins['ratio']:g}: {REPRODUCED}; wholly outside: "
        f"{NOT_REPRODUCED}; else: {CANNOT_TELL}. A single run is compared with what one more of our runs would "
        "give (prediction interval), a mean by Welch's t on the published runs and ours, a std by the F "
        "distribution. A claim holds when its interval or test says so at 5 %, and fails when it says the "
        "opposite."
    )
    parts.append(Section("Verdict", [rule], tables=verdicts))
    parts.append(Section("Errata of the published tables", items=errata()))
    parts.append(Section("What the published numbers are worth", items=_worth(material, list(found_groups))))
    return parts


def _worth(material: Material, datasets: list[str]) -> list[str]:
    """Return what puts the published numbers into perspective: leaks, a simple baseline, a longer schedule."""
    means = {source.init: source.mean for source in sources([]) if source.name == REPORT}
    said = []
    for dataset in datasets:
        splits = material.data_dir / "splits" / dataset
        if leaked := leaked_ids(splits):
            said.append(worth_beside_leaks(dataset, len(leaked), (read_manifest(splits) or {})["examples"]["test"]))
        for baseline in material.baselines.get(dataset, [])[:1]:
            said.append(worth_beside_baseline(dataset, baseline, means["pretrained"]))
    longer = longer_schedule()
    n, mean = len(longer["random"]), sum(longer["random"]) / len(longer["random"])
    said.append(worth_beside_schedule(longer["name"], longer["settings"], mean, n, means["random"]))
    return said


def _three_parties(material: Material, dataset: str, groups: list[Group], pictures: list[Picture]) -> Section:
    """Return our runs next to the report and the replications: test accuracies, and values after each epoch."""
    tables = [Table("Test accuracy at the best validation step", sources_table(sources(groups)))]
    for group in groups:
        frame = by_epoch(material.scalars, group, AS_SET)
        if len(frame):
            tables.append(Table(f"After each epoch: {group.title}, and replication {AS_SET}", frame))
    return Section(
        f"Published, replications, ours: {dataset}", [about_replications()], tables=tables, pictures=pictures
    )


def _of_validation(dataset: str) -> str:
    if dataset not in published()["own_validation_split"]:
        return ""
    return (
        "The published validation reviews are not known: ours are others, so best steps and validation accuracies "
        "get no verdict. The test reviews are the same."
    )


def side_by_side(backend: str, groups: list[Group]) -> pd.DataFrame:
    """Return the published table of one back end next to our runs of the same seeds."""
    rows = []
    for table in published()["tables"]:
        if table["backend"] != backend:
            continue
        group = next((group for group in groups if group.names["init"] == table["init"]), None)
        ours = {run.key.seed: run for run in group.runs} if group else {}
        for run in table["runs"]:
            own = ours.get(run["seed"])
            rows.append(
                {
                    "init": table["init"],
                    "seed": str(run["seed"]),
                    "published: best validation (step, %)": f"{run['best_step']}, {run['valid']:g}",
                    "published: test %": f"{run['test']:g}",
                    "ours: best validation (step, %)": f"{own.best_step}, {own.best_valid:.2f}"
                    if own
                    else "not trained",
                    "ours: test %": f"{own.test:.2f}" if own else "not trained",
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
                "ours: best validation (step, %)": f"n = {group.n}" if group else "not trained",
                "ours: test %": mean_and_std(group) if group else "not trained",
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


def claims_table(claims: list[ClaimVerdict]) -> pd.DataFrame:
    """Return the published claims and what our runs say about each."""
    return pd.DataFrame(
        [
            {
                "claim": claim.says,
                "where": claim.where,
                "compared": claim.comparison,
                "ours": claim.ours,
                "verdict": claim.verdict,
            }
            for claim in claims
        ]
    )


def _leaks(material: Material) -> Section:
    """Return the section on test texts that are also in train or validation; empty when there are none."""
    frame = leaks_table(material.evidence, material.data_dir)
    if frame.empty:
        return Section("Leaks")
    effects = [leak_effect(*found) for found in leak_effects(material.evidence, material.data_dir)]
    return Section("Leaks", [about_leaks()], effects, [Table("", frame)])


def _statistics(evidence: Evidence) -> Section:
    tables = []
    if evidence.comparisons:
        tables.append(Table("Comparisons", upright(comparisons_table(evidence)), is_upright=True))
    tables.append(Table("Groups of runs", upright(groups_table(evidence)), is_upright=True))
    tables.append(Table(f"Steps to {evidence.threshold:g} % test accuracy", steps_table(evidence)))
    without = [
        f"{group.title}: no interval for {NEW_TEXTS}, because {group.no_texts}."
        for group in evidence.groups
        if group.no_texts
    ]
    target = f"Every interval that does not name another target is for {SAME_TEXTS}."
    return Section("Statistics", [target], items=without, tables=tables)


def _configs(material: Material) -> dict[str, Any]:
    """Return the configuration of the first run of each group, by the group's title."""
    found = {}
    for group in material.evidence.groups:
        path = material.folders[str(group.runs[0].key)] / "config.yaml"
        if path.is_file():
            found[group.title] = OmegaConf.to_container(OmegaConf.load(path))
    return found


def _data_cards(material: Material) -> list[Section]:
    cards = []
    for dataset, model in dict.fromkeys((g.names["dataset"], g.names["model"]) for g in material.evidence.groups):
        splits = read_manifest(material.data_dir / "splits" / dataset)
        binarised = read_manifest(material.data_dir / "bin" / f"{dataset}.{model}")
        if splits is None or binarised is None:
            missing = f"{material.data_dir} does not hold {dataset} for {model}: no sizes, no lengths"
            cards.append(Section(f"Data: {dataset}", [missing]))
            continue
        frame = pd.DataFrame(
            [
                {
                    "split": split,
                    "examples": f"{n:,}",
                    **{
                        f"class {label}": f"{count:,}"
                        for label, count in zip(splits["labels"], splits["per_class"][split], strict=True)
                    },
                    "tokens a text": f"{binarised['tokens'][split] / n:.0f}",
                    f"cut at {binarised['max_positions']} tokens": f"{100 * binarised['cut'][split]['share']:.1f} %",
                    "unknown tokens": f"{100 * binarised['unknown_share'][split]:.3f} %",
                }
                for split, n in splits["examples"].items()
            ]
        )
        about = f"{splits['title']}: {splits['task']}. Licence: {splits['licence']}. Source: {splits['citation']}."
        cards.append(Section(f"Data: {dataset}", [about], split_notes(splits), [Table("", frame)]))
    return cards


def _recipes(material: Material) -> Section:
    rows = []
    for title, config in _configs(material).items():
        recipe = config.get("recipe", {})
        rows.append({"runs": title, **{key: str(value) for key, value in recipe.items()}})
    frame = upright(pd.DataFrame(rows)) if rows else pd.DataFrame()
    return Section("Training", tables=[Table("", frame, is_upright=True)] if rows else [])


def _provenance(material: Material) -> Section:
    records = {
        str(run.key): read_json(material.folders[str(run.key)] / "provenance.json")
        for group in material.evidence.groups
        for run in group.runs
    }
    facts: dict[str, list[str]] = {}
    for record in records.values():
        versions = ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items())
        inputs = record.get("inputs", {})
        told = {
            "commit": record.get("git_commit"),
            "machine": record.get("device"),
            "system": record.get("platform"),
            "precision": record.get("precision"),
            "threads a run": record.get("threads"),
            "versions": versions,
            "sha256 of the checkpoint": inputs.get("checkpoint"),
            **{f"sha256 of {name}": digest for name, digest in inputs.get("data", {}).items()},
        }
        for name, value in told.items():
            if value and str(value) not in facts.setdefault(name, []):
                facts[name].append(str(value))
    frame = pd.DataFrame([{"what": name, "value": "; ".join(values)} for name, values in facts.items()])
    commands = [*texts_in(read_json(material.sweep_folder / "sweep.json"), "commands"), _figures_command(material)]
    return Section(
        "Provenance",
        ["Commands that make all of this again:"],
        commands=commands,
        tables=[Table("", frame)] if len(frame) else [],
    )


def _figures_command(material: Material) -> str:
    folders = {"RUNS_DIR": material.sweep_folder.parent, "RESULTS_DIR": material.figures.parents[1]}
    words = ["make figures"]
    words += [make_word("SWEEP", material.sweep)] if material.sweep != "default" else []
    for name, folder in {**folders, "DATA_DIR": material.data_dir}.items():
        usual = Path(name.removesuffix("_DIR").lower())
        words += [make_word(name, str(folder))] if folder != usual else []
    threshold = material.evidence.threshold
    words += [f'ARGS="--threshold {threshold!r}"'] if threshold != THRESHOLD else []
    return " ".join(words)


def write_report(folder: Path, material: Material) -> None:
    """Write report.html and report.md."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    whole = [
        section
        for section in sections(material)
        if section.paragraphs or section.items or section.tables or section.pictures or section.commands
    ]
    made = datetime.now().astimezone().strftime("%d %B %Y")
    page = environment.get_template("report.html.jinja")
    write_text(folder / "report.html", page.render(question=QUESTION, sweep=material.sweep, made=made, sections=whole))
    write_text(folder / "report.md", as_markdown(whole, material.sweep, made))


def as_markdown(whole: list[Section], sweep: str, made: str) -> str:
    """Return the same report as Markdown. Figures are linked, not embedded."""
    parts = [f"# {QUESTION}", f"Sweep `{sweep}`, {made}."]
    for section in whole:
        parts += [f"## {section.title}", *section.paragraphs]
        parts += ["\n".join(f"- {item}" for item in section.items)] if section.items else []
        parts += ["```\n" + "\n".join(section.commands) + "\n```"] if section.commands else []
        for table in section.tables:
            parts += [f"### {table.title}"] if table.title else []
            parts.append(table.markdown)
        parts += [
            f"![{picture.what}](figures/{picture.name}.png)\n\n*{picture.title}.* {picture.caption}"
            for picture in section.pictures
        ]
    return "\n\n".join(parts) + "\n"
