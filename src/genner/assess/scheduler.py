"""Runs the cells of a study: each once, after those it needs, as many in parallel as there are places.

All state is in the runs folder, so that any number of processes may work on one study: a cell's lock says which process
has it, and its files hold the outcome. Cells that failed before this process began are tried again; cells that fail
now, here or in another process, are not.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import genner
from genner.assess.environment import cores
from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.records import Cell, CellState, Failure
from genner.assess.worker import BUSY, INTERRUPTED, now
from genner.extras import naming_parts

WORKER = (sys.executable, "-m", "genner.assess.worker")
POLL = 0.2  # seconds between two checks
STOP_TIMEOUT = 60.0  # seconds that an interrupted cell has to save its state


class CellListener(Protocol):
    """Receives events."""

    def started(self, cell: Cell, device: str | None) -> None: ...

    def elsewhere(self, run: CellFolder, holder: str) -> None:
        """Another process runs this cell, and this one waits for it; called once."""
        ...

    def ended(self, run: CellFolder, state: CellState) -> None: ...

    def tick(self, running: Sequence[CellFolder]) -> None:
        """Called regularly with the cells that are running here."""
        ...


@dataclass
class _Process:
    """A cell running in its own process."""

    run: CellFolder
    process: "subprocess.Popen[bytes]"
    log: IO[bytes]


@dataclass
class Scheduler:
    """Args:
    runs: the folder.
    cells: in an order in which they can be run.
    data: the data root.
    places: a device for each cell that may run in parallel; None: the process chooses.
    watch: receives events.
    worker: the command that runs a cell, without its arguments.
    """

    runs: StudyFolder
    cells: Sequence[Cell]
    data: Path
    places: Sequence[str | None]
    watch: CellListener
    worker: Sequence[str] = field(default_factory=lambda: WORKER)
    _since: float = field(default_factory=time.time)
    _states: dict[str, CellState] = field(default_factory=dict)  # outcomes of finished cells
    _running: dict[int, _Process] = field(default_factory=dict)  # by place
    _told: set[str] = field(default_factory=set)  # cells already reported as held by another process

    def work(self) -> dict[str, CellState]:
        """Run what can be run; returns the outcome of each cell. On `KeyboardInterrupt`, running cells are asked to
        stop, and their partial results are kept.
        """
        waiting = {cell.id: self.runs.add(cell) for cell in self.cells}
        try:
            while waiting or self._running:
                self._reap()
                for id, run in list(waiting.items()):
                    if self._settle(run):
                        del waiting[id]
                for id, run in list(waiting.items()):
                    free = [place for place in range(len(self.places)) if place not in self._running]
                    if not free:
                        break
                    if id in self._here or not all(self._done(n) for n in run.cell.needs):
                        continue
                    if run.locked:
                        self._tell_elsewhere(run)
                    else:
                        self._start(run, free[0])
                self.watch.tick([process.run for process in self._running.values()])
                if waiting or self._running:
                    time.sleep(POLL)
        except BaseException:
            self._stop()
            raise
        return self._states

    def _tell_elsewhere(self, run: CellFolder) -> None:
        """Report once which process holds a cell that runs elsewhere."""
        if run.cell.id not in self._told and (holder := run.holder):
            self._told.add(run.cell.id)
            self.watch.elsewhere(run, holder)

    @property
    def _here(self) -> set[str]:
        return {process.run.cell.id for process in self._running.values()}

    def _done(self, id: str) -> bool:
        return self._states.get(id) == "done"

    def _settle(self, run: CellFolder) -> bool:
        """Whether a waiting cell is finished, here or elsewhere, or cannot be run at all."""
        if run.cell.id in self._here:
            return False
        if run.is_finished(self._since):
            return self._end(run)
        for need in run.cell.needs:
            if self._states.get(need) in ("failed", "skipped"):
                return self._end_skipped(run, need)
        return False

    def _end(self, run: CellFolder) -> bool:
        state = run.state
        if state == "running":  # its process has written everything and is about to exit
            return False
        self._states[run.cell.id] = state
        self.watch.ended(run, state)
        return True

    def _end_skipped(self, run: CellFolder, need: str) -> bool:
        with run.claim() as held:
            if not held:
                return False
            needed = self.runs.run(need)
            failure = needed.failure
            why = f"failed: {failure.message}" if failure else f"was skipped: {needed.skipped}"
            run.begin()
            run.skip(f"it needs {need} ({needed.cell.name}), which {why}")
        return self._end(run)

    def _start(self, run: CellFolder, place: int) -> None:
        device = self.places[place]
        command = [*self.worker, str(self.runs.root), run.cell.id, "--data", str(self.data)]
        command += ["--since", repr(self._since)]
        command += ["--device", device] if device else []
        path = [str(Path(genner.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}  # the worker uses the same genner
        if len(self.places) > 1 and not (device or "cpu").startswith("cuda"):
            environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // len(self.places))))
        log = (run.folder / "log.txt").open("ab")
        log.write(f"--- {now()} {run.cell.command}\n".encode())
        log.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closed when this process dies
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C goes to this process, which stops the others
        )
        self._running[place] = _Process(run, process, log)
        self.watch.started(run.cell, device)

    def _reap(self) -> None:
        """Collect ended processes; one that ended without recording an outcome is recorded as failed."""
        for place, running in list(self._running.items()):
            code = running.process.poll()
            if code is None:
                continue
            del self._running[place]
            _close(running)
            if code not in (0, BUSY) and not running.run.is_finished(self._since):
                self._mark_failed(running.run, code)

    def _mark_failed(self, run: CellFolder, code: int) -> None:
        if code == INTERRUPTED:
            said = "it was interrupted"
        elif code < 0:
            said = f"its process was ended by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                said += ", which is what the system does when memory runs out; see log.txt"
        else:
            said = f"its process ended with exit code {code}; see log.txt"
        with run.claim() as held:
            if held and not run.is_finished(self._since):
                run.fail(Failure("Died", said, _tail(run.folder / "log.txt"), now()))

    def _stop(self) -> None:
        """Ask running cells to stop and wait for them; a second interrupt kills them at once."""
        running = list(self._running.values())
        try:
            for one in running:
                one.process.terminate()
            end = time.monotonic() + STOP_TIMEOUT
            for one in running:
                one.process.wait(max(0.1, end - time.monotonic()))
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            pass
        finally:
            for one in running:
                one.process.kill()
                one.process.wait()
                _close(one)
            self._running.clear()


def _close(running: _Process) -> None:
    if running.process.stdin:
        running.process.stdin.close()
    running.log.close()


def _tail(path: Path, size: int = 2000) -> str:
    """The end of a log."""
    return path.read_bytes()[-size:].decode("utf-8", "replace")


@naming_parts()
def devices() -> list[str | None]:
    """Every CUDA GPU; if there is none, one place on the default device."""
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or [None]


def places(named: Iterable[str], jobs: int | None) -> list[str | None]:
    """A device for each cell that may run in parallel: `jobs` places, cycling through the devices (default: once)."""
    chosen: list[str | None] = [*named] or devices()
    return [chosen[i % len(chosen)] for i in range(jobs or len(chosen))]
