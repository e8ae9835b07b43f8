"""Write the results table in the published layout as Markdown, CSV and LaTeX, with explanations in its foot."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from analysis.baselines import PROBE, Baseline, Fits
from analysis.best_steps import RunResult, by_group
from analysis.crossings import WAVER
from analysis.estimates import NEW_TEXTS, SAME_TEXTS, Estimate
from analysis.evidence import Evidence
from analysis.findings import answers, needed_words, pairing, permutation_words, spread_words, std_cell
from analysis.groups import ALL_TEXTS, Group, names_of, told
from analysis.notes import about_best_step, about_std, absent, notes, warnings
from analysis.phrases import POSSIBLE
from analysis.sections import in_markdown
from analysis.steps_words import ratio_cell
from foundation.counts import counted
from foundation.whole_files import write_text

BEST, MEAN = "best validation (step, accuracy %)", "mean, std"
NO_ANSWERS = "none (the texts' answers are not known)"


def results_table(
    results: list[RunResult],
    evidence: Evidence,
    baselines: dict[str, list[Baseline]] | None = None,
    fits: Fits | None = None,
) -> pd.DataFrame:
    """Return one row for each run, then one row for each baseline.

    Columns are model, seed, best validation (step, accuracy %) and test %. The first row of a group also has the mean
    and std of the group (ddof 0, as published), n and the 95 % intervals of the mean.
    """
    groups = {tuple(group.names.values()): group for group in evidence.groups}
    rows = []
    for names, members in by_group(results).items():
        dataset, model, backend, method, init, *_ = names
        in_words = names_of(names)
        group = groups.get(tuple(in_words.values()))
        trained = "".join(f", {name}" for name in told({key: in_words[key] for key in ("train", "length")}))
        for number, result in enumerate(members):
            first = number == 0
            best = f"{result.best_step}, {result.best_valid:.2f}" if result.best_step is not None else result.status
            rows.append(
                {
                    "dataset": dataset if first else "",
                    "model": f"{init} {model} ({backend}, {method}){trained}" if first else "",
                    "seed": result.key.seed,
                    BEST: best,
                    "test %": f"{result.test:.2f}" if result.test is not None else "none",
                    MEAN: mean_and_std(group) if first else "",
                    "n": (group.n if group else 0) if first else "",
                    f"95 %: {SAME_TEXTS}": within(group.over_seeds if group else None) if first else "",
                    f"95 %: {NEW_TEXTS}": within(group.over_texts if group else None) if first else "",
                }
            )
    simple = [(dataset, "", baseline) for dataset, found in (baselines or {}).items() for baseline in found]
    whole = {
        (group.names["dataset"], group.names["model"], group.n_train)
        for group in evidence.groups
        if group.names["train"] == ALL_TEXTS
    }
    simple += [
        (dataset, f", {model}" if (dataset, model, n) in whole else f", {model}, {counted(n, 'training text')}", probe)
        for (dataset, model), n in _most_texts(fits or {}).items()
        for probe in (fits or {})[dataset, model, n]
        if probe.name.startswith(PROBE)
    ]
    for dataset, of_model, baseline in simple:
        rows.append(
            {
                "dataset": dataset,
                "model": f"{baseline.name}{of_model}",
                "seed": "no seed",
                BEST: f"no steps, {baseline.valid:.2f}",
                "test %": f"{baseline.test:.2f}",
                MEAN: "one fit" if baseline.seconds is None else f"one fit, {baseline.seconds:.0f} s",
                "n": "",
                f"95 %: {SAME_TEXTS}": "no seeds",
                f"95 %: {NEW_TEXTS}": f"{baseline.low:.2f} to {baseline.high:.2f}",
            }
        )
    return pd.DataFrame(rows)


def runs_table(results: list[RunResult], evidence: Evidence) -> pd.DataFrame:
    """Return one row of plain values for each run, of failed and missing ones, too, for other programs.

    Accuracies are in percent; `train` is the number of training texts, `length` is 3 for 3 times the recipe's steps,
    `steps` is the last step that was evaluated. What is not known is missing.
    """
    of_all = {of.names["dataset"]: of.n_train for of in evidence.groups if of.names["train"] == ALL_TEXTS}
    frame = pd.DataFrame(
        {
            **asdict(run.key),
            "train": run.key.train or of_all.get(run.key.dataset),
            "state": run.status,
            "steps": None if run.curve.empty else run.curve["step"].max(),
            "best_step": run.best_step,
            "valid": run.best_valid,
            "test": run.test,
        }
        for run in results
    )
    return frame.astype({"train": "Int64", "steps": "Int64", "best_step": "Int64"})


def _most_texts(fits: Fits) -> dict[tuple[str, str], int]:
    """Return the largest number of training texts that there are fits for, for each dataset and model."""
    return {key[:2]: max(other[2] for other in fits if other[:2] == key[:2]) for key in fits}


def mean_and_std(group: Group | None) -> str:
    """Return a group's mean and std (ddof 0), with words for a value that is missing."""
    if group is None:
        return "none"
    return f"{group.spread.mean:.2f}, {group.spread.std:.2f}" if group.n > 1 else f"{group.spread.mean:.2f}, no std"


