"""vLLM under the grammar beside vLLM free: sentences a second in pairs, and what genner's logits processor takes.

    python benchmarks/vllm_pairs.py DATA/genia/test.jsonl --batch 64 --pairs 6

Runs in vLLM's own environment. One engine answers the same sentences under the grammar and free, in turn, in this
process; ratios are those of a pair, so a machine whose speed drifts changes them little. Free answers may run away,
which costs sentences a second, so tokens a second are told too. Times are of the wall clock and of the processor (all
threads). For the rounds under the grammar, the time of the thread within `GrammarProcessor` is told, in microseconds
per row and step, and as a share of the round's. The first round of each kind is not counted. Adds a JSON line to
`--out`.
"""

import argparse
import json
import os
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # so that this process's time is that of the engine

from engines import sentences
from genner.document import Document
from genner.engines.base import Generation, Request
from genner.engines.vllm import VllmEngine
from genner.extract import Extractor
from genner.labels import label_set, label_sets
from genner.loading import load
from genner.vllm_plugin.processor import GrammarProcessor


class Clock:
    """Time of the thread within `GrammarProcessor`, and the rows that it restricted."""

    def __init__(self) -> None:
        self.seconds, self.rows, self.steps = 0.0, 0, 0
        apply, update = GrammarProcessor.apply, GrammarProcessor.update_state

        def timed_apply(processor: Any, logits: Any, *rest: Any) -> Any:
            begun = time.thread_time()
            found = apply(processor, logits, *rest)
            self.seconds += time.thread_time() - begun
            self.rows += len(processor._rows)
            self.steps += 1
            return found

        def timed_update(processor: Any, change: Any) -> None:
            begun = time.thread_time()
            update(processor, change)
            self.seconds += time.thread_time() - begun

        GrammarProcessor.apply, GrammarProcessor.update_state = timed_apply, timed_update  # type: ignore[method-assign]

    def reset(self) -> None:
        self.seconds, self.rows, self.steps = 0.0, 0, 0


def _count(tokens: list[int], _: Request, made: Generation) -> None:
    tokens.append(made.passes)


def measured(args: argparse.Namespace, ner: Extractor, clock: Clock) -> dict[str, Any]:
    name = args.file.parent.name
    labels = label_set(name if name in label_sets() else "core")
    texts = sentences(args.file.parent.parent, name, args.sentences)
    assert isinstance(ner.engine, VllmEngine)
    kinds = {"grammar": ner, "free": ner.replace(constrained=False)}
    row: dict[str, Any] = {
        "batch": args.batch,
        "sentences": len(texts),
        "format": args.format,
        "set": name,
        "pairs": [],
    }
    for number in range(args.pairs + 1):
        pair: dict[str, float] = {}
        for kind, each in kinds.items():
            clock.reset()
            begun = time.process_time()
            started, tokens = time.perf_counter(), list[int]()
            asked = [Document(d.text, id=d.id) for d in texts]
            listen = partial(_count, tokens)
            found = list(each.pipe(asked, labels, 2 * args.batch, on_generation=listen))
            pair[f"{kind} wall"] = time.perf_counter() - started
            pair[f"{kind} processor"] = time.process_time() - begun
            pair[f"{kind} invalid"], pair[f"{kind} tokens"] = sum(p.invalid for p in found), sum(tokens)
            if kind == "grammar":
                pair["microseconds"] = 1e6 * clock.seconds / max(1, clock.rows)
                pair["share"] = clock.seconds / pair["grammar processor"]
                pair["rows"], pair["steps"] = clock.rows, clock.steps
        pair["load"] = os.getloadavg()[0]
        if number:
            row["pairs"].append(pair)
            print(json.dumps(pair), flush=True)
    for clock_name in ("wall", "processor"):
        for unit in ("sentences", "tokens"):
            counts = [(p["grammar tokens"], p["free tokens"]) if unit == "tokens" else (1, 1) for p in row["pairs"]]
            ratios = sorted(
                own / p[f"grammar {clock_name}"] * p[f"free {clock_name}"] / other
                for p, (own, other) in zip(row["pairs"], counts, strict=True)
            )
            row[f"{unit}/s {clock_name}"] = [ratios[0], median(ratios), ratios[-1]]
    row["microseconds"] = median(p["microseconds"] for p in row["pairs"])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--format", default="inline_xml")
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    clock = Clock()
    options = {"batch": args.batch, "window": 2048, "cpu_memory": 4}
    ner = load(args.model, engine="vllm", engine_options=options, min_score=0, format=args.format).replace(split=False)
    row = measured(args, ner, clock)
    print(json.dumps({key: value for key, value in row.items() if key != "pairs"}), flush=True)
    if args.out:
        with args.out.open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
