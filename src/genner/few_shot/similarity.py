"""Nearest neighbours by inner product: a plain matrix product, or FAISS, with the same results.

Vectors are of unit length, so the inner product is the cosine. Both searches find candidates, some more than asked for.
Their scores are then computed anew in float64 by one function, and ties are broken by the lower number, so the two
searches agree in scores and in order.
"""

from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from genner.errors import UnknownNameError
from genner.extras import naming_parts

Vectors = npt.NDArray[np.float32]
"""Unit vectors [n, d]; a zero vector is of a text without any known word, and near to nothing."""

Backend = Literal["matrix", "faiss"]
SPARE_CANDIDATES = 8  # candidates beyond those asked for, whose order in float32 may differ
QUERIES = 64  # that are compared with all keys at once, which bounds memory


class VectorSearch(Protocol):
    """Finds the keys nearest to queries."""

    def nearest(self, queries: Vectors, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """For each query [n, d] the numbers of the `count` nearest keys and their cosines, [n, count] each, nearest
        first; all keys if there are fewer."""
        ...


class MatrixSearch:
    """Compares all keys [m, d] with each query."""

    def __init__(self, keys: Vectors) -> None:
        self.keys = keys

    def nearest(self, queries: Vectors, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        wanted = min(count + SPARE_CANDIDATES, len(self.keys))
        found = []
        for begin in range(0, len(queries), QUERIES):
            scores = queries[begin : begin + QUERIES] @ self.keys.T
            found.append(
                np.argpartition(-scores, wanted - 1, axis=1)[:, :wanted] if wanted else scores.astype(np.int64)
            )
        candidates = np.concatenate(found) if found else np.zeros((0, wanted), np.int64)
        return _ranked(self.keys, queries, candidates.astype(np.int64), count)


class FaissSearch:
    """The exact inner-product index of FAISS, which is faster than a matrix product on many keys."""

    @naming_parts()
    def __init__(self, keys: Vectors) -> None:
        import faiss

        self.keys = keys
        self._index: Any = faiss.IndexFlatIP(keys.shape[1])
        self._index.add(np.ascontiguousarray(keys))

    def nearest(self, queries: Vectors, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        wanted = min(count + SPARE_CANDIDATES, len(self.keys))
        if not wanted or not len(queries):
            return _ranked(self.keys, queries, np.zeros((len(queries), 0), np.int64), count)
        _, candidates = self._index.search(np.ascontiguousarray(queries), wanted)
        return _ranked(self.keys, queries, candidates.astype(np.int64), count)


def vector_search(keys: Vectors, backend: str = "matrix") -> VectorSearch:
    """A search among these keys. Raises `UnknownNameError`, and `MissingPartError` if FAISS is not installed."""
    if backend not in get_args(Backend):
        raise UnknownNameError("search", backend, get_args(Backend))
    return MatrixSearch(keys) if backend == "matrix" else FaissSearch(keys)


def _ranked(
    keys: Vectors, queries: Vectors, candidates: npt.NDArray[np.int64], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The `count` nearest of each query's candidates, by cosines that do not depend on who found them."""
    numbers = np.zeros((len(queries), min(count, candidates.shape[1])), np.int64)
    scores = np.zeros(numbers.shape, np.float64)
    for row, (query, some) in enumerate(zip(queries, candidates, strict=True)):
        # A sum for each row by itself: a matrix product would depend on which other rows there are.
        cosines = (keys[some].astype(np.float64) * query).sum(axis=1)
        order = sorted(range(len(some)), key=lambda i: (-cosines[i], some[i]))[: numbers.shape[1]]
        numbers[row], scores[row] = some[order], cosines[order]
    return numbers, scores
