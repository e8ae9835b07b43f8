"""The commands that repeat a sweep, as the report and sweep.json show them. They run when pasted into a shell."""

import argparse
import re
import shlex
from collections.abc import Sequence

PLAIN = re.compile(r"[\w@%+=:,./\[\]-]+")  # overrides that need no quotes in a recipe's shell, which has globbing off

NOT_REPEATED = ("launcher", "jobs", "no_wait", "check", "force", "overrides")  # the runs are the same without them


def args_word(overrides: Sequence[str]) -> str:
    """Return overrides as one value of ARGS. The shell of make's recipe splits it into the same words again."""
    return " ".join(word if PLAIN.fullmatch(word) else shlex.quote(word) for word in overrides)


def make_word(name: str, value: str) -> str:
    """Return `NAME=value` for the command line of make, quoted so that the recipe gets exactly this value."""
    value = value.replace("$", "$$")
    if value[:1].isspace():
        value = f"$(){value}"  # make drops blanks right after the equals sign; the empty $() keeps them
    if "'" in value and not re.search(r'["$`\\!]', value):
        return f'{name}="{value}"'  # as a person would write it
    return f"{name}={shlex.quote(value)}"


def commands_of(
    arguments: argparse.Namespace, usual: argparse.ArgumentParser, of_prep: Sequence[str] = ()
) -> list[str]:
    """Return the prep and sweep commands that repeat the same runs, with every value that is not a default.

    `usual` is the parser that the arguments come from. `of_prep` are further overrides of prep alone.
    """
    given = {
        name.upper(): str(value)
        for name, value in vars(arguments).items()
        if name not in NOT_REPEATED and value and value != usual.get_default(name)
    }
    of_both = ("DATASET", "MODEL", "INIT", "EXPERIMENT", "DATA_DIR")

    def line(command: str, values: dict[str, str], overrides: list[str]) -> str:
        all_values = values | {"ARGS": args_word(overrides)}
        return " ".join([command, *(make_word(*pair) for pair in all_values.items() if pair[1])])

    return [
        line("make prep", {name: given[name] for name in of_both if name in given}, [*arguments.overrides, *of_prep]),
        line("make sweep", given, arguments.overrides),
    ]
