"""Reading a reply: a stream of events, or one JSON object, up to the length that an answer can have.

A server may write for ever, drip, break off, or send what is no JSON. So a reply is read within limits: its answer in
bytes (`ReplyLimits`), its silence and its whole time in seconds (by the caller). What comes after a limit is not
read: the connection is closed, at which servers stop writing.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from genner.engines.http.failures import SetAside, Transient

THINKS = ("<think", "<reasoning", "<thought", "[THINK]", "<|channel|>analysis")
_THOUGHT = ("</think", "</reasoning", "</thought", "[/THINK]", "<|channel|>final")
CLOSING_TIME = 0.2  # seconds for the end of a stream, after all of it was said
LARGEST = 32 << 20  # bytes of a reply that is not streamed; an answer has some kilobytes


@dataclass(frozen=True)
class ReplyLimits:
    """Bytes that the answer may have, and the reasoning before it."""

    answer: int
    thinking: int


@dataclass
class Reply:
    """What a server has answered so far.

    Attributes:
        text: the answer.
        tokens: its tokens, each as bytes (None if the server does not give them) and log-probability.
        thinking: bytes of reasoning that came apart from the answer.
        finish: why the server stopped, in its own word; empty while it has not.
        model: the model that it names.
        usage: the tokens that it counted, by its own names.
        cut: why the reading was stopped before the end; empty if it was not.
        index: the number of the answer that is read, of several the first; None while there is none.
    """

    text: str = ""
    tokens: list[tuple[bytes | None, float]] = field(default_factory=list)
    thinking: int = 0
    finish: str = ""
    model: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    cut: str = ""
    index: int | None = None
    _bytes: int = 0

    def add(self, record: Any, limits: ReplyLimits) -> None:
        """Take an event, or a whole reply. Raises `Transient` for an error in it and for what is no reply."""
        if not isinstance(record, dict):
            raise Transient("broken", "the server's reply is no JSON object")
        if error := record.get("error"):
            raise_error(error)
        if isinstance(model := record.get("model"), str):
            self.model = unpaired(model) or self.model
        if isinstance(record.get("usage"), dict):
            self.usage = record["usage"]
        choices = record.get("choices")
        if not choices and self.usage:  # the last event has the usage alone
            return
        try:
            choice = self._choice(choices or ())
            said = choice.get("delta") or choice.get("message") or {}
            text, thought, refusal = _parts(said.get("content"))
            refusal = refusal or said.get("refusal") or ""
            thought += said.get("reasoning_content") or said.get("reasoning") or ""
            self.tokens += _tokens(choice.get("logprobs"))
            self.finish = str(choice.get("finish_reason") or self.finish)
            self.text += text
            self._bytes += len(text.encode("utf-8", "replace"))
            self.thinking += len(thought.encode("utf-8", "replace"))
        except (AttributeError, LookupError, TypeError, ValueError):
            raise Transient("broken", "the server's reply has another form than that of chat completions") from None
        if refusal:
            raise SetAside("filtered", f"the model refuses: {_short(refusal)}")
        if self.finish == "error":
            raise Transient("broken", "the server says that it failed within the answer (finish_reason error)")
        if self.finish == "content_filter":
            raise SetAside("filtered", "the server's filter withholds the answer")
        self._stop_at(limits)

    def end(self, finish: str = "stop") -> None:
        """The server has said all. Raises `Transient` if there was no answer in it, not even an empty one."""
        if self.index is None:
            raise Transient("broken", "the server's reply has no answer in it (no choices)")
        self.finish = self.finish or finish
        self.text = unpaired(self.text)

    def _choice(self, choices: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Of several answers the one that was read before, or the first."""
        for choice in choices:
            number = choice.get("index") or 0
            if self.index is None:
                self.index = number
            if number == self.index:
                return choice
        return {}

    def _stop_at(self, limits: ReplyLimits) -> None:
        """Set `cut` when a limit is reached."""
        inside = self._bytes if thinks(self.text) else 0
        if self.thinking + inside > limits.thinking + (limits.answer if inside else 0):
            self.cut = (
                "the model reasons before it answers, and was cut off; give --engine-option thinking_tokens=2048, or "
                "turn its reasoning off"
            )
        elif not inside and self._bytes > limits.answer + (limits.thinking if begins_thinking(self.text) else 0):
            self.cut = f"the answer ran away, and was cut off at {self._bytes} bytes"
        if self.cut:  # one that came in one piece may have megabytes
            self.text = self.text[: limits.answer + limits.thinking]

    @property
    def written(self) -> int:
        """Bytes of the answer and of the reasoning before it."""
        return self._bytes + self.thinking


