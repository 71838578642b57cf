"""A process that runs one cell: `python -m genner.assess.worker RUNS CELL --data DATA [--device D] [--since TIME]`.

Each cell has its own process: its effects on memory, threads or a GPU end with it, its peak memory is its own, and a
crash affects no other cell. The process holds the cell's lock as long as it lives, and ends when its parent does. Exit
codes: 0 something was recorded (a result, a failure, a reason to skip), `BUSY` another process has the cell,
`INTERRUPTED` it was told to stop and can be resumed.
"""

import argparse
import os
import signal
import sys
import threading
import traceback
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from genner.assess.cell_context import CellContext
from genner.assess.corpora import MissingError
from genner.assess.environment import peak_memory_mb, versions
from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.records import CellResult, Failure
from genner.assess.run import execute
from genner.errors import MissingPartError

BUSY, INTERRUPTED = 75, 130


def main(arguments: list[str] | None = None) -> int:
    """Run the cell named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("cell")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device")
    parser.add_argument("--since", type=float, default=inf, help="what went wrong after this time is not tried again")
    args = parser.parse_args(arguments)
    runs = StudyFolder.open(args.runs)
    return perform(runs, runs.run(args.cell), args.data, args.device, args.since)


def perform(runs: StudyFolder, run: CellFolder, data: Path, device: str | None, since: float = inf) -> int:
    """Run a cell, unless another process has or had it, and record the outcome."""
    with run.claim() as held:
        if not held:
            return BUSY
        if run.is_finished(since):  # another process was faster
            return 0
        run.begin()
        try:
            work = CellContext(run, runs, data, device)
            outcome = execute(work)
            cell = run.cell
            result = CellResult(
                kind=cell.kind,
                id=cell.id,
                description=cell.description,
                signature=outcome.signature,
                versions=versions(device),
                seconds=round(work.seconds, 3),
                peak_memory_mb=peak_memory_mb(device),
                tokens=outcome.tokens,
                passes=outcome.passes,
                finished_at=now(),
                metrics=outcome.metrics,
            )
            run.finish(result)
        except (MissingError, MissingPartError) as error:
            run.skip(str(error))
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception as error:
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            run.fail(Failure(type(error).__name__, str(error), traceback.format_exc(), now()))
        return 0


def now() -> str:
    """The time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _end_with_parent() -> None:
    """Ask this process to stop once its standard input is closed, which means that its parent has ended."""

    def watch() -> None:
        while os.read(0, 1):  # not through sys.stdin, whose lock a thread must not hold at interpreter exit
            pass
        os.kill(os.getpid(), signal.SIGTERM)  # training saves its state

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    _end_with_parent()
    sys.exit(main())
