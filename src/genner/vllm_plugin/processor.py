"""The logits processor that vLLM loads: the one place that knows vLLM's interfaces.

vLLM has two, and `GrammarProcessor` is made for whichever the running model runner uses. Model runner V1 tells which
requests were added, moved and removed, by their index in the batch, and gives their output tokens as lists that it
extends. Model runner V2 (from vLLM 0.2x on) keeps the tokens of each request in a slot of a buffer on the device, and
passes the layout of the batch with every step.
"""

import logging
import weakref
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import LogitsProcessor as V1Processor
from vllm.v1.sample.logits_processor import MoveDirectionality

from genner.engines.chat import Chat
from genner.engines.vocabulary import Vocabulary
from genner.errors import UsageError
from genner.vllm_plugin.request import requested_grammar
from genner.vllm_plugin.rows import AnswerRow, EmptyRow, LegalLogits

try:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2Processor
except ImportError:  # a vLLM without model runner V2

    class V2Processor:  # type: ignore[no-redef]
        pass


log = logging.getLogger("vllm.genner")

_ASYNC = (
    "genner's grammars cannot be enforced: with asynchronous scheduling, vLLM's model runner V1 shows the tokens of an "
    "answer only to processors that are named at its start; start vLLM with --logits-processors "
    "genner.vllm_plugin.processor:GrammarProcessor, or with --no-async-scheduling"
)
_SPECULATIVE = (
    "genner's grammars cannot be enforced together with speculative decoding; start vLLM without --speculative-config"
)
_configs: "list[weakref.ref[Any]]" = []  # those for which a processor was made


