"""Write report.html, one file that needs no network, and report.md, both from the same sections."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from omegaconf import OmegaConf

from analysis import THRESHOLD
from analysis.baselines import PROBE, Baseline, probe_of
from analysis.baselines_words import against_baseline, against_probe, failed, is_beaten
from analysis.beside_published import against_published, beside_published
from analysis.bought import Part, bought, dose_sentences
from analysis.dose import one_for_all
from analysis.estimates import NEW_TEXTS, SAME_TEXTS
from analysis.evidence import Evidence
from analysis.findings import answers, comparisons
from analysis.groups import ALL_TEXTS, Group, told
from analysis.leaks import leak_effects, leaked_ids, leaks_table
from analysis.notes import about_best_step, about_leaks, about_std, absent, leak_effect, notes, tied_steps, warnings
from analysis.phrases import listed
from analysis.sections import Material, Picture, Section, Table
from analysis.tables import comparisons_table, groups_table, steps_table
from data_prep.splits import split_notes
from data_prep.stages import read_manifest
from foundation.whole_files import write_text
from sweeps.commands import args_word, make_word
from sweeps.folders import read_json, texts_in
from sweeps.provenance import given_tables, table_words

QUESTION = "How much does pre-training buy?"
FIRST = ("dose", "labels", "ladder", "test_accuracy", "final_accuracy")  # figures directly below the answer
WIDE = 8  # groups; more of them are rows of their table
PARTS = {  # table -> title of its section
    "dose": "Doses",
    "labels": "Labels",
    "length": "A longer training",
    "ladder": "Parts of the first weights",
}
SOURCES = "published_sources"  # the figure next to the published numbers


def upright(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the transposed table. The values of the first column become the header."""
    turned = frame.set_index(frame.columns[0]).T.rename_axis(index=None, columns=None).reset_index()
    return turned.rename(columns={"index": str(frame.columns[0])})


def sections(material: Material, pictures: dict[str, Picture], parts: list[Part]) -> list[Section]:
    """Return the sections of the report, from the answer down to the provenance."""
    evidence, of_doses = material.evidence, dose_sentences(material)
    missing = [*absent(material.results), *material.problems]
    won, lost = _probes(material)
    ties = [said for group in evidence.groups if (said := tied_steps(group))]
    return [
        Section(
            "Answer",
            [
                *of_doses,
                *won,
                *against_published(material),
                *answers(evidence, material.results, bool(of_doses)),
                *bought(material),
            ],
            [*warnings(evidence), *lost, *_standing(material)],
            pictures=[pictures[name] for name in FIRST if name in pictures],
        ),
        Section("Results", items=[about_std(), about_best_step(), *ties], tables=[Table("", material.table)]),
        *(
            Section(f"{PARTS[part.name]}: {' · '.join(told(part.rest))}", [part.about], tables=[Table("", part.frame)])
            for part in parts
        ),
        Section("Which ends higher, is faster, spreads less", items=_questions(evidence)),
        Section("What few seeds allow", items=notes(evidence)),
        *beside_published(material, pictures.get(SOURCES)),
        _leaks(material),
        Section("More figures", pictures=[pictures[name] for name in pictures if name not in (*FIRST, SOURCES)]),
        _statistics(evidence),
        *_data_cards(material),
        _recipes(material),
        Section("Missing, failed, damaged or taken up again", [] if missing else ["None."], missing),
        _provenance(material),
    ]


def _standing(material: Material) -> list[str]:
    """Return how far each init is from the first baseline, and which runs learned nothing."""
    standing: list[str | None] = [
        against_baseline(comparison, baseline)
        for comparison in material.evidence.of_init()
        for baseline in _simple(material, comparison.one)[:1]
    ]
    standing += [
        failed(group, commonest) for group in material.evidence.groups for commonest in _simple(material, group)[-1:]
    ]
    return [said for said in standing if said]


