"""What the model knows about a set from its name alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genner.contamination.base import ContaminationCase, Finding, Measure, Signal
from genner.contamination.resumable import ResumableItems
from genner.contamination.statistics import rank_p
from genner.evaluation.jackknife import LEVEL

if TYPE_CHECKING:
    from genner.contamination.language_model import LanguageModel

OTHER_SETS = (
    "CoNLL-2003", "OntoNotes 5.0", "ACE 2005", "MUC-7", "WNUT 2017", "WikiANN", "WikiGold", "GermEval 2014", "Few-NERD",
    "MIT Movie", "MIT Restaurant", "NCBI Disease", "BC5CDR", "GENIA", "JNLPBA", "BC2GM", "AnatEM", "LitBank",
    "FIN", "BTC", "Universal NER English-EWT", "CrossNER politics", "CrossNER AI", "SciERC", "NEREL", "MultiNERD",
)  # fmt: skip
"""Names of other sets, used as controls."""

MENTIONS = 20
"""Number of distinct mentions that are tested."""

QUESTION_PROMPT = (
    "Name the entity types that are annotated in the {name} dataset for named entity recognition, with commas."
)
LABELS_PROMPT = "The {name} dataset for named entity recognition has annotations of these entity types: "
MENTION_PROMPT = (
    'In the {split} split of the {name} dataset for named entity recognition, this is annotated as {label}: "'
)


@dataclass(frozen=True)
class NameRecall(Signal):
    """Whether the model knows the set's labels and mentions, given only its name and split.

    Shows: what the model has read about the set. `labels`: whether the list of its labels is likelier after its name
    than after the names of 25 other sets (the share of names that it outranks, with the p value of that rank);
    `mentions`: the same for 20 mentions of the split; `named`: the share of labels that a free answer names;
    `named_others`: how many of them the model names for the other sets.
    Cannot show: that the data were read. Papers and dataset cards list labels, and a name that reveals the subject
    (NCBI Disease) suggests labels and mentions without any reading. The signal has no power for a model that cannot
    name the labels of a set on which it was trained with thousands of examples; genner's training does not mention
    names of sets.
    Sources: Sainz et al. (2023), "NLP Evaluation in Trouble: On the Need to Measure LLM Data Contamination for each
    Benchmark" (asking a model for a set's contents by its name, also their blog "Did ChatGPT cheat on your test?");
    Golchin and Surdeanu (2024), "Time Travel in LLMs". Ranking among other names is our own.
    """

    def look(self, case: ContaminationCase, sides: Sequence["LanguageModel"], kept: ResumableItems) -> list[Finding]:
        others = [name for name in OTHER_SETS if _plain(name) not in _plain(case.name) + " " + _plain(case.split)]
        names = [case.name, *others]
        mentions = _mentions(case)
        targets = [f"{', '.join(label.name or label.tag for label in case.labels)}."]
        findings = []
        for side in sides:
            by_label = _likelihoods(side, [(LABELS_PROMPT, "", target) for target in targets], names, case.split, kept)
            by_mention = _likelihoods(side, [(MENTION_PROMPT, *one) for one in mentions], names, case.split, kept)
            measures = {"labels": _ranked(by_label)}
            if mentions:
                measures["mentions"] = _ranked(by_mention)
            answers = _answers(side, names, kept)
            named = [self._named(case, answer) for answer in answers]
            measures["named"] = Measure(named[0], len(case.labels))
            measures["named_others"] = Measure(sum(named[1:]) / len(named[1:]), len(named) - 1)
            findings.append(_finding(side.name, measures, len(others), answers[0]))
        return findings

    def _named(self, case: ContaminationCase, answer: str) -> float:
        said = _plain(answer)
        hits = [any(_plain(word) in said for word in {label.tag, label.name} if word) for label in case.labels]
        return sum(hits) / len(hits)


def _finding(side: str, measures: dict[str, Measure], others: int, answer: str) -> Finding:
    parts = [
        f"the labels outrank {measures['labels'].value:.0%} of {others} other names (p = {measures['labels'].p:.2f})"
    ]
    if found := measures.get("mentions"):
        parts.append(f"mentions of the split {found.value:.0%} (p = {found.p:.2f})")
    own, rest = measures["named"].value, measures["named_others"].value
    parts.append(f"a free answer names {own:.0%} of the labels (for other names {rest:.0%})")
    said = "; ".join(parts)
    ranks = [measures[name] for name in ("labels", "mentions") if name in measures]
    if all(rank.p is not None and rank.p <= LEVEL for rank in ranks):
        return Finding(side, "found", said, measures, ({"answer": answer},))
    said += "; whether a model that had read it would say more is not known"
    return Finding(side, "unknown", said, measures, ({"answer": answer},))


def _ranked(values: Sequence[float]) -> Measure:
    """The share of the other names that the first one outranks."""
    own, rest = values[0], values[1:]
    return Measure(sum(own > other for other in rest) / len(rest), len(rest), p=rank_p(own, rest))


def _mentions(case: ContaminationCase) -> list[tuple[str, str]]:
    """(label name, mention) of distinct mentions, evenly spaced over the sample."""
    names = {label.tag: label.name or label.tag for label in case.labels}
    found = dict.fromkeys((names[e.label], d.mention(e)) for d in case.sample for e in d.entities)
    some = list(found)
    number = min(MENTIONS, len(some))
    return [some[i * len(some) // number] for i in range(number)]


def _likelihoods(
    side: "LanguageModel",
    targets: Sequence[tuple[str, str, str]],
    names: Sequence[str],
    split: str,
    kept: ResumableItems,
) -> list[float]:
    """For each name, the mean log-likelihood per token of the targets, each (template, label, text)."""
    asked = [
        [template.format(name=name, split=split, label=label), text]
        for name in names
        for template, label, text in targets
    ]

    def compute(places: list[int]) -> Iterator[tuple[int, Any]]:
        rows = []
        for i in places:
            prompt = side.encode(asked[i][0])
            whole = side.encode(asked[i][0] + asked[i][1])
            same = next((k for k, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt))
            rows.append((whole, min(same, len(whole) - 1)))
        for row, scored in side.score(rows):
            yield places[row], sum(scored.logp) / len(scored.logp)

    values = iter(kept.fill(f"names, {side.name}", asked, compute))
    return [sum(next(values) for _ in targets) / len(targets) for _ in names] if targets else []


def _answers(side: "LanguageModel", names: Sequence[str], kept: ResumableItems) -> list[str]:
    asked = [QUESTION_PROMPT.format(name=name) for name in names]

    def compute(places: list[int]) -> Iterator[tuple[int, Any]]:
        ids = [side.prompt(asked[i]) for i in places]
        for row, text in side.write(ids, [64] * len(ids)):
            yield places[row], text

    found: list[str] = kept.fill(f"answers, {side.name}", asked, compute)
    return found


def _plain(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())
