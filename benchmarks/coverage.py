"""Simulated coverage of the intervals, and how often equal systems are found to differ.

    python benchmarks/coverage.py                                    # the figures of docs/scores.md; minutes
    python benchmarks/coverage.py --real GOLD.jsonl PRED.jsonl       # 20 random groups of real predictions

Units are drawn from an infinite corpus with known F1. `flat`: sentences with 1.5 entities (Poisson), each found
independently. `articles`: 15 entities on average, log-normal (sigma 0.8), with an intra-unit correlation of 0.1;
`hard`: the same with 0.3; `books`: 100 on average (sigma 1), 0.05. Each error is a missed entity and one false
positive. Two systems share half of the difficulty of a unit, and find each entity independently.

`--real` repeatedly draws 20 groups of a test set, and counts how often their interval, over documents and over groups,
contains the F1 of the whole set.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genner.data import read_corpus
from genner.evaluation.intervals import f1, over_seeds
from genner.evaluation.jackknife import Estimate
from genner.evaluation.metrics import strict
from genner.evaluation.pairing import pair
from genner.evaluation.units import units_of

Counts = NDArray[np.int64]  # [3, units]: true positives, false positives, false negatives

# Entities per unit: the mean, the sigma of the logarithm (0: Poisson); the correlation within a unit.
DESIGNS = {"flat": (1.5, 0.0, 0.0), "articles": (15, 0.8, 0.1), "hard": (15, 0.8, 0.3), "books": (100, 1.0, 0.05)}
UNITS = (20, 50, 200, 1000)
SCORES = (0.5, 0.7, 0.9, 0.93, 0.95)
GAPS = (0.0, 0.03)


def sizes(design: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The number of entities of each unit."""
    size, sigma, _ = DESIGNS[design]
    return rng.poisson(size, n) if not sigma else rng.lognormal(np.log(size) - sigma**2 / 2, sigma, n).astype(np.int64)


