"""Writes docs/bench.md and bench_parts.md. Each bench replaces its own section and leaves the rest of a page alone.

The page marks a section with `<!-- name -->` and `<!-- end of name -->`.
"""

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from foundation.errors import UsageError
from foundation.whole_files import write_text


def machine() -> str:
    """Return a description of the machine: cores, processor, GPU if there is one, Python, torch, and the date."""
    import torch

    cpu = Path("/proc/cpuinfo")
    told = cpu.read_text() if cpu.is_file() else ""
    names = re.findall(r"^model name\s*: (.+)$", told, re.MULTILINE)
    units = [name for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")) if flag in told]
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    chip = " with ".join([names[0] if names else platform.processor(), *units[:1]])
    parts = [
        f"{os.cpu_count()} cores of {chip}",
        *gpu,
        f"Python {platform.python_version()}",
        f"torch {version('torch')}",
        f"{date.today():%-d %B %Y}",
    ]
    return ", ".join(parts)


def parser_of(module: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benches of the page have."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--page", type=Path, help="page whose section is replaced, such as docs/bench.md")
    return parser


def command() -> str:
    """Return this process's command as a user would type it."""
    module = sys.modules["__main__"].__spec__
    return shlex.join([".venv/bin/python", "-m", module.name if module else sys.argv[0], *sys.argv[1:]])


def write_section(page: Path, name: str, markdown: str) -> None:
    """Put `markdown`, the command and the machine into section `name` of the page.

    Raises `UsageError` unless the page has exactly one section `name`.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    if before.count(begin) != 1 or before.count(end) != 1:
        raise UsageError(f"{page} has no place for {name}: write the lines {begin} and {end} where it is to stand")
    head, rest = before.split(begin)
    tail = rest.split(end)[1]
    made = f"`{command()}`, {machine()}."
    write_text(page, f"{head}{begin}\n{markdown.strip()}\n\n{made}\n{end}{tail}")


def show(page: Path | None, name: str, markdown: str, numbers: dict[str, Any] | None = None) -> None:
    """Print the results of a bench, and its numbers as one line of JSON. Write the results to the page, if given."""
    print(f"\n{markdown}")
    if numbers is not None:
        print(json.dumps(numbers))
    if page:
        write_section(page, name, markdown)


def spread(values: list[float], digits: int) -> str:
    """Return the median of the rounds, followed by the least and the greatest value when they differ."""
    least, middle, greatest = (f"{value:.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return middle if least == greatest else f"{middle} ({least} to {greatest})"


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as a Markdown table."""
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))
