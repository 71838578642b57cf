"""Both rules on one file: the score by the one asked for, and every record on which they differ, with the reasons.

Beside them stands what the answers are worth `as said`: strictly, but with nothing looked up or repaired.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genner.document import Document, LabelSet
from genner.errors import UnknownNameError
from genner.evaluation import Counts, interval
from genner.evaluation.pairing import genner_version, sign
from genner.evaluation.report import as_dict, classification_table
from genner.generations.labels import infer_labels
from genner.generations.paper import PAPER_RULES, Reading
from genner.generations.records import Record, read_generations
from genner.generations.sound import Sound, judge

RuleName = Literal["paper", "strict"]
RULES: tuple[RuleName, ...] = ("paper", "strict")
SHOWN = 10  # cases in the printed report; all are in the JSON

BASES = {
    "spans": "spans in the source text",
    "items": "items, which name a place each, since no prompt holds the source text",
    "texts": "label and text as multisets: NOT spans, since the answers hold no places and no prompt the source text",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A record that the two rules count differently, and why."""

    line: int
    paper: Counts
    strict: Counts
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GenerationsReport:
    """The score of a file of generations by `rule`, beside `other`, the same counts by the other rule.

    `as_said` are the strict counts if no mention is looked up (`genner.generations.readings`); where the source is not
    known, those of `strict`. Ratios are in [0, 1]; `interval` is that of micro-F1 at 95 %, by bootstrap over the
    records. `basis` is what the strict rule matched, by number of records; `problems` what its decoder had to repair or
    drop. `skipped` are the numbers of lines that are not JSON, which neither rule counts.
    """

    rule: RuleName
    format: str
    labels: tuple[str, ...]
    inferred: bool
    micro: Counts
    other: Counts
    as_said: Counts
    interval: tuple[float, float]
    per_label: dict[str, Counts]
    records: int
    skipped: tuple[int, ...]
    by_text: int
    basis: Counter[str]
    problems: Counter[str]
    cases: tuple[Case, ...]
    signature: str

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types, unrounded."""
        return {
            "micro": as_dict(self.micro),
            "interval": list(self.interval),
            "per_label": {label: as_dict(counts) for label, counts in self.per_label.items()},
            "rule": self.rule,
            "format": self.format,
            "labels": list(self.labels),
            "labels_inferred": self.inferred,
            "records": self.records,
            "skipped_lines": list(self.skipped),
            "paper_by_text": self.by_text,
            "strict_basis": dict(self.basis),
            "strict_problems": dict(self.problems),
            "other_rule": as_dict(self.other),
            "as_said": as_dict(self.as_said),
            "cases": [
                {
                    "line": case.line,
                    "paper": {"tp": case.paper.tp, "fp": case.paper.fp, "fn": case.paper.fn},
                    "strict": {"tp": case.strict.tp, "fp": case.strict.fp, "fn": case.strict.fn},
                    "reasons": list(case.reasons),
                }
                for case in self.cases
            ],
            "signature": self.signature,
        }

    def table(self) -> str:
        """The report as text: seqeval's table, then how it was counted, then where and why the two rules differ."""
        low, high = self.interval
        paper, strict = (self.micro, self.other) if self.rule == "paper" else (self.other, self.micro)
        lines = [
            *classification_table(self.per_label, self.micro),
            "",
            f"micro F1 {self.micro.f1:.4f}, 95% interval {low:.4f} to {high:.4f} (bootstrap over records)",
            f"rule: {self.rule}; format: {self.format}; records: {self.records}; "
            f"labels{' (found in the answers)' if self.inferred else ''}: {', '.join(self.labels) or 'none'}",
        ]
        if self.skipped:
            lines.append(f"lines that are not JSON, not counted: {_some(self.skipped)}")
        lines += [f"strict matched {n} records by {BASES[basis]}" for basis, n in self.basis.items()]
        if self.problems:
            lines.append("strict decoder: " + ", ".join(f"{n} {kind}" for kind, n in self.problems.most_common()))
        lines += [f"signature: {self.signature}", "", *_readings(paper, self.as_said, strict), "", *self._explained()]
        return "\n".join(lines)

    def _explained(self) -> list[str]:
        if not self.cases:
            return ["the two rules agree on every record"]
        reasons = Counter(reason for case in self.cases for reason in case.reasons)
        lines = [f"the two rules differ on {len(self.cases)} of {self.records} records:"]
        lines += [f"{n:>7}  {reason}" for reason, n in reasons.most_common()]
        lines += ["", "   line    paper tp fp fn    strict tp fp fn   why"]
        for case in self.cases[:SHOWN]:
            a, b = case.paper, case.strict
            lines.append(
                f"{case.line:>7}    {a.tp:>8} {a.fp:>2} {a.fn:>2}    {b.tp:>9} {b.fp:>2} {b.fn:>2}   "
                + "; ".join(case.reasons)
            )
        if len(self.cases) > SHOWN:
            lines.append(f"the first {SHOWN} of {len(self.cases)}; --json lists all")
        return lines


