"""Runs folders made up for tests of the report, written through `genner.assess.records` as real ones are.

Documents are drawn; a system finds each gold entity with a certain chance and makes some up. The figures of a record
are computed from its own answers, so that a report can be checked against either.
"""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.records import Cell, CellKind, CellResult, Failure, PredictionRecord
from genner.document import Document, Entity, Problem
from genner.evaluation import Counts, count
from genner.evaluation.breakdowns import BREAKDOWNS, NO_TRAINING

WORDS = ("Ada", "Bob", "Paris", "Rome", "the", "of", "met", "in", "old", "IL-2", "gene", "NF-kappa", "B", "Kyoto")
VERSIONS = {"genner": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "machine": "2 CPU cores"}


def corpus(n: int, labels: Sequence[str], seed: int = 0) -> list[Document]:
    """Documents of a line each, with flat entities of one to six words."""
    rng = random.Random(seed)
    documents = []
    for i in range(n):
        words = [rng.choice(WORDS) for _ in range(rng.randint(4, 14))]
        starts = [sum(len(w) + 1 for w in words[:k]) for k in range(len(words))]
        entities, at = [], 0
        while at < len(words):
            size = rng.choice((0, 0, 0, 1, 1, 2, 3, 6))
            if size and at + size <= len(words):
                end = starts[at + size - 1] + len(words[at + size - 1])
                entities.append(Entity(starts[at], end, rng.choice(labels)))
            at += max(size, 1)
        documents.append(Document(" ".join(words), tuple(entities), f"s{i}"))
    return documents


def answered(gold: Document, skill: float, rng: random.Random) -> PredictionRecord:
    """What a system of this skill in [0, 1] makes of a document."""
    found = []
    for e in gold.entities:
        luck = rng.random()
        if luck < skill:
            found.append(Entity(e.start, e.end, e.label, 0.9))
        elif luck < skill + (1 - skill) / 3 and e.end - e.start > 1:
            found.append(Entity(e.start, e.end - 1, e.label, 0.5))
    if rng.random() < (1 - skill) / 2 and not any(e.start == 0 for e in found):
        found.append(Entity(0, 1, "PER", 0.3))
    broken = rng.random() < (1 - skill) / 4
    right = len(set(gold.entities) & set(found))
    return PredictionRecord(
        id=gold.id,
        group=gold.group,
        text=gold.text,
        gold=gold.entities,
        entities=tuple(found),
        raw=(f"<answer>{gold.text}</answer>",),
        problems=(Problem("invalid", "no closing tag"),) if broken else (),
        tokens=2 * len(gold.text),
        passes=3,
        chunks=((0, len(gold.text)),),
        # By this rule a broken answer counts for nothing, so that the two rules differ.
        paper=(0, 0, len(gold.entities)) if broken else (right, len(found) - right, len(gold.entities) - right),
        # Strictly, one of a broken answer's mentions is not where it says.
        strict=(said := max(0, right - broken), len(found) - said, len(gold.entities) - said),
    )


def metrics(answers: Sequence[PredictionRecord]) -> dict[str, Any]:
    """The metrics of a score or probe cell, from its answers."""
    labels: dict[str, Counts] = {}
    lengths: dict[str, Counts] = {}
    for a in answers:
        for label, counts in count(a.document(), a.prediction()).items():
            labels[label] = labels.get(label, Counts()) + counts
        for e in set(a.gold) | set(a.entities):
            words = BREAKDOWNS["length"].bucket(e, a.document(), NO_TRAINING)
            bucket = words if words in ("1", "2") else "3-4" if words in ("3", "4") else "5+"
            one = Counts(e in a.gold and e in a.entities, e not in a.gold, e not in a.entities)
            lengths[bucket] = lengths.get(bucket, Counts()) + one
    total = sum(labels.values(), Counts())
    paper = Counts(*(sum(a.paper[k] for a in answers if a.paper) for k in range(3)))
    strict = Counts(*(sum(a.strict[k] for a in answers if a.strict) for k in range(3)))
    invalid = sum(a.prediction().invalid for a in answers)
    return {
        "strict": score(strict),
        "repaired": score(total),
        "paper": score(paper),
        "labels": {label: score(c) for label, c in labels.items()},
        "lengths": {bucket: score(c) for bucket, c in lengths.items()},
        "invalid": invalid / max(len(answers), 1),
        "hallucinated": 0.0,
        "truncated": 0.0,
        "problems": {"invalid": invalid, "realigned": 2 * invalid},
        "documents": len(answers),
    }


