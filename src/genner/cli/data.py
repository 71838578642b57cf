"""`genner convert` and `genner data`."""

import json
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genner.cli.app import app, tell
from genner.cli.corpora import LenientOption
from genner.errors import UsageError

if TYPE_CHECKING:
    from genner.data.base import ReadLog
    from genner.data.catalog import Corpus
    from genner.data.describe import Description

SPLITS = ("train", "dev", "test")


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(help="File, folder, zip archive (or zip/file), 'pattern*', or hub:owner/name.")
    ],
    target: Annotated[
        Path, typer.Argument(help="What to write; it appears, or replaces the file there, when all is done.")
    ],
    reader: Annotated[
        str | None, typer.Option("--from", help="Syntax of the source, as conll:column=3; guessed if left out.")
    ] = None,
    writer: Annotated[
        str | None, typer.Option("--to", help="Syntax to write, as alpaca:format=inline_xml; by the name if left out.")
    ] = None,
    rewrite: Annotated[
        list[str] | None,
        typer.Option(help="Rewrite the texts: running, truecase, paper, paper_lists or paper_conll; may be repeated."),
    ] = None,
    lenient: LenientOption = False,
) -> None:
    """Convert annotated texts from one file syntax to another.

    A report at the end lists what was read differently from the file and what was not kept. The exit code is 1 when
    something was left out and no document is left.
    """
    from tqdm import tqdm

    from genner.data.base import ReadLog
    from genner.data.convert import convert as run

    read_log = ReadLog(lenient=lenient)
    replaced = target.is_file()
    count = run(
        source,
        target,
        reader,
        writer,
        read_log,
        rewrite or (),
        watch=lambda documents: tqdm(documents, unit=" documents", disable=None, file=sys.stderr),
    )
    _report(read_log)
    tell(f"{count} documents in {target}{', in place of the file that was there' if replaced else ''}")
    if not count and (read_log.errors or read_log.dropped):
        raise typer.Exit(1)
    if not count:
        tell(f"{source} holds no document; is it the right file?")


@app.command()
def data(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files of annotated texts, or folders of them; without any, the catalog is listed. `fetch NAME` "
            "fetches a public corpus; `fetch` alone lists them."
        ),
    ] = None,
    reader: Annotated[str | None, typer.Option("--from", help="Syntax of the files; guessed if left out.")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Compare with the published counts of this corpus in the catalog.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which split of it a file is: train, dev, test; by its name if left out.")
    ] = None,
    lenient: LenientOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[Path, typer.Option(help="fetch: the folder for NAME/SPLIT.jsonl, as recipes want it.")] = Path(
        "data"
    ),
    force: Annotated[bool, typer.Option(help="fetch: make splits anew that are there.")] = False,
) -> None:
    """Describe files of annotated texts, list the corpora that genner knows, or fetch one: genner data fetch genia."""
    if files and files[0] == "fetch":
        _fetch(files[1:], out, force)
        return
    if files and not Path(files[0]).exists() and get_close_matches(files[0], ["fetch"]):
        raise UsageError(f"there is no {files[0]!r}; did you mean genner data fetch?")
    from tqdm import tqdm

    from genner.data import catalog as known
    from genner.data.base import ReadLog
    from genner.data.corpus import expand, read_corpus
    from genner.data.describe import describe, disagreements, group_leaks, leaks
    from genner.render.layout import visible_line
    from genner.render.terminal import json_text

    wanted = known.corpus(corpus) if corpus else None
    if not files:
        _list([wanted] if wanted else list(known.catalog().values()), as_json)
        return
    read_log = ReadLog(lenient=lenient)
    described: list[Description] = []
    for name in [each for given in files for each in expand(given)]:
        shown = visible_line(name)
        documents = tqdm(
            read_corpus(name, reader, read_log), unit=" documents", desc=shown, disable=None, file=sys.stderr
        )
        described.append(describe(name, documents))
    shared, shared_groups = leaks(described), group_leaks(described)
    warnings = []
    for d in described if wanted else ():
        assert wanted is not None
        which = split or next((s for s in SPLITS if s in Path(d.name).stem.split(".")[0]), None)
        if which not in [s.name for s in wanted.splits]:
            legal = ", ".join(s.name for s in wanted.splits)
            raise UsageError(f"cannot tell which split of {wanted.name} {d.name!r} is; say so with --split ({legal})")
        warnings += disagreements(d, wanted, which)
    if as_json:
        found = {"files": [d.to_dict() for d in described], "shared": shared, "shared_groups": shared_groups}
        found["warnings"] = warnings
        print(json_text(found, indent=1))
    else:
        _show(described)
        for a, b, n in shared:
            tell(f"{n:,} of {a} are in {b} too", sys.stdout)
        for a, b, n, inside, name in shared_groups:
            what = f"{n:,} groups of {a} ({inside:,} documents), {name!r} among them, are in {b} too"
            tell(f"{what}: texts of one group are in both, unless each file names its groups anew", sys.stdout)
    for line in warnings:
        tell(f"warning: {line}")
    _report(read_log)


