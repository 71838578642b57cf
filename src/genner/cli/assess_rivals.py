"""`genner assess rivals`: a study of encoders beside generative models, from a command line alone."""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from genner.cli.app import must_exist
from genner.cli.assess import (
    DataOption,
    DevicesOption,
    DryRunOption,
    JobsOption,
    OnlyOption,
    OutOption,
    assess_app,
    run_study,
)
from genner.errors import UsageError


@assess_app.command("rivals")
def rivals(
    train: Annotated[list[str], typer.Option(help="A file of training documents, below --data. Repeatable.")],
    test: Annotated[str, typer.Option(help="The test documents, below --data, or sample:NAME.")],
    labels: Annotated[str, typer.Option(help="A shipped label set, a corpus's name, or a JSON file below --data.")],
    encoder: Annotated[
        str, typer.Option(help="The encoder: a folder of transformers, or OWNER/NAME on the Hugging Face hub.")
    ],
    out: OutOption,
    dev: Annotated[str | None, typer.Option(help="Development documents, by which the best state is chosen.")] = None,
    rival: Annotated[
        list[str] | None, typer.Option(help="A rival (genner rival list); all if left out. Repeatable.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A generative model beside them, as of genner extract --model (default). Repeatable."),
    ] = None,
    format_: Annotated[
        list[str] | None, typer.Option("--format", help="Of the models' answers: inline_xml if left out. Repeatable.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The corpus's name in tables; that of the test file's folder if left out.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Each rival is trained once for each, as in 1,2,3.")] = "1",
    sentences: Annotated[int, typer.Option(min=0, help="Of the test documents, evenly spaced; 0: all.")] = 0,
    dev_sentences: Annotated[int, typer.Option(min=0, help="The same of the development documents.")] = 0,
    fraction: Annotated[float, typer.Option(help="The share of the training documents that is used.")] = 1.0,
    max_minutes: Annotated[float | None, typer.Option(help="For the training of each; the schedule fits it.")] = None,
    fit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A hyperparameter of the training of all, as encoder_rate=1e-4 (genner rival list NAME). Repeatable.",
        ),
    ] = None,
    data: DataOption = Path(),
    only: OnlyOption = None,
    dry_run: DryRunOption = False,
    jobs: JobsOption = None,
    devices: DevicesOption = None,
) -> None:
    """Train every rival on a corpus and score it, beside generative models.

    The study is written into the runs folder, as study.toml, to be changed and run again: genner assess
    RUNS/study.toml --out RUNS. Exit codes as those of a study.
    """
    from genner.assess.study import Study
    from genner.rivals import RIVALS
    from genner.toml_config import parse_option

    must_exist(data)
    corpus: dict[str, Any] = {"name": name or Path(test.removeprefix("sample:")).parent.name or Path(test).stem}
    corpus |= {"labels": labels, "train": train, "test": test, "sentences": sentences, "fraction": fraction}
    corpus |= {"dev": dev} if dev else {}
    training: dict[str, Any] = dict(parse_option(option, "--fit", lists=True) for option in fit or ())
    training |= {"max_minutes": max_minutes} if max_minutes is not None else {}
    tables: dict[str, Any] = {
        "name": "rivals",
        "seeds": _numbers(seeds),
        "formats": format_ or ["inline_xml"],
        "corpus": [corpus],
        "system": [
            {"name": one, "rival": one, "encoder": encoder, "dev_sentences": dev_sentences, "fit": training}
            for one in rival or RIVALS
        ],
        "model": [{"name": one} for one in model or ()],
    }
    text = _toml(tables)
    study = Study.from_dict(tomllib.loads(text))
    run_study(study, text.encode(), str(out / "study.toml"), out, data, only or (), dry_run, jobs, devices)


def _numbers(seeds: str) -> list[int]:
    try:
        return [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {seeds!r}; legal: whole numbers divided by commas, as in 1,2,3") from None


def _toml(tables: dict[str, Any]) -> str:
    """A study's tables as its file; lists of tables come last."""
    lines = [f"{key} = {_value(v)}" for key, v in tables.items() if not _is_tables(v)]
    for name, some in ((key, v) for key, v in tables.items() if _is_tables(v)):
        for table in some:
            lines += ["", f"[[{name}]]", *(f"{key} = {_value(v)}" for key, v in table.items())]
    return "\n".join(lines) + "\n"


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(v)}" for key, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # of strings, numbers and lists also TOML
