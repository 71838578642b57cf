"""What all questions of the report share: the order and the names of formats, decodings and faults; sections; rows."""

from collections.abc import Iterable
from dataclasses import replace

from genner.assess.scoring import GRAMMAR
from genner.report.measures import Source
from genner.report.paper import PAPER_FORMATS
from genner.report.results import CellGroup, GroupKey, System, TestSet
from genner.report.table import Block, Entry, Section, Value

FREE = ("greedy", "sampled")
"""The ways to decode freely, in the order of preference."""

DECODING_TITLES = {"greedy": "free, greedy", "sampled": "free, sampled", GRAMMAR: "under the grammar"}
"""How an answer is decoded, in the order shown."""

DECODED = {"greedy": "freely (greedy)", "sampled": "freely (sampled)", GRAMMAR: "under the grammar"}
"""The same, behind the word `decoded`."""

FAULTS = ("invalid", "hallucinated", "truncated")
"""What may be wrong with an answer, by its name in the metrics and in the report."""

EMPTY_SECTION = "These runs hold nothing of this."


def section(anchor: str, title: str, blocks: Iterable[Block | None], intro: str = "") -> Section:
    """A section with the blocks that are not None; one without any says so."""
    found = [block for block in blocks if block is not None]
    return Section(anchor, title, ((intro, *found) if intro else tuple(found)) if found else (EMPTY_SECTION,))


def decoding_title(decoding: str) -> str:
    """How answers were decoded, in words; an unknown decoding is its own name."""
    return DECODING_TITLES.get(decoding, decoding)


def decoded(decoding: str) -> str:
    """The same, behind the word `decoded`."""
    return DECODED.get(decoding, decoding)


def in_order(formats: Iterable[str]) -> list[str]:
    """Formats in the order shown: the paper's, then the others by name; each once."""
    return sorted(set(formats), key=_format_place)


def shown_order(key: GroupKey) -> tuple[object, ...]:
    """Sorts keys by format, then by decoding, as tables show them."""
    decodings = list(DECODING_TITLES)
    place = decodings.index(key.decoding) if key.decoding in decodings else len(decodings)
    return _format_place(key.format), (place, key.decoding)


def _format_place(format: str) -> tuple[int, str]:
    return (PAPER_FORMATS.index(format) if format in PAPER_FORMATS else len(PAPER_FORMATS), format)


def ordered(source: Source) -> list[CellGroup]:
    """All plain scores: by test set, system, format, decoding."""
    tests = source.collection.tests()
    return sorted(
        source.collection.scores(), key=lambda g: (tests.index(g.key.test), g.key.system, *shown_order(g.key))
    )


def here(source: Source, test: TestSet) -> tuple[list[System], list[str], list[str]]:
    """The systems, formats and decodings of a test set, in the order shown."""
    keys = [g.key for g in ordered(source) if g.key.test == test]
    decodings = [d for d in DECODING_TITLES if any(k.decoding == d for k in keys)]
    return sorted({k.system for k in keys}), in_order(k.format for k in keys), decodings


def headline(source: Source, test: TestSet) -> str:
    """The decoding that figures of one decoding show: under the grammar, where that was run."""
    found = here(source, test)[2]
    return next((d for d in (GRAMMAR, *FREE) if d in found), "")


GROUP_HEADS = ("System", "Format", "Decoding")


def group_heads(group: CellGroup) -> tuple[str, str, str]:
    """What names the row of a group, below `GROUP_HEADS`."""
    return group.key.system.title, group.key.format, decoding_title(group.key.decoding)


def test_heading(source: Source, test: TestSet) -> str:
    """The heading of the rows of a test set: its name and its size."""
    return f"{source.collection.title(test)}, {source.collection.count(test)}"


def without_interval(entry: Entry) -> Entry:
    """A score without its interval, where that stands in another table."""
    return replace(entry, low=None, high=None) if isinstance(entry, Value) else entry


def cells_of(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The cells behind several entries, each once."""
    return tuple(dict.fromkeys(id for entry in entries for id in entry.cells))
