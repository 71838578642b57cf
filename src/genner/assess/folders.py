"""The contents of a runs folder, which are the only record of a study: cells, their results and answers.

    RUNS/study.toml              the study
    RUNS/cells/<kind>-<hash>/    a cell
        cell.json                the task: `Cell`
        result.json              written last, so if it exists the cell is done: `CellResult`
        failure.json             why it failed, until it is run again: `Failure`
        skipped.json             why it cannot be run here: {"why": str}
        claim                    locked by the process that runs it and is named in it; freed when it dies
        progress.json            progress of that process, while it runs: {"done", "total", "unit", "seconds"}
        log.txt                  its output
        predictions.jsonl        (score, probe) one line per document, appended immediately: `PredictionRecord`
        items.jsonl              (ability) one line per question
        signals/                 (contamination) what `genner contamination --out` leaves
        adapter/, best/ ...      (train) what `genner train` leaves in a run's folder

A cell's state follows from which of these files exist.
"""

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from genner.assess.records import CELL_KINDS, Cell, CellProgress, CellResult, CellState, Failure, Json, PredictionRecord
from genner.data.json_stream import json_lines
from genner.errors import DataError, DocumentError, UnknownNameError
from genner.writing import replacing, write_atomic

T = TypeVar("T")  # one of the records


