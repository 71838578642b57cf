"""From a request to its answer: the body, the cache, repetitions, and the way down from a grammar that is refused."""

import asyncio
import logging
import re
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from genner.engines.base import Generation, Request
from genner.engines.http.accounts import Accounts, Spending
from genner.engines.http.answer_store import AnswerStore, key_of
from genner.engines.http.answers import Budget, generation_of
from genner.engines.http.backoff import wait_time
from genner.engines.http.connection import Connection
from genner.engines.http.failures import Failed, Refused, SetAside, Transient
from genner.engines.http.modes import ModeLadder
from genner.engines.http.options import HttpOptions, Structured
from genner.engines.http.reply import Reply, ReplyLimits
from genner.engines.http.server import ServerFacts, related
from genner.engines.http.structured import LIKELIEST, PLUGIN_TEST, PLUGIN_TEXT
from genner.errors import GennerError, ModelError, UsageError

log = logging.getLogger(__name__)

_ADJUSTABLE = ("stream_options", "chat_template_kwargs", "logprobs", "temperature", "max_tokens")
"""Fields that some servers refuse; the request means about the same without, or under another name."""

_LIMIT = re.compile(r"at most (\d{1,9})\b")


@dataclass
class Job:
    """Requests that belong together: an error that concerns all of them stops all of them."""

    stopped_by: GennerError | None = None


