"""What a request to vLLM says about its grammar."""

import json
from collections.abc import Mapping
from typing import Any

from genner.engines.vllm_args import KEY
from genner.errors import GennerError, UsageError
from genner.formats.choice import ChoiceGrammarSource
from genner.formats.grammar_source import FormatGrammarSource, grammar_source_from_json

__all__ = ["KEY", "MAX_TEXT", "requested_grammar"]

MAX_TEXT = 1 << 16  # code points: building a grammar blocks the server for about 20 microseconds per code point
MAX_LABELS = 2000  # or choices: about a millisecond each


def requested_grammar(extra_args: Mapping[str, Any] | None) -> FormatGrammarSource | ChoiceGrammarSource | None:
    """The grammar that a request asks for; None if it asks for none.

    It is an object, or that object as a JSON string, since vLLM's HTTP interface takes only strings and numbers. Raises
    `ValueError`, which vLLM answers with status 400, naming what is wrong.
    """
    raw = (extra_args or {}).get(KEY)
    if raw is None:
        return None
    try:
        if isinstance(raw, str):
            raw = json.loads(raw)
        source = grammar_source_from_json(raw)
        if isinstance(source, FormatGrammarSource):
            kind, names, size = "labels", source.labels.tags, len(source.text)
        else:
            kind, names, size = "choices", source.choices, sum(map(len, source.choices))
        if size > MAX_TEXT:
            raise UsageError(f"the text has {size} code points; at most {MAX_TEXT}")
        if len(names) > MAX_LABELS:
            raise UsageError(f"there are {len(names)} {kind}; at most {MAX_LABELS}")
    except (GennerError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the request's grammar, {KEY!r}, is refused: {error}") from None
    return source
