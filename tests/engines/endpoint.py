"""A scripted server on loopback that speaks as chat completions do, and fails in every way.

What a request gets is decided by the test: a function of the text asked about and of how often that has been asked
before returns a `Say` (an answer) or another step. The server counts what it has sent whole, which is what a user
would have paid for.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tiny"


@dataclass(frozen=True)
class Say:
    """An answer, sent whole. `pieces`: as it is streamed, by default word by word."""

    text: str
    finish: str = "stop"
    model: str = MODEL
    usage: bool = True
    thinking: str = ""
    logprobs: list[dict[str, Any]] | None = None
    pieces: list[str] | None = None


@dataclass(frozen=True)
class Status:
    """An HTTP error."""

    code: int
    body: str = '{"error": {"message": "scripted"}}'
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """Bytes as they are, after the headers of a stream; then the connection is cut, or kept open and silent."""

    data: bytes
    cut: bool = True


@dataclass(frozen=True)
class Endless:
    """Pieces of an answer without end, `pause` seconds between them."""

    piece: str = "word "
    pause: float = 0.0


Step = Say | Status | Raw | Endless
Script = Callable[[dict[str, Any], int], Step]
"""(the body of the request, how often a request of this text came before) -> what happens."""


class Endpoint:
    """The server: a context manager. `text_of` finds the text in a prompt: by default what follows `Text:`."""

    def __init__(
        self, script: Script, *, models: Iterable[str] = (MODEL,), owner: str = "tests", key: str = ""
    ) -> None:
        self.script, self.models, self.owner, self.key = script, list(models), owner, key
        self.pages: dict[str, Any] = {}
        """What other addresses answer with: an object, a `Status`, or a function that returns one."""
        self.bodies: list[dict[str, Any]] = []
        self._paid: Counter[str] = Counter()
        self._paying = threading.Lock()
        """Held from the last bytes of an answer until it is counted: a client that has an answer sees it counted."""
        self.asked: Counter[str] = Counter()
        self.authorizations: set[str | None] = set()
        self.open = self.most_open = 0
        """Requests whose answer is not decided yet."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        endpoint = self

        class Handler(_Handler):
            at = endpoint

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def paid(self) -> Counter[str]:
        """Answers sent whole, by text."""
        with self._paying:
            return self._paid.copy()

    def __enter__(self) -> "Endpoint":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def text_of(self, body: dict[str, Any]) -> str:
        content: str = body["messages"][-1]["content"]
        return content.split("\nText:\n", 1)[-1]

    def step(self, body: dict[str, Any]) -> Step:
        text = self.text_of(body)
        with self._lock:
            self.bodies.append(body)
            before = self.asked[text]
            self.asked[text] += 1
        return self.script(body, before)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    at: Endpoint

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):  # the client has gone
            super().handle()

    def do_GET(self) -> None:
        self.at.authorizations.add(self.headers.get("Authorization"))
        if self._refused():
            return
        path = self.path
        if path == "/v1/models" and path not in self.at.pages:
            entries = [{"id": name, "object": "model", "owned_by": self.at.owner} for name in self.at.models]
            self._send(200, json.dumps({"object": "list", "data": entries}))
        elif path in self.at.pages:
            page = self.at.pages[path]
            page = page() if callable(page) else page
            step = page if isinstance(page, Status) else Status(200, json.dumps(page))
            self._send(step.code, step.body, step.headers)
        else:
            self._send(404, '{"error": {"message": "not here"}}')

    def do_POST(self) -> None:
        at = self.at
        at.authorizations.add(self.headers.get("Authorization"))
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if not sent:  # the client has gone
            return
        body = json.loads(sent)
        if self._refused():
            return
        if self.path in at.pages:
            self._send(at.pages[self.path].code, at.pages[self.path].body)
            return
        if not body["messages"]:
            self._send(400, '{"error": {"message": "no messages"}}')
            return
        with at._lock:
            at.open += 1
            at.most_open = max(at.most_open, at.open)
        try:
            step = at.step(body)
        finally:
            with at._lock:
                at.open -= 1  # before the client can have its answer and ask anew
        self._take(body, step)

    def _refused(self) -> bool:
        if not self.at.key or self.headers.get("Authorization") == f"Bearer {self.at.key}":
            return False
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self._send(
            401, json.dumps({"error": {"message": f"Incorrect API key provided: {given}", "code": "invalid_api_key"}})
        )
        return True

    def _take(self, body: dict[str, Any], step: Step) -> None:
        if isinstance(step, Status):
            self._send(step.code, step.body, step.headers)
        elif isinstance(step, Raw):
            self._begin_stream(chunked=False)
            self.wfile.write(step.data)
            self.wfile.flush()
            if not step.cut:
                self.at._stopping.wait(30)
            self.close_connection = True
        elif isinstance(step, Endless):
            self._begin_stream(chunked=False)
            while not self.at._stopping.wait(step.pause):
                self.wfile.write(_event({"choices": [{"delta": {"content": step.piece}}]}))
            self.close_connection = True
        else:
            self._say(body, step)

    def _say(self, body: dict[str, Any], step: Say) -> None:
        usage = {"prompt_tokens": 100, "completion_tokens": 10} if step.usage else None
        logprobs = {"content": step.logprobs} if step.logprobs is not None else None
        if not body.get("stream"):
            message = {"role": "assistant", "content": step.text, "reasoning_content": step.thinking or None}
            choice = {"index": 0, "message": message, "finish_reason": step.finish, "logprobs": logprobs}
            with self._counted(body):
                self._send(200, json.dumps({"model": step.model, "choices": [choice], "usage": usage}))
        else:
            self._begin_stream()
            pieces = step.pieces if step.pieces is not None else step.text.splitlines(keepends=True)
            events = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}]
            events += [{"choices": [{"delta": {"reasoning_content": step.thinking}}]}] if step.thinking else []
            events += [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
            events += [{"choices": [{"delta": {}, "finish_reason": step.finish, "logprobs": logprobs}]}]
            events += [{"choices": [], "usage": usage}] if usage else []
            data = b"".join(_event({"model": step.model, **event}) for event in events) + b"data: [DONE]\n\n"
            with self._counted(body):
                self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
                self.wfile.flush()

    @contextmanager
    def _counted(self, body: dict[str, Any]) -> Iterator[None]:
        with self.at._paying:
            yield
            self.at._paid[self.at.text_of(body)] += 1

    def _begin_stream(self, chunked: bool = True) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        self.end_headers()
        self.wfile.flush()

    def _send(self, code: int, body: str, headers: dict[str, str] | None = None) -> None:
        data = body.encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _event(record: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(record).encode() + b"\n\n"
