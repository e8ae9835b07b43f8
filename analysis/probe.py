"""A third simple baseline: logistic regression on what a frozen, pre-trained encoder computes of each text.

Two vectors describe a text: the mean of the last layer over its tokens, and the last layer at `<s>`. They are computed
once for each dataset and model, on the texts as runs see them, and kept in data/features/<dataset>.<model>.
"""

import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from analysis.alike import inputs_of
from analysis.baselines import Baseline, Fits, baselines_of, best_on_validation, data_problem, remembered
from analysis.dose import DoseCurve
from analysis.evidence import Evidence
from data_prep.examples import SPLITS
from data_prep.stages import build_stage, read_manifest
from data_prep.subsets import nested_subset
from foundation.whole_files import sha256_of
from sweeps.folders import ALL
from sweeps.provenance import binarised_folder

LAYOUT = 1  # raise it when the features change: kept ones are then computed anew
STRENGTHS = (0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)  # C, on features with a mean of 0 and a std of 1 on train
SETTINGS = f"logistic regression on standardised features, C of {STRENGTHS} chosen on validation"
VECTORS = {"mean": "mean of the last layer", "first": "last layer at <s>"}
FILE = "features.npz"

Array = NDArray[Any]


def _config(run_folder: Path, data_dir: Path) -> DictConfig:
    config = OmegaConf.load(run_folder / "config.yaml")
    assert isinstance(config, DictConfig)
    config.data_dir = str(data_dir.absolute())
    return config


def probe_inputs(run_folder: Path, data_dir: Path) -> tuple[dict[str, Any] | None, str]:
    """Return what the features for a pre-trained run's encoder are made from, or None and why they cannot be made."""
    if not (run_folder / "config.yaml").is_file():
        return None, f"{run_folder / 'config.yaml'} is not there"
    config = _config(run_folder, data_dir)
    checkpoint = Path(str(config.model.checkpoint))
    made_from = inputs_of(run_folder)
    if not checkpoint.is_file():
        return None, f"the checkpoint {checkpoint} is not there"
    if sha256_of(checkpoint) != made_from.get("checkpoint"):
        return None, f"the checkpoint {checkpoint} is not the one that the runs started from"
    manifest = read_manifest(binarised_folder(config)) or {}
    inputs = {"layout": LAYOUT, "data": manifest.get("outputs"), "checkpoint": made_from["checkpoint"]}
    return {**inputs, "precision": config.precision.name}, ""


def features(run_folder: Path, data_dir: Path, made_from: dict[str, Any]) -> dict[str, Array]:
    """Return the features for the encoder that a pre-trained run starts from; `made_from` is of `probe_inputs`.

    The keys are `train/mean`, `train/first` with shape (texts, width), `train/class` with shape (texts,), the same for
    valid and test, and `seconds`.
    """
    config = _config(run_folder, data_dir)
    config.n_train = None
    folder = data_dir / "features" / f"{config.dataset.name}.{config.model.name}"
    build_stage(folder, made_from, lambda scratch: _compute(scratch, config))
    with np.load(folder / FILE) as found:
        return dict(found)


def _compute(scratch: Path, config: DictConfig) -> dict[str, Any]:
    """Write the features of every text of every split, in the order of the split."""
    import torch
    from fairseq import tasks, utils

    from sweeps.fairseq_config import fairseq_config, resolved

    warnings.filterwarnings("ignore", message=".*pin_memory.*")  # fairseq asks for it on every machine
    start = time.monotonic()
    print(f"  probe: {config.model.name} reads the texts of {config.dataset.name}, once", flush=True)
    on_cuda = config.device == "cuda" and torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        device, precision = ("cuda", "fp32") if on_cuda else ("cpu", config.precision.name)
        settings = resolved(fairseq_config(config, binarised_folder(config), Path(folder), device, precision))
        task = tasks.setup_task(settings.task)
        model = task.build_model(settings.model).eval()
    model = model.cuda() if on_cuda else model
    made: dict[str, Array] = {}
    for split in SPLITS:
        dataset = task.load_dataset(split)
        parts: dict[str, list[Array]] = {"id": [], "mean": [], "first": [], "class": []}
        batches = task.get_batch_iterator(dataset, max_sentences=settings.dataset.batch_size_valid)
        for sample in batches.next_epoch_itr(shuffle=False):
            sample = utils.move_to_cuda(sample) if on_cuda else sample
            tokens = sample["net_input"]["src_tokens"]
            with torch.inference_mode(), task.autocast(sample):
                layer = model(**sample["net_input"], features_only=True)[0].float()
            real = tokens.ne(task.dictionary.pad())[:, :, None]
            parts["id"].append(sample["id"].cpu().numpy())
            parts["mean"].append(((layer * real).sum(1) / real.sum(1)).cpu().numpy())
            parts["first"].append(layer[:, 0].cpu().numpy())
            parts["class"].append(sample["target"].view(-1).cpu().numpy())
        order = np.argsort(np.concatenate(parts.pop("id")))
        made |= {f"{split}/{name}": np.concatenate(rows)[order] for name, rows in parts.items()}
    np.savez(scratch / FILE, seconds=np.array(time.monotonic() - start), **made)  # type: ignore[arg-type]
    return {"model": config.model.name, "dataset": config.dataset.name}


