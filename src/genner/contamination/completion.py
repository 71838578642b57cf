"""Completion: does the model reproduce the rest of a text, or the next line of the file?"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genner.contamination.base import MIN_SAMPLE, ContaminationCase, Finding, Measure, Signal
from genner.contamination.membership import is_adapted
from genner.contamination.resumable import ResumableItems
from genner.contamination.statistics import mean_difference
from genner.document import Document
from genner.evaluation.jackknife import LEVEL
from genner.evaluation.words import words

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel

MOST_TOKENS = 64
MIN_WORDS = 6
"""Minimum number of words of a continuation; an exact match of fewer may be chance."""
CONTEXT_LINES = 3
"""Lines of the file that precede the one to be completed."""

MAX_SHOWN_COMPLETIONS = 5
WAYS = ("guided", "general", "plain")

GUIDED = (
    "You are provided with the first piece of an instance from the {split} split of the {name} dataset. Finish the "
    "second piece of the instance exactly as it appears in the dataset.\nFirst piece: {first}\nSecond piece:"
)
GENERAL = (
    "Finish the second piece of the text, so that the two pieces together are one text.\n"
    "First piece: {first}\nSecond piece:"
)


@dataclass(frozen=True)
class Completion(Signal):
    """Whether the model, given the set's name and split, writes the rest of a text exactly as in the file.

    Shows: that a text, or the file, was memorized. The first half of each text is given in three ways: `guided` by an
    instruction with name and split, `general` by one without them, `plain` as bare text; for `next`, three lines of the
    file are given. `exact` is the share of continuations of six words or more that the model reproduces word for word,
    `guided` or `plain`; `guided`, `general`, `plain`, `next` are the mean ROUGE-L F1 against the truth; `guided_gain`
    is the paired difference of the first two, `next_gain` that of the next line and another line of the file.
    Cannot show: that a text was not seen: models reproduce word for word only what they have read many times, and small
    models rarely even that. Without exact matches among the members the signal has no power. Formulaic texts are
    completed without memory, so exact matches count only if unseen texts have fewer. A gain of the guided instruction
    without exact matches may come from a name that reveals the subject, a gain of the next line from an article that
    continues.
    Sources: Golchin and Surdeanu (2024), "Time Travel in LLMs: Tracing Data Contamination in Large Language Models"
    (guided and general instruction, ROUGE-L, exact matches; instructions in our own words); Carlini et al. (2023),
    "Quantifying Memorization Across Neural Language Models" (bare text).
    """

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        places = {id(document): i for i, document in enumerate(case.test)}
        following = [i for d in case.sample if (i := places[id(d)]) >= CONTEXT_LINES]
        lines = [document.text for document in case.test]
        halves = {
            group: [two for d in documents if (two := split(d)) is not None]
            for group, documents in case.groups().items()
        }
        findings = []
        for side in sides:
            if len(halves["test"]) < MIN_SAMPLE:
                said = f"{len(halves['test'])} texts of {2 * MIN_WORDS} words or more; it takes {MIN_SAMPLE}"
                findings.append(Finding(side.name, "unknown", said))
                continue
            # The other groups show how many texts come out word for word, by memory or by chance.
            ways = {"test": WAYS, "members": ("guided", "plain"), "unseen": ("guided", "plain")}
            written = {
                group: {way: _written(side, way, some, case, kept) for way in ways[group]}
                for group, some in halves.items()
            }
            adapted = is_adapted(side.name, [each.name for each in sides])
            found = _Found(halves, written, lines, following, _next(side, lines, following, kept))
            findings.append(found.finding(side.name, adapted, self.seed))
        return findings


@dataclass(frozen=True)
class _Found:
    """A side's continuations: of each first half, by group and way; `after`: of the lines before each place."""

    halves: dict[str, list[tuple[str, str]]]
    written: dict[str, dict[str, list[str]]]
    lines: Sequence[str]
    following: Sequence[int]
    after: Sequence[str]

    def hits(self, group: str) -> list[int]:
        """The texts whose rest came out word for word, in any of the ways used for all groups."""
        ways = self.written[group]
        rests = [rest for _, rest in self.halves[group]]
        return [i for i, rest in enumerate(rests) if any(starts(ways[way][i], rest) for way in ("guided", "plain"))]

    def finding(self, side: str, adapted: bool, seed: int) -> Finding:
        rests = [rest for _, rest in self.halves["test"]]
        overlap = {
            way: [rouge_l(text, rest) for text, rest in zip(some, rests, strict=True)]
            for way, some in self.written["test"].items()
        }
        measures = {way: _mean(values) for way, values in overlap.items()}
        gains = [a - b for a, b in zip(overlap["guided"], overlap["general"], strict=True)]
        gain = measures["guided_gain"] = mean_difference(gains, seed)
        hits = {group: self.hits(group) for group in self.halves}
        for group, name in (("test", "exact"), ("members", "exact_members"), ("unseen", "exact_unseen")):
            if number := len(self.halves[group]):
                measures[name] = Measure(len(hits[group]) / number, number)
        lines = self._lines(measures, seed)
        said = (
            f"{len(hits['test'])} of {len(rests)} rests and {len(lines)} of {len(self.following)} next lines word for"
        )
        said += " word"
        if known := len(self.halves["members"]):
            said += f" (of texts trained on {len(hits['members'])} of {known} rests"
            said += f", of unseen ones {len(hits['unseen'])} of {len(self.halves['unseen'])})"
        said += f"; ROUGE-L with the set's name {gain.value:+.2f} (p = {gain.p:.3f})"
        examples = [
            {"first": self.halves["test"][i][0], "rest": rests[i]} for i in hits["test"][:MAX_SHOWN_COMPLETIONS]
        ]
        examples += [{"next": self.lines[i]} for i in lines[:MAX_SHOWN_COMPLETIONS]]
        luck = measures["exact_unseen"].value if "exact_unseen" in measures else 0.0
        if lines or measures["exact"].value > luck:
            return Finding(side, "found", said, measures, tuple(examples))
        if gain.p is not None and gain.p <= LEVEL:
            return Finding(side, "unknown", f"{said}; a gain without exact matches may be the name's subject", measures)
        if adapted and known:
            return Finding(side, "nothing found" if hits["members"] else "no power", said, measures)
        return Finding(side, "unknown", f"{said}; no texts are known that should come out word for word", measures)

    def _lines(self, measures: dict[str, Measure], seed: int) -> list[int]:
        """The next lines that came out word for word; adds its numbers to the measures."""
        if not self.following:
            return []
        each = list(zip(self.after, self.following, strict=True))
        far = len(self.lines) // 2
        true = [rouge_l(text, self.lines[i]) for text, i in each]
        other = [rouge_l(text, self.lines[(i + far) % len(self.lines)]) for text, i in each]
        matched = [i for text, i in each if len(_words(self.lines[i])) >= MIN_WORDS and starts(text, self.lines[i])]
        measures["next"] = _mean(true)
        measures["next_gain"] = mean_difference([a - b for a, b in zip(true, other, strict=True)], seed)
        measures["next_exact"] = Measure(len(matched) / len(each), len(each))
        return matched


