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
    """Each command of `make bench` is there, and its section stands once on the page that the command is given."""
    root = Path(__file__).parents[2]
    recipe = (root / "Makefile").read_text().partition("\nbench:")[2].partition("\ntest:")[0]
    loops = re.findall(r"for what in ([a-z ]+);.*?-m (benchmarks\S*)(?: \$\$what)?.*?--page (\S+)", recipe, re.DOTALL)
    assert [page for _, _, page in loops] == sorted(f"docs/{path.name}" for path in root.glob("docs/bench*.md"))
    for words, module, page in loops:
        text = (root / page).read_text()
        assert sorted(re.findall(r"<!-- (?!end of )(\w+) -->", text)) == sorted(words.split())
        for what in words.split():
            assert text.count(f"<!-- {what} -->") == text.count(f"<!-- end of {what} -->") == 1
            source = (root / f"{module.replace('$$what', what).replace('.', '/')}.py").read_text()
            assert f'"{what}"' in source


def test_one_round_has_no_spread() -> None:
    assert spread([3.64], 2) == "3.64"
    assert spread([3.6, 3.7, 3.4], 1) == "3.6 (3.4 to 3.7)"
