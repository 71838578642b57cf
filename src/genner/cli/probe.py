"""`genner probe`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genner.cli.app import ForceOption, LabelsFileOption, app, asked_labels, may_write, tell
from genner.cli.corpora import CorpusFiles, FromOption, LenientOption
from genner.errors import UsageError

if TYPE_CHECKING:
    from genner.document import Document, LabelSet
    from genner.probes import Probed


@app.command()
def probe(
    name: Annotated[str, typer.Argument(help="A probe; or list, which shows them all.")],
    source: Annotated[
        Path | None,
        typer.Argument(metavar="[INPUT]", help="The true entities, in any file syntax; none: about the probe."),
    ] = None,
    out: Annotated[Path | None, typer.Argument(help="The probed documents, as JSON lines.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other names, other symbols ...")] = 0,
    labels: Annotated[
        str | None, typer.Option(help="The label set: PER,ORG, or a shipped one; else the labels in INPUT.")
    ] = None,
    labels_file: LabelsFileOption = None,
    train: Annotated[Path | None, typer.Option(help="The training data, for probes that need them.")] = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(help='Where other mentions come from: annotated documents, or JSON: {"TAG": ["mention", ...]}.'),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(help="A setting of the probe, as KEY=VALUE; repeatable.")] = None,
    score: Annotated[
        Path | None, typer.Option(help="Predictions on OUT: print what the probe measures of them.")
    ] = None,
    syntax: FromOption = None,
    lenient: LenientOption = False,
    force: ForceOption = False,
) -> None:
    """Change gold data so that a score tells recognition from memorization.

    Besides OUT.jsonl, OUT.labels.json is the label set to ask for (extract --labels-file), OUT.probe.json says what was
    done, and OUT.<reading>.jsonl are other gold readings of the same texts, where the probe has some.
    """
    from genner.probes import PROBES, Lexicon, make

    if name == "list":
        if source:
            raise UsageError("genner probe list takes no file")
        _list()
        return
    if source is None:
        _about(name)
        return
    if out is None and score is None:
        raise UsageError("give OUT.jsonl, where the probed documents go, or --score with predictions on them")
    if out is not None and out.suffix.lower() != ".jsonl":
        raise UsageError(f"{str(out)!r} ends in {out.suffix!r}; legal: .jsonl")
    asked = asked_labels(labels, labels_file)
    corpora = CorpusFiles(syntax, ("input", "train", "lexicon", "score"), lenient=lenient)
    inputs = corpora.check(input=source, train=train, lexicon=lexicon, score=score)
    inputs += [labels_file] if labels_file else []
    if out is not None:
        about = {"OUT.labels.json": out.with_suffix(".labels.json"), "OUT.probe.json": out.with_suffix(".probe.json")}
        may_write({"OUT": out, **about}, inputs, force)

    from genner.render.terminal import json_text

    kind = PROBES.get(name)
    for given, what in ((train, "train"), (lexicon, "lexicon")):
        if kind and given and what not in kind.needs:
            raise UsageError(f"probe {name!r} does not use --{what}; leave it out")
    made = make(
        name,
        seed,
        train=corpora.read("train", train) if train else None,
        lexicon=Lexicon.from_file(lexicon, corpora.syntax("lexicon"), corpora.read_log) if lexicon else None,
        **_options(option or ()),
    )
    documents = corpora.read("input", source)
    probed = made.apply(documents, asked or _labels_in(documents))
    if out is not None:
        _write(probed, out, {"probe": name, "seed": seed, "options": _options(option or ())}, inputs, force)
    if score is not None:
        found = corpora.read("score", score)
        print(json_text(made.measure(probed, found), indent=1))
    corpora.tell()
    for key, n in probed.report.items():
        tell(f"{key}: {n:,}")


def _list() -> None:
    from genner.probes import PROBES

    for name, kind in PROBES.items():
        needs = ", needs " + " and ".join(f"--{need}" for need in kind.needs) if kind.needs else ""
        print(f"{name}{needs}\t{(kind.__doc__ or '').splitlines()[0]}")


def _about(name: str) -> None:
    from inspect import cleandoc

    from genner.errors import UnknownNameError
    from genner.probes import PROBES, options_of

    if name not in PROBES:
        raise UnknownNameError("probe", name, [*PROBES, "list"])
    print(cleandoc(PROBES[name].__doc__ or ""))
    for key, default in options_of(name).items():
        print(f"\n--option {key}=...; default: {json.dumps(default, ensure_ascii=False)}")


def _options(given: "list[str] | tuple[()]") -> dict[str, Any]:
    """KEY=VALUE; the value is parsed as JSON if possible, else kept as a string."""
    made: dict[str, Any] = {}
    for item in given:
        key, sign, value = item.partition("=")
        if not sign or not key:
            raise UsageError(f"--option {item!r}; legal: KEY=VALUE, as shuffled=false")
        try:
            made[key] = json.loads(value)
        except ValueError:
            made[key] = value
    return made


def _labels_in(documents: "list[Document]") -> "LabelSet":
    from genner.labels import as_label_set

    return as_label_set(sorted({e.label for d in documents for e in d.entities}) or None)


def _write(probed: "Probed", out: Path, settings: dict[str, Any], inputs: list[Path], force: bool) -> None:
    from genner.data import write_atomic
    from genner.data.base import ReadLog
    from genner.data.jsonl import Jsonl

    readings, files = {}, {out: probed.documents}
    for name, documents in probed.readings.items():
        path = out if documents == probed.documents else out.with_suffix(f".{name}.jsonl")
        readings[name] = path.name
        files[path] = documents
        may_write({f"OUT.{name}.jsonl": path}, inputs, force)
    for path, documents in files.items():
        Jsonl().write(documents, path, ReadLog())
    write_atomic(out.with_suffix(".labels.json"), probed.labels.to_file())
    about = {**settings, "back": dict(probed.back), "report": dict(probed.report), "readings": readings}
    write_atomic(out.with_suffix(".probe.json"), json.dumps(about, ensure_ascii=False, indent=1) + "\n")
    tell(f"{len(probed.documents)} documents in {out}")
