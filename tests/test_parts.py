"""What genner installs and what it imports: every package is declared, and the core runs without the others."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from genner import extras
from genner.errors import MissingPartError, UsageError
from genner.extras import EXTRA_OF_PACKAGE, EXTRA_PURPOSES, naming_parts, require
from tests import report_runs
from tests.places import ROOT

SOURCES = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name not in ("dev", "all")}
# Not for everybody who installs genner: an exact version of a package for one rewrite of texts, and two trackers.
BY_HAND = {"truecase", "wandb", "mlflow"}


def plain(requirement: str) -> str:
    """The normalized name of a distribution, without the processor that it is for: faiss-cpu is imported as faiss."""
    found = re.match(r"[\w.-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower().removesuffix("-cpu")


CORE = {plain(line) for line in PROJECT["dependencies"]}
OPTIONAL = {name: {plain(line) for line in lines} - {"genner"} for name, lines in EXTRAS.items()}


class Import(NamedTuple):
    """A module that is imported, and whether that happens as soon as the importing one is."""

    name: str
    at_once: bool


@cache
def sources() -> dict[str, Path]:
    """The modules of genner by name."""
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> tuple[Import, ...]:
    """All imports of a module, those for type checkers left out."""

    def walk(node: ast.AST, at_once: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, at_once) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.module, f"{module} has a relative import"
                yield Import(child.module, at_once)
                yield from (Import(f"{child.module}.{alias.name}", at_once) for alias in child.names)
            elif isinstance(child, ast.Call) and re.search(r"\b(import_module|optional)$", ast.unparse(child.func)):
                yield from (Import(first.value, False) for first in child.args[:1] if isinstance(first, ast.Constant))
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            yield from walk(child, at_once and not isinstance(child, ast.FunctionDef | ast.Lambda))

    return tuple(walk(ast.parse(sources()[module].read_text(encoding="utf-8")), True))


def packages(some: Iterator[Import] | tuple[Import, ...]) -> set[str]:
    """Packages of others among what is imported."""
    tops = {name.split(".")[0] for name, _ in some}
    return tops - set(sys.stdlib_module_names) - {"genner"}


@cache
def loaded(module: str) -> frozenset[str]:
    """Packages of others that are imported with this module, its own package and all that they import in turn."""
    seen, todo, found = set(), [module], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        at_once = tuple(one for one in imports(name) if one.at_once)
        found |= packages(at_once)
        parents = {name.rpartition(".")[0]} if "." in name else set()
        todo += [other for other in {one.name for one in at_once} | parents if other in sources()]
    return frozenset(found)


def test_every_imported_package_is_declared() -> None:
    declared = CORE.union(*OPTIONAL.values())
    for module in sources():
        for package in packages(imports(module)) - BY_HAND:
            assert plain(package) in declared, f"{module} imports {package}"


def test_every_declared_package_is_imported() -> None:
    used = {plain(package) for module in sources() for package in packages(imports(module))}
    by_name = {"bitsandbytes", "tensorboard", "spacy"}  # found by name, or through another package
    assert CORE.union(*OPTIONAL.values()) - by_name <= used


def test_each_part_is_in_the_extra_that_is_named() -> None:
    for package, extra in EXTRA_OF_PACKAGE.items():
        assert plain(package) in OPTIONAL[extra], package
        assert plain(package) not in CORE, package
    assert set(EXTRA_OF_PACKAGE.values()) == set(EXTRA_PURPOSES) == set(EXTRAS)
    # These want other versions of the same packages, so they are in environments of their own; tools are asked for.
    apart = {"vllm", "gliner", "gliner2", "langextract", "flair", "span_marker"}
    together = [extra for extra in EXTRAS if extra not in apart]
    assert PROJECT["optional-dependencies"]["all"] == [f"genner[{','.join(together)}]"]


def test_what_is_imported_at_once_is_of_the_core_but_where_models_run() -> None:
    """These modules are themselves imported only where a model is wanted; no other may be on the way to them."""
    heavy = {module for module in sources() if {plain(package) for package in loaded(module)} - CORE}
    places = (
        "genner.engines.",
        "genner.drafting.",
        "genner.training.",
        "genner.rivals.",
        "genner.contamination.language_model",
        "genner.contamination.sources",
        "genner.export.gguf_file",
        "genner.ability.ner_shots",  # imported by the harness itself
        "genner.vllm_plugin.",
    )
    assert {module for module in heavy if not module.startswith(places)} == set()


# --- Without the parts ------------------------------------------------------------------------------------------------

# As if none of these were installed: an import of one fails, and nothing finds one.
BARE = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(EXTRA_OF_PACKAGE)!r}))
"""
SERVE = f"""{BARE}
import contextlib, io, json, sys
from genner.cli import main
for line in sys.stdin:
    sys.argv = ["genner", *json.loads(line)]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code or 0, out.getvalue(), err.getvalue()]))
"""
GOLD = {"id": "1", "text": "Ada left.", "entities": [{"start": 0, "end": 3, "label": "PER", "score": 0.9}]}
RECIPE = "base = 'smollm2-135m-instruct'\n[formats]\ninline_xml = 1\n[[set]]\nname = 'a'\nlabels = 'core'\n"

