"""From a recipe to groups of examples: the same recipe and seed give the same groups on any machine."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from genner.data import read_jsonl
from genner.data.detokenize import detokenize
from genner.document import Document, Entity, LabelSet
from genner.engines.chat import Chat
from genner.errors import DataError, TrainingError
from genner.formats import Format, get_format
from genner.labels import label_set, label_sets
from genner.prompts import instruction
from genner.training.batching import Group, Pair, bucket
from genner.training.recipe import PromptSpec, Recipe, SetSpec

WINDOW = 512  # sentences that are sorted by length together
TAG_TOKENS = 6  # about what an entity adds to the answer; only for sorting


@dataclass
class Report:
    """What the mixture consists of, and what was left out of it; every count is of one epoch."""

    sentences: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    alone: Counter[str] = field(default_factory=Counter)  # sentences beyond a group's size: run in one of their own
    too_long: Counter[str] = field(default_factory=Counter)  # sentences beyond the token limit: left out
    cannot_say: Counter[str] = field(default_factory=Counter)  # entities that the format cannot write: left out

    def __str__(self) -> str:
        """The sum in a line, with what was left out."""
        lines = [f"{sum(self.sentences.values())} sentences, {self.tokens} tokens"]
        if left := sum(self.too_long.values()):
            lines.append(f"{left} sentences too long, left out ({dict(self.too_long)})")
        if unsaid := sum(self.cannot_say.values()):
            lines.append(f"{unsaid} entities that their format cannot say, left out ({dict(+self.cannot_say)})")
        return "; ".join(lines)

    def to_dict(self) -> dict[str, object]:
        return {name: dict(v) if isinstance(v, Counter) else v for name, v in vars(self).items()}


class Mixture:
    """The training data of a recipe.

    Args:
        recipe: what to mix.
        root: the folder that its file names are relative to.
        chat: renders prompts for the base model.

    Raises `DataError` when a file is missing, malformed, or holds a label that its label set lacks.
    """

    def __init__(self, recipe: Recipe, root: Path, chat: Chat) -> None:
        self.recipe = recipe
        self.chat = chat
        self.formats = {get_format(name): weight for name, weight in recipe.formats.items()}
        if not all(weight >= 0 for weight in self.formats.values()) or not any(self.formats.values()):
            raise TrainingError(f"[formats] weights are {recipe.formats}; legal: 0 or more each, one above 0")
        self.sets = [(spec, _labels(spec, root), _documents(spec, spec.train, root)) for spec in recipe.sets]
        self.dev = {
            spec.name: (labels, _documents(spec, (spec.dev,), root))
            for spec, labels, _ in self.sets
            if spec.dev is not None
        }

    @property
    def ranked(self) -> list[Format]:
        """The formats that occur, the one with the most weight first."""
        return sorted((form for form, weight in self.formats.items() if weight), key=lambda f: -self.formats[f])

    def epoch(self, number: int, report: Report | None = None) -> list[Group]:
        """All groups of epoch `number`, shuffled. Counts into `report`."""
        report = report if report is not None else Report()
        rng = random.Random(f"{self.recipe.seed}:{number}")
        groups: list[Group] = []
        for task in self.tasks(rng):
            group = self._group(task, rng, report)
            if group.pairs:
                groups.append(group)
        if not groups:
            raise TrainingError("the recipe's mixture is empty; raise a set's weight or give more data")
        rng.shuffle(groups)
        report.tokens += sum(group.tokens for group in groups)
        return groups

    def tasks(self, rng: random.Random) -> Iterator["Task"]:
        """What an epoch asks for, set after set; documents of like length go together, but only within a window: the
        epoch stays well mixed."""
        forms, weights = list(self.formats), list(self.formats.values())
        for spec, labels, documents in self.sets:
            chosen = _times(documents, spec.weight, rng)
            for at in range(0, len(chosen), WINDOW):
                window = chosen[at : at + WINDOW]
                lengths = [len(self.chat.encode(d.text)) * 2 + TAG_TOKENS * len(d.entities) for d in window]
                for indices in bucket(lengths, self.recipe.optim.group_tokens):
                    form = rng.choices(forms, weights)[0]
                    asked, definitions = vary(labels, self.recipe.prompt, rng)
                    if form.one_label:
                        asked = asked.subset([rng.choice(asked.tags)])
                    yield Task(spec, asked, definitions, form, [window[i] for i in indices])

    def _group(self, task: "Task", rng: random.Random, report: Report) -> Group:
        spec = task.spec
        prefix = self.chat.prefix_ids(task.instruction)
        pairs = []
        for document in task.documents:
            sayable, left_out = task.answer(document)
            report.cannot_say[spec.name] += len(left_out)
            if rng.random() < spec.detokenize:
                sayable = detokenize(sayable)
            pair = Pair(self.chat.body_ids(sayable.text), self.chat.answer_ids(task.form.encode(sayable, task.labels)))
            if len(prefix) + len(pair) > self.recipe.optim.max_tokens:
                report.too_long[spec.name] += 1
            else:
                report.alone[spec.name] += len(pair) > self.recipe.optim.group_tokens
                pairs.append(pair)
        report.sentences[spec.name] += len(pairs)
        return Group(prefix, pairs)


@dataclass(frozen=True)
class Task:
    """One prompt, and the documents that it is asked about."""

    spec: SetSpec
    labels: LabelSet
    definitions: bool
    form: Format
    documents: list[Document]

    @property
    def instruction(self) -> str:
        return instruction(self.labels, self.form, definitions=self.definitions)

    def answer(self, document: Document) -> tuple[Document, tuple[Entity, ...]]:
        """A document with the entities that are asked for, and those of them that the format cannot say."""
        kept = tuple(e for e in document.entities if e.label in self.labels)
        return self.form.keep(Document(document.text, kept, document.id))


def vary(labels: LabelSet, spec: PromptSpec, rng: random.Random) -> tuple[LabelSet, bool]:
    """A label set as a prompt may ask for it, and whether definitions are given (see `PromptSpec`)."""
    if rng.random() < spec.plain:
        return labels, True
    tags = list(labels.tags)
    rng.shuffle(tags)
    if len(tags) > 1 and rng.random() < spec.subset:
        tags = tags[: rng.randint(1, len(tags) - 1)]
    return labels.subset(tags), rng.random() >= spec.no_definitions


def _times(documents: list[Document], weight: float, rng: random.Random) -> list[Document]:
    """`weight` copies of the documents, shuffled copy by copy; of the last, broken one as many as it says."""
    chosen: list[Document] = []
    while weight > 0:
        copy = documents[:]
        rng.shuffle(copy)
        chosen += copy[: round(len(copy) * min(1.0, weight))]
        weight -= 1
    return chosen


def _labels(spec: SetSpec, root: Path) -> LabelSet:
    if spec.labels in label_sets():
        return label_set(spec.labels)
    path = root / spec.labels
    if not path.is_file():
        raise DataError(
            spec.labels, f"is neither a shipped label set ({', '.join(label_sets())}) nor a file under {root}"
        )
    return LabelSet.from_file(path)


def _documents(spec: SetSpec, names: tuple[str, ...], root: Path) -> list[Document]:
    documents = []
    labels = _labels(spec, root)
    for name in names:
        for document in read_jsonl(root / name):
            for entity in document.entities:
                if entity.label not in labels:
                    raise DataError(
                        str(root / name),
                        f"document {document.id!r} has label {entity.label!r}, which label set {spec.labels!r} lacks; "
                        f"it has: {', '.join(labels.tags)}",
                    )
            documents.append(document)
    return documents
