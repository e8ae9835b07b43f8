"""The pages hold together: each link within the project leads somewhere, and pages stay short."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_within_the_project_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_the_readme_leads_to_each_page() -> None:
    assert {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} <= set(links(ROOT / "README.md"))


def test_the_readme_has_at_most_120_lines_and_so_has_each_page_of_at_most_140_characters() -> None:
    """Two screens. Tables and code may be wider."""
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 120, page.name
        prose = CODE.sub("", page.read_text(encoding="utf-8")).splitlines()
        wide = [line for line in prose if len(line) > 140 and not line.startswith(("|", "    ", "`"))]
        assert not wide, f"{page.name}: {wide[0]}"