WORKS = [
    ["--version"],
    ["formats"],
    ["grammar", "--text", "Ada left."],
    ["data"],
    ["data", "gold.jsonl"],
    ["convert", "gold.jsonl", "gold.conll"],
    ["convert", "gold.conll", "again.jsonl"],
    ["evaluate", "again.jsonl", "gold.jsonl", "--html", "errors.html", "--pr-curve", "curve.csv"],
    ["probe", "lower", "gold.jsonl", "probed.jsonl"],
    ["models", "list"],
    ["models", "where"],
    ["report", "runs", "--latex", "tex", "--csv", "csv"],
    ["assess", "status", "runs"],
    ["extract", "--text", "Ada left.", "--engine", "http", "--base-url", "http://localhost/v1", "--dry-run"],
]
LACKS = {
    "local": [
        ["extract", "--text", "Ada left."],
        ["demo", "--examples", "examples"],
        ["models", "fetch"],
        ["merge", "default", "--out", "merged"],
        ["export", "default", "--to", "gguf", "--out", "exported"],
        ["contamination", "smollm2-135m-instruct", "gold.jsonl", "--train", "gold.jsonl"],
        ["calibrate", "default", "recipe.toml"],
        ["drafter", "recipe.toml", "runs"],
    ],
    "train": [["train", "recipe.toml", "--out", "run"]],
    "plots": [
        ["report", "runs", "--out", "report.html"],
        ["evaluate", "gold.jsonl", "gold.jsonl", "--pr-curve", "curve.png"],
    ],
    "spacy": [["convert", "gold.jsonl", "gold.spacy"]],
    "hf": [["convert", "gold.jsonl", "gold.parquet"], ["convert", "gold.parquet", "read.jsonl"]],
    "ability": [["ability", "smollm2-135m-instruct", "--tasks", "squad", "--out", "measured"]],
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """What each of the commands said that were called, one after the other, where no part is installed."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "gold.jsonl").write_text(json.dumps(GOLD) + "\n", encoding="utf-8")
    (folder / "gold.parquet").write_bytes(b"PAR1 and more")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    report_runs.full(folder / "runs", 4, formats=("inline_xml", "grouped_json"), corpora=("genia",))
    commands = [*WORKS, *(command for some in LACKS.values() for command in some)]
    given = "".join(json.dumps(command) + "\n" for command in commands)
    done = subprocess.run(
        [sys.executable, "-c", SERVE],
        input=given,
        cwd=folder,
        env={**os.environ, "GENNER_HOME": str(folder / "store")},  # nothing is fetched yet
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {" ".join(command): tuple(answer) for command, answer in zip(commands, answers, strict=True)}


@pytest.mark.parametrize("command", WORKS, ids=" ".join)
def test_the_core_runs_without_the_parts(said: dict[str, tuple[int, str, str]], command: Sequence[str]) -> None:
    code, _, err = said[" ".join(command)]
    assert code == 0, err


@pytest.mark.parametrize(
    ("extra", "command"), [(extra, command) for extra, some in LACKS.items() for command in some], ids=str
)
def test_what_needs_a_part_names_the_command_in_one_line(
    said: dict[str, tuple[int, str, str]], extra: str, command: Sequence[str]
) -> None:
    code, out, err = said[" ".join(command)]
    assert code == 2, err
    assert re.fullmatch(rf"genner: [^\n]+ is not installed; [^\n]+ install [^\n]*\[{extra}\]'[^\n]*\n", err), err
    assert not out


LIBRARY = f"""{BARE}
from pathlib import Path
import genner, genner.model_store, genner.training
from genner.assess.forecast import measure
from genner.evaluation.confidence import Confidence
from genner.evaluation.confidence_plot import picture
from genner.export.folder import to_transformers
from genner.probes.plot import Bar, figure
from genner.training.curve import draw

document = genner.Document("Ada left.", (genner.Entity(0, 3, "PER", 0.9),))
for call, *arguments in (
    (genner.load,),
    (genner.model_store.fetch,),
    (to_transformers, "default", Path("out")),
    (measure,),
    (genner.training.run, Path("recipe.toml"), Path(), Path("run")),
    (draw, Path("metrics.jsonl"), Path("curve.png")),
    (figure, [Bar("lower", (0.5, 0.4, 0.6))]),
    (picture, Confidence.of([document], [document]), "png"),
):
    try:
        call(*arguments)
    except ImportError as error:
        assert isinstance(error, genner.GennerError), error
        print(error)
"""


def test_functions_of_the_library_name_the_command(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    environment = {**os.environ, "GENNER_HOME": str(tmp_path / "store")}
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [re.findall(r" is not installed; .* install .*\[(\w+)\]'", line) for line in lines] == [
        [extra] for extra in ("local", "local", "local", "local", "train", "plots", "plots", "plots")
    ]


HELPS = f"""
import sys
from genner.__main__ import main
before = set(sys.modules) & set({sorted(EXTRA_OF_PACKAGE)!r})
import genner.cli
names = [name for name in genner.cli.__all__ if name not in ("app", "main")]
commands = [[], ["models"], ["assess"], *(name.split("_") for name in names)]
for command in commands:
    sys.argv = ["genner", *command, "--help"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, (command, stop.code)
print(sorted(before | set(sys.modules) & set({sorted(EXTRA_OF_PACKAGE)!r})), len(commands))
"""


def test_import_and_help_load_no_part() -> None:
    done = subprocess.run([sys.executable, "-c", HELPS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, loaded_parts = done.stdout.splitlines()
    assert re.fullmatch(r"\[\] [12]\d", loaded_parts), loaded_parts


def test_what_is_broken_is_not_called_missing() -> None:
    """A package that is there and lacks a module of its own, and a package that is no part, fail as they do."""
    with pytest.raises(ModuleNotFoundError, match="no part") as other, naming_parts():
        raise ModuleNotFoundError("no part", name="another_package")
    assert not isinstance(other.value, MissingPartError)
    with pytest.raises(ModuleNotFoundError, match="broken") as broken, naming_parts():
        raise ModuleNotFoundError("broken", name="torch.missing_module")
    assert not isinstance(broken.value, MissingPartError)


def test_the_error_says_what_is_missing_and_what_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "matplotlib")
    require("torch", "peft")
    with pytest.raises(UsageError, match=r"^matplotlib is .*to draw figures, .*\[plots\]' \(or without\)$") as error:
        require("torch", "matplotlib", more="or without")
    assert isinstance(error.value, ImportError)
    assert error.value.name == "matplotlib"
    with pytest.raises(MissingPartError, match=r"\[train\]'$"):
        require("matplotlib", extra="train")
