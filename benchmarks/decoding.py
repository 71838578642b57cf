"""Decoding time of genner and its peers against the lower bound, one plain forward pass over prompt and output.

    python benchmarks/decoding.py DATA/genia/test.jsonl DATA/uner_en_ewt/test.jsonl \\
        --labels genia core --out decoding.json --table decoding.md --figure docs/decoding.png

All rows use the same sentences, weights and threads; each is warmed up on a few sentences, then timed on all. Every row
runs in its own process, so that memory is measured separately. Rounds go through all rows in turn, so that disturbances
affect them alike; the median counts. The JSON is written after each measurement; results in it with the same settings
are not measured again without --fresh. Compare the ratios: absolute times depend on this machine. The rows are
described in `benchmarks/README.md`.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from genner.formats import get_format
from genner.labels import parse_labels
from genner.loading import DEFAULT_MODEL
from genner.model_source import ModelSource
from peers import report
from peers.measure import ANSWERS, Plan, known, measure, read, save


def main() -> None:
    args = parsed()
    failed: dict[str, None] = {}
    if args.draw:
        results = read(args.out)
    elif args.one:
        measure(planned(args), args.one)
        return
    else:
        plan = planned(args)
        rows = known(plan)
        names = args.rows or list(rows)
        if unknown := [name for name in names if name not in rows]:
            hint = "" if args.llama_python else " (and llama_..., with --llama-python)"
            raise SystemExit(f"unknown rows: {', '.join(unknown)}; known: {', '.join(rows)}{hint}")
        if not args.rows and not args.llama_python:
            print("without the rows of llama.cpp: they need --llama-python", file=sys.stderr)
        if args.fresh:
            forget(plan, names)
        started = args.started or time.strftime("%Y-%m-%dT%H:%M:%S")
        for turn in range(1, max(args.rounds, args.slow_rounds) + 1):
            for name in [*([ANSWERS] if turn == 1 else []), *names]:
                if turn <= (args.slow_rounds if name in rows and rows[name].slow else args.rounds):
                    # The same call, for one row; it runs the missing rounds.
                    options = ["--one", name, "--rounds", str(turn), "--started", started]
                    again = [argument for argument in sys.argv[1:] if argument != "--fresh"]
                    if subprocess.run([sys.executable, __file__, *again, *options]).returncode:
                        failed[name] = None  # the process has printed why; the others continue
        results = read(args.out)
    text = report.table(results["rows"])
    print(text)
    if args.table:
        args.table.write_text(text)
    if args.figure:
        report.draw(results["rows"], args.figure)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; what they said stands above")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("gold", type=Path, nargs="*", help="JSONL files; each is named after its folder")
    parser.add_argument("--labels", nargs="+", default=["genia"], help="of each file, in the same order")
    parser.add_argument("--sentences", type=int, default=200, help="of each file, drawn evenly")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--format", nargs="+", help="answer formats; by default the one that the adapter prefers")
    parser.add_argument("--rows", type=lambda s: s.split(","), help="names separated by commas; all by default")
    parser.add_argument("--batches", type=lambda s: [int(n) for n in s.split(",")], default=[1, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-rounds", type=int, default=1, help="of rows that take a pass for each token")
    parser.add_argument("--depth", type=int, default=1, help="nested entities in the grammars for other engines")
    parser.add_argument("--llama-python", type=Path, help="Python of an environment with llama-cpp-python")
    parser.add_argument("--gguf", type=Path, help="GGUF file of the base model; the preset's is fetched by default")
    parser.add_argument("--fresh", action="store_true", help="measure again what is in --out (of the chosen rows)")
    parser.add_argument("--draw", action="store_true", help="measure nothing, only write the table and the figure")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    parser.add_argument("--table", type=Path, help="Markdown")
    parser.add_argument("--figure", type=Path, help="PNG")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # this process measures one row
    parser.add_argument("--started", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.draw and not args.out.exists():
        parser.error("--draw shows what stands in --out; give the JSON file of a run")
    if not args.draw and (not args.gold or len(args.gold) != len(args.labels)):
        parser.error(f"{len(args.gold)} files and {len(args.labels)} label sets (--labels); give one for each file")
    return args


def planned(args: argparse.Namespace) -> Plan:
    source = ModelSource.resolve(args.model)
    return Plan(
        model=args.model,
        source=source,
        sets=[(file, parse_labels(labels)) for file, labels in zip(args.gold, args.labels, strict=True)],
        forms=[get_format(name) for name in args.format or [source.format]],
        sentences=args.sentences,
        batches=args.batches,
        rounds=args.rounds,
        depth=args.depth,
        llama_python=args.llama_python,
        gguf=args.gguf,
        started=args.started or "",
        out=args.out,
    )


def forget(plan: Plan, names: list[str]) -> None:
    """Remove the results to be measured again from the JSON, genner's answers included."""
    results = read(plan.out)
    sets, forms = {file.parent.name for file, _ in plan.sets}, {form.name for form in plan.forms}
    results["rows"] = {
        key: row
        for key, row in results["rows"].items()
        if not (row["set"] in sets and row["format"] in {*forms, None} and row["row"] in names)
    }
    for key in [f"{name}/{form}" for name in sets for form in forms]:
        results[ANSWERS].pop(key, None)
    save(plan.out, results)


if __name__ == "__main__":
    main()