class GrammarProcessor(V1Processor, V2Processor):  # type: ignore[misc]
    """Restricts each request that carries a grammar to its legal tokens; satisfies the interfaces of both runners.

    Args:
        vllm_config: vLLM's configuration.
        where: the device (V1), or the state of all requests (V2).
        is_pin_memory: V1 only.
    """

    def __init__(self, vllm_config: Any, where: Any, is_pin_memory: bool = False) -> None:
        self._config = vllm_config
        # Named at the start of vLLM and found by its entry point, it is made twice; the second one does nothing.
        self._idle = any(known() is vllm_config for known in _configs)
        if not self._idle:
            _configs[:] = [known for known in _configs if known() is not None] + [weakref.ref(vllm_config)]
        self._rows: dict[int, AnswerRow] = {}  # by index in the batch (V1), by slot (V2)
        self._outputs: dict[int, list[int]] = {}  # V1: the tokens of each, as vLLM extends them
        self._states: Any = where if hasattr(where, "all_token_ids") else None  # V2
        self._logits = LegalLogits(own=_is_alone(vllm_config))
        self._vocabulary: Vocabulary | None = None
        self._obstacle = self._found_obstacle()
        self._ready: Any = None  # V2 on a GPU: when the tokens of the last step are written

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose grammar is not one, before it is scheduled. Raises `ValueError`."""
        requested_grammar(sampling_params.extra_args)

    def is_argmax_invariant(self) -> bool:
        return False

    # -- model runner V1

    def update_state(self, batch_update: Any) -> None:
        if batch_update is None or self._idle:
            return
        for index in batch_update.removed:
            self._forget(index)
        for index, params, _, output in batch_update.added:
            self._forget(index)
            row = self._made_row(params)
            if row is not None:
                self._rows[index], self._outputs[index] = row, output
        for a, b, direction in batch_update.moved:
            for by_index in (self._rows, self._outputs):
                _move(by_index, a, b, swap=direction == MoveDirectionality.SWAP)

    def _forget(self, index: int) -> None:
        self._rows.pop(index, None)
        self._outputs.pop(index, None)

    # -- model runner V2

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        self._forget(req_idx)
        row = None if self._idle else self._made_row(sampling_params)
        if row is not None:
            self._rows[req_idx] = row
        return row is not None

    def apply_staged_writes(self) -> None:
        if self._rows and self._states is not None and self._states.device.type == "cuda":
            self._ready = self._ready or torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._ready.record()

    # -- both

    def apply(self, logits: Tensor, ctx: Any = None) -> Tensor:
        if not self._rows:
            return logits
        if ctx is not None:
            return self._logits.restrict(logits, self._read_slots(logits.shape[0], ctx))
        count = logits.shape[0]
        rows = {}
        for index, row in self._rows.items():
            if index < count:
                output = self._outputs[index]
                if len(output) > row.count:
                    row.take(output[row.count :])
                rows[index] = row
        return self._logits.restrict(logits, rows)

    def _read_slots(self, count: int, ctx: Any) -> dict[int, AnswerRow]:
        """V2: read the new tokens of the requests of a step; their automata by the index of their logits.

        The tokens are read from a buffer that the device writes to, as soon as those of the last step are there: so
        this work runs beside the model's pass, which is only queued at this point.
        """
        states = self._states
        if self._ready is not None:
            self._ready.synchronize()
        slots = ctx.idx_mapping_np.tolist()
        lengths = ctx.seq_lens_upper_bound_np.tolist()
        asked: list[tuple[int, int, AnswerRow]] = []
        for index, slot in enumerate(slots):
            row = self._rows.get(slot)
            if row is not None:
                asked.append((index, slot, row))
        if count != len(slots):  # speculative decoding; such rows end at once, by `_obstacle`
            owners = ctx.expanded_idx_mapping.tolist()
            return {index: self._rows[slot] for index, slot in enumerate(owners) if slot in self._rows}
        tokens, prompts = _host(states.all_token_ids), states.prompt_len.np
        for index, slot, row in asked:
            begin = int(prompts[slot]) + row.count
            # While a prompt is read in parts, the length is that of a part.
            if begin < lengths[index]:
                row.take(tokens[slot, begin : lengths[index]].tolist())
        return {index: row for index, _, row in asked}

    def _made_row(self, params: Any) -> AnswerRow | None:
        """The automaton of a request; None if it has no grammar.

        What is wrong was said by `validate_params`, where vLLM calls it. Here it cannot be refused without harm to the
        other requests, so it is answered with nothing.
        """
        try:
            source = requested_grammar(params.extra_args)
            if source is None:
                return None
            if self._obstacle:
                raise UsageError(self._obstacle)
            return AnswerRow(source.grammar(), self._made_vocabulary())
        except Exception as error:
            log.error("a request is answered with nothing: %s", error)
            end = self._config.model_config.hf_text_config.eos_token_id
            return EmptyRow(end[0] if isinstance(end, list) else end or 0)

    def _made_vocabulary(self) -> Vocabulary:
        if self._vocabulary is None:
            from transformers import AutoTokenizer

            model = self._config.model_config
            tokenizer = AutoTokenizer.from_pretrained(
                model.tokenizer, revision=model.tokenizer_revision, trust_remote_code=model.trust_remote_code
            )
            self._vocabulary = Vocabulary(tokenizer, Chat(tokenizer).end_id, model.get_vocab_size())
        return self._vocabulary

    def _found_obstacle(self) -> str:
        """Why grammars cannot be enforced here; empty if they can."""
        if self._config.speculative_config is not None:
            return _SPECULATIVE
        named = self._config.model_config.logits_processors
        if self._states is None and self._config.scheduler_config.async_scheduling and not named:
            return _ASYNC
        return ""


def _move(by_index: dict[int, Any], a: int, b: int, *, swap: bool) -> None:
    """Move the entry of index `a` to `b`, and if `swap`, that of `b` to `a`."""
    first, second = by_index.pop(a, None), by_index.pop(b, None)
    if first is not None:
        by_index[b] = first
    if swap and second is not None:
        by_index[a] = second


def _host(buffer: Any) -> Any:
    """The array on the host in which a buffer of V2 holds its numbers."""
    shared = getattr(buffer, "_uva_buf", None)
    if shared is not None:
        return shared.np
    return buffer.gpu.numpy() if buffer.gpu.device.type == "cpu" else buffer.gpu.cpu().numpy()


def _is_alone(vllm_config: Any) -> bool:
    """Whether nothing else in this vLLM writes logits after `GrammarProcessor`."""
    named: Sequence[Any] = vllm_config.model_config.logits_processors or ()
    others = [p for p in named if p is not GrammarProcessor and not str(p).endswith(":GrammarProcessor")]
    installed = {point.value for point in entry_points(group="vllm.logits_processors")}
    thinking = getattr(vllm_config, "reasoning_config", None) is not None
    return not others and len(installed) <= 1 and not thinking
