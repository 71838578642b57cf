"""`genner evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import app, must_exist


@app.command()
def evaluate(
    gold: Annotated[Path, typer.Argument(help="JSON lines with the true entities.")],
    pred: Annotated[Path, typer.Argument(help="JSON lines as `genner extract` writes them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Score predictions against gold: strict span micro-F1, with its interval."""
    from genner.data import read_jsonl
    from genner.evaluation import evaluate as score

    must_exist(gold, pred)
    report = score(list(read_jsonl(gold)), list(read_jsonl(pred)))
    print(json.dumps(report.to_dict(), ensure_ascii=False, indent=1) if as_json else report.table())
