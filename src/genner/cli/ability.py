"""`genner ability`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import DeviceOption, app, must_exist, tell
from genner.errors import GennerError, UsageError


def _lm_eval_path(asked: bool) -> None:
    if asked:
        from genner.ability import lm_eval_path

        print(lm_eval_path())
        raise typer.Exit


@app.command()
def ability(
    model: Annotated[
        str, typer.Argument(help="default, or the folder of an adapter, a training run or a model: against its base.")
    ],
    tasks: Annotated[
        str,
        typer.Option(help="Of lm-evaluation-harness, or drop_cued, squad: NAME[+chat][@SHOTS][:ITEMS], with commas."),
    ],
    out: Annotated[Path, typer.Option(help="The folder for items, results and the table; an interrupted run goes on.")],
    data: Annotated[
        Path | None, typer.Option(help="The folder with the files of the offline tasks; else the hub is asked.")
    ] = None,
    shots: Annotated[str, typer.Option(help="Examples in the prompt; several numbers: each in turn.")] = "0",
    limit: Annotated[int | None, typer.Option(min=1, help="Items of each task, drawn by the seed; else all.")] = None,
    seed: Annotated[int, typer.Option(help="Draws items and shots, the same for all models.")] = 0,
    also: Annotated[
        list[str] | None, typer.Option(help="Another model of the same base, NAME=MODEL. Repeatable.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16, float16; auto: bfloat16 on CUDA, else float32.")
    ] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts that are run together.")] = 8,
    device: DeviceOption = None,
    lm_eval_path: Annotated[
        bool,
        typer.Option(
            "--lm-eval-path",
            callback=_lm_eval_path,
            is_eager=True,
            help="Print the folder of genner's NER tasks, for lm_eval --include_path, and end.",
        ),
    ] = False,
) -> None:
    """Measure general ability before and after: a base against its adapter, through lm-evaluation-harness."""
    from genner.ability.run import Ask, compare
    from genner.ability.table import markdown

    if data is not None:
        must_exist(data)
    asks = [Ask(*what) for what in _asked(tasks, _numbers(shots), limit)]
    found = compare(
        model,
        asks,
        out,
        also=_also(also or []),
        seed=seed,
        data=data,
        dtype=dtype,
        batch_size=batch_size,
        device=device,
        tell=tell,
    )
    text = markdown(found)
    (out / "ability.md").write_text(text, encoding="utf-8")
    tell(text, sys.stdout)
    if found.problems:
        raise GennerError(f"not measured: {', '.join(found.problems)}; the reasons stand at the end of the table")


def _asked(given: str, usual: list[int], limit: int | None) -> list[tuple[str, int, int | None]]:
    """Tasks with shots and limits, the defaults unless a task gives its own: `drop_cued@0@3:60`."""
    found: list[tuple[str, int, int | None]] = []
    for part in given.split(","):
        what, colon, number = part.strip().partition(":")
        name, *shots = what.split("@")
        if colon and (not number.isdecimal() or not int(number)):
            raise UsageError(f"task {part.strip()!r}: behind the colon stands how many items, 1 or more")
        most = int(number) if colon else limit
        found += [(name, times, most) for times in (_numbers(",".join(shots)) if shots else usual)]
    return found


def _numbers(given: str) -> list[int]:
    try:
        return [int(part) for part in given.split(",")]
    except ValueError:
        raise UsageError(f"shots {given!r}; give whole numbers, as in --shots 0,3") from None


def _also(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in given:
        name, equals, model = part.partition("=")
        if not equals or not name or not model or name in found:
            raise UsageError(f"--also {part!r}; give a new NAME=MODEL each time, as in --also mixed=runs/mixed")
        found[name] = model
    return found
