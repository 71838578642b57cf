"""`genner extract`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from genner.cli.extraction import PAGE_LIMIT, less_than_exact, run_settings, show, write
from genner.cli.few_shot import (
    DemonstrationLimitOption,
    DemonstrationSeedOption,
    DemonstrationsOption,
    EncoderOption,
    PerLabelOption,
    RetrievalOption,
    SearchOption,
    ShotsOption,
    VerifyOption,
    WordingOption,
    few_shot_of,
)
from genner.document import Document
from genner.errors import UsageError

if TYPE_CHECKING:
    from genner.data.base import ReadLog
    from genner.data.texts import TextSource
    from genner.engines.base import Engine

LabelsOption = Annotated[
    str | None,
    typer.Option(
        help="Tags to ask for (PER,ORG), or a shipped label set (core, litbank, genia, ...). If left out: the set that "
        "the model was trained on, if there was only one; else PER,LOC,ORG.",
    ),
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
    search: SearchOption = None,
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
    few_shot = few_shot_of(
        demonstrations, shots, retrieval, encoder, demonstration_limit, demonstration_seed, search, dry_run=dry_run
    )
    documents = [Document(text, id="text")] if text is not None else _documents(found, text_field, read_log)

    from genner.cli.dry_run import AssumedEntities, price, pricing_engine
    from genner.loading import load

    ner = load(
        model,
        asked,
        format=format,
        constrained=False if free else None,
        min_score=min_score,
        device=device,
        engine=pricing_engine(engine, options) if dry_run else engine,
        engine_options=None if dry_run else options,
        nested=nested,
        symbols=symbols,
        demonstrations=few_shot,
        verify=AssumedEntities(few_shot) if dry_run and verify else verify,
        prompt_per_label=label_by_label,
        wording=wording,
    )
    if dry_run:
        if written := JsonlWriter(out, resume) if out and resume else None:
            written.peek()
        for line in [*price(ner, documents, written), *read_log.lines()]:
            tell(line)
        return
    from genner.cli.progress import ExtractionProgress

    cautions = [ner.caution(), less_than_exact(ner, free)]  # asked for if quiet too, so that `pipe` logs none
    for caution in cautions:
        if caution and not quiet:
            tell(caution)
    progress = ExtractionProgress(len(found) if all(place.single for place in found) else None, quiet)
    shown: list[Document] = []
    notes: list[str] = []
    with _accounts(ner.engine, quiet):
        if out:
            from genner.data import read_jsonl

            writer = JsonlWriter(out, resume, force=force, about=run_settings(ner, model or "default"))
            said = write(writer, ner, documents, progress, batch_size, notes)
            shown = list(islice(read_jsonl(out), PAGE_LIMIT + 1)) if html else []
            if not quiet:
                tell("\n".join(said))
        else:
            shown = show(ner, documents, progress, batch_size, notes, to_page=bool(html))
        for line in [] if quiet else [*notes, *read_log.lines()]:
            tell(line)
    if html:
        from genner.data import write_atomic
        from genner.render import html_page

        heading = f"The first {PAGE_LIMIT} documents." if len(shown) > PAGE_LIMIT else ""
        write_atomic(html, html_page(shown[:PAGE_LIMIT], title="Entities", notes=heading, labels=ner.labels))
        if not quiet:
            tell(f"page written to {html}")


@contextmanager
def _accounts(engine: "Engine", quiet: bool) -> Iterator[None]:
    """Say at the end what the engine has spent, also when the job was stopped."""
    from genner.engines.base import AccountingEngine

    try:
        yield
    finally:
        if isinstance(engine, AccountingEngine) and not quiet:
            tell("\n".join(engine.summary()))


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
