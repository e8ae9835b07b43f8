"""Turns the words of a command into Hydra overrides, and finds the known word nearest to a wrong one."""

import argparse
import difflib
import re
from pathlib import Path
from typing import Any

from foundation.errors import UsageError

CONF_DIR = Path(__file__).parent.resolve()


def choices(group: str) -> list[str]:
    """Return the choices of a group, in alphabetical order."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))


def nearest(key: str, known: list[str], called: str = "known keys") -> str:
    """Return ` (did you mean ...?)` with the known key most like `key`. If no key is similar, list all known keys."""
    near = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f"; {called}: {', '.join(sorted(known))}"


def parse_words(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """Return the parsed words of a command with `overrides`. These may stand anywhere among its options.

    Every word after `--` is an override.
    """
    end = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_intermixed_args(words[:end])
    arguments.overrides += words[end + 1 :]
    return arguments


def quoted(value: object) -> str:
    """Return a value, such as a path, in quotes, so that it may hold any character in an override."""
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", r"\'"), str(value)) + "'"


def parse_list(name: str, text: str, values: list[Any] | None = None) -> list[Any]:
    """Return the comma-separated words of a variable. Raises `UsageError` for an empty word or a repeat."""
    words = values if values is not None else [word.strip() for word in text.split(",")]
    if "" in words:
        raise UsageError(f"{name}={text}: an empty word; give a list such as a,b")
    repeated = sorted({str(word) for word in words if words.count(word) > 1})
    if repeated:
        raise UsageError(f"{name}={text}: {', '.join(repeated)} is given twice; give each once")
    return words


def group_words(**chosen: str | None) -> list[str]:
    """Return the overrides that choose `dataset`, `model`... A group that is None or empty keeps its default.

    A model with a slash in it is a folder: `MODEL=path/to/folder` is `model=folder` named after that folder.
    """
    words = []
    for group, choice in chosen.items():
        if group == "model" and choice and "/" in choice:
            words += _folder_words(Path(choice).expanduser())
        elif group == "init" and choice:
            words += _init_words(choice)
        elif choice:
            words.append(f"{group}={choice}")
    return words


def _init_words(init: str) -> list[str]:
    """Return the overrides that choose an init. `bottom_2` is `init=bottom` with two layers."""
    layers = re.fullmatch(r"bottom_([1-9][0-9]*)", init)
    typed = re.fullmatch(r"\D*_([1-9][0-9]*)", init)
    known = [f"bottom_{typed[1] if typed else '<n>'}" if name == "bottom" else name for name in choices("init")]
    if layers:
        return ["init=bottom", f"init.layers={layers[1]}"]
    if init not in known:
        raise UsageError(f"INIT={init}: there is no such init{nearest(init, known, 'choose from')}")
    return [f"init={init}"]


def _folder_words(folder: Path) -> list[str]:
    name = folder.absolute().resolve().name
    if name in choices("model"):
        raise UsageError(
            f"MODEL={folder}: a folder called {name} would be mistaken for the model of that name; "
            f"say MODEL={name}, or rename the folder"
        )
    if not folder.is_dir():
        raise UsageError(f"MODEL={folder}: there is no such folder; give one that holds a fairseq RoBERTa")
    return ["model=folder", f"model.folder={quoted(folder.absolute())}", f"model.name={quoted(name)}"]
