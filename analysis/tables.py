"""The results table in the published layout, as Markdown, CSV and LaTeX, with what it rests on in its foot."""

from pathlib import Path

import pandas as pd

from analysis.baselines import Baseline
from analysis.best_steps import RunResult, by_group
from analysis.evidence import Evidence, Group
from analysis.findings import answer, interval, no_answer, notes
from analysis.statistics import NEW_TEXTS, SAME_TEXTS, Estimate
from data_prep.whole_files import write_text

BEST, MEAN = "best validation (step, accuracy %)", "mean, std"


def results_table(
    results: list[RunResult], evidence: Evidence, baselines: dict[str, list[Baseline]] | None = None
) -> pd.DataFrame:
    """Return one row a run: model, seed, best validation (step, accuracy %), test %, and on a group's first row its
    mean and std (ddof 0, as published) with n and the 95 % intervals of the mean; below, a row a baseline."""
    groups = {tuple(group.names.values()): group for group in evidence.groups}
    rows = []
    for names, members in by_group(results).items():
        dataset, model, backend, method, init = names
        group = groups.get(names)
        for number, result in enumerate(members):
            first = number == 0
            best = f"{result.best_step}, {result.best_valid:.2f}" if result.best_step is not None else result.status
            rows.append({
                "dataset": dataset if first else "",
                "model": f"{init} {model} ({backend}, {method})" if first else "",
                "seed": result.key.seed,
                BEST: best,
                "test %": f"{result.test:.2f}" if result.test is not None else "-",
                MEAN: _mean(group) if first else "",
                "n": (len(group.runs) if group else 0) if first else "",
                f"95 %: {SAME_TEXTS}": _within(group.over_seeds if group else None) if first else "",
                f"95 %: {NEW_TEXTS}": _within(group.over_texts if group else None) if first else "",
            })  # fmt: skip
    for dataset, found in (baselines or {}).items():
        for baseline in found:
            rows.append({
                "dataset": dataset, "model": baseline.name, "seed": "-", BEST: f"-, {baseline.valid:.2f}",
                "test %": f"{baseline.test:.2f}", MEAN: "-", "n": "-", f"95 %: {SAME_TEXTS}": "-",
                f"95 %: {NEW_TEXTS}": f"{baseline.low:.2f} to {baseline.high:.2f}",
            })  # fmt: skip
    return pd.DataFrame(rows)


def _mean(group: Group | None) -> str:
    if group is None:
        return "-"
    return f"{group.spread.mean:.2f}, {group.spread.std:.2f}" if len(group.runs) > 1 else f"{group.spread.mean:.2f}, -"


def _within(estimate: Estimate | None) -> str:
    """Return an interval of accuracies, cut to 0 to 100."""
    if estimate is None or not estimate.has_interval:
        return "-"
    return f"{max(estimate.low, 0):.2f} to {min(estimate.high, 100):.2f}"


def answers(evidence: Evidence) -> list[str]:
    """Return the answer of each pair of pre-trained and random groups, or why there is none."""
    found = [answer(comparison) for comparison in evidence.of_init()]
    return found or [no_answer(evidence)]


def comparisons_table(evidence: Evidence) -> pd.DataFrame:
    """Return one row a comparison: the differences with both intervals, and every test."""
    rows = []
    for c in evidence.comparisons:
        needed = ", ".join(f"{points:g} points: {n if n is not None else 'more than 10 000'}"
                           for points, n in c.needed.items())  # fmt: skip
        rows.append({
            "comparison": c.title,
            "pairing": c.why,
            "difference, points": f"{c.difference.value:+.2f}",
            f"95 %: {SAME_TEXTS}": interval(c.difference, "+.2f"),
            f"95 %: {NEW_TEXTS}": interval(c.difference_over_texts, "+.2f"),
            "permutation p (smallest possible)": f"{c.permutation.p:.3g} ({c.permutation.smallest:.2g})",
            "std, first / second (Brown-Forsythe p)":
                f"{c.one.spread.std:.2f} / {c.other.spread.std:.2f} ({c.spread_p:.2g})",
            f"steps to {c.threshold:g} %, second to first (95 %)":
                "-" if c.steps_ratio is None else f"{c.steps_ratio.value:.2f} ({interval(c.steps_ratio)})",
            "never reached, first / second":
                f"{c.one.n_censored} of {len(c.one.runs)} / {c.other.n_censored} of {len(c.other.runs)}",
            "mean accuracy over all steps, difference (95 %)": f"{c.area.value:+.2f} ({interval(c.area, '+.2f')})",
            "seeds to see a difference with 80 % power": needed or "-",
        })  # fmt: skip
    return pd.DataFrame(rows)


