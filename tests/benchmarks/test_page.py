"""A bench replaces its own section of the page and nothing else."""

import re
from pathlib import Path

import pytest

from benchmarks.page import machine, spread, write_section
from foundation.errors import UsageError

PAGE = "# Speed\n\n<!-- one -->\nold\n<!-- end of one -->\n\nprose\n\n<!-- two -->\n<!-- end of two -->\n"


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    page.write_text(PAGE)
    for text in ("| a |", "| b |"):
        write_section(page, "one", text)
    said = page.read_text()
    assert said.startswith("# Speed\n\n<!-- one -->\n| b |\n\n`.venv/bin/python -m ")
    assert said.endswith("<!-- end of one -->\n\nprose\n\n<!-- two -->\n<!-- end of two -->\n")
    assert "old" not in said
    assert "| a |" not in said
    assert machine() in said


def test_a_page_without_the_section_is_left_alone_and_named(tmp_path: Path) -> None:
    page = tmp_path / "bench.md"
    page.write_text(PAGE)
    with pytest.raises(UsageError, match="has no place for three"):
        write_section(page, "three", "| c |")
    assert page.read_text() == PAGE
    with pytest.raises(UsageError, match="no place"):
        write_section(tmp_path / "none.md", "one", "| c |")


def test_make_bench_writes_every_section_that_the_projects_pages_have() -> None:
    """Each section stands once, on the page that `make bench` gives to its command."""
    root = Path(__file__).parents[2]
    recipe = (root / "Makefile").read_text().partition("\nbench:")[2].partition("\ntest:")[0]
    given = re.findall(r"for what in ([a-z ]+);.*?--page (\S+)", recipe, re.DOTALL)
    sections = {page: re.findall(r"<!-- (?!end of )(\w+) -->", (root / page).read_text()) for _, page in given}
    assert {page: sorted(words.split()) for words, page in given} == {
        page: sorted(found) for page, found in sections.items()
    }
    assert sorted(sections) == sorted(f"docs/{path.name}" for path in root.glob("docs/bench*.md"))


def test_one_round_has_no_spread() -> None:
    assert spread([3.64], 2) == "3.64"
    assert spread([3.6, 3.7, 3.4], 1) == "3.6 (3.4 to 3.7)"
