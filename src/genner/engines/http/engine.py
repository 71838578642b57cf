"""The engine that asks a server: any endpoint that speaks as OpenAI's chat completions do."""

import asyncio
import json
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from genner.engines.base import Answered, Capabilities, Generation, Request
from genner.engines.http.accounts import Accounts
from genner.engines.http.answer_store import AnswerStore
from genner.engines.http.api_key import ApiKey
from genner.engines.http.calls import Job
from genner.engines.http.connect import connect
from genner.engines.http.connection import Connection
from genner.engines.http.estimate import estimated_tokens
from genner.engines.http.options import OPENAI, HttpOptions
from genner.engines.http.server import KnownServer, ServerFacts, chosen_model
from genner.engines.http.structured import SUPPORT

T = TypeVar("T")

REQUESTS_AHEAD = 4  # requests read for each that is open, so that a slow one does not stop the others
SETTLING = 10.0  # seconds, at most, for requests that are given up to end, which takes milliseconds


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
        key = ApiKey(options.key_variable, options.host, needed=options.host == OPENAI)
        self.accounts = Accounts(options.price_in, options.price_out)
        store = AnswerStore.of(options.cache)
        self._loop = _Loop()
        weakref.finalize(self, self._loop.stop)
        connection = Connection(options, key)
        self._loop.at_end.append(connection.close)
        self._caller = self._loop.run(connect(options, connection, model, store, self.accounts))
        known = self._caller.writer.server
        self.name, self.capabilities = known.model, capabilities_of(known)

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
        return self._caller.writer.server.facts

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
        return self._caller.writer.window

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
        for request, generation in self._in_order(requests, batch_size or REQUESTS_AHEAD * self._caller.open.most):
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
            if waiting:
                for _, future in waiting:
                    future.cancel()
                self._loop.settle(job.stop())  # what they cost is counted when this returns


def capabilities_of(server: KnownServer) -> Capabilities:
    """What a server can do."""
    json_only = not {"genner", "gbnf"} & set(server.steps)
    support = SUPPORT[server.steps[0]]
    return Capabilities(support, json_only=json_only, logprobs=server.logprobs, adapters=True, weights=False)


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

    def settle(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that ends soon, unless the loop has ended."""
        if self._loop.is_closed():
            work.close()
            return
        with suppress(TimeoutError):
            self.start(work).result(SETTLING)

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
