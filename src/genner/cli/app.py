"""The application: what all commands share, and how errors become exit codes."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from genner.errors import GennerError, UsageError

app = typer.Typer(
    help="Generative named entity recognition: entities out of text, with exact positions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

ModelOption = Annotated[
    str, typer.Option(help="default; or the folder of an adapter, a training run or a transformers model.")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ...; the GPU if there is one.")]


def must_exist(*paths: Path) -> None:
    """Raise `UsageError` for the first path that leads nowhere."""
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no {str(path)!r}; give the path of an existing file")


def main() -> NoReturn:
    """Run the command line. Exit codes: 0 done, 2 wrong use, 1 failure."""
    code = 0
    try:
        code = app(standalone_mode=False) or 0  # what `typer.Exit` was raised with; commands return nothing
    except UsageError as error:
        code = _complain(error, 2)
    except GennerError as error:
        code = _complain(error, 1)
    except BrokenPipeError:  # the reader of a pipe has gone: nobody to complain to
        sys.stderr.close()
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = _complain("interrupted; what was finished is kept", 1)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of click's
            raise
        code = _complain(f"{error.format_message()}; see genner --help", 2)
    sys.exit(code)


def _complain(message: object, code: int) -> int:
    print(f"genner: {message}", file=sys.stderr)
    return code
