"""Data flows one way: a room imports only from rooms to its left."""

import ast
from pathlib import Path

import pytest

ROOMS = ["foundation", "hydra_conf", "data_prep", "fairseq_tasks", "hf_tasks", "sweeps", "analysis", "benchmarks"]
ROOT = Path(__file__).parent.parent


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a module imports from, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_to_its_left(room: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    modules = list((ROOT / room).rglob("*.py"))
    assert modules
    for module in modules:
        assert imported_rooms(module) <= allowed, module