def within(estimate: Estimate | None) -> str:
    """Return an interval of accuracies, limited to 0 to 100, or why there is none."""
    return "none" if estimate is None else estimate.ends(least=0, most=100)


def comparisons_table(evidence: Evidence) -> pd.DataFrame:
    """Return one row for each comparison: the difference with both intervals, and every test."""
    rows = []
    for c in evidence.comparisons:
        texts = c.difference_over_texts
        rows.append(
            {
                "comparison": c.title,
                "pairing": pairing(c),
                "difference, points": f"{c.difference.value:+.2f}",
                f"95 %: {SAME_TEXTS}": c.difference.ends("+.2f", *POSSIBLE),
                f"95 %: {NEW_TEXTS}": NO_ANSWERS if texts is None else texts.ends("+.2f", *POSSIBLE),
                "permutation test p": permutation_words(c),
                "std (ddof 0), first; second": f"{std_cell(c.one)}; {std_cell(c.other)}",
                "Brown-Forsythe p": spread_words(c),
                f"steps to {c.threshold:g} %, second to first": ratio_cell(c),
                "never reached, first / second": " / ".join(f"{of.n_censored} of {of.n}" for of in (c.one, c.other)),
                "seeds to see a difference with 80 % power": needed_words(c),
            }
        )
    return pd.DataFrame(rows)


def groups_table(evidence: Evidence) -> pd.DataFrame:
    """Return one row for each group: mean, std, and the gain of the best step by validation over the last step."""
    return pd.DataFrame(
        [
            {
                "runs": group.title,
                "n": str(group.n),
                "mean test %": f"{group.spread.mean:.2f}",
                f"95 %: {SAME_TEXTS}": group.over_seeds.ends(least=0, most=100),
                f"95 %: {NEW_TEXTS}": group.over_texts.ends(least=0, most=100)
                if group.over_texts is not None
                else NO_ANSWERS,
                "std (ddof 0), and 95 % of the true std": std_cell(group),
                "test at the best step minus test at the last, points": f"{group.best_minus_last:+.2f}",
            }
            for group in evidence.groups
        ]
    )


def steps_table(evidence: Evidence) -> pd.DataFrame:
    """Return the two evaluations that give the bracket of each run.

    They are the first evaluation at or above the threshold and the last evaluation before it that is clearly below.
    """
    rows = []
    for group in evidence.groups:
        for run, bracket in zip(group.runs, group.brackets, strict=True):
            last, seen = int(run.curve["step"].max()), (run.curve["step"] == bracket.low - 1).any()
            never = bracket.is_censored
            rows.append(
                {
                    "run": str(run.key),
                    f"more than {WAVER:g} points below at step": f"{bracket.low - 1}" if seen else "never",
                    "at or above at step": "never" if never else f"{bracket.high:.0f}",
                    "last step": str(last),
                }
            )
    return pd.DataFrame(rows)


def foot(
    results: list[RunResult],
    evidence: Evidence,
    classes: dict[str, list[str]],
    problems: list[str],
    of_doses: list[str],
    of_bought: list[str],
) -> list[str]:
    """Return the sentences below the table: the answer first, and every run that is missing, failed or damaged."""
    lines = [
        *of_doses,
        *answers(evidence, results, bool(of_doses)),
        *of_bought,
        *warnings(evidence),
        about_best_step(),
        about_std(),
        *notes(evidence),
        *(f"{dataset}: {len(names)} classes, {', '.join(names)}." for dataset, names in classes.items()),
        *problems,
    ]
    without = absent(results)
    if without:
        lines.append(f"Not in the figures above: {'; '.join(without)}.")
    return lines


def write_tables(folder: Path, table: pd.DataFrame, below: list[str], more: dict[str, pd.DataFrame]) -> None:
    """Write results.md, results.csv and results.tex: the table, and the sentences below it. Write each of `more`, too.

    `more` has further tables by name, which are written as .md and .csv.
    """
    for name, frame in more.items():
        write_text(folder / f"{name}.md", in_markdown(frame) + "\n")
        write_text(folder / f"{name}.csv", frame.to_csv(index=False))
    markdown = in_markdown(table)
    write_text(folder / "results.md", f"{markdown}\n\n" + "\n".join(f"- {note}" for note in below) + "\n")
    write_text(folder / "results.csv", table.to_csv(index=False))
    latex = table.rename(columns=lambda name: name.replace("%", r"\%")).replace({"_": r"\_", "%": r"\%"}, regex=True)
    comment = "".join(f"% {note}\n" for note in below)
    write_text(folder / "results.tex", comment + latex.to_latex(index=False, escape=False))
