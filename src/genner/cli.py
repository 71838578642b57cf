"""The command line: parse, call, print. Nothing here knows how anything works."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from tqdm import tqdm

from genner.document import Document, LabelSet, Prediction
from genner.errors import GennerError, UsageError

if TYPE_CHECKING:
    from genner.extract import Extractor

app = typer.Typer(
    help="Generative named entity recognition: entities out of text, with exact positions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models_app = typer.Typer(help="List, fetch and find models.", no_args_is_help=True)
app.add_typer(models_app, name="models")

PAGE_LIMIT = 500  # documents on an HTML page: more than anybody reads, few enough to open

LabelsOption = Annotated[
    str | None, typer.Option(help="Tags to ask for (PER,ORG), or a shipped label set (core, litbank, genia, ...).")
]
ModelOption = Annotated[
    str, typer.Option(help="default; or the folder of an adapter, a training run or a transformers model.")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, ...; the GPU if there is one.")]


@app.command()
def extract(
    files: Annotated[
        list[str] | None, typer.Argument(help=".txt, .jsonl with a 'text' field, or - for standard input.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="A text to tag, instead of files.")] = None,
    labels: LabelsOption = None,
    labels_file: Annotated[
        Path | None, typer.Option(help='JSON: {"TAG": {"name": ..., "definition": ...}} or {"TAG": "definition"}.')
    ] = None,
    model: ModelOption = "default",
    format: Annotated[str | None, typer.Option(help="Answer format: inline_xml, inline_bracketed.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here, instead of to standard output.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the texts and their entities here.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with --out where an interrupted run left off.")] = False,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Sentences in a forward pass.")] = None,
    min_score: Annotated[float, typer.Option(min=0.0, max=1.0, help="Leave out entities that score less.")] = 0.0,
    free: Annotated[bool, typer.Option(help="Let the model write freely, and repair; not recommended.")] = False,
    device: DeviceOption = None,
) -> None:
    """Find the entities in texts: one JSON object a document."""
    from genner.data import JsonlWriter, read_texts
    from genner.formats import get_format
    from genner.labels import parse_labels

    # All that can be wrong with the call is found out before a model is loaded.
    if (text is None) == (not files):
        raise UsageError("give either --text or files (.txt, .jsonl, or - for standard input)")
    if labels and labels_file:
        raise UsageError("give --labels or --labels-file, not both")
    if resume and not out:
        raise UsageError("--resume goes on with a file: give --out as well")
    _must_exist(*(Path(name) for name in files or [] if name != "-"), *([labels_file] if labels_file else []))
    asked = LabelSet.from_file(labels_file) if labels_file else parse_labels(labels) if labels else None
    if format:
        get_format(format)
    readers = [read_texts(name) for name in files or []]
    documents = [Document(text, id="text")] if text is not None else _distinct(d for r in readers for d in r)
    writer = JsonlWriter(out, resume=resume) if out else None

    from genner.loading import load

    ner = load(model, asked, format=format, constrained=not free, min_score=min_score, device=device)
    shown: list[Prediction] = []
    pretty = not out and not html and sys.stdout.isatty()
    if writer:
        with writer:
            todo = (d for d in documents if d.id not in writer.done)
            for prediction in _progress(ner, todo, batch_size):
                writer.write(prediction)
                shown += [prediction] if html and len(shown) < PAGE_LIMIT else []
        print(f"{writer.count} documents in {out}", file=sys.stderr)
    else:
        for prediction in _progress(ner, documents, batch_size):
            if html:
                shown += [prediction] if len(shown) < PAGE_LIMIT else []
            elif pretty:
                from genner.render import print_prediction

                print_prediction(prediction, Console(), labels=ner.labels.tags)
            else:
                print(json.dumps(prediction.to_dict(), ensure_ascii=False), flush=True)
    if html:
        from genner.data import write_atomic
        from genner.render import html_page

        notes = f"The first {PAGE_LIMIT} documents." if len(shown) == PAGE_LIMIT else ""
        write_atomic(html, html_page(shown, title="Entities", notes=notes, labels=ner.labels))
        print(f"page written to {html}", file=sys.stderr)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe (TOML); recipes/default.toml is the shipped model's.")],
    out: Annotated[Path, typer.Option(help="The folder of the run.")],
    data: Annotated[Path, typer.Option(help="The folder that the recipe's file names are relative to.")] = Path(),
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after so long; the schedule fits it.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(min=0.0, help="Instead of the recipe's number of epochs.")] = None,
    eval_minutes: Annotated[float, typer.Option(min=0.0, help="Minutes between evaluations on dev data.")] = 15.0,
    eval_sentences: Annotated[int, typer.Option(min=1, help="Dev sentences of each set to evaluate on.")] = 40,
    resume: Annotated[bool, typer.Option(help="Go on where the run in --out left off.")] = False,
    device: DeviceOption = None,
) -> None:
    """Fine-tune a model with LoRA, after a recipe."""
    from genner.training import run

    _must_exist(recipe, data)
    run(
        recipe,
        data,
        out,
        max_minutes=max_minutes,
        epochs=epochs,
        eval_minutes=eval_minutes,
        eval_sentences=eval_sentences,
        resume=resume,
        device=device,
    )


@app.command()
def evaluate(
    gold: Annotated[Path, typer.Argument(help="JSON lines with the true entities.")],
    pred: Annotated[Path, typer.Argument(help="JSON lines as `genner extract` writes them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score predictions against gold: strict span micro-F1, with its interval."""
    from genner.data import read_jsonl
    from genner.evaluation import evaluate as score

    _must_exist(gold, pred)
    report = score(list(read_jsonl(gold)), list(read_jsonl(pred)))
    print(json.dumps(report.to_dict(), ensure_ascii=False, indent=1) if as_json else report.table())