@dataclass
class Caller:
    """Answers single requests; all of its coroutines run in one event loop.

    Attributes:
        facts, model: the server, and the name of the model there.
        ladder: the modes of structured output.
        logprobs: whether log-probabilities are asked for.
    """

    options: HttpOptions
    connection: Connection
    facts: ServerFacts
    model: str
    ladder: ModeLadder
    store: AnswerStore | None
    accounts: Accounts
    logprobs: bool = field(init=False)
    _random: Random = field(default_factory=Random)
    _open: asyncio.Semaphore = field(init=False)
    _running: dict[bytes, asyncio.Future[Generation]] = field(default_factory=dict)
    _left_out: set[str] = field(default_factory=set)
    _most_tokens: int | None = None  # of an answer, where the server has said so
    _not_before: float = 0.0  # of the loop's clock: until then the server asks not to be called
    _failed_in_a_row: int = 0
    _others: int = 0  # answers of other models, while none came from the right one

    def __post_init__(self) -> None:
        self.logprobs = self.options.logprobs
        self._open = asyncio.Semaphore(self.options.concurrency)

    async def answer(self, request: Request, job: Job) -> Generation:
        """The answer, or a generation that says why there is none. Raises `GennerError` when the job cannot go on, and
        from then on for all other requests of the job, without a call."""
        async with self._open:
            if job.stopped_by:
                raise job.stopped_by
            try:
                return await self._answer(request)
            except GennerError as error:
                job.stopped_by = error
                raise

    async def _answer(self, request: Request) -> Generation:
        spending = Spending()

        async def ask(mode: Structured, more: dict[str, Any]) -> Generation:
            return await self._in_mode(request, mode, more, spending)

        try:
            generation = await self.ladder.descend(request, ask)
        except (SetAside, Transient) as failed:
            self.accounts.counts["failed"] += 1
            # A text that is too long, or filtered, says nothing about the server.
            self._failed_in_a_row += isinstance(failed, Transient) or failed.kind == "refused"
            if self._failed_in_a_row >= self.options.give_up:
                raise ModelError(
                    f"{self._failed_in_a_row} requests failed one after the other, the last: {failed.reason}; "
                    "answers so far are kept in the cache; go on when the server is well (--resume), or allow more "
                    "with --engine-option give_up=N"
                ) from None
            return Generation(b"", complete=False, failure=failed.reason, usage=spending.usage)
        usage = generation.usage
        if usage is not None and usage.cached:
            self.accounts.counts["cached"] += 1
            self.accounts.saved += usage.prompt_tokens + usage.completion_tokens
        else:
            self.accounts.counts["answered"] += 1
            self._failed_in_a_row = 0
        return generation

    async def find_plugin(self) -> bool:
        """Whether the server is a vLLM that runs genner's plug-in: it is asked for a word that a grammar forbids.

        If its log-probabilities are those before the grammar, no more are asked for: calibrations would not hold.
        """
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": "Write the word yes, and nothing else."}],
            "temperature": 0,
            "max_tokens": 32,
            "logprobs": True,
            **PLUGIN_TEST,
        }
        reply = Reply()
        try:
            self.accounts.counts["calls"] += 1
            await self.connection.post(self._address, body, reply, ReplyLimits(1000, 1000))
        except Failed:
            return False
        if re.sub("</?A>", "", reply.text) != PLUGIN_TEXT:
            return False
        if self.logprobs and not (reply.tokens and reply.tokens[0][1] > LIKELIEST):
            self.logprobs = False
            log.warning("entities have no scores: start vLLM with --logprobs-mode processed_logprobs for them")
        return True

    @property
    def _address(self) -> str:
        return f"{self.facts.base_url}/chat/completions"

    async def _in_mode(
        self, request: Request, mode: Structured, more: dict[str, Any], spending: Spending
    ) -> Generation:
        """The answer in one mode: from the cache, from an equal request that is running, or from the server."""
        while True:
            body = self._body(request, more)
            key = key_of(self.facts.base_url, self.facts.identity, body)
            if running := self._running.get(key):
                await asyncio.wait([running])
                if running.cancelled() or running.exception() is not None:
                    continue
                return _again(running.result())
            if self.store and (known := self.store.get(key)) is not None:
                return known
            future = asyncio.get_running_loop().create_future()
            self._running[key] = future
            try:
                adjusted = self._adjusted
                generation = await self._repeated(request, mode, body, spending)
                if self.store:
                    self.store.put(key, generation)
                future.set_result(generation)
                return generation
            except Refused as error:
                if self._adjusted != adjusted or self._adjust(error.reason, request, body):
                    continue
                raise
            finally:
                if not future.done():
                    future.cancel()
                del self._running[key]

    def _body(self, request: Request, more: dict[str, Any]) -> dict[str, Any]:
        budget = Budget.of(request, self.options, self.facts.window)
        body: dict[str, Any] = {
            "model": request.adapter or self.model,
            "messages": [{"role": "user", "content": request.instruction + request.text}],
            "temperature": 0,
            "max_tokens": min(budget.tokens, self._most_tokens or budget.tokens),
            "stream": self.options.stream,
        }
        if self.options.stream:
            body["stream_options"] = {"include_usage": True}
        if self.logprobs:
            body["logprobs"] = True
            if self.facts.kind == "llama.cpp":  # which otherwise adds the twenty likeliest tokens to each
                body["top_logprobs"] = 1
        if self.facts.kind in ("vllm", "sglang", "llama.cpp") and not self.options.thinking_tokens:
            body["chat_template_kwargs"] = {"enable_thinking": False}  # as in training; other templates ignore it
        body |= more
        for name in self._left_out & body.keys():
            value = body.pop(name)
            if name == "max_tokens":
                body["max_completion_tokens"] = value
        return body | self.options.fields

    @property
    def _adjusted(self) -> tuple[frozenset[str], int | None]:
        return frozenset(self._left_out), self._most_tokens

    def _adjust(self, reason: str, request: Request, body: dict[str, Any]) -> bool:
        """Leave out a field that the server names in its refusal, or keep to its limit of tokens, from now on. Returns
        whether it names one. A name that the text has as well may be the text's, so it does not count."""
        low, text = reason.lower(), request.text.lower()
        if limit := _LIMIT.search(low) if "max_tokens" in low or "max_completion_tokens" in low else None:
            most = int(limit[1])
            if "max_tokens" in text or not 0 < most < (self._most_tokens or body.get("max_tokens", 0)):
                return False
            self._most_tokens = most
            log.warning("the server writes at most %d tokens (%s); longer answers are cut off", most, reason)
            return True
        for name in _ADJUSTABLE:
            free = name not in self._left_out and name not in self.options.fields and name not in text
            if free and name in body and name in low:
                self._left_out.add(name)
                log.warning("the server does not take %r (%s); requests go on without it", name, reason)
                return True
        return False

    async def _repeated(
        self, request: Request, mode: Structured, body: dict[str, Any], spending: Spending
    ) -> Generation:
        """The server's answer, asked for until it comes or the repetitions are spent. Raises `Failed`."""
        loop, counts = asyncio.get_running_loop(), self.accounts.counts
        for attempt in range(self.options.retries + 1):
            while (pause := self._not_before - loop.time()) > 0:
                await asyncio.sleep(pause)
            reply = Reply()
            try:
                counts["calls"] += 1
                await self._call(request, body, reply, spending)
                return generation_of(request, mode, reply, counts, spending.usage)
            except Transient as error:
                self.accounts.repeated[error.kind] += 1
                if attempt == self.options.retries or (error.kind == "wrong model" and attempt):
                    error.reason += f" (asked {attempt + 1} times)"
                    raise
                await self._wait(attempt, error)
        raise AssertionError("the last repetition raises")

    async def _call(self, request: Request, body: dict[str, Any], reply: Reply, spending: Spending) -> None:
        """One call, its tokens counted whatever becomes of it."""
        try:
            limits = Budget.of(request, self.options, self.facts.window).limits
            await self.connection.post(self._address, body, reply, limits)
        finally:
            self.accounts.spend(reply, request.instruction + request.text, spending)
        self._check_model(reply, body["model"])

    def _check_model(self, reply: Reply, asked: str) -> None:
        """Raises `Transient` if another model has answered, and `UsageError` if none of the answers came from it."""
        if related(asked, reply.model, self.facts.aliases):
            self._others = -(1 << 30)
            return
        self.accounts.counts["wrong model"] += 1
        if self.options.any_model:
            return
        how = "accept it with --engine-option any_model=true, or name it with --model"
        self._others += 1
        if self._others >= self.options.give_up:
            raise UsageError(f"the server answers with the model {reply.model!r}, not {asked!r}; {how}")
        raise Transient("wrong model", f"the answer came from the model {reply.model!r}, not {asked!r}; {how}")

    async def _wait(self, attempt: int, error: Transient) -> None:
        """Wait before a repetition; if the server asks for it, all requests wait. Raises the error if it asks for more
        than `max_wait`."""
        own = wait_time(attempt, self.options.backoff, self.options.max_wait, self._random)
        if error.wait is None:
            await asyncio.sleep(own)
            return
        if error.wait > self.options.max_wait:
            error.reason += f"; it asks to wait {error.wait:g} s, longer than max_wait={self.options.max_wait:g}"
            raise error
        loop = asyncio.get_running_loop()
        self._not_before = max(self._not_before, loop.time() + error.wait)
        await asyncio.sleep(error.wait + own * self._random.random())


def _again(generation: Generation) -> Generation:
    """An answer given a second time, for which nothing is paid."""
    usage = generation.usage
    return replace(generation, usage=replace(usage, cached=True)) if usage else generation
