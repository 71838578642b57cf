"""Strict span micro-F1 of a model on whole test splits, one set after the other; results are saved along the way and
runs are resumable.

    python benchmarks/score.py --data DATA --out scores.json genia uner_en_ewt litbank

Each set uses its own label set. All entities count, unless `--min-score` gives a threshold: a number, or `calibration`
for the thresholds that `genner extract` uses. One line per set: F1, its interval, invalid outputs, sentences per
second. `--again FOLDER` rescores the answers of an earlier run in FOLDER, for example after a change of the intervals;
the model must be the one that wrote them, and is loaded for the signature only.

The shipped adapters carry their scores on whole test splits. They are written by

    python benchmarks/score.py --data DATA --out default.json \\
        uner_en_ewt genia litbank ncbi_disease bc5cdr wnut17 crossner_ai
    python benchmarks/score.py --data DATA --out bio.json --model bio genia
    genner card src/genner/assets/adapters/default --scores default.json
    genner card src/genner/assets/adapters/bio --scores bio.json
"""

import argparse
import json
import time
from pathlib import Path

from tqdm import tqdm

from genner.data import read_corpus
from genner.document import Document
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
    parser.add_argument("--again", type=Path, default=None, help="the folder of predictions to score anew")
    parser.add_argument("--limit", type=int, default=None, help="only so many sentences, drawn evenly")
    args = parser.parse_args()

    done = json.loads(args.out.read_text()) if args.out.exists() else {}
    least = None if args.min_score == "calibration" else float(args.min_score)
    ner = load(args.model, format=args.format, constrained=not args.free, min_score=least).replace(split=False)
    for name in args.sets:
        key = f"{name}/{args.split}/{ner.form.name}/{'free' if args.free else 'grammar'}"
        key += f"/min-score {args.min_score}" if least != 0 else ""
        if key in done:
            continue
        gold = list(read_corpus(args.data / name / f"{args.split}.jsonl"))
        if args.limit and len(gold) > args.limit:
            gold = gold[:: len(gold) // args.limit][: args.limit]
        labels = label_set(name if name in label_sets() else "core")
        predictions = args.out.with_name(key.replace("/", "-").replace(" ", "-") + ".jsonl")
        begun = time.perf_counter()
        found: list[Document]
        if args.again:
            found = list(read_corpus(args.again / predictions.name))
        else:
            found = [*tqdm(ner.pipe(gold, labels, args.batch), total=len(gold), desc=key)]
            predictions.write_text("".join(json.dumps(p.to_dict(), ensure_ascii=False) + "\n" for p in found))
        seconds = time.perf_counter() - begun
        report = evaluate(gold, found, settings=ner.signature)
        speed = {} if args.again else {"sentences_per_second": len(gold) / seconds}
        done[key] = report.to_dict() | speed
        args.out.write_text(json.dumps(done, indent=1))
        bounds = ", ".join(f"{100 * x:.1f}" for x in report.interval or ()) or "no interval"
        print(
            f"{key}: F1 {100 * report.micro.f1:.1f} [{bounds}], "
            f"P {100 * report.micro.precision:.1f} R {100 * report.micro.recall:.1f}, "
            f"{report.invalid} of {report.documents} invalid"
            + ("" if args.again else f", {len(gold) / seconds:.1f} sentences/s"),
            flush=True,
        )


if __name__ == "__main__":
    main()
