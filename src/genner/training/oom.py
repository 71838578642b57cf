"""Turn out-of-memory errors into advice: torch reports the bytes it requested, not what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from genner.errors import TrainingError


@contextmanager
def enough_memory(where: str, fix: str) -> Iterator[None]:
    """Turn an out-of-memory error into a `TrainingError` that says where and what to do; others propagate."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        raise TrainingError(f"out of memory {where}; {fix}") from error


def _out_of_memory(error: BaseException) -> bool:
    """Whether this is torch's out-of-memory error; on a CPU it has no type of its own."""
    texts = ("out of memory", "not enough memory", "allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(t in str(error).lower() for t in texts)
