"""Helpers for all sections: order and names of formats, decodings and faults; sections; rows."""

from collections.abc import Iterable
from dataclasses import replace

from genner.assess.scoring import GRAMMAR
from genner.report.measures import Source
from genner.report.paper import PAPER_FORMATS
from genner.report.results import CellGroup, GroupKey, System, TestSet
from genner.report.table import Block, Entry, Section, Value

FREE = ("greedy", "sampled")
"""The unconstrained decodings, in order of preference."""

DECODING_TITLES = {"greedy": "free, greedy", "sampled": "free, sampled", GRAMMAR: "under the grammar"}
"""Titles of the decodings, in display order."""

DECODED = {"greedy": "freely (greedy)", "sampled": "freely (sampled)", GRAMMAR: "under the grammar"}
"""The same, behind the word `decoded`."""

FAULTS = ("invalid", "hallucinated", "truncated")
"""Faults of an answer: name in the metrics -> name in the report."""

EMPTY_SECTION = "These runs hold nothing of this."


def section(anchor: str, title: str, blocks: Iterable[Block | None], intro: str = "") -> Section:
    """A section with the blocks that are not None; a section without blocks says so."""
    found = [block for block in blocks if block is not None]
    return Section(anchor, title, ((intro, *found) if intro else tuple(found)) if found else (EMPTY_SECTION,))


def decoding_title(decoding: str) -> str:
    """The title of a decoding; an unknown decoding is its own title."""
    return DECODING_TITLES.get(decoding, decoding)


def decoded(decoding: str) -> str:
    """The same, behind the word `decoded`."""
    return DECODED.get(decoding, decoding)


def in_order(formats: Iterable[str]) -> list[str]:
    """Formats in display order: the paper's, then the others by name; duplicates removed."""
    return sorted(set(formats), key=_format_place)


def shown_order(key: GroupKey) -> tuple[object, ...]:
    """Sort key for tables: format, then decoding."""
    decodings = list(DECODING_TITLES)
    place = decodings.index(key.decoding) if key.decoding in decodings else len(decodings)
    return _format_place(key.format), (place, key.decoding)


def _format_place(format: str) -> tuple[int, str]:
    return (PAPER_FORMATS.index(format) if format in PAPER_FORMATS else len(PAPER_FORMATS), format)


def ordered(source: Source) -> list[CellGroup]:
    """All plain scores, sorted by test set, system, format and decoding."""
    tests = source.collection.tests()
    return sorted(
        source.collection.scores(), key=lambda g: (tests.index(g.key.test), g.key.system, *shown_order(g.key))
    )


def here(source: Source, test: TestSet) -> tuple[list[System], list[str], list[str]]:
    """The systems, formats and decodings of a test set, in display order."""
    keys = [g.key for g in ordered(source) if g.key.test == test]
    decodings = [d for d in DECODING_TITLES if any(k.decoding == d for k in keys)]
    return sorted({k.system for k in keys}), in_order(k.format for k in keys), decodings


def headline(source: Source, test: TestSet) -> str:
    """The decoding shown in figures that show only one: under the grammar, if that was run."""
    found = here(source, test)[2]
    return next((d for d in (GRAMMAR, *FREE) if d in found), "")


GROUP_HEADS = ("System", "Format", "Decoding")


def group_heads(group: CellGroup) -> tuple[str, str, str]:
    """The row heads of a group, for the columns `GROUP_HEADS`."""
    return group.key.system.title, group.key.format, decoding_title(group.key.decoding)


def test_heading(source: Source, test: TestSet) -> str:
    """The heading of the rows of a test set: its name and its size."""
    return f"{source.collection.title(test)}, {source.collection.count(test)}"


def without_interval(entry: Entry) -> Entry:
    """A score without its interval, for tables whose interval is shown in another table."""
    return replace(entry, low=None, high=None) if isinstance(entry, Value) else entry


def cells_of(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The cells behind several entries, without duplicates."""
    return tuple(dict.fromkeys(id for entry in entries for id in entry.cells))
