"""README and docs: links lead somewhere, pages are in the navigation, and commands can be parsed."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from genner.cli import app

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
FENCE = re.compile(r"^```.*?^```\n", re.M | re.S)
LINK = re.compile(r"\]\(([^()\s]+)\)")


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{target.name} has no heading of {link}"
        if page in DOCS:
            assert (ROOT / "docs") in target.parents, f"{link} leads out of the site"


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = re.findall(r"([\w/]+\.md)$", nav, re.M)
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in DOCS)


def lines() -> list[str]:
    """The commands of code blocks, fenced or indented, without comments and placeholders in brackets."""
    found = set()
    for page in PAGES:
        if page.name != "log.md":
            text = page.read_text(encoding="utf-8").replace("\\\n", " ")
            code = "".join(FENCE.findall(text)) + "".join(re.findall(r"^ {4}(.*\n)", text, re.M))
            for line in re.findall(r"^(?:\$ )?(genner .*)$", code, re.M):
                command = line.partition("  #")[0].partition(" # ")[0].partition(" > ")[0].strip()
                if not re.search(r"[\[|]", command) and not command.endswith("..."):
                    found.add(command)
    return sorted(found)


@pytest.mark.parametrize("line", lines())
def test_every_command_can_be_parsed(line: str) -> None:
    command: Any = typer.main.get_command(app)
    context, args = None, shlex.split(line)[1:]
    while True:
        context = command.make_context(command.name or "genner", args, parent=context)
        if not hasattr(command, "commands"):
            break
        _, command, args = command.resolve_command(context, [*context._protected_args, *context.args])


def test_the_commands_of_the_documentation_are_many() -> None:
    """So that the pattern above does not come to match nothing."""
    assert len(lines()) > 50
