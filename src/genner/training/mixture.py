"""Groups of examples from a recipe: the same recipe and seed give the same groups on any machine."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from genner.data.base import ReadLog
from genner.data.catalog import named_label_set
from genner.data.corpus import read_corpus
from genner.data.describe import nesting
from genner.data.detokenize import detokenize
from genner.document import Document, Entity, LabelSet
from genner.engines.chat import Chat
from genner.errors import DataError, TrainingError, UnreadableError, UsageError
from genner.formats import Format, get_format
from genner.labels import label_sets
from genner.prompts import instruction
from genner.trained import Trained
from genner.training.batching import Batch, Example, bucket
from genner.training.conversations import Conversation, grouped, read_conversations
from genner.training.label_augmentation import absent_labels, retag, vary, with_absent
from genner.training.mixture_report import MixtureReport
from genner.training.noise import NOISES, noises
from genner.training.recipe import ChatSpec, Recipe, SetSpec
from genner.training.sampling import joined, selected, times, without_empty

LENGTH_SORT_WINDOW = 512  # number of sentences sorted by length together
TAG_TOKENS = 6  # estimated tokens that an entity adds to the answer; only for sorting


class Mixture:
    """The training data of a recipe.

    Args:
        recipe: what to mix.
        root: the folder that its file names are relative to.
        chat: renders prompts for the base model.

    `sets` holds each set's spec, label set and training documents, after `fraction` or `shots`; `talks` each chat's
    spec and conversations; `read_log` the content of files that documents do not represent.

    Raises `DataError` when a file is missing, malformed, or has a label that its label set lacks; `UsageError` for an
    unknown format or absent label; `TrainingError` for illegal format weights.
    """

    def __init__(self, recipe: Recipe, root: Path, chat: Chat) -> None:
        self.recipe = recipe
        self.chat = chat
        self.read_log = ReadLog()
        self._left_out: dict[str, Counter[str]] = defaultdict(Counter)
        usual = _weights(recipe.formats, "[formats]")
        self._forms = [
            _weights(spec.formats, f"[set] {spec.name!r} formats") if spec.formats else usual for spec in recipe.sets
        ]
        self.sets = [(spec, label_set_of(spec, root), self._part(spec, root)) for spec in recipe.sets]
        self._unanswered = Counter[str]()
        self.talks = [(spec, self._conversations(spec, root)) for spec in recipe.chat]
        known = dict[str, LabelSet]()
        for name, labels in [*((spec.name, labels) for spec, labels, _ in self.sets), *label_sets().items()]:
            known.setdefault(name, labels)
        self._absent = [absent_labels(spec, labels, known) for spec, labels, _ in self.sets]
        self.dev = {
            spec.name: (labels, read_documents(spec, (spec.dev,), root, self.read_log))
            for spec, labels, _ in self.sets
            if spec.dev is not None
        }

    @cached_property
    def depth(self) -> int:
        """Maximum number of entities that cover one place: in the training data, or by the label sets if larger."""
        found = (nesting(document.entities)[2] for _, _, documents in self.sets for document in documents)
        return max([1, *found, *(labels.depth or 1 for _, labels, _ in self.sets)])

    @property
    def ranked(self) -> list[Format]:
        """The formats used, the one with the most examples first (a set without examples counts as one example)."""
        examples: dict[Format, float] = defaultdict(float)
        for (spec, _, documents), forms in zip(self.sets, self._forms, strict=True):
            for form, weight in forms.items():
                examples[form] += weight / sum(forms.values()) * max(1.0, spec.weight * len(documents))
        return sorted((form for form, number in examples.items() if number), key=lambda form: -examples[form])

    def epoch(self, number: int, report: MixtureReport | None = None) -> list[Batch]:
        """All groups of epoch `number`, shuffled. Adds its counts to `report`.

        Conversations are drawn separately: the groups of the sets are the same with or without them.
        """
        report = report if report is not None else MixtureReport()
        rng = random.Random(f"{self.recipe.seed}:{number}")
        groups: list[Batch] = []
        for task in self.tasks(rng, report):
            group = self._group(task, report)
            if group.pairs:
                groups.append(group)
        if not groups:
            raise TrainingError("the recipe's mixture is empty; raise a set's weight or give more data")
        groups += self._chats(number, report)
        rng.shuffle(groups)
        report.tokens += sum(group.tokens for group in groups)
        return groups

    def _chats(self, number: int, report: MixtureReport) -> list[Batch]:
        """The groups of conversations of epoch `number`."""
        groups, optim = list[Batch](), self.recipe.optim
        report.unanswered.update(self._unanswered)
        for spec, conversations in self.talks:
            rng = random.Random(f"{self.recipe.seed}:{number}:chat:{spec.name}")
            chosen = [one for (one,) in times(conversations, spec.weight, 0.0, rng)]
            for at in range(0, len(chosen), LENGTH_SORT_WINDOW):
                some = [self.chat.conversation(turns) for turns in chosen[at : at + LENGTH_SORT_WINDOW]]
                kept = [one for one in some if len(one[0]) - 1 <= optim.max_tokens]
                report.too_long[spec.name] += len(some) - len(kept)
                made = list(grouped(kept, optim.group_tokens))
                report.conversations[spec.name] += len(kept)
                report.alone[spec.name] += sum(len(p) > optim.group_tokens for group in made for p in group.pairs)
                report.chat_tokens += sum(group.tokens for group in made)
                groups += made
        return groups

    def tasks(self, rng: random.Random, report: MixtureReport | None = None) -> Iterator["PromptTask"]:
        """The prompt tasks of an epoch, set after set; documents are grouped by length only within a window, so that
        the epoch stays well mixed. Adds counts of the changes applied to `report`.

        A share of 0 draws no random number, so a recipe without a key gives the same tasks as before the key existed.
        """
        applied_counts = report.applied_counts if report is not None else defaultdict[str, Counter[str]](Counter)
        for key, sets in self._left_out.items():
            applied_counts[key].update(sets)
        for (spec, labels, documents), forms, absent in zip(self.sets, self._forms, self._absent, strict=True):
            for window in self._windows(spec, documents, rng, applied_counts):
                lengths = [len(self.chat.encode(d.text)) * 2 + TAG_TOKENS * len(d.entities) for d in window]
                for indices in bucket(lengths, self.recipe.optim.group_tokens):
                    form = rng.choices(list(forms), list(forms.values()))[0]
                    varied, definitions = vary(labels, self.recipe.prompt, rng)
                    asked = with_absent(varied, absent, self.recipe.prompt.negatives, rng)
                    applied_counts["negatives"][spec.name] += len(asked) > len(varied)
                    if form.prompt_per_label:
                        asked = asked.subset([rng.choice(asked.tags)])
                    made, way = retag(asked, self.recipe.prompt, rng)
                    if way:
                        applied_counts[way][spec.name] += 1
                    tags = dict(zip(asked.tags, made.tags, strict=True))
                    some = [_answered(window[i], tags) for i in indices]
                    for n, document in enumerate(some):
                        if rng.random() < spec.detokenize:
                            some[n] = detokenize(document)
                            applied_counts["detokenize"][spec.name] += 1
                    yield PromptTask(spec, made, definitions or way == "anonymous_tags", form, some)

    def _windows(
        self, spec: SetSpec, documents: list[Document], rng: random.Random, applied_counts: dict[str, Counter[str]]
    ) -> Iterator[list[Document]]:
        """An epoch's examples of a set, in windows, with noise applied."""
        kept = without_empty(documents, spec.max_empty, rng) if spec.max_empty < 1 else documents
        applied_counts["max_empty"][spec.name] += len(documents) - len(kept)
        chosen = times(kept, spec.weight, spec.concat, rng)
        for at in range(0, len(chosen), LENGTH_SORT_WINDOW):
            window = []
            for run in chosen[at : at + LENGTH_SORT_WINDOW]:
                document = run[0] if len(run) == 1 else joined(run)
                applied_counts["concat"][spec.name] += len(run) > 1
                for key in noises(spec, rng):
                    document = NOISES[key](document, rng)
                    applied_counts[key][spec.name] += 1
                window.append(document)
            yield window

    def _conversations(self, spec: ChatSpec, root: Path) -> list[Conversation]:
        """All conversations of a chat, each up to its last answer. Raises `DataError` when there is none."""
        found = list[Conversation]()
        for name in spec.train:
            for conversation, whole in read_conversations(root / name):
                found.append(conversation)
                self._unanswered[spec.name] += not whole
        if not found:
            raise DataError(", ".join(spec.train), f"chat {spec.name!r} has no conversation to train on")
        return found

    def _part(self, spec: SetSpec, root: Path) -> list[Document]:
        """The training documents that `fraction` or `shots` select."""
        documents = read_documents(spec, spec.train, root, self.read_log)
        part = selected(documents, spec.fraction, spec.shots, self.recipe.seed, spec.name)
        if len(part) < len(documents):
            self._left_out["shots" if spec.shots else "fraction"][spec.name] += len(documents) - len(part)
        return part

    def _group(self, task: "PromptTask", report: MixtureReport) -> Batch:
        spec = task.spec
        prefix = self.chat.prefix_ids(task.instruction)
        pairs = []
        for document in task.documents:
            encodable, left_out = task.answer(document)
            report.unencodable[spec.name] += len(left_out)
            pair = Example(
                self.chat.body_ids(encodable.text), self.chat.answer_ids(task.form.encode(encodable, task.labels))
            )
            if len(prefix) + len(pair) > self.recipe.optim.max_tokens:
                report.too_long[spec.name] += 1
            else:
                report.alone[spec.name] += len(pair) > self.recipe.optim.group_tokens
                pairs.append(pair)
        report.sentences[spec.name] += len(pairs)
        return Batch(prefix, pairs)


