"""The peak of a process's memory, for a stretch of its life. Needs Python alone: llama.cpp's worker has no more."""

import ctypes
import gc
from pathlib import Path


def forget_peak() -> None:
    """Give free memory back and begin a new peak, so that what was done before does not count."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):  # not Linux with glibc: `peak_mb` finds nothing, or the peak of the whole life
        pass


def peak_mb() -> float | None:
    """The most memory that this process held at once since `forget_peak`, in MB (10^6 bytes); None where unknown."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), None)
