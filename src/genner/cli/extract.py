"""`genner extract`."""

import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genner.cli.app import (
    BaseUrlOption,
    DeviceOption,
    EngineOption,
    EngineOptionsOption,
    ForceOption,
    LabelsFileOption,
    app,
    asked_labels,
    engine_options,
    may_write,
    tell,
)
from genner.cli.few_shot import (
    DemonstrationLimitOption,
    DemonstrationSeedOption,
    DemonstrationsOption,
    EncoderOption,
    PerLabelOption,
    RetrievalOption,
    ShotsOption,
    VerifyOption,
    WordingOption,
    few_shot_of,
)
from genner.cli.signals import Interrupted
from genner.document import Document, Prediction
from genner.errors import UsageError

if TYPE_CHECKING:
    from genner.cli.progress import ExtractionProgress
    from genner.data import JsonlWriter
    from genner.data.base import ReadLog
    from genner.data.texts import TextSource
    from genner.engines.base import Engine
    from genner.engines.http.pricing import PricingEngine
    from genner.extract import Extractor

PAGE_LIMIT = 500  # documents on an HTML page: more than anybody reads, few enough for a browser

LabelsOption = Annotated[
    str | None, typer.Option(help="Tags to ask for (PER,ORG), or a shipped label set (core, litbank, genia, ...).")
]


@app.command()
def extract(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts (.txt, .md, .html), tables (.csv, .tsv) and JSON (.jsonl, .json), all with .gz too; folders, "
            "patterns in quotes, or - for standard input."
        ),
    ] = None,
    text: Annotated[str | None, typer.Option(help="A text to tag, instead of files.")] = None,
    text_field: Annotated[
        str, typer.Option(help="The field of JSON records, or the column of tables, that is the text.")
    ] = "text",
    labels: LabelsOption = None,
    labels_file: LabelsFileOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="default, which is also taken if this is left out; or the folder of an adapter, a training run or a "
            "transformers model; or OWNER/NAME on the Hugging Face hub, which is fetched once; or a server's name for "
            "one of its models."
        ),
    ] = None,
    format: Annotated[str | None, typer.Option(help="Answer format; see genner formats.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here, instead of to standard output.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the texts and their entities here.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out where an interrupted run left off.")
    ] = False,
    force: ForceOption = False,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Sentences in a forward pass.")] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Leave out entities that score less, 0: none. If left out: the threshold of the model's calibration.",
        ),
    ] = None,
    nested: Annotated[
        bool | None,
        typer.Option("--nested/--flat", help="Entities within each other, or none; by default as the label set says."),
    ] = None,
    symbols: Annotated[
        bool,
        typer.Option("--symbols", help="Allow entities that start at markup, as in <b>, or are punctuation alone."),
    ] = False,
    free: Annotated[
        bool, typer.Option("--free", help="Let the model write freely, and give the repaired reading; not recommended.")
    ] = False,
    engine: EngineOption = "local",
    engine_option: EngineOptionsOption = None,
    base_url: BaseUrlOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Estimate the tokens and the cost of asking a server (--engine http); nothing is asked."
        ),
    ] = False,
    demonstrations: DemonstrationsOption = None,
    shots: ShotsOption = None,
    retrieval: RetrievalOption = None,
    encoder: EncoderOption = None,
    demonstration_limit: DemonstrationLimitOption = None,
    demonstration_seed: DemonstrationSeedOption = None,
    verify: VerifyOption = False,
    label_by_label: PerLabelOption = None,
    wording: WordingOption = "genner",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, and say nothing but errors.")] = False,
    device: DeviceOption = None,
) -> None:
    """Find the entities in texts: one JSON object a document."""
    from genner.data import JsonlWriter
    from genner.data.base import ReadLog
    from genner.data.texts import places
    from genner.formats import get_format

    # All errors in the call are found before a model is loaded.
    if (text is None) == (not files):
        raise UsageError("give either --text or files (.txt, .jsonl, a folder ..., or - for standard input)")
    if resume and not out:
        raise UsageError("--resume goes on with a file: give --out as well")
    if resume and force:
        raise UsageError("--resume goes on with what is there, and --force starts anew: give one of them")
    if free and nested is not None:
        raise UsageError("--nested and --flat hold under the grammar, and --free decodes without it; give one of them")
    asked = asked_labels(labels, labels_file)
    if format:
        get_format(format)
    options = engine_options(engine_option, base_url)
    read_log = ReadLog()
    found = places(files or [], read_log)
    _check_outputs(found, labels_file, out, html, force=force or resume)
    if out:
        JsonlWriter(out, resume, force=force).check()
    few_shot = few_shot_of(demonstrations, shots, retrieval, encoder, demonstration_limit, demonstration_seed)
    documents = [Document(text, id="text")] if text is not None else _documents(found, text_field, read_log)

    from genner.loading import load

    if dry_run:
        priced = _pricing(engine, options, model)
        ner = load(
            model,
            asked,
            format=format,
            engine=priced,
            nested=nested,
            symbols=symbols,
            demonstrations=few_shot,
            prompt_per_label=label_by_label,
            wording=wording,
        )
        for _ in ner.pipe(documents):
            pass
        beside = ["without the questions of --verify, one for each entity that is found"] if verify else []
        for line in [*priced.lines(), *beside, *read_log.lines()]:
            tell(line)
        return
    ner = load(
        model,
        asked,
        format=format,
        constrained=False if free else None,
        min_score=min_score,
        device=device,
        engine=engine,
        engine_options=options,
        nested=nested,
        symbols=symbols,
        demonstrations=few_shot,
        verify=verify,
        prompt_per_label=label_by_label,
        wording=wording,
    )
    from genner.cli.progress import ExtractionProgress

    cautions = [ner.caution(), _less_than_exact(ner, free)]  # asked for if quiet too, so that `pipe` logs none
    for caution in cautions:
        if caution and not quiet:
            tell(caution)
    progress = ExtractionProgress(len(found) if all(place.single for place in found) else None, quiet)
    shown: list[Document] = []
    notes: list[str] = []
    with _accounts(ner.engine, quiet):
        if out:
            from genner.data import read_jsonl

            writer = JsonlWriter(out, resume, force=force, about=_about(ner, model or "default"))
            said = _write(writer, ner, documents, progress, batch_size, notes)
            shown = list(islice(read_jsonl(out), PAGE_LIMIT + 1)) if html else []
            if not quiet:
                tell("\n".join(said))
        else:
            shown = _show(ner, documents, progress, batch_size, notes, to_page=bool(html))
        for line in [] if quiet else [*notes, *read_log.lines()]:
            tell(line)
    if html:
        from genner.data import write_atomic
        from genner.render import html_page

        heading = f"The first {PAGE_LIMIT} documents." if len(shown) > PAGE_LIMIT else ""
        write_atomic(html, html_page(shown[:PAGE_LIMIT], title="Entities", notes=heading, labels=ner.labels))
        if not quiet:
            tell(f"page written to {html}")


