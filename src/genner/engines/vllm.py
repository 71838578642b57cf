"""vLLM in this process: continuous batches, adapters per request, and genner's automaton as a logits processor.

Prompts are the token ids of `Chat`, so they equal those of training. The automaton of a request is made again inside
vLLM from `Request.grammar_source` (`genner.vllm_plugin`); log-probabilities are those among the legal tokens, so scores
mean what they mean in the local engine. Answers equal those of token-by-token decoding, up to near-ties: vLLM's kernels
round differently.
"""

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch._dynamo
import vllm
import vllm.exceptions
from transformers import AutoTokenizer
from vllm.lora.request import LoRARequest

from genner.engines.base import Answered, Capabilities, Generation, Request
from genner.engines.chat import Chat
from genner.engines.decoding import budget
from genner.engines.fast_loading.weights import load_weights
from genner.engines.transformers_engine import fast_dtype
from genner.engines.turns import Turns
from genner.engines.vllm_args import grammar_args
from genner.engines.vllm_options import VllmOptions
from genner.engines.vocabulary import Vocabulary
from genner.errors import ModelError, UsageError
from genner.grammar import walk

PROCESSOR = "genner.vllm_plugin.processor:GrammarProcessor"
REFUSALS = (ValueError, getattr(vllm.exceptions, "VLLMClientError", ValueError))
"""What vLLM raises for a wrong argument or request: from 0.3x on its own errors, which are no `ValueError`."""

DRAFTER = "drafter.safetensors"  # a file of genner's in the folders of models

WAITING = 8  # answers that may wait for an earlier one, in multiples of those that are computed together

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the maximum ranks that vLLM takes


