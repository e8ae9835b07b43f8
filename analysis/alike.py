"""Runs that are put together must be alike: of one group in all but the seed, of two inits in all but what may differ.

A sweep folder can be filled by several commands, so what one command refuses may still come together here.
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from analysis.evidence import Evidence
from sweeps.folders import read_json
from sweeps.grid import unfair_keys
from sweeps.provenance import comparable, differing_keys


def _text(folder: Path) -> str:
    """Return a run's configuration without its seed's line."""
    path = folder / "config.yaml"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return "\n".join(line for line in lines if not line.startswith("seed:"))


def _flat(folder: Path) -> dict[str, Any]:
    if not (folder / "config.yaml").is_file():
        return {}
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    return {key: value for key, value in comparable(config).items() if key != "seed"}


def _inputs(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(folder / "provenance.json").get("inputs", {})
    return found


def unlike(evidence: Evidence, folders: dict[str, Path]) -> list[str]:
    """Return a sentence for each run that does not belong with the others it is counted with.

    `folders` holds the runs' folders by name.
    """
    found = []
    for group in evidence.groups:
        first, *others = (folders[str(run.key)] for run in group.runs)
        text, inputs = _text(first), _inputs(first)
        for other in others:
            differing = differing_keys(_flat(first), _flat(other)) if _text(other) != text else []
            differing += [f"{name} (input)" for name, value in inputs.items() if _inputs(other).get(name) != value]
            if differing:
                found.append(f"{group.title}: {other.name} differs from {first.name} in {'; '.join(differing)}; their "
                             "mean mixes two experiments.")  # fmt: skip
    for comparison in (comparison for comparison in evidence.comparisons if comparison.axis == "init"):
        one, other = (folders[str(group.runs[0].key)] for group in (comparison.one, comparison.other))
        differing = unfair_keys(_flat(one), _flat(other))
        differing += [
            f"{name} (input)" for name in ("data", "labels") if _inputs(one).get(name) != _inputs(other).get(name)
        ]
        if differing:
            found.append(f"{comparison.title}: not on equal terms, they differ in {', '.join(differing)}.")
    return found