def score_generations(
    path: Path,
    format: str,
    rule: str,
    labels: LabelSet | None = None,
    gold: Sequence[Document] | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> GenerationsReport:
    """Score `generated_predictions.jsonl` by the paper's rule or by strict spans.

    `labels` is the label set that was asked for; without it the labels found in the answers are taken, and the report
    says so. `gold`, the documents in the order of the file, is used by the strict rule in place of the `label` strings.
    Raises `UnknownNameError` for a format or rule that is not known, `DataError` for a file that cannot be read,
    `UsageError` when gold documents and records do not pair up.
    """
    if format not in PAPER_RULES:
        raise UnknownNameError("format of generations", format, PAPER_RULES)
    if rule not in RULES:
        raise UnknownNameError("rule", rule, RULES)
    chosen_rule, other_rule = RULES if rule == RULES[0] else RULES[::-1]
    generations = read_generations(path)
    records = generations.records
    used = labels or infer_labels(records, format)
    tags = used.tags if used else ()
    readings = [PAPER_RULES[format](record.predict, record.label, tags) for record in records]
    # Where no label occurs there is nothing to decode, and any label set will do.
    sounds = judge(records, format, used or LabelSet.of("none"), gold)
    by_rule: dict[RuleName, list[dict[str, Counts]]] = {
        "paper": [reading.counts() for reading in readings],
        "strict": [sound.counts for sound in sounds],
    }
    totals = {name: [_total(counts) for counts in by_rule[name]] for name in RULES}
    chosen = totals[chosen_rule]
    per_label: dict[str, Counts] = {tag: Counts() for tag in labels.tags} if labels else {}
    for counts in by_rule[chosen_rule]:
        for label, counted in counts.items():
            per_label[label] = per_label.get(label, Counts()) + counted
    cases = [
        Case(record.line, paper, strict, _reasons(reading, sound, paper, strict))
        for record, reading, sound, paper, strict in zip(
            records, readings, sounds, totals["paper"], totals["strict"], strict=True
        )
        if paper != strict
    ]
    return GenerationsReport(
        rule=chosen_rule,
        format=format,
        labels=tags,
        inferred=labels is None,
        micro=sum(chosen, Counts()),
        other=sum(totals[other_rule], Counts()),
        as_said=sum((sound.as_said for sound in sounds), Counts()),
        interval=interval(
            [c.tp for c in chosen], [c.fp for c in chosen], [c.fn for c in chosen], resamples=resamples, seed=seed
        ),
        per_label=dict(sorted(per_label.items())),
        records=len(records),
        skipped=generations.skipped,
        by_text=sum(reading.by_text for reading in readings),
        basis=Counter(sound.basis for sound in sounds),
        problems=sum((sound.problems for sound in sounds), Counter()),
        cases=tuple(cases),
        signature=sign(
            {
                "match": chosen_rule,
                "format": format,
                "labels": ",".join(tags),
                "gold": "documents" if gold is not None else "answers",
                "records": str(len(records)),
                "data": _digest(records),
                "genner": genner_version(),
                "bootstrap": str(resamples),
                "seed": str(seed),
            },
            {},
        ),
    )


def _total(counts: dict[str, Counts]) -> Counts:
    return sum(counts.values(), Counts())


def _reasons(reading: Reading, sound: Sound, paper: Counts, strict: Counts) -> tuple[str, ...]:
    """Why the two rules differ on a record; the last resort is how many entities each reads."""
    reasons = []
    if reading.by_text:
        reasons.append("paper matches texts here, not positions")
    if len(reading.gold) != sound.gold:
        reasons.append("the gold answer is read differently")
    if not reading.pred and sound.pred:
        reasons.append("paper discards the whole answer")
    elif len(set(reading.pred)) < len(reading.pred):
        reasons.append("an entity is written more than once")
    if sound.problems["realigned"]:
        reasons.append("strict finds a misplaced mention again")
    if sound.problems["dropped"]:
        reasons.append("strict drops what has no place or no label")
    if not reasons:
        reasons.append(
            "the answer is read differently" if paper.tp + paper.fp != strict.tp + strict.fp else "other entities match"
        )
    return tuple(reasons)


def _readings(paper: Counts, as_said: Counts, strict: Counts) -> list[str]:
    head = f"{'':>8}" + "".join(f" {x:>9}" for x in ("precision", "recall", "f1-score", "tp", "fp", "fn"))
    rows = [
        f"{name:>8}" + "".join(f" {x:>9.4f}" for x in (c.precision, c.recall, c.f1)) + f" {c.tp:>9} {c.fp:>9} {c.fn:>9}"
        for name, c in (("paper", paper), ("as said", as_said), ("strict", strict))
    ]
    return [head, *rows]


def _some(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} (" + ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "") + ")"


def _digest(records: Sequence[Record]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of all answers, gold and predicted."""
    sha = hashlib.sha256()
    for record in records:
        sha.update(repr((record.predict, record.label)).encode("utf-8", "backslashreplace") + b"\n")
    return sha.hexdigest()[:12]
