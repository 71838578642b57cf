"""Three readings of an answer: a score depends on how much the reader repairs for the model.

    paper      by the paper's script for the format, faults included (`genner.generations.paper`)
    strict     the literal answer: a mention counts at the place that the answer gives, and is a false positive if the
               text does not have it there
    repaired   the result of genner's reader: a mention that is not at the stated place is searched in the text, a copy
               that differs is aligned with it, and an entity without a place is dropped

Under the grammar an answer contains exactly what is read, so the last two are equal. The difference between them in
free answers is repaired by a reader, without the model, and is no merit of a grammar. See docs/scores.md.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from genner.document import Document, Entity, LabelSet
from genner.errors import UsageError
from genner.evaluation import Counts, count
from genner.formats import Format
from genner.formats.base import StrictReading
from genner.generations.paper import PAPER_RULES

ReadingName = Literal["paper", "strict", "repaired"]
READINGS: tuple[ReadingName, ...] = get_args(ReadingName)

Chunks = Sequence[tuple[int, int]]
"""`[start, end)` of the text of each answer, in code points, parallel to the answers."""


@dataclass(frozen=True, slots=True)
class Readings:
    """The counts of a document's answers by each reading, over all labels; `paper` is None for a format that is not in
    the paper.
    """

    paper: Counts | None
    strict: Counts
    repaired: Counts


def read_answers(
    form: Format, labels: LabelSet, gold: Document, answers: Sequence[str], chunks: Chunks | None = None
) -> Readings:
    """Score the answers about a document by each of the three readings.

    Args:
        form: the format of the answers.
        labels: the requested labels.
        gold: the text and its entities.
        answers: the model's output. In a format that prompts for one label at a time, the same chunk may be given once
            for each label, in label order; each answer then belongs to its label.
        chunks: the chunk of each answer, as in an assessment's records; None: the whole text.

    Raises `UsageError` when answers and chunks do not pair up.
    """
    chunks = [(0, len(gold.text))] * len(answers) if chunks is None else chunks
    return Readings(
        paper_counts(form, labels, gold, answers, chunks),
        strict_counts(form, labels, gold, answers, chunks),
        repaired_counts(form, labels, gold, answers, chunks),
    )


def paper_counts(
    form: Format, labels: LabelSet, gold: Document, answers: Sequence[str], chunks: Chunks
) -> Counts | None:
    """The counts by the paper's rule; None for a format without such a rule.

    As in the paper, gold is read from a target: the format's answer for it, without the entities that the format cannot
    express. A document that was split into chunks counts as that many answers; an entity across two chunks is in no
    gold.
    """
    rule = PAPER_RULES.get(form.name)
    if rule is None:
        return None
    total = Counts()
    for (start, end), answer, _ in _asked(form, labels, answers, chunks):
        inside = tuple(e.shifted(-start) for e in gold.entities if start <= e.start and e.end <= end)
        target, _ = form.encodable_part(Document(gold.text[start:end], inside, gold.id))
        total = sum(rule(answer, form.encode(target, labels), labels.tags).counts().values(), total)
    return total


def strict_counts(form: Format, labels: LabelSet, gold: Document, answers: Sequence[str], chunks: Chunks) -> Counts:
    """The counts of the literal answers, by `Format.decode_strictly`."""
    found, wrong = dict[Entity, None](), Counter[str]()
    for (start, end), answer, asked in _asked(form, labels, answers, chunks):
        said = form.decode_strictly(gold.text[start:end], answer, asked)
        found.update((e.shifted(start), None) for e in said.entities)
        wrong += said.wrong
    return sum(count_strictly(gold, StrictReading(tuple(found), wrong)).values(), Counts())


def count_strictly(gold: Document, said: StrictReading) -> dict[str, Counts]:
    """The counts by label of the literal entities of a document: a wrong one is a false positive of its label."""
    counts = count(gold, Document(gold.text, said.entities))
    for label, n in said.wrong.items():
        counts[label] = counts.get(label, Counts()) + Counts(0, n, 0)
    return counts


def repaired_counts(form: Format, labels: LabelSet, gold: Document, answers: Sequence[str], chunks: Chunks) -> Counts:
    """The counts of the repaired answers, by `Format.decode`."""
    found: set[Entity] = set()
    for (start, end), answer, asked in _asked(form, labels, answers, chunks):
        decoded = form.decode(gold.text[start:end], answer, asked)
        found.update(e.shifted(start) for e in decoded.entities)
    return sum(count(gold, Document(gold.text, tuple(found))).values(), Counts())


def _asked(
    form: Format, labels: LabelSet, answers: Sequence[str], chunks: Chunks
) -> list[tuple[tuple[int, int], str, LabelSet]]:
    """Each answer with its chunk and its requested labels."""
    if len(answers) != len(chunks):
        raise UsageError(f"answers: {len(answers)}, chunks: {len(chunks)}; give the chunk of each answer")
    n = len(labels)
    alone = (
        form.prompt_per_label
        and len(chunks) % n == 0
        and all(chunk == chunks[i - i % n] for i, chunk in enumerate(chunks))
    )
    parts = [LabelSet((label,)) for label in labels] if alone else [labels]
    return [(chunk, answers[i], parts[i % len(parts)]) for i, chunk in enumerate(chunks)]
