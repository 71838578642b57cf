"""Time from command to answer and memory of `genner extract`; prints a table.

    python benchmarks/startup.py [--runs 5] [--threads 2] [--out startup.json]

Each command runs in its own process, all of them in turn, `--runs` times; the medians are shown. The first round is not
counted: it warms the disk cache. Times depend on this machine; compare the ratio to `import torch`, which every command
that runs a model needs. Peak memory is the maximum resident size (ru_maxrss), which includes pages of mapped files that
other processes share. The process's private memory is shown separately.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SENTENCE = "Ada Lovelace was born in London."
GENNER = [sys.executable, "-m", "genner.cli"]
# Prints the peak of the process's private memory; sampled, so a lower bound.
OWN = """
import sys, threading, time
most = 0
def watch():
    global most
    while True:
        with open("/proc/self/status") as status:
            most = max(most, *(int(line.split()[1]) for line in status if line.startswith("RssAnon")))
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
import atexit
atexit.register(lambda: print(most, file=sys.stderr))
"""
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    "genner --help": [*GENNER, "--help"],
    "genner formats": [*GENNER, "formats"],
    "genner data": [*GENNER, "data"],
    "genner extract --text": [*GENNER, "extract", "--text", SENTENCE],
    "the same, twenty sentences": [*GENNER, "extract", "--text", " ".join([SENTENCE] * 20)],
    "genner.load()": [sys.executable, "-c", "import genner; genner.load()"],
}


def measure(command: list[str], threads: int) -> dict[str, float]:
    """Wall and processor seconds and peak memory (MB) of one run."""
    begun = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed; run it by hand")
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}


def own_memory(threads: int) -> float:
    """The peak of an extraction's memory without mapped files, in MB (Linux)."""
    code = f"{OWN}\nsys.argv = ['genner', 'extract', '--text', {SENTENCE!r}]\nfrom genner.cli import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return int(done.stderr.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    args = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    for number in range(args.runs + 1):
        for name, command in COMMANDS.items():
            result = measure(command, args.threads)
            runs[name] += [result] if number else []
    rows: list[dict[str, Any]] = [
        {"command": name, **{key: statistics.median(r[key] for r in each) for key in each[0]}}
        for name, each in runs.items()
    ]
    torch = next(row["seconds"] for row in rows if "import torch" in row["command"])
    print("| | s | to `import torch` | processor s | peak MB |\n|---|---|---|---|---|")
    for row in rows:
        row["to_torch"] = row["seconds"] / torch
        cells = [f"{row['seconds']:.2f}", f"{row['to_torch']:.2f}", f"{row['cpu']:.2f}", f"{row['peak_mb']:.0f}"]
        print(f"| {row['command']} | {' | '.join(cells)} |")
    settings: dict[str, Any] = {"runs": args.runs, "threads": args.threads, "python": sys.version.split()[0]}
    if Path("/proc/self/status").is_file():
        settings["own_mb_of_extract"] = round(own_memory(args.threads))
    print(json.dumps(settings))
    if args.out:
        args.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