class VllmEngine:
    """Answers requests with a vLLM engine. Several threads may use it: their requests share its batches.

    Args:
        llm: a `vllm.LLM` that was made with the logits processor `PROCESSOR` and `logprobs_mode="processed_logprobs"`.
        tokenizer: its fast tokenizer, with a chat template.
        folder: the folder of the model.
        options: how it was made.
    """

    capabilities = Capabilities("exact", logprobs=True, adapters=True)
    Options = VllmOptions

    def __init__(
        self,
        llm: Any,
        tokenizer: Any,
        name: str = "vllm",
        folder: Path | None = None,
        options: VllmOptions | None = None,
    ) -> None:
        self.name, self.folder = name, folder
        self.options = options or VllmOptions()
        self.capabilities = Capabilities("exact", logprobs=True, adapters=self.options.adapters > 0)
        self.chat = Chat(tokenizer)
        self._engine = llm.llm_engine
        config = self._engine.vllm_config
        self.window: int = config.model_config.max_model_len
        self.default_batch: int = config.scheduler_config.max_num_seqs
        self.vocabulary = Vocabulary(tokenizer, self.chat.end_id, config.model_config.get_vocab_size())
        dtype = str(config.model_config.dtype).removeprefix("torch.")
        self.signature: Mapping[str, str] = {"engine": f"vllm-{vllm.__version__}", "dtype": dtype}
        self._adapters: dict[str, tuple[Path, LoRARequest]] = {}
        self._finished: dict[str, Any] = {}  # vLLM's outputs that nobody has taken yet, by request id
        self._numbers = count()
        self._turns = Turns()
        self._merged: TemporaryDirectory[str] | None = None  # the folder of a merged model, without its weights

    @classmethod
    def load(
        cls,
        folder: Path | None,
        adapter: Path | None = None,
        *,
        name: str = "vllm",
        device: torch.device | None = None,
        decoder: Any = None,
        drafter: Any = None,
        options: Any = None,
    ) -> "VllmEngine":
        """Load a model folder. Uses no network; `decoder` and `drafter` are ignored.

        If there is room for adapters, `add_adapter` loads `adapter` afterwards; if not, it is merged into the weights,
        in a temporary folder. Raises `ModelError` when vLLM cannot load the folder.
        """
        assert folder is not None
        given: VllmOptions = options or VllmOptions()
        on_cpu = not torch.cuda.is_available() if device is None else device.type == "cpu"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(given.cpu_memory))
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        dtype = given.dtype or str(fast_dtype(torch.device("cpu" if on_cpu else "cuda"))).removeprefix("torch.")
        batch = given.batch or (32 if on_cpu else 256)
        eager = on_cpu if given.eager is None else given.eager
        if eager:
            # vLLM would still compile how it ranks log-probabilities, for a minute before the first answer.
            os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")  # of processes that vLLM starts
            torch._dynamo.config.disable = True
        lora: dict[str, Any] = {}
        if given.adapters:
            rank = given.rank or (rank_of(adapter) if adapter else RANKS[1])
            lora = {
                "enable_lora": True,
                # vLLM's kernels for CPUs give a request without an adapter the last one (0.32), so one stays empty.
                "max_loras": given.adapters + on_cpu,
                "max_lora_rank": next((known for known in RANKS if known >= rank), rank),
            }
        merged = None if adapter is None or given.adapters else _merged(folder, adapter, getattr(torch, dtype))
        merged = merged or _without_drafter(folder)
        place = Path(merged.name) if merged else folder
        llm = cls._llm(place, name, given, dtype=dtype, enforce_eager=eager, max_num_seqs=batch, **lora)
        made = cls(llm, AutoTokenizer.from_pretrained(place, local_files_only=True), name, folder, given)
        if merged:
            for weights in place.glob("*.safetensors"):
                weights.unlink()
            made._merged = merged  # vLLM reads the tokenizer again
        return made

    @staticmethod
    def _llm(folder: Path, name: str, given: VllmOptions, **more: Any) -> Any:
        """A `vllm.LLM` as `VllmEngine` needs it. Raises `ModelError`."""
        try:
            return vllm.LLM(
                str(folder),
                max_model_len=given.window or None,
                enable_prefix_caching=True,
                gpu_memory_utilization=given.gpu_memory,
                tensor_parallel_size=given.gpus,
                logits_processors=[PROCESSOR],
                logprobs_mode="processed_logprobs",
                **more,
            )
        except (*REFUSALS, RuntimeError, OSError, NotImplementedError, AssertionError) as error:
            raise ModelError(f"{name}: vLLM cannot load {folder}: {error}") from error

    def add_adapter(self, name: str, folder: Path | None) -> str:
        if folder is None:
            return ""  # the model itself
        if not self.options.adapters:
            raise UsageError(f"engine vllm was loaded without room for {name}; load it with the option adapters=4")
        if (folder / "tokenizer_config.json").is_file():
            raise UsageError(f"{name} was trained with tokens that its base lacks; load it with the option adapters=0")
        known = self._adapters.get(name)
        if known is None:
            if len(self._adapters) == self.options.adapters:
                raise UsageError(
                    f"engine vllm holds {len(self._adapters)} adapters already ({', '.join(self._adapters)}); load it "
                    f"with the option adapters={len(self._adapters) + 1}"
                )
            rank = rank_of(folder)
            most = self._engine.vllm_config.lora_config.max_lora_rank
            if rank > most:
                raise UsageError(f"{name} is of rank {rank}, and engine vllm takes {most}; give the option rank={rank}")
            number = len(self._adapters) + 1
            with self._turns:
                self._engine.add_lora(lora := LoRARequest(name, number, str(folder)))
            self._adapters[name] = folder, lora
        elif known[0] != folder:
            raise UsageError(f"engine vllm has another adapter of the name {name!r}, in {known[0]}")
        return name

    def measure(self, instruction: str, text: str) -> int:
        with self._turns:
            return len(self.chat.prefix_ids(instruction)) + len(self.chat.body_ids(text))

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        size = batch_size or 2 * self.default_batch  # twice as many, so that a place in the batch is filled at once
        source, waiting = iter(requests), deque[tuple[Request, str, Generation | None]]()
        running = 0
        try:
            while True:
                while running < size and len(waiting) < WAITING * size and (request := next(source, None)) is not None:
                    with self._turns:
                        key, failed = self._submit(request)
                    waiting.append((request, key, failed))
                    running += failed is None
                while waiting and ((done := waiting[0][2]) is not None or waiting[0][1] in self._finished):
                    request, key, _ = waiting.popleft()
                    if done is None:
                        done = self._generation(request, self._finished.pop(key))
                    yield request, done
                if not waiting:
                    return
                with self._turns:
                    if waiting[0][1] not in self._finished:  # another thread may have brought it
                        for output in self._engine.step():
                            self._finished[output.request_id] = output
                running = sum(failed is None and key not in self._finished for _, key, failed in waiting)
        finally:
            left = [key for _, key, failed in waiting if failed is None]
            if left:
                with self._turns:
                    self._engine.abort_request(left)
                for key in left:
                    self._finished.pop(key, None)

    def _submit(self, request: Request) -> tuple[str, Generation | None]:
        """Give a request to vLLM. Returns its id there, and if vLLM refused it, an answer that says why."""
        key = str(next(self._numbers))
        prompt = self.chat.prefix_ids(request.instruction) + self.chat.body_ids(request.text)
        params = vllm.SamplingParams(
            temperature=0.0,
            max_tokens=budget(self.chat, request, len(prompt), self.window),
            stop_token_ids=[self.chat.end_id],
            logprobs=0,
            detokenize=False,
            output_kind=vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
            extra_args=grammar_args(request.grammar_source) if request.constrained else None,
        )
        lora = self._adapters[request.adapter][1] if request.adapter else None
        try:
            self._engine.add_request(key, {"prompt_token_ids": prompt}, params, lora_request=lora)
        except REFUSALS as error:  # vLLM's own checks, before it has taken the request
            return key, Generation(b"", complete=False, failure=f"vLLM refused the request: {error}")
        return key, None

    def _generation(self, request: Request, output: Any) -> Generation:
        (said,) = output.outputs
        answer, ends, logprobs = bytearray(), list[int](), list[float]()
        for token, chances in zip(said.token_ids, said.logprobs, strict=True):
            answer += self.vocabulary.bytes[token] or b"" if token != self.chat.end_id else b""
            ends.append(len(answer))
            logprobs.append(chances[token].logprob)
        complete = said.finish_reason == "stop"
        problems: tuple[str, ...] = ()
        if request.constrained and not complete:
            state = walk(request.grammar, request.grammar.start(), bytes(answer))
            answer += b"" if state is None else request.grammar.draft(state, 1 << 30)
        if request.constrained and request.grammar.read(bytes(answer)) is None:
            problems = ("vLLM did not keep to the grammar; its log says why",)
        tokens = len(said.token_ids)
        computed = len(output.prompt_token_ids or ()) - (output.num_cached_tokens or 0) + tokens
        return Generation(bytes(answer), tuple(ends), tuple(logprobs), complete, tokens, computed, problems)


