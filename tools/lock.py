"""Write the locks: every package with its version and the hashes of all its files, for all platforms.

`make lock` runs it.

    requirements.lock        what genner's core needs, and the build backend
    requirements-train.lock  what the extra `train` needs besides: running models, training, figures
    requirements-cuda.lock   what PyTorch's CUDA build needs besides, on Linux
    requirements-dev.lock    what tests and checks need besides
    requirements-docs.lock   what builds the documentation, in an environment of its own

PyTorch's CPU builds are on an index of its own, under the same version with `+cpu`; their hashes are in
`tools/torch-cpu.sha256`, by hand, as is the version of torch in the Makefile.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
BACKEND = ("hatchling", "editables")
# Only the tests use it. It asks for triton, which its grammars do not need: so locks are installed with --no-deps.
TESTED = ("xgrammar", "apache-tvm-ffi")
DOCS = "requirements-docs.lock"
CUDA = re.compile(r"nvidia-|cuda-|triton==")
HEADS = {
    "requirements.lock": "Every package that genner's core needs, and the build backend: pinned, with the hashes of "
    "all their files.",
    "requirements-train.lock": "What the extra `train` needs beyond requirements.lock: running models, training, "
    "figures.\n# On Linux, PyTorch's CUDA build, which PyPI has, needs requirements-cuda.lock as well; the CPU build "
    "does not:\n#   pip install --require-hashes --no-deps -r requirements.lock -r requirements-train.lock "
    "--extra-index-url https://download.pytorch.org/whl/cpu",
    "requirements-cuda.lock": "What PyTorch's CUDA build needs beyond requirements-train.lock.",
    "requirements-dev.lock": "What tests and checks need beyond the other locks; installed with --no-deps.",
    DOCS: "Every package that builds the documentation, in an environment of its own (`make docs`).",
}


def compile_lock(uv: str, more: list[str], pins: list[str], *options: str, project: bool = True) -> dict[str, str]:
    """The blocks of a lock, by name and version: the requirement and its hashes; `project`: of what genner needs."""
    with tempfile.TemporaryDirectory() as folder:
        given, kept = Path(folder, "more.in"), Path(folder, "pins.txt")
        given.write_text("\n".join(more) + "\n", encoding="utf-8")
        kept.write_text("\n".join(pins) + "\n", encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
        command += ["--python-version", "3.11", "--constraint", str(kept), *options]
        command += ["pyproject.toml", str(given)] if project else [str(given)]
        text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    blocks = re.split(r"^(?=\S)", text, flags=re.M)
    return {block.split()[0]: block for block in blocks if block}


def cpu_hashes(version: str) -> list[str]:
    """The hashes of PyTorch's CPU builds."""
    path = ROOT / "tools" / "torch-cpu.sha256"
    pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    if not all(name.startswith(f"torch-{version}+cpu-") for _, name in pairs):
        raise SystemExit(f"{path} is not of torch {version}; take it from https://download.pytorch.org/whl/cpu/torch/")
    return [digest for digest, _ in pairs]


def pinned(*names: str) -> list[str]:
    """The versions of those of these locks that are there, with their markers: a package may have two."""
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in names if (ROOT / name).exists())
    return re.findall(r"^[\w.-]+==[^\\\n]+", text, flags=re.M)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uv", help="the program uv")
    parser.add_argument("torch", help="the version of torch")
    parser.add_argument("--keep", action="store_true", help="keep the versions that are locked now")
    args = parser.parse_args()
    fixed = [*BACKEND, f"torch=={args.torch}"]
    pins = pinned(*(HEADS.keys() - {DOCS})) if args.keep else []
    train = compile_lock(args.uv, fixed, pins, "--extra", "train")
    same = [*pins, *(key for key in train if not CUDA.match(key))]
    core = compile_lock(args.uv, [*BACKEND], same)
    every = compile_lock(args.uv, [*fixed, *TESTED], same, "--extra", "dev")
    docs = compile_lock(args.uv, [], pinned(DOCS) if args.keep else [], "--group", "docs", project=False)
    torch = next(key for key in train if key.startswith("torch=="))
    train[torch] = train[torch].rstrip() + "".join(f" \\\n    --hash=sha256:{h}" for h in cpu_hashes(args.torch)) + "\n"
    # The markers of the larger set hold for the smaller one as well: a package is in one lock, in one way.
    names = {key.split("==")[0] for key in core}
    in_core = {key for key in train if key.split("==")[0] in names}
    cuda = {key for key in train if CUDA.match(key)}
    locks = {
        "requirements.lock": {key: train[key] for key in in_core},
        "requirements-train.lock": {key: block for key, block in train.items() if key not in in_core | cuda},
        "requirements-cuda.lock": {key: train[key] for key in cuda},
        "requirements-dev.lock": {
            key: block for key, block in every.items() if key not in train and not CUDA.match(key)
        },
        DOCS: docs,
    }
    for name, blocks in locks.items():
        body = "".join(block for _, block in sorted(blocks.items(), key=lambda item: item[0].lower()))
        (ROOT / name).write_text(f"# {HEADS[name]}\n# `make lock` renews this file.\n{body}", encoding="utf-8")
        print(f"{name}: {len(blocks)} packages")


if __name__ == "__main__":
    main()
