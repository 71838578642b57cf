"""Runs each kind of cell: from its description to metrics; the cell's folder keeps what later cells need.

Every kind can be interrupted at any moment and resumes: `train` from its last checkpoint, `score` and `probe` after the
last whole line of their answers, `ability` after the last task (a cell is one task), `contamination` after the last
item of a signal.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genner.assess.corpora import MissingError, documents_of, drawn, must_be_there, path_of, syntax_of
from genner.assess.records import CellFolder, CellKind, CellProgress, Json, PredictionRecord, StudyFolder
from genner.assess.scoring import GRAMMAR, held, metrics, paper, said, strict, strict_of
from genner.data.catalog import catalog, named_label_set
from genner.document import Document, LabelSet, Prediction
from genner.errors import DataError, GennerError, ModelError, UnknownNameError
from genner.extras import naming_parts
from genner.formats import get_format

if TYPE_CHECKING:
    from genner.chunks import Chunk
    from genner.engines.base import Generation, Request
    from genner.extract import Extractor
    from genner.probes import Probe


@dataclass(frozen=True)
class CellFindings:
    """The findings of a cell: the part of its `CellResult` that depends on its kind."""

    metrics: Json
    signature: str
    tokens: int
    passes: int


@dataclass
class CellContext:
    """A running cell: its folder, the data root, the device, and its start time."""

    run: CellFolder
    runs: StudyFolder
    data: Path
    device: str | None
    _begun: float = field(default_factory=time.monotonic)
    _before: float = 0.0

    def __post_init__(self) -> None:
        if earlier := self.run.progress:
            self._before = earlier.seconds

    @property
    def about(self) -> Json:
        return self.run.cell.description

    @property
    def seconds(self) -> float:
        """Time spent on the cell, including interrupted runs."""
        return self._before + time.monotonic() - self._begun

    @property
    def model(self) -> str:
        """The argument for `genner.load`: the folder of the run that trained the model, or the model's name."""
        trained = self.about["trained"]
        return self.about["model"] if trained is None else str(self.runs.run(trained).folder)

    def tell(self, done: int, total: int, unit: str) -> None:
        self.run.report(CellProgress(done, total, unit, round(self.seconds, 1)))


@naming_parts()
def execute(work: CellContext) -> CellFindings:
    """Run a cell.

    Raises `MissingError` when a file or model is missing, `MissingPartError` when a package is missing, and any other
    error of the run.
    """
    return _KINDS[work.run.cell.kind](work)


# -- train


def _train(work: CellContext) -> CellFindings:
    from genner.training import RunOptions, train
    from genner.training.recipe import Recipe

    about, folder = work.about, work.run.folder
    recipe, data = Recipe.from_recorded(about["recipe"]), work.data
    for spec in recipe.sets:
        must_be_there(spec.name, [*spec.train, *([spec.dev] if spec.dev else [])], data)
    for path in (path_of(name, data) for talk in recipe.chat for name in talk.train):
        if not path.is_file():
            raise MissingError(f"there is no {path} of general conversations; docs/mixing.md says where to get some")
    _base(recipe.base)
    if "probe" in about:
        recipe, data = _probed_recipe(work, recipe), folder
    limits = about["limits"]
    options = RunOptions(
        max_minutes=limits["max_minutes"],
        eval_minutes=inf,  # at the end, and every `eval_steps`
        eval_steps=limits["eval_steps"],
        eval_sentences=limits["eval_sentences"],
        resume=True,
        device=work.device,
    )
    progress = train(recipe, data, folder, options, [_Teller(work)])
    if not progress.finished:
        raise KeyboardInterrupt
    losses = progress.losses
    found = {
        "steps": progress.step,
        "tokens": progress.tokens,
        "loss": sum(losses) / len(losses) if losses else None,
        "dev": _dev(folder / "metrics.jsonl"),
        "data": json.loads((folder / "data.json").read_text(encoding="utf-8")),
    }
    signature = f"train|base:{recipe.base}|cell:{work.run.cell.id}|seed:{recipe.seed}|steps:{progress.step}"
    return CellFindings(found, signature, progress.tokens, progress.step * recipe.optim.groups_per_step)


class _Teller:
    """A training tracker that reports the progress of the run."""

    def __init__(self, work: CellContext) -> None:
        self._work, self._total = work, 1

    def begin(self, recipe: dict[str, Any], step: int) -> None:
        self._total = json.loads((self._work.run.folder / "data.json").read_text(encoding="utf-8"))["steps"]
        self.log({}, step)

    def log(self, values: dict[str, float], step: int) -> None:
        self._work.tell(step, self._total, "steps")

    def end(self) -> None:
        pass