def _merged(folder: Path, adapter: Path, dtype: torch.dtype) -> "TemporaryDirectory[str]":
    """A temporary model folder with the adapter merged into the weights."""
    place = TemporaryDirectory(prefix="genner-vllm-")
    causal, tokenizer = load_weights(folder, adapter, torch.device("cpu"), dtype, "sdpa", plain=False)
    causal.save_pretrained(place.name)
    tokenizer.save_pretrained(place.name)
    return place


def _without_drafter(folder: Path) -> "TemporaryDirectory[str] | None":
    """A temporary folder with links to all files but the drafter's, which vLLM would read as the model's; None where
    there is none to leave out, or an index says which files are the model's."""
    if not (folder / DRAFTER).is_file() or (folder / "model.safetensors.index.json").is_file():
        return None
    place = TemporaryDirectory(prefix="genner-vllm-")
    for path in folder.resolve().iterdir():
        if path.name != DRAFTER:
            (Path(place.name) / path.name).symlink_to(path)
    return place


def rank_of(adapter: Path) -> int:
    """The rank of the LoRA adapter in a folder. Raises `ModelError` when its configuration cannot be read."""
    place = adapter / "adapter_config.json"
    try:
        rank = json.loads(place.read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{place}: no configuration of a LoRA adapter: {error}") from None
    return int(rank)
