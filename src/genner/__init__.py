"""genner: generative named entity recognition with exact positions.

>>> import genner
>>> ner = genner.load()  # doctest: +SKIP
>>> ner.extract("Ada Lovelace was born in London.").entities  # doctest: +SKIP
(Entity(start=0, end=12, label='PER', ...), Entity(start=25, end=31, label='LOC', ...))
"""

from typing import TYPE_CHECKING, Any

from genner.document import Document, Entity, Label, LabelSet, Prediction, Problem
from genner.errors import GennerError

if TYPE_CHECKING:
    from genner.evaluation import evaluate
    from genner.extract import Extractor
    from genner.loading import load

__all__ = [
    "Document",
    "Entity",
    "Extractor",
    "GennerError",
    "Label",
    "LabelSet",
    "Prediction",
    "Problem",
    "evaluate",
    "load",
]

_LAZY = {"Extractor": "genner.extract", "evaluate": "genner.evaluation", "load": "genner.loading"}


def __getattr__(name: str) -> Any:
    """Import the heavy names only when they are used."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'genner' has no attribute {name!r}")
