"""Strict span micro-F1 of a model on whole test splits, one set after the other, written as it goes and resumable.

    python benchmarks/score.py --data DATA --out scores.json genia uner_en_ewt litbank

Each set is asked for by its own label set. Entities of any score count, unless `--min-score` says otherwise: a number,
or `calibration` for the thresholds that `genner extract` uses. A line a set: F1, its interval, invalid outputs,
sentences a second.
"""

import argparse
import json
import time
from pathlib import Path

from tqdm import tqdm

from genner.data import read_jsonl
from genner.evaluation import evaluate
from genner.labels import label_set, label_sets
from genner.loading import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default="default")
    parser.add_argument("--format", default=None)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--min-score", default="0")
    parser.add_argument("--limit", type=int, default=None, help="only so many sentences, drawn evenly")
    args = parser.parse_args()

    done = json.loads(args.out.read_text()) if args.out.exists() else {}
    least = None if args.min_score == "calibration" else float(args.min_score)
    ner = load(args.model, format=args.format, constrained=not args.free, min_score=least)
    ner.split = False
    for name in args.sets:
        key = f"{name}/{args.split}/{ner.form.name}/{'free' if args.free else 'grammar'}"
        key += f"/min-score {args.min_score}" if least != 0 else ""
        if key in done:
            continue
        gold = list(read_jsonl(args.data / name / f"{args.split}.jsonl"))
        if args.limit and len(gold) > args.limit:
            gold = gold[:: len(gold) // args.limit][: args.limit]
        labels = label_set(name if name in label_sets() else "core")
        begun = time.perf_counter()
        found = list(tqdm(ner.pipe(gold, labels, args.batch), total=len(gold), desc=key))
        seconds = time.perf_counter() - begun
        predictions = args.out.with_name(key.replace("/", "-").replace(" ", "-") + ".jsonl")
        predictions.write_text("".join(json.dumps(p.to_dict(), ensure_ascii=False) + "\n" for p in found))
        report = evaluate(gold, found, settings=ner.signature)
        done[key] = {**report.to_dict(), "sentences_per_second": len(gold) / seconds}
        args.out.write_text(json.dumps(done, indent=1))
        low, high = report.interval or (float("nan"), float("nan"))
        print(
            f"{key}: F1 {100 * report.micro.f1:.1f} [{100 * low:.1f}, {100 * high:.1f}], "
            f"P {100 * report.micro.precision:.1f} R {100 * report.micro.recall:.1f}, "
            f"{report.invalid} of {report.documents} invalid, {len(gold) / seconds:.1f} sentences/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
