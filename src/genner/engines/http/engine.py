"""The engine that asks a server: any endpoint that speaks as OpenAI's chat completions do."""

import asyncio
import json
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from genner.engines.base import Answered, Capabilities, Generation, Request
from genner.engines.http.accounts import Accounts
from genner.engines.http.answer_store import AnswerStore, default_path
from genner.engines.http.api_key import ApiKey
from genner.engines.http.backoff import wait_time
from genner.engines.http.calls import Caller, Job
from genner.engines.http.connection import Connection
from genner.engines.http.estimate import estimated_tokens
from genner.engines.http.failures import Transient
from genner.engines.http.modes import ModeLadder
from genner.engines.http.options import HttpOptions
from genner.engines.http.server import Answer, ServerFacts, chosen_model, find_out
from genner.engines.http.structured import SUPPORT, ladder
from genner.errors import ModelError, UsageError

T = TypeVar("T")

REQUESTS_AHEAD = 4  # requests read for each that is open, so that a slow one does not stop the others


class HttpEngine:
    """Answers requests by a server, many at a time; answers come out in the order of the requests.

    Its network runs in one thread of its own, so several threads may use one engine; they share its limit of open
    requests. Use `load`, which asks the server what it is.
    """

    capabilities = Capabilities(grammar="exact", logprobs=True, adapters=True, weights=False)
    Options = HttpOptions

    def __init__(self, options: HttpOptions, model: str = "") -> None:
        """Raises as `load`."""
        self.options = options
        key = ApiKey(options.key_variable, options.host)
        self.accounts = Accounts(options.price_in, options.price_out)
        store = (
            None if options.cache == "none" else AnswerStore(Path(options.cache) if options.cache else default_path())
        )
        self._loop = _Loop()
        weakref.finalize(self, self._loop.stop)
        connection = Connection(options, key)
        self._loop.at_end.append(connection.close)
        self._caller = self._loop.run(_connect(options, connection, model, store, self.accounts))
        self.name = self._caller.model
        steps = self._caller.ladder.steps
        self.capabilities = Capabilities(
            SUPPORT[steps[0]],
            json_only=not {"genner", "gbnf"} & set(steps),
            logprobs=self._caller.logprobs,
            adapters=True,
            weights=False,
        )

    @classmethod
    def load(
        cls,
        folder: Path | None = None,
        adapter: Path | None = None,
        *,
        name: str = "",
        device: Any = None,
        decoder: Any = "speculative",
        drafter: Any = None,
        options: HttpOptions | None = None,
    ) -> "HttpEngine":
        """An engine for the model `name` of a server; if that is empty, for its only one.

        Raises `UsageError` for a wrong address, key, model or option, `ModelError` when the server cannot be reached,
        and `DataError` when the cache of answers cannot be used.
        """
        return cls(HttpOptions() if options is None else options, name)

    @property
    def facts(self) -> ServerFacts:
        """What the server is."""
        return self._caller.facts

    @property
    def signature(self) -> Mapping[str, str]:
        told = {"server": self.facts.kind, "structured": self._caller.ladder.steps[0], "server_model": self.name}
        if self.options.thinking_tokens:
            told["thinking_tokens"] = str(self.options.thinking_tokens)
        if self.options.fields:  # which may hold secrets
            written = json.dumps(self.options.fields, sort_keys=True).encode()
            told["body"] = blake2b(written, digest_size=6).hexdigest()
        return told

    @property
    def window(self) -> int | None:
        return self.options.window or self.facts.window

    def measure(self, instruction: str, text: str) -> int:
        """Tokens that the prompt takes up, estimated."""
        return estimated_tokens(instruction + text)

    def add_adapter(self, name: str, folder: Path | None) -> str:
        """Name another model of the server, such as an adapter that vLLM serves. Nothing is loaded."""
        found = (
            self.name
            if name in ("", self.name)
            else chosen_model(name, self.facts.models, self.facts.kind, self.options.any_model)
        )
        return "" if found == self.name else found

    def summary(self) -> list[str]:
        """What this engine has done and spent so far, in words."""
        return self.accounts.lines()

    def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
        """See `Engine.generate`. `batch_size`: requests read ahead. Raises `GennerError` when the job cannot go on.

        A failure comes out when an answer follows it: if the server has gone, and the job stops, the last requests
        count as not asked, so that a resumed job asks them again.
        """
        held: list[Answered] = []
        for request, generation in self._in_order(requests, batch_size or REQUESTS_AHEAD * self.options.concurrency):
            held.append((request, generation))
            if not generation.failure or len(held) > self.options.give_up:
                yield from held
                held.clear()
        yield from held

    def _in_order(self, requests: Iterable[Request], ahead: int) -> Iterator[Answered]:
        waiting: deque[tuple[Request, Future[Generation]]] = deque()
        job = Job()
        try:
            for request in requests:
                waiting.append((request, self._loop.start(self._caller.answer(request, job))))
                while waiting and (len(waiting) >= ahead or waiting[0][1].done()):
                    yield waiting[0][0], waiting.popleft()[1].result()
            while waiting:
                yield waiting[0][0], waiting.popleft()[1].result()
        finally:
            for _, future in waiting:
                future.cancel()


async def _connect(
    options: HttpOptions, connection: Connection, model: str, store: AnswerStore | None, accounts: Accounts
) -> Caller:
    """Ask the server what it is. A server that is starting, or is busy, is asked again."""

    async def get(address: str, again: bool) -> Answer:
        attempt = 0
        while True:
            try:
                return await connection.get(address)
            except Transient as error:
                if not again:
                    raise
                if attempt >= options.retries:
                    raise ModelError(
                        f"{error.reason} (asked {attempt + 1} times); try again later, "
                        "or wait longer for it with --engine-option retries=12"
                    ) from None
                own = wait_time(attempt, options.backoff, options.max_wait, Random())
                await asyncio.sleep(min(options.max_wait, max(own, error.wait or 0)))
                attempt += 1

    facts, name = await find_out(get, options.base_url, model, options.any_model)
    if options.window and facts.window and options.window > facts.window:
        raise UsageError(f"window={options.window}: the model takes {facts.window} tokens; give no more")
    steps = ladder(facts.kind, options.structured)
    caller = Caller(options, connection, facts, name, ModeLadder(steps, facts.kind, accounts.counts), store, accounts)
    if steps[0] == "genner" and not await caller.find_plugin():
        if options.structured == "genner":
            raise UsageError(
                "structured=genner: this vLLM does not run genner's plug-in; start it in an environment with genner "
                "installed, or give structured=auto"
            )
        caller.ladder.steps = steps[1:]
    return caller


def _run_and_close(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


class _Loop:
    """An event loop in a thread of its own, which ends with the process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.at_end: list[Callable[[], Coroutine[Any, Any, None]]] = []
        threading.Thread(target=_run_and_close, args=(self._loop,), name="genner-http", daemon=True).start()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something to its end; an interrupt cancels it."""
        future = self.start(work)
        try:
            return future.result()
        finally:
            future.cancel()

    def stop(self) -> None:
        """Cancel all that runs, close what `at_end` holds, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop)

    async def _finish(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.gather(*(close() for close in self.at_end), return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        self._loop.stop()
