"""Check that runs are alike: in all but the seed within a group, in all but what is compared between two groups.

One command refuses unequal runs. But several commands can fill one sweep folder, so the runs are checked here again.
"""

import json
import re
from collections import Counter
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from analysis.best_steps import RunResult, by_group
from sweeps.folders import RunKey, read_json
from sweeps.grid import MAY_DIFFER, OF_INIT, unfair_keys
from sweeps.provenance import comparable, defaults, differing_keys

UNLIKE = "unlike the others"  # status of a run that is left out of its group
FREE = {  # what is compared -> keys, or their beginnings, that may differ between two groups
    "init": OF_INIT,
    "backend": ("backend.", "hf."),
    "method": ("method.", *MAY_DIFFER),
    "dose": ("model.name",),
    "labels": ("n_train", *OF_INIT),
    "length": ("length",),
    "leaks": ("dataset.",),
}
SAME_INPUTS = {
    "init": ("data", "labels"),
    "backend": ("data", "labels", "checkpoint"),
    "method": ("data", "labels", "checkpoint"),
    "dose": ("data", "labels"),
    "labels": ("data", "labels"),
    "length": ("data", "labels", "checkpoint"),
    "leaks": (),
}
ONE_CHECKPOINT = ("init", "labels")  # random weights have none; all others start from the same


class Trained(Protocol):
    """What has a flat configuration and a record of what it was made from, such as a group of runs."""

    @property
    def config(self) -> dict[str, Any]: ...

    @property
    def inputs(self) -> dict[str, Any]: ...


@cache
def _flat(text: str) -> dict[str, Any]:
    """Return a configuration, without its seed, as {dotted key: value}.

    A key that a run of an earlier version lacks has its default, as when a sweep looks at the run.
    """
    config = OmegaConf.create(text)
    assert isinstance(config, DictConfig)
    given = comparable(config)
    nodes = {"", *(key.rpartition(".")[0] for key in given)}
    usual = {
        key: value for key, value in defaults().items() if value not in ("???", {}) and key.rpartition(".")[0] in nodes
    }
    return {key: value for key, value in {**usual, **given}.items() if key != "seed"}


def configuration(folder: Path) -> dict[str, Any]:
    """Return the compared keys of a run's config.yaml as {dotted key: value}; empty when there is no file."""
    path = folder / "config.yaml"
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return _flat("\n".join(line for line in lines if not line.startswith("seed:")))


def inputs_of(folder: Path) -> dict[str, Any]:
    """Return what a run was made from, by its provenance.json; empty when it is not recorded."""
    found = read_json(folder / "provenance.json").get("inputs")
    return found if isinstance(found, dict) else {}


def keep_alike(results: list[RunResult], folders: dict[str, Path]) -> list[RunResult]:
    """Return the results. A run that does not belong to its group gets the reason and has no accuracies.

    Each group keeps the configuration and inputs that most of its runs have, on a tie those of the lowest seed.
    """
    judged = [result for result in results if result.test is not None]
    left_out = {str(run.key): why for run in judged if (why := _of_another_run(run.key, folders[str(run.key)]))}
    for members in by_group([run for run in judged if str(run.key) not in left_out]).values():
        made_from = {
            str(run.key): (configuration(folders[str(run.key)]), inputs_of(folders[str(run.key)])) for run in members
        }
        kinds = {name: json.dumps(made, sort_keys=True, default=str) for name, made in made_from.items()}
        kept, _ = Counter(kinds[str(run.key)] for run in members).most_common(1)[0]  # on a tie, the lowest seed's kind
        first = next(run for run in members if kinds[str(run.key)] == kept)
        for run in members:
            name = str(run.key)
            if kinds[name] != kept:
                left_out[name] = _difference(made_from[name], made_from[str(first.key)], first.key.seed)
    return [
        RunResult(run.key, UNLIKE, run.curve, why=left_out[str(run.key)]) if str(run.key) in left_out else run
        for run in results
    ]


def _of_another_run(key: RunKey, folder: Path) -> str | None:
    """Return why a folder is not the run that its path names (config.yaml is another run's), or None when it is."""
    path = folder / "config.yaml"
    if not path.is_file():
        return None
    config = configuration(folder)
    own = {f"{name}.name": value for name, value in asdict(key).items() if name not in ("seed", "train", "length")}
    own |= {"n_train": key.train or None, "length": key.length}
    seed = re.search(r"^seed: *(\d+) *$", path.read_text(encoding="utf-8"), re.MULTILINE)
    differing = [f"{name}={config[name]}" for name, value in own.items() if config.get(name, value) != value]
    differing += [f"seed={seed[1]}"] if seed and int(seed[1]) != key.seed else []
    return f"its config.yaml says {', '.join(differing)}: the folder is a copy of another run's" if differing else None


def _difference(own: tuple[Any, Any], kept: tuple[Any, Any], seed: int) -> str:
    if not own[0]:
        return "its config.yaml is not there"
    if not kept[0]:
        return f"it has a config.yaml and seed {seed}, which the group keeps, has none"
    differing = differing_keys(kept[0], own[0])
    differing += [
        f"{name} (input)" for name in sorted(kept[1].keys() | own[1].keys()) if kept[1].get(name) != own[1].get(name)
    ]
    return f"it differs from seed {seed}, which the group keeps, in {'; '.join(differing)}"


def unequal_terms(what: str, one: Trained, other: Trained) -> list[str]:
    """Return the settings and inputs in which two groups differ but must not, when `what` is compared."""
    if bool(one.config) != bool(other.config):
        return ["config.yaml, which one of them lacks"]
    said = [
        f"{key} ({one.config.get(key, 'absent')} against {other.config.get(key, 'absent')})"
        for key in unfair_keys(one.config, other.config, FREE[what])
    ]
    names = [name for name in SAME_INPUTS[what] if one.inputs.get(name) != other.inputs.get(name)]
    checkpoints = {group.inputs.get("checkpoint") for group in (one, other)} - {None}
    if what in ONE_CHECKPOINT and len(checkpoints) > 1:
        names.append("checkpoint")
    return said + [f"{name} (input)" for name in names]