def groups_table(evidence: Evidence) -> pd.DataFrame:
    """Return, for each group, its mean and both stds, and what choosing the step by validation brings over the last."""
    rows = []
    for group in evidence.groups:
        spread = group.spread
        several = spread.n > 1
        rows.append({
            "runs": group.title,
            "n": str(spread.n),
            "mean test %": f"{spread.mean:.2f}",
            f"95 %: {SAME_TEXTS}": _within(group.over_seeds),
            f"95 %: {NEW_TEXTS}": _within(group.over_texts),
            "std, ddof 0": f"{spread.std:.2f}" if several else "-",
            "std, ddof 1": f"{spread.std_sample:.2f}" if several else "-",
            "test at the best step less test at the last, points": f"{group.best_minus_last.value:+.2f}",
            f"its 95 %: {SAME_TEXTS}": interval(group.best_minus_last, "+.2f"),
        })  # fmt: skip
    return pd.DataFrame(rows)


def steps_table(evidence: Evidence) -> pd.DataFrame:
    """Return each run's first step at or above the threshold, between evaluations and at one."""
    return pd.DataFrame([
        {"run": str(run.key), "interpolated": "never" if between is None else f"{between:.0f}",
         "at an evaluation": "never" if at is None else f"{at:.0f}", "last step": f"{run.curve['step'].max():.0f}"}
        for group in evidence.groups
        for run, between, at in zip(group.runs, group.steps, group.steps_evaluated, strict=True)
    ])  # fmt: skip


def absent(results: list[RunResult]) -> list[str]:
    """Return the runs that have no figures, each with its state."""
    return [f"{result.key} ({result.status})" for result in results if result.test is None]


def foot(results: list[RunResult], evidence: Evidence, classes: dict[str, list[str]], problems: list[str]) -> list[str]:
    """Return the sentences below the table; what is missing, failed or damaged is named, never dropped in silence."""
    lines = [
        "Best step: highest validation accuracy, the earliest on a tie; test accuracy is read at that step.",
        f"std: over seeds, ddof 0, as in the published table. {SAME_TEXTS.capitalize()}: Student's t. "
        f"{NEW_TEXTS.capitalize()}: crossed random effects of seeds and texts; for a baseline, Wilson's.",
        *answers(evidence),
        *notes(evidence),
        *(f"{dataset}: {len(names)} classes, {', '.join(names)}." for dataset, names in classes.items()),
        *problems,
    ]
    without = absent(results)
    if without:
        lines.append(f"Not in the figures above: {'; '.join(without)}.")
    return lines


def write_tables(folder: Path, table: pd.DataFrame, below: list[str]) -> None:
    """Write results.md, results.csv and results.tex: the table, and the sentences below it."""
    markdown = table.to_markdown(index=False, disable_numparse=True)
    write_text(folder / "results.md", f"{markdown}\n\n" + "\n".join(f"- {note}" for note in below) + "\n")
    write_text(folder / "results.csv", table.to_csv(index=False))
    latex = table.rename(columns=lambda name: name.replace("%", r"\%")).replace({"_": r"\_", "%": r"\%"}, regex=True)
    comment = "".join(f"% {note}\n" for note in below)
    write_text(folder / "results.tex", comment + latex.to_latex(index=False, escape=False))
