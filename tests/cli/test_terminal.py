"""What reaches a terminal, and how a command ends: by an error, a signal, a pipe whose reader has gone, a full disk."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st
from tests.places import ROOT

from genner import cli
from genner.cli.app import app
from genner.render.terminal import json_text, tell

Run = Callable[..., tuple[int, str, str]]

SOURCES = str(ROOT / "src")
HOSTILE = "\x1b]0;owned\x07\x9b31m\x7f\r\u202e\u2066[red]"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

anything = st.text(st.characters() | st.sampled_from("\x1b\x07\x9b\x7f\r\u202e\u2028\u2066\ud800\n\t"))


@given(anything)
def test_no_control_sequence_is_told(text: str) -> None:
    out = io.StringIO()
    tell(text, out)
    assert not RAW.search(out.getvalue())
    assert out.getvalue() == text + "\n" or RAW.search(text)


@given(st.dictionaries(anything, st.lists(anything) | anything), st.sampled_from([None, 1]))
def test_json_for_a_terminal_is_the_same_json(value: dict[str, object], indent: int | None) -> None:
    said = json_text(value, indent)
    assert not RAW.search(said)
    assert json.loads(said) == value


def test_no_command_shows_what_would_act_on_a_terminal(run: Run, tmp_path: Path) -> None:
    entity = {"start": 0, "end": 3, "label": HOSTILE}
    record = {"id": HOSTILE, "text": f"Ada {HOSTILE}", "entities": [entity]}
    other = {**record, "text": f"Ada? {HOSTILE}"}
    name = HOSTILE.replace("/", "") + ".jsonl"
    (tmp_path / name).write_text(json.dumps(record))
    (tmp_path / "other.jsonl").write_text(json.dumps(other))
    (tmp_path / "twice.jsonl").write_text(json.dumps(record) + "\n" + json.dumps(record))
    (tmp_path / "study.toml").write_text(f"{json.dumps(HOSTILE)} = 1")
    commands: dict[tuple[str, ...], int] = {
        ("data", name): 0,
        ("data", name, "--json"): 0,
        ("data", "twice.jsonl", "--lenient"): 0,
        ("evaluate", name, name): 0,
        ("evaluate", name, name, name, "--json"): 0,
        ("evaluate", name, "other.jsonl"): 1,
        ("evaluate", "twice.jsonl", name): 1,
        ("evaluate", HOSTILE, name): 2,
        ("convert", name, "o.conll"): 0,
        ("convert", name, HOSTILE): 2,
        ("probe", "names", name, "o.txt" + HOSTILE): 2,
        ("probe", HOSTILE, name, "o.jsonl"): 2,
        ("extract", "--text", "a", "--labels", HOSTILE): 2,
        ("extract", "--text", "a", "--model", HOSTILE): 2,
        ("extract", HOSTILE): 2,
        ("assess", "study.toml", "--out", HOSTILE): 2,
        ("models", "where", HOSTILE): 2,
        (HOSTILE,): 2,
        ("--" + HOSTILE,): 2,
    }
    for command, code in commands.items():
        ended, out, err = run(*command)
        assert (command, RAW.search(out), RAW.search(err)) == (command, None, None)
        assert (command, ended != 0, bool(out + err)) == (command, code != 0, True), err


def test_help_cuts_no_name_of_an_option_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def commands(group: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
        under = getattr(group, "commands", {})
        return [(path, group), *(found for name, one in under.items() for found in commands(one, (*path, name)))]

    for path, command in commands(typer.main.get_command(app)):
        monkeypatch.setenv("COLUMNS", "80")
        code, out, _ = run(*path, "--help")
        assert code == 0
        assert "…" not in out
        words = re.split(r"[\s,]+", out)
        names = [name for option in command.params for name in option.opts if name.startswith("--")]  # type: ignore[attr-defined]
        assert set(names) <= set(words), path


# -- the end of a command

PROGRAM = """
import signal, sys, time
sys.path[:0] = [{sources!r}]
for name, what in {handlers!r}.items():
    signal.signal(getattr(signal, name), getattr(signal, what))
sys.argv = ["genner", *{arguments!r}]
import genner.formats
from genner import cli
class Slow(dict):
    def items(self):
        print("begun", flush=True)
        time.sleep(30 if {waits!r} else 0)
        yield from [("name", type("Form", (), {{"example": "x" * 5000}}))] * 1000
genner.formats.FORMATS = Slow()
cli.main()
"""


def program(*arguments: str, waits: bool = False, **handlers: str) -> list[str]:
    code = PROGRAM.format(sources=SOURCES, arguments=arguments, waits=waits, handlers=handlers)
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_end_a_command_in_a_line(name: str, code: int) -> None:
    command = program("formats", waits=True, **{name: "default_int_handler" if name == "SIGINT" else "SIG_DFL"})
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err.count("\n")) == (code, 1)
    assert "interrupted" in err


def test_a_second_signal_does_not_break_into_what_the_first_made_it_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(message: object) -> None:
        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            signal.raise_signal(getattr(signal, name))
        said.append(message)

    said: list[object] = []
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys.modules["genner.cli.app"], "tell", stopped)
    monkeypatch.setattr("genner.formats.FORMATS", type("", (), {"items": lambda self: signal.raise_signal(15)})())
    monkeypatch.setattr(sys, "argv", ["genner", "formats"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert (stop.value.code, len(said), signal.getsignal(signal.SIGTERM)) == (143, 1, before)


def test_a_hang_up_that_nohup_has_ignored_stays_ignored() -> None:
    command = program("formats", waits=True, SIGHUP="SIG_IGN")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("unbuffered", [False, True])
def test_the_reader_of_a_pipe_may_go(unbuffered: bool) -> None:
    flags = ["-u"] if unbuffered else []
    command = [sys.executable, *flags, *program("formats")[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"begun\n"
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [("formats",), ("--help",), ("no-such-command",)])
def test_a_full_disk_under_standard_output_is_a_line(
    arguments: tuple[str, ...], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)  # which writes fail hangs on it
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(program(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert (done.returncode != 0, done.stderr.count("\n")) == (True, 1)
        silent = subprocess.run(program(*arguments), stdout=full, stderr=full, timeout=60)
        assert silent.returncode == done.returncode


def test_an_interrupt_while_the_command_line_is_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from genner.__main__ import main

    class Interrupting:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "genner.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "genner.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert capsys.readouterr() == ("", "genner: interrupted before anything was done\n")