def fit_probes(found: dict[str, Array], rows: Array) -> list[Baseline]:
    """Return a probe for each of the two vectors of a text, trained on the training texts at `rows`.

    C is chosen by validation accuracy; on a tie, the smallest C.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probes = []
    for vector, words in VECTORS.items():
        start = time.monotonic()
        own = {split: found[f"{split}/{vector}"] for split in SPLITS}
        gold = {split: found[f"{split}/class"] for split in SPLITS}
        own["train"], gold["train"] = own["train"][rows], gold["train"][rows]
        by_strength = {
            f"probe: {words}, C = {strength:g}": make_pipeline(
                StandardScaler(), LogisticRegression(C=strength, max_iter=2_000)
            )
            for strength in STRENGTHS
        }
        best = best_on_validation(by_strength, own, gold)
        seconds = float(found["seconds"]) + time.monotonic() - start
        probes.append(replace(best, seconds=seconds))
    return probes


def simple_fits(
    evidence: Evidence, doses: list[DoseCurve], folders: dict[str, Path], data_dir: Path, memory: Path
) -> tuple[dict[str, list[Baseline]], Fits, list[str]]:
    """Return each dataset's baselines, all baselines and probes by texts and model, and a sentence for each problem.

    A probe needs the checkpoint that the pre-trained runs of its dataset and model started from. The doses of a curve
    have no probes: each would read every text with another encoder.
    """
    baselines: dict[str, list[Baseline]] = {}
    unfitted: dict[str, tuple[str, str]] = {}
    for group in evidence.groups:
        dataset = group.names["dataset"]
        splits = data_dir / "splits" / dataset
        binarised = data_dir / "bin" / f"{dataset}.{group.names['model']}"
        wrong = data_problem(binarised, splits, group.inputs.get("data", {}))
        if wrong is None:
            baselines[dataset] = baselines_of(splits, memory)
        else:
            unfitted[group.title] = (dataset, wrong)
    problems = [
        f"{title}: {'its runs had other data than the baseline' if dataset in baselines else 'no baseline'}, "
        f"because {wrong}."
        for title, (dataset, wrong) in unfitted.items()
    ]
    problems += [
        f"{dataset}: no TF-IDF baseline, because no text of train holds a word of two letters."
        for dataset, found in baselines.items()
        if len(found) == 1
    ]
    of_doses = {group.title for curve in doses for group in curve.on_terms}
    fits: Fits = {}
    pretrained: dict[tuple[str, str], Path] = {}
    for group in evidence.groups:
        dataset, model, train = group.names["dataset"], group.names["model"], group.runs[0].key.train
        if dataset not in baselines:
            continue
        if group.n_train is not None:
            own = baselines[dataset] if train == ALL else baselines_of(data_dir / "splits" / dataset, memory, train)
            fits.setdefault((dataset, model, group.n_train), own)
        if group.names["init"] == "pretrained" and group.title not in of_doses:
            pretrained[dataset, model] = folders[str(group.runs[0].key)]
    for (dataset, model), run in pretrained.items():
        made_from, why_none = probe_inputs(run, data_dir)
        if made_from is None:
            problems.append(f"{dataset}, {model}: no probe on the frozen encoder, because {why_none}.")
            continue
        for key in [key for key in fits if key[:2] == (dataset, model)]:
            fits[key] = [*fits[key], *probes_of(run, data_dir, made_from, key, memory)]
    return baselines, fits, problems


def probes_of(
    run: Path, data_dir: Path, made_from: dict[str, Any], key: tuple[str, str, int], memory: Path
) -> list[Baseline]:
    """Return the probes of `key`: dataset, model, number of training texts. The JSON file `memory` keeps them."""
    dataset, model, size = key

    def fit() -> list[Baseline]:
        found = features(run, data_dir, made_from)
        classes = found["train/class"].tolist()
        return fit_probes(found, nested_subset(classes, size, [str(name) for name in range(max(classes) + 1)]))

    inputs = {**made_from, "settings": SETTINGS}
    return remembered(memory, f"{dataset}, {model}, {size} texts: probes", inputs, fit)
