"""All three readings of one file: the score by the requested one, and each record on which they differ, and why."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genner.document import DROPPED_KINDS, Document, LabelSet
from genner.errors import UnknownNameError
from genner.evaluation import Counts
from genner.evaluation.intervals import f1
from genner.evaluation.pairing import genner_version, sign
from genner.evaluation.units import Units, units_of
from genner.generations.labels import infer_labels
from genner.generations.paper import PAPER_RULES, PaperReading
from genner.generations.readings import READINGS, ReadingName
from genner.generations.records import GenerationRecord, read_generations
from genner.generations.score_report import Disagreement, GenerationsReport, ReadingScore
from genner.generations.strict import StrictResult, score_strict


def score_generations(
    path: Path,
    format: str,
    rule: str,
    labels: LabelSet | None = None,
    gold: Sequence[Document] | None = None,
    *,
    group_by: str | None = None,
) -> GenerationsReport:
    """Score `generated_predictions.jsonl` by all of `READINGS`; `rule` selects the one reported as the score.

    `labels` is the requested label set; without it the labels found in the answers are used, and the report says so.
    `gold`, the documents in the order of the file, replaces the `label` strings, except for `paper`. Intervals are over
    groups of these, as in `evaluate` (`group_by`), or over records without them. Raises `UnknownNameError` for an
    unknown format or rule, `DataError` for a file that cannot be read, `UsageError` when gold documents and records do
    not pair up.
    """
    if format not in PAPER_RULES:
        raise UnknownNameError("format of generations", format, PAPER_RULES)
    chosen = next((name for name in READINGS if name == rule), None)
    if chosen is None:
        raise UnknownNameError("rule", rule, READINGS)
    generations = read_generations(path)
    records = generations.records
    used = labels or infer_labels(records, format)
    tags = used.tags if used else ()
    readings = [PAPER_RULES[format](record.predict, record.label, tags) for record in records]
    # If no label occurs there is nothing to decode, and any label set will do.
    results = score_strict(records, format, used or LabelSet.of("none"), gold)
    by_reading: dict[ReadingName, list[dict[str, Counts]]] = {
        "paper": [reading.counts() for reading in readings],
        "strict": [result.strict for result in results],
        "repaired": [result.repaired for result in results],
    }
    totals = {name: [sum(c.values(), Counts()) for c in counts] for name, counts in by_reading.items()}
    per_label: dict[str, Counts] = {tag: Counts() for tag in labels.tags} if labels else {}
    for counts in by_reading[chosen]:
        for label, counted in counts.items():
            per_label[label] = per_label.get(label, Counts()) + counted
    cases = [
        Disagreement(record.line, paper, strict, repaired, _reasons(reading, result, paper, strict, repaired))
        for record, reading, result, paper, strict, repaired in zip(
            records, readings, results, totals["paper"], totals["strict"], totals["repaired"], strict=True
        )
        if not paper == strict == repaired
    ]
    units = Units(tuple(range(len(records))), "record", "record") if gold is None else units_of(gold, group_by)
    return GenerationsReport(
        rule=chosen,
        format=format,
        labels=tags,
        inferred=labels is None,
        readings={name: _score(counts, units) for name, counts in totals.items()},
        units=units,
        per_label=dict(sorted(per_label.items())),
        records=len(records),
        skipped=generations.skipped,
        missing=Counter(key for record in records for key in record.missing),
        by_text=sum(reading.by_text for reading in readings),
        basis=Counter(result.basis for result in results),
        misplaced=sum(result.misplaced for result in results),
        problems=sum((result.problems for result in results), Counter()),
        cases=tuple(cases),
        signature=sign(
            {
                "match": chosen,
                "format": format,
                "labels": ",".join(tags),
                "gold": "documents" if gold is not None else "answers",
                "records": str(len(records)),
                "data": _digest(records),
                "genner": genner_version(),
                **units.signature(),
            },
            {},
        ),
    )


def nothing_to_score(report: GenerationsReport, path: Path) -> str:
    """Why a report of this file scores nothing, and what to change; empty where any reading counts an entity."""
    if any(c.tp or c.fp or c.fn for c in (score.counts for score in report.readings.values())):
        return ""
    if not report.records:
        return f"{path} has no record that can be read: nothing can be scored"
    some = read_generations(path).records[:100]
    others = [name for name in PAPER_RULES if name != report.format and infer_labels(some, name)]
    advice = f"the answers may be in {' or '.join(others)}" if others else "or give another file"
    return (
        f"no answer of {path} names an entity in {report.format}, and neither does the gold: nothing can be scored, 0 "
        f"of 0 are right; --format says how the answers are written ({advice})"
    )


def _score(counts: Sequence[Counts], units: Units) -> ReadingScore:
    found = f1([c.tp for c in counts], [c.fp for c in counts], [c.fn for c in counts], units.of)
    return ReadingScore(sum(counts, Counts()), found.interval(), found.effective)


def _reasons(
    reading: PaperReading, result: StrictResult, paper: Counts, strict: Counts, repaired: Counts
) -> tuple[str, ...]:
    """Why the readings differ on a record; if no other reason is found, the number of entities of each."""
    reasons = []
    if paper != strict:
        if reading.by_text:
            reasons.append("paper matches texts here, not positions")
        if len(reading.gold) != result.gold:
            reasons.append("the gold answer is read differently")
        if not reading.pred and result.found:
            reasons.append("paper discards the whole answer")
        elif len(set(reading.pred)) < len(reading.pred):
            reasons.append("an entity is written more than once")
    if strict != repaired:
        if result.problems["realigned"]:
            reasons.append("repaired finds a misplaced mention again")
        if any(result.problems[kind] for kind in DROPPED_KINDS):
            reasons.append("repaired drops what has no place or no label")
    if not reasons:
        totals = {c.tp + c.fp for c in (paper, strict, repaired)}
        reasons.append("the answer is read differently" if len(totals) > 1 else "other entities match")
    return tuple(reasons)


def _digest(records: Sequence[GenerationRecord]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of all answers, gold and predicted."""
    sha = hashlib.sha256()
    for record in records:
        sha.update(repr((record.predict, record.label)).encode("utf-8", "backslashreplace") + b"\n")
    return sha.hexdigest()[:12]