def split(document: Document) -> tuple[str, str] | None:
    """The first half of a text and the rest, split between words; None if the rest is too short to rule out chance."""
    found = words(document.text)
    if len(found.starts) < 2 * MIN_WORDS:
        return None
    at = found.starts[len(found.starts) // 2]
    return document.text[:at].rstrip(), document.text[at:].strip()


def _written(
    side: "LanguageModel", way: str, halves: Sequence[tuple[str, str]], case: ContaminationCase, kept: ResumableItems
) -> list[str]:
    """The model's continuation of each first half."""
    template = {"guided": GUIDED, "general": GENERAL, "plain": "{first}"}[way]
    prompts = [template.format(first=first, name=case.name, split=case.split) for first, _ in halves]
    return _go_on(side, way, prompts, [rest for _, rest in halves], way != "plain", kept)


def _next(side: "LanguageModel", lines: Sequence[str], places: Sequence[int], kept: ResumableItems) -> list[str]:
    """The one line that the model writes after the lines before each place."""
    prompts = ["\n".join(lines[i - CONTEXT_LINES : i]) + "\n" for i in places]
    written = _go_on(side, "next", prompts, [lines[i] for i in places], False, kept)
    return [text.lstrip("\n").partition("\n")[0] for text in written]


def _go_on(
    side: "LanguageModel",
    way: str,
    prompts: Sequence[str],
    truths: Sequence[str],
    instructs: bool,
    kept: ResumableItems,
) -> list[str]:
    """The continuation of each prompt, about as long as the truth; an instruction is a user turn if the model has a
    chat template.
    """

    def compute(places: list[int]) -> Iterator[tuple[int, Any]]:
        ids = [side.prompt(prompts[i]) if instructs else side.encode(prompts[i]) for i in places]
        rooms = [min(MOST_TOKENS, len(side.encode(truths[i])) + 8) for i in places]
        for row, text in side.write(ids, rooms):
            yield places[row], text

    asked = [[prompt, len(truth)] for prompt, truth in zip(prompts, truths, strict=True)]
    found: list[str] = kept.fill(f"{way}, {side.name}", asked, compute)
    return found


def starts(text: str, truth: str) -> bool:
    """Whether `text` begins with all words of `truth`, ignoring case and punctuation."""
    wanted = _words(truth)
    return bool(wanted) and _words(text)[: len(wanted)] == wanted


def rouge_l(text: str, truth: str) -> float:
    """ROUGE-L F1 (Lin, 2004, "ROUGE: A Package for Automatic Evaluation of Summaries") of casefolded words, in [0, 1]:
    based on the longest common subsequence, with equal weight of recall and precision.
    """
    a, b = _words(text), _words(truth)
    if not a or not b:
        return 0.0
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return 2 * row[-1] / (len(a) + len(b))


def _words(text: str) -> list[str]:
    found = words(text)
    some = (text[start:end].casefold() for start, end in zip(found.starts, found.ends, strict=True))
    return [word for word in some if re.match(r"\w", word)]


def _mean(values: Sequence[float]) -> Measure:
    return Measure(sum(values) / len(values), len(values))
