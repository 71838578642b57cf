"""A sentence of a column file while it is read: its words, and the text tokens that they form."""

from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from typing import NamedTuple

from genner.data.base import ReadLog


@dataclass(frozen=True)
class SplitToken:
    """A multiword token: one text token that stands for the words numbered `first` to `last`, as `3-4` in CoNLL-U."""

    line: int
    first: int
    last: int
    form: str
    tags: list[str]


class Unit(NamedTuple):
    """A token of the text, and its number of words."""

    form: str
    words: int


@dataclass
class Sentence:
    line: int = 0
    part: int = 0
    number: int = 0
    id: str = ""
    group: str = ""
    begins: bool = False
    """Whether its comments mark it as the first of a corpus document."""
    spaced: str | None = None
    rows: list[tuple[int, str, list[str]]] = field(default_factory=list)
    """Line, word, tags: the tag, then the inner tag if there is one."""
    counts: list[int] = field(default_factory=list)
    """The number of each row in the sentence, if the first column counts them; else 0."""
    split_tokens: list[SplitToken] = field(default_factory=list)
    text: str = ""
    entities: list[tuple[int, int, str]] = field(default_factory=list)

    def units(self, source: Traversable, read_log: ReadLog) -> list[Unit]:
        """The tokens of the text: the words, with each multiword token in place of its words."""
        spans = {}
        for split in self.split_tokens:
            inside = [at for at, count in enumerate(self.counts) if split.first <= count <= split.last]
            own = [self.counts[at] for at in inside]
            if not own or (own[0], own[-1], len(own)) != (split.first, split.last, split.last - split.first + 1):
                what = f"token {split.first}-{split.last} is not followed by the words with these numbers"
                read_log.error("split token", source, what, split.line)
            else:
                spans[inside[0]] = Unit(split.form, len(inside))
        units, at = list[Unit](), 0
        while at < len(self.rows):
            units.append(spans.get(at, Unit(self.rows[at][1], 1)))
            at += units[-1].words
        return units


def of_words(units: list[Unit], places: list[tuple[int, int]] | None) -> list[tuple[int, int]] | None:
    """The span of each word: the span of the token that it is part of."""
    if places is None:
        return None
    return [place for unit, place in zip(units, places, strict=True) for _ in range(unit.words)]
