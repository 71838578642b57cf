"""`genner assess`: run a study, show its status."""

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genner.cli.app import Commands, app, must_exist, tell
from genner.errors import GennerError

if TYPE_CHECKING:
    from genner.assess.folders import CellFolder, StudyFolder
    from genner.assess.records import Cell, CellResult, CellState
    from genner.assess.study import Study


class _StudyFirst(Commands):
    """The argument after `genner assess` is a study, unless it is the name of a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options of `run` (the name `run` is optional), and the shipped studies."""
        from genner.assess.study import shipped_studies

        super().format_options(ctx, formatter)
        records = (parameter.get_help_record(ctx) for parameter in self.commands["run"].params)
        with formatter.section("A study (STUDY.toml, or the name of a shipped one)"):
            formatter.write_dl([record for record in records if record])
        with formatter.section("Shipped studies"):
            formatter.write_dl([(name, _purpose(path)) for name, path in shipped_studies().items()])


def _purpose(study: Path) -> str:
    """The first sentence of the opening comment of a study."""
    lines = takewhile(lambda line: line.startswith("#"), study.read_text(encoding="utf-8").splitlines())
    return " ".join(line.lstrip("# ") for line in lines).split(". ")[0] + "."


assess_app = typer.Typer(
    cls=_StudyFirst,
    help="Run a study: models x formats x corpora x decodings x seeds x recipes. genner assess STUDY.toml --out RUNS",
    no_args_is_help=True,
)
app.add_typer(assess_app, name="assess")


OutOption = Annotated[Path, typer.Option(help="The runs folder; what is done there already is not done again.")]
DataOption = Annotated[Path, typer.Option(help="The folder that the study's file names are relative to.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(help="Cells with this in their id or name (* is anything), and what they need. Repeatable."),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        help="List what is missing or unreadable, what would run, and the time, memory and disk that it takes."
    ),
]
JobsOption = Annotated[int | None, typer.Option(min=1, help="Cells at a time; one for each device if left out.")]
DevicesOption = Annotated[str | None, typer.Option(help="As cuda:0,cuda:1 or cpu; every GPU, or the CPU, if left out.")]


@assess_app.command("run")
def run(
    study: Annotated[str, typer.Argument(help="A TOML file, or a shipped one: quick, default, small, tuning, paper.")],
    out: OutOption,
    data: DataOption = Path(),
    only: OnlyOption = None,
    dry_run: DryRunOption = False,
    jobs: JobsOption = None,
    devices: DevicesOption = None,
) -> None:
    """Run a study, or go on with it (`run` itself may be left out).

    Exit codes: 0 when some cells have a result and none failed (skipped ones are told with their reasons), 1 when a
    cell failed or none has a result, 2 for wrong use, 130 when interrupted.
    """
    from genner.assess.study import Study, find_study

    must_exist(data)
    file = find_study(study)
    run_study(Study.from_file(file), file.read_bytes(), study, out, data, only or (), dry_run, jobs, devices)