def _dev(path: Path) -> Json:
    """The scores of the last evaluation in a run's metrics, without their `dev_`."""
    from genner.training.curve import read_metrics

    scores: Json = {}
    for record in read_metrics(path):
        found = {key.removeprefix("dev_"): value for key, value in record.items() if key.startswith("dev_")}
        scores = found or scores
    return scores


def _probed_recipe(work: CellContext, recipe: Any) -> Any:
    """The recipe with a probed first corpus (train and dev), whose files are written below the cell's folder."""
    from genner.data import write_atomic

    spec, *others = recipe.sets
    labels = named_label_set(spec.labels, work.data)
    probe = _probe(work, labels)
    folder = work.run.folder / "probed"
    folder.mkdir(exist_ok=True)
    written = {}
    for name, files in (("train", spec.train), ("dev", (spec.dev,) if spec.dev else ())):
        documents = [d for file in files for d in documents_of(file, work.data, labels, spec.from_)]
        probed = probe.apply(documents, labels)
        lines = [json.dumps(d.to_dict(), ensure_ascii=False) + "\n" for d in probed.documents]
        write_atomic(folder / f"{name}.jsonl", "".join(lines))
        written[name] = probed.labels
    write_atomic(folder / "labels.json", written["train"].to_file())
    spec = replace(
        spec,
        train=("probed/train.jsonl",),
        dev="probed/dev.jsonl" if spec.dev else None,
        labels="probed/labels.json",
        from_=None,
    )
    root = work.data.resolve()
    rest = [
        replace(
            other, train=tuple(str(root / f) for f in other.train), dev=str(root / other.dev) if other.dev else None
        )
        for other in others
    ]
    talks = [replace(talk, train=tuple(str(root / f) for f in talk.train)) for talk in recipe.chat]
    return replace(recipe, sets=(spec, *rest), chat=tuple(talks))


# -- score and probe


def _score(work: CellContext) -> CellFindings:
    documents, labels = _test(work)
    lines = _answers(work, documents, labels)
    return _counted(work, lines, {})


def _probing(work: CellContext) -> CellFindings:
    documents, labels = _test(work)
    probe = _probe(work, labels)
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


def _test(work: CellContext) -> tuple[list[Document], LabelSet]:
    """The documents of a cell, and the requested labels."""
    about = work.about
    must_be_there(about["corpus"], [about["file"]], work.data)
    labels = named_label_set(about["labels"], work.data)
    return drawn(documents_of(about["file"], work.data, labels, about.get("from")), about["sentences"]), labels


def _probe(work: CellContext, labels: LabelSet) -> "Probe":
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
    gold = [Document(d.text, d.entities, d.id, group=d.group) for d in documents]
    done = [_with_strict(work, line, labels) for line in run.predictions()]
    if [line.document() for line in done] != gold[: len(done)]:
        run.clear_predictions()  # the answers are for other data under the same name
        done = []
    todo = gold[len(done) :]
    if not todo:
        return done
    work.tell(len(done), len(documents), "documents")
    ner = extractor(work, labels)
    heard: dict[int, list[tuple[Chunk, Generation]]] = {}

    def listen(request: "Request", generation: "Generation") -> None:
        heard.setdefault(id(request.context.document), []).append((request.context.chunk, generation))

    with run.appending() as append:
        for document, prediction in zip(todo, ner.pipe(todo, on_generation=listen), strict=True):
            line = answered(document, prediction, heard.pop(id(document), []), ner, labels)
            append(line)
            done.append(line)
            work.tell(len(done), len(documents), "documents")
    return done


def _with_strict(work: CellContext, line: PredictionRecord, labels: LabelSet) -> PredictionRecord:
    """A record with its strict counts, which records of earlier versions lack."""
    if line.strict is not None:
        return line
    return replace(line, strict=strict_of(line, get_format(work.about["format"]), labels, work.about["decoding"]))


