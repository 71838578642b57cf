"""The bootstrap's speed: 10,000 resamples of 3,500 sentences, against a plain loop over the same draws.

    OMP_NUM_THREADS=1 python benchmarks/bootstrap.py [--out times.json]

The loop is timed on a share of the resamples and scaled up, since all of them would take minutes; the fast way must
give the same scores on that share. Seconds of CPU time, best of three runs each, so that a busy machine matters less.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genner.evaluation.bootstrap import Array, bounds, ratio, resample

SHARE = 200  # resamples that the loop does


def loop(values: Array, resamples: int) -> list[list[float]]:
    """F1 of each score on each resample, one document at a time."""
    rng = np.random.default_rng(0)
    rows = values.astype(int).tolist()
    n, columns = values.shape
    scores = []
    for _ in range(resamples):
        sums = [0] * columns
        for i in rng.integers(n, size=n, dtype=np.uint32).tolist():
            row = rows[i]
            for c in range(columns):
                sums[c] += row[c]
        scores.append([sums[c] / max(sums[c + 1], 1) for c in range(0, columns, 2)])
    return scores


def fast(values: Array, resamples: int) -> Array:
    sums = resample(values, resamples)
    return ratio(sums[:, 0::2], sums[:, 1::2])


def best(run: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=3500)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    rng = np.random.default_rng(1)
    results = {}
    print(f"{args.resamples} resamples of {args.sentences} sentences\n")
    print(f"{'scores':>7} {'CPU s':>9} {'plain loop':>11} {'ratio':>7}")
    for scores in (1, 40):
        right = 2 * rng.integers(3, size=(args.sentences, scores))
        values = np.stack([right, right + rng.integers(3, size=right.shape)], axis=2).reshape(args.sentences, -1) * 1.0
        assert np.allclose(fast(values, SHARE), loop(values, SHARE))
        seconds = best(lambda values=values: bounds(fast(values, args.resamples)))  # type: ignore[misc]
        slow = best(lambda values=values: loop(values, SHARE)) * args.resamples / SHARE  # type: ignore[misc]
        results[scores] = {"seconds": seconds, "loop_seconds": slow, "ratio": slow / seconds}
        print(f"{scores:>7} {seconds:>9.3f} {slow:>11.1f} {slow / seconds:>7.0f}")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
