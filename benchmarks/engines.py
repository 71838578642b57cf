"""The same sentences with the same model on each engine: F1, illegal answers, sentences a second.

    python benchmarks/engines.py DATA --name local --out engines.jsonl
    python benchmarks/engines.py DATA --name vllm --engine vllm --out engines.jsonl
    python benchmarks/engines.py DATA --name "llama.cpp, GBNF" --engine http --model default --beside-local \\
        --option base_url=http://127.0.0.1:8080/v1 --out engines.jsonl
    python benchmarks/engines.py DATA --name "llama.cpp, free" --engine http --free --beside-local \\
        --option base_url=http://127.0.0.1:8080/v1 --out engines.jsonl
    python benchmarks/engines.py --table engines.jsonl

Each call measures one engine, in whatever environment it is called, and adds a JSON line for each set to `--out`; one
of the same name and set takes the place of the earlier one. With `--beside-local` the local engine is loaded too, and
the two are timed in alternation, round by round: on a machine whose speed drifts, the ratio of the two is what counts.
DATA holds a folder for each set, as `benchmarks/score.py` reads it. Sentences are drawn evenly from the test split, and
asked for as they are (`split=False`); every entity counts (`min_score=0`). An answer is illegal if it had to be
repaired, was cut off, or never came. The cache of the HTTP engine is off.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from genner.data import read_corpus
from genner.document import Document, LabelSet, Prediction
from genner.engines import parse_option
from genner.evaluation import evaluate
from genner.extract import Extractor
from genner.labels import label_set, label_sets
from genner.loading import load

SETS = ("genia", "uner_en_ewt")
WARM_UP = 2  # sentences answered before the clock starts


def sentences(data: Path, name: str, count: int) -> list[Document]:
    """`count` sentences of the test split of a set, evenly drawn."""
    found = list(read_corpus(data / name / "test.jsonl"))
    return found[:: max(1, len(found) // count)][:count]


def timed(ner: Extractor, texts: list[Document], labels: LabelSet, batch: int) -> tuple[float, list[Prediction]]:
    begun = time.perf_counter()
    found = list(ner.pipe([Document(d.text, id=d.id) for d in texts], labels, batch))
    return time.perf_counter() - begun, found


def loaded(model: str, engine: str, options: Mapping[str, Any], **more: Any) -> tuple[Extractor, float]:
    begun = time.perf_counter()
    ner = load(model, engine=engine, engine_options=options, min_score=0, **more).replace(split=False)
    return ner, time.perf_counter() - begun


def measured(args: argparse.Namespace, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each set."""
    ner, seconds = loaded(
        args.model, args.engine, options, format=args.format, constrained=False if args.free else None
    )
    local = loaded(args.model, "local", {}, format=args.format)[0] if args.beside_local else None
    rows = []
    for name in args.sets:
        labels = label_set(name if name in label_sets() else "core")
        texts = sentences(args.data, name, args.sentences)
        times: dict[str, list[float]] = {"own": [], "local": []}
        found: list[Prediction] = []
        for each in (ner, local) if local else (ner,):
            timed(each, texts[:WARM_UP], labels, args.batch)
        for _ in range(args.rounds):
            spent, found = timed(ner, texts, labels, args.batch)
            times["own"].append(spent)
            if local:
                times["local"].append(timed(local, texts, labels, args.batch)[0])
        report = evaluate(texts, found, settings=ner.signature)
        row = {
            "name": args.name,
            "set": name,
            "sentences": len(texts),
            "f1": report.micro.f1,
            "precision": report.micro.precision,
            "recall": report.micro.recall,
            "illegal": report.invalid,
            "failed": sum(any(p.kind == "failed" for p in each.problems) for each in found),
            "scores": all(e.score is not None for each in found for e in each.entities),
            "per_second": len(texts) / median(times["own"]),
            "seconds": times["own"],
            "load_seconds": seconds,
            "batch": args.batch,
            "signature": ner.signature,
        }
        if local:
            row["to_local"] = median(own / other for own, other in zip(times["own"], times["local"], strict=True))
            row["local_seconds"] = times["local"]
        rows.append(row)
        print(line(row), flush=True)
    return rows


def line(row: Mapping[str, Any]) -> str:
    ratio = f"{row['to_local']:.2f}" if "to_local" in row else ""
    numbers = (row["per_second"], 100 * row["f1"], row["illegal"], row["sentences"], row["load_seconds"])
    shown = "{:.2f} | {} | {:.1f} | {} of {} | {:.0f}".format(numbers[0], ratio, *numbers[1:])
    return f"| {row['name']} | {row['set']} | {shown} |"


def table(rows: list[dict[str, Any]]) -> str:
    head = "| engine | set | sentences/s | time, in local's | F1 | illegal | seconds to load |"
    return "\n".join([head, "|---" * 7 + "|", *map(line, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--table", type=Path, help="print the rows of this file")
    parser.add_argument("--name", default="local", help="what the row is called")
    parser.add_argument("--engine", default="local")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--model", default="default")
    parser.add_argument("--format", default="inline_xml")
    parser.add_argument("--free", action="store_true", help="without a grammar")
    parser.add_argument("--beside-local", action="store_true")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.table:
        print(table([json.loads(each) for each in args.table.read_text(encoding="utf-8").splitlines()]))
        return
    if args.data is None or args.out is None:
        parser.error("give DATA and --out, or --table")
    options = dict(map(parse_option, args.option))
    if args.engine == "http":
        options.setdefault("cache", "none")
    rows = measured(args, options)
    before = args.out.read_text(encoding="utf-8").splitlines() if args.out.exists() else []
    new = {(row["name"], row["set"]) for row in rows}
    kept = [each for each in map(json.loads, before) if (each["name"], each["set"]) not in new]
    args.out.write_text("".join(json.dumps(each) + "\n" for each in [*kept, *rows]), encoding="utf-8")


if __name__ == "__main__":
    main()
