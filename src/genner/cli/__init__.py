"""The command line: parse, call, print. Nothing here knows how anything works. One module a command."""

from genner.cli import card, data, demo, evaluate, export, extract, formats, merge, models, train
from genner.cli.app import app, main

__all__ = [
    "app",
    "card",
    "data",
    "demo",
    "evaluate",
    "export",
    "extract",
    "formats",
    "main",
    "merge",
    "models",
    "train",
]
