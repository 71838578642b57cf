"""All three readings of one file: the score by the requested one, and each record on which they differ, and why."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genner.document import Document, LabelSet
from genner.errors import UnknownNameError
from genner.evaluation import Counts
from genner.evaluation.intervals import f1
from genner.evaluation.jackknife import Interval
from genner.evaluation.pairing import genner_version, sign
from genner.evaluation.report import as_dict, classification_table, micro_lines, shown_interval
from genner.evaluation.units import Units, units_of
from genner.generations.labels import infer_labels
from genner.generations.paper import PAPER_RULES, PaperReading
from genner.generations.readings import READINGS, ReadingName
from genner.generations.records import GenerationRecord, read_generations
from genner.generations.strict import IN_GOLD, StrictResult, score_strict

MAX_SHOWN_DISAGREEMENTS = 10  # number of cases in the printed report; the JSON has all

BASES = {
    "spans": "spans in the source text",
    "items": "items, which name a place each, since no prompt holds the source text",
    "texts": "label and text as multisets: NOT spans, since the answers hold no places and no prompt the source text",
}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A record for which the three readings have different counts, and why."""

    line: int
    paper: Counts
    strict: Counts
    repaired: Counts
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadingScore:
    """The counts by a reading, and the interval of their micro-F1 in [0, 1], None if there are too few units.

    `effective` is the effective number of units: as many equally sized units would be as informative.
    """

    counts: Counts
    interval: Interval | None
    effective: float


