"""The scores stored with a model: each with set, split, number of sentences, interval and signature.

A number without these is not a result and is refused. Scores come from reports of `genner evaluate --json`, of
`benchmarks/score.py`, or of a cell of an assessment.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genner.data.catalog import catalog
from genner.errors import UsageError

MAX_SHOWN_SCORES = 100
"""Minimum number of sentences in a dev sample for a card to show its scores."""
BEGIN, END = "<!-- scores: written by `genner card --scores` -->", "<!-- end of scores -->"
"""Markers around the scores in a hand-written card."""

_GIVEN = re.compile(r"([^=/]+)/([^=/]+)=(.+)")


@dataclass(frozen=True)
class ModelScore:
    """Strict span micro-F1 on documents of one split of one set, as counts, with its 95 % interval in [0, 1].

    `sentences` is the number scored, `of` the number in the split (None if unknown). `low` and `high` are None if there
    are too few sentences for an interval.
    """

    set: str
    split: str
    sentences: int
    tp: int
    fp: int
    fn: int
    low: float | None
    high: float | None
    signature: str
    of: int | None = None

    @property
    def precision(self) -> float:
        return self.tp / (self.tp + self.fp or 1)

    @property
    def recall(self) -> float:
        return self.tp / (self.tp + self.fn or 1)

    @property
    def f1(self) -> float:
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn or 1)

    @property
    def said(self) -> dict[str, str]:
        """The settings in the signature."""
        return dict(part.split(":", 1) for part in self.signature.split("|"))

    @property
    def adapter(self) -> str:
        """The first digits of the adapter's SHA-256, from the signature; empty if it has none."""
        return self.said.get("adapter", "")

    @classmethod
    def of_json(cls, raw: Mapping[str, Any]) -> "ModelScore":
        """From `asdict`. Raises `TypeError`, `ValueError` or `KeyError` if something is missing or illegal."""
        return _checked(cls(**raw))


def read_scores(given: str, adapter: str | None) -> list[ModelScore]:
    """The results in `[SET/SPLIT=]FILE`, for the model whose adapter, if any, has this SHA-256.

    Raises `UsageError` when a report lacks a part of a result, or is for another model.
    """
    path = Path(given)
    name = ("", "")
    if not path.is_file() and (match := _GIVEN.fullmatch(given)):
        name, path = (match[1], match[2]), Path(match[3])
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        # A file's own name may hold "=", so that what is no SET/SPLIT=FILE was taken for a name.
        form = "; legal: FILE, or SET/SPLIT=FILE as in genia/test=scores.json" if "=" in str(path) else ""
        raise UsageError(f"--scores {path}: {error}; give a report of `genner evaluate --json`{form}") from None
    reports = list(_reports(raw, name)) if isinstance(raw, dict) else []
    if not reports:
        raise UsageError(
            f"--scores {path} holds no scores; give the output of `genner evaluate --json`, of benchmarks/score.py, or "
            "the result.json of an assessment's cell"
        )
    found = []
    for (set_name, split), report in reports:
        if not (set_name and split):
            raise UsageError(
                f"--scores {path} does not say which split of which set it is of; say it: --scores SET/SPLIT={path}, "
                f"as in genia/test={path}"
            )
        try:
            result = _checked(_result(set_name, split, report))
            if result.low is None:
                raise ValueError("it has no interval: too little was sampled")
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"--scores {path}, {set_name}/{split}: {_reason(error)}; a score needs its counts, the number of its "
                "documents, its interval and its signature: `genner evaluate GOLD PRED --json` writes them"
            ) from None
        mine = (adapter or "none")[:12]
        if (known := (result.adapter or mine).removesuffix("-merged")) != mine:
            raise UsageError(f"--scores {path}, {set_name}/{split}: of adapter {known}, and this model's is {mine}")
        found.append(result)
    return found


def merged(old: Iterable[ModelScore], new: Iterable[ModelScore]) -> tuple[ModelScore, ...]:
    """Results by set, split and format; new ones replace old ones."""
    return tuple({(r.set, r.split, r.said.get("format")): r for r in (*old, *new)}.values())


def table(results: Sequence[ModelScore]) -> str:
    """A Markdown table of results, with their signatures."""
    lines = [
        "| set | split | sentences | format | precision | recall | micro-F1 | 95 % interval | over |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        number = f"{r.sentences:,}" + (f" of {r.of:,}" if r.of and r.of != r.sentences else "")
        form = r.said.get("format")
        cells = (f"{100 * x:.1f}" for x in (r.precision, r.recall, r.f1))
        over = f"{int(r.said['units']):,} {r.said.get('unit')}s" if r.said.get("units", "").isdigit() else "not said"
        bounds = "-" if r.low is None or r.high is None else f"{100 * r.low:.1f} to {100 * r.high:.1f}"
        row = [f"`{r.set}`", r.split, number, f"`{form}`" if form else "not said", *cells, bounds, over]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "Strict spans and labels, entities of any score unless a signature has `min_score`. Signatures:", ""]
    return "\n".join([*lines, *(f"- `{r.set}`, {r.split}: `{r.signature}`" for r in results)])