def answered(
    document: Document,
    prediction: Prediction,
    heard: Sequence[tuple["Chunk", "Generation"]],
    ner: "Extractor",
    labels: LabelSet,
) -> PredictionRecord:
    """The record of a document, from its predicted entities and the engine's raw answers."""
    raw = tuple(generation.text for _, generation in heard)
    chunks = tuple((chunk.start, chunk.end) for chunk, _ in heard)
    legal = ner.constrained and held(prediction)
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
        paper=paper(ner.form, labels, document, chunks, raw),
        strict=strict(document, prediction) if legal else said(ner.form, labels, document, chunks, raw),
        group=document.group,
    )


def extractor(work: CellContext, labels: LabelSet) -> "Extractor":
    """The extractor of a cell: whole label set, each document as one text, decoding as in the description."""
    about = work.about
    _base(about["model"])
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
    from genner.model_source import ModelSource

    about = work.about
    source = ModelSource.find(work.model)
    settings = {
        "model": (source.base if source and source.adapter else about["model"]).replace("|", "_"),
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
    found, signature = metrics(lines, settings)
    return CellFindings(found, signature, sum(line.tokens for line in lines), sum(line.passes for line in lines))


# -- ability


def _ability(work: CellContext) -> CellFindings:
    from genner import ability

    about = work.about
    _base(about["model"])
    data = work.data / about["data"] if about["data"] else None
    if data is not None and not data.is_dir():
        raise MissingError(
            f"there is no folder {data} with the tasks' files; see docs/ability.md for what belongs there"
        )
    try:
        found = ability.run(
            work.model,
            about["task"],
            work.run.folder,
            shots=about["shots"],
            limit=about["limit"],
            seed=about["seed"],
            data=data,
            device=work.device,
        )
    except DataError as error:
        raise MissingError(str(error)) from error
    settings = {"task": about["task"], "shots": about["shots"], "limit": about["limit"], "seed": about["seed"]}
    settings |= {"model": about["model"], "trained": about["trained"], "harness": found.harness, **found.settings}
    signature = "|".join(["ability", *(f"{key}:{value}" for key, value in settings.items())])
    return CellFindings(found.metrics(), signature, found.tokens, found.passes)


# -- contamination


def _contamination(work: CellContext) -> CellFindings:
    from genner.contamination.run import check
    from genner.contamination.sources import Given, case_of
    from genner.data.base import ReadLog

    about = work.about
    files = [about["file"], *about["train"], *([about["dev"]] if about["dev"] else [])]
    must_be_there(about["corpus"], files, work.data)
    _base(about["model"])
    train = tuple(path_of(file, work.data) for file in about["train"])
    # A shipped sample is JSON Lines, whatever the syntax of the corpus's own files.
    syntaxes: dict[str, str] = {}
    if "from" in about:
        syntaxes = dict.fromkeys(("train", "members", "unseen"), str(about["from"]))
    if test := syntax_of(about["file"], about.get("from")):
        syntaxes["test"] = test
    given = Given(
        data=path_of(about["file"], work.data),
        syntaxes=syntaxes,
        name=catalog()[about["corpus"]].title if about["corpus"] in catalog() else about["corpus"],
        split=about["split"],
        labels=named_label_set(about["labels"], work.data),
        format=about["format"],
        root=work.data,
        train=train,
        members=train,
        unseen=(path_of(about["dev"], work.data),) if about["dev"] else (),
        limit=about["sentences"],
        set=about["corpus"],
    )
    case, notes = case_of(work.model, given, ReadLog())
    signals = about["signals"]
    found = check(
        work.model,
        case,
        signals,
        work.run.folder / "signals",
        seed=about["seed"],
        device=work.device,
        notes=notes,
        started=lambda signal: work.tell(signals.index(signal), len(signals), "signals"),
    )
    if found.problems:
        raise GennerError("; ".join(f"{name}: {why}" for name, why in found.problems.items()))
    settings = {key: found.settings[key] for key in ("model", "adapter", "set", "data", "sample", "seed", "dtype")}
    signature = "|".join(["contamination", *(f"{key}:{value}" for key, value in settings.items())])
    return CellFindings({**found.to_dict(), "documents": len(case.sample)}, signature, 0, 0)


def _base(model: str) -> None:
    """Make sure that a model is available. Raises `MissingError` that says where to get it."""
    from genner.model_source import ModelSource

    try:
        _ = ModelSource.resolve(model).weights
    except (ModelError, UnknownNameError) as error:
        raise MissingError(str(error)) from error


_KINDS: dict[CellKind, Callable[[CellContext], CellFindings]] = {
    "train": _train,
    "score": _score,
    "probe": _probing,
    "ability": _ability,
    "contamination": _contamination,
}
