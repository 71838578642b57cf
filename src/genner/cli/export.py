"""`genner export`, and `genner merge`, `genner export --to transformers` for adapters alone."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from genner.cli.app import app, tell
from genner.errors import UnknownNameError, UsageError

TARGETS = ("transformers", "gguf")


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(help="default; or the folder of an adapter, a training run or a transformers model.")
    ],
    to: Annotated[str, typer.Option(help=f"{' or '.join(TARGETS)}.")],
    out: Annotated[Path, typer.Option(help="A new folder; for another type of a model's GGUF, the same one.")],
    dtype: Annotated[str | None, typer.Option(help="transformers: bfloat16 (if left out), float16 or float32.")] = None,
    type: Annotated[str | None, typer.Option(help="gguf: q8_0 (if left out), bf16, f16, q4_0 or q4_1.")] = None,
    base_gguf: Annotated[
        Path | None, typer.Option(help="gguf: the file of the base model; a preset's is fetched if left out.")
    ] = None,
    converter: Annotated[
        Path | None, typer.Option(help="gguf: llama.cpp's convert_hf_to_gguf.py; else in $LLAMA_CPP or on the PATH.")
    ] = None,
) -> None:
    """Write a model for other software: a transformers folder, or GGUF for llama.cpp."""
    from genner.export.about import FOUR_BITS
    from genner.export.folder import to_transformers
    from genner.export.llama_cpp import to_gguf

    if to not in TARGETS:
        raise UnknownNameError("target", to, TARGETS)
    foreign = (
        {"--dtype": dtype} if to == "gguf" else {"--type": type, "--base-gguf": base_gguf, "--converter": converter}
    )
    if given := [option for option, value in foreign.items() if value is not None]:
        raise UsageError(f"{given[0]} has no meaning with --to {to}; leave it out")
    if to == "transformers":
        tell(to_transformers(model, out, dtype or "bfloat16"), sys.stdout)
        return
    if type in FOUR_BITS:
        print(
            f"genner: warning: {type} can lose what an adapter has learned; q8_0 and bf16 keep it. Measure before use",
            file=sys.stderr,
        )
    tell(to_gguf(model, out, type or "q8_0", base_gguf=base_gguf, converter=converter), sys.stdout)


@app.command()
def merge(
    adapter: Annotated[str, typer.Argument(help="default, or the folder of an adapter or of a training run.")],
    out: Annotated[Path, typer.Option(help="A new folder for the model.")],
    dtype: Annotated[str, typer.Option(help="Of the weights: bfloat16, float16 or float32.")] = "bfloat16",
) -> None:
    """Merge an adapter into its base: one model, for genner and for transformers."""
    from genner.export.folder import merge as run

    tell(run(adapter, out, dtype), sys.stdout)
