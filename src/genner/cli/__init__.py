"""The command line: parse, call, print. Nothing here knows how anything works. One module a command."""

from genner.cli import data, demo, evaluate, extract, formats, models, train
from genner.cli.app import app, main

__all__ = ["app", "data", "demo", "evaluate", "extract", "formats", "main", "models", "train"]
