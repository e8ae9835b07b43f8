"""Faults that a hurried hand could put into `analysis/` and `data_prep/`, and the tests that must notice each of them.

`test_mutations.py` puts them in, one at a time, and says how to run that. A fault is a small change of text: `old`
stands exactly once in `file`, and with `new` in its place the file is still Python. Every fault changes what a user may
read or lose. None of them is a change that nobody could see.
"""

from dataclasses import dataclass

STATISTICS = "tests/analysis/test_statistics.py -k "
CROSSINGS = "tests/analysis/test_crossings.py -k "
EVENTS = "tests/analysis/test_event_files.py -k "
BEST_STEPS = "tests/analysis/test_best_steps.py -k "
EVIDENCE = "tests/analysis/test_evidence.py -k "
VERDICT = "tests/analysis/test_verdict.py -k "
BASELINES = "tests/analysis/test_baselines.py -k "
PARAMETERS = "tests/analysis/test_parameters.py -k "
COMMAND = "tests/analysis/test_figures_command.py -k "
SPLITS = "tests/data_prep/test_splits.py -k "
TABLE = "tests/data_prep/test_table.py -k "
DATASETS = "tests/data_prep/test_datasets.py -k "
FETCHING = "tests/data_prep/test_fetching.py -k "
PACKAGES = "tests/data_prep/test_packages.py -k "
ARCHIVES = "tests/data_prep/test_archives.py -k "
PREP = "tests/data_prep/test_prep.py -k "
MALFORMED = "tests/data_prep/test_malformed.py -k "


@dataclass(frozen=True)
class Mutation:
    """One fault: in `file`, `new` in place of `old`."""

    file: str
    old: str
    new: str
    why: str  # what goes wrong
    tests: str  # words for pytest: which tests must fail, as few and as quick as possible

    @property
    def name(self) -> str:
        return f"{self.file.removesuffix('.py')}: {self.why}"


def report(*names: str) -> str:
    """Return the words for pytest that compare the whole report of these made-up sweeps."""
    return " ".join(
        f"tests/analysis/test_reports.py::test_a_report_says_what_its_runs_support[{name}]" for name in names
    )


