"""Names and display order of formats, decodings, readings and faults, each defined once."""

from collections.abc import Iterable

from genner.assess.scoring import GRAMMAR
from genner.generations.readings import ReadingName
from genner.report.paper import PAPER_FORMATS

FREE = ("greedy", "sampled")
"""The unconstrained decodings, in order of preference."""

DECODING_TITLES = {"greedy": "free, greedy", "sampled": "free, sampled", GRAMMAR: "under the grammar"}
"""Titles of the decodings, in display order."""

DECODED = {"greedy": "freely (greedy)", "sampled": "freely (sampled)", GRAMMAR: "under the grammar"}
"""The same, behind the word `decoded`."""

ENCODER, TOOL = "encoder", "tool"
"""Stand in the place of the format for rivals, which write no answer."""

FAULTS = ("invalid", "hallucinated", "truncated")
"""Faults of an answer, by their names in the metrics and in the report."""

READING_TITLES: dict[ReadingName, str] = {"paper": "paper's rule", "strict": "strict", "repaired": "repaired"}
"""Readings of an answer, by their names in the records (`genner.generations.readings`)."""

RULES: dict[ReadingName, str] = READING_TITLES | {"paper": "by the paper's rule"}
"""The same in a sentence."""

MEANINGS: dict[ReadingName, str] = {
    "paper": "by the paper's rule a mention counts as its published script counts it, faults included",
    "strict": "strict, an answer is what it says: a mention counts where the answer puts it, and is a false positive "
    "if the text does not have it there",
    "repaired": "repaired, genner's reader looks up in the text what a free answer puts in a wrong place, aligns a "
    "copy that differs, and leaves out what it does not find",
}

REPAIRED = "Entities of free answers are those of the repaired reading."
"""A note for tables about single entities rather than counts."""


def decoding_title(decoding: str) -> str:
    """The title of a decoding; an unknown decoding is its own title. Rivals have none."""
    return DECODING_TITLES.get(decoding, decoding) or "–"


def decoding_place(decoding: str) -> int:
    """The place of a decoding in display order; unknown ones come last."""
    return [*DECODING_TITLES, decoding].index(decoding)


def decoded(decoding: str) -> str:
    """How answers were decoded, behind the word `decoded`."""
    return DECODED.get(decoding, decoding)


def decoded_and_read(decoding: str) -> str:
    """`decoded ...` as a sentence; for free decoding, also which reading the numbers of single entities use."""
    if not decoding:
        return "encoders, without decoding."
    return f"decoded {decoded(decoding)}." + (f" {REPAIRED}" if decoding != GRAMMAR else "")


def format_place(format: str) -> tuple[int, str]:
    """Sort key for display: the paper's formats, then the others by name, then encoders."""
    known = [*PAPER_FORMATS, "", ENCODER, TOOL]
    return (known.index(format) if format in known else len(PAPER_FORMATS), format)


def in_order(formats: Iterable[str]) -> list[str]:
    """Formats in display order; duplicates removed."""
    return sorted(set(formats), key=format_place)
