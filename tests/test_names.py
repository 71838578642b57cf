"""One word means one thing: no public class and no module-level constant has two meanings in two modules."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import genner

ROOT = Path(genner.__file__).parent
SAME_EVERYWHERE = ("TypeVar", "logging.getLogger")
"""What makes names that mean the same in every module."""


def _public(tree: ast.Module) -> Iterator[str]:
    """The public classes, constants and type aliases of a module."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            if node.value and ast.unparse(node.value).startswith(SAME_EVERYWHERE):
                continue
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield target.id


def test_no_name_has_two_meanings() -> None:
    places = defaultdict(list)
    for file in sorted(ROOT.rglob("*.py")):
        for name in _public(ast.parse(file.read_text(encoding="utf-8"))):
            if not name.startswith("_"):
                places[name].append(file.relative_to(ROOT).as_posix())
    assert len(places) > 500
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