MUTATIONS = [
    # --- statistics
    Mutation(
        "analysis/statistics.py",
        "error = float(array.std(ddof=1)) / math.sqrt(n)",
        "error = float(array.std()) / math.sqrt(n)",
        "the interval of a mean takes the published std, ddof 0",
        STATISTICS + "students",
    ),
    Mutation(
        "analysis/statistics.py",
        "LEVEL = 0.95\n",
        "LEVEL = 0.9\n",
        "intervals hold nine times in ten and say 95 %",
        STATISTICS + "students",
    ),
    Mutation(
        "analysis/statistics.py",
        "error = float(gaps.std(ddof=1)) / math.sqrt(n)",
        "error = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / n)",
        "pairs are compared as if they were not pairs",
        STATISTICS + "paired_t",
    ),
    Mutation(
        "analysis/statistics.py",
        "return _around(gap, error, _freedom_of_sum(parts), SAME_TEXTS, method, level)",
        "return _around(gap, error, sum(sizes) - 2, SAME_TEXTS, method, level)",
        "Welch's t has the degrees of freedom of equal variances",
        STATISTICS + "welchs",
    ),
    Mutation(
        "analysis/statistics.py",
        "stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], n - 1)",
        "stats.chi2.ppf([(1 - level) / 2, (1 + level) / 2], n - 1)",
        "the ends of a std's interval are swapped",
        STATISTICS + "'factor_of_twelve or stds_have'",
    ),
    Mutation(
        "analysis/statistics.py",
        "len(first) - 1, len(second) - 1)",
        "len(second) - 1, len(first) - 1)",
        "the degrees of freedom of a ratio of stds are swapped",
        STATISTICS + "stds_have",
    ),
    Mutation(
        "analysis/statistics.py",
        "math.sqrt(1 + 1 / n)",
        "math.sqrt(1 / n)",
        "one more run is given the interval of the mean",
        STATISTICS + "prediction",
    ),
    Mutation(
        "analysis/statistics.py",
        'proportion_ci(level, method="wilson")',
        'proportion_ci(level, method="exact")',
        "a share's interval is not Wilson's",
        STATISTICS + "wilsons",
    ),
    Mutation(
        "analysis/statistics.py",
        "half = max(crossed.high - crossed.value, over_seeds.high - over_seeds.value)",
        "half = crossed.high - crossed.value",
        "new texts may have the narrower interval",
        STATISTICS + "narrower",
    ),
    Mutation(
        "analysis/statistics.py",
        "keeps_seeds = of_seeds > rest",
        "keeps_seeds = True",
        "a variance over seeds may be below zero",
        STATISTICS + "two_way",
    ),
    Mutation(
        "analysis/statistics.py",
        '"samples" if paired else "independent"',
        '"independent"',
        "the permutation test deals pairs out again",
        STATISTICS + "flips",
    ),
    Mutation(
        "analysis/statistics.py",
        'center="median"',
        'center="mean"',
        "the test of spreads is Levene's, not Brown and Forsythe's",
        STATISTICS + "brown_forsythe_is",
    ),
    Mutation(
        "analysis/statistics.py",
        "if min(len(first), len(second)) < 3:",
        "if min(len(first), len(second)) < 2:",
        "two runs have a test of their spread",
        STATISTICS + "says_why",
    ),
    Mutation(
        "analysis/statistics.py",
        "freedom = n - 1 if paired else 2 * (n - 1)",
        "freedom = n - 1",
        "the power of two groups has the degrees of freedom of one",
        STATISTICS + "simulated",
    ),
    Mutation(
        "analysis/statistics.py",
        "if not np.isfinite(array).all():",
        "if np.isnan(array).any():",
        "an infinite accuracy is taken",
        STATISTICS + "refused_everywhere",
    ),
    # --- crossings
    Mutation(
        "analysis/crossings.py",
        "np.flatnonzero(curve >= threshold)",
        "np.flatnonzero(curve > threshold)",
        "a curve that touches the threshold has not reached it",
        CROSSINGS + "touches",
    ),
    Mutation(
        "analysis/crossings.py",
        "low = int(at[below[-1]]) + 1 if",
        "low = int(at[below[-1]]) if",
        "a bracket begins at the evaluation below the threshold",
        CROSSINGS + "touches",
    ),
    Mutation(
        "analysis/crossings.py",
        "float(at[first]) if len(above) else math.inf)",
        "float(at[first]) if len(above) else float(at[-1]))",
        "a run that never passes is said to pass at its end",
        CROSSINGS + "touches",
    ),
    Mutation(
        "analysis/crossings.py",
        "ends = [(low, high_other), (high, low_other)]",
        "ends = [(low, low_other), (high, high_other)]",
        "the bounds of a ratio are those of equal luck on both sides",
        CROSSINGS + "14_steps",
    ),
    Mutation(
        "analysis/crossings.py",
        "if any(bracket.is_censored for bracket in brackets):\n        return",
        "if all(bracket.is_censored for bracket in brackets):\n        return",
        "mean steps of which one has no end",
        CROSSINGS + "mean_steps",
    ),
    Mutation(
        "analysis/crossings.py",
        "return math.exp(low.mean()), math.exp(high.mean())",
        "return float(np.exp(low).mean()), float(np.exp(high).mean())",
        "a geometric mean of steps is an arithmetic one",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/crossings.py",
        "Estimate(math.nan, lower or -math.inf, upper",
        "Estimate(math.nan, lower, upper",
        "a ratio without a lower end is said to begin at 0",
        CROSSINGS + "end_open",
    ),
    # --- event files
    Mutation(
        "analysis/event_files.py",
        "wall_time >= merged[tag, step][1]",
        "wall_time <= merged[tag, step][1]",
        "of a step that was written twice the earlier writing wins",
        EVENTS + "resumed",
    ),
    Mutation(
        "analysis/event_files.py",
        'if struct.unpack("<I", data[end : end + 4])[0] != _masked(record):',
        "if not record:",
        "a record's checksum is not compared",
        EVENTS + "up_to_the_damage",
    ),
    Mutation(
        "analysis/event_files.py",
        'if known.get("files") == files and name in before:',
        "if name in before:",
        "a changed event file is not read again",
        EVENTS + "changed",
    ),
    Mutation(
        "analysis/event_files.py",
        "if table is not None and (n_read or made_from.keys() != notes.keys()):",
        "if table is not None and n_read:",
        "a run that is no longer done stays in the table",
        EVENTS + "leaves_the_table",
    ),
    Mutation(
        "analysis/event_files.py",
        'own, wrong = before[name], known["damage"]',
        "own, wrong = before[name], []",
        "damage is told once and then forgotten",
        EVENTS + "told_again",
    ),
    Mutation(
        "analysis/event_files.py",
        'if written.get("format") != FORMAT:',
        "if not written:",
        "a table of an older format is taken as it is",
        "tests/analysis/test_event_files.py",
    ),
    Mutation(
        "analysis/event_files.py",
        'if whole.get("attempts", 1) > 1:',
        'if whole.get("attempts", 1) > 2:',
        "a run that was taken up once is not named",
        report("skipped_steps"),
    ),
    # --- best steps
    Mutation(
        "analysis/best_steps.py",
        'int(valid["valid"].to_numpy().argmax())',
        'len(valid) - 1 - int(valid["valid"].to_numpy()[::-1].argmax())',
        "of equal validation accuracies the last is taken",
        BEST_STEPS + "earliest",
    ),
    Mutation(
        "analysis/best_steps.py",
        'valid.iloc[int(valid["valid"].to_numpy().argmax())]',
        'valid.iloc[int(valid["test"].to_numpy().argmax())]',
        "the test accuracy chooses the step",
        BEST_STEPS + "earliest",
    ),
    Mutation(
        "analysis/best_steps.py",
        'test = float(best["test"]) if',
        'test = float(curve["test"].max()) if',
        "the highest test accuracy is shown",
        BEST_STEPS + "earliest",
    ),
    Mutation(
        "analysis/best_steps.py",
        'if status != "done":',
        'if status == "failed":',
        "a run that is still running has figures",
        BEST_STEPS + "'not_done or missing'",
    ),
    Mutation(
        "analysis/best_steps.py",
        'if best is None or progress.get("best_step", best["step"]) != best["step"] or any(',
        "if best is None or any(",
        "a log that tells another best step than its run is believed",
        EVENTS + "another_best_step",
    ),
    Mutation(
        "analysis/best_steps.py",
        'told = {split: progress[split]["step"] for split in ends if split in progress}',
        'told = {split: progress[split]["step"] for split in ["valid"] if split in progress}',
        "a test log without its end is believed",
        report("one_failed_one_damaged_one_missing"),
    ),
    Mutation(
        "analysis/best_steps.py",
        '"test_std": of.std if of else None',
        '"test_std": of.std_sample if of else None',
        "the summary's std is not the published one",
        BEST_STEPS + "published_mean_and_std",
    ),
    Mutation(
        "analysis/best_steps.py",
        "reasons = {**logs.errors, **{key:",
        "reasons = {**{key:",
        "what stopped a failed run is lost",
        BEST_STEPS + "missing_and_failed",
    ),
    # --- evidence
    Mutation(
        "analysis/evidence.py",
        "2 * len(both) >= max(len(one), len(other))",
        "2 * len(both) > max(len(one), len(other))",
        "pairs that are just half of the larger group are given up",
        "tests/analysis/test_evidence.py",
    ),
    Mutation(
        "analysis/evidence.py",
        "(len(both) >= 2 and",
        "(len(both) >= 1 and",
        "two groups are cut down to one pair, which has no interval",
        "tests/analysis/test_evidence.py",
    ),
    Mutation(
        "analysis/evidence.py",
        "left_out = [str(run.key) for group in (one, other) for run",
        "left_out = [str(run.key) for group in (one,) for run",
        "runs of the second group without a partner are dropped in silence",
        "tests/analysis/test_evidence.py " + report("three_against_two_seeds"),
    ),
    Mutation(
        "analysis/evidence.py",
        "std = _std_of_difference(one.test, other.test, paired)",
        "std = _std_of_difference(one.test, other.test, False)",
        "the seeds needed are those of groups that are not paired",
        EVIDENCE + "what_the_statistics_say",
    ),
    Mutation(
        "analysis/evidence.py",
        "ratio_of_steps(other.brackets, one.brackets, paired)",
        "ratio_of_steps(one.brackets, other.brackets, paired)",
        "the ratio of steps is upside down",
        EVIDENCE + "knows_every_case",
    ),
    Mutation(
        "analysis/evidence.py",
        "and other.right is not None and one.texts == other.texts:",
        "and other.right is not None:",
        "answers to other texts are compared text by text",
        EVIDENCE + "answered_other_texts",
    ),
    Mutation(
        "analysis/evidence.py",
        "bracket.is_at_start for bracket in [*one.brackets, *other.brackets])",
        "bracket.is_at_start for bracket in one.brackets)",
        "a random run that starts above the threshold is overlooked",
        "tests/analysis/test_evidence.py " + report("starts_above"),
    ),
    Mutation(
        "analysis/evidence.py",
        'bracket_of(curve["step"], curve["test"], threshold)',
        'bracket_of(curve["step"], curve["valid"], threshold)',
        "the steps to the threshold are of validation",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/evidence.py",
        "(run.test or 0) - (run.last_test or 0)",
        "(run.last_test or 0) - (run.test or 0)",
        "what the best step brings over the last has the wrong sign",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/evidence.py",
        "        if why_not:\n",
        '        if why_not and axis == "init":\n',
        "back ends on unequal terms are compared",
        report("unequal_terms"),
    ),
    Mutation(
        "analysis/evidence.py",
        "    comparisons.sort(key=lambda comparison: list(ORDER).index(comparison.axis))\n",
        "",
        "the comparison that answers the question is not the first",
        "tests/analysis/test_evidence.py " + report("two_back_ends"),
    ),
    Mutation(
        "analysis/evidence.py",
        "return self.of_init() or [comparison for comparison in self.comparisons if comparison.sides == sides]",
        "return self.comparisons",
        "titles speak of comparisons that do not answer the question",
        "tests/analysis/test_evidence.py " + report("two_back_ends", "published_setting"),
    ),
    # --- alike
    Mutation(
        "analysis/alike.py",
        ".most_common(1)[0]",
        ".most_common()[-1]",
        "of unlike runs the fewest are kept",
        report("unlike_runs"),
    ),
    Mutation(
        "analysis/alike.py",
        "(configuration(folders[str(run.key)]), _inputs(folders[str(run.key)]))",
        "(configuration(folders[str(run.key)]), {})",
        "runs of other data are put into one mean",
        "tests/analysis/test_evidence.py " + report("unlike_runs"),
    ),
    Mutation(
        "analysis/alike.py",
        "Counter(kinds[str(run.key)] for run in members)",
        "Counter(kinds[str(run.key)] for run in reversed(members))",
        "where two kinds are as many, the highest seed's is kept",
        "tests/analysis/test_evidence.py " + report("unlike_runs"),
    ),
    Mutation(
        "analysis/alike.py",
        "keys = sorted(first.keys() | second.keys())",
        "keys = sorted(first.keys() & second.keys())",
        "a setting that only one of two back ends has is overlooked",
        "tests/analysis/test_evidence.py " + report("unequal_terms"),
    ),
    Mutation(
        "analysis/alike.py",
        '"init": ("data", "labels")',
        '"init": ("data",)',
        "inits with other classes are compared",
        "tests/analysis/test_evidence.py " + report("unequal_inits"),
    ),
    # --- answers
    Mutation(
        "analysis/answers.py",
        "abs(right.mean() - result.test) > 1e-6",
        "abs(right.mean() - result.test) > 100",
        "answers that do not make the logged accuracy are taken",
        EVIDENCE + "without_answers",
    ),
    Mutation(
        "analysis/answers.py",
        'if rows and ids != own["id"].tolist():',
        'if rows and set(ids) != set(own["id"]):',
        "answers in another order are laid beside each other",
        "tests/analysis/test_evidence.py",
    ),
    # --- findings
    Mutation(
        "analysis/findings.py",
        "'buys' if gap > 0 else 'costs'",
        "'buys'",
        "pre-training buys points where it costs them",
        report("random_better"),
    ),
    Mutation(
        "analysis/findings.py",
        'return f"at most {bound(ratio.high, up=True)} times"',
        'return f"at least {bound(ratio.high, up=True)} times"',
        "an upper bound is worded as a lower one",
        EVIDENCE + "knows_every_case",
    ),
    Mutation(
        "analysis/findings.py",
        "and {texts.ends('+.2f', *POSSIBLE)} for {NEW_TEXTS}",
        "and {seeds.ends('+.2f', *POSSIBLE)} for {NEW_TEXTS}",
        "new texts are given the interval of this test set",
        EVIDENCE + "may_be_nothing",
    ),
    Mutation(
        "analysis/findings.py",
        "    if not c.difference.excludes(0):\n",
        "    if c.difference.value == 0:\n",
        "an interval that holds 0 is not told",
        EVIDENCE + "may_be_nothing",
    ),
    Mutation(
        "analysis/findings.py",
        "    if group.n_censored == group.n:\n",
        "    if group.n_censored:\n",
        "one run that never passes makes it none that does",
        report("some_random_never_pass"),
    ),
    Mutation(
        "analysis/findings.py",
        "one, other = prose(c.sides[0]), prose(c.sides[1], opens=True)",
        "one, other = prose(c.sides[1]), prose(c.sides[0], opens=True)",
        "the wrong side needs more steps",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/findings.py",
        "return c.sides[0] if c.one.spread.std < c.other.spread.std else c.sides[1]",
        "return c.sides[0] if c.one.spread.std > c.other.spread.std else c.sides[1]",
        "the side that spreads more is called the tighter one",
        EVIDENCE + "faster_or_tighter",
    ),
    Mutation(
        "analysis/findings.py",
        "above(group.spread.mean - baseline.test)",
        "above(baseline.test - group.spread.mean)",
        "above the baseline is below it",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/findings.py",
        "        for c in found\n",
        "        for c in found[:1]\n",
        "a title tells the first comparison alone",
        report("two_published_datasets"),
    ),
    Mutation(
        "analysis/findings.py",
        "gaps = sorted(c.difference.value for c in found)",
        "gaps = [c.difference.value for c in found]",
        "a range of gaps is that of the first and the last comparison",
        "tests/analysis/test_evidence.py " + report("two_datasets_two_models"),
    ),
    Mutation(
        "analysis/findings.py",
        "(run.best_valid or 0) - (run.test or 0)",
        "(run.test or 0) - (run.best_valid or 0)",
        "luck on validation is bad luck",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/findings.py",
        "{f': {result.why}' if result.why else ''}",
        "",
        "a failed run is named without what stopped it",
        report("one_failed_one_damaged_one_missing"),
    ),
    Mutation(
        "analysis/findings.py",
        "logs.skipped.items() if key in have),",
        "logs.skipped.items() if key not in have),",
        "skipped steps are not told",
        report("skipped_steps"),
    ),
    Mutation(
        "analysis/findings.py",
        "stds = {side: group.spread.std for",
        "stds = {side: group.spread.std_sample for",
        "a std with ddof 1 is called one with ddof 0",
        report("three_seeds"),
    ),
    # --- verdict
    Mutation(
        "analysis/verdict.py",
        "if least <= low and high <= most:",
        "if least <= low or high <= most:",
        "an interval that is half inside the margin reproduces",
        VERDICT + "the_rule",
    ),
    Mutation(
        "analysis/verdict.py",
        "(1 / margin, margin) if ratio else (-margin, margin)",
        "(-margin, margin)",
        "a ratio near zero reproduces",
        VERDICT + "same_both_ways",
    ),
    Mutation(
        "analysis/verdict.py",
        'for key, wanted in (("epochs", training["epochs"]), ("batch_size", training["batch_size"])):',
        'for key, wanted in (("epochs", training["epochs"]),):',
        "runs with other batches stand beside the published ones",
        VERDICT + "not_the_published_experiment",
    ),
    Mutation(
        "analysis/verdict.py",
        'abs(group.last_step - training["steps"]) >',
        '(training["steps"] - group.last_step) >',
        "a longer schedule is the published one",
        VERDICT + "another_length",
    ),
    Mutation(
        "analysis/verdict.py",
        "return departures(group) == []",
        "return departures(group) is not None",
        "published tables stand beside runs of another schedule",
        report("published_with_another_schedule"),
    ),
    Mutation(
        "analysis/verdict.py",
        'if dataset != report["own_validation_split"]:',
        'if dataset == report["own_validation_split"]:',
        "validation accuracies of other texts get a verdict",
        VERDICT + "two_published_datasets",
    ),
    Mutation(
        "analysis/verdict.py",
        "difference_over_seeds(group.test, tests, paired=False), std_ratio",
        "difference_over_seeds(group.test[: len(tests)], tests[: len(group.test)], paired=True), std_ratio",
        "our runs are paired with the published ones",
        VERDICT + "themselves",
    ),
    Mutation(
        "analysis/verdict.py",
        'REPRODUCED if mean.low >= claim["at_least"]',
        'REPRODUCED if mean.high >= claim["at_least"]',
        "a claim of at least 400 steps needs only the upper end",
        VERDICT + "'judged_by or holds_or_fails'",
    ),
    Mutation(
        "analysis/verdict.py",
        'if comparison.axis == "backend" and comparison.one.names["init"] == "pretrained":',
        'if comparison.axis == "backend":',
        "a claim on pre-trained runs is judged on random ones",
        "tests/analysis/test_verdict.py",
    ),
    Mutation(
        "analysis/verdict.py",
        '"errata": errata() if numbers else []',
        '"errata": errata()',
        "errata of tables that are not shown",
        VERDICT + "not_the_published_experiment",
    ),
    # --- baselines
    Mutation(
        "analysis/baselines.py",
        "key=lambda baseline: baseline.valid)",
        "key=lambda baseline: baseline.test)",
        "the test split chooses the baseline's C",
        "tests/analysis/test_baselines.py",
    ),
    Mutation(
        "analysis/baselines.py",
        "best = max(by_strength,",
        "best = max(reversed(by_strength),",
        "of equal baselines the largest C is taken",
        "tests/analysis/test_baselines.py",
    ),
    Mutation(
        "analysis/baselines.py",
        '.fit([getattr(example, side) for example in examples["train"]])',
        ".fit([getattr(example, side) for own in examples.values() for example in own])",
        "words of the test split are counted before it is judged",
        "tests/analysis/test_baselines.py",
    ),
    Mutation(
        "analysis/baselines.py",
        'if made["inputs"]["splits"] != own["outputs"]:',
        'if not made["inputs"]["splits"]:',
        "splits that were made again since the runs are taken for theirs",
        "tests/analysis/test_baselines.py",
    ),
    # --- parameters
    Mutation(
        "analysis/parameters.py",
        'positions = shape["max_positions"] + 2',
        'positions = shape["max_positions"]',
        "fairseq's two rows that are no position are not counted",
        PARAMETERS + "published_number",
    ),
    Mutation(
        "analysis/parameters.py",
        "if gap == rows * width else said",
        "if rows else said",
        "a gap of another shape is put down to rows of embedding",
        "tests/analysis/test_parameters.py",
    ),
    # --- tables
    Mutation(
        "analysis/tables.py",
        "else estimate.ends(least=0, most=100)\n\n",
        "else estimate.ends()\n\n",
        "an accuracy may be above 100 %",
        report("skipped_steps"),
    ),
    Mutation(
        "analysis/tables.py",
        'f"{c.one.n_censored} of {c.one.n} / {c.other.n_censored} of {c.other.n}"',
        'f"{c.other.n_censored} of {c.other.n} / {c.one.n_censored} of {c.one.n}"',
        "the runs that never reach the threshold are the other side's",
        report("random_never_passes"),
    ),
    Mutation(
        "analysis/tables.py",
        'points below at step": f"{bracket.low - 1}"',
        'points below at step": f"{bracket.low}"',
        "the last evaluation below the threshold is off by one",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/tables.py",
        '.replace({"_": r"\\_", "%": r"\\%"}, regex=True)',
        '.replace({"%": r"\\%"}, regex=True)',
        "the LaTeX table does not compile",
        "tests/analysis/test_best_steps.py " + report("three_seeds"),
    ),
    Mutation(
        "analysis/tables.py",
        "    if without:\n",
        "    if without and problems:\n",
        "missing and failed runs are dropped in silence",
        BEST_STEPS + "missing_and_failed",
    ),
    # --- report
    Mutation(
        "analysis/report.py",
        "    if not found_groups:\n",
        "    if not evidence.groups:\n",
        "the published tables' errata and rule stand in every report",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/report.py",
        '.get(comparison.one.names["dataset"], [])[:1]',
        '.get(comparison.one.names["dataset"], [])[-1:]',
        "runs are measured against the commonest class",
        report("three_seeds"),
    ),
    Mutation(
        "analysis/report.py",
        "items=[*absent(material.results), *material.problems],",
        "items=[*absent(material.results)],",
        "the report does not tell what was damaged",
        report("skipped_steps"),
    ),
    Mutation(
        "analysis/report.py",
        "pd.Series(tests).std(ddof=0)",
        "pd.Series(tests).std()",
        "the published std is computed with ddof 1",
        report("published_setting"),
    ),
    # --- the command
    Mutation(
        "analysis/__main__.py",
        "results = keep_alike(results_of(logs, planned_runs(sweep_folder)), folders)",
        "results = results_of(logs, planned_runs(sweep_folder))",
        "unlike runs make one mean",
        report("unlike_runs"),
    ),
    Mutation(
        "analysis/__main__.py",
        '"program": program.hexdigest(), "threshold": threshold}',
        '"program": program.hexdigest()}',
        "a report of another threshold is up to date",
        "tests/analysis/test_figures_command.py",
    ),
    Mutation(
        "analysis/__main__.py",
        'READ = ("status.json", "progress.json", "predictions.parquet",',
        'READ = ("status.json", "progress.json",',
        "other predictions leave the report as it is",
        "tests/analysis/test_figures_command.py",
    ),
    Mutation(
        "analysis/__main__.py",
        "if not 0 < arguments.threshold <= 100:",
        "if not 0 < arguments.threshold < 100:",
        "a threshold of 100 % is refused",
        "tests/analysis/test_figures_command.py",
    ),
    # --- splits
    Mutation(
        "data_prep/splits.py",
        '(TRAIN, (VALID, TEST), "in train',
        '(TRAIN, (VALID,), "in train',
        "test texts are trained on",
        SPLITS + "never_from_test",
    ),
    Mutation(
        "data_prep/splits.py",
        '(VALID, (TEST,), "in validation',
        '(VALID, (), "in validation',
        "test texts choose the step",
        SPLITS + "never_from_test",
    ),
    Mutation(
        "data_prep/splits.py",
        "folded = text.casefold()",
        "folded = text.lower()",
        "STRASSE and straße are two texts",
        SPLITS + "near_copy",
    ),
    Mutation(
        "data_prep/splits.py",
        "_digest(sorted(map(without_case, texts)))",
        "_digest(list(map(without_case, texts)))",
        "a pair the other way round is another pair",
        SPLITS + "near_copy",
    ),
    Mutation(
        "data_prep/splits.py",
        'blake2b("\\n".join(texts).encode()',
        'blake2b("".join(texts).encode()',
        "pairs that are cut at another place are one pair",
        "tests/data_prep/test_splits.py",
    ),
    Mutation(
        "data_prep/splits.py",
        "split[exact | almost] = DROPPED",
        "split[exact] = DROPPED",
        "near-copies are counted as dropped and kept",
        SPLITS + "near_copy",
    ),
    Mutation(
        "data_prep/splits.py",
        "empty = any(map(is_empty, texts))",
        "empty = all(map(is_empty, texts))",
        "pairs with an empty text are trained on",
        SPLITS + "no_empty_text",
    ),
    Mutation(
        "data_prep/splits.py",
        "empty_train = empty & (split == TRAIN)",
        "empty_train = empty & (part == 1)",
        "empty texts are trained on where validation is drawn anew",
        SPLITS + "no_empty_text",
    ),
    Mutation(
        "data_prep/splits.py",
        "VALID, size, config.valid_seed,",
        "VALID, size, config.test_seed,",
        "validation is drawn with the seed of test",
        SPLITS + "depend",
    ),
    Mutation(
        "data_prep/splits.py",
        "stratify=labels[numbers], random_state=seed",
        "random_state=seed",
        "classes are not drawn in proportion",
        SPLITS + "drawn_splits",
    ),
    Mutation(
        "data_prep/splits.py",
        "    _refuse_two_labels(digests, labels, among, identify)\n",
        "",
        "of a text with two labels the first is right",
        SPLITS + "refused_by_name",
    ),
    Mutation(
        "data_prep/splits.py",
        "(int(name), name) if whole else (0, name)",
        "(0, name)",
        "classes that are numbers are sorted as words",
        SPLITS + "sorted_as_numbers",
    ),
    Mutation(
        "data_prep/splits.py",
        "config.expected.get(part, n) != n",
        "config.expected.get(part, n) > n",
        "a file with more examples than the published one is taken",
        "tests/data_prep/test_splits.py",
    ),
    # --- tables and readers
    Mutation(
        "data_prep/table.py",
        'if label.lower() in ("true", "false"):',
        'if label in ("True", "False"):',
        "TRUE and true are two classes",
        TABLE + "one_class",
    ),
    Mutation(
        "data_prep/table.py",
        'line.decode("utf-8-sig" if number == 1 else "utf-8")',
        'line.decode("utf-8")',
        "a byte-order mark is part of the first column's name",
        TABLE + "each_format",
    ),
    Mutation(
        "data_prep/table.py",
        "line, begins = begins, reader.line_num + 1",
        "line = begins = reader.line_num",
        "a row over two lines is named by its end",
        MALFORMED + "quote",
    ),
    Mutation(
        "data_prep/course.py",
        "zip_longest(text_lines(path), text_lines(labels))",
        "zip(text_lines(path), text_lines(labels))",
        "a label file that is too short cuts the texts",
        MALFORMED + "short",
    ),
    Mutation(
        "data_prep/course.py",
        "classes[int(label)]",
        "classes[1 - int(label)]",
        "the classes of the course's files are swapped",
        DATASETS + "courses_own",
    ),
    Mutation(
        "data_prep/cls.py",
        "float(rating) > POSITIVE_ABOVE",
        "float(rating) >= POSITIVE_ABOVE",
        "three stars are positive",
        "tests/data_prep/test_datasets.py",
    ),
    Mutation(
        "data_prep/__main__.py",
        'if hasattr(reader, "companions"):',
        'if hasattr(reader, "companion"):',
        "other labels of the same texts leave the splits stale",
        DATASETS + "other_labels",
    ),
    Mutation(
        "data_prep/__main__.py",
        '"test_seed", "valid_seed",',
        '"test_seed",',
        "another validation seed leaves the splits stale",
        PREP + "validation_seed",
    ),
    # --- binarising
    Mutation(
        "data_prep/binarise.py",
        "for number, label in enumerate(labels)}",
        "for number, label in enumerate(sorted(labels))}",
        "class 0 is not the dataset's first class",
        "tests/data_prep/test_prep.py tests/data_prep/test_table.py",
    ),
    Mutation(
        "data_prep/binarise.py",
        'if unknown["train"] > max_unknown_share:',
        'if unknown["test"] > max_unknown_share:',
        "a dictionary that does not know the training texts is taken",
        MALFORMED + "does_not_know",
    ),
    Mutation(
        "data_prep/preprocess.py",
        "(sizes + len(datasets) > max_positions)",
        "(sizes > max_positions)",
        "texts that are cut by one token are not counted",
        "tests/data_prep/test_prep.py tests/data_prep/test_table.py",
    ),
    Mutation(
        "data_prep/preprocess.py",
        "tokens[-1] = self.index(self.eos_word)",
        "tokens[-1] = self.eos()",
        "CamemBERT's texts end in a symbol that was never trained",
        "tests/data_prep/test_models.py -k camembert",
    ),
    Mutation(
        "data_prep/truncation.py",
        "np.where(first > second, longer, 0) + rest // 2",
        "np.where(first > second, longer, 0) + (rest + 1) // 2",
        "of equally long texts the first is cut",
        "tests/data_prep/test_truncation.py",
    ),
    # --- from an address to a verified file
    Mutation(
        "data_prep/stages.py",
        'if manifest is None or manifest.get("inputs") != inputs:',
        "if manifest is None:",
        "a stage made from other inputs is up to date",
        DATASETS + "other_labels",
    ),
    Mutation(
        "data_prep/stages.py",
        "(folder / name).is_file() and sha256_of(folder / name) == digest for",
        "(folder / name).is_file() for",
        "a damaged output is up to date",
        PREP + "damaged",
    ),
    Mutation(
        "data_prep/raw.py",
        "if file.sha256 is not None:",
        "if file.sha256 is None:",
        "the advice on a pinned archive is to fetch the same again",
        DATASETS + "'to_blame or to_the_letter'",
    ),
    Mutation(
        "data_prep/fetching.py",
        "if expected is not None and found != expected:",
        "if expected is None and found != expected:",
        "a checksum is not compared",
        FETCHING + "changed_on_disk",
    ),
    Mutation(
        "data_prep/fetching.py",
        "    if pinned:\n        record_first_use",
        "    if found:\n        record_first_use",
        "a checksum is recorded before the file has proved readable",
        FETCHING + "not_recorded",
    ),
    Mutation(
        "data_prep/fetching.py",
        "promised = target.name if sha256 is None else None",
        "promised = None",
        "a web page is kept in place of an archive",
        FETCHING + "web_page",
    ),
    Mutation(
        "data_prep/fetching.py",
        '-", "If-Range": note["validator"]}',
        '-"}',
        "the rest of a file that changed is put behind the old beginning",
        FETCHING + "changed_meanwhile",
    ),
    Mutation(
        "data_prep/fetching.py",
        'strong = note["validator"] and not note["validator"].startswith("W/")',
        'strong = note["validator"]',
        "a weak entity tag is trusted to name the same bytes",
        "tests/data_prep/test_fetching.py",
    ),
    Mutation(
        "data_prep/package_index.py",
        'SECTIONS = ("global", "download", ":env:")',
        'SECTIONS = ("global", ":env:", "download")',
        "pip's files win over its environment",
        PACKAGES + "pip_says",
    ),
    Mutation(
        "data_prep/package_index.py",
        "if at and own.netloc == host and own.scheme == its.scheme:",
        "if at:",
        "an index's password is given to another host",
        PACKAGES + "another_host",
    ),
    Mutation(
        "data_prep/package_index.py",
        "if at and own.netloc == host and own.scheme == its.scheme:",
        "if at and own.netloc == host:",
        "a password is sent without encryption",
        "tests/data_prep/test_packages.py",
    ),
    Mutation(
        "data_prep/package_index.py",
        "return None if found == sha256 else",
        "return None if found else",
        "an archive in a folder is not compared with the pinned checksum",
        PACKAGES + "folder_with_an_archive",
    ),
    Mutation(
        "data_prep/packages.py",
        "                    _verify(temporary, source, target)\n",
        "",
        "a member of another checksum is put in its place before it is refused",
        "tests/data_prep/test_packages.py",
    ),
    Mutation(
        "data_prep/archives.py",
        "if total > limit:",
        "if member.size > limit:",
        "the limit is on each member, not on all",
        ARCHIVES + "to_the_byte",
    ),
    Mutation(
        "data_prep/archives.py",
        'or ".." in path.split("/") or',
        'or path.startswith("..") or',
        "an archive may write outside of its folder",
        ARCHIVES + "unsafe",
    ),
    Mutation(
        "data_prep/archives.py",
        "if out.tell() != member.size:",
        "if out.tell() > member.size:",
        "a member that is shorter than its archive says is taken",
        ARCHIVES + "lies",
    ),
    Mutation(
        "data_prep/archives.py",
        "    if len(found) == 1:\n",
        "    if found:\n",
        "of two members that fit the first is taken",
        ARCHIVES + "there_twice",
    ),
    # --- models
    Mutation(
        "data_prep/checkpoints.py",
        'map_location="cpu", weights_only=True)',
        'map_location="cpu", weights_only=False)',
        "a checkpoint may run code",
        MALFORMED + "would_write",
    ),
    Mutation(
        "data_prep/e5_file.py",
        "np.concatenate([low, high], axis=1)",
        "np.concatenate([high, low], axis=1)",
        "weights of the 4-bit file are in each other's place",
        "tests/data_prep/test_e5_small_fr.py -k reads_back",
    ),
]
