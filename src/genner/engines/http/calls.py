"""From a request to its answer: the cache, repetitions, and the way down from a grammar that is refused."""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from genner.engines.base import Generation, Request, Usage
from genner.engines.http.accounts import Accounts
from genner.engines.http.answer_store import AnswerStore
from genner.engines.http.answers import generation_of
from genner.engines.http.backoff import wait_time
from genner.engines.http.connection import Connection
from genner.engines.http.failures import LOADING, TIME_OUT, Refused, SetAside, Transient
from genner.engines.http.modes import ModeLadder
from genner.engines.http.open_requests import OpenRequests
from genner.engines.http.options import HttpOptions, Structured
from genner.engines.http.reply import Reply
from genner.engines.http.request_writer import RequestWriter, server_key
from genner.engines.http.server import KnownServer, related
from genner.errors import DataError, GennerError, ModelError, UsageError

log = logging.getLogger(__name__)

POLLING = 5.0  # seconds: the longest wait before a server that loads its model is asked again


@dataclass(eq=False)
class Job:
    """Requests that belong together: an error that concerns all of them stops all of them.

    Attributes:
        stopped_by: this error.
        tasks: the requests on their way.
    """

    stopped_by: GennerError | None = None
    tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    async def stop(self) -> None:
        """Cancel what is on its way, and wait until its tokens are counted."""
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)


@dataclass(eq=False)
class _Asked:
    """A request on its way, and the tokens of all its calls."""

    request: Request
    job: Job
    usage: Usage = field(default_factory=Usage)


