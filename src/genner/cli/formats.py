"""`genner formats` and `genner grammar`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from genner.boundaries import boundaries
from genner.cli.app import app
from genner.errors import UsageError
from genner.grammar import Constraints

if TYPE_CHECKING:
    from genner.formats import Format

LANGUAGES = ("gbnf", "ebnf", "lark", "json-schema")
MAX_SIZE = 256 * 1024
"""Characters of a grammar that any engine takes within seconds (docs/formats.md)."""
_CHARS_OF_A_RULE = 40  # lower bound, for XML's rules


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
    max_size: Annotated[int, typer.Option(min=1, help="Refuse a grammar of more characters.")] = MAX_SIZE,
) -> None:
    """Write the grammar of one text for another engine: llama.cpp, xgrammar (vLLM, SGLang), llguidance.

    Its size is told on standard error; of gbnf and ebnf, also how long an answer they allow.
    """
    from genner.decoding_constraints import DECODING
    from genner.document import Document
    from genner.formats import get_format
    from genner.labels import parse_labels

    form, asked = get_format(format), parse_labels(labels)
    if to not in LANGUAGES:
        raise UsageError(f"unknown language {to!r}; known: {', '.join(LANGUAGES)}")
    Document(text)  # an invalid text has no grammar
    constraints = Constraints("strict", depth, allow_trailing_repeat=DECODING.allow_trailing_repeat)
    if to == "json-schema" and form.json_schema("", asked, constraints) is None:
        raise UsageError(f"{format} is not JSON, so it has no schema; take gbnf, ebnf or lark, or a JSON format")
    least = _at_least(form, text, len(asked), to, depth)
    if least > max_size:
        raise _too_large(f"more than {least:,} characters", text, len(asked), form, to, depth, max_size)
    about = ""
    if to == "json-schema":
        schema = form.json_schema(text, asked, constraints)
        written = json.dumps(schema, ensure_ascii=False, indent=1) + "\n"
    elif to == "lark":
        written = form.lark(text, asked, constraints)
    else:
        rules = form.rules(text, asked, constraints)
        written = rules.gbnf()
        about = f"; the longest answer that it allows has {rules.longest():,} characters"
    size = f"{len(written):,} characters" + (f", {size_of(written):,} rules" if to != "json-schema" else "")
    if len(written) > max_size:
        raise _too_large(size, text, len(asked), form, to, depth, max_size)
    print(written, end="")
    print(f"{to}: {size}{about}", file=sys.stderr)


def size_of(grammar: str) -> int:
    """The number of rules and terminals of a grammar: one per line."""
    return grammar.count("\n")


def _at_least(form: "Format", text: str, labels: int, to: str, depth: int) -> int:
    """A lower bound of a grammar's size in characters, without building it; 0 if building is fast.

    A schema lists every span of words from the first word on. Rules that remember each open label distinguish all
    ways in which `depth` labels can be open.
    """
    starts, ends = boundaries(text, "word")
    first = next((i for i, start in enumerate(starts) if start), None)
    if first is None:
        return 0
    if to == "json-schema":
        return sum(end - first for end in range(first + 1, len(text) + 1) if ends[end])
    if form.rules_grow_with_depth and to in ("gbnf", "ebnf") and depth > 1 and any(boundaries(text, "strict")[0]):
        return int(_CHARS_OF_A_RULE * min(float(labels) ** min(depth, 64), 1e12))
    return 0


def _too_large(size: str, text: str, labels: int, form: "Format", to: str, depth: int, most: int) -> UsageError:
    why = f"{to} of {size} for a --text of {len(text):,} characters, {labels} labels and --depth {depth}"
    return UsageError(
        f"{why} is more than --max-size {most}, and an engine may take minutes for it, or refuse it; "
        f"{_advice(form, to, depth)}, or raise --max-size"
    )


def _advice(form: "Format", to: str, depth: int) -> str:
    """What to change to make a grammar smaller; the option to type comes first."""
    from genner.formats import FORMATS

    how = []
    if to == "json-schema":
        how.append("--to gbnf, ebnf or lark, which grow with the text and not with its square")
    if form.rules_grow_with_depth and to != "lark" and depth > 1:
        how.append("--to lark, which stays small at any depth (llguidance)")
        alike = (f for f in FORMATS.values() if f.decision_kinds == form.decision_kinds and not f.prompt_per_label)
        if others := [f.name for f in alike if not f.rules_grow_with_depth]:
            how.append(f"--format {' or '.join(others)}, whose rules need not remember each open label")
    if depth > 1:
        how.append(f"--depth {depth - 1}")
    return "give " + ", ".join([*how, "a shorter --text"])
