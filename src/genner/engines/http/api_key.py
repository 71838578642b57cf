"""The key of an endpoint. It stays in the environment: only the header of a request holds it, while it is sent."""

import logging
import os
import re
from collections.abc import Generator

import httpx2

from genner.errors import UsageError

SECRET = 16  # characters; real keys have more

LOGGERS = ("httpx2", *(f"httpcore2.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")))
"""The loggers of the HTTP client. At the level DEBUG they write headers of replies, which may repeat a key."""


class ApiKey(httpx2.Auth):
    """Authorizes requests with the key in an environment variable; without a variable, requests carry none.

    `needed`: whether the server is known to need one. Raises `UsageError` when the variable is not set, or holds what
    cannot be a key.
    """

    def __init__(self, variable: str, host: str, needed: bool = True) -> None:
        self.variable = variable
        if not variable:
            return
        if not self._value():
            how = f"set it (export {variable}=...), or name another variable with --engine-option key_env=NAME"
            if needed:
                raise UsageError(f"{host} needs a key, and the environment variable {variable} is not set; {how}")
            raise UsageError(
                f"the environment variable {variable} for the key of {host} is not set; {how}; if this server needs "
                "no key, leave key_env out"
            )
        if not re.fullmatch(r"[\x21-\x7e]+", self._value()):
            raise UsageError(f"the environment variable {variable} holds spaces or other signs that no key has")
        _without_keys.keys[variable] = self

    def __repr__(self) -> str:
        return f"ApiKey({self.variable!r})"

    def _value(self) -> str:
        return os.environ.get(self.variable, "").strip()

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        if self.variable:
            request.headers["Authorization"] = f"Bearer {self._value()}"
        yield request

    def scrub(self, said: str) -> str:
        """What a server said, without the key, and without words that begin as it does: servers repeat parts of it."""
        if not self.variable or not (value := self._value()):
            return said
        said = said.replace(value, "[key]")
        return re.sub(rf"{re.escape(value[:6])}[^\s\"']*", "[key]", said) if len(value) > 6 else said

    def hide(self, written: str) -> str:
        """An answer without the key. A short one is a stand-in ("EMPTY"), and may be a word of a text."""
        value = self._value() if self.variable else ""
        return written.replace(value, "[key]") if len(value) >= SECRET else written

    @property
    def advice(self) -> str:
        """What to do when the server refuses it."""
        if self.variable:
            return (
                f"put a valid key into the environment variable {self.variable}, or name another variable with "
                "--engine-option key_env=NAME"
            )
        return "put its key into an environment variable, and name that with --engine-option key_env=NAME"


class _WithoutKeys(logging.Filter):
    """Takes keys out of log records."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, ApiKey] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        for key in self.keys.values():
            said = key.scrub(said)
        record.msg, record.args = said, ()
        return True


_without_keys = _WithoutKeys()
for _name in LOGGERS:
    logging.getLogger(_name).addFilter(_without_keys)
