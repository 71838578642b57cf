"""The application: code that all commands share, and the mapping of errors and signals to exit codes."""

import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from genner.cli.examples import epilog
from genner.cli.signals import Interrupted, ending, interruptible
from genner.errors import GennerError, UsageError
from genner.extras import naming_parts

if TYPE_CHECKING:
    from genner.document import LabelSet


class Commands(TyperGroup):
    """A group of commands whose help says of each what it does, in full, and ends in examples."""

    def get_command(self, ctx: Any, name: str) -> Any:
        command = super().get_command(ctx, name)
        if command is not None:
            command.epilog = epilog(name if ctx.parent is None else f"{self.name} {name}")
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(500)) for name, command in self.commands.items()])


app = typer.Typer(
    cls=Commands,
    help="Generative named entity recognition: entities out of text, with exact positions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # rich's tables truncate option names on narrow terminals
    epilog=epilog(""),
)


def _version(asked: bool) -> None:
    if asked:
        from genner.evaluation.pairing import genner_version

        print(f"genner {genner_version()}")
        raise typer.Exit


@app.callback()
def genner(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """Generative named entity recognition: entities out of text, with exact positions."""


ModelOption = Annotated[
    str,
    typer.Option(
        help="default; or the folder of an adapter, a training run or a transformers model; or OWNER/NAME on the "
        "Hugging Face hub, which is fetched once."
    ),
]
EngineOption = Annotated[str, typer.Option(help="What runs the model: local, ... (genner engines lists them).")]
EngineOptionsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option", metavar="KEY=VALUE", help="An option of the engine (genner engines NAME); once for each."
    ),
]
BaseUrlOption = Annotated[
    str | None, typer.Option(help="The address of the server, for engines that ask one: http://localhost:8000/v1.")
]
LabelsFileOption = Annotated[
    Path | None, typer.Option(help='JSON: {"TAG": {"name": ..., "definition": ...}} or {"TAG": "definition"}.')
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ...; the GPU if there is one.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite what is there; an input is never overwritten.")]


def asked_labels(labels: str | None, labels_file: Path | None) -> "LabelSet | None":
    """The label set of `--labels` or `--labels-file`; None if neither is given. Raises `UsageError`, `LabelError`."""
    if labels is not None and labels_file:
        raise UsageError("give --labels or --labels-file, not both")
    if labels_file:
        from genner.document import LabelSet

        must_exist(labels_file)
        return LabelSet.from_file(labels_file)
    if labels is None:
        return None
    from genner.labels import parse_labels

    return parse_labels(labels)


def engine_options(given: list[str] | None, base_url: str | None) -> dict[str, Any]:
    """The options of an engine, from `--engine-option` and `--base-url`. Raises `UsageError`."""
    from genner.toml_config import parse_option

    options: dict[str, Any] = {}
    for key, value in (parse_option(option, "--engine-option") for option in given or ()):
        if key in options:
            raise UsageError(f"--engine-option {key} is given twice; give it once")
        options[key] = value
    if base_url is not None:
        if "base_url" in options:
            raise UsageError("give --base-url, or --engine-option base_url=..., not both")
        options["base_url"] = base_url
    return options


PIPE_CLOSED = 128 + 13  # as a shell reports a program that SIGPIPE ended


def tell(message: object, file: TextIO | None = None) -> None:
    """See `genner.render.terminal.tell`, which is imported only when there is a message."""
    from genner.render.terminal import tell as say

    say(message, file)


def may_write(outputs: Mapping[str, Path | None], inputs: Iterable[Path], force: bool) -> None:
    """Raise `UsageError` when one of `outputs` (by option) would overwrite an input, another output or, without
    `force`, an existing file. See `genner.writing.may_write`."""
    from genner.writing import may_write as check
    from genner.writing import same_file

    sources, given = list(inputs), [(option, path) for option, path in outputs.items() if path]
    for number, (option, path) in enumerate(given):
        check(path, option, sources, force=force)
        for before, other in given[:number]:
            if same_file(path, other):
                raise UsageError(f"{before} and {option} are one file, {str(path)!r}; give two")


def must_exist(*paths: Path) -> None:
    """Raise `UsageError` for the first path that does not exist."""
    for path in paths:
        if str(path) == "-" and not path.exists():
            raise UsageError("standard input ('-') cannot be read here; save it in a file, and give its path")
        if not path.exists():
            raise UsageError(f"there is no {str(path)!r}; give the path of an existing file or folder")


def main() -> NoReturn:
    """Run the command line.

    Exit codes: 0 done, 2 wrong use, 1 failure, 128 + n stopped by signal n (130: Ctrl-C), 141: the reader of a pipe
    closed it.
    """
    with interruptible(), _log():
        code = _run()
        failed = _flush(quiet=code != 0)  # a failed command has already reported
        code = code or failed
    sys.exit(code)


def _run() -> int:
    try:
        command: Any = typer.main.get_command(app)
        # Not `app()`, which turns interrupts and broken pipes into exit codes before this code sees them.
        with command.make_context("genner", sys.argv[1:]) as context, naming_parts():
            command.invoke(context)
    except UsageError as error:
        return _complain(error, 2)
    except GennerError as error:
        return _complain(error, 1)
    except typer.Exit as error:
        return error.exit_code
    except BrokenPipeError:  # nobody reads a message
        return PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort) as error:
        stop = error if isinstance(error, Interrupted) else Interrupted(signal.SIGINT)
        with ending():
            return _complain(stop, 128 + stop.number)
    except OSError as error:  # a full disk, a store that is read-only, ...
        where = error.filename or "reading or writing failed"
        return _complain(f"{where}: {error.strerror or error}", 1)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):  # a fault of genner's own
            raise
        return _complain(f"a package is installed and cannot be imported: {error}; install it again", 1)
    except MemoryError:
        return _complain("out of memory; give fewer or shorter texts at a time, or a smaller --batch-size", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of click's
            raise
        said = error.format_message()
        if type(error).__name__ == "NoArgsIsHelpError":
            print(said, file=sys.stderr)
            return 2
        where = getattr(getattr(error, "ctx", None), "command_path", "genner")
        said = said.removesuffix(".")
        return _complain(f"{said} See {where} --help" if said.endswith("?") else f"{said}; see {where} --help", 2)
    return 0


def _complain(message: object, code: int) -> int:
    if sys.stderr is not None:
        try:
            tell(f"genner: {message}")
        except OSError:  # standard error is closed or full
            _mute(sys.stderr)
    return code


def _flush(quiet: bool) -> int:
    """Flush buffered output, so that Python has nothing to report when it exits."""
    code = 0
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # closed by the parent process
            continue
        try:
            stream.flush()
        except BrokenPipeError:
            code = PIPE_CLOSED
            _mute(stream)
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or error
            told = quiet or stream is not sys.stdout
            code = 1 if told else _complain(f"standard output cannot be written: {what}", 1)
            _mute(stream)
    return code


def _mute(stream: Any) -> None:
    """Discard what is still in the buffer."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError):
        pass


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        from genner.render.layout import visible

        return visible(super().format(record))


@contextmanager
def _log() -> Iterator[None]:
    """Log warnings to standard error, without control characters from names and values."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible())
    log = logging.getLogger("genner")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
