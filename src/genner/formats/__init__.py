"""Answer formats. To add one, write a file with a `Format` and a line in `FORMATS`; the whole test suite covers it."""

from genner.errors import UnknownNameError
from genner.formats.base import Format
from genner.formats.bracketed import InlineBracketed
from genner.formats.compact import Compact
from genner.formats.gpt_ner import GPTNER
from genner.formats.grouped_json import GroupedJSON
from genner.formats.occurrence_json import OccurrenceJSON
from genner.formats.offset_json import OffsetJSON
from genner.formats.xml import InlineXML

FORMATS: dict[str, Format] = {
    "inline_xml": InlineXML(),
    "inline_bracketed": InlineBracketed(),
    "grouped_json": GroupedJSON(),
    "occurrence_json": OccurrenceJSON(),
    "offset_json": OffsetJSON(),
    "gpt_ner": GPTNER(),
    "compact": Compact(),
}


def get_format(name: str) -> Format:
    """The format of this name. Raises `UnknownNameError`."""
    if name not in FORMATS:
        raise UnknownNameError("format", name, FORMATS)
    return FORMATS[name]


__all__ = ["FORMATS", "Format", "get_format"]
