"""What scores are worth: bins, calibration error, the precision-recall curve, on slow code and on scikit-learn."""

import csv
import json
import math
import random
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Run

from genner.document import Document, Entity, Prediction
from genner.errors import UsageError
from genner.evaluation import evaluate
from genner.evaluation.confidence import Confidence, brier, by_chance, calibration_error, curve, reliability
from genner.evaluation.confidence_plot import wilson
from genner.evaluation.counts import Counts

# Ties and the edges of bins are what goes wrong.
scores = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.9, 1.0])
judged = st.lists(st.tuples(scores, st.booleans()), max_size=30)


def slow_error(pairs: Sequence[tuple[float, bool]], bins: int) -> float:
    """Each entity against each bin."""
    total = 0.0
    for i in range(bins):
        low, high = i / bins, (i + 1) / bins
        mine = [(s, r) for s, r in pairs if low <= s < high or (i == bins - 1 and s == 1.0)]
        if mine:
            share = len([r for _, r in mine if r]) / len(mine)
            total += len(mine) / len(pairs) * abs(sum(s for s, _ in mine) / len(mine) - share)
    return total


@given(pairs=judged, bins=st.integers(1, 20))
@settings(deadline=None)
def test_the_calibration_error_is_the_slow_one(pairs: list[tuple[float, bool]], bins: int) -> None:
    found = calibration_error([s for s, _ in pairs], [r for _, r in pairs], bins)
    assert found == pytest.approx(slow_error(pairs, bins), abs=1e-12)
    assert 0.0 <= found <= 1.0


@given(pairs=judged.filter(bool), bins=st.integers(1, 20))
@settings(deadline=None)
def test_bins_are_those_of_scikit_learn(pairs: list[tuple[float, bool]], bins: int) -> None:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    given_scores, right = [s for s, _ in pairs], [r for _, r in pairs]
    inner = {i / bins for i in range(1, bins)}
    made = reliability(given_scores, right, bins)
    assert sum(b.count for b in made) == len(pairs)
    if not inner & set(given_scores):  # there, a score on an edge lies below it
        shares, means = calibration_curve(right, given_scores, n_bins=bins)
        filled = [b for b in made if b.count]
        assert [b.right for b in filled] == pytest.approx(list(shares))
        assert [b.score for b in filled] == pytest.approx(list(means))
    assert brier(given_scores, right) == pytest.approx(brier_score_loss(right, given_scores, pos_label=True))


def test_perfect_scores_have_no_error_and_the_worst_have_all() -> None:
    assert calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert calibration_error([1.0, 0.0], [False, True]) == 1.0
    assert calibration_error([], []) == 0.0
    with pytest.raises(UsageError, match="0 bins; legal: 1 or more"):
        reliability([0.5], [True], 0)


def test_the_error_of_perfect_scores() -> None:
    """One entity is off by its distance to the truth; two in a bin make up for each other half of the time."""
    assert by_chance([]) == 0.0
    assert by_chance([0.5]) == 0.5
    assert by_chance([1.0, 0.0]) == 0.0
    assert by_chance([0.5, 0.5], draws=4000) == pytest.approx(0.25, abs=0.02)
    assert by_chance([0.25], draws=4000) == pytest.approx(2 * 0.25 * 0.75, abs=0.02)
    # Perfect scores have it, on average.
    rng = random.Random(0)
    some = [rng.random() for _ in range(300)]
    drawn = [calibration_error(some, [rng.random() < s for s in some]) for _ in range(100)]
    assert by_chance(some) == pytest.approx(sum(drawn) / len(drawn), rel=0.1)


# -- documents


@st.composite
def systems(draw: st.DrawFn) -> tuple[list[Document], list[Prediction]]:
    """Gold and scored predictions over the same texts."""
    gold, pred = [], []
    for i in range(draw(st.integers(1, 4))):
        text = "abcdef"
        spans = [(a, b, label) for a in range(4) for b in range(a + 1, 6) for label in "PL"]
        true = draw(st.lists(st.sampled_from(spans), max_size=4, unique=True))
        found = draw(st.lists(st.sampled_from([*spans, *true * 5]), max_size=6, unique=True))
        gold.append(Document(text, tuple(Entity(*span) for span in true), str(i)))
        entities = tuple(Entity(*span, draw(scores)) for span in found)
        pred.append(Prediction(text, entities, str(i)))
    return gold, pred


