"""The words of training texts by their states: which are near to a word, and which stand around these."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Self, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genner.errors import ModelError
from genner.few_shot.similarity import Backend, VectorSearch, vector_search
from genner.rivals.manifest import write_tensors

FILE = "datastore.safetensors"
AUTOMATIC = "auto"
SEARCHES = (AUTOMATIC, *get_args(Backend))
MISSING = -1
QUERIES_AT_ONCE = 256  # words that are searched for at once, at least


@dataclass(frozen=True)
class Nearest:
    """The nearest words of the datastore to n words, nearest first. `numbers` [n, k] int64, `MISSING` where there are
    fewer; `similarities` [n, k] float32, inner products."""

    numbers: Tensor
    similarities: Tensor

    def split(self, lengths: Sequence[int]) -> "list[Nearest]":
        """Those of runs of words."""
        sizes = list(lengths)
        parts = zip(torch.split(self.numbers, sizes), torch.split(self.similarities, sizes), strict=True)
        return [Nearest(*part) for part in parts]


class Datastore:
    """The words of training windows.

    Args:
        states: [N, H], float16.
        tags: [N], the number of each word's tag.
        begins: [M + 1], the first word of each of M windows, and N.
        texts: [M], the `text_number` of each window's text.
        search: `auto` (FAISS if it is installed), `matrix` or `faiss`: they find the same.
    """

    def __init__(self, states: Tensor, tags: Tensor, begins: Tensor, texts: Tensor, search: str = AUTOMATIC) -> None:
        self.states, self.tags, self.begins, self.texts = states, tags, begins, texts
        self._backend = search if search != AUTOMATIC else "faiss" if find_spec("faiss") else "matrix"
        lengths = begins.diff()
        self._first, self._end = (torch.repeat_interleave(edge, lengths) for edge in (begins[:-1], begins[1:]))
        self._text: npt.NDArray[np.int64] = torch.repeat_interleave(texts, lengths).numpy()
        self._words_of = Counter[int]()
        for text, length in zip(texts.tolist(), lengths.tolist(), strict=True):
            self._words_of[text] += length

    @classmethod
    def empty(cls, width: int) -> Self:
        """A datastore without a word."""
        nothing = torch.zeros(0, dtype=torch.long)
        return cls(torch.zeros(0, width, dtype=torch.float16), nothing, torch.zeros(1, dtype=torch.long), nothing)

    def __len__(self) -> int:
        return len(self.tags)

    @cached_property
    def _search(self) -> VectorSearch:
        return vector_search(self.states.float().numpy(), self._backend)

    def nearest(self, queries: Sequence[Tensor], texts: Sequence[int], count: int) -> list[Nearest]:
        """The nearest words to those of each window: never words of the window's own text.

        Args:
            queries: for each window the states of its words, [W, H].
            texts: the `text_number` of each.
            count: of neighbours for each word.
        """
        found: list[Nearest] = []
        edges = [0]
        for i in range(len(queries)):
            if sum(map(len, queries[edges[-1] : i + 1])) >= QUERIES_AT_ONCE or i == len(queries) - 1:
                edges.append(i + 1)
        for begin, end in pairwise(edges):
            found += self._nearest(queries[begin:end], texts[begin:end], count)
        return found

    def _nearest(self, queries: Sequence[Tensor], texts: Sequence[int], count: int) -> list[Nearest]:
        lengths = [len(states) for states in queries]
        asked = torch.cat(list(queries)).float().cpu().numpy()
        wanted = count + max(self._words_of[text] for text in texts)
        numbers, similarities = (
            self._search.nearest(asked, wanted) if len(self) else (np.zeros((len(asked), 0), int),) * 2
        )
        own = self._text[numbers] == np.repeat(np.array(texts, dtype=np.int64), lengths)[:, None]
        order = np.argsort(own, axis=1, kind="stable")[:, :count]  # others before own ones, in the order of nearness
        taken = np.where(own, MISSING, numbers)
        short = ((0, 0), (0, count - order.shape[1]))
        kept = np.pad(np.take_along_axis(taken, order, 1), short, constant_values=MISSING)
        near = np.pad(np.take_along_axis(similarities, order, 1).astype(np.float32), short)
        return Nearest(torch.from_numpy(kept.astype(np.int64)), torch.from_numpy(near)).split(lengths)

    def around(self, numbers: Tensor, reach: int) -> Tensor:
        """The words from `reach` before to `reach` after each, [..., 2 * reach + 1]; `MISSING` beyond its window."""
        known = numbers.clamp(min=0).unsqueeze(-1)
        places = known + torch.arange(-reach, reach + 1)
        if not len(self):
            return torch.full(places.shape, MISSING)
        inside = (places >= self._first[known]) & (places < self._end[known]) & (numbers.unsqueeze(-1) != MISSING)
        return places.where(inside, MISSING)

    def tensors(self) -> dict[str, Tensor]:
        """All that `of` needs, by name."""
        return {"states": self.states, "tags": self.tags, "begins": self.begins, "texts": self.texts}

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        write_tensors(folder / FILE, {name: tensor.contiguous() for name, tensor in self.tensors().items()})

    @classmethod
    def load(cls, folder: Path, search: str = AUTOMATIC) -> Self:
        """The datastore in a folder. Raises `ModelError` if there is none."""
        from safetensors.torch import load_file

        try:
            return cls(**load_file(folder / FILE), search=search)
        except Exception as error:  # of safetensors, of the system, of what the file lacks
            raise ModelError(f"{folder / FILE} cannot be read, and this rival needs it: {error}") from error


def text_number(text: str) -> int:
    """A number that identifies a text; 64 bits, signed."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)
