"""What a result was made with, and how much memory it took: versions, the machine, the peak."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import genner
from genner.evaluation.pairing import genner_version

PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "lm_eval")


@cache
def versions(device: str | None = None) -> dict[str, str]:
    """Packages (those that are installed), Python, genner and its commit, and the machine in words."""
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
    if root is None:  # installed, not run from its repository
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
    """The processor that computes, in words: the GPU's name, or the CPU's with the number of cores it may use."""
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


def peak_memory_mb(device: str | None = None) -> float:
    """The most memory that this process has had, in MB, and on a GPU what torch has had there, added."""
    total = _resident()
    torch = sys.modules.get("torch")
    if torch is not None and device and device.startswith("cuda") and torch.cuda.is_available():
        total += torch.cuda.max_memory_allocated(device)
    return round(total / 1e6, 1)


def _resident() -> float:
    """Bytes. Of Linux's two records only the one in /proc begins anew when a process starts another program."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
