"""Tags of the inline formats, what they decide, and tries over their bytes."""

from collections.abc import Container, Sequence
from functools import lru_cache
from typing import NamedTuple

from genner.grammar import DecisionKinds

ANY_LABEL = -1  # the label of an open entity where the format names it only at the close, or of a close that names none

INLINE_DECISIONS = DecisionKinds("inline", ("open", "label", "inside", "close"), frozenset({"inside"}))
"""What an inline format decides of an entity.

- `open`: an entity begins here;
- `label`: the name of the label, in whichever tag it stands;
- `inside`: what is written between the tags (inner entities included), so that the entity did not end earlier;
- `close`: the entity ends here.
"""


class MarkupTag(NamedTuple):
    """An opening or closing tag: what says that there is a tag (`<`), then what says of which label (`PER>`)."""

    head: str
    name: str = ""

    @property
    def text(self) -> str:
        """The tag as it is written."""
        return self.head + self.name


class TagTries:
    """Two tries over bytes, one of all opening tags and one of all closing tags; each leaf is a label.

    Grammars share them (`tag_tries`).
    """

    def __init__(self, opening: Sequence[tuple[MarkupTag, int]], closing: Sequence[tuple[MarkupTag, int]]) -> None:
        self.children: list[dict[int, int]] = [{}, {}]  # node 0: root of openings; node 1: root of closings
        self.labels: list[set[int]] = [set(), set()]  # the labels that can still be reached
        self.leaf: list[int | None] = [None, None]
        self.heads: dict[int, int] = {}  # of each leaf, the bytes of its tag before the name of the label
        self._depth: list[int] = [0, 0]  # bytes of the tag before the node
        self._texts: list[dict[int, bytes]] = [{}, {}]  # of openings, and of closings: the tag of each label
        self._rests: dict[tuple[int, frozenset[int] | None], tuple[bytes, ...]] = {}
        for root, tags in ((0, opening), (1, closing)):
            for tag, label in tags:
                node = root
                self.labels[node].add(label)
                self._texts[root][label] = tag.text.encode()
                for byte in tag.text.encode():
                    if byte not in self.children[node]:
                        self.children.append({})
                        self.labels.append(set())
                        self.leaf.append(None)
                        self._depth.append(self._depth[node] + 1)
                        self.children[node][byte] = len(self.children) - 1
                    node = self.children[node][byte]
                    self.labels[node].add(label)
                self.leaf[node] = label
                self.heads[node] = len(tag.head.encode())
        self.first_bytes = bytes(self.children[0].keys() | self.children[1].keys())

    def begins_in(self, some: Container[int]) -> bool:
        """Whether a tag begins with one of these bytes."""
        for byte in self.first_bytes:  # noqa: SIM110  # a generator takes three times as long
            if byte in some:
                return True
        return False

    def rests(self, closes: bool, node: int, legal: set[int]) -> tuple[bytes, ...]:
        """What is left, from a node, of the tags of these labels."""
        key = node, None if legal is self.labels[closes] else frozenset(legal)  # None: of all labels
        known = self._rests.get(key)
        if known is None:
            labels, texts = sorted(self.labels[node] & legal), self._texts[closes]
            known = self._rests[key] = tuple(texts[label][self._depth[node] :] for label in labels)
        return known


@lru_cache(256)
def tag_tries(opening: tuple[tuple[MarkupTag, int], ...], closing: tuple[tuple[MarkupTag, int], ...]) -> TagTries:
    """The tries of these tags; made once for the grammars of many texts."""
    return TagTries(opening, closing)
