"""Detection of repeated ids in 8 bytes per id, so that files of many documents can be streamed."""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

RECENT = 1 << 16  # ids in a Python set before they move to a sorted array


class IdSet:
    """A set of strings, kept as 64-bit hashes in sorted arrays whose sizes double (a log-structured merge).

    Among ten million ids, two share a hash with a probability of three in a million; a new id then seems repeated.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted: list[NDArray[np.uint64]] = []  # largest first

    def add(self, id: str) -> bool:
        """Add an id; returns whether it is new."""
        key = int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        if key in self._recent or any(_holds(keys, np.uint64(key)) for keys in self._sorted):
            return False
        self._recent.add(key)
        if len(self._recent) >= RECENT:
            keys = np.fromiter(self._recent, dtype=np.uint64)
            while self._sorted and len(self._sorted[-1]) <= len(keys):
                keys = np.concatenate([self._sorted.pop(), keys])
            keys.sort()
            self._sorted.append(keys)
            self._recent.clear()
        return True


def _holds(keys: NDArray[np.uint64], key: np.uint64) -> bool:
    at = keys.searchsorted(key)
    return bool(at < len(keys) and keys[at] == key)
