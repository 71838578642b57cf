"""Build the wheel as pip does, through the source distribution, and try it in an empty environment.

    python tools/wheel.py [--keep FOLDER]

`make wheel` runs it; it takes about a minute. The environment holds genner and requirements.lock, that is, the core:
there is no torch in it. Packages come from the index that pip knows, by their hashes. Prints what was tried, and ends
with 1 at the first thing that is not as it should be.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "genner"
FOUND = '{"id": "1", "text": "Ada left.", "entities": [{"start": 0, "end": 3, "label": "PER", "score": 0.9}]}\n'
CONLL = "Ada B-PER\nLovelace I-PER\nleft O\nLondon B-LOC\n. O\n\nBob B-PER\nstayed O\n. O\n"


class Trial(NamedTuple):
    """A command of the new environment, its exit code, and what it has to say (a regular expression, on one side)."""

    command: Sequence[str]
    code: int
    said: str


def missing(extra: str) -> str:
    """One line that names the command to install an extra."""
    return rf"\Agenner: [^\n]+ is not installed; [^\n]*pip install 'genner\[{extra}\]'[^\n]*\n\Z"


TRIALS = [
    Trial(["--version"], 0, r"^genner \d+\.\d+"),
    Trial(["--help"], 0, r"extract .*genner evaluate"),
    Trial(["convert", "gold.conll", "gold.jsonl"], 0, ""),
    Trial(["convert", "gold.jsonl", "again.conll"], 0, ""),
    Trial(["evaluate", "gold.jsonl", "gold.jsonl"], 0, r"right +3 "),
    Trial(["data", "gold.jsonl"], 0, r"\bPER\b"),
    Trial(["formats"], 0, "inline_xml"),
    Trial(["grammar", "--text", "Ada left."], 0, "root"),
    Trial(["models", "list"], 0, r"adapter on \S+\t.*in the package"),
    Trial(["extract", "--text", "Ada left."], 2, missing("local")),
    Trial(["models", "fetch"], 2, missing("local")),
    Trial(["merge", "default", "--out", "merged"], 2, missing("local")),
    Trial(["evaluate", "found.jsonl", "found.jsonl", "--pr-curve", "curve.png"], 2, missing("plots")),
    Trial(["convert", "gold.jsonl", "gold.spacy"], 2, missing("spacy")),
    Trial(["convert", "gold.jsonl", "gold.parquet"], 2, missing("hf")),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="a folder for the wheel and the source distribution")
    args = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="genner-wheel-") as folder:
        place = Path(folder)
        wheel = build(place)
        check(wheel)
        tell(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, all files of src/genner in it")
        environment = install(wheel, place / "venv")
        tell("installed with requirements.lock alone; pip check agrees")
        attempt(environment, place)
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            for made in (wheel, *place.glob("*.tar.gz")):
                made.rename(args.keep / made.name)
    tell(f"all as it should be, in {time.monotonic() - begun:.0f} s")


def tell(line: str) -> None:
    print(f"wheel: {line}", flush=True)


def build(place: Path) -> Path:
    """The source distribution, and the wheel out of it, so that what pip builds on another machine is tried."""
    run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(place)], ROOT)
    (source,) = place.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(place / "source", filter="data")
    (unpacked,) = (place / "source").iterdir()
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)], unpacked)
    (wheel,) = place.glob("*.whl")
    return wheel


def check(wheel: Path) -> None:
    """Every file of the package is in the wheel and nothing else; the core requires no part."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode("utf-8")
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = {f"genner/{path.relative_to(PACKAGE).as_posix()}" for path in files}
    found = {name for name in names if ".dist-info/" not in name}
    expect(found == wanted, f"not in both the wheel and src/genner: {sorted(found ^ wanted)[:5]}")
    for kind in ("adapters", "labels", "gold"):
        expect(any(name.startswith(f"genner/assets/{kind}") for name in found), f"the wheel has no assets/{kind}")
    expect(any(name.endswith("/licenses/LICENSE") for name in names), "the wheel has no licence")
    required = [line for line in re.findall(r"^Requires-Dist: (.*)$", about, re.M) if "extra ==" not in line]
    expect(not any(line.startswith(("torch", "transformers")) for line in required), f"the core requires {required}")


def install(wheel: Path, place: Path) -> dict[str, str]:
    """An environment with the core and the wheel; returns the variables to run in it with."""
    venv.create(place, with_pip=True)
    bin = place / ("Scripts" if os.name == "nt" else "bin")
    pip = [str(bin / "python"), "-m", "pip", "--disable-pip-version-check", "-qq"]
    run([*pip, "install", "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements.lock")], ROOT)
    run([*pip, "install", "--no-deps", str(wheel)], ROOT)
    run([*pip, "check"], ROOT)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GENNER", "VIRTUAL_ENV"))}
    return {**kept, "PATH": f"{bin}{os.pathsep}{kept['PATH']}", "GENNER_HOME": str(place / "store"), "COLUMNS": "300"}


def attempt(environment: dict[str, str], place: Path) -> None:
    """Do in the environment what a new user would."""
    folder = place / "work"
    folder.mkdir()
    (folder / "gold.conll").write_text(CONLL, encoding="utf-8")
    (folder / "found.jsonl").write_text(FOUND, encoding="utf-8")
    parts = (
        "from genner.extras import EXTRA_OF_PACKAGE as all, is_installed; print([p for p in all if is_installed(p)])"
    )
    there = run(["python", "-c", parts], folder, environment)
    expect(there.stdout == "[]\n", f"the environment has {there.stdout.strip()}")
    listed = run(["genner", "--help"], folder, environment).stdout
    names = re.findall(r"^  (\w+)  ", listed.split("Commands:")[1], re.M)
    for trial in [*TRIALS, *(Trial([name, "--help"], 0, "Usage:") for name in names)]:
        done = run(["genner", *trial.command], folder, environment, trial.code)
        said = done.stdout if trial.code == 0 else done.stderr
        text = " ".join(trial.command)
        expect(bool(re.search(trial.said, said, re.S | re.M)), f"genner {text} said: {said.strip()[-500:]}")
    records = [json.loads(line) for line in (folder / "gold.jsonl").read_text(encoding="utf-8").splitlines()]
    expect([len(record["entities"]) for record in records] == [2, 1], f"gold.jsonl has {records}")
    load = "import genner\ntry: genner.load()\nexcept genner.GennerError as error: print(error)"
    said = run(["python", "-c", load], folder, environment).stdout
    expect("pip install 'genner[local]'" in said, f"genner.load() said: {said}")
    tell(f"{len(TRIALS)} commands and the help of {len(names)} do as they should; genner.load() names its part")


def run(
    command: Sequence[str], folder: Path, environment: dict[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    said = f"{done.stdout}{done.stderr}".strip()[-2000:]
    expect(done.returncode == code, f"{' '.join(command)} ended with {done.returncode}, not {code}: {said}")
    return done


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"wheel: {otherwise}")


if __name__ == "__main__":
    main()
