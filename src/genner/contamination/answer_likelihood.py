"""The likelihood of gold answers after genner's own prompts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genner.contamination.base import ADAPTER, BASE, ContaminationCase, Finding, Signal
from genner.contamination.membership import is_adapted, judged
from genner.contamination.resumable import ResumableItems
from genner.document import Document, Entity, LabelSet
from genner.engines.chat import Chat
from genner.formats import Format, get_format
from genner.prompts import instruction

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel


@dataclass(frozen=True)
class AnswerLikelihood(Signal):
    """The likelihood of the gold answer after the prompt, compared with that of unseen documents.

    Shows: whether the annotation was memorized, since genner's own training repeats it. Three scores per document:
    `answer`, the mean log-likelihood per token of the gold answer; `margin`, how much likelier the gold answer is than
    the same answer with wrong labels (with a single label: without its entities); for an adapter `reference`, how much
    likelier it finds the answer than its base does.
    Cannot show: whether an answer is likely because it was seen or because it is obviously correct. A well-trained
    model finds gold answers of unseen texts likely, so only the excess over those counts, and a hard test set can hide
    it.
    Sources: Carlini et al. (2021), "Extracting Training Data from Large Language Models" (a reference model);
    Mireshghallah et al. (2022), "Quantifying Privacy Risks of Masked Language Models Using Membership Inference
    Attacks" (likelihood ratio to a reference). Scoring answers and comparing them with wrong labels is our own.
    """

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        form, labels = get_format(case.format), case.labels
        if form.prompt_per_label:
            counts = Counter(e.label for d in case.test for e in d.entities)
            labels = labels.subset([max(labels.tags, key=lambda tag: counts[tag])])
        found: dict[str, dict[str, list[Any]]] = {}
        for side in sides:
            if (chat := side.chat) is not None:
                found[side.name] = {
                    group: _scores(side, chat, form, labels, documents, kept)
                    for group, documents in case.groups().items()
                }
        return [
            self._finding(case, side.name, found, [each.name for each in sides])
            if side.name in found
            else Finding(side.name, "unknown", "the model has no chat template, so it cannot be asked as genner asks")
            for side in sides
        ]

    def _finding(
        self, case: ContaminationCase, side: str, found: dict[str, dict[str, list[Any]]], names: Sequence[str]
    ) -> Finding:
        own = found[side]
        scores = {
            "answer": {group: [one["answer"] for one in some if one] for group, some in own.items()},
            "margin": {
                group: [one["margin"] for one in some if one and one["margin"] is not None]
                for group, some in own.items()
            },
        }
        if side == ADAPTER and BASE in found:
            scores["reference"] = {
                group: [a["answer"] - b["answer"] for a, b in zip(some, found[BASE][group], strict=True) if a and b]
                for group, some in own.items()
            }
        return judged(case, side, scores, is_adapted(side, names))


def _scores(
    side: "LanguageModel",
    chat: Chat,
    form: Format,
    labels: LabelSet,
    documents: Sequence[Document],
    kept: ResumableItems,
) -> list[Any]:
    """`answer` and `margin` of each document; None for a document that does not fit the model's window."""
    task = instruction(labels, form)
    asked = [[d.text, *_answers(d, form, labels)] for d in documents]

    def compute(places: list[int]) -> Iterator[tuple[int, Any]]:
        prefix, rows, of = chat.prefix_ids(task), [], []
        for i in places:
            text, *answers = asked[i]
            body = chat.body_ids(text)
            rows += [(body + chat.answer_ids(answer), len(body)) for answer in answers]
            of += [i] * len(answers)
        sums: dict[int, dict[int, tuple[float, int]]] = {}
        first = {i: of.index(i) for i in places}
        for row, scored in side.score(rows, prefix):
            i = of[row]
            sums.setdefault(i, {})[row - first[i]] = (sum(scored.logp), len(scored.logp))
            if len(sums[i]) == of.count(i):
                (gold, tokens), wrong = sums[i][0], sums[i].get(1)
                yield i, {"answer": gold / tokens, "margin": gold - wrong[0] if wrong else None}

    return kept.fill(f"answers, {side.name}, {form.name}: {task}", asked, compute)


def _answers(document: Document, form: Format, labels: LabelSet) -> list[str]:
    """The gold answer and, if there are entities, a wrong one."""
    gold, _ = form.encodable_part(
        Document(document.text, tuple(e for e in document.entities if e.label in labels), document.id)
    )
    found = [form.encode(gold, labels)]
    if gold.entities:
        wrong = [Entity(e.start, e.end, _next(e.label, labels)) for e in gold.entities] if len(labels) > 1 else []
        other, _ = form.encodable_part(Document(gold.text, tuple(wrong), gold.id))
        found.append(form.encode(other, labels))
    return found


def _next(label: str, labels: LabelSet) -> str:
    return labels.tags[(labels.tags.index(label) + 1) % len(labels)]