def _simple(material: Material, group: Group) -> list[Baseline]:
    """Return TF-IDF and the commonest class, fitted on the training texts of a group's runs."""
    if group.is_whole:
        return material.baselines.get(group.names["dataset"], [])
    fits = material.fits.get((group.names["dataset"], group.names["model"], group.n_train or 0), [])
    return [fit for fit in fits if not fit.name.startswith(PROBE)]


def _probes(material: Material) -> tuple[list[str], list[str]]:
    """Return sentences on probes that beat the fully trained runs, which the answer begins with, and on the others."""
    won: list[str] = []
    lost: list[str] = []
    told_of: set[tuple[str, str, str]] = set()
    for group in material.evidence.groups:
        names = group.names
        fits = material.fits.get((names["dataset"], names["model"], group.n_train or 0), [])
        probe = probe_of(fits)
        of = (names["dataset"], names["model"], names["backend"])  # the usual length comes first
        is_whole = names["train"] == ALL_TEXTS and (names["init"], names["method"]) == ("pretrained", "full")
        if probe is not None and is_whole and of not in told_of:
            told_of.add(of)
            (won if is_beaten(group, probe) else lost).append(against_probe(group, probe))
    return won, lost


def _questions(evidence: Evidence) -> list[str]:
    """Return each comparison's answers to the three questions, with its title when there are several comparisons."""
    found = comparisons(evidence)
    if len(found) == 1 and len(evidence.groups) == 2:
        return found[0][1]
    return [f"{title}. {' '.join(said)}" for title, said in found]


def _leaks(material: Material) -> Section:
    """Return the section on test texts that are also in train or validation; empty when there are none."""
    frame = leaks_table(material.evidence, material.data_dir)
    if frame.empty:
        return Section("Leaks")
    effects = [leak_effect(*found) for found in leak_effects(material.evidence)]
    datasets = dict.fromkeys(group.names["dataset"] for group in material.evidence.groups)
    leaked = [dataset for dataset in datasets if leaked_ids(material.data_dir / "splits" / dataset)]
    return Section("Leaks", [about_leaks(leaked, bool(effects))], effects, [Table("", frame)])


def _statistics(evidence: Evidence) -> Section:
    tables = []
    if evidence.comparisons:
        tables.append(Table("Comparisons", upright(comparisons_table(evidence)), is_upright=True))
    groups = groups_table(evidence)
    is_upright = len(groups) <= WIDE
    tables.append(Table("Groups of runs", upright(groups) if is_upright else groups, is_upright=is_upright))
    tables.append(Table(f"Steps to {evidence.threshold:g} % test accuracy", steps_table(evidence)))
    without = [
        f"{group.title}: no interval for {NEW_TEXTS}, because {group.no_texts}."
        for group in evidence.groups
        if group.no_texts
    ]
    target = f"Every interval that does not name another target is for {SAME_TEXTS}."
    return Section("Statistics", [target], items=without, tables=tables)


def _data_cards(material: Material) -> list[Section]:
    cards = []
    groups = one_for_all(material.evidence, material.doses)
    for dataset, model in dict.fromkeys((group.names["dataset"], group.names["model"]) for group in groups):
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
                    "tokens per text": f"{binarised['tokens'][split] / n:.0f}",
                    f"cut at {binarised['max_positions']} tokens": f"{100 * binarised['cut'][split]['share']:.1f} %",
                    "unknown tokens": f"{100 * binarised['unknown_share'][split]:.3f} %",
                }
                for split, n in splits["examples"].items()
            ]
        )
        about = f"{splits['title']}: {splits['task']}. Licence: {splits['licence']}. Source: {splits['citation']}."
        given = given_tables(splits)
        if given:  # the user's own: the commands of an older sweep do not name them
            parts = {"train": "train and test" if "n_test" in given else "train", "valid": "valid", "test": "test"}
            read = listed(f"{Path(given[part]).name} ({what})" for part, what in parts.items() if part in given)
            again = make_word("ARGS", args_word(table_words(given)))
            about += f" `make prep` read {read}; without data/splits/{dataset} it needs them again ({again})."
        cards.append(Section(f"Data: {dataset}", [about], split_notes(splits), [Table("", frame)]))
    return cards


