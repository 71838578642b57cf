"""Rivals of the generative model: encoders of the literature, scored by the same code on the same documents.

A rival is one file and one line of `RIVALS`; tests/rivals checks its laws. See docs/rivals.md.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genner.errors import UnknownNameError
from genner.extras import naming_parts

if TYPE_CHECKING:
    from genner.rivals.base import EncoderRival, Rival

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
"""The class of each rival."""


@naming_parts()
def rival_class(name: str) -> "type[EncoderRival]":
    """The class of a rival. Raises `UnknownNameError`."""
    if name not in RIVALS:
        raise UnknownNameError("rival", name, RIVALS)
    module, _, attribute = RIVALS[name].partition(":")
    found: type[EncoderRival] = getattr(import_module(module), attribute)
    return found


def rival(name: str, encoder: str, **hyperparameters: Any) -> "EncoderRival":
    """An untrained rival over an encoder, a folder or a name on the hub. Raises `UsageError` for a wrong option."""
    return rival_class(name)(encoder, **hyperparameters)


@naming_parts()
def load_rival(folder: str | Path) -> "Rival":
    """The trained rival in a folder. Raises `ModelError` if there is none."""
    from genner.rivals.base import read_manifest

    folder = Path(folder).expanduser()
    return rival_class(str(read_manifest(folder)["rival"])).load(folder)
