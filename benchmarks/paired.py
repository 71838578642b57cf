"""genner's decoding time relative to the lower bound, measured in alternation, so that machine drift affects both.

    python benchmarks/paired.py DATA/genia/test.jsonl DATA/uner_en_ewt/test.jsonl \\
        --labels genia core --sentences 100 --batches 1,16 --rounds 5 --out paired.json

The lower bound is that of `decoding.py`: one forward pass over the text and the finished answer, with the instruction
cached. One process, one copy of the weights; each round runs the lower bound and genner on the same sentences, in
alternating order. The ratio is the median over the rounds, with minimum and maximum beside it.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genner.formats import get_format
from genner.labels import parse_labels
from genner.loading import DEFAULT_MODEL, load
from peers import ours
from peers.measure import WARM, drawn, save
from peers.task import Run, Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gold", type=Path, nargs="+", help="JSONL files; each is named after its folder")
    parser.add_argument("--labels", nargs="+", default=["genia"], help="of each file, in the same order")
    parser.add_argument("--sentences", type=int, default=100, help="of each file, drawn evenly")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--format", nargs="+", default=["inline_xml"], help="answer formats")
    parser.add_argument("--batches", type=lambda s: [int(n) for n in s.split(",")], default=[1, 16])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True, help="JSON, written after each measurement")
    args = parser.parse_args()
    if len(args.gold) != len(args.labels):
        parser.error(f"{len(args.gold)} files and {len(args.labels)} label sets (--labels); give one for each file")
    engine: Any = load(args.model).engine
    found: list[dict[str, Any]] = []
    for file, name in zip(args.gold, args.labels, strict=True):
        for form in args.format:
            task = Task(file.parent.name, drawn(file, args.sentences), parse_labels(name), get_format(form), engine)
            answers = tuple(g.text for _, g in engine.generate(task.requests(), batch_size=1))
            for batch in args.batches:
                found.append(compared(replace(task, answers=answers), batch, args.rounds))
                save(args.out, {"rows": found})
                tqdm.write(said(found[-1]))


def compared(task: Task, batch: int, rounds: int) -> dict[str, Any]:
    """Seconds per round of the lower bound and of genner, and their ratios."""
    runs = {"limit": ours.limit(task, batch), "genner": ours.speculative(task, batch)}
    for run in runs.values():
        run(task.head(max(WARM, 2 * batch)))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in tqdm(range(rounds), desc=f"{task.set}, {task.form.name}, batch {batch}", leave=False):
        for name in sorted(runs, reverse=turn % 2 == 0):
            seconds[name].append(timed(runs[name], task))
    ratios = [genner / limit for limit, genner in zip(seconds["limit"], seconds["genner"], strict=True)]
    count = len(task.documents)
    return {
        "set": task.set,
        "format": task.form.name,
        "batch": batch,
        "sentences": count,
        "seconds": seconds,
        "ms": {name: 1000 * statistics.median(each) / count for name, each in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def timed(run: Run, task: Task) -> float:
    begun = time.perf_counter()
    run(task)
    return time.perf_counter() - begun


def said(row: dict[str, Any]) -> str:
    return (
        f"{row['set']}, {row['format']}, batch {row['batch']}: limit {row['ms']['limit']:.0f} ms a sentence, genner "
        f"{row['ms']['genner']:.0f}; ratio {row['ratio']:.2f} ({min(row['ratios']):.2f} to {max(row['ratios']):.2f})"
    )


if __name__ == "__main__":
    main()
