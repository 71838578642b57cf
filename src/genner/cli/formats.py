"""`genner formats` and `genner grammar`."""

import json
import sys
from typing import Annotated

import typer

from genner.cli.app import app
from genner.errors import UsageError

MUCH = 256 * 1024  # bytes of a grammar that engines take about a second for
LANGUAGES = ("gbnf", "ebnf", "lark", "json-schema")


@app.command()
def formats() -> None:
    """List the answer formats, each with its answer for the same sentence."""
    from genner.formats import FORMATS

    for name, form in FORMATS.items():
        print(name, form.example.replace("\n", "\\n"), sep="\t")


@app.command()
def grammar(
    text: Annotated[str, typer.Option(help="The text to be answered.")],
    labels: Annotated[str, typer.Option(help="Tags (PER,ORG), or a shipped label set.")] = "core",
    format: Annotated[str, typer.Option(help="Answer format: see genner formats.")] = "inline_xml",
    to: Annotated[str, typer.Option(help=f"Language: {', '.join(LANGUAGES)}.")] = "gbnf",
    depth: Annotated[int, typer.Option(min=1, help="How many entities may be open at once.")] = 1,
) -> None:
    """Write the grammar of one text for another engine: llama.cpp, xgrammar (vLLM, SGLang), llguidance."""
    from genner.formats import get_format
    from genner.labels import parse_labels

    form, asked = get_format(format), parse_labels(labels)
    if to not in LANGUAGES:
        raise UsageError(f"unknown language {to!r}; known: {', '.join(LANGUAGES)}")
    if to == "json-schema":
        schema = form.json_schema(text, asked)
        if schema is None:
            raise UsageError(f"{format} is not JSON, so it has no schema; take gbnf, ebnf or lark, or a JSON format")
        written = json.dumps(schema, ensure_ascii=False, indent=1) + "\n"
    else:
        rules = form.rules(text, asked, depth=depth)
        written = rules.lark() if to == "lark" else rules.gbnf()
    print(written, end="")
    if (size := len(written.encode())) > MUCH:
        advice = "gbnf, ebnf and lark are smaller, or give" if to == "json-schema" else "give"
        what = f"{size // 1024} KiB for {len(text)} characters, {len(asked)} labels and --depth {depth}"
        print(
            f"warning: {what}: an engine may take seconds to compile this; {advice} a shorter --text", file=sys.stderr
        )
