"""The environment of a result: versions, the machine, and peak memory."""

import json
import os
import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path

import genner
from genner.evaluation.pairing import genner_version

PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "lm_eval")


@cache
def versions(device: str | None = None) -> dict[str, str]:
    """Versions of the installed packages, Python, genner and its commit, and a description of the machine."""
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {
        **found,
        "python": platform.python_version(),
        "genner": "+".join(part for part in (genner_version(), commit()) if part),
        "machine": machine(device),
    }


def commit() -> str:
    """The first digits of the commit that genner runs from, `-dirty` when files differ from it; empty when unknown."""
    folder = Path(genner.__file__).parent
    root = next((p for p in folder.parents if (p / ".git").exists() and (p / "src" / "genner") == folder), None)
    if root is None:  # installed, not running from its repository
        return ""
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        return head + ("-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def machine(device: str | None = None) -> str:
    """The processor in use: the GPU's name, or the CPU's name with the number of usable cores."""
    if device and device.startswith("cuda"):
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(device)
    return f"{_cpu()}, {cores()} cores"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def stored_parameters(folder: Path) -> int | None:
    """The number of weights in the safetensors files of a folder, from their headers; None where there are none."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total or None


def peak_memory_mb(device: str | None = None) -> float:
    """Peak memory of this process in MB, plus torch's peak on the GPU if there is one."""
    total = _resident()
    torch = sys.modules.get("torch")
    if torch is not None and device and device.startswith("cuda") and torch.cuda.is_available():
        total += torch.cuda.max_memory_allocated(device)
    return round(total / 1e6, 1)


def _resident() -> float:
    """Peak resident memory in bytes. Of Linux's two counters, only the one in /proc is reset by exec."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