def _fetch(names: list[str], out: Path, force: bool) -> None:
    """Fetch corpora into a folder, or list those available."""
    from genner.data.fetching import downloads, fetch

    if not names:
        for corpus in downloads().values():
            how = ", ".join(corpus.splits) or "by hand: genner data fetch says how"
            print(f"{corpus.name}: {corpus.title} ({how}); {corpus.licence}")
        return
    differing = [line for name in names for line in fetch(name, out, tell, force=force)]
    for line in differing:
        tell(f"warning: {line}")
    if differing:
        raise typer.Exit(1)


def _report(read_log: "ReadLog") -> None:
    for line in read_log.lines():
        tell(line)


def _show(described: "list[Description]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from genner.render.layout import visible_line

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("file", overflow="fold")
    for head in ("documents", "groups", "entities", "inner", "crossing", "depth", "duplicates", "longest"):
        table.add_column(head, justify="right", no_wrap=True, min_width=len(head))
    table.add_column("labels")
    for d in described:
        groups = len(d.groups) or "unknown"
        counts = (d.documents, groups, d.entities, d.inner, d.crossing, d.depth, d.duplicates, d.longest)
        labels = ", ".join(f"{label} {n:,}" for label, n in d.labels.most_common())
        table.add_row(
            Text(visible_line(d.name)),
            *(n if isinstance(n, str) else f"{n:,}" for n in counts),
            Text(visible_line(labels)),
        )
    # To a file or a pipe, one line per row, so that nothing is truncated or wrapped.
    Console(width=None if sys.stdout.isatty() else 100_000).print(table)


def _list(corpora: "list[Corpus]", as_json: bool) -> None:
    if as_json:
        print(json.dumps([_plain(c) for c in corpora], ensure_ascii=False, indent=1))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for c in corpora:
        console.print(f"[bold]{c.name}[/bold]: {c.title}, {'nested' if c.nested else 'flat'}", soft_wrap=True)
        for s in c.splits:
            console.print(f"  {s.name}: {s.sentences:,} sentences, {s.entities:,} entities", soft_wrap=True)
        facts = {"counted by": c.counts_from, "licence": c.licence, "get it": c.get, "read it": f"--from {c.syntax}"}
        for what, value in {**facts, "note": c.note}.items():
            console.print(f"  {what}: {value}", soft_wrap=True, markup=False)
        for label in c.labels:
            console.print(f"    {label.tag}: {label.name}; {label.definition}", soft_wrap=True, markup=False)


def _plain(c: "Corpus") -> dict[str, object]:
    return {
        "name": c.name,
        "title": c.title,
        "nested": c.nested,
        "labels": {label.tag: {"name": label.name, "definition": label.definition} for label in c.labels},
        "splits": {s.name: {"sentences": s.sentences, "entities": s.entities} for s in c.splits},
        "counts_from": c.counts_from,
        "syntax": c.syntax,
        "licence": c.licence,
        "get": c.get,
        "note": c.note,
    }
