"""Scores and probes: a model's answers for the test documents of a cell, and their metrics.

An interrupted cell resumes after the last whole line of its answers.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from genner.assess.cell_context import CellContext, CellFindings, require_model
from genner.assess.corpora import documents_of, drawn, must_be_there, path_of, syntax_of
from genner.assess.environment import stored_parameters
from genner.assess.records import Json, PredictionRecord
from genner.assess.scoring import GRAMMAR, held, metrics, paper, said, strict, strict_of
from genner.data.catalog import named_label_set
from genner.document import Document, LabelSet, Prediction
from genner.errors import DataError
from genner.few_shot.verification import denied
from genner.formats import get_format
from genner.pending import ChunkContext

if TYPE_CHECKING:
    from genner.engines.base import Answered, Generation, Request
    from genner.extract import Extractor
    from genner.probes import Probe


def run_score(work: CellContext) -> CellFindings:
    documents, labels = test_documents(work)
    lines = _answers(work, documents, labels)
    return _counted(work, lines, {})


def run_probe(work: CellContext) -> CellFindings:
    documents, labels = test_documents(work)
    probe = make_probe(work, labels)
    probed = probe.apply(documents, labels)
    lines = _answers(work, probed.documents, probed.labels)
    settings = {"probe": work.about["probe"], "probe_seed": str(work.about["seed"])}
    outcome = _counted(work, lines, settings)
    found = {
        **outcome.metrics,
        "labels": {probed.back.get(tag, tag): score for tag, score in outcome.metrics["labels"].items()},
        "measures": probe.measure(probed, [line.prediction() for line in lines]),
        "report": dict(probed.report),
    }
    return replace(outcome, metrics=found)


def test_documents(work: CellContext) -> tuple[list[Document], LabelSet]:
    """The documents of a cell, and the requested labels.

    Raises `DataError` when the file has no document or no entity, so that nothing can be right.
    """
    about = work.about
    must_be_there(about["corpus"], [about["file"]], work.data)
    labels = named_label_set(about["labels"], work.data)
    documents = documents_of(about["file"], work.data, labels, about.get("from"))
    if not any(d.entities for d in documents):
        raise DataError(
            str(path_of(about["file"], work.data)),
            f"has no entity in {len(documents)} documents: nothing can be scored; see to the file, and to its from",
        )
    return drawn(documents, about["sentences"]), labels


def make_probe(work: CellContext, labels: LabelSet) -> "Probe":
    from genner.probes import Lexicon, make

    about = work.about
    train, lexicon, syntax = about.get("train"), about.get("lexicon"), about.get("from")
    must_be_there(about["corpus"], [*(train or ()), *([lexicon] if lexicon else ())], work.data)
    return make(
        about["probe"],
        about["seed"],
        train=[d for file in train for d in documents_of(file, work.data, labels, syntax)] if train else None,
        lexicon=Lexicon.from_file(path_of(lexicon, work.data), syntax_of(lexicon, syntax)) if lexicon else None,
        **about["options"],
    )


def _answers(work: CellContext, documents: Sequence[Document], labels: LabelSet) -> list[PredictionRecord]:
    """The model's answers for the documents; answers of an interrupted run are reused."""
    run = work.run
    done, todo = kept_answers(work, documents)
    done = [_with_strict(work, line, labels) for line in done]
    if not todo:
        return done
    work.tell(len(done), len(documents), "documents")
    ner = extractor(work, labels)
    heard: dict[int, list[Answered]] = {}

    def listen(request: "Request", generation: "Generation") -> None:
        heard.setdefault(id(request.context.document), []).append((request, generation))

    with run.appending() as append:
        for document, prediction in zip(todo, ner.pipe(todo, on_generation=listen), strict=True):
            line = answered(document, prediction, heard.pop(id(document), []), ner, labels)
            append(line)
            done.append(line)
            work.tell(len(done), len(documents), "documents")
    for note in ner.few_shot.notes() if ner.few_shot else ():
        print(note, flush=True)  # into the cell's log
    return done


def kept_answers(work: CellContext, documents: Sequence[Document]) -> tuple[list[PredictionRecord], list[Document]]:
    """The answers of an interrupted run, and the documents that are still to be answered, as answers record them.

    Answers for other data under the same name are deleted.
    """
    gold = [Document(d.text, d.entities, d.id, group=d.group) for d in documents]
    done = list(work.run.predictions())
    if [line.document() for line in done] != gold[: len(done)]:
        work.run.clear_predictions()
        done = []
    return done, gold[len(done) :]


def _with_strict(work: CellContext, line: PredictionRecord, labels: LabelSet) -> PredictionRecord:
    """A record with its strict counts, which records of earlier versions lack."""
    if line.strict is not None:
        return line
    return replace(line, strict=strict_of(line, get_format(work.about["format"]), labels, work.about["decoding"]))


def answered(
    document: Document,
    prediction: Prediction,
    heard: Sequence["Answered"],
    ner: "Extractor",
    labels: LabelSet,
) -> PredictionRecord:
    """The record of a document, from its predicted entities and the engine's raw answers."""
    # Not the questions about entities, which are no answers in the format.
    answers = [(r.context.chunk, g) for r, g in heard if isinstance(r.context, ChunkContext)]
    raw = tuple(generation.text for _, generation in answers)
    chunks = tuple((chunk.start, chunk.end) for chunk, _ in answers)
    prompt_tokens, answer_tokens = token_counts(heard, ner)
    # What the raw answers say is not what the system says, if it asked about it once more, or label by label.
    literal = ner.verification is None and ner.prompt_per_label in (None, ner.form.prompt_per_label)
    legal = (ner.constrained and held(prediction)) or not literal
    return PredictionRecord(
        id=document.id,
        text=document.text,
        gold=document.entities,
        entities=prediction.entities,
        raw=raw,
        problems=prediction.problems,
        tokens=sum(generation.computed for _, generation in heard),
        passes=sum(generation.passes for _, generation in heard),
        chunks=chunks,
        paper=paper(ner.form, labels, document, chunks, raw) if literal else None,
        strict=strict(document, prediction) if legal else said(ner.form, labels, document, chunks, raw),
        group=document.group,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        refuted=prediction.refuted,
        unverified=prediction.unverified,
        denied=denied(heard) if ner.verification else None,
    )