def quality(design: str, score: float, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The per-unit F1 of a system with this overall F1."""
    within = DESIGNS[design][2]
    return rng.beta(score * (1 / within - 1), (1 - score) * (1 / within - 1), n) if within else np.full(n, score)


def found(size: NDArray[np.int64], good: NDArray[np.float64], rng: np.random.Generator) -> Counts:
    tp = rng.binomial(size, good)
    return np.stack([tp, rng.poisson(size * (1 - good)), size - tp])


def percentile(counts: Counts, rng: np.random.Generator) -> tuple[float, float]:
    """The former method: the percentile interval of 400 bootstrap resamples."""
    times = rng.multinomial(counts.shape[1], np.full(counts.shape[1], 1 / counts.shape[1]), 400)
    tp, fp, fn = (times @ counts.T).T
    scores = np.sort(2 * tp / np.maximum(2 * tp + fp + fn, 1))
    return float(scores[9]), float(scores[-10])


def alone(design: str, n: int, score: float, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Coverage of our intervals and of percentile intervals (the latter on a quarter of the draws, up to 200 units)."""
    ours = before = 0
    few = max(draws // 4, 1) if n <= 200 else 0
    for turn in range(draws):
        counts = found(sizes(design, n, rng), quality(design, score, n, rng), rng)
        low, high = f1(*counts).interval() or (0.0, 1.0)
        ours += low <= score <= high
        if turn < few:
            low, high = percentile(counts, rng)
            before += low <= score <= high
    return ours / draws, before / few if few else float("nan")


def together(
    design: str, n: int, score: float, gap: float, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """For two systems, the second better by `gap`: the coverage of the intervals, and the share of p-values up to
    0.05."""
    held = told = 0
    within = DESIGNS[design][2]
    for _ in range(draws):
        size = sizes(design, n, rng)
        if within:
            # Half of the units are equally hard for both systems: the same quantile in each distribution.
            place, other = rng.random(n), rng.random(n)
            shared = rng.random(n) < 0.5
            good = [_beta(design, s, p) for s, p in ((score, place), (score + gap, np.where(shared, place, other)))]
        else:
            good = [np.full(n, score), np.full(n, score + gap)]
        one, two = (f1(*found(size, g, rng)) for g in good)
        d = (two - one).difference()
        held, told = held + (d.low <= gap <= d.high), told + d.sure
    return held / draws, told / draws


_TABLES: dict[tuple[str, float], NDArray[np.float64]] = {}


def _beta(design: str, score: float, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of `quality`, from a table of 20,000 draws."""
    key = design, round(score, 4)
    if key not in _TABLES:
        _TABLES[key] = np.sort(quality(design, score, 20_000, np.random.default_rng(1)))
    return _TABLES[key][(place * 20_000).astype(int)]


def crossed(seeds: int, n: int, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Mean F1 0.7, standard deviation over seeds 1 point: coverage of the interval over documents alone, and over
    documents and seeds."""
    apart = both = 0
    for _ in range(draws):
        size, good = sizes("articles", n, rng), quality("articles", 0.7, n, rng)
        shifts = rng.normal(0, 0.01, seeds)
        scored = [f1(*found(size, np.clip(good + shift, 0, 1), rng)) for shift in shifts]
        whole = over_seeds(scored, "seeds")
        only = Estimate(whole.value, {k: s for k, s in whole.samples.items() if k != "seeds"})
        holds = [low <= 0.7 <= high for low, high in (e.interval() or (0.0, 1.0) for e in (only, whole))]
        apart, both = apart + holds[0], both + holds[1]
    return apart / draws, both / draws


def real(gold: Path, pred: Path, draws: int, rng: np.random.Generator) -> Iterator[str]:
    """How often the interval from 20 random groups of a test set contains the F1 of the whole set."""
    documents = list(read_corpus(gold))
    units = units_of(documents)
    counted = [strict(g, p) for g, p in pair(documents, list(read_corpus(pred)))]
    counts = np.array([(c.tp, c.fp, c.fn) for c in counted]).T
    whole = f1(*counts).value
    yield f"{gold}: {len(documents)} documents, {units.about}, F1 {whole:.4f}"
    for name, unit in (("documents", None), (units.what + "s", units.of)):
        low, high = f1(*counts, unit).interval() or (float("nan"),) * 2
        yield f"  interval over {name}: {low:.4f} to {high:.4f}"
    numbers = np.array(units.of)
    if units.number < 40:
        yield f"  {units.number} groups: too few to draw 20 of them again and again"
        return
    held = np.zeros(2)
    for _ in range(draws):
        chosen = rng.choice(units.number, 20, replace=False)
        rows = np.flatnonzero(np.isin(numbers, chosen))
        packed = np.unique(numbers[rows], return_inverse=True)[1].tolist()
        for k, unit in enumerate((None, packed)):
            low, high = f1(*counts[:, rows], unit).interval() or (0.0, 1.0)
            held[k] += low <= whole <= high
    over = held / draws
    yield f"  from 20 random groups, {draws} times: over documents {over[0]:.3f}, over groups {over[1]:.3f} hold it"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--draws", type=int, default=2000, help="of each row; the error of 2000 is 0.5 percentage points"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--units", type=int, nargs="+", default=UNITS, help="rows of so many units")
    parser.add_argument("--real", type=Path, nargs=2, metavar=("GOLD", "PRED"))
    args = parser.parse_args()

    def rng(*row: float) -> np.random.Generator:
        """Each row has its own random numbers, so that a subset of the rows gives the same results."""
        return np.random.default_rng([args.seed, *(round(1000 * number) for number in row)])

    if args.real:
        print(*real(*args.real, args.draws, rng()), sep="\n")
        return
    print("| units | F1 | " + " | ".join(f"{d}, percentile" for d in DESIGNS) + " |")
    for n in args.units:
        for score in SCORES:
            cells = [alone(design, n, score, args.draws, rng(n, score)) for design in DESIGNS]
            print(f"| {n} | {score} | " + " | ".join(f"{o:.3f}, {b:.3f}" for o, b in cells) + " |", flush=True)
    print("\n| units | F1, gap | " + " | ".join(f"{d}: held, told apart" for d in DESIGNS) + " |")
    for n in args.units:
        for score in (0.6, 0.9):
            for gap in GAPS:
                pairs = [together(design, n, score, gap, args.draws, rng(n, score, gap)) for design in DESIGNS]
                row = " | ".join(f"{held:.3f}, {told:.3f}" for held, told in pairs)
                print(f"| {n} | {score}, {gap} | {row} |", flush=True)
    print("\n| seeds | documents alone | documents and seeds |")
    for seeds in (2, 3, 5, 10):
        shares = " | ".join(f"{x:.3f}" for x in crossed(seeds, 200, args.draws, rng(seeds)))
        print(f"| {seeds} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