def score(c: Counts) -> dict[str, float]:
    return {
        "precision": c.precision,
        "recall": c.recall,
        "f1": c.f1,
        "correct": c.tp,
        "predicted": c.tp + c.fp,
        "gold": c.tp + c.fn,
    }


@dataclass
class Study:
    """A runs folder in the making."""

    root: Path
    documents: Mapping[str, list[Document]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)  # of models, in the study

    def cell(self, kind: CellKind, name: str, description: dict[str, Any], needs: tuple[str, ...] = ()) -> CellFolder:
        text = json.dumps(description, sort_keys=True)
        id = f"{kind}-{hashlib.sha256(f'{kind}{text}'.encode()).hexdigest()[:12]}"
        command = f"genner assess study.toml --only {id}"
        called = self.names.get(description.get("model", ""), "")
        return StudyFolder(self.root).add(Cell(kind, id, name, needs, description, command, called))

    def train(self, model: str, format: str, corpus: str, seed: int = 1, **recipe: Any) -> CellFolder:
        about = {"model": model, "format": format, "corpus": corpus, "seed": seed, "limits": {}, "recipe": recipe}
        run = self.cell("train", f"train {model} {format}", about)
        finish(run, {"steps": 10, "tokens": 1000, "loss": 0.5, "dev": {}})
        return run

    def describe(
        self, model: str, trained: CellFolder | None, format: str, corpus: str, decoding: str, seed: int = 0
    ) -> dict[str, Any]:
        return {
            "model": model,
            "trained": trained.cell.id if trained else None,
            "format": format,
            "corpus": corpus,
            "split": "test",
            "sentences": None,
            "labels": corpus,
            "decoding": decoding,
            "seed": seed,
        }

    def score(
        self,
        model: str,
        trained: CellFolder | None,
        format: str,
        corpus: str,
        decoding: str,
        skill: float,
        seed: int = 0,
    ) -> CellFolder:
        about = self.describe(model, trained, format, corpus, decoding, seed)
        run = self.cell("score", f"{model} {format} {corpus} {decoding}", about, (trained.cell.id,) if trained else ())
        answer(run, self.documents[corpus], skill, seed)
        return run

    def probe(
        self, original: CellFolder, name: str, documents: Sequence[Document], skill: float, **options: Any
    ) -> CellFolder:
        about = {**original.cell.description, "probe": name, "options": options}
        run = self.cell("probe", f"{name} {original.cell.name}", about, original.cell.needs)
        answer(run, documents, skill, 5)
        return run

    def planned(self, model: str, format: str, corpus: str, decoding: str) -> CellFolder:
        return self.cell("score", f"{model} {format}", self.describe(model, None, format, corpus, decoding))

    def ability(self, model: str, trained: CellFolder | None, task: str, items: Sequence[dict[str, Any]]) -> CellFolder:
        about = {"model": model, "trained": trained.cell.id if trained else None, "task": task, "shots": 0}
        run = self.cell("ability", f"{task} {model}", about | {"limit": None, "seed": 0})
        with (run.folder / "items.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(item) + "\n" for item in items)
        n = max(len(items), 1)
        mean = {key: sum(float(i[key]) for i in items) / n for key in ("em", "f1")}
        spread = {key: (m * (1 - m) / n) ** 0.5 for key, m in mean.items()}
        finish(
            run,
            {
                "scores": {key: {"value": mean[key], "stderr": spread[key]} for key in mean},
                "answers": {
                    **mean,
                    "empty_rate": sum(not i["answer"] for i in items) / n,
                    "mean_tokens": sum(i["tokens"] for i in items) / n,
                },
                "examples": len(items),
                "harness": "0.4.9",
            },
        )
        return run


def questions(n: int, skill: float, words: int, seed: int = 0) -> list[dict[str, Any]]:
    """Lines of items.jsonl: a system that knows an answer with this chance, and says it in so many words."""
    rng = random.Random(seed)
    items = []
    for i in range(n):
        right = rng.random() < skill
        answer = "" if rng.random() < 0.1 else " ".join([("Rome" if right else "Paris"), *["well"] * (words - 1)])
        f1 = 2 / (1 + len(answer.split())) if right and answer else 0.0
        em = float(right and answer == "Rome")
        items.append(
            {
                "id": f"q{i}",
                "prompt_hash": f"p{i}",
                "answer": answer,
                "gold": ["Rome"],
                "em": em,
                "f1": f1,
                "tokens": len(answer.split()),
                "truncated": False,
                "loglikelihood": -1.0 - rng.random(),
                "gold_tokens": 1,
                "others": [],
                "metrics": {"em": em, "f1": f1},
            }
        )
    return items


def answer(run: CellFolder, documents: Sequence[Document], skill: float, seed: int) -> None:
    """Let a system of this skill answer all documents, and write the result."""
    rng = random.Random(f"{run.cell.id}{seed}")
    answers = [answered(d, skill, rng) for d in documents]
    with run.appending() as append:
        for a in answers:
            append(a)
    finish(run, metrics(answers), sum(a.tokens for a in answers), sum(a.passes for a in answers))


def finish(run: CellFolder, found: dict[str, Any], tokens: int = 0, passes: int = 0) -> None:
    run.finish(
        CellResult(
            kind=run.cell.kind,
            id=run.cell.id,
            description=run.cell.description,
            signature="match:strict|docs:1",
            versions=VERSIONS,
            seconds=12.5,
            peak_memory_mb=700.0,
            tokens=tokens,
            passes=passes,
            finished_at="2026-01-02T03:04:05Z",
            metrics=found,
        )
    )


def fail(run: CellFolder, message: str = "out of memory") -> None:
    run.fail(Failure("RuntimeError", message, "Traceback ...", "2026-01-02T03:04:05Z"))


FORMATS = ("inline_bracketed", "inline_xml", "grouped_json", "occurrence_json", "offset_json")
SKILLS = dict(zip(FORMATS, (0.75, 0.74, 0.7, 0.68, 0.25), strict=True))
LABELS = {"genia": ("protein", "DNA", "cell line"), "uner": ("PER", "LOC", "ORG")}


def full(
    root: Path,
    documents: int = 60,
    models: Sequence[str] = ("smollm2-135m-instruct",),
    formats: Sequence[str] = FORMATS,
    corpora: Sequence[str] = tuple(LABELS),
) -> Study:
    """A study with everything in it: corpora, formats, three decodings, probes, abilities, gaps."""
    study = Study(root, {name: corpus(documents, LABELS[name], 3) for name in corpora})
    for model in models:
        for name in corpora:
            for format in formats:
                trained = study.train(model, format, name, rank=16)
                for decoding, shift in (("greedy", 0.0), ("sampled", -0.05), ("grammar", 0.06)):
                    gain = shift if format != "offset_json" or decoding != "grammar" else 0.35
                    for seed in (0, 1) if decoding == "sampled" else (0,):
                        run = study.score(model, trained, format, name, decoding, SKILLS[format] + gain, seed)
                    if decoding == "grammar" and format in formats[:2]:
                        for probe, loss in (("symbols", 0.2), ("mentions_unseen", 0.1), ("lower", 0.3)):
                            study.probe(run, probe, study.documents[name], SKILLS[format] - loss)
                        study.probe(run, "neutral", study.documents[name][: documents // 3], 0.5, keep=2)
        study.ability(model, None, "squad", questions(documents, 0.3, 6))
        tuned = study.train(model, formats[1], corpora[0], rank=16)
        study.ability(model, tuned, "squad", questions(documents, 0.35, 2))
        fail(study.planned(model, formats[0], corpora[0], "greedy"))
        study.planned(model, formats[1], corpora[0], "greedy").skip("corpus conll2003: get it from https://example.org")
        study.planned(model, formats[-1], corpora[-1], "grammar")
    return study
