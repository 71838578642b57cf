"""How a request tells genner's plug-in its grammar, in vLLM's own process and over HTTP."""

import json

from genner.engines.base import GrammarSource
from genner.errors import UsageError

KEY = "genner"
"""The key of a request's grammar in vLLM's `extra_args`, over HTTP in `vllm_xargs`."""


def grammar_args(source: GrammarSource | None) -> dict[str, str]:
    """What tells the plug-in the grammar of a request: `extra_args`, over HTTP `vllm_xargs`.

    Raises `UsageError` for a request whose grammar cannot be made again.
    """
    if source is None:
        raise UsageError("the request has no grammar_source, from which the grammar is made again inside vLLM")
    return {KEY: json.dumps(source.to_json(), ensure_ascii=False, separators=(",", ":"))}
