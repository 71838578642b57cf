"""The report on a file of generations, as JSON and as text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genner.evaluation import Counts
from genner.evaluation.jackknife import Interval
from genner.evaluation.report import as_dict, classification_table, micro_lines, shown_interval
from genner.evaluation.units import Units
from genner.generations.readings import READINGS, ReadingName
from genner.generations.strict import IN_GOLD

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


def _numbers(counts: Counts) -> dict[str, float]:
    return {"tp": counts.tp, "fp": counts.fp, "fn": counts.fn}


def _some(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} (" + ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "") + ")"