def model_index(name: str, results: Sequence[ModelScore]) -> str:
    """Results as the hub's `model-index`, one line of YAML."""
    entries = [
        {
            "task": {"type": "token-classification", "name": "Named entity recognition"},
            "dataset": {"type": r.set, "name": _title(r.set), "split": r.split},
            "metrics": [
                {"type": kind, "value": round(value, 4), "name": f"strict span micro-{kind}", "args": _about(r)}
                for kind, value in (("f1", r.f1), ("precision", r.precision), ("recall", r.recall))
            ],
        }
        for r in results
    ]
    return f"model-index: {json.dumps([{'name': name, 'results': entries}], ensure_ascii=False)}"


def dev_text(dev: Mapping[str, Any], bare: bool) -> list[str]:
    """The card's text on scores from training: of samples of the dev splits, by which the checkpoint was chosen;
    `bare`: the files have numbers that lack the parts of a result."""
    if bare:
        return ["Its files hold scores from training without the number of sentences, which are no results: not shown."]
    results = [ModelScore.of_json(raw) for raw in dev.get("results", ())]
    shown = [r for r in results if r.sentences >= MAX_SHOWN_SCORES]
    lines = []
    if results and not shown:
        most = max(r.sentences for r in results)
        lines.append(
            f"The checkpoint was chosen on samples of the dev splits, {most} sentences a set at most. Those are too "
            f"few to be results, and are not shown (from {MAX_SHOWN_SCORES} on they are)."
        )
    if shown:
        left_out = len(results) - len(shown)
        less = f"; {left_out} with fewer than {MAX_SHOWN_SCORES} sentences are not shown" if left_out else ""
        lines += [f"Samples of the dev splits, on which the checkpoint was chosen, so that they flatter it{less}:", ""]
        lines += [table(shown)]
    return lines


def replaced(card: str, results: Sequence[ModelScore]) -> str | None:
    """A hand-written card with these results between `BEGIN` and `END`; None if it lacks these markers."""
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(results)}\n{END}{after}" if begin and end else None


def to_json(results: Iterable[ModelScore]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]


def _reports(raw: Mapping[str, Any], name: tuple[str, str]) -> Iterable[tuple[tuple[str, str], Mapping[str, Any]]]:
    """The reports in a file, each with its set and split, as far as these are given."""
    if raw.get("kind") == "score" and isinstance(raw.get("metrics"), dict):  # a cell of an assessment
        about = raw.get("description", {})
        strict = raw["metrics"].get("strict") or {}
        tp = strict.get("correct", 0)
        counts = {"tp": tp, "fp": strict.get("predicted", 0) - tp, "fn": strict.get("gold", 0) - tp} if strict else {}
        report = {
            "micro": counts,
            "interval": [strict.get("low"), strict.get("high")],
            "documents": raw["metrics"].get("documents"),
            "signature": raw.get("signature"),
        }
        yield (name if all(name) else (about.get("corpus", ""), about.get("split", ""))), report
    elif "micro" in raw:
        yield name if all(name) else (raw.get("set", ""), raw.get("split", "")), raw
    else:  # of benchmarks/score.py: by SET/SPLIT/FORMAT/DECODING
        for key, report in raw.items():
            if isinstance(report, dict) and "micro" in report:
                set_name, _, rest = key.partition("/")
                yield (set_name, rest.partition("/")[0]), report


def _result(set_name: str, split: str, report: Mapping[str, Any]) -> ModelScore:
    if not isinstance(counts := report["micro"], dict):
        raise ValueError(f"'micro' is {counts!r}, no counts")
    low, high = report["interval"] or (None, None)
    known = {s.name: s.sentences for s in catalog()[set_name].splits} if set_name in catalog() else {}
    return ModelScore(
        set_name,
        split,
        report["documents"],
        counts["tp"],
        counts["fp"],
        counts["fn"],
        low,
        high,
        report["signature"],
        known.get(split),
    )


def _checked(result: ModelScore) -> ModelScore:
    """The result, if complete and consistent. Raises `ValueError`."""
    for key in ("sentences", "tp", "fp", "fn"):
        if type(getattr(result, key)) is not int or getattr(result, key) < (key == "sentences"):
            raise ValueError(f"{key!r} is {getattr(result, key)!r}, no count")
    for key in ("low", "high"):
        value = getattr(result, key)
        if value is not None and (type(value) not in (int, float) or not 0 <= value <= 1):
            raise ValueError(f"the interval's {key!r} is {value!r}, not in [0, 1]")
    if result.low is not None and result.high is not None and not result.low <= result.f1 <= result.high:
        raise ValueError(f"the interval {result.low:.4f} to {result.high:.4f} does not hold the F1 {result.f1:.4f}")
    if not isinstance(result.signature, str) or not {"match", "docs", "gold"} <= result.said.keys():
        raise ValueError(f"the signature {result.signature!r} does not say match, docs and gold")
    if result.said["docs"] != str(result.sentences) or result.said["match"] != "strict":
        raise ValueError(f"the signature is of {result.said['docs']} documents, matched {result.said['match']}")
    return result


def _reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)


def _about(result: ModelScore) -> dict[str, Any]:
    return {
        "sentences": result.sentences,
        "f1_interval_95": [result.low, result.high],
        "signature": result.signature,
    }


def _title(name: str) -> str:
    return catalog()[name].title if name in catalog() else name
