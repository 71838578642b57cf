"""What `--help` promises holds: every command has examples, every example can be parsed, nothing is cut off."""

import shlex
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer
from tests.conftest import Run

from genner.assess.study import shipped_studies
from genner.cli import app
from genner.cli.examples import EXAMPLES


def commands() -> Iterator[tuple[str, Any]]:
    """Each command and group by its name behind `genner`."""
    root: Any = typer.main.get_command(app)
    yield "", root
    for name, command in root.commands.items():
        yield name, command
        for inner, one in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", one


def test_every_command_has_examples_and_no_other_has() -> None:
    assert {name for name, _ in commands()} == set(EXAMPLES)


@pytest.mark.parametrize("line", sorted({line for lines in EXAMPLES.values() for line in lines}))
def test_every_example_can_be_parsed(line: str) -> None:
    words = shlex.split(line.rpartition("| ")[2])
    assert words[0] == "genner"
    command: Any = typer.main.get_command(app)
    context, args = None, words[1:]
    while True:
        context = command.make_context(command.name or "genner", args, parent=context)
        if not hasattr(command, "commands"):
            break
        _, command, args = command.resolve_command(context, [*context._protected_args, *context.args])


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_shows_the_examples_and_every_option_whole(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    code, out, _ = run(*name.split(), "--help")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    assert all(example in lines for example in EXAMPLES[name])
    for parameter in dict(commands())[name].params:
        assert all(option in out for option in parameter.opts if option.startswith("--"))


def test_the_help_of_assess_has_the_options_of_a_study_and_the_names_of_the_shipped_ones(run: Run) -> None:
    code, out, _ = run("assess", "--help")
    assert code == 0
    for parameter in dict(commands())["assess run"].params:
        assert all(option in out for option in parameter.opts if option.startswith("--"))
    shown = out.partition("Shipped studies:")[2]
    assert [name for name in shipped_studies() if f"\n  {name} " in shown] == list(shipped_studies())


def test_the_version(run: Run) -> None:
    code, out, err = run("--version")
    assert (code, out, err) == (0, f"genner {version('genner')}\n", "")