@app.command()
def demo(
    examples: Annotated[Path, typer.Option(help="The folder with the example texts.")] = Path("examples"),
    page: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("demo.html"),
    model: ModelOption = "default",
    device: DeviceOption = None,
) -> None:
    """Tag the example texts, show them, and score the bundled gold sample."""
    from genner.demo import run

    run(examples, page, model, device)


@models_app.command("list")
def models_list() -> None:
    """What can be given as --model, and whether it is there."""
    from genner.loading import find_adapter, shipped
    from genner.models import MODELS, locate

    for name in shipped():
        adapter = find_adapter(name)
        assert adapter is not None
        print(f"{name}\tadapter on {adapter.base}\t{', '.join(adapter.formats)}\tin the package")
    for name, spec in MODELS.items():
        try:
            place = str(locate(name))
        except GennerError:
            place = f"not fetched; run: genner models fetch {name}"
        print(f"{name}\t{spec.description}\t{spec.licence}\t{place}")


@models_app.command("fetch")
def models_fetch(
    name: Annotated[str | None, typer.Argument(help="A preset; the default model if left out.")] = None,
    force: Annotated[bool, typer.Option(help="Fetch again, even if it is there.")] = False,
) -> None:
    """Fetch a model, check it, and keep it for offline use."""
    from genner import models

    print(models.fetch(_base(name or "default"), force=force))


@models_app.command("where")
def models_where(name: Annotated[str, typer.Argument(help="A preset, an adapter or a folder.")] = "default") -> None:
    """The folder of a model's weights."""
    from genner.loading import find_adapter
    from genner.models import locate

    adapter = find_adapter(name)
    print(adapter.folder if adapter else locate(name))


def _must_exist(*paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no {str(path)!r}; give the path of an existing file")


def _base(name: str) -> str:
    """The preset to fetch for `name`: an adapter's base, or itself."""
    from genner.loading import find_adapter
    from genner.models import DEFAULT_MODEL

    if name == "default":
        return DEFAULT_MODEL
    adapter = find_adapter(name)
    return adapter.base if adapter else name


def _distinct(documents: Iterable[Document]) -> Iterator[Document]:
    """Documents of several files may share an id (their file's name): the later ones get a number."""
    seen: dict[str, int] = {}
    for document in documents:
        seen[document.id] = number = seen.get(document.id, 0) + 1
        yield document if number == 1 else Document(document.text, document.entities, f"{document.id}#{number}")


def _progress(ner: "Extractor", documents: Iterable[Document], batch_size: int | None) -> Iterator[Prediction]:
    predictions = ner.pipe(documents, batch_size=batch_size)
    first = list(islice(predictions, 1))  # one text needs no bar
    yield from first
    yield from tqdm(predictions, initial=1, unit=" documents", disable=None, file=sys.stderr)


def main() -> NoReturn:
    """Run the command line. Exit codes: 0 done, 2 wrong use, 1 failure."""
    code = 0
    try:
        app(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
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


if __name__ == "__main__":
    main()
