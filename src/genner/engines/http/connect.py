"""Finding a server: waiting while it starts, what it is, and whether it runs genner's plug-in."""

import asyncio
import logging
import re
from random import Random

from genner.engines.http.accounts import Accounts
from genner.engines.http.answer_store import AnswerStore
from genner.engines.http.backoff import wait_time
from genner.engines.http.calls import POLLING, Caller
from genner.engines.http.connection import Connection
from genner.engines.http.failures import LOADING, NO_CONNECTION, Failed, Transient
from genner.engines.http.options import HttpOptions
from genner.engines.http.reply import Reply, ReplyLimits
from genner.engines.http.server import Answer, KnownServer, ServerFacts, find_out
from genner.engines.http.structured import LIKELIEST, PLUGIN_TEST, PLUGIN_TEXT, ladder
from genner.errors import ModelError, UsageError

log = logging.getLogger(__name__)


async def connect(
    options: HttpOptions, connection: Connection, model: str, store: AnswerStore | None, accounts: Accounts
) -> Caller:
    """A caller for the model `model` of a server. Raises as `genner.engines.http.engine.HttpEngine.load`."""
    patience = _Patience(options, connection)
    facts, name = await find_out(patience.get, options.base_url, model, options.any_model)
    if options.window and facts.window and options.window > facts.window:
        raise UsageError(f"window={options.window}: the model takes {facts.window} tokens; give no more")
    if not facts.models:
        await _check_address(connection, facts, name)
    if facts.slots and options.concurrency > facts.slots:
        log.warning(
            "the server answers %d requests at one time; with concurrency=%d others wait in it, and time out if they "
            "wait longer than read_timeout",
            facts.slots,
            options.concurrency,
        )
    steps, logprobs = ladder(facts.kind, options.structured), options.logprobs
    if steps[0] == "genner":
        runs, legal_ones = await _find_plugin(connection, facts, name, accounts)
        if not runs and options.structured == "genner":
            raise UsageError(
                "structured=genner: this vLLM does not run genner's plug-in; start it in an environment with genner "
                "installed, or give structured=auto"
            )
        if logprobs and runs and not legal_ones:  # calibrations would not hold
            logprobs = False
            log.warning("entities have no scores: start vLLM with --logprobs-mode processed_logprobs for them")
        steps = steps if runs else steps[1:]
    return Caller(options, connection, KnownServer(facts, name, steps, logprobs), model, store, accounts)


class _Patience:
    """Asks a server what it is; one that is starting, or is busy, is asked again."""

    def __init__(self, options: HttpOptions, connection: Connection) -> None:
        self._options, self._connection = options, connection
        self._begun = asyncio.get_running_loop().time()
        self._told = False

    async def get(self, address: str, again: bool) -> Answer:
        """See `genner.engines.http.server.Get`. Raises `ModelError` when the time, or the repetitions, are spent."""
        options, tries = self._options, 0
        waits = {
            NO_CONNECTION: ("start_wait", options.start_wait, "start the server, correct --base-url, or "),
            LOADING: ("loading_wait", options.loading_wait, ""),
        }
        while True:
            try:
                return await self._connection.get(address)
            except Transient as error:
                if not again:
                    raise
                tries += 1
                name, most, how = waits.get(error.kind, ("", 0.0, ""))
                if name:
                    if asyncio.get_running_loop().time() - self._begun >= most:
                        how += f"wait for it with --engine-option {name}={2 * most or 300:g}"
                        raise ModelError(f"{error.reason}; {how}") from None
                    self._tell(f"{error.reason}; genner waits for it, up to {most:g} s ({name})")
                elif tries > options.retries:
                    how = "try again later, or more often with --engine-option retries=12"
                    raise ModelError(f"{error.reason} (asked {tries} times); {how}") from None
                longest = min(POLLING, options.max_wait) if name else options.max_wait
                own = wait_time(tries - 1, options.backoff, longest, Random())
                await asyncio.sleep(min(options.max_wait, max(own, error.wait or 0)))

    def _tell(self, said: str) -> None:
        if not self._told:
            log.warning(said)
        self._told = True


async def _check_address(connection: Connection, facts: ServerFacts, model: str) -> None:
    """Ask a server that lists no models whether it takes chats at all, with a request without a message, which costs
    nothing. Raises `GennerError` if not."""
    try:
        await connection.post(facts.chat_url, {"model": model, "messages": []}, Reply(), ReplyLimits(1000, 1000))
    except Failed as error:  # it does, but not such a one; or it is busy
        log.debug("asked for nothing, %s answers: %s", facts.chat_url, error.reason)


async def _find_plugin(connection: Connection, facts: ServerFacts, model: str, accounts: Accounts) -> tuple[bool, bool]:
    """Whether the server is a vLLM that runs genner's plug-in, and whether its log-probabilities are those among the
    legal tokens. It is asked for a word that a grammar forbids."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Write the word yes, and nothing else."}],
        "temperature": 0,
        "max_tokens": 32,
        "logprobs": True,
        **PLUGIN_TEST,
    }
    reply = Reply()
    try:
        accounts.counts["calls"] += 1
        await connection.post(facts.chat_url, body, reply, ReplyLimits(1000, 1000))
    except Failed:
        return False, False
    runs = re.sub("</?A>", "", reply.text) == PLUGIN_TEXT
    return runs, bool(reply.tokens and reply.tokens[0][1] > LIKELIEST)
