"""vLLM's server with genner's plug-in and a tiny model, started here on the loopback interface by the documented
command line, and asked through the HTTP engine. Runs in vLLM's own environment (`make test-vllm`)."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from tests import tiny
from tests.places import ROOT
from tests.vllm_engine.models import LABELS, TEXTS, adapter, reference, requests, saved

from genner.engines.base import Generation, Request
from genner.engines.chat import Chat
from genner.engines.http import HttpEngine, HttpOptions
from genner.engines.vllm_args import KEY, grammar_args
from genner.errors import UsageError
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.formats.grammar_source import FormatGrammarSource
from genner.grammar import Constraints, accepts

pytestmark = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed here; its tests: make test-vllm"
)

LONGEST_START = 600  # seconds, after which a server that does not answer is given up
ADAPTERS = ("one", "two")
CONTROL = "Ann said <|end|> to Bo."  # with the token that ends a turn


class Server(NamedTuple):
    address: str
    folder: Path  # of the base
    adapters: dict[str, Path]


def documented_command() -> list[str]:
    """The command line that docs/engines.md starts a server with."""
    found = re.findall(r"^ +(vllm serve .*)$", (ROOT / "docs" / "engines.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(found) == 1
    return shlex.split(found[0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs while the tests of this file do."""
    place = tmp_path_factory.mktemp("server")
    folder = saved("llama", "bytes", place / "model")
    adapters = {name: adapter(place / name, seed) for seed, name in enumerate(ADAPTERS)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    vllm, serve, model, *options = documented_command()
    assert (vllm, serve, model) == ("vllm", "serve", "model")
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), *options]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager"]
    command += ["--max-model-len", "1024", "--max-num-seqs", "4"]
    # A place more than adapters: see `VllmEngine.load`.
    command += ["--enable-lora", "--max-loras", str(len(adapters) + 1), "--max-lora-rank", "8", "--lora-modules"]
    command += [f"{name}={path}" for name, path in adapters.items()]
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": str(min(os.sched_getaffinity(0))),
        "TORCH_COMPILE_DISABLE": "1",
    }
    log = place / "server.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, stdout=written, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        deadline = time.monotonic() + LONGEST_START
        while not _ready(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-8000:]}")
            time.sleep(0.5)
        yield Server(f"http://127.0.0.1:{port}/v1", folder, adapters)
        assert process.poll() is None, log.read_text(errors="replace")[-8000:]
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with suppress(ProcessLookupError):  # the processes that it started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ready(address: str) -> bool:
    try:
        return httpx2.get(address, timeout=10).status_code == 200
    except httpx2.HTTPError:
        return False


def engine(server: Server, name: str = "default", **options: Any) -> HttpEngine:
    return HttpEngine.load(name=name, options=HttpOptions(server.address, cache="none", **options))


def answers(some: Any, asked: list[Request]) -> list[Generation]:
    found = list(some.generate(iter(asked)))
    assert [request for request, _ in found] == asked
    return [generation for _, generation in found]


def slow_answers(server: Server, asked: list[Request]) -> list[Generation]:
    """Those of the reference decoder, each with its adapter."""
    return [
        answers(reference(server.folder, server.adapters.get(request.adapter)), [replace(request, adapter="")])[0]
        for request in asked
    ]


def assert_equal(fast: list[Generation], slow: list[Generation]) -> None:
    for one, other in zip(fast, slow, strict=True):
        assert (one.text, one.failure, one.problems, one.complete) == (other.text, "", (), True)
        if not one.ends and not one.answer.isascii():
            continue  # vLLM's tokens do not always spell characters that several of them write: no scores, counted
        # The server's text has not the token that ends the turn. Where several tokens write a character, it does not
        # tell which of them writes which byte.
        assert code_points(one) == code_points(other)[:-1]
        assert one.logprobs == pytest.approx(other.logprobs[:-1], abs=2e-3)


def code_points(made: Generation) -> list[int]:
    """For each token, the whole code points of the answer up to its end."""
    return [len(made.answer[:end].decode(errors="ignore")) for end in made.ends]