def _pricing(engine: str, options: dict[str, Any], model: str | None) -> "PricingEngine":
    """The engine that prices a job. Raises `UsageError` for engines that ask no server."""
    if engine != "http":
        raise UsageError(
            f"--dry-run estimates what asking a server costs, and engine {engine!r} asks none; give --engine http"
        )
    from genner.engines import engine_options as options_of
    from genner.engines.http.pricing import PricingEngine

    return PricingEngine(options_of(engine, options), model or "")


@contextmanager
def _accounts(engine: "Engine", quiet: bool) -> Iterator[None]:
    """Say at the end what the engine has spent, also when the job was stopped."""
    from genner.engines.base import AccountingEngine

    try:
        yield
    finally:
        if isinstance(engine, AccountingEngine) and not quiet:
            tell("\n".join(engine.summary()))


def _less_than_exact(ner: "Extractor", free: bool) -> str:
    """What the engine does not do, where it was not asked to leave it; empty if its answers cannot be invalid."""
    if ner.exact or free:
        return ""
    how = "under grammars that its server reads" if ner.constrained else "freely"
    can = ner.engine.capabilities
    scores = "" if can.logprobs else ", and gives no scores"
    more = (
        ""
        if ner.constrained or not (can.constrains and can.json_only)
        else "; it constrains answers in JSON formats: --format grouped_json"
    )
    return (
        f"engine {ner.engine.name!r} decodes {how}{scores}: answers that are not legal are repaired, and repairs are "
        f"counted{more}"
    )


def _check_outputs(
    found: "list[TextSource]", labels_file: Path | None, out: Path | None, html: Path | None, force: bool
) -> None:
    """Raise `UsageError` when an output would overwrite an input, or the other output."""
    sources = [Path("/dev/stdin" if place.path == "-" else place.path) for place in found]
    sources += [labels_file] if labels_file else []
    # The writer checks for an existing output.
    may_write({"--out": out}, sources, force=True)
    may_write({"--html": html}, [*sources, *([out] if out else [])], force=force)


def _documents(found: "list[TextSource]", text_field: str, read_log: "ReadLog") -> Iterator[Document]:
    """The documents of all sources. If several share an id (their file's name), the later ones get a number."""
    from genner.data.texts import read_texts

    seen: dict[str, int] = {}
    for place in found:
        for document in read_texts(place, text_field, read_log):
            id = document.id
            while id in seen:
                seen[document.id] += 1
                id = f"{document.id}#{seen[document.id]}"
            seen[id] = 1
            yield document if id == document.id else replace(document, id=id)


