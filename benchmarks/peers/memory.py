"""Peak memory of a process over a period. Needs Python only: llama.cpp's worker has nothing else."""

import ctypes
import gc
from pathlib import Path


def forget_peak() -> None:
    """Release free memory and reset the peak, so that earlier usage does not count."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):  # not Linux with glibc: `peak_mb` finds none, or the peak since process start
        pass


def peak_mb() -> float | None:
    """The peak memory of this process since `forget_peak`, in MB (10^6 bytes); None if unknown."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), None)
