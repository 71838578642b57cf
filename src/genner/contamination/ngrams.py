"""Word n-grams of the test set that occur in the training data."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from genner.contamination.base import ContaminationCase, Finding, Measure, Signal
from genner.contamination.overlap import by_side
from genner.contamination.resumable import ResumableItems

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel

SIZES = (8, 13)
CONTAMINATED_SHARE = 0.7
"""Minimum share of its 8-grams for a text to count as contaminated (PaLM)."""
MAX_SHOWN_GRAMS = 20

# In scripts without spaces between words, each character counts as a word.
_WORD = re.compile(r"[぀-ヿ㐀-鿿豈-﫿가-힯฀-๿]|[^\W_぀-ヿ㐀-鿿豈-﫿가-힯฀-๿]+")


@dataclass(frozen=True)
class Ngrams(Signal):
    """Word 8-grams and 13-grams of the test set that also occur in training, ignoring case and punctuation.

    Shows: sentences that were copied in part or with changes. `any_8` and `any_13`: the share of texts with an n-gram
    in common, of those long enough to have one; `covered_8` and `covered_13`: the share of all distinct n-grams;
    `most_8`: the share of texts with at least 70 % of their 8-grams in the training data.
    Cannot show: paraphrases, nor anything about texts of fewer than 8 words. 8-grams can be common phrases ("on the
    basis of the results of the") or formulas of a genre, so `any_8` is above 0 even for clean splits.
    Sources: Brown et al. (2020), "Language Models are Few-Shot Learners", appendix C (13-grams); Chowdhery et al.
    (2022), "PaLM: Scaling Language Modeling with Pathways" (70 % of the 8-grams).
    """

    asks: ClassVar[bool] = False

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        tests = [words_of(document.text) for document in case.test]
        measures: dict[str, Measure] = {}
        most: list[int] = []
        for size in SIZES:
            wanted = {gram for words in tests for gram in grams(words, size)}
            train = (d.text for source in case.train for d in source.documents)
            found = met(wanted, train, size)
            rows = [[gram in found for gram in grams(words, size)] for words in tests]
            long = [row for row in rows if row]
            measures[f"any_{size}"] = Measure(_share(map(any, long)), len(long))
            measures[f"covered_{size}"] = Measure(len(found) / len(wanted) if wanted else 0.0, len(wanted))
            if size == SIZES[0]:
                most = [i for i, row in enumerate(rows) if row and sum(row) >= CONTAMINATED_SHARE * len(row)]
                measures["most_8"] = Measure(len(most) / len(long) if long else 0.0, len(long))
        any_8, any_13 = measures["any_8"], measures["any_13"]
        said = (
            f"{any_13.value:.1%} of {any_13.n:,} texts share a run of 13 words, {any_8.value:.1%} of {any_8.n:,} one "
            f"of 8, {len(most):,} most of theirs; {len(tests) - any_8.n:,} texts are too short to tell"
        )
        examples = tuple({"id": case.test[i].id, "text": case.test[i].text} for i in most[:MAX_SHOWN_GRAMS])
        blind = case.complete and not any_8.n
        hit = bool(most) or any_13.value > 0
        return by_side(case, sides, hit, said, measures, examples, "no power" if blind else None)


def words_of(text: str) -> list[str]:
    """The words of a text, casefolded: runs of letters and digits; single characters in scripts without spaces."""
    return _WORD.findall(text.casefold())


def grams(words: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """All n-grams of so many words."""
    return zip(*(words[i:] for i in range(size)), strict=False)


def met(wanted: set[tuple[str, ...]], texts: Iterable[str], size: int) -> set[tuple[str, ...]]:
    """The n-grams that occur in at least one of the texts. Memory does not grow with the texts."""
    found: set[tuple[str, ...]] = set()
    for text in texts:
        found |= wanted.intersection(grams(words_of(text), size))
    return found


def _share(flags: Iterable[bool]) -> float:
    some = list(flags)
    return sum(some) / len(some) if some else 0.0
