"""The commands that make a sweep again, as the report and sweep.json show them: pasted into a shell, they run."""

import argparse
import re
import shlex

PLAIN = re.compile(r"[\w@%+=:,./\[\]-]+")  # an override that a shell without patterns, as a recipe's is, leaves alone


def make_word(name: str, value: str) -> str:
    """Return `NAME=value` for a command line of make's, so that the recipe gets this very value."""
    value = value.replace("$", "$$")
    if value[:1].isspace():
        value = f"$(){value}"  # make drops the blanks after the equals sign, but for the first thing that is none
    if "'" in value and not re.search(r'["$`\\!]', value):
        return f'{name}="{value}"'  # as one would write it by hand
    return f"{name}={shlex.quote(value)}"


def commands_of(arguments: argparse.Namespace, usual: argparse.ArgumentParser) -> list[str]:
    """Return the commands that make the same runs again: prep and sweep, with what was not left to the defaults.

    `usual` is the parser that the arguments come from. The shell of make's recipe reads ARGS as words, so each override
    is quoted for it first.
    """
    named = (
        "dataset",
        "model",
        "init",
        "seeds",
        "method",
        "backend",
        "experiment",
        "epochs",
        "device",
        "precision",
        "sweep",
        "data_dir",
        "runs_dir",
    )
    given = {
        name.upper(): str(getattr(arguments, name))
        for name in named
        if getattr(arguments, name) and getattr(arguments, name) != usual.get_default(name)
    }
    if arguments.overrides:
        given["ARGS"] = " ".join(word if PLAIN.fullmatch(word) else shlex.quote(word) for word in arguments.overrides)
    words = {name: make_word(name, value) for name, value in given.items()}
    of_prep = [words[name] for name in ("DATASET", "MODEL", "INIT", "EXPERIMENT", "DATA_DIR", "ARGS") if name in words]
    return [" ".join(["make prep", *of_prep]), " ".join(["make sweep", *words.values()])]
