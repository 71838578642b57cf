"""Rivals of the generative model: encoders of the literature and tools, scored by the same code on the same documents.

A rival is one file and one line of `RIVALS`; tests/rivals checks its laws. `genner.rivals.tools` are
other people's packages. See docs/rivals.md.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from genner.errors import UnknownNameError, UsageError
from genner.extras import naming_parts
from genner.labels import Labels
from genner.rivals.manifest import read_manifest
from genner.rivals.tools import TOOLS, tool, tool_class

if TYPE_CHECKING:
    from genner.rivals.base import EncoderRival, Rival
    from genner.rivals.tools.base import Tool

RIVALS = {
    "bert_tagger": "genner.rivals.bert_tagger:BertTagger",
    "bert_mrc": "genner.rivals.bert_mrc:BertMRC",
    "bert_mrc_dsc": "genner.rivals.bert_mrc_dsc:BertMRCDSC",
    "binder": "genner.rivals.binder:Binder",
    "gnn_sl": "genner.rivals.gnn_sl:GnnSL",
    "biaffine": "genner.rivals.biaffine:Biaffine",
    "biaffine_cnn": "genner.rivals.biaffine:BiaffineCnn",
    "w2ner": "genner.rivals.w2ner:W2Ner",
    "ace_style": "genner.rivals.ace_style:AceStyle",
}
"""The class of each rival that is trained here."""


@naming_parts()
def rival_class(name: str) -> "type[EncoderRival]":
    """The class of a rival that is trained here. Raises `UnknownNameError`, and `UsageError` for a tool."""
    if name in TOOLS:
        from genner.rivals.tools.base import not_trained

        raise UsageError(not_trained(tool_class(name)))
    if name not in RIVALS:
        raise UnknownNameError("rival", name, [*RIVALS, *TOOLS])
    module, _, attribute = RIVALS[name].partition(":")
    found: type[EncoderRival] = getattr(import_module(module), attribute)
    return found


@overload
def rival(name: str, encoder: str, **hyperparameters: Any) -> "EncoderRival": ...
@overload
def rival(name: str, *, labels: Labels, **options: Any) -> "Tool": ...
def rival(name: str, encoder: str | None = None, *, labels: Labels = None, **options: Any) -> "EncoderRival | Tool":
    """An untrained rival over an encoder, a folder or a name on the hub; or a tool that finds these labels.

    Raises `UnknownNameError`, `UsageError` for a wrong option, `MissingPartError` without the package of a tool.
    """
    if name in TOOLS:
        if encoder is not None:
            raise UsageError(f"{name} is a tool with a model of its own; name that as model=..., and labels=...")
        return tool(name, labels, **options)
    kind = rival_class(name)
    if encoder is None:
        raise UsageError(f"{name} needs an encoder: a folder of transformers, or OWNER/NAME on the Hugging Face hub")
    if labels is not None:
        raise UsageError(f"{name} learns its labels; give them to fit")
    return kind(encoder, **options)


@naming_parts()
def load_rival(folder: str | Path) -> "Rival":
    """The trained rival in a folder, or the tool that was saved there. Raises `ModelError` if there is none."""
    folder = Path(folder).expanduser()
    name = str(read_manifest(folder)["rival"])
    return tool_class(name).load(folder) if name in TOOLS else rival_class(name).load(folder)