def _counted(ner: "Extractor", predictions: Iterable[Prediction], notes: list[str]) -> Iterator[Prediction]:
    """The predictions; at the end, `notes` gets the counts of entities below the threshold and of repairs."""
    left_out, refuted, unverified, problems = 0, 0, 0, Counter[str]()
    for prediction in predictions:
        left_out += prediction.below_min_score
        refuted += prediction.refuted
        unverified += prediction.unverified
        problems.update(problem.kind for problem in prediction.problems)
        yield prediction
    if note := _threshold(ner, left_out):
        notes.append(note)
    notes += ner.few_shot.notes() if ner.few_shot else []
    if ner.verification:
        said = f", {unverified} answered with neither yes nor no: kept" if unverified else ""
        notes.append(f"verification: {refuted} {'entity' if refuted == 1 else 'entities'} denied: left out{said}")
    if failed := problems["failed"]:
        notes.append(f"no answer for {failed} {'part' if failed == 1 else 'parts'} of texts; each says why (problems)")
    if not ner.exact:
        which = "the" if ner.constrained else "free"
        notes.append(
            f"the repaired reading of {which} answers: {problems['realigned']} mentions that are not where an answer "
            f"says were looked up, {problems['dropped']} dropped"
        )


def _threshold(ner: "Extractor", left_out: int) -> str:
    """What was left out by its score, and by which threshold; empty if everything was requested."""
    if ner.min_score is None and ner.threshold() is None:
        return (
            "no threshold: this model has no calibration that brings one; all entities are kept, whatever their score"
        )
    entities = f"{left_out} {'entity' if left_out == 1 else 'entities'} left out, with a score below"
    if ner.min_score is None:
        return f"{entities} {ner.least():.2f}, the calibration's threshold for these labels; --min-score 0 keeps all"
    return f"{entities} --min-score {ner.min_score:g}" if ner.min_score else ""


def _about(ner: "Extractor", model: str) -> dict[str, Any]:
    """The settings that an output must have been begun with for this run to resume it."""
    from hashlib import blake2b

    from genner.decoding_constraints import depth_of
    from genner.evaluation.pairing import genner_version
    from genner.model_source import ModelSource

    source = ModelSource.find(model)
    told: dict[str, Any] = {"weights": found} if source and (found := source.weights_digest) else {}
    if not ner.calibration.is_identity:
        told["calibration"] = blake2b(repr(ner.calibration.to_dict()).encode(), digest_size=6).hexdigest()
    told["depth of nesting"] = depth_of(ner.labels, ner.nested)
    return {"genner": genner_version(), **ner.signature, **told, "labels": ner.labels.to_json()}


def _write(
    writer: "JsonlWriter",
    ner: "Extractor",
    documents: Iterable[Document],
    progress: "ExtractionProgress",
    batch_size: int | None,
    notes: list[str],
) -> list[str]:
    """Write the predictions; returns the messages. Raises `Interrupted`, which says what is kept."""
    from genner.engines.answer_cache import CachingEngine

    try:
        with writer:
            before, again = writer.count, 0

            def todo() -> Iterator[Document]:
                nonlocal again
                for document in documents:
                    if writer.has(document):
                        again += 1
                    else:
                        yield document

            remembering = ner.replace(engine=CachingEngine(ner.engine, writer.state))
            for prediction in _counted(remembering, progress.over(remembering, todo(), batch_size), notes):
                writer.write(prediction)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Interrupted) else signal.SIGINT
        raise Interrupted(number, _kept(writer)) from None
    said = [f"{writer.count} documents in {writer.path}"]
    if before:
        said[0] += f", {before} of them from before"
    if before > again:
        said.append(f"{before - again} documents in it are not among today's texts")
    return said


def _kept(writer: "JsonlWriter") -> str:
    """What is kept after an interruption, and the command that resumes."""
    if not writer.count and not writer.state.answers:
        return "interrupted before anything was finished"
    given = [word for word in sys.argv[1:] if word not in ("--force", "--resume")]
    return (
        f"interrupted; finished documents: {writer.count}, answers about the next: {writer.state.answers}; kept in "
        f"{writer.part} and beside it; go on with:\n"
        f"  {shlex.join(['genner', *given, '--resume'])}"
    )


def _show(
    ner: "Extractor",
    documents: Iterable[Document],
    progress: "ExtractionProgress",
    batch_size: int | None,
    notes: list[str],
    to_page: bool,
) -> list[Document]:
    """Print the predictions; with `to_page`, return as many as a page holds, plus one if there are more."""
    from genner.render.terminal import json_text, print_prediction

    shown: list[Document] = []
    for prediction in _counted(ner, progress.over(ner, documents, batch_size), notes):
        if to_page:
            shown += [prediction] if len(shown) <= PAGE_LIMIT else []
        elif sys.stdout.isatty():
            from rich.console import Console

            print_prediction(prediction, Console(), labels=ner.labels.tags)
        else:
            print(json_text(prediction.to_dict()), flush=True)
    return shown
