"""What `genner extract` writes and says while it reads texts: predictions, counts, and how to go on after a stop."""

import shlex
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from genner.cli.signals import Interrupted
from genner.document import DROPPED_KINDS, Document, Prediction

if TYPE_CHECKING:
    from genner.cli.progress import ExtractionProgress
    from genner.data import JsonlWriter
    from genner.extract import Extractor

PAGE_LIMIT = 500  # documents on an HTML page: more than anybody reads, few enough for a browser


def less_than_exact(ner: "Extractor", free: bool) -> str:
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
        f"{ner.engine.name!r} decodes {how}{scores}: answers that are not legal are repaired, and repairs are "
        f"counted{more}"
    )


def _counted(
    ner: "Extractor", predictions: Iterable[Prediction], notes: list[str]
) -> Generator[Prediction, None, None]:
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
            f"says were looked up, {sum(problems[kind] for kind in DROPPED_KINDS)} dropped{_reasons(problems)}"
        )
    elif overlapping := problems["overlap"]:
        notes.append(
            f"{overlapping} {'entity' if overlapping == 1 else 'entities'} left out: they overlap surer ones of "
            "other labels, and these labels nest less deeply (problems: overlap)"
        )


def _reasons(problems: Counter[str]) -> str:
    """Why mentions were dropped, in brackets; empty if none was."""
    why = {
        "dropped": "not in the text, or of no label asked for",
        "malformed": "not written as entities",
        "unplaced": "without a certain place",
        "overlap": "overlapping surer ones",
    }
    said = [f"{problems[kind]} {why[kind]}" for kind in DROPPED_KINDS if problems[kind]]
    return f" ({'; '.join(said)})" if said else ""


def _threshold(ner: "Extractor", left_out: int) -> str:
    """What was left out by its score, and by which threshold; empty if everything was requested."""
    if ner.min_score is None and ner.threshold() is None:
        if not ner.engine.capabilities.logprobs:
            return "no threshold: this engine gives no scores; all entities are kept"
        why = "this model has no calibration that brings one"
        if not ner.calibration.is_identity:
            why = "the model's calibration has none for this format, these labels, prompts and decoding"
        return f"no threshold: {why}; all entities are kept, whatever their score"
    entities = f"{left_out} {'entity' if left_out == 1 else 'entities'} left out, with a score below"
    if ner.min_score is None:
        return f"{entities} {ner.least():.2f}, the calibration's threshold for these labels; --min-score 0 keeps all"
    return f"{entities} --min-score {ner.min_score:g}" if ner.min_score else ""


def run_settings(ner: "Extractor", model: str) -> dict[str, Any]:
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


def write(
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
            with closing(_counted(remembering, progress.over(remembering, todo(), batch_size), notes)) as predictions:
                for prediction in predictions:
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


def show(
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
    with closing(_counted(ner, progress.over(ner, documents, batch_size), notes)) as predictions:
        for prediction in predictions:
            if to_page:
                shown += [prediction] if len(shown) <= PAGE_LIMIT else []
            elif sys.stdout.isatty():
                from rich.console import Console

                print_prediction(prediction, Console(), labels=ner.labels.tags)
            else:
                print(json_text(prediction.to_dict()), flush=True)
    return shown