class Caller:
    """Answers single requests; all of its coroutines run in one event loop.

    Attributes:
        model: the name of the model, as it was asked for.
        writer: writes the bodies of requests, and has what is known of the server.
        ladder: the modes of structured output.
        open: how many requests are open at one time.
    """

    def __init__(
        self,
        options: HttpOptions,
        connection: Connection,
        server: KnownServer,
        model: str,
        store: AnswerStore | None,
        accounts: Accounts,
    ) -> None:
        self.options, self.connection, self.store, self.accounts = options, connection, store, accounts
        self.model, self.writer = model, RequestWriter(options, server)
        self.ladder = ModeLadder(server.steps, server.facts.kind, accounts.counts)
        self.open = OpenRequests(options.open_at_once(server.facts.slots), adapts=not options.concurrency)
        self._random = Random()
        self._running: dict[bytes, asyncio.Future[Generation]] = {}
        self._not_before = 0.0  # of the loop's clock: until then the server asks not to be called
        self._failed_in_a_row = 0
        self._others = 0  # answers of other models, while none came from the right one
        self._loading_told = False
        self._remember()

    def _remember(self) -> None:
        """Keep what is known of the server, for the price of further jobs."""
        if self.store:
            self.store.put_server(server_key(self.options, self.model), self.writer.server)

    async def answer(self, request: Request, job: Job) -> Generation:
        """The answer, or a generation that says why there is none. Raises `GennerError` when the job cannot go on, and
        from then on for all other requests of the job, without a call."""
        task = asyncio.current_task()
        assert task is not None
        job.tasks.add(task)
        try:
            async with self.open:
                if job.stopped_by:
                    raise job.stopped_by
                return await self._answer(_Asked(request, job))
        except GennerError as error:
            job.stopped_by = error
            raise
        finally:
            job.tasks.discard(task)

    async def _answer(self, asked: _Asked) -> Generation:
        async def ask(mode: Structured, grammar: dict[str, Any]) -> Generation:
            return await self._in_mode(asked, mode, grammar)

        counts = self.accounts.counts
        try:
            generation = await self.ladder.descend(asked.request, ask)
        except asyncio.CancelledError:
            counts["interrupted"] += 1
            raise
        except (SetAside, Transient) as failed:
            counts["failed"] += 1
            # A text that is too long, or filtered, says nothing about the server.
            self._failed_in_a_row += isinstance(failed, Transient) or failed.kind == "refused"
            if self._failed_in_a_row >= self.options.give_up:
                raise ModelError(
                    f"{self._failed_in_a_row} requests failed one after the other, the last: {failed.reason}; "
                    "answers so far are kept in the cache; go on when the server is well (--resume), or allow more "
                    "with --engine-option give_up=N"
                ) from None
            return Generation(b"", complete=False, failure=failed.reason, usage=asked.usage)
        usage = generation.usage
        if usage is not None and usage.cached:
            counts["cached"] += 1
            self.accounts.saved += usage.total
        else:
            counts["answered"] += 1
            self._failed_in_a_row = 0
        return generation

    async def _in_mode(self, asked: _Asked, mode: Structured, grammar: dict[str, Any]) -> Generation:
        """The answer in one mode: from the cache, from an equal request that is running, or from the server."""
        while True:
            server = self.writer.server
            body = self.writer.body(asked.request, grammar)
            key = self.writer.key(body)
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
                generation = await self._repeated(asked, mode, body)
                self._keep(key, generation, asked.job)
                future.set_result(generation)
                return generation
            except Refused as error:
                if self.writer.server == server:
                    if not self.writer.adjust(error.reason, asked.request, body):
                        raise
                    self._remember()
            finally:
                if not future.done():
                    future.cancel()
                del self._running[key]

    def _keep(self, key: bytes, generation: Generation, job: Job) -> None:
        """Keep an answer. If that fails, it is given out all the same, and the job asks for no more."""
        try:
            if self.store:
                self.store.put(key, generation)
        except DataError as error:
            if not job.stopped_by:
                log.warning("an answer is not kept, and would be paid for again: %s", error)
            job.stopped_by = error

    async def _repeated(self, asked: _Asked, mode: Structured, body: dict[str, Any]) -> Generation:
        """The server's answer, asked for until it comes or the repetitions are spent. Raises `Failed`."""
        loop, counts = asyncio.get_running_loop(), self.accounts.counts
        begun, calls, tries = loop.time(), 0, 0
        while True:
            while (pause := self._not_before - loop.time()) > 0:
                await asyncio.sleep(pause)
            reply, called = Reply(), loop.time()
            try:
                counts["calls"] += 1
                await self._call(asked, body, reply)
                return generation_of(asked.request, mode, reply, counts, asked.usage)
            except Transient as error:
                self.accounts.repeated[error.kind] += 1
                calls += 1
                if error.kind == TIME_OUT:
                    self.open.timed_out(called)
                if error.kind == LOADING and loop.time() - begun < self.options.loading_wait:
                    self._tell_loading(error)
                else:
                    tries += 1
                    if tries > self.options.retries or (error.kind == "wrong model" and tries > 1):
                        error.reason += f" (asked {calls} times)"
                        raise
                await self._wait(calls - 1, error)

    def _tell_loading(self, error: Transient) -> None:
        if not self._loading_told:
            log.warning("%s; requests wait for it, up to %g s (loading_wait)", error.reason, self.options.loading_wait)
        self._loading_told = True

    async def _call(self, asked: _Asked, body: dict[str, Any], reply: Reply) -> None:
        """One call, its tokens counted whatever becomes of it."""
        request = asked.request
        try:
            limits = self.writer.budget(request).limits
            await self.connection.post(self.writer.server.facts.chat_url, body, reply, limits)
        finally:
            asked.usage += self.accounts.spend(reply, request.instruction + request.text)
        self._check_model(reply, body["model"])

    def _check_model(self, reply: Reply, asked: str) -> None:
        """Raises `Transient` if another model has answered, and `UsageError` if none of the answers came from it."""
        if related(asked, reply.model, self.writer.server.facts.aliases):
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
        longest = min(POLLING, self.options.max_wait) if error.kind == LOADING else self.options.max_wait
        own = wait_time(attempt, self.options.backoff, longest, self._random)
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
