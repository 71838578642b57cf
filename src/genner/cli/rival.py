"""`genner rival`: encoders of the literature and tools, run beside the generative model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genner.cli.app import Commands, ForceOption, LabelsFileOption, app, asked_labels, may_write, must_exist, tell
from genner.cli.corpora import CorpusFiles, FromOption, LenientOption
from genner.cli.option_table import option_lines
from genner.errors import UnknownNameError, UsageError
from genner.toml_config import parse_option

if TYPE_CHECKING:
    from genner.document import Document, LabelSet
    from genner.rivals.base import Rival
    from genner.rivals.tools.base import Tool

rival_app = typer.Typer(
    cls=Commands,
    help="Encoders of the literature, and tools, to compare with: train encoders, and let all of them find entities.",
    no_args_is_help=True,
)
app.add_typer(rival_app, name="rival")

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A hyperparameter of the rival or of its training (genner rival list NAME); once for each.",
    ),
]


@rival_app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="A rival or tool: show its options and their defaults.")] = None,
) -> None:
    """List the rivals and the tools, or what can be set of one."""
    from genner.rivals import RIVALS, rival_class
    from genner.rivals.tools import TOOLS, tool_class

    if name is None:
        print("trained here, over any encoder of Hugging Face (genner rival fit):")
        for known in RIVALS:
            print(f"  {known:<14} {rival_class(known).__doc__}")
        print("\ntools, with models that their own packages trained (genner rival predict NAME):")
        for known in TOOLS:
            kind = tool_class(known)
            print(f"  {known:<14} {kind.__doc__}\n  {'':<14} {kind.installed()}")
        return
    if name in TOOLS:
        print(f"{name} ({tool_class(name).installed()}):")
        _show(tool_class(name).options_type())
        return
    trained = rival_class(name)
    for title, options in (("the rival", trained.options_type()), ("its training", trained.fit_options)):
        print(f"{title}:")
        _show(options)


def _show(options: Any) -> None:
    for line in option_lines(options):
        print(f"  {line}")


@rival_app.command()
def fit(
    name: Annotated[str, typer.Argument(help="The rival (genner rival list).")],
    train: Annotated[Path, typer.Argument(help="Training documents, in any file syntax.")],
    encoder: Annotated[
        str, typer.Option(help="The encoder: a folder of transformers, or OWNER/NAME on the Hugging Face hub.")
    ],
    out: Annotated[Path, typer.Option(help="The folder of the trained rival; a stopped run goes on there.")],
    dev: Annotated[
        Path | None,
        typer.Option(help="Development documents, by which the best state is chosen; else the last is kept."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Tags (PER,ORG) or a shipped label set; else those of the training documents.")
    ] = None,
    labels_file: LabelsFileOption = None,
    setting: SetOption = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after so long; the schedule fits it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and dropout.")] = None,
    from_: FromOption = None,
    lenient: LenientOption = False,
    force: ForceOption = False,
) -> None:
    """Train a rival over an encoder.

    Says how many gold entities of the training data the rival cannot express.
    """
    from genner.rivals import rival
    from genner.rivals.fitting import CHECKPOINT
    from genner.rivals.manifest import RIVAL_MANIFEST

    asked = asked_labels(labels, labels_file)
    must_exist(train, *([dev] if dev else []))
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {str(out)!r} is no folder; give a new folder, or that of a stopped run")
    if (out / RIVAL_MANIFEST).exists() and not force:
        raise UsageError(
            f"{str(out)!r} holds a trained rival already; choose another --out, or replace it with --force"
        )
    corpora = CorpusFiles(from_, ["train", "dev"], lenient=lenient)
    corpora.check(train=train, dev=dev)
    own, options = _settings(name, setting or ())
    changed: dict[str, Any] = {"max_minutes": max_minutes} if max_minutes is not None else {}
    changed |= {"seed": seed} if seed is not None else {}
    options = replace(options, **changed)
    documents = corpora.read("train", train)
    held_out = corpora.read("dev", dev) if dev else []
    wanted = asked or _labels_of(documents, train)
    try:
        report = rival(name, encoder, **own).fit(documents, held_out, wanted, folder=out, options=options)
    except KeyboardInterrupt:
        if (out / CHECKPOINT).exists():
            tell(f"stopped; the same command goes on from {out / CHECKPOINT}")
        raise
    said = f", dev F1 {100 * report.dev_f1:.1f}" if report.dev_f1 is not None else ""
    tell(f"{name}: {report.steps} steps in {report.seconds / 60:.1f} minutes{said}; saved in {out}")
    if options.max_minutes is not None and report.seconds >= 60 * options.max_minutes:
        tell(f"the time of {options.max_minutes:g} minutes ended the training, before {options.epochs} epochs")
    _tell_lost(report.unencodable, report.entities, "training")
    if report.unseen:
        tell(f"labels without an entity in the training data: {', '.join(report.unseen)}")


@rival_app.command()
def predict(
    rival: Annotated[
        str, typer.Argument(help="The folder of a trained rival; or a tool: its name, with --labels and --model.")
    ],
    texts: Annotated[
        Path, typer.Argument(help="Texts or documents, in any file syntax; their entities are not shown to the rival.")
    ],
    out: Annotated[Path, typer.Option(help="The predictions, as JSON Lines.")],
    model: Annotated[
        str | None, typer.Option(help="The model of a tool: a folder, a file, or a name that the tool knows.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Of a tool: tags (PER,ORG) or a shipped label set.")] = None,
    labels_file: LabelsFileOption = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of a tool (genner rival list NAME); once for each."),
    ] = None,
    from_: FromOption = None,
    lenient: LenientOption = False,
    force: ForceOption = False,
) -> None:
    """Let a trained rival or a tool find entities.

    Says how many gold entities of the documents it cannot express, and what was wrong with its answers.
    """
    from genner.data import JsonlWriter
    from genner.rivals import load_rival
    from genner.rivals.tools import TOOLS

    asked = asked_labels(labels, labels_file)
    if rival in TOOLS:
        found: Rival = _tool(rival, model, asked, setting or ())
    else:
        if model is not None or asked is not None or setting:
            raise UsageError(
                f"--model, --labels, --labels-file and --set are of a tool ({', '.join(TOOLS)}); the rival in a folder "
                "has its own"
            )
        must_exist(Path(rival))
        found = load_rival(rival)
    must_exist(texts)
    may_write({"--out": out}, [texts], force=force)
    corpora = CorpusFiles(from_, ["texts"], lenient=lenient)
    corpora.check(texts=texts)
    documents = corpora.read("texts", texts)
    problems: dict[str, list[str]] = {}
    lost: Counter[str] = Counter()
    entities = 0
    with JsonlWriter(out, force=force) as writer:
        for document, prediction in zip(documents, found.predict(documents), strict=True):
            for problem in prediction.problems:
                problems.setdefault(problem.kind, []).append(problem.detail)
            if document.entities:
                lost += found.unencodable(document)
            entities += len(prediction.entities)
            writer.write(prediction)
    tell(f"{len(documents)} documents with {entities} entities in {out}")
    _tell_lost(lost, sum(len(d.entities) for d in documents), "gold")
    for kind, details in problems.items():
        tell(f"problems of the kind {kind!r}: {len(details)}, the first: {details[0]}")


def _tool(name: str, model: str | None, labels: "LabelSet | None", settings: Sequence[str]) -> "Tool":
    from genner.rivals.tools import tool

    if labels is None:
        raise UsageError(f"{name} needs to know what to find; give --labels PER,ORG or --labels-file FILE")
    options = {} if model is None else {"model": model}
    for key, value in (parse_option(option, "--set") for option in settings):
        if key in options:
            raise UsageError(f"--set {key} is given twice; give it once")
        options[key] = value
    return tool(name, labels, **options)


def _tell_lost(lost: Counter[str], entities: int, which: str) -> None:
    for reason, number in lost.most_common():
        tell(f"{number} of {entities} {which} entities cannot be expressed: {reason}")


def _settings(name: str, given: Sequence[str]) -> tuple[dict[str, Any], Any]:
    """The rival's own hyperparameters and the options of its training, from `--set`."""
    from genner.rivals import rival_class
    from genner.rivals.fitting import FitOptions
    from genner.toml_config import build

    kind = rival_class(name)
    own_names = [f.name for f in fields(kind.options_type)]
    fit_names = [f.name for f in fields(FitOptions)]
    own: dict[str, Any] = {}
    fit_values: dict[str, Any] = {}
    for key, value in (parse_option(option, "--set", lists=True) for option in given):
        if key not in own_names + fit_names:
            raise UnknownNameError(f"setting of {name}", key, own_names + fit_names)
        if key in own or key in fit_values:
            raise UsageError(f"--set {key} is given twice; give it once")
        (own if key in own_names else fit_values)[key] = value
    return own, build(FitOptions, asdict(kind.fit_options) | fit_values, "fit")


def _labels_of(documents: "Sequence[Document]", path: Path) -> "LabelSet":
    from genner.document import LabelSet

    tags = sorted({e.label for d in documents for e in d.entities})
    if not tags:
        raise UsageError(f"{path} has no entity in {len(documents)} documents, so there is nothing to learn")
    return LabelSet.of(*tags)
