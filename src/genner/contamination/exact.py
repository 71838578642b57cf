"""Test sentences that occur in the training data, verbatim or up to case, spaces and punctuation."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, ClassVar

from genner.contamination.base import ContaminationCase, Finding, Measure, Signal
from genner.contamination.overlap import by_side
from genner.contamination.resumable import ResumableItems
from genner.document import Document

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel

MIN_TELLING_CHARS = 25
"""Minimum number of letters and digits of a sentence whose repetition is no coincidence."""
MAX_SHOWN_SENTENCES = 50


@dataclass(frozen=True)
class Exact(Signal):
    """Test sentences that also occur in the training data, verbatim or up to case, spaces and punctuation.

    Shows: `verbatim` and `normalized`, the shares of the test sentences that were trained on; `long`, the share of
    normalized matches of 25 letters or more; `annotated`, the share with the very same entities there. They show how
    far a score on the set can be trusted. Each sentence is named, with the training sentence.
    Cannot show: paraphrases, translations, or sentences split differently; other data that the model was trained on.
    Short sentences ("Thank you.") are common everywhere, so they are counted and named but do not affect the verdict. A
    published set can overlap with itself.
    Sources: Elangovan et al. (2021), "Memorization vs. Generalization: Quantifying Data Leakage in NLP Performance
    Evaluation"; Lee et al. (2022), "Deduplicating Training Data Makes Language Models Better".
    """

    asks: ClassVar[bool] = False

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        plain_of = {d.text: normalized(d.text) for d in case.test}
        wanted = set(plain_of.values())
        found: dict[str, list[tuple[str, Document]]] = {}  # normalized text -> where it occurs in the training data
        seen: set[bytes] = set()
        for source in case.train:
            for document in source.documents:
                plain = normalized(document.text)
                if plain in wanted:
                    found.setdefault(plain, []).append((source.name, document))
                    seen.add(_digest(document.text))
        hits = [d for d in case.test if plain_of[d.text] in found]
        verbatim = [d for d in hits if _digest(d.text) in seen]
        long = [d for d in hits if len(plain_of[d.text]) >= MIN_TELLING_CHARS]
        annotated = [d for d in verbatim if any(_same(d, other) for _, other in found[plain_of[d.text]])]
        n = len(case.test)
        measures = {
            name: Measure(len(some) / n if n else 0.0, n)
            for name, some in (("verbatim", verbatim), ("normalized", hits), ("long", long), ("annotated", annotated))
        }
        said = (
            f"{len(verbatim):,} of {n:,} sentences to the letter, {len(hits):,} but for case, blanks and punctuation "
            f"({len(long):,} of {MIN_TELLING_CHARS} letters or more), {len(annotated):,} with the same entities"
        )
        examples = tuple(
            {"id": d.id, "text": d.text, "in": name, "train_id": other.id}
            for d in sorted(hits, key=lambda d: -len(d.text))[:MAX_SHOWN_SENTENCES]
            for name, other in found[plain_of[d.text]][:1]
        )
        # Where all sentences are short, none can make a verdict, whatever was trained on.
        blind = case.complete and not any(len(plain) >= MIN_TELLING_CHARS for plain in wanted)
        said += "; no sentence is that long, so this cannot tell" if blind else ""
        return by_side(case, sides, bool(long), said, measures, examples, "no power" if blind else None)


def normalized(text: str) -> str:
    """The letters and digits of a text, with compatibility forms normalized and case folded."""
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())


def shared(these: Iterable[str], others: Iterable[str]) -> set[str]:
    """The normalized texts that both have, except those without a letter or digit."""
    return {normalized(text) for text in these} & {normalized(text) for text in others} - {""}


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=12).digest()


def _same(one: Document, other: Document) -> bool:
    return one.text == other.text and {(*e.span, e.label) for e in one.entities} == {
        (*e.span, e.label) for e in other.entities
    }
