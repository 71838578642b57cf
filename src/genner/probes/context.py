"""Probes of the context: texts without entities, and entities without informative context."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genner.chunks import chunks
from genner.document import Document, LabelSet
from genner.errors import UsageError
from genner.probes.base import Probe, Probed, checked, same
from genner.probes.measures import false_alarms
from genner.probes.spans import groups

MAX_PROBE_CHARS = 1200
"""In code points; longer sentences are split, as in extraction."""

TEMPLATES = ("This is about {}.", "The text mentions {}.", "The word here is {}.", "We read the words {} again.")
"""Sentences that reveal nothing about the mention in them."""


@dataclass(frozen=True)
class NoEntities(Probe):
    """Only texts without entities: documents without any, and the entity-free sentences of the others.

    Shows: how often the model finds entities in texts that have none: false positives per 1,000 words
    (`per_1000_words`), and the share of sentences with at least one (`documents_with`). F1 is meaningless here because
    gold is empty. The probe exposes a model that labels every capitalized word, or that learned that every text has
    entities.
    Cannot show: precision in running text, where false positives also occur beside true ones. Entities that the
    annotators missed count as false positives, so look at some before you blame the model.
    Source: our own, not from a paper.

    A sentence that is cut out of a document has the id `<document>@<its start in code points>`.
    """

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        keys = ("documents", "documents_kept", "sentences_kept", "sentences_left_out", "mentions_left_out")
        report = Counter(dict.fromkeys(keys, 0))
        made: list[Document] = []
        for document in checked(documents, labels):
            report["documents"] += 1
            report["mentions_left_out"] += len(document.entities)
            if not document.entities:
                report["documents_kept"] += 1
                made.append(document)
                continue
            for chunk in chunks(document.text, lambda piece: True, MAX_PROBE_CHARS):
                if any(e.start < chunk.end and chunk.start < e.end for e in document.entities):
                    report["sentences_left_out"] += 1
                else:
                    report["sentences_kept"] += 1
                    text, id = document.text[chunk.start : chunk.end], f"{document.id}@{chunk.start}"
                    made.append(Document(text, (), id, group=document.group))
        return Probed(tuple(made), labels, same(labels), dict(report))

    def measure(self, probed: Probed, predicted: Sequence[Document]) -> dict[str, float]:
        """`measures.false_alarms`."""
        return false_alarms(probed.documents, predicted)


@dataclass(frozen=True)
class Neutral(Probe):
    """Each mention alone, in a sentence that reveals nothing about it: "This is about Paris."

    Each group of overlapping entities (see `spans`) becomes a document of its own that keeps nested entities, with the
    id `<document>:<start of the mention in code points>`. Texts without entities are left out.
    Shows: what the model recognizes from names alone. High scores say that the name suffices, because the model
    remembers it or knows what such names look like; together with `mentions_nonsense` (context alone) it shows whether
    a score depends on names or on context.
    Cannot show: that a model ignores context when there is some. The sentences are English and uniform, each contains a
    mention, and a mention whose type only its original sentence revealed (a Washington that is a person) is scored by a
    label that nobody could know. Mentions that are not names ("my father") lose more.
    Source: names without context in Agarwal et al. (2021), "Interpretability Analysis for Named Entity Recognition to
    Understand System Predictions and How They Can Improve".

    `templates`: the sentences, each with one `{}`; write your own for other languages. The seed draws one for each
    mention.
    """

    templates: tuple[str, ...] = TEMPLATES

    def __post_init__(self) -> None:
        object.__setattr__(self, "templates", tuple(self.templates))
        bad = [t for t in self.templates if not isinstance(t, str) or t.count("{}") != 1]
        if bad or not self.templates:
            raise UsageError(f"template {bad[:1] or self.templates!r}; legal: sentences with one {{}} for the mention")

    def apply(self, documents: Iterable[Document], labels: LabelSet) -> Probed:
        report = Counter(dict.fromkeys(("documents", "documents_left_out", "mentions", "made", "crossing"), 0))
        made: list[Document] = []
        for document in checked(documents, labels):
            found = groups(document)
            report["documents"] += 1
            report["documents_left_out"] += not found
            report["mentions"] += len(document.entities)
            for group in found:
                report["made"] += 1
                report["crossing"] += group.crossing
                mention = document.text[group.start : group.end]
                template = self.dice(document, mention).choice(self.templates)
                before, _, after = template.partition("{}")
                inside = tuple(e.shifted(len(before) - group.start) for e in group.members)
                text, id = f"{before}{mention}{after}", f"{document.id}:{group.start}"
                made.append(Document(text, inside, id, group=document.group))
        return Probed(tuple(made), labels, same(labels), dict(report))