def _recipes(material: Material) -> Section:
    """Return the section on the recipe of each group, by the configuration of its first run; once for all doses."""
    rows = []
    for group in one_for_all(material.evidence, material.doses):
        path = material.folders[str(group.runs[0].key)] / "config.yaml"
        if not path.is_file():
            continue
        config: Any = OmegaConf.to_container(OmegaConf.load(path))
        recipe = config.get("recipe", {})
        words = {key: str(value) for key, value in recipe.items()}
        if config.get("n_train") and recipe.get("updates") == "full":
            words["epochs"] = f"{words['epochs']} of all texts; as many steps on {config['n_train']}"
        if config.get("length", 1) > 1:
            words["epochs"] += f"; {config['length']} times the steps"
            words["evaluate_every"] += f", at {config['length']} times each of its steps"
        rows.append({"runs": group.title, **words})
    said = ["The doses of a curve have the data and the settings of its dose 0."] if material.doses else []
    tables = [Table("", upright(pd.DataFrame(rows)), is_upright=True)] if rows else []
    return Section("Training", said if rows else [], tables=tables)


def _provenance(material: Material) -> Section:
    facts: dict[str, dict[str, None]] = {}  # each value once, in the order of the runs
    for run in (run for group in material.evidence.groups for run in group.runs):
        record = read_json(material.folders[str(run.key)] / "provenance.json")
        versions = ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items())
        inputs = record.get("inputs", {})
        told = {
            "commit": record.get("git_commit"),
            "machine": record.get("device"),
            "system": record.get("platform"),
            "precision": record.get("precision"),
            "threads per run": record.get("threads"),
            "versions": versions,
            "sha256 of the checkpoint": inputs.get("checkpoint"),
            **{f"sha256 of {name}": digest for name, digest in inputs.get("data", {}).items()},
        }
        for name, value in told.items():
            if value:
                facts.setdefault(name, {})[str(value)] = None
    frame = pd.DataFrame([{"what": name, "value": "; ".join(values)} for name, values in facts.items()])
    commands = [*texts_in(read_json(material.sweep_folder / "sweep.json"), "commands"), _figures_command(material)]
    return Section(
        "Provenance",
        ["Commands that make all of this again:"],
        commands=commands,
        tables=[Table("", frame)] if len(frame) else [],
    )


def _figures_command(material: Material) -> str:
    folders = {"RUNS_DIR": material.sweep_folder.parent, "RESULTS_DIR": material.folder.parent}
    words = ["make figures"]
    words += [make_word("SWEEP", material.sweep)] if material.sweep != "default" else []
    for name, folder in {**folders, "DATA_DIR": material.data_dir}.items():
        usual = Path(name.removesuffix("_DIR").lower())
        words += [make_word(name, str(folder))] if folder != usual else []
    threshold = material.evidence.threshold
    words += [f'ARGS="--threshold {threshold!r}"'] if threshold != THRESHOLD else []
    return " ".join(words)


def write_report(material: Material, pictures: dict[str, Picture], parts: list[Part]) -> None:
    """Write report.html and report.md."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["jinja"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    whole = [
        section
        for section in sections(material, pictures, parts)
        if section.paragraphs or section.items or section.tables or section.pictures or section.commands
    ]
    made = datetime.now().astimezone().strftime("%d %B %Y")
    page = environment.get_template("report.html.jinja")
    write_text(
        material.folder / "report.html", page.render(question=QUESTION, sweep=material.sweep, made=made, sections=whole)
    )
    write_text(material.folder / "report.md", as_markdown(whole, material.sweep, made))


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
