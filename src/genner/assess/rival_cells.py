"""Rivals in a study: fitting an encoder on a corpus, and its predictions for the test documents of a cell.

Predictions are scored by the code that scores a model's answers.
"""

import json
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from genner.assess.answer_cells import kept_answers, test_documents
from genner.assess.cell_context import CellContext, CellFindings
from genner.assess.corpora import MissingError, documents_of, drawn, must_be_there
from genner.assess.records import Json, PredictionRecord
from genner.assess.scoring import metrics, strict
from genner.data.base import ReadLog
from genner.data.catalog import named_label_set
from genner.document import Document, Entity, LabelSet, Prediction, Problem
from genner.errors import DataError, ModelError, UsageError
from genner.model_store import is_hub_id

if TYPE_CHECKING:
    from genner.rivals.base import Rival

TOLD_EVERY = 1.0
"""Seconds between two records of progress."""


def run_fitting(work: CellContext) -> CellFindings:
    """Train a rival. A rival that an earlier run of the cell finished is not trained again."""
    from genner.rivals import rival
    from genner.rivals.fitting import METRICS, FitOptions
    from genner.rivals.manifest import RIVAL_MANIFEST
    from genner.toml_config import build

    about, folder = work.about, work.run.folder
    encoder = work.run.cell.places["encoder"]
    require_encoder(encoder)
    _fetch(encoder)
    labels = named_label_set(about["labels"], work.data)
    train, dev = _training_documents(work, labels)
    made = rival(about["rival"], encoder, **about["hyperparameters"]).to(work.device)
    told = [-TOLD_EVERY]

    def on_step(done: int, total: int) -> None:
        if monotonic() - told[0] >= TOLD_EVERY:
            work.tell(done, total, "steps")
            told[0] = monotonic()

    made.on_step = on_step
    if not (folder / RIVAL_MANIFEST).exists():  # written last
        options = build(FitOptions, about["fit"] | {"seed": about["seed"]}, "fit")
        made.fit(train, dev, labels, folder=folder, options=options, quiet=True)
    report: Json = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    if report["unseen"]:
        print(f"labels without an entity in the training data: {', '.join(report['unseen'])}", flush=True)
    evaluations = [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    found = report | {"loss": evaluations[-1]["loss"] if evaluations else None, "documents": len(train)}
    signature = f"fit|rival:{about['rival']}|encoder:{about['encoder']}|cell:{work.run.cell.id}|seed:{about['seed']}"
    return CellFindings(found, f"{signature}|steps:{report['steps']}", 0, report["steps"])


def _fetch(encoder: str) -> None:
    """Load encoders of the hub once, so that those that cannot be had are told as missing. Raises `MissingError`."""
    from genner.transformer_encoder import load_transformer

    for named in encoder.split(","):
        if not Path(named).is_dir():
            try:
                load_transformer(named)
            except ModelError as error:
                raise MissingError(f"{error}; fetch it where there is a network, or give the folder of one") from error


def require_encoder(encoder: str) -> None:
    """Raise `MissingError`, which says what to give, for an encoder that is no folder and no name on the hub."""
    for named in encoder.split(","):
        if not Path(named).is_dir() and (not is_hub_id(named) or Path(named).is_absolute()):
            raise MissingError(
                f"encoder {named!r} is not there; in the study: encoder = 'FOLDER', a folder of transformers (below "
                "--data if it is relative), or encoder = 'OWNER/NAME', a name on the Hugging Face hub"
            )


def _training_documents(work: CellContext, labels: LabelSet) -> tuple[list[Document], list[Document]]:
    """Training and dev documents of a fitting. Raises `DataError` where there is nothing to learn."""
    from genner.training.sampling import selected

    about = work.about
    files, dev = about["train"], about["dev"]
    must_be_there(about["corpus"], [*files, *([dev] if dev else [])], work.data)
    log = ReadLog(lenient=about["lenient"])
    every = [d for file in files for d in documents_of(file, work.data, labels, about.get("from"), log)]
    train = selected(every, about["fraction"], about["shots"], about["seed"], about["corpus"])
    if not any(d.entities for d in train):
        raise DataError(
            ", ".join(files), f"has no entity in {len(train)} training documents: there is nothing to learn"
        )
    held_out = documents_of(dev, work.data, labels, about.get("from"), log) if dev else []
    for line in log.lines():
        print(line, flush=True)  # into the cell's log
    return train, drawn(held_out, about["dev_sentences"])


def run_rival_score(work: CellContext) -> CellFindings:
    """Predict and score the test documents."""
    documents, labels = test_documents(work)
    made = _tool(work, labels) if "tool" in work.about else _trained(work)
    _check_labels(made.labels, labels, work.about["labels"])
    done, todo = kept_answers(work, documents)
    work.tell(len(done), len(documents), "documents")
    asked = [Document(d.text, (), d.id, group=d.group) for d in todo]  # without the gold entities
    with work.run.appending() as append:
        for document, prediction in zip(todo, made.predict(asked), strict=True):
            line = _record(document, prediction, labels)
            append(line)
            done.append(line)
            work.tell(len(done), len(documents), "documents")
    lost: Counter[str] = Counter()
    for document in documents:
        lost.update(made.unencodable(document))
    about = work.about
    settings = made.signature | {"labels": about["labels"]}
    settings |= {key: about[key] for key in ("folder", "trained") if about.get(key)}
    found, signature = metrics(done, {name: value.replace("|", "_") for name, value in settings.items()})
    found |= {"unencodable": dict(lost), "unknown_labels": [tag for tag in labels.tags if tag not in made.labels]}
    if parameters := getattr(made, "parameters", None):
        found["parameters"] = parameters
    return CellFindings(found, signature, 0, 0)


def _tool(work: CellContext, labels: LabelSet) -> "Rival":
    """The tool of a cell, with what does not lie where it lay when the study was read."""
    from genner.rivals import rival

    options: Json = work.about["tool"] | work.run.cell.places
    return rival(work.about["rival"], labels=labels, **options)


def _trained(work: CellContext) -> "Rival":
    """The trained rival of a cell, on the cell's device."""
    from genner.rivals import load_rival
    from genner.rivals.base import EncoderRival
    from genner.rivals.manifest import RIVAL_MANIFEST

    trained = work.about["trained"]
    folder = work.runs.run(trained).folder if trained else Path(work.run.cell.places["folder"])
    if not (folder / RIVAL_MANIFEST).is_file():
        raise MissingError(
            f"there is no trained rival in {folder}; train one with: genner rival fit RIVAL TRAIN --encoder ENCODER "
            f"--out {folder}"
        )
    made = load_rival(folder)
    return made.to(work.device) if isinstance(made, EncoderRival) else made


def _check_labels(known: LabelSet, wanted: LabelSet, name: str) -> None:
    if not any(tag in known for tag in wanted.tags):
        raise UsageError(
            f"this rival predicts {', '.join(known.tags)}, and none of these labels is in the label set {name!r} "
            f"({', '.join(wanted.tags)}); name the system's 'corpora', or the 'labels' that it was trained on"
        )


def _record(document: Document, prediction: Prediction, labels: LabelSet) -> PredictionRecord:
    """The record of a document; predicted entities with a label that is not asked for are dropped, and counted."""
    kept: list[Entity] = []
    problems = list(prediction.problems)
    for entity in prediction.entities:
        if entity.label in labels:
            kept.append(entity)
        else:
            problems.append(Problem("dropped", f"label {entity.label!r} is not in the label set"))
    found = Prediction(document.text, tuple(kept), document.id, tuple(problems), group=document.group)
    return PredictionRecord(
        id=document.id,
        text=document.text,
        gold=document.entities,
        entities=found.entities,
        problems=found.problems,
        strict=strict(document, found),
        group=document.group,
    )