def test_answers_and_log_probabilities_equal_those_of_the_reference_decoder(server: Server) -> None:
    """All formats; the base and two adapters, mixed; more requests at once than the server computes together."""
    some = engine(server, concurrency=16)
    assert (some.capabilities.grammar, some.capabilities.logprobs) == ("exact", True)
    assert some.signature["structured"] == "genner"
    for name in ADAPTERS:
        assert some.add_adapter(name, None) == name
    asked = [*requests(), *requests("one")[:5], *requests("two")[:5]]
    asked = asked[::2] + asked[1::2]
    assert_equal(answers(some, asked), slow_answers(server, asked))


def test_entities_have_the_scores_of_the_engines_in_process(server: Server) -> None:
    local = reference(server.folder)
    for form in ("inline_xml", "grouped_json"):
        with_server, here = (
            list(Extractor(some, FORMATS[form], LABELS, split=False).pipe(TEXTS)) for some in (engine(server), local)
        )
        assert sum(len(p.entities) for p in here) > 0
        for one, other in zip(with_server, here, strict=True):
            assert [(e.start, e.end, e.label) for e in one.entities] == [
                (e.start, e.end, e.label) for e in other.entities
            ]
            assert [e.score for e in one.entities] == pytest.approx([e.score for e in other.entities], abs=2e-3)
            assert not one.problems
            assert one.uncalibrated_scores == other.uncalibrated_scores


def test_several_clients_at_once_and_free_requests_beside(server: Server) -> None:
    """Requests without a grammar are not touched, whatever else is in their batch."""
    held, free = requests()[:8], requests(constrained=False)[:4]
    expected = {True: slow_answers(server, held), False: slow_answers(server, free)}
    some = [engine(server) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(answers, each, held if n % 2 else free) for n, each in enumerate(some)]
        for number, job in enumerate(jobs):
            if number % 2:
                assert_equal(job.result(), expected[True])
            else:  # these end where the HTTP engine's limits are, which are others than those in process
                for one, other in zip(job.result(), expected[False], strict=True):
                    assert not one.failure
                    length = min(len(one.logprobs), len(other.logprobs) - 1, 8)
                    assert one.logprobs[:length] == pytest.approx(other.logprobs[:length], abs=2e-3)


GOOD = FormatGrammarSource(FORMATS["inline_xml"], "x", LABELS, Constraints("word", 1)).to_json()


def ask(server: Server, text: str, **fields: Any) -> httpx2.Response:
    body = {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 200, "temperature": 0}
    return httpx2.post(f"{server.address}/chat/completions", json=body | fields, timeout=LONGEST_START)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "Expecting property name"),
        (json.dumps(GOOD | {"format": "inline_yaml"}), "inline_yaml"),
        (json.dumps(GOOD | {"constraints": {}}), "boundaries"),
        ("1", "not 1"),
        ({"format": "inline_xml"}, "vllm_xargs"),  # vLLM itself takes strings and numbers only
    ],
)
def test_what_is_no_grammar_is_refused_with_the_reason_and_the_server_goes_on(
    server: Server, data: Any, words: str
) -> None:
    reply = ask(server, "x", vllm_xargs={KEY: data})
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]
    asked = requests()[:1]
    assert_equal(answers(engine(server), asked), slow_answers(server, asked))


def test_a_model_that_the_server_does_not_have_is_named(server: Server) -> None:
    with pytest.raises(UsageError, match=r"no model 'three'.*default.*one.*two"):
        engine(server, "three")


def test_control_tokens_in_a_text(server: Server) -> None:
    """A server reads them as such, in process they are plain text; answers are legal and about the text in both."""
    source = FormatGrammarSource(FORMATS["inline_xml"], CONTROL, LABELS, Constraints("word", 1))
    asked = [Request("Tag:\n", CONTROL, source.grammar(), grammar_source=source)]
    (found,) = answers(engine(server), asked)
    assert found.complete
    assert not found.problems
    assert accepts(asked[0].grammar, found.answer)
    reply = ask(server, "Tag:\n" + CONTROL, vllm_xargs=grammar_args(source), return_token_ids=True).json()
    chat = Chat(tiny.tokenizer("bytes"))
    plain = chat.prefix_ids("Tag:\n") + chat.body_ids(CONTROL)
    assert (plain.count(chat.end_id), reply["prompt_token_ids"].count(chat.end_id)) == (1, 2)
    assert found.text == reply["choices"][0]["message"]["content"]
