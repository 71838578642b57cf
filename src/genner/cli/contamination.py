"""`genner contamination`."""

import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genner.cli.app import DeviceOption, LabelsFileOption, app, asked_labels, must_exist, tell
from genner.cli.corpora import CorpusFiles, FromOption, LenientOption
from genner.errors import GennerError, UsageError

if TYPE_CHECKING:
    from genner.contamination import ContaminationCase


@app.command()
def contamination(
    model: Annotated[
        str, typer.Argument(help="default, or the folder of an adapter, a training run or a model; list: the signals.")
    ],
    test: Annotated[
        Path | None,
        typer.Argument(metavar="[TEST]", help="The test set, in any file syntax; none with list."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder for what is found, as it comes; an interrupted run goes on there.")
    ] = None,
    signals: Annotated[str | None, typer.Option(help="As exact,ngrams,order; all if left out.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Documents of each kind that are put to the model; files are compared whole.")
    ] = 100,
    recipe: Annotated[
        list[Path] | None,
        typer.Option(help="The recipe that the model was trained by, where its run is not at hand; then its start's."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The folder that the recipe's file names are relative to.")] = None,
    train: Annotated[
        list[Path] | None, typer.Option(help="A file that the model was trained on, beside the recipe's. Repeatable.")
    ] = None,
    members: Annotated[
        list[Path] | None,
        typer.Option(help="Texts like TEST that it was trained on, to prove signals by; else the recipe's train file."),
    ] = None,
    unseen: Annotated[
        list[Path] | None,
        typer.Option(help="Texts like TEST that it was not trained on, to compare with; else the recipe's dev file."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the world calls the set; else told by its folder.")] = None,
    split: Annotated[str | None, typer.Option(help="Which part TEST is; else told by its name.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="The label set: PER,ORG, or a shipped one; else the recipe's, or those in TEST.")
    ] = None,
    labels_file: LabelsFileOption = None,
    format: Annotated[
        str | None, typer.Option(help="The format of gold answers; else what the model was trained on most.")
    ] = None,
    syntax: FromOption = None,
    lenient: LenientOption = False,
    seed: Annotated[int, typer.Option(help="Of shuffles, copies and resamples.")] = 0,
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16; auto: bfloat16 on CUDA, else float32.")
    ] = "auto",
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would be compared and asked, and end.")] = False,
) -> None:
    """Has a model seen this test set? Overlap with its training data, likelihoods, order, completion, recall.

    Each signal says of base and adapter: found, nothing found, no power, or unknown. Exit codes: 0 when all signals
    were looked at, whatever they found; 1 when one failed; 2 wrong use; 130 interrupted (the same --out goes on).
    """
    from genner.contamination import named

    if model == "list" and test is None:
        _list()
        return
    if test is None:
        hint = "; did you mean genner contamination list?" if get_close_matches(model, ["list"]) else ""
        raise UsageError(f"give the test set: genner contamination MODEL TEST{hint}")
    asked = asked_labels(labels, labels_file)
    wanted = named(signals)
    must_exist(*(p for p in (data, *(recipe or ())) if p))
    corpora = CorpusFiles(syntax, ("test", "train", "members", "unseen"), lenient=lenient)
    corpora.check(test=test, train=train, members=members, unseen=unseen)

    from genner.contamination.sources import Given, case_of

    given = Given(
        data=test,
        syntaxes=corpora.syntaxes,
        name=name,
        split=split,
        labels=asked,
        format=format,
        root=data,
        recipes=tuple(recipe or ()),
        train=tuple(train or ()),
        members=tuple(members or ()),
        unseen=tuple(unseen or ()),
        limit=limit,
    )
    case, notes = case_of(model, given, corpora.read_log)
    corpora.tell()
    if dry_run:
        _plan(case, notes, wanted)
        return

    from genner.contamination.run import check
    from genner.contamination.table import markdown
    from genner.render.terminal import json_text

    with _Bar() as bar:
        found = check(
            model,
            case,
            wanted,
            out,
            seed=seed,
            dtype=dtype,
            device=device,
            notes=notes,
            watch=bar.watch,
            started=bar.started,
        )
    if as_json:
        print(json_text(found.to_dict(), indent=1))
    else:
        tell(markdown(found).rstrip("\n"), sys.stdout)
    if found.problems:
        raise GennerError(f"failed: {', '.join(found.problems)}; the reasons stand at the end of what was printed")


def _list() -> None:
    from inspect import cleandoc

    from genner.contamination import SIGNAL_VERDICTS, SIGNALS

    for name, signal in SIGNALS.items():
        print(f"{name}\n    {cleandoc(signal.__doc__ or '').replace(chr(10), chr(10) + '    ')}\n")
    for verdict, about in SIGNAL_VERDICTS.items():
        print(f"{verdict}: {about}")


def _plan(case: "ContaminationCase", notes: "list[str]", signals: "tuple[str, ...]") -> None:
    print(f"{case.name}, {case.split}: {len(case.test):,} documents, labels {', '.join(case.labels.tags)}")
    for source in case.train:
        print(f"compared with {source.name}: {len(source.documents):,} documents")
    if not case.complete:
        print("what else the model was trained on is not known")
    parts = ", ".join(f"{len(documents):,} {group}" for group, documents in case.groups().items())
    print(f"put to the model: {parts}; gold answers in {case.format}")
    for note in notes:
        tell(f"note: {note}", sys.stdout)
    print(f"signals: {', '.join(signals)}")


class _Bar:
    """A line on standard error, if that is a terminal: the current signal and its progress."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._bar = tqdm(file=sys.stderr, disable=None, delay=1.0, leave=False, dynamic_ncols=True, unit=" items")
        self._signal = ""

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def started(self, signal: str) -> None:
        self._signal = signal
        self._bar.set_description_str(signal)

    def watch(self, what: str, done: int, total: int) -> None:
        """Show the progress of the signal: `done` of `total` items."""
        self._bar.set_description_str(f"{self._signal}: {what.partition(':')[0]}", refresh=False)
        if done < self._bar.n or total != self._bar.total:
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)