@dataclass(frozen=True)
class CellFolder:
    """One cell of a folder and its state. Files are read at each call, since other processes write them."""

    cell: Cell
    folder: Path

    @property
    def result(self) -> CellResult | None:
        result = _read(CellResult, self.folder / "result.json")
        return _renamed(result) if result and result.schema < 2 and "published" in result.metrics else result

    @property
    def failure(self) -> Failure | None:
        return _read(Failure, self.folder / "failure.json")

    @property
    def skipped(self) -> str | None:
        """Why the cell was skipped; None when it was not."""
        raw = _json(self.folder / "skipped.json")
        return None if raw is None else str(raw.get("why", ""))

    @property
    def progress(self) -> CellProgress | None:
        return _read(CellProgress, self.folder / "progress.json")

    @property
    def state(self) -> CellState:
        """`done` takes precedence over all, `running` over the remains of an earlier run."""
        if (self.folder / "result.json").exists():
            return "done"
        if self.locked:
            return "running"
        if (self.folder / "failure.json").exists():
            return "failed"
        return "skipped" if (self.folder / "skipped.json").exists() else "waiting"

    @property
    def locked(self) -> bool:
        """Whether a process is running it now."""
        try:
            with (self.folder / "claim").open("rb") as file:
                # A shared lock, so that two processes that check do not block each other.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @property
    def holder(self) -> str:
        """The process that runs it now, `process 123 on HOST`; empty when none does."""
        if not self.locked:
            return ""
        with suppress(OSError):
            return (self.folder / "claim").read_text(encoding="utf-8", errors="replace").strip()
        return ""

    def predictions(self) -> Iterator[PredictionRecord]:
        """The answers so far, in order. An unfinished last line of a killed process is ignored.

        Raises `DataError` naming a line that is not a record.
        """
        path = self.folder / "predictions.jsonl"
        for number, record in _records(path):
            try:
                yield PredictionRecord.from_dict(record)
            except (ValueError, KeyError, TypeError, IndexError, DocumentError) as error:
                raise DataError(str(path), f"is not an answer of a cell ({error!r}); delete the file", number) from None

    def items(self) -> Iterator[Json]:
        """The questions of an ability cell. Raises `DataError` naming a line that is not an item."""
        for _, record in _records(self.folder / "items.jsonl"):
            yield record

    def is_finished(self, since: float) -> bool:
        """Whether it is done, or failed or was skipped after `since` (seconds since the epoch)."""
        if (self.folder / "result.json").exists():
            return True
        for name in ("failure.json", "skipped.json"):
            with suppress(FileNotFoundError):
                if (self.folder / name).stat().st_mtime >= since:
                    return True
        return False

    # -- writing

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Hold the cell's lock; yields False immediately when another process has it."""
        with (self.folder / "claim").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            with suppress(OSError):  # the holder's name is for people; only the lock counts
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}\n".encode())
                file.flush()
            yield True

    def begin(self) -> None:
        """Remove the failure of an earlier run."""
        for name in ("failure.json", "skipped.json"):
            (self.folder / name).unlink(missing_ok=True)

    def finish(self, result: CellResult) -> None:
        """Write the result: from now on the cell is done."""
        _write(self.folder / "result.json", asdict(result))
        self.begin()
        (self.folder / "progress.json").unlink(missing_ok=True)

    def fail(self, failure: Failure) -> None:
        _write(self.folder / "failure.json", asdict(failure))

    def skip(self, why: str) -> None:
        _write(self.folder / "skipped.json", {"why": why})

    def report(self, progress: CellProgress) -> None:
        """Record the progress. A full disk does not stop the run here: the next line of results will raise."""
        with suppress(OSError), replacing(self.folder / "progress.json", durable=False) as file:
            file.write(json.dumps(asdict(progress)).encode("utf-8"))

    def clear_predictions(self) -> None:
        """Remove the answers, because they belong to other documents."""
        (self.folder / "predictions.jsonl").unlink(missing_ok=True)

    @contextmanager
    def appending(self) -> Iterator["Appender"]:
        """An appender to the existing answers; drops an unfinished last line first."""
        path = self.folder / "predictions.jsonl"
        with path.open("a+b") as file:
            file.seek(0)
            data = file.read()
            file.truncate(data.rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
            yield Appender(file)


class Appender:
    """Writes each answer immediately and with one call, so that only whole lines remain when the process dies."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __call__(self, answered: PredictionRecord) -> None:
        self._file.write(json.dumps(answered.to_dict(), ensure_ascii=False).encode("utf-8") + b"\n")
        self._file.flush()


@dataclass(frozen=True)
class StudyFolder:
    """A runs folder."""

    root: Path
    _known: dict[str, Cell] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, root: Path) -> Self:
        """Open an existing folder. Raises `DataError` when it holds no study's cells."""
        if not (root / "cells").is_dir():
            raise DataError(str(root), "holds no cells; give the folder that `genner assess STUDY --out` wrote")
        return cls(root)

    @property
    def study(self) -> Path:
        """The study's file."""
        return self.root / "study.toml"

    def runs(self) -> list[CellFolder]:
        """All existing cells, by kind (training first) and name. Raises `DataError` naming a damaged one."""
        found = [self.run(path.name) for path in sorted((self.root / "cells").iterdir()) if path.is_dir()]
        return sorted(found, key=lambda run: (CELL_KINDS.index(run.cell.kind), run.cell.name, run.cell.id))

    def run(self, id: str) -> CellFolder:
        """The cell of this id. Raises `UnknownNameError` when there is none, `DataError` when it is damaged."""
        folder = self.root / "cells" / id
        if id not in self._known:
            path = folder / "cell.json"
            cell = _read(Cell, path)
            if cell is None:
                ids = [p.parent.name for p in (self.root / "cells").glob("*/cell.json")]
                raise UnknownNameError("cell", id, ids)
            if cell.kind not in CELL_KINDS:
                raise DataError(str(path), f"kind {cell.kind!r}; legal: {', '.join(CELL_KINDS)}")
            self._known[id] = cell
        return CellFolder(self._known[id], folder)

    def add(self, cell: Cell) -> CellFolder:
        """Create a cell's folder, or find it. Name, needs and command are updated; the id determines the rest."""
        folder = self.root / "cells" / cell.id
        folder.mkdir(parents=True, exist_ok=True)
        if _read(Cell, folder / "cell.json") != cell:
            _write(folder / "cell.json", asdict(cell))
        self._known[cell.id] = cell
        return CellFolder(cell, folder)


def _json(path: Path) -> Json | None:
    """The object in a file, None when there is no file. Raises `DataError` for anything else."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(str(path), f"cannot be read: {error}; delete it, and the cell is run again") from None
    if not isinstance(raw, dict):
        raise DataError(str(path), "is not a JSON object; delete it, and the cell is run again")
    return raw


def _read(kind: type[T], path: Path) -> T | None:
    """A record from its file, None when there is no file. Keys unknown to this version are ignored."""
    raw = _json(path)
    if raw is None:
        return None
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in raw.items() if key in known}
    try:
        return kind(**values)
    except TypeError as error:
        raise DataError(str(path), f"is damaged: {error}; delete it, and the cell is run again") from None


def _renamed(result: CellResult) -> CellResult:
    """A result of schema 1 with the current names. Its strict score is known if decoding was under the grammar and no
    answer was invalid; else it must be recomputed.
    """
    metrics = {key: value for key, value in result.metrics.items() if key not in ("published", "as_said", "strict")}
    repaired = result.metrics.get("strict")
    same = result.description.get("decoding") == "grammar" and not result.metrics.get("invalid")
    strict = repaired if same else None
    scores = {"strict": strict, "repaired": repaired, "paper": result.metrics["published"]}
    return replace(result, metrics=scores | metrics)


def _write(path: Path, value: Json) -> None:
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def _records(path: Path) -> Iterator[tuple[int, Json]]:
    """The records of a file with their lines, an unfinished last line left out; none when there is no file."""
    return json_lines(path, torn=True, fix="delete the file") if path.exists() else iter(())