def token_counts(heard: Sequence["Answered"], ner: "Extractor") -> tuple[int, int]:
    """The tokens of all prompts and of all answers, as the server counted them, or else the engine."""
    prompts = answers = 0
    for request, generation in heard:
        usage = generation.usage
        prompts += usage.prompt_tokens if usage else ner.engine.measure(request.instruction, request.text)
        answers += usage.completion_tokens if usage else len(generation.ends)
    return prompts, answers


def extractor(work: CellContext, labels: LabelSet) -> "Extractor":
    """The extractor of a cell: whole label set, each document as one text, decoding as in the description."""
    about = work.about
    if "system" in about:
        return _system(work, labels).replace(prompt_full_label_set=False, split=False)
    require_model(about["model"])
    if about["decoding"] == "sampled":
        ner = _sampling(work, labels)
    else:
        from genner.loading import load

        constrained = about["decoding"] == GRAMMAR
        # All entities, whatever their score: a study compares answers without a threshold.
        ner = load(
            work.model, labels, format=about["format"], constrained=constrained, min_score=0.0, device=work.device
        )
    return ner.replace(prompt_full_label_set=False, split=False)


def _system(work: CellContext, labels: LabelSet) -> "Extractor":
    """The extractor of a `[[system]]`."""
    from genner.engines import engine_class
    from genner.few_shot import FewShot
    from genner.loading import load

    about, system = work.about, work.about["system"]
    if engine_class(system["engine"]).capabilities.weights:
        require_model(about["model"])
    few_shot = None
    if system["shots"]:
        few_shot = FewShot(
            _demonstrated(work, labels),
            shots=system["shots"],
            retrieval=system["retrieval"],
            encoder=_encoder(work) or None,
            limit=system["limit"] or None,
            search=system["search"],
            seed=about["seed"],
        )
    return load(
        about["model"],
        labels,
        format=about["format"],
        # Under the grammar as far as the engine can.
        constrained=None if about["decoding"] == GRAMMAR else False,
        min_score=0.0,
        device=work.device,
        engine=system["engine"],
        engine_options=system["options"],
        demonstrations=few_shot,
        verify=system["verify"],
        prompt_per_label=system["label_by_label"],
        wording=system["wording"],
    )


def _demonstrated(work: CellContext, labels: LabelSet) -> list[Document]:
    """The documents that demonstrations come from."""
    about = work.about
    must_be_there(about["corpus"], about["train"], work.data)
    return [d for file in about["train"] for d in documents_of(file, work.data, labels, about.get("from"))]


def _encoder(work: CellContext) -> str:
    """What `find_encoder` takes: where the encoder is, or what the study names; empty without one."""
    if place := work.run.cell.places.get("encoder"):
        return place
    named: str = work.about["system"]["encoder"]  # in cells of earlier versions
    return str(work.data / named) if named and (work.data / named).is_dir() else named


def _sampling(work: CellContext, labels: LabelSet) -> "Extractor":
    from genner.engines.hf_generate import FreeEngine, Sampling
    from genner.engines.transformers_engine import device_of
    from genner.extract import Extractor
    from genner.model_source import ModelSource

    source = ModelSource.resolve(work.model)
    engine = FreeEngine.load(
        source.weights, source.adapter, device=device_of(work.device), sampling=Sampling(), seed=work.about["seed"]
    )
    return Extractor(engine, get_format(work.about["format"]), labels, constrained=False)


def _counted(work: CellContext, lines: Sequence[PredictionRecord], settings: Json) -> CellFindings:
    from genner.engines import signed_options
    from genner.few_shot.demonstrations import DemonstrationPool
    from genner.few_shot.encoders import identity_of
    from genner.model_source import ModelSource, called_in_signatures

    about = work.about
    source = ModelSource.find(work.model)
    settings = {
        "model": called_in_signatures(source.base if source and source.adapter else about["model"]),
        "adapter": source.digest if source else "none",
        "format": about["format"],
        "decoding": about["decoding"],
        "labels": about["labels"],
        **({"trained": about["trained"]} if about["trained"] else {}),
        **settings,
    }
    if about["decoding"] == "sampled":
        from genner.engines.hf_generate import Sampling

        settings |= {"sampling": str(Sampling()), "sampling_seed": str(about["seed"])}
    if system := about.get("system"):
        told = system | {"options": signed_options(system["engine"], system["options"])}
        if system["encoder"]:
            told["encoder"] = identity_of(_encoder(work))
        if system["shots"]:
            documents = _demonstrated(work, named_label_set(about["labels"], work.data))
            told["demonstrations"] = DemonstrationPool.read(documents, system["limit"] or None).digest
        settings |= {name: str(value) for name, value in told.items() if value not in ("", None, {})}
    found, signature = metrics(lines, {name: value.replace("|", "_") for name, value in settings.items()})
    form = get_format(about["format"])
    lost = sum(len(form.encodable_part(line.document())[1]) for line in lines)
    found["unencodable"] = {"not in this format": lost} if lost else {}
    if source and source.kind not in ("server", "hub") and (parameters := stored_parameters(source.weights)):
        found["parameters"] = parameters
    return CellFindings(found, signature, sum(line.tokens for line in lines), sum(line.passes for line in lines))
