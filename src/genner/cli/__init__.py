"""The command line: parse, call, print; it contains no other logic. One module per command."""

from genner.cli import (
    ability,
    assess,
    calibrate,
    card,
    contamination,
    data,
    demo,
    engines,
    evaluate,
    export,
    extract,
    formats,
    models,
    probe,
    report,
    rival,
    train,
)
from genner.cli.app import app, main

__all__ = [
    "ability",
    "app",
    "assess",
    "calibrate",
    "card",
    "contamination",
    "data",
    "demo",
    "engines",
    "evaluate",
    "export",
    "extract",
    "formats",
    "main",
    "models",
    "probe",
    "report",
    "rival",
    "train",
]
