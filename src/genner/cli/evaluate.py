"""`genner evaluate` and `genner score-generations`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genner.cli.app import ForceOption, app, may_write, must_exist, tell
from genner.cli.corpora import CorpusFiles, FromOption, LenientOption
from genner.errors import UsageError

if TYPE_CHECKING:
    from genner.document import Document
    from genner.evaluation.confidence import Confidence

CURVES = (".csv", ".png", ".svg", ".pdf")
FORMAT_HELP = "The format of the generations: inline_xml, ..."
RULE_HELP = (
    "For generations, which reading is the score: strict (an answer is what it says; the default), paper (the "
    "published scripts), repaired (misplaced mentions looked up). All three are shown."
)
LABELS_HELP = "For generations: PER,ORG or a shipped set; else those in the answers."
GroupByOption = Annotated[
    str | None,
    typer.Option(
        help="What was sampled, for intervals: document, group, a field of GOLD's records, or id:PATTERN, whose first "
        "group names it; else groups where GOLD tells them."
    ),
]


@app.command()
def evaluate(
    gold: Annotated[Path | None, typer.Argument(help="The true entities, in any file syntax.")] = None,
    pred: Annotated[
        Path | None,
        typer.Argument(
            help="The predictions, in any file syntax: JSON lines as `genner extract` writes them, or others."
        ),
    ] = None,
    other: Annotated[
        Path | None, typer.Argument(metavar="[PRED2]", help="A second system: is the difference more than luck?")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with the errors of PRED here.")] = None,
    pr_curve: Annotated[
        Path | None,
        typer.Option(
            help="For PRED's scores: precision, recall and F1 above each, as .csv, or drawn as .png, .svg, .pdf."
        ),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="The training data, for scores of seen and unseen mentions.")
    ] = None,
    generations: Annotated[
        Path | None,
        typer.Option(
            help="The same as genner score-generations FILE [GOLD]; --format, --rule and --labels are options of that."
        ),
    ] = None,
    format: Annotated[str | None, typer.Option(help=FORMAT_HELP)] = None,
    rule: Annotated[str | None, typer.Option(help=RULE_HELP)] = None,
    labels: Annotated[str | None, typer.Option(help=LABELS_HELP)] = None,
    group_by: GroupByOption = None,
    syntax: FromOption = None,
    lenient: LenientOption = False,
    force: ForceOption = False,
) -> None:
    """Score predictions against gold: strict span micro-F1 with its interval, and other scores beside it.

    With PRED2, the difference of two systems.
    """
    corpora = CorpusFiles(syntax, ("gold", "pred", "pred2", "train"), lenient=lenient)
    if generations:
        must_exist(generations)
    inputs = corpora.check(gold=gold, pred=pred, pred2=other, train=train) + ([generations] if generations else [])
    may_write({"--html": html, "--pr-curve": pr_curve}, inputs, force)
    if pr_curve and pr_curve.suffix.lower() not in CURVES:
        raise UsageError(f"--pr-curve {pr_curve}: the name ends in {pr_curve.suffix!r}; legal: {', '.join(CURVES)}")
    if generations:
        if pred or html or train or pr_curve:
            raise UsageError("--generations goes with GOLD, or nothing; leave out PRED, --html, --pr-curve and --train")
        _generations(generations, format, rule, labels, gold, as_json, group_by, corpora)
        return
    if not (gold and pred):
        raise UsageError(
            "give GOLD and PRED, two files of annotated texts; for answers of other tools: genner "
            "score-generations FILE --format FORMAT"
        )
    if format or rule or labels:
        raise UsageError(
            "--format, --rule and --labels say how to read generations: genner score-generations FILE (or "
            "--generations FILE); leave them out here"
        )
    _documents(gold, pred, other, html, pr_curve, train, as_json, group_by, corpora)


@app.command("score-generations")
def score_generations(
    generations: Annotated[Path, typer.Argument(metavar="FILE", help="LLaMA-Factory's generated_predictions.jsonl.")],
    gold: Annotated[
        Path | None, typer.Argument(help="The true entities, in any file syntax; else the records' labels and prompts.")
    ] = None,
    format: Annotated[str | None, typer.Option(help=FORMAT_HELP)] = None,
    rule: Annotated[str | None, typer.Option(help=RULE_HELP)] = None,
    labels: Annotated[str | None, typer.Option(help=LABELS_HELP)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
    group_by: GroupByOption = None,
    syntax: FromOption = None,
    lenient: LenientOption = False,
) -> None:
    """Score the answers that another tool generated, by three readings: strict, paper, repaired."""
    must_exist(generations)
    corpora = CorpusFiles(syntax, ("gold",), lenient=lenient)
    corpora.check(gold=gold)
    _generations(generations, format, rule, labels, gold, as_json, group_by, corpora)


def _documents(
    gold: Path,
    pred: Path,
    other: Path | None,
    html: Path | None,
    pr_curve: Path | None,
    train: Path | None,
    as_json: bool,
    group_by: str | None,
    corpora: CorpusFiles,
) -> None:
    from genner.evaluation import analyse, compare
    from genner.evaluation import evaluate as score

    documents, found = corpora.read("gold", gold), corpora.read("pred", pred)
    seen = corpora.read("train", train) if train else None
    second = corpora.read("pred2", other) if other else []
    corpora.tell()
    _scorable(gold, documents, [*found, *second])
    if train and not seen:
        raise UsageError(f"{train} has no document: no mention is seen in it; give the training data, or leave it out")
    analysis = analyse(documents, found)
    record: dict[str, Any]
    if other:
        comparison = compare(documents, found, second, train=seen, group_by=group_by)
        report, record = comparison.first, comparison.to_dict()
        text = "\n".join(
            [
                str(pred),
                "",
                comparison.first.table(),
                "",
                str(other),
                "",
                comparison.second.table(),
                "",
                comparison.table(),
            ]
        )
    else:
        report = score(documents, found, train=seen, group_by=group_by)
        record = report.to_dict() | {"errors": analysis.to_dict()}
        text = f"{report.table()}\n\n{analysis.table()}"
    if pr_curve:
        from genner.document import Prediction
        from genner.evaluation.confidence import Confidence

        confidence = Confidence.of(documents, found)
        counts = [d.extra.get("below_min_score") for d in found]
        if left_out := sum(number for number in counts if isinstance(number, int)):
            tell(f"{left_out} entities are not in {pred}, since they scored too little: extract with --min-score 0")
        if marked := sum(isinstance(d, Prediction) and d.uncalibrated_scores for d in found):
            tell(f"{marked} documents of {pred} have uncalibrated scores: they are no probabilities")
        record["scores"] = confidence.to_dict()
        text += f"\n\n{confidence.table()}"
        _curve(confidence, pr_curve, f"{pred.name} on {gold.name}: {_number(documents)}")
    if html:
        from genner.data import write_atomic
        from genner.evaluation.taxonomy import ERROR_KINDS
        from genner.render.errors import error_page

        write_atomic(
            html, error_page(analysis.cases, title=f"Errors of {pred.name}", notes=report.table(), kinds=ERROR_KINDS)
        )
        tell(f"page written to {html}")
    _print(record, text, as_json)


def _scorable(gold: Path, documents: "list[Document]", found: "list[Document]") -> None:
    """Raise `UsageError` if nothing can be right: the gold has no document, or no entity."""
    if not documents:
        raise UsageError(f"{gold} has no document: nothing can be scored; give a file with gold documents")
    if not any(d.entities for d in documents):
        wrong = sum(len(d.entities) for d in found)
        raise UsageError(
            f"{gold} has no entity in {len(documents)} documents: nothing can be scored, of {wrong} predicted entities "
            "0 can be right; see to the file, and to the column or field that --from reads entities from"
        )


def _number(gold: "list[Document]") -> str:
    """Of how much a figure is."""
    return (
        f"n = {len(gold):,} documents, {sum(len(d.entities) for d in gold):,} gold entities; bars with 95 % intervals"
    )


def _curve(confidence: "Confidence", out: Path, title: str) -> None:
    from genner.data import write_atomic

    kind = out.suffix[1:].lower()
    if kind == "csv":
        write_atomic(out, confidence.csv())
    else:
        from genner.evaluation.confidence_plot import picture

        write_atomic(out, picture(confidence, kind, title))
    tell(f"curve written to {out}")


def _generations(
    path: Path,
    format: str | None,
    rule: str | None,
    labels: str | None,
    gold: Path | None,
    as_json: bool,
    group_by: str | None,
    corpora: CorpusFiles,
) -> None:
    from genner.generations import score_generations
    from genner.generations.score import nothing_to_score
    from genner.labels import parse_labels

    if group_by and not gold:
        raise UsageError("--group-by needs GOLD, which tells the groups; the records of generations do not")
    if not format:
        raise UsageError("scoring generations needs --format: the format in which the answers are written")
    documents = corpora.read("gold", gold) if gold else None
    corpora.tell()
    asked = parse_labels(labels) if labels is not None else None
    report = score_generations(path, format, rule or "strict", asked, documents, group_by=group_by)
    if why := nothing_to_score(report, path):
        raise UsageError(why)
    _print(report.to_dict(), report.table(), as_json)


def _print(record: dict[str, Any], text: str, as_json: bool) -> None:
    from genner.render.terminal import json_text

    if as_json:
        print(json_text(record, indent=1))
    else:
        tell(text, sys.stdout)
