"""From document scores to a finding: do they separate trained-on texts, and the test set, from unseen texts?

A score alone means nothing: a text may be likely because it is short or simple. So every comparison is with `unseen`
documents of the same kind, and a negative result counts only if the score detects the `members`, which were trained on.
"""

from collections.abc import Mapping, Sequence

from genner.contamination.base import ADAPTER, BASE, MIN_SAMPLE, ContaminationCase, Finding, Measure
from genner.contamination.statistics import auc
from genner.evaluation.jackknife import LEVEL

DocumentScores = Mapping[str, Sequence[float]]
"""The scores of the documents of each group (`ContaminationCase.groups`), higher for seen documents."""


def judged(case: ContaminationCase, side: str, scores: Mapping[str, DocumentScores], adapted: bool) -> Finding:
    """The finding of a side from several named scores; `adapted`: whether the side was trained on `members`.

    Each of k scores is tested at level 0.05 / k (Bonferroni). The signal is present if a score is significantly higher
    on the test set than on the unseen documents, and on the members too, if there are any. Raises nothing.
    """
    measures: dict[str, Measure] = {}
    for name, groups in scores.items():
        unseen = groups.get("unseen", ())
        for group in ("members", "test"):
            if len(groups.get(group, ())) >= MIN_SAMPLE and len(unseen) >= MIN_SAMPLE:
                measures[f"{name}_{group}"] = auc(groups[group], unseen)
    level = LEVEL / max(len(scores), 1)
    tests = {name: measures[f"{name}_test"] for name in scores if f"{name}_test" in measures}
    members = {name: measures[f"{name}_members"] for name in scores if f"{name}_members" in measures}
    if not tests:
        return Finding(side, "unknown", _why(case), measures)
    best = max(tests, key=lambda name: tests[name].value)
    said = f"the test set against unseen texts: AUC {tests[best]} at most ({best}, of {len(scores)} scores)"
    if not adapted or not members:
        reason = (
            "what the base was trained on is not known, so there is nothing to prove the signal by"
            if side == BASE
            else "no texts of this kind are known to have been trained on (--members), so there is nothing to prove "
            "the signal by"
        )
        apart = _sure(tests[best], level)
        what = "they differ, which may be their kind as well as what was seen; " if apart else ""
        return Finding(side, "unknown", f"{said}; {what}{reason}", measures)
    strong = max(members, key=lambda name: members[name].value)
    proof = f"texts that were trained on: {members[strong]} ({strong})"
    seeing = [name for name in members if _sure(members[name], level)]
    found = [name for name in seeing if name in tests and _sure(tests[name], level)]
    if found:
        name = max(found, key=lambda name: tests[name].value)
        return Finding(side, "found", f"{_pair(name, tests[name])}; {proof}", measures)
    if not seeing:
        return Finding(side, "no power", f"{said}; {proof}, which cannot be told from 0.5", measures)
    name = max(seeing, key=lambda name: members[name].value)
    return Finding(side, "nothing found", f"{_pair(name, tests[name])}; {proof}", measures)


def _pair(name: str, measure: Measure) -> str:
    return f"the test set against unseen texts: AUC {measure} ({name})"


def _sure(measure: Measure, level: float) -> bool:
    return measure.value > 0.5 and measure.p is not None and measure.p <= level


def _why(case: ContaminationCase) -> str:
    """Why no comparison was made."""
    if not case.unseen:
        return "no texts of this kind are known to be unseen: give some as --unseen FILE"
    small = min(len(case.unseen), len(case.sample))
    return f"{small} documents to compare are too few; it takes {MIN_SAMPLE} of the test set and as many unseen ones"


def is_adapted(side: str, sides: Sequence[str]) -> bool:
    """Whether `members` are training data of this side: the adapter, or the model itself if there is no adapter."""
    return side == ADAPTER or ADAPTER not in sides
