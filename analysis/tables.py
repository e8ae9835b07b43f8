"""The results table in the published layout, as Markdown, CSV and LaTeX, with what it rests on in its foot."""

from pathlib import Path

import pandas as pd

from analysis.best_steps import RunResult, by_group, difference_interval, mean_interval, test_values
from data_prep.whole_files import write_text


def results_table(results: list[RunResult]) -> pd.DataFrame:
    """Return one row a run: model, seed, best validation (step, accuracy %), test %, and on a group's first row its
    mean and std (ddof 0, as published) with n and the 95 % interval of the mean over seeds."""
    rows = []
    for names, members in by_group(results).items():
        dataset, model, backend, method, init = names
        values = test_values(members)
        low, high = mean_interval(values)
        std = f"{values.std():.2f}" if len(values) > 1 else "-"
        spread = f"{values.mean():.2f}, {std}" if len(values) else "-"
        interval = f"{max(low, 0):.2f} to {min(high, 100):.2f}" if len(values) > 1 else "-"
        for number, result in enumerate(members):
            first = number == 0
            best = f"{result.best_step}, {result.best_valid:.2f}" if result.best_step is not None else result.status
            rows.append({
                "dataset": dataset if first else "",
                "model": f"{init} {model} ({backend}, {method})" if first else "",
                "seed": result.key.seed,
                "best validation (step, accuracy %)": best,
                "test %": f"{result.test:.2f}" if result.test is not None else "-",
                "mean, std": spread if first else "",
                "n": len(values) if first else "",
                "95 % interval of the mean": interval if first else "",
            })  # fmt: skip
    return pd.DataFrame(rows)


def differences(results: list[RunResult]) -> list[str]:
    """Return a sentence for each pair of pretrained and random groups that are otherwise alike."""
    groups = {names: test_values(members) for names, members in by_group(results).items()}
    sentences = []
    for names, values in groups.items():
        other = groups.get((*names[:-1], "random"))
        if names[-1] != "pretrained" or other is None or not len(values) or not len(other):
            continue
        gap, low, high = difference_interval(values, other)
        over = f"Welch's t over {len(values)} and {len(other)} seeds"
        interval = f"95 % interval {low:+.2f} to {high:+.2f}, {over}" if low == low else "no interval from one seed"
        sentences.append(f"{', '.join(names[:-1])}: pretrained minus random is {gap:+.2f} points of test accuracy "
                         f"({interval}).")  # fmt: skip
    return sentences


def foot(results: list[RunResult], classes: dict[str, list[str]]) -> list[str]:
    """Return the sentences below the table; runs that are not done are named here, never dropped in silence."""
    lines = [
        "Best step: highest validation accuracy, the earliest on a tie; test accuracy is read at that step.",
        "std: over seeds, ddof 0, as in the published table. Interval: Student's t over seeds, on this one test set.",
        *differences(results),
        *(f"{dataset}: {len(names)} classes, {', '.join(names)}." for dataset, names in classes.items()),
    ]
    absent = [f"{result.key} ({result.status})" for result in results if result.status != "done"]
    if absent:
        lines.append(f"Not in the figures above: {'; '.join(absent)}.")
    return lines


def write_tables(folder: Path, results: list[RunResult], classes: dict[str, list[str]]) -> None:
    """Write results.md, results.csv and results.tex."""
    table, notes = results_table(results), foot(results, classes)
    write_text(
        folder / "results.md",
        f"{table.to_markdown(index=False, disable_numparse=True)}\n\n"
        + "\n".join(f"- {note}" for note in notes)
        + "\n",
    )
    write_text(folder / "results.csv", table.to_csv(index=False))
    latex = table.rename(columns=lambda name: name.replace("%", r"\%")).replace("_", r"\_", regex=True)
    comment = "".join(f"% {note}\n" for note in notes)
    write_text(folder / "results.tex", comment + latex.to_latex(index=False, escape=False))
