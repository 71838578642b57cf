"""How a server is told which answers are legal: the fields of a request, by the kind of server and by mode.

    genner           genner's own automaton, in a vLLM that runs genner's plug-in: exact
    gbnf             a grammar: llama.cpp `grammar`, vLLM `structured_outputs`, SGLang `ebnf`
    json_schema      a JSON schema in the server's own field: vLLM `structured_outputs`, llama.cpp `json_schema`
    response_format  a JSON schema in OpenAI's field, which Ollama and LM Studio take too
    none             not at all: the answer is aligned with the text and repaired

`auto` begins at the first mode that the kind of server knows, and goes down where a format has no such grammar or the
server refuses it.
"""

import json
import re
from dataclasses import asdict
from typing import Any, Literal, cast, get_args

from genner.engines.base import GrammarSource, GrammarSupport
from genner.engines.http.options import Structured
from genner.engines.vllm_args import KEY, grammar_args
from genner.errors import UsageError
from genner.grammar import FLAT

ServerKind = Literal["openai", "openrouter", "vllm", "sglang", "llama.cpp", "ollama", "lmstudio", "unknown"]

_LADDERS: dict[ServerKind, tuple[Structured, ...]] = {
    "vllm": ("genner", "gbnf", "json_schema", "none"),
    "llama.cpp": ("gbnf", "json_schema", "none"),
    "sglang": ("gbnf", "response_format", "none"),
}
_OTHERS: tuple[Structured, ...] = ("response_format", "none")

PLUGIN_TEXT = "4711"
PLUGIN_TEST = {
    "vllm_xargs": {
        KEY: json.dumps({"format": "inline_xml", "text": PLUGIN_TEXT, "labels": ["A"], "constraints": asdict(FLAT)})
    }
}
"""The fields of a request whose answer, if the plug-in is there, is `PLUGIN_TEXT`, with the tag A or without."""

LIKELIEST = -2.5
"""The log-probability of the first token of that answer, among the legal ones: it is the likeliest of `<`, `<A`, `<A>`,
`4`, `47`, `471` and `4711`. Among all tokens, a model that is asked for another word gives it much less."""

WRAP = "items"
"""The key of the object that a list is wrapped in, where a server takes objects only."""

_WRAPPED = re.compile(r'\s*\{\s*"items"\s*:\s*(\[.*\])\s*\}\s*', re.DOTALL)

SUPPORT: dict[Structured, GrammarSupport] = {
    "genner": "exact",
    "gbnf": "exported",
    "json_schema": "exported",
    "response_format": "exported",
    "none": "none",
}


def ladder(kind: ServerKind, wanted: str) -> tuple[Structured, ...]:
    """The modes to try, the best first, `none` last. Raises `UsageError` for one that this kind of server lacks."""
    steps = _LADDERS.get(kind, _OTHERS)
    if wanted == "auto":
        return steps
    if wanted == "genner" and kind != "vllm":
        raise UsageError(
            f"structured=genner needs vLLM with genner's plug-in, and the server is {kind}; legal: auto, "
            f"{', '.join(step for step in get_args(Structured) if step != 'genner')}"
        )
    return ("none",) if wanted == "none" else (cast(Structured, wanted), "none")


def fields(mode: Structured, kind: ServerKind, source: GrammarSource) -> dict[str, Any] | None:
    """The fields of a request that hold the server to a grammar; None if this mode cannot express the grammar."""
    try:
        if mode == "genner":
            return {"vllm_xargs": grammar_args(source)}
        if mode == "gbnf":
            grammar = source.gbnf()
            if kind == "vllm":
                return {"structured_outputs": {"grammar": grammar}}
            return {"ebnf" if kind == "sglang" else "grammar": grammar}
        schema = source.json_schema() if mode != "none" else None
    except UsageError:
        return None
    if schema is None:
        return None
    if mode == "json_schema":
        if kind == "vllm":
            return {"structured_outputs": {"json": schema}}
        if kind == "llama.cpp":
            return {"json_schema": schema}
    if schema.get("type") != "object":  # OpenAI takes objects only
        schema = {"type": "object", "properties": {WRAP: schema}, "required": [WRAP], "additionalProperties": False}
    named = {"name": "answer", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def unwrapped(answer: str) -> tuple[int, int]:
    """The characters `[begin, end)` of an answer that are the reply: `fields` wraps a list in an object."""
    found = _WRAPPED.fullmatch(answer)
    return found.span(1) if found else (0, len(answer))


def respelled(answer: str) -> str:
    """A JSON answer in the spelling of genner's formats, which a schema does not prescribe; else the answer itself."""
    try:
        return json.dumps(json.loads(answer), ensure_ascii=False)
    except (ValueError, RecursionError):
        return answer
