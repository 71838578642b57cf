"""genner's grammars inside vLLM: a logits processor that runs the automaton of each request in the server.

A request carries its grammar as a small JSON value (`genner.formats.grammar_source`) in `SamplingParams.extra_args`,
over HTTP in `vllm_xargs`, under the key `KEY`. Requests without it are not touched.

`request` reads that value, `rows` holds the automata of a batch and restricts its logits, and `processor` is what vLLM
loads, the only module that knows vLLM's interfaces. vLLM finds it by the entry point `vllm.logits_processors` of this
package, or by `--logits-processors genner.vllm_plugin.processor:GrammarProcessor`.
"""

from genner.vllm_plugin.request import KEY

__all__ = ["KEY"]
