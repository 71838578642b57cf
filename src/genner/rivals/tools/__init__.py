"""Tools as rivals: other people's packages behind the protocol of `genner.rivals.base.Rival`, scored by the same code.

A tool is one file and one line of `TOOLS`. Its package is an extra of genner, imported when the tool is made. A tool
finds labels with a model that its own package has trained; see docs/rivals.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from genner.errors import UnknownNameError
from genner.labels import Labels

if TYPE_CHECKING:
    from genner.rivals.tools.base import Tool

TOOLS = {
    "gliner": "genner.rivals.tools.gliner:GlinerTool",
    "gliner2": "genner.rivals.tools.gliner2:Gliner2Tool",
    "flair": "genner.rivals.tools.flair:FlairTool",
    "spacy": "genner.rivals.tools.spacy_pipeline:SpacyTool",
    "langextract": "genner.rivals.tools.langextract:LangExtractTool",
    "span_marker": "genner.rivals.tools.span_marker:SpanMarkerTool",
}
"""The class of each tool."""


def tool_class(name: str) -> "type[Tool]":
    """The class of a tool. Raises `UnknownNameError`."""
    if name not in TOOLS:
        raise UnknownNameError("tool", name, TOOLS)
    module, _, attribute = TOOLS[name].partition(":")
    found: type[Tool] = getattr(import_module(module), attribute)
    return found


def tool(name: str, labels: Labels, **options: Any) -> "Tool":
    """A tool that finds these labels. Its model is loaded at the first text.

    Raises `UnknownNameError`, `UsageError` for a wrong option, `MissingPartError` without the tool's package.
    """
    return tool_class(name)(labels, **options)