def kept(pred: Sequence[Prediction], least: float) -> list[Prediction]:
    """As `extract --min-score`."""
    return [Prediction(p.text, tuple(e for e in p.entities if e.score is None or e.score >= least), p.id) for p in pred]


@given(both=systems())
@settings(max_examples=60, deadline=None)
def test_each_point_is_what_a_least_score_gives(both: tuple[list[Document], list[Prediction]]) -> None:
    gold, pred = both
    found = Confidence.of(gold, pred)
    assert found.curve[0].least == 0.0
    assert {point.least for point in found.curve} == {0.0, *(e.score for p in pred for e in p.entities)}
    assert [point.least for point in found.curve] == sorted({point.least for point in found.curve})
    by_hand = [evaluate(gold, kept(pred, point.least)).micro for point in found.curve]
    assert [point.counts for point in found.curve] == by_hand
    # What is chosen is the best that any least score gives.
    assert found.best.counts.f1 == max(counts.f1 for counts in by_hand)
    for precision in (0.5, 0.8, 1.0):
        enough = [point for point in found.curve if point.counts.precision >= precision]
        assert found.reaching(precision) == (enough[0] if enough else None)
        assert all(point.counts.recall <= enough[0].counts.recall for point in enough)


@given(both=systems())
@settings(max_examples=60, deadline=None)
def test_average_precision_is_that_of_scikit_learn(both: tuple[list[Document], list[Prediction]]) -> None:
    from sklearn.metrics import average_precision_score

    found = Confidence.of(*both)
    if not any(found.right):
        assert found.average_precision == 0.0
        return
    # Its recall is of what was found; here what was missed counts as well.
    reached = sum(found.right) / found.gold
    theirs = average_precision_score(list(found.right), list(found.scores)) * reached
    assert found.average_precision == pytest.approx(theirs)


@given(pairs=judged, gold=st.integers(30, 40))
@settings(deadline=None)
def test_recall_falls_with_the_least_score(pairs: list[tuple[float, bool]], gold: int) -> None:
    points = curve([s for s, _ in pairs], [r for _, r in pairs], gold)
    recalls = [point.counts.recall for point in points]
    assert recalls == sorted(recalls, reverse=True)
    assert all(point.counts.tp + point.counts.fn == gold for point in points)


def test_entities_without_a_score_are_never_left_out() -> None:
    gold = [Document("Ann met Bob", (Entity(0, 3, "PER"), Entity(8, 11, "PER")))]
    pred = [Prediction("Ann met Bob", (Entity(0, 3, "PER"), Entity(4, 7, "PER"), Entity(8, 11, "PER", 0.5)))]
    found = Confidence.of(gold, pred)
    assert found.unscored == Counts(tp=1, fp=1)
    assert [point.counts for point in found.curve] == [
        evaluate(gold, kept(pred, point.least)).micro for point in found.curve
    ]
    assert "without a score, and never left out: 2" in found.table()
    unscored = [Prediction("Ann met Bob", (Entity(0, 3, "PER"),))]
    with pytest.raises(UsageError, match=r"no predicted entity has a score.*give what `genner extract` wrote"):
        Confidence.of(gold, unscored)
    nothing = Confidence.of(gold, [Prediction("Ann met Bob")])
    assert [point.counts for point in nothing.curve] == [Counts(fn=2)]
    assert (nothing.error, nothing.average_precision, nothing.reaching(0.8)) == (0.0, 0.0, None)


# -- the command line


