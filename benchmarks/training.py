"""Training speed of genner and TRL's SFTTrainer: the same conversations, base, LoRA, optimizer, threads.

    python benchmarks/training.py recipes/default.toml --data DATA --out training.json --table training.md

The first groups of the recipe's first epoch are the steps: warm-up steps, then timed steps. Every row runs in its own
process, so that memory is measured separately. Rounds go through all rows in turn, so that disturbances affect them
alike; the median counts. The JSON is written after each measurement; results in it with the same settings are not
measured again without --fresh. Compare the ratios: absolute times depend on this machine. The rows are described in
`benchmarks/README.md`.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from peers.schooling import LESSON, Plan, known, measure, read, save, table

HINTS = {
    "trl": "without the rows of TRL: it is not installed (benchmarks/README.md tells how)",
    "factory": "without the rows of LLaMA-Factory: they need --factory-python",
}


def main() -> None:
    args = parsed()
    failed: dict[str, None] = {}
    if args.one:
        measure(planned(args), args.one)
        return
    if not args.draw:
        rows = known(planned(args))
        names = args.rows or list(rows)
        without = [hint for name, hint in HINTS.items() if name not in rows]
        if unknown := [name for name in names if name not in rows]:
            raise SystemExit("; ".join([f"unknown rows: {', '.join(unknown)}; known: {', '.join(rows)}", *without]))
        if without and not args.rows:
            print("; ".join(without), file=sys.stderr)
        if args.fresh:
            results = read(args.out)
            results["rows"] = {name: row for name, row in results["rows"].items() if name not in names}
            save(args.out, {**results, LESSON: {}})
        started = args.started or time.strftime("%Y-%m-%dT%H:%M:%S")
        again = [argument for argument in sys.argv[1:] if argument != "--fresh"]
        for turn in range(1, args.rounds + 1):
            for name in [*([LESSON] if turn == 1 else []), *names]:
                # The same call, for one row; it runs one round if one is missing.
                options = ["--one", name, "--rounds", str(turn), "--started", started]
                if name not in failed and subprocess.run([sys.executable, __file__, *again, *options]).returncode:
                    failed[name] = None  # the process has printed why; the others continue
                    if name == LESSON:
                        raise SystemExit("nothing to train on; why, stands above")
    text = table(read(args.out)["rows"])
    print(text)
    if args.table:
        args.table.write_text(text)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; what they said stands above")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("recipe", type=Path, help="TOML")
    parser.add_argument("--data", type=Path, required=True, help="the folder that the recipe's file names start from")
    parser.add_argument("--steps", type=positive, default=8, help="optimizer steps to be timed, a group each")
    parser.add_argument("--warm", type=positive, default=2, help="steps before them")
    parser.add_argument("--group-tokens", type=positive, help="instead of the recipe's; more for a GPU")
    parser.add_argument("--rounds", type=positive, default=2)
    parser.add_argument("--rows", type=lambda s: s.split(","), help="names separated by commas; all by default")
    parser.add_argument("--factory-python", type=Path, help="Python of an environment with LLaMA-Factory")
    parser.add_argument("--fresh", action="store_true", help="measure again what is in --out (of the chosen rows)")
    parser.add_argument("--draw", action="store_true", help="measure nothing, only write the table")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    parser.add_argument("--table", type=Path, help="Markdown")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # this process measures one row
    parser.add_argument("--started", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.draw and not args.out.exists():
        parser.error("--draw shows what stands in --out; give the JSON file of a run")
    return args


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 or more")
    return int(text)


def planned(args: argparse.Namespace) -> Plan:
    return Plan(
        recipe=args.recipe,
        data=args.data,
        warm=args.warm,
        steps=args.steps,
        group_tokens=args.group_tokens,
        rounds=args.rounds,
        factory_python=args.factory_python,
        started=args.started or "",
        out=args.out,
    )


if __name__ == "__main__":
    main()
