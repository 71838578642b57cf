"""Processes for tests: forks of this one, which start with all that it has imported.

A program of its own imports PyTorch, transformers and PEFT first, which takes longer than what the tests run.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

FORK = multiprocessing.get_context("fork")


def start(said: Path, work: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Run `work` in a process of its own, which writes what it says, and the traceback of what it raises, to `said`."""
    process = FORK.Process(target=_alone, args=(said, work, arguments))
    process.start()
    return process


def run(said: Path, work: Callable[..., Any], *arguments: Any, seconds: float = 600) -> int:
    """Its exit code: 0, 1 when `work` raised, or minus the signal that ended it. Killed after `seconds`."""
    process = start(said, work, *arguments)
    try:
        process.join(seconds)
    finally:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def _alone(said: Path, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with said.open("wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout = sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  # pytest's are not the descriptors
    torch.set_num_threads(1)  # a fork has none of the threads that this process may have started
    work(*arguments)