def run_study(
    study: "Study",
    text: bytes,
    name: str,
    out: Path,
    data: Path,
    only: Sequence[str],
    dry_run: bool,
    jobs: int | None,
    devices: str | None,
) -> None:
    """Run a study, whose file has this text, or list what would run; `name` names it in the commands of its cells."""
    from genner.assess.cells import chosen, plan
    from genner.assess.folders import StudyFolder

    told = ["genner", "assess", name, "--out", str(out), "--data", str(data), "--only"]
    every = plan(study, lambda id: shlex.join([*told, id]), data)
    cells, runs = chosen(every, only), StudyFolder(out)
    if dry_run:
        from genner.assess.scheduler import places

        _list(cells, runs, data, cache(lambda: places((devices or "").split(",") if devices else (), jobs)))
        return
    from genner.assess.scheduler import Scheduler, places
    from genner.writing import write_atomic

    out.mkdir(parents=True, exist_ok=True)
    if not runs.study.exists() or runs.study.read_bytes() != text:
        write_atomic(runs.study, text)  # a kill leaves no half study
    for cell in every:
        runs.add(cell)
    watch = _Watch(len(cells))
    with watch:
        states = Scheduler(runs, cells, data, places((devices or "").split(",") if devices else (), jobs), watch).work()
    counts = Counter(states.values())
    for state in ("skipped", "failed"):
        whys = Counter(_about(run, state) for id, found in states.items() if found == state and (run := runs.run(id)))
        for why, n in whys.most_common():
            tell(f"{state}, {n} {'cell' if n == 1 else 'cells'}: {why}")
    tell(", ".join(f"{n} {state}" for state, n in counts.items()) or "nothing to do")
    if counts["done"]:
        tell(f"genner report {out} --out report.html shows what was found")
    else:
        tell("nothing was found: no cell has a result; run the same command again once what is missing is there")
    if counts["failed"] or not counts["done"]:
        raise typer.Exit(1)


@assess_app.command("status")
def status(runs: Annotated[Path, typer.Argument(help="The runs folder.")]) -> None:
    """How the cells of a folder stand, what is running, and why others were skipped or failed."""
    from genner.assess.folders import StudyFolder
    from genner.assess.records import CELL_KINDS, CELL_STATES

    found = [(run, run.state) for run in StudyFolder.open(runs).runs()]
    counts = Counter((run.cell.kind, state) for run, state in found)
    print("".join(f"{head:>9}" for head in ("", *CELL_STATES)))
    for kind in CELL_KINDS:
        if any(counts[kind, state] for state in CELL_STATES):
            print(f"{kind:>9}" + "".join(f"{counts[kind, state] or '':>9}" for state in CELL_STATES))
    for run, state in found:
        if state in ("running", "failed", "skipped"):
            tell(f"{state}: {run.cell.id} ({run.cell.name}): {_about(run, state)}", sys.stdout)


def _about(run: "CellFolder", state: "CellState") -> str:
    """The progress of a cell, or why it failed, in one line."""
    if state == "failed" and (failure := run.failure):
        return f"{failure.error}: {failure.message}"
    if state == "skipped":
        return run.skipped or ""
    if state == "running" and (at := run.progress):
        left = at.seconds * (at.total - at.done) / at.done if at.done else None
        return f"{at.done} of {at.total} {at.unit}" + (f", about {_time(left)} to go" if left else "")
    if state == "done" and (result := run.result):
        return "".join(f"{said}, " for said in _scores(result)) + _time(result.seconds)
    return ""


