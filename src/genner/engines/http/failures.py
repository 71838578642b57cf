"""What can go wrong with a request, by what has to be done about it.

    Failed            the request failed
    ├── Transient     repeat it, perhaps after the time that the server asks for
    ├── Refused       the server does not take a field of it: send it without
    └── SetAside      this request has no answer, whatever is done; the job goes on

What concerns all requests (the key, the model, the address, credit) stops the job: it is a `UsageError` where the user
has to change something in the call, and else a `ModelError`.
"""

from collections.abc import Callable

from genner.errors import GennerError, ModelError, UsageError

REPEATED = frozenset({408, 409, 425, 429})
"""Statuses below 500 that a repetition may mend."""

LOADING, NO_CONNECTION, TIME_OUT = "loading", "no connection", "time-out"
"""Kinds of failures: a server's model is not loaded yet, it takes no connections, or its answer took too long."""

_SPENT = ("insufficient_quota", "billing_not_active", "exceeded your current quota", "insufficient credits")
_TOO_LONG = (
    "context_length", "context length", "context size", "maximum context", "context window", "too many tokens",
    "prompt is too long", "exceeds the available context", "exceed_context_size", "input is too long",
    "max_model_len", "maximum model length",
)  # fmt: skip
_FILTERED = ("content_filter", "content management policy", "flagged", "moderation")


class Failed(Exception):  # noqa: N818
    """A request failed; `reason` is told to the user, and `kind` is counted."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


class Transient(Failed):
    """Repeat the request after `wait` seconds; None: as long as the back-off says."""

    def __init__(self, kind: str, reason: str, wait: float | None = None) -> None:
        super().__init__(kind, reason)
        self.wait = wait


class Refused(Failed):
    """The server refuses the request as it is."""

    def __init__(self, reason: str) -> None:
        super().__init__("refused", reason)


class SetAside(Failed):
    """This request gets no answer."""


def of_status(status: int, said: str, wait: float | None, address: str, advice: str, seen: bool) -> Exception:
    """The error to raise for a reply with this status.

    Args:
        said: what the server says about it, without the key.
        wait: what `genner.engines.http.backoff.retry_after` reads of it.
        address: the address that was called.
        advice: what to do about a key.
        seen: whether the server has answered other requests.
    """
    low, where = said.lower(), f"{address} answers {status}"
    said = said.removeprefix(f"{status}: ")  # as llama.cpp's server begins
    more = f": {said}" if said else ""
    if status == 401 or (status == 403 and not seen and not _has(low, _FILTERED)):
        return UsageError(f"{where}, it refuses the key or lacks one{more}; {advice}")
    if status == 402 or (status in (403, 429) and _has(low, _SPENT)):
        return ModelError(f"{where}, the account has no credit left{more}; answers so far are kept (see the cache)")
    if status == 500 and "grammar" in low:  # of llama.cpp, which cannot read it
        return Refused(f"{status}{more}")
    if status == 503 and "loading" in low:
        return Transient(LOADING, f"the server is loading its model ({status}){more}", wait)
    if status in (404, 405, 410, 501) and not seen:
        how = "name a model that it has with --model, and its address up to /v1 with --base-url"
        return UsageError(f"{where}{more}; {how}")
    if status in REPEATED or status >= 500:
        return Transient(str(status), f"the server answers {status}{more}", wait)
    if _has(low, _FILTERED):
        return SetAside("filtered", f"the server's filter refuses the text ({status}){more}")
    if status == 413 or _has(low, _TOO_LONG):
        return SetAside("too long", f"the prompt is too long for the model ({status}){more}")
    if status in (400, 404, 422):
        return Refused(f"{status}{more}")
    if 300 <= status < 400:
        return UsageError(f"{where}, it sends requests elsewhere{more}; give the address that it names as --base-url")
    return SetAside(str(status), f"the server answers {status}{more}")


def unreachable(address: str, error: BaseException, scrub: Callable[[str], str]) -> GennerError | Transient:
    """The error to raise when no connection can be made: for names and certificates a `GennerError`, for a closed port
    a `Transient`, since the server may be starting.

    `scrub` takes a key out of what is said: a broken reply is repeated in it.
    """
    said = scrub(_root(error))
    low = said.lower()
    if "certificate" in low or "ssl" in low or "tls" in low:
        how = "give http:// if the server has no TLS, or name its certificates in the variable SSL_CERT_FILE"
        return ModelError(f"{address}: no secure connection ({said}); {how}")
    if any(word in low for word in ("name or service", "nodename", "name resolution", "getaddrinfo", "no address")):
        return ModelError(f"{address}: no server of this name is known ({said}); see to the spelling of --base-url")
    return Transient(NO_CONNECTION, f"{address} cannot be reached ({said})")


def _has(said: str, words: tuple[str, ...]) -> bool:
    return any(word in said for word in words)


def _root(error: BaseException) -> str:
    """The innermost cause in words: the outer ones say less."""
    said = str(error)
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
        said = str(error) or said
    return said or type(error).__name__
