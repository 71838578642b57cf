"""README and docs: links lead somewhere, pages are in the navigation, and commands can be parsed."""

import ast
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from genner.cli import app
from tests.places import ROOT

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
CHECKED = [page for page in PAGES if page.name not in ("log.md", "CHANGELOG.md")]
PACKAGE = ROOT / "src" / "genner"
FOLDERS = {path.name for path in (*ROOT.iterdir(), *PACKAGE.iterdir()) if path.is_dir()}
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


@pytest.mark.parametrize("page", CHECKED, ids=names(CHECKED))
def test_the_code_that_is_named_is_there(page: Path) -> None:
    """`genner.module.name`, and the files of the package and the repository."""
    text = page.read_text(encoding="utf-8")
    for dotted in re.findall(r"`genner((?:\.(?!json)\w+)+)[`(]", text):
        *parents, name = dotted[1:].split(".")
        folder = PACKAGE.joinpath(*parents)
        module = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        assert (folder / name).is_dir() or (folder / f"{name}.py").is_file() or name in module.read_text("utf-8"), (
            dotted
        )
    for path in re.findall(r"`((?:\w+/)+[\w.]+\.(?:py|json|toml|csv|jsonl))`", text):
        if path.partition("/")[0] in FOLDERS:
            assert any((root / path).is_file() for root in (ROOT, PACKAGE, PACKAGE / "assets")), path
    for word in re.findall(r"\| `([A-Z]+)`, (?:there|`([\w/.]+)`) \|", text):
        assert not word[1] or word[0] in (PACKAGE / word[1]).read_text(encoding="utf-8"), word


def test_every_page_is_in_the_navigation() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = re.findall(r"([\w/]+\.md)$", nav, re.M)
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in DOCS)


def test_the_layout_names_every_layer() -> None:
    """Each module and package of the import contract stands in the README's layout, and nothing else does."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    layout = readme.partition("[start:layers] -->")[2].partition("<!--")[0]
    named = [name for names in re.findall(r"^ {4}((?:\w+, )*\w+)/? ", layout, re.M) for name in names.split(", ")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [name.removeprefix("genner.") for layer in contracts[0]["layers"] for name in layer.split(" | ")]
    assert sorted(named) == sorted(layers)


def test_arguments_that_docstrings_describe_are_there() -> None:
    """The API reference takes them from the docstrings' `Args:`."""
    described = 0
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                body = node.body if isinstance(node, ast.ClassDef) else [node]
                calls = [
                    one for one in body if isinstance(one, ast.FunctionDef) and one.name in ("__init__", node.name)
                ]
                args = re.search(r"^Args:\n((?: {4}.*\n?|\n)+)", ast.get_docstring(node) or "", re.M)
                if args and calls:
                    legal = {one.arg for one in ast.walk(calls[0].args) if isinstance(one, ast.arg)}
                    names = {
                        name for line in re.findall(r"^ {4}(\w[\w, ]*):", args[1], re.M) for name in line.split(", ")
                    }
                    assert names <= legal, f"{file.relative_to(ROOT)}: {node.name}: {names - legal}"
                    described += 1
    assert described > 30


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