@dataclass(frozen=True, slots=True)
class GenerationsReport:
    """The score of a file of generations by `rule`; `readings` has the score by each of `READINGS`.

    If the source text of a record is unknown, nothing can be repaired, and `repaired` equals `strict`. Ratios are in
    [0, 1]; intervals are 95 % intervals of micro-F1 over `units`: those of the gold documents, or else the records.
    `basis` is what `strict` matched, by number of records; `misplaced` is the number of mentions that the text does not
    have at the stated place, each a false positive of `strict`; `problems` is what `repaired` had to repair or drop.
    `skipped` are the numbers of lines that are not JSON, which no reading counts; `missing` is the number of records
    that lack a key, whose answer then counts as empty.
    """

    rule: ReadingName
    format: str
    labels: tuple[str, ...]
    inferred: bool
    readings: dict[ReadingName, ReadingScore]
    units: Units
    per_label: dict[str, Counts]
    records: int
    skipped: tuple[int, ...]
    missing: Counter[str]
    by_text: int
    basis: Counter[str]
    misplaced: int
    problems: Counter[str]
    cases: tuple[Disagreement, ...]
    signature: str

    @property
    def micro(self) -> Counts:
        """The counts by `rule`."""
        return self.readings[self.rule].counts

    @property
    def interval(self) -> Interval | None:
        """The interval of the micro-F1 by `rule`."""
        return self.readings[self.rule].interval

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, unrounded."""
        return {
            "micro": as_dict(self.micro),
            "interval": list(self.interval) if self.interval else None,
            "units": self.units.to_dict(self.readings[self.rule].effective),
            "per_label": {label: as_dict(counts) for label, counts in self.per_label.items()},
            "rule": self.rule,
            "readings": {
                name: as_dict(score.counts) | {"interval": list(score.interval) if score.interval else None}
                for name, score in self.readings.items()
            },
            "format": self.format,
            "labels": list(self.labels),
            "labels_inferred": self.inferred,
            "records": self.records,
            "skipped_lines": list(self.skipped),
            "records_without": dict(self.missing),
            "paper_by_text": self.by_text,
            "strict_basis": dict(self.basis),
            "strict_misplaced": self.misplaced,
            "repaired_problems": dict(self.problems),
            "cases": [
                {
                    "line": case.line,
                    **{name: _numbers(getattr(case, name)) for name in READINGS},
                    "reasons": list(case.reasons),
                }
                for case in self.cases
            ],
            "signature": self.signature,
        }

    def table(self) -> str:
        """The report as text: seqeval's table, the counting rule, all three readings, where and why they differ."""
        lines = [
            *classification_table(self.per_label, self.micro),
            "",
            *micro_lines(self.micro, self.interval, self.units, self.readings[self.rule].effective),
            f"rule: {self.rule}; format: {self.format}; records: {self.records}; "
            f"labels{' (found in the answers)' if self.inferred else ''}: {', '.join(self.labels) or 'none'}",
        ]
        if self.skipped:
            lines.append(f"lines that are not JSON, not counted: {_some(self.skipped)}")
        lines += [f"records without {key!r}, which count as an empty one: {n}" for key, n in self.missing.items()]
        lines += [f"strict: matched {n} records by {BASES[basis]}" for basis, n in self.basis.items()]
        if self.misplaced:
            lines.append(f"strict: mentions that the text does not have where the answer puts them: {self.misplaced}")
        for what, end in (("gold answers", IN_GOLD), ("repaired", "")):
            counts = [
                f"{n} {kind.removesuffix(IN_GOLD)}"
                for kind, n in self.problems.most_common()
                if kind.endswith(IN_GOLD) == bool(end)
            ]
            if counts:
                lines.append(f"{what}: {', '.join(counts)}")
        lines += [f"signature: {self.signature}", "", *self._side_by_side(), "", *self._explained()]
        return "\n".join(lines)

    def _side_by_side(self) -> list[str]:
        columns = {"precision": 9, "recall": 9, "f1-score": 9, "95% interval": 16, "tp": 8, "fp": 8, "fn": 8}
        lines = [f"{'':>8}" + "".join(f" {name:>{width}}" for name, width in columns.items())]
        for name, score in self.readings.items():
            c = score.counts
            ratios = (f"{x:.4f}" for x in (c.precision, c.recall, c.f1))
            shown = (*ratios, shown_interval(score.interval), c.tp, c.fp, c.fn)
            lines.append(f"{name:>8}" + "".join(f" {x:>{w}}" for x, w in zip(shown, columns.values(), strict=True)))
        return lines

    def _explained(self) -> list[str]:
        if not self.cases:
            return ["the three readings agree on every record"]
        reasons = Counter(reason for case in self.cases for reason in case.reasons)
        lines = [f"the three readings differ on {len(self.cases)} of {self.records} records:"]
        lines += [f"{n:>7}  {reason}" for reason, n in reasons.most_common()]
        lines += ["", "   line" + "".join(f"   {name:>8} tp fp fn" for name in READINGS) + "   why"]
        for case in self.cases[:MAX_SHOWN_DISAGREEMENTS]:
            counts: list[Counts] = [getattr(case, name) for name in READINGS]
            numbers = "".join(f"   {c.tp:>11} {c.fp:>2} {c.fn:>2}" for c in counts)
            lines.append(f"{case.line:>7}{numbers}   {'; '.join(case.reasons)}")
        if len(self.cases) > MAX_SHOWN_DISAGREEMENTS:
            lines.append(f"the first {MAX_SHOWN_DISAGREEMENTS} of {len(self.cases)}; --json lists all")
        return lines


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
        if result.problems["dropped"]:
            reasons.append("repaired drops what has no place or no label")
    if not reasons:
        totals = {c.tp + c.fp for c in (paper, strict, repaired)}
        reasons.append("the answer is read differently" if len(totals) > 1 else "other entities match")
    return tuple(reasons)


def _numbers(counts: Counts) -> dict[str, float]:
    return {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn}


def _some(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} (" + ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "") + ")"


def _digest(records: Sequence[GenerationRecord]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of all answers, gold and predicted."""
    sha = hashlib.sha256()
    for record in records:
        sha.update(repr((record.predict, record.label)).encode("utf-8", "backslashreplace") + b"\n")
    return sha.hexdigest()[:12]