@dataclass(frozen=True)
class PromptTask:
    """One prompt and its documents, with the text as shown to the model and the entities asked for."""

    spec: SetSpec
    labels: LabelSet
    definitions: bool
    form: Format
    documents: list[Document]

    @property
    def instruction(self) -> str:
        return instruction(self.labels, self.form, definitions=self.definitions)

    def answer(self, document: Document) -> tuple[Document, tuple[Entity, ...]]:
        """One of the documents without the entities that the format cannot encode, and these entities."""
        return self.form.encodable_part(document)


def _answered(document: Document, tags: dict[str, str]) -> Document:
    """The document with only the entities of these labels, their labels replaced by `tags`."""
    kept = tuple(Entity(e.start, e.end, tags[e.label], e.score) for e in document.entities if e.label in tags)
    return Document(document.text, kept, document.id, group=document.group)


def _weights(weights: dict[str, float], where: str) -> dict[Format, float]:
    forms = {get_format(name): weight for name, weight in weights.items()}
    if not all(weight >= 0 for weight in forms.values()) or not any(forms.values()):
        raise TrainingError(f"{where} weights are {weights}; legal: 0 or more each, one above 0")
    return forms


def trained_on(sets: Iterable[tuple[SetSpec, LabelSet]]) -> Trained:
    """The label sets that a recipe trains: those of sets with a weight above 0."""
    return Trained.of((spec.name, labels) for spec, labels in sets if spec.weight)


def label_set_of(spec: SetSpec, root: Path) -> LabelSet:
    """The label set of a set; see `named_label_set`. Raises `DataError`."""
    return named_label_set(spec.labels, root)


def read_documents(spec: SetSpec, names: tuple[str, ...], root: Path, read_log: ReadLog) -> list[Document]:
    """The annotated documents of a set's files. Raises `DataError` for a label that the set's label set lacks."""
    documents = []
    labels = label_set_of(spec, root)
    read_log = replace(read_log, lenient=read_log.lenient or spec.lenient)  # a copy, with the same counters
    for name in names:
        try:
            found = read_corpus(root / name, spec.from_, read_log)
        except UnreadableError:
            raise
        except UsageError as error:
            raise UsageError(
                f"[set] {spec.name!r}: {error}; in the recipe: from = 'SYNTAX', as in from = 'conll'"
            ) from None
        for document in found:
            for entity in document.entities:
                if entity.label not in labels:
                    raise DataError(
                        str(root / name),
                        f"document {document.id!r} has label {entity.label!r}, which label set {spec.labels!r} lacks; "
                        f"it has: {', '.join(labels.tags)}",
                    )
            documents.append(document)
    return documents