def write(path: Path, documents: Sequence[Document]) -> str:
    path.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in documents))
    return path.name


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Gold, and predictions of which those with high scores are right."""
    texts = [f"Ann met Bob and Eve{i}" for i in range(20)]
    gold = [Document(t, (Entity(0, 3, "PER"), Entity(8, 11, "PER")), str(i)) for i, t in enumerate(texts)]
    pred = [
        Prediction(t, (Entity(0, 3, "PER", 0.9 + i / 1000), Entity(16, 19, "PER", 0.2 + i / 100)), str(i))
        for i, t in enumerate(texts)
    ]
    return write(tmp_path / "gold.jsonl", gold), write(tmp_path / "pred.jsonl", pred)


def test_a_curve_from_the_command_line(run: Run, files: tuple[str, str], tmp_path: Path) -> None:
    code, out, err = run("evaluate", *files, "--pr-curve", "curve.csv")
    assert (code, "curve written to curve.csv" in err) == (0, True)
    assert "scores: 40 entities, expected calibration error 0.19" in out
    rows = list(csv.DictReader((tmp_path / "curve.csv").open()))
    assert [float(row["min_score"]) for row in rows] == pytest.approx(
        [0.0, *(0.2 + i / 100 for i in range(20)), *(0.9 + i / 1000 for i in range(20))]
    )
    best = max(rows, key=lambda row: (float(row["f1"]), -float(row["min_score"])))
    assert (best["min_score"], best["precision"], best["recall"]) == ("0.9", "1", "0.5")
    assert f"{0.9:>13.4f} {1:>10.4f} {0.5:>9.4f} {2 / 3:>9.4f}        20   best f1" in out
    # What the line says is what leaving out gives.
    record = json.loads(run("evaluate", *files, "--pr-curve", "again.csv", "--json")[1])["scores"]
    assert record["best"]["min_score"] == 0.9
    assert math.isclose(record["calibration_error"], 0.19275, abs_tol=1e-6)
    assert [b["count"] for b in record["bins"]] == [0, 0, 10, 10, 0, 0, 0, 0, 0, 20]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_picture(run: Run, files: tuple[str, str], tmp_path: Path, kind: str) -> None:
    assert run("evaluate", *files, "--pr-curve", f"curve.{kind}")[0] == 0
    made = (tmp_path / f"curve.{kind}").read_bytes()
    if kind == "png":
        assert made.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", made[16:24])
        assert width > 2 * height > 400
    else:
        assert {"svg": b"</svg>", "pdf": b"%%EOF"}[kind] in made


def test_a_picture_of_nothing(run: Run, tmp_path: Path) -> None:
    gold = write(tmp_path / "g.jsonl", [Document("Ann", (Entity(0, 3, "PER"),), "1")])
    pred = write(tmp_path / "p.jsonl", [Document("Ann", (), "1")])
    code, out, _ = run("evaluate", gold, pred, "--pr-curve", "c.png")
    assert code == 0
    assert "scores: 0 entities" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pr-curve", "c.jpg"], r"ends in '.jpg'; legal: .csv, .png, .svg, .pdf"),
        (["--pr-curve", "c"], r"ends in ''; legal: .csv"),
        (["--pr-curve", "c.csv", "--generations", "gold.jsonl"], "leave out PRED, --html, --pr-curve and --train"),
    ],
)
def test_wrong_use_is_named(run: Run, files: tuple[str, str], arguments: list[str], message: str) -> None:
    given_files = files if "--generations" not in arguments else files[:1]
    code, _, err = run("evaluate", *given_files, *arguments)
    assert code == 2
    assert message in err
    assert not Path("c.csv").exists()


def test_unscored_predictions_have_no_curve(run: Run, files: tuple[str, str]) -> None:
    code, _, err = run("evaluate", files[0], files[0], "--pr-curve", "c.csv")
    assert (code, "no predicted entity has a score" in err) == (2, True)


@pytest.mark.parametrize(
    ("share", "n", "low", "high"), [(0.0, 10, 0.0, 0.2775), (0.5, 10, 0.2366, 0.7634), (0.95, 100, 0.8882, 0.9785)]
)
def test_the_bars_of_the_diagram_have_wilsons_intervals(share: float, n: int, low: float, high: float) -> None:
    """Newcombe (1998) and statsmodels give the same figures."""
    assert wilson(share, n) == pytest.approx((low, high), abs=1e-4)