def _scores(result: "CellResult") -> list[str]:
    """The strict F1 of a cell; for free answers also the F1 of the repaired answers."""
    free = result.description.get("decoding") not in ("grammar", None)
    names = ("strict", "repaired") if free else ("strict",)
    said = [f"{name} F1 {100 * scores['f1']:.1f}" for name in names if (scores := result.metrics.get(name))]
    dev = result.metrics.get("dev_f1")
    return [f"dev F1 {100 * dev:.1f}", *said] if isinstance(dev, float) else said


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _list(
    cells: "Sequence[Cell]", runs: "StudyFolder", data: Path, places: "Callable[[], Sequence[str | None]]"
) -> None:
    """What is missing, what would run, and the estimated time: from similar finished cells, else from the model's size
    and this machine's speed."""
    from genner.assess.estimate import estimate
    from genner.assess.forecast import Cost, forecast, measure, size_of
    from genner.assess.missing import memory, missing, room, unfetched
    from genner.assess.records import CellResult
    from genner.assess.unreadable import unreadable

    known: list[CellResult] = []
    if (runs.root / "cells").is_dir():
        for run in runs.runs():
            if run.state == "done" and (result := run.result):
                known.append(result)
    done = {result.id for result in known}
    todo = [cell for cell in cells if cell.id not in done]
    lacks = missing(todo, data)
    for why, of in lacks.items():
        tell(f"missing: {why} ({len(of)} of {len(todo)} cells need it)", sys.stdout)
    wrong = unreadable(todo, data)
    for why, of in wrong.items():
        tell(f"unreadable: {why} ({len(of)} of {len(todo)} cells need it)", sys.stdout)
    if lacks or wrong:
        print()
    costs: dict[str, Cost | None] = {}
    for cell in todo:
        seconds = estimate(cell, known, data)
        rough = forecast(cell, data, measure(places()[0]))
        if seconds is not None:
            rough = replace(rough, seconds=seconds, rough=False) if rough else Cost(seconds, 0, 0, rough=False)
        costs[cell.id] = rough
    for cell in cells:
        cost = costs.get(cell.id)
        said = "done" if cell.id in done else "?" if cost is None else ("~" if cost.rough else "") + _time(cost.seconds)
        tell(f"{said:>9}  {cell.id}  {cell.name}", sys.stdout)
    found = [cost for cost in costs.values() if cost]
    fetched = sum(2 * size.parameters / 1e6 for base in unfetched(todo) if (size := size_of(base)))
    disk, free = sum(c.disk_mb for c in found) + fetched, room(runs.root)
    parts = [f"{len(cells)} cells, {len(cells) - len(todo)} done"]
    if found:
        at_once = len(places())
        seconds = sum(c.seconds for c in found) / at_once
        way = "one after another" if at_once == 1 else f"{at_once} at a time"
        parts.append(f"about {_time(seconds)} to go, {way}")
        parts.append(f"up to {_size(max(c.memory_mb for c in found) * at_once)} of memory")
        parts.append(f"{_size(disk)} on the disk, where {_size(free)} are free")
    if unknown := len(todo) - len(found):
        parts.append(f"{unknown} of which nothing is known (no data or no such model here)")
    print("; ".join(parts))
    if any(c.rough for c in found):
        print("~: from the model's size and the speed of this machine just now; within a factor of three, at best")
    there = memory()
    if found and disk > free:
        print(f"missing: room on the disk, {_size(disk - free)} more")
    if found and there is not None and max(c.memory_mb for c in found) * len(places()) > there:
        print(
            f"missing: memory; {_size(there)} can be had now. Run fewer cells at a time (--jobs 1), or a smaller model"
        )


def _size(mb: float) -> str:
    return f"{mb:.0f} MB" if mb < 1000 else f"{mb / 1000:.1f} GB"


class _Watch:
    """Shows progress: bars on a terminal, otherwise one line per cell. A `genner.assess.scheduler.CellListener`."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._all = self._bars.add_task("all cells", total=total)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "_Watch":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def started(self, cell: "Cell", device: str | None) -> None:
        from rich.markup import escape

        from genner.render.layout import visible_line

        self._tasks[cell.id] = self._bars.add_task(escape(visible_line(f"{cell.kind} {cell.name}")), total=None)
        if not self._live:
            self._print(f"started: {cell.id} ({cell.name})" + (f" on {device}" if device else ""))

    def elsewhere(self, run: "CellFolder", holder: str) -> None:
        self._print(f"running elsewhere: {run.cell.id} ({run.cell.name}), by {holder}")

    def ended(self, run: "CellFolder", state: "CellState") -> None:
        if run.cell.id in self._tasks:
            self._bars.remove_task(self._tasks.pop(run.cell.id))
        self._bars.advance(self._all)
        try:
            about = _about(run, state)
        except GennerError as error:  # a damaged record; the report says so too
            about = str(error)
        self._print(f"{state}: {run.cell.id} ({run.cell.name}): {about}")

    def tick(self, running: "Iterable[CellFolder]") -> None:
        for run in running:
            if self._live and (at := run.progress):
                self._bars.update(self._tasks[run.cell.id], completed=at.done, total=at.total)

    def _print(self, line: str) -> None:
        from genner.render.layout import visible

        self._console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