def _tokens(said: Any) -> list[tuple[bytes | None, float]]:
    """The tokens of an answer's log-probabilities; those that cannot be read have no bytes."""
    listed = said.get("content") if isinstance(said, dict) else said
    found: list[tuple[bytes | None, float]] = []
    for token in listed if isinstance(listed, list) else [listed] if listed else []:
        try:
            written, logprob = token.get("bytes"), float(token["logprob"])
            found.append((bytes(written) if isinstance(written, list) and logprob == logprob else None, logprob))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            found.append((None, 0.0))
    return found


def _parts(content: Any) -> tuple[str, str, str]:
    """The text of a message's content, the reasoning in it, and a refusal: a string, or a list of parts (OpenAI,
    Mistral). Raises one of several errors for what is neither."""
    if not content or isinstance(content, str):
        return content or "", "", ""
    text = thought = refusal = ""
    for part in [content] if isinstance(content, dict) else content:
        kind = part.get("type", "text")
        if kind in ("text", "output_text"):
            text += part["text"]
        elif kind in ("thinking", "reasoning"):
            thought += "".join(_parts(part.get("thinking") or part.get("text")))
        elif kind == "refusal":
            refusal += part["refusal"]
        else:
            raise ValueError(f"a part of the kind {kind!r}")
    return text, thought, refusal


def unpaired(said: str) -> str:
    """A text with its surrogates put together to characters, as JSON writes some; those without a partner replaced."""
    return said.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def begins_thinking(text: str) -> bool:
    """Whether an answer begins with reasoning."""
    return text.lstrip().startswith(THINKS)


def thinks(text: str) -> bool:
    """Whether an answer so far is reasoning alone."""
    return begins_thinking(text) and not any(mark in text for mark in _THOUGHT)


def raise_error(error: Any) -> None:
    """Raise what an error object in a reply of status 200 says; its code is read as a status."""
    said = error.get("message") if isinstance(error, dict) else error
    raise InReply(str((error.get("code") if isinstance(error, dict) else "") or ""), _short(str(said)))


class InReply(Exception):  # noqa: N818
    """An error that a server sent within a reply that had begun well."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        is_error = re.fullmatch("[3-9][0-9][0-9]", code)
        self.status, self.said = int(code) if is_error else 500, said


async def read(response: httpx2.Response, reply: Reply, limits: ReplyLimits) -> None:
    """Read a response of status 200 into `reply`, up to its end or to a limit.

    Raises `Transient` when it is broken, or ends before its end, and `SetAside` when the server withholds the answer.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        reply.add(_parsed(await whole(response)), limits)
        reply.end()
        return
    response.encoding = "utf-8-sig"  # as all streams of events, whatever their headers say; without the mark before
    events = aiter(httpx2.EventSource(response))
    async for event in events:
        if event.data.strip() == "[DONE]":
            reply.end()
            with suppress(TimeoutError):  # a connection is used again if its reply was read to the end
                async with asyncio.timeout(CLOSING_TIME):
                    await anext(events, None)
            return
        if event.data:
            reply.add(_parsed(event.data), limits)
        if reply.cut:
            break
    if not (reply.finish or reply.cut):
        raise Transient("cut connection", "the answer ended before its end")
    reply.end()


async def whole(response: httpx2.Response) -> str:
    """The text of a response. Raises `Transient` if it is longer than any reply."""
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > LARGEST:
            raise Transient("broken", f"the server's reply has more than {LARGEST >> 20} MB")
    return content.decode("utf-8-sig", "replace")


def _parsed(said: str) -> Any:
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        raise Transient("broken", f"the server's reply is no JSON: {_short(said)}") from None


def _short(said: str) -> str:
    """The beginning of what a server said, on one line."""
    line = unpaired(" ".join(said.split()))
    return line if len(line) <= 200 else line[:197] + "..."


def error_said(body: str) -> str:
    """The message in the body of an error, whatever its form."""
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return "" if body.lstrip().startswith("<") else _short(body)  # a page of HTML says nothing
    if isinstance(record, dict):
        error = record.get("error", record.get("detail", record.get("message", record)))
        parts = [error.get("code"), error.get("message")] if isinstance(error, dict) else [error]
        return _short(": ".join(str(part) for part in parts if part))
    return _short(str(record))
