"""TRAIN: runs on subsets of the training texts, in as many updates, evaluated at the same steps."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

from analysis.event_files import read_run
from sweeps.folders import RunKey, find_runs
from sweeps.planning import arguments_of_run, axes_of
from tests.conftest import Workspace, refused

BACKENDS = ["fairseq", *(["hf"] if importlib.util.find_spec("transformers") else [])]


def progress(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "progress.json").read_text())
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_on_fewer_texts_takes_as_many_steps_and_the_same_evaluations(workspace: Workspace, backend: str) -> None:
    name = f"sizes-{backend}"
    words = ["--sweep", name, "--seeds", "0", "--epochs", "3", "--backend", backend]
    answer = workspace.sweep(*words, "--train", "10,20,all")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    runs = find_runs(workspace.root / "runs" / name)
    assert sorted({key.train for key in runs}) == [0, 10, 20]
    whole = {key.init: progress(folder) for key, folder in runs.items() if key.train == 0}
    for key, folder in runs.items():
        own = progress(folder)
        assert (own["step"], own["batches"]) == (24, 24)
        assert own["evaluated"] == whole[key.init]["evaluated"]
        assert own["weights"] != whole[key.init]["weights"] or key.train == 0
    of_ten = runs[RunKey("amazon_fr", "tiny", backend, "full", "random", 0, 10)]
    scalars, _ = read_run(of_ten)
    seen = scalars[(scalars["split"] == "train") & (scalars["tag"] == "n")]
    assert seen["value"].tolist() == [10.0] * 12  # two batches an epoch, 12 epochs in 24 steps
    again = workspace.sweep(*words, "--train", "20,10")
    assert "4 runs, 4 done already, 0 to do" in again.stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_longer_run_takes_several_times_the_steps_and_is_evaluated_as_often(
    workspace: Workspace, backend: str
) -> None:
    name = f"lengths-{backend}"
    words = ["--sweep", name, "--seeds", "0", "--init", "random", "--epochs", "2", "--backend", backend]
    answer = workspace.sweep(*words, "--train", "all,allx3,10,10x3", "recipe.evaluate_every=5")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (
        "on all, allx3, 10, 10x3 training texts; 2 epochs, as many steps as on all texts; x3: 3 times the steps"
        in answer.stdout
    )
    runs = {key.training: folder for key, folder in find_runs(workspace.root / "runs" / name).items()}
    assert {"train=all", "train=allx3"} & {folder.parent.name for folder in runs.values()} == {"train=allx3"}
    own = {training: progress(folder) for training, folder in runs.items()}
    assert {training: found["step"] for training, found in own.items()} == {
        "all": 16,
        "allx3": 48,
        "10": 16,
        "10x3": 48,
    }
    for training, found in own.items():
        times = 3 if training.endswith("x3") else 1
        assert found["evaluated"] == {
            split: [times * step for step in (0, 5, 8, 10, 15, 16)] for split in ("test", "valid")
        }
    scalars, _ = read_run(runs["allx3"])
    rates = scalars[(scalars["split"] == "train_inner") & (scalars["tag"] == "lr")].set_index("step")["value"]
    assert rates[40] == pytest.approx(rates[10] * (48 - 40) / (48 - 10))  # it falls to 0 at the last step of this run
    again = workspace.sweep(*words, "--train", "allx3", "recipe.evaluate_every=5")
    assert "1 run, 1 done already, 0 to do" in again.stdout


def test_with_epochs_a_run_on_fewer_texts_is_shorter(workspace: Workspace) -> None:
    words = ["--sweep", "own-epochs", "--seeds", "0", "--init", "random", "--epochs", "2", "--train", "16"]
    answer = workspace.sweep(*words, "recipe.updates=epochs")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (folder,) = find_runs(workspace.root / "runs" / "own-epochs").values()
    assert progress(folder)["step"] == 4


def test_inits_and_seeds_train_on_the_same_texts(workspace: Workspace, tmp_path: Path) -> None:
    from fairseq import tasks

    from hydra_conf.compose import compose_config
    from sweeps.fairseq_config import fairseq_config, resolved

    found = []
    for init, seed in (("pretrained", 0), ("random", 5)):
        words = ["model=tiny", f"init={init}", f"data_dir={workspace.root / 'data'}", *workspace.overrides]
        config = compose_config(words)
        config.seed, config.n_train = seed, 20
        settings = resolved(fairseq_config(config, workspace.binarised, tmp_path, "cpu", "fp32"))
        train = tasks.setup_task(settings.task).load_dataset("train")
        found.append({int(train[row]["id"]) for row in range(len(train))})
    assert len(found[0]) == 20
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("5000", "TRAIN=5000: there are 60 training texts; give fewer, or all"),
        ("60", "TRAIN=60: these are all training texts; say all"),
        ("few", "TRAIN=few: 'few' is no number of training texts; give such numbers, all, or halves"),
        ("halves,all", "TRAIN=halves,all: all asks twice for all training texts"),
        ("halves,30", "TRAIN=halves,30: 30 asks twice for 30 training texts"),
        ("allx0", "'allx0' is no number of training texts"),
        ("allx3,allx3", "allx3 is given twice"),
        ("10,10", "10 is given twice"),
        ("10,010", "TRAIN=10,010: 010 asks twice for 10 training texts"),
        ("allx1,all", "TRAIN=allx1,all: all asks twice for all training texts"),
        ("60x3", "TRAIN=60x3: these are all training texts; say allx3"),
        ("allx300000", "seeds are kept apart for 1,000,000 steps only; ask for fewer"),
        ("060", "TRAIN=60: these are all training texts; say all"),
        ("1", "TRAIN=1: class "),
    ],
)
def test_a_wrong_train_is_one_sentence(workspace: Workspace, train: str, said: str) -> None:
    words = ["--sweep", "wrong-train", "--seeds", "0", "--init", "random", "--epochs", "1", "--train", train]
    assert said in refused(workspace.sweep(*words))


@pytest.mark.parametrize(
    "given", ["lr_scheduler.total_num_update=8", "lr_scheduler.warmup_updates=2", "optimization.max_update=3"]
)
def test_a_given_number_of_steps_is_refused_beside_a_length(workspace: Workspace, given: str) -> None:
    words = ["--sweep", "steps", "--seeds", "0", "--init", "random", "--epochs", "1", "--train", "all,allx3"]
    said = refused(workspace.sweep(*words, f"fairseq.{given}"))
    assert f"fairseq.{given} is a number of steps, the same for every length; leave it out" in said


def test_only_a_folder_that_is_named_as_its_run_is_a_run(tmp_path: Path) -> None:
    own = tmp_path / "d/m/fairseq/full/random"
    named = ["seed=1", "train=30/seed=0", "train=allx3/seed=2"]
    for name in (*named, "train=all/seed=1", "train=allx1/seed=1", "train=030/seed=5", "seed=1_1", "seed=-1", "seed=x"):
        (own / name).mkdir(parents=True)
    assert sorted(path.relative_to(own).as_posix() for path in find_runs(tmp_path).values()) == named


def test_a_report_tells_the_sizes_apart(workspace: Workspace) -> None:
    name = "sizes-report"
    words = ["--sweep", name, "--seeds", "0,1", "--epochs", "1", "--train", "10,all"]
    answer = workspace.sweep(*words)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    made = workspace.analyse("--sweep", name)
    assert made.returncode == 0, made.stderr
    summary = json.loads((workspace.root / "results" / name / "summary.json").read_text())
    assert [(group["init"], group["train"], group["n"]) for group in summary["groups"]] == [
        ("pretrained", 0, 2),
        ("pretrained", 10, 2),
        ("random", 0, 2),
        ("random", 10, 2),
    ]
    assert "random tiny (fairseq, full), 10 training texts" in made.stdout
    report = (workspace.root / "results" / name / "report.md").read_text()
    assert "pretrained against random: amazon_fr · tiny · fairseq · full · 10 training texts" in report
    assert report.count("On amazon_fr, tiny (fairseq, full) reaches") == 1  # of all texts; the table has the others
    assert "## Labels: amazon_fr · tiny · fairseq · full\n\nSeeds 0, 1, compared seed by seed." in report
    assert re.search(r"^\| 10 +\| \d", report, re.MULTILINE)
    assert "1 of all texts; as many steps on 10" in report
    answer = workspace.sweep("--sweep", "few-only", "--seeds", "0", "--epochs", "1", "--train", "10")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    made = workspace.analyse("--sweep", "few-only")
    assert "On amazon_fr with 10 training texts, tiny (fairseq, full) reaches" in made.stdout


def test_the_experiments_say_what_they_vary_and_the_user_may_say_otherwise() -> None:
    def axes(*words: str) -> tuple[list[str], list[str]]:
        found = axes_of(arguments_of_run().parse_args(list(words)))
        return found.inits, found.trains

    assert axes() == (["pretrained", "random"], ["all"])
    assert axes("--experiment", "labels") == (["pretrained", "random"], ["halves", "allx3"])
    assert axes("--experiment", "labels", "--train", "50,all") == (["pretrained", "random"], ["50", "all"])
    inits, trains = axes("--experiment", "ladder")
    assert (inits[0], inits[-1], trains) == ("pretrained", "random", ["all"])
    assert {"bottom_2", "embeddings", "shuffled", "statistics"} <= set(inits)


def test_a_ladder_with_more_layers_than_the_model_has_is_one_sentence(workspace: Workspace) -> None:
    said = refused(workspace.sweep("--sweep", "tall", "--experiment", "ladder", "--seeds", "0", "--epochs", "1"))
    assert "INIT=bottom_8: the encoder has 2 layers; give a number from 1 to 2" in said


def test_datasets_and_models_are_lists_too(workspace: Workspace) -> None:
    said = refused(workspace.python("sweeps", "--dataset", "amazon_fr,cls_dvd", "--model", "tiny", "--seeds", "0"))
    assert "cls_dvd is not prepared for tiny" in said
    assert "amazon_fr is given twice" in refused(workspace.python("sweeps", "--dataset", "amazon_fr,amazon_fr"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--train", "10", "recipe.updates=epoch"), "recipe.updates=epoch: choose from full, epochs"),
        (("recipe.updates=epochs",), "recipe.updates is a setting of TRAIN=n, and no run of this sweep has it"),
        (("--init", "bottom_1,bottom_2", "init.layers=2"), "init.layers cannot be given as an override: use INIT"),
        (("--init", "pretrained", "init.checkpoint=x.pt"), "init.checkpoint cannot be given as an override"),
    ],
)
def test_a_setting_of_texts_or_parts_takes_effect_or_is_refused(
    workspace: Workspace, words: tuple[str, ...], said: str
) -> None:
    assert said in refused(workspace.sweep("--sweep", "unheeded", "--seeds", "0", *words))


def test_two_models_of_one_name_are_refused(workspace: Workspace) -> None:
    one, two = workspace.root / "one/mine", workspace.root / "two/mine"
    for folder in (one, two):
        shutil.copytree(workspace.model, folder)
    prep = workspace.python("data_prep", "--model", str(one), *workspace.overrides)
    assert prep.returncode == 0, prep.stderr
    words = ["--model", f"{one},{two}", "--sweep", "one-name", "--seeds", "0", "--init", "random"]
    answer = workspace.python("sweeps", *words, "--device", "cpu", "--precision", "fp32", *workspace.overrides)
    assert "is asked for twice: two datasets or models have one name; give another" in refused(answer)


def test_prep_reads_lists_as_the_sweep_does(workspace: Workspace) -> None:
    assert workspace.prep("--init", "pretrained, random").returncode == 0
    assert "an empty word" in refused(workspace.python("data_prep", "--dataset", "amazon_fr,"))
