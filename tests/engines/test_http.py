"""The HTTP engine against a server that is well: what is sent, what is kept, what is told."""

import asyncio
import base64
import json
import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import Run
from tests.engines.endpoint import MODEL, Endpoint, Raw, Say, Status, Step

import genner
from genner.document import Document, Entity, LabelSet
from genner.engines.base import Generation, Request, Usage
from genner.engines.http import HttpEngine, HttpOptions
from genner.engines.http.accounts import Accounts
from genner.engines.http.answer_store import AnswerStore, default_path, key_of
from genner.engines.http.answers import Budget, generation_of
from genner.engines.http.api_key import LOGGERS, ApiKey
from genner.engines.http.backoff import retry_after, wait_time
from genner.engines.http.connection import Connection, transport_of
from genner.engines.http.estimate import estimated_tokens
from genner.engines.http.failures import Failed, SetAside, Transient, of_status
from genner.engines.http.pricing import PricingEngine
from genner.engines.http.reply import InReply, Reply, ReplyLimits, read
from genner.engines.http.server import related
from genner.engines.http.structured import WRAP, ServerKind, fields, ladder, respelled, unwrapped
from genner.errors import DataError, GennerError, ModelError, UsageError
from genner.extract import Extractor
from genner.formats import FORMATS, get_format
from genner.formats.grammar_source import FormatGrammarSource
from genner.grammar import FLAT, walk

LABELS = LabelSet.of("PER", "LOC")
TEXT = "Ada left Rome."
URL = "http://127.0.0.1:1/v1"
JSON = get_format("grouped_json")
XML = get_format("inline_xml")


def asked_about(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"]).split("\nText:\n", 1)[1]


def copy(body: dict[str, Any], _: int) -> Step:
    """A plain copy, with Ada as a person."""
    return Say(asked_about(body).replace("Ada", "<PER>Ada</PER>"))


def extractor(endpoint: Endpoint, form: str = "inline_xml", model: str = MODEL, **options: Any) -> Extractor:
    given = {"cache": "none", "backoff": 0.001} | options
    return Extractor(HttpEngine.load(name=model, options=HttpOptions(endpoint.url, **given)), get_format(form), LABELS)


def engine_of(ner: Extractor) -> HttpEngine:
    assert isinstance(ner.engine, HttpEngine)
    return ner.engine


def request(form: str = "inline_xml", text: str = TEXT, instruction: str = "Tag. Labels:\n- PER\nText:\n") -> Request:
    source = FormatGrammarSource(FORMATS[form], text, LABELS, FLAT)
    return Request(instruction, text, source.grammar(), grammar_source=source)


# -- what is sent


def test_a_request_is_one_user_turn_that_ends_in_the_text() -> None:
    with Endpoint(copy) as endpoint:
        ner = extractor(endpoint, body='{"top_k": 1}')
        found = ner.extract(TEXT)
        (body,) = endpoint.bodies
    assert [(e.text, e.label) for e in found.entities] == [("Ada", "PER")]
    (message,) = body["messages"]
    assert message["role"] == "user"
    assert message["content"].endswith(f"Text:\n{TEXT}")
    assert (body["model"], body["temperature"], body["top_k"]) == (MODEL, 0, 1)
    assert body["max_tokens"] == Budget.of(request(), HttpOptions(URL), None).tokens
    assert ner.signature["server"] == "unknown"
    assert len(ner.signature["body"]) == 12


def test_answers_come_in_order_and_a_bounded_number_at_a_time() -> None:
    """The first is the slowest; the texts never end."""
    taken = []

    def texts() -> Iterator[str]:
        for number in count():
            taken.append(number)
            yield f"Ada {number} left."

    third = threading.Event()

    def script(body: dict[str, Any], before: int) -> Step:
        if "Ada 2 " in asked_about(body):
            third.set()
        if "Ada 0 " in asked_about(body):
            assert third.wait(30)
        return copy(body, before)

    with Endpoint(script) as endpoint:
        ner = extractor(endpoint, concurrency=3)
        found = list(islice(ner.pipe(texts()), 20))
    assert [each.text for each in found] == [f"Ada {number} left." for number in range(20)]
    assert all(e.text == "Ada" for each in found for e in each.entities)
    assert 1 < endpoint.most_open <= 3
    assert len(taken) <= 20 + 3 * 4 + 1


def test_threads_share_an_engine() -> None:
    with Endpoint(copy) as endpoint:
        ner = extractor(endpoint, concurrency=2)
        found: dict[int, list[str]] = {}

        def work(number: int) -> None:
            texts = [f"Ada {number} {i} left." for i in range(5)]
            found[number] = [each.text for each in ner.pipe(texts) if each.entities]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert endpoint.most_open <= 2
    assert found == {number: [f"Ada {number} {i} left." for i in range(5)] for number in range(4)}


def test_equal_requests_are_asked_once() -> None:
    with Endpoint(copy) as endpoint:
        ner = extractor(endpoint)
        found = list(ner.pipe([TEXT] * 6))
        assert endpoint.paid[TEXT] >= 1
        assert endpoint.paid[TEXT] + engine_of(ner).accounts.counts["cached"] == 6
    assert [each.entities for each in found] == [found[0].entities] * 6


def test_another_model_of_the_server_answers_where_a_request_names_it() -> None:
    with Endpoint(copy, models=[MODEL, "lora"]) as endpoint:
        engine = HttpEngine.load(name=MODEL, options=HttpOptions(endpoint.url, cache="none", any_model=False))
        assert (engine.add_adapter(MODEL, None), engine.add_adapter("", None)) == ("", "")
        name = engine.add_adapter("lora", None)
        ner = Extractor(engine, XML, LABELS, adapter=name)
        endpoint.script = lambda body, _: Say(asked_about(body), model=body["model"])
        list(ner.pipe([TEXT]))
        assert endpoint.bodies[-1]["model"] == "lora"
        with pytest.raises(UsageError, match=r"no model 'lara'; it has: lora, tiny"):
            engine.add_adapter("lara", None)


# -- what the server is, and how it is told the grammar


def pages(kind: ServerKind, endpoint: Endpoint) -> None:
    """Make the server say what a server of this kind says."""
    entry: dict[str, Any] = {"id": MODEL}
    if kind in ("vllm", "sglang"):
        entry |= {"owned_by": kind, "max_model_len": 2048}
    elif kind == "llama.cpp":
        endpoint.pages["/props"] = {"default_generation_settings": {"n_ctx": 1024}, "model_path": "/models/tiny.gguf"}
    elif kind == "ollama":
        endpoint.pages["/api/version"] = {"version": "0.9"}
    elif kind == "lmstudio":
        endpoint.pages["/api/v0/models"] = {"data": []}
    endpoint.pages["/v1/models"] = {"object": "list", "data": [entry]}


KINDS: dict[ServerKind, tuple[str, str, int | None]] = {
    "vllm": ("gbnf", "structured_outputs", 2048),
    "sglang": ("gbnf", "ebnf", 2048),
    "llama.cpp": ("gbnf", "grammar", 1024),
    "ollama": ("response_format", "response_format", None),
    "lmstudio": ("response_format", "response_format", None),
    "unknown": ("response_format", "response_format", None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_server_decides_how_it_is_told_the_grammar(kind: ServerKind) -> None:
    mode, key, window = KINDS[kind]
    with Endpoint(lambda body, _: Say('{"PER": ["Ada"], "LOC": []}')) as endpoint:
        pages(kind, endpoint)
        ner = extractor(endpoint, "grouped_json")
        found = ner.extract(TEXT)
        body = endpoint.bodies[-1]
    engine = engine_of(ner)
    assert (engine.facts.kind, engine.signature["structured"], engine.window) == (kind, mode, window)
    assert ner.signature["decoding"] == "greedy-exported-grammar"
    assert key in body
    assert [e.text for e in found.entities] == ["Ada"]
    assert not found.problems
    # The servers that take a JSON schema alone take no grammar of XML.
    assert engine.capabilities.json_only == (mode == "response_format")
    xml = Extractor(engine, XML, LABELS)
    assert xml.constrained == (mode == "gbnf")
    assert xml.signature["decoding"] == ("greedy-exported-grammar" if mode == "gbnf" else "greedy-free")
    if mode != "gbnf":
        with pytest.raises(UsageError, match="inline_xml, only of JSON formats"):
            Extractor(engine, XML, LABELS, constrained=True)


@pytest.mark.parametrize("logprob", [-1.5, -8.0])
@pytest.mark.parametrize("runs", [True, False])
def test_the_plug_in_in_vllm_is_looked_for_by_a_question_that_it_decides(
    runs: bool, logprob: float, caplog: pytest.LogCaptureFixture
) -> None:
    """So is whether its log-probabilities are those among the legal tokens; others give no scores."""

    def script(body: dict[str, Any], before: int) -> Step:
        if "vllm_xargs" not in body or not runs:
            return Say("yes")
        grammar = FormatGrammarSource.from_json(json.loads(body["vllm_xargs"]["genner"])).grammar()
        answer = grammar.draft(grammar.start(), 1000).decode()
        return Say(answer, logprobs=[{"token": answer, "bytes": list(answer.encode()), "logprob": logprob}])

    with Endpoint(script) as endpoint:
        endpoint.text_of = lambda body: ""  # type: ignore[method-assign]
        pages("vllm", endpoint)
        if not runs:
            with pytest.raises(UsageError, match="does not run genner's plug-in"):
                extractor(endpoint, structured="genner")
        ner = extractor(endpoint)
        assert ner.exact == runs
        assert engine_of(ner).signature["structured"] == ("genner" if runs else "gbnf")
        raw = runs and logprob < -2.5
        assert engine_of(ner).capabilities.logprobs != raw
        assert ("--logprobs-mode processed_logprobs" in caplog.text) == raw
        found = ner.extract(TEXT)
        assert ("logprobs" in endpoint.bodies[-1]) != raw
    assert found.answer_reading == ("" if runs else "repaired")


def test_a_refused_grammar_is_left_out_of_its_request(caplog: pytest.LogCaptureFixture) -> None:
    """And after three refusals, with none taken, of all others; each answer says so, the log once."""

    def script(body: dict[str, Any], before: int) -> Step:
        return Status(400, '{"error": "failed to parse grammar"}') if "grammar" in body else copy(body, 0)

    with Endpoint(script) as endpoint, caplog.at_level(logging.WARNING):
        pages("llama.cpp", endpoint)
        ner = extractor(endpoint, concurrency=1)
        found = list(ner.pipe([f"Ada {i}." for i in range(10)]))
    counts = engine_of(ner).accounts.counts
    assert all([e.text for e in each.entities] == ["Ada"] for each in found)
    assert [any("grammar" in p.detail for p in each.problems) for each in found] == [True] * 3 + [False] * 7
    assert (counts["refused grammar"], counts["without grammar"], counts["calls"]) == (3, 10, 13)
    told = [record.message for record in caplog.records if "engines.http" in record.name]
    assert sum("refuses a grammar (400: failed to parse grammar)" in message for message in told) == 1
    assert len(told) <= 2


def test_one_grammar_may_be_refused_and_the_others_taken() -> None:
    def script(body: dict[str, Any], before: int) -> Step:
        return Status(500, "grammar: too deep") if "grammar" in body and "bad" in asked_about(body) else copy(body, 0)

    with Endpoint(script) as endpoint:
        pages("llama.cpp", endpoint)
        ner = extractor(endpoint, concurrency=1)
        list(ner.pipe([f"Ada {i} {'bad' if i % 2 else ''}." for i in range(12)]))
        assert ["grammar" in body for body in endpoint.bodies if "bad" not in asked_about(body)] == [True] * 6
    assert engine_of(ner).accounts.counts["refused grammar"] == 6


@pytest.mark.parametrize("name", ["stream_options", "logprobs", "max_tokens", "temperature"])
def test_a_field_that_the_server_does_not_know_is_left_out(name: str) -> None:
    def script(body: dict[str, Any], before: int) -> Step:
        said = json.dumps({"error": {"message": f"Unsupported parameter: '{name}'"}})
        return Status(400, said) if name in body else copy(body, 0)

    with Endpoint(script) as endpoint:
        ner = extractor(endpoint, concurrency=1)
        found = list(ner.pipe(["Ada 1.", "Ada 2."]))
        assert [name in body for body in endpoint.bodies] == [True, False, False]
        assert name != "max_tokens" or endpoint.bodies[-1]["max_completion_tokens"] > 0
    assert all(each.entities and not each.problems for each in found)


def test_a_field_that_a_refused_text_names_is_kept() -> None:
    def script(body: dict[str, Any], before: int) -> Step:
        text = body["messages"][0]["content"].rpartition("Text:\n")[2]
        return (
            Status(400, json.dumps({"error": {"message": f"refused: {text}"}})) if "logprobs" in text else copy(body, 0)
        )

    with Endpoint(script) as endpoint:
        ner = extractor(endpoint, concurrency=1)
        wrong, right = ner.pipe(["Ada knows logprobs.", "Ada 2."])
        assert all("logprobs" in body for body in endpoint.bodies)
    assert [p.kind for p in wrong.problems] == ["failed"]
    assert right.entities


def test_the_servers_limit_of_tokens_is_kept_to() -> None:
    def script(body: dict[str, Any], before: int) -> Step:
        said = "max_tokens is too large. This model supports at most 20 completion tokens"
        return Status(400, json.dumps({"error": {"message": said}})) if body["max_tokens"] > 20 else copy(body, 0)

    with Endpoint(script) as endpoint:
        found = list(extractor(endpoint, concurrency=1).pipe(["Ada 1.", "Ada 2."]))
        assert [body["max_tokens"] <= 20 for body in endpoint.bodies] == [False, True, True]
    assert all(each.entities and not each.problems for each in found)


@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("kind", [*KINDS, "openai", "openrouter"])
def test_each_mode_says_its_grammar_or_that_it_has_none(kind: ServerKind, form: str) -> None:
    source = request(form).grammar_source
    assert source is not None
    steps = ladder(kind, "auto")
    assert steps[-1] == "none"
    schema = source.json_schema()
    for mode in steps:
        made = fields(mode, kind, source)
        json.dumps(made)
        if mode in ("json_schema", "response_format"):
            assert (made is None) == (schema is None)
        elif mode != "none":
            assert made
    made = fields("response_format", kind, source)
    if made is not None:
        assert made["response_format"]["json_schema"]["schema"]["type"] == "object"
    if kind == "vllm":
        assert ladder(kind, "genner") == ("genner", "none")
    else:
        with pytest.raises(UsageError, match="structured=genner needs vLLM"):
            ladder(kind, "genner")


def test_a_list_in_an_object_is_taken_out_and_spelt_as_formats_spell_it() -> None:
    begin, end = unwrapped(json.dumps({WRAP: [{"a": 1}]}) + "\n")
    assert (begin, end) == (10, 20)
    assert unwrapped("[1]") == (0, 3)
    assert respelled('{"PER":["Köln"],\n "LOC":[]}') == '{"PER": ["Köln"], "LOC": []}'
    assert respelled("{half") == "{half"
    form = FORMATS["occurrence_json"]
    gold = form.encode(Document(TEXT, (Entity(0, 3, "PER"),)), LABELS)
    spaced = json.dumps({WRAP: json.loads(gold)}, indent=1)
    made = generation_of(
        request("occurrence_json"), "response_format", Reply(spaced, finish="stop"), Accounts().counts, Usage(1, 1)
    )
    assert made.text == gold
    assert made.complete


# -- keys


SOURCES = Path(genner.__file__).parent


def test_the_key_is_in_the_header_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    key = "sk-very-secret-4711"
    monkeypatch.setenv("SOME_KEY", key)
    monkeypatch.setenv("OPENAI_API_KEY", "of-openai-0815")
    caplog.set_level(logging.DEBUG)
    with Endpoint(copy, key=key) as endpoint:
        options = HttpOptions(endpoint.url, key_env="SOME_KEY", cache=str(tmp_path / "answers.sqlite"))
        ner = Extractor(HttpEngine.load(name=MODEL, options=options), XML, LABELS)
        ner.extract(TEXT)
        assert endpoint.authorizations == {f"Bearer {key}"}
        told = [
            repr(options),
            repr(ner.signature),
            *engine_of(ner).summary(),
            caplog.text,
            repr(ApiKey("SOME_KEY", "")),
        ]
        monkeypatch.setenv("SOME_KEY", "sk-very-wrong-4712")
        with pytest.raises(UsageError, match=r"answers 401, it refuses the key .* variable SOME_KEY") as error:
            list(ner.pipe(["Ada."]))
        with pytest.raises(UsageError, match="refuses the key or lacks one") as other:
            extractor(endpoint)
        # Some programs show the variables of a traceback.
        for raised in (error, other):
            frames = [entry.frame for entry in raised.traceback if SOURCES in Path(entry.path).parents]
            told += [str(raised.value), *(str(frame.f_locals) for frame in frames)]
        assert len(told) > 8
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(secret in said for said in told for secret in (key, "sk-very-wrong-4712", "of-openai-0815"))
    assert key.encode() not in kept
    assert None in endpoint.authorizations  # openai's key was not sent to another server


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "SOME_KEY is not set; set it"), ("", "is not set"), ("a b", "spaces"), ("schlüssel", "no key has")],
)
def test_a_key_that_is_missing_or_none_is_named_by_its_variable(
    value: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(UsageError, match=said):
        ApiKey("SOME_KEY", "some.host")


def test_a_server_that_may_need_no_key_is_not_said_to_need_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(UsageError, match="if this server needs no key, leave key_env out") as error:
        HttpEngine.load(options=HttpOptions(URL, key_env="SOME_KEY", cache="none"))
    assert "needs a key" not in str(error.value)


def test_openais_key_goes_to_openai_alone() -> None:
    assert HttpOptions("https://api.openai.com/v1").key_variable == "OPENAI_API_KEY"
    assert HttpOptions("https://api.openai.com.evil.org/v1").key_variable == ""
    assert HttpOptions(URL, key_env="MINE").key_variable == "MINE"


def test_what_a_server_repeats_of_a_key_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-abcdefgh12345678")
    scrub = ApiKey("SOME_KEY", "").scrub
    assert scrub("wrong key sk-abcdefgh12345678, it says") == "wrong key [key], it says"
    assert scrub("Incorrect API key provided: sk-abc***5678.") == "Incorrect API key provided: [key]"
    assert scrub('{"id": "sk-abc-7b"}') == '{"id": "[key]"}'


SECRET = "sk-proj-Zx9AbCdEf0123456789q"
REPEATING: dict[str, Step] = {
    "answer": Say(f"Bearer {SECRET}"),
    "model": Say("x", model=SECRET),
    "no JSON": Raw(f"data: {SECRET}\n\n".encode()),
    "refusal": Raw(b'data: {"choices": [{"delta": {"refusal": "%s"}}]}\n\n' % SECRET.encode()),
    "error": Raw(b'data: {"error": "%s"}\n\n' % SECRET.encode()),
    "400": Status(400, SECRET),
    "500": Status(500, json.dumps({"error": {"message": SECRET}})),
    "elsewhere": Status(307, "", {"Location": f"http://x/{SECRET}"}),
    "reply broken": Status(200, "", {"Transfer-Encoding": SECRET}),
    "header": Status(200, "{}", {"Set-Cookie": f"key={SECRET}"}),
}


@pytest.mark.parametrize("step", REPEATING.values(), ids=REPEATING)
def test_a_key_that_a_server_repeats_is_kept_nowhere(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Nor in a record of a log, at any level and of any logger."""
    monkeypatch.setenv("SOME_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {"cache": str(tmp_path / "answers.sqlite"), "key_env": "SOME_KEY", "retries": 1}
    with Endpoint(lambda *_: step, key=SECRET) as endpoint:
        ner = extractor(endpoint, **options)
        try:
            told = json.dumps(ner.extract(TEXT).to_dict())
        except UsageError as error:
            told = str(error)
        store = engine_of(ner)._caller.store
    assert store is not None
    kept = [base64.b64decode(json.loads(row[0])["answer"]) for row in store._db.execute("SELECT answer FROM answers")]
    assert SECRET not in told
    assert SECRET not in caplog.text
    assert not any(SECRET in str(vars(record)) for record in caplog.records)
    assert any(record.name.startswith("httpcore2") for record in caplog.records)
    assert SECRET.encode() not in b"".join(kept)


def test_all_loggers_of_the_http_client_leave_keys_out() -> None:
    names = {name for name in logging.root.manager.loggerDict if re.match(r"httpx2|httpcore2\.", name)}
    assert names <= set(LOGGERS)
    assert all(logging.getLogger(name).filters for name in LOGGERS)


def test_a_word_of_the_text_that_is_a_stand_in_for_a_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "Ada")
    with Endpoint(copy, models=["Ada-7b", MODEL]) as endpoint:
        assert [e.text for e in extractor(endpoint, key_env="SOME_KEY").extract(TEXT).entities] == ["Ada"]


# -- the environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "garbage://x"),
        ("ALL_PROXY", "http://[::1"),
        ("ALL_PROXY", "socks9://x"),
        ("SSL_CERT_FILE", "/no/such/file"),
    ],
)
def test_a_proxy_or_a_certificate_that_is_none_is_said(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"cannot be used.*{name}"):
        Connection(HttpOptions("https://some.invalid/v1"), ApiKey("", ""))


def test_this_machine_is_asked_without_a_proxy_and_with_its_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with Endpoint(copy) as endpoint:
        assert extractor(endpoint).extract(TEXT).entities
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert transport_of("some.host") == {}
    assert transport_of("127.0.0.2") == transport_of("::1") == {"trust_env": False, "verify": True}
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert isinstance(transport_of("localhost")["verify"], ssl.SSLContext)


# -- the cache


def test_answers_are_kept_by_all_that_decides_them(tmp_path: Path) -> None:
    path = str(tmp_path / "a" / "answers.sqlite")
    with Endpoint(copy) as endpoint:
        for _ in range(2):
            ner = extractor(endpoint, cache=path)
            first = [each.entities for each in ner.pipe([TEXT, "Ada."])]
        assert endpoint.paid == {TEXT: 1, "Ada.": 1}
        accounts = engine_of(ner).accounts
        assert (accounts.counts["cached"], accounts.saved, accounts.prompt) == (2, 220, 0)
        assert [e.label for each in first for e in each] == ["PER", "PER"]
        extractor(endpoint, cache=path, body='{"seed": 1}').extract(TEXT)
        Extractor(engine_of(ner), XML, LabelSet.of("ORG")).extract(TEXT)
        assert endpoint.paid[TEXT] == 3


def test_what_is_kept_comes_back_and_a_broken_file_is_named(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    kept = Generation("Köln".encode(), (2, 5), (-0.5, 0.0), False, problems=("cut",), usage=Usage(3, 4))
    key = key_of(URL, "", {"a": 1, "stream": True})
    assert key == key_of(URL, "", {"stream": False, "a": 1})
    assert len({key, key_of(URL, "x", {"a": 1}), key_of(URL + "/", "", {"a": 1}), key_of(URL, "", {"a": 2})}) == 4
    assert store.get(key) is None
    store.put(key, kept)
    assert store.get(key) == Generation(
        kept.answer, kept.ends, kept.logprobs, False, problems=("cut",), usage=Usage(3, 4, True)
    )
    store.close()
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"no database, whatever its name says" * 100)
    with pytest.raises(DataError, match=r"broken.sqlite.*cache=FILE"):
        AnswerStore(broken)
    with pytest.raises(DataError, match="cache=none"):
        AnswerStore(broken / "under" / "a.sqlite")


@pytest.mark.parametrize(
    "change",
    [
        {"answer": "!"},
        {"ends": [1e999]},
        {"ends": [9]},
        {"ends": []},
        {"logprobs": ["x"]},
        {"usage": [1]},
        {"usage": {}},
        {"problems": 5},
    ],
)
def test_a_damaged_answer_is_said_to_be_one(change: dict[str, Any], tmp_path: Path) -> None:
    store, key = AnswerStore(tmp_path / "answers.sqlite"), b"key"
    store.put(key, Generation(b"Ada", (3,), (-0.5,), usage=Usage(3, 4)))
    ((kept,),) = store._db.execute("SELECT answer FROM answers")
    store._db.execute("UPDATE answers SET answer = ?", (json.dumps(json.loads(kept) | change),))
    with pytest.raises(DataError, match="remove this one"):
        store.get(key)
    store._db.execute("UPDATE answers SET answer = ?", ("[" * 100_000,))
    with pytest.raises(DataError, match="remove this one"):
        store.get(key)


# -- accounts and prices


def test_tokens_are_counted_by_the_server_else_estimated() -> None:
    accounts = Accounts(price_in=2.0, price_out=10.0)
    usage = accounts.spend(Reply("abc", usage={"prompt_tokens": 100, "completion_tokens": 5, "cost": 0.25}), "x")
    assert (accounts.prompt, accounts.completion, accounts.billed) == (100, 5, 0.25)
    assert accounts.cost == pytest.approx((100 * 2 + 5 * 10) / 1e6)
    # Nothing was written, so nothing is taken to be paid.
    assert accounts.spend(Reply(), "x" * 45) == Usage()
    assert accounts.estimated == 0
    broken = Reply()
    broken.add({"choices": [{"delta": {"content": "abcdef"}}]}, ReplyLimits(100, 0))
    usage += accounts.spend(broken, "x" * 45)
    assert (accounts.prompt, accounts.completion, accounts.estimated) == (110, 7, 1)
    assert usage == Usage(110, 7)
    assert any("cost 0.0003" in line and "billed by the server: 0.2500" in line for line in accounts.lines())


def test_a_failed_call_is_paid_too() -> None:
    answered = Say(TEXT, model="another")
    with Endpoint(lambda body, before: copy(body, 0) if before else answered) as endpoint:
        ner = extractor(endpoint)
        generation = next(ner.engine.generate([request()]))[1]
    assert generation.usage == Usage(200, 20)
    assert engine_of(ner).accounts.prompt == 200


@given(st.text())
def test_an_estimate_grows_with_its_text(text: str) -> None:
    assert 0 <= estimated_tokens(text) <= len(text)
    assert estimated_tokens(text + "a") >= estimated_tokens(text)


def test_a_price_needs_no_server_and_no_key() -> None:
    engine = PricingEngine(HttpOptions("https://api.openai.com/v1", price_in=1.0, price_out=2.0, cache="none"))
    ner = Extractor(engine, XML, LABELS)
    list(ner.pipe([TEXT, "Bob stays."]))
    assert engine.requests == 2
    assert engine.prompt > engine.answer > 0
    assert engine.most > engine.answer
    least, most = (engine.prompt + 2 * n for n in (round(engine.answer), engine.most))
    assert engine.summary()[-1].startswith(f"cost: about {least / 1e6:.4f}, at most {most / 1e6:.4f}")
    assert "price_in" in PricingEngine(HttpOptions(URL, cache="none")).summary()[-1]


@pytest.mark.parametrize("kind", ["llama.cpp", "vllm", "unknown"])
def test_what_is_in_the_cache_is_not_priced(kind: ServerKind, tmp_path: Path) -> None:
    """As the server was when it was last asked: its window, its grammar, the fields that it refuses."""
    options: dict[str, Any] = {"cache": str(tmp_path / "answers.sqlite"), "body": '{"seed": 1}'}

    def script(body: dict[str, Any], before: int) -> Step:
        return Status(400, "no temperature here") if "temperature" in body else copy(body, 0)

    def priced(*texts: str) -> PricingEngine:
        engine = PricingEngine(HttpOptions(endpoint.url, **options))
        engine.add_adapter(MODEL, None)
        found = list(Extractor(engine, XML, LABELS).pipe(texts))
        assert [bool(each.entities) for each in found] == ["Ada" in text and text in asked for text in texts]
        return engine

    with Endpoint(script) as endpoint:
        pages(kind, endpoint)
        asked: list[str] = []
        engine = priced("Ada 1.", "Ada 1.", "Bob 2.")
        assert (engine.requests, engine.cached) == (3, 1)  # equal requests are asked once
        ner = extractor(endpoint, **options)
        asked = ["Ada 1.", "Bob 2.", "Ada 3 1."]
        list(ner.pipe(asked))
        bodies = len(endpoint.bodies)
        engine = priced(*asked, "Ada 9.")
        assert (engine.requests, engine.cached, engine.saved) == (4, 3, 330)
        assert engine.window == engine_of(ner).window
        assert engine.capabilities == engine_of(ner).capabilities
        alone = priced("Ada 9.")
        assert (engine.prompt, engine.answer, engine.most) == (alone.prompt, alone.answer, alone.most)
        assert priced(*asked).prompt == 0
        options["body"] = '{"seed": 2}'
        asked = []
        assert priced("Ada 1.").cached == 0
        assert len(endpoint.bodies) == bodies
    assert "requests: 4, 3 of them in the cache (330 tokens not paid again); nothing was asked" in engine.summary()


# -- replies


@settings(max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1), st.booleans())
def test_a_reply_is_the_same_however_it_is_cut(sizes: list[int], long: bool) -> None:
    """Events may be torn anywhere, within a character too, and comments and blank lines may stand between them."""
    texts = ["Köln ", "", "京都", "<PER>", "🦆", "." * (500 if long else 1)]
    events: list[Any] = [{"choices": [{"delta": {"content": text}}]} for text in texts]
    events += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": {"prompt_tokens": 1}}]
    data = "".join(f": wait\r\n\r\ndata: {json.dumps(e, ensure_ascii=False)}\n\n" for e in events) + "data: [DONE]\n\n"
    rest, pieces = data.encode(), []
    while rest:
        for size in sizes:
            pieces.append(rest[:size])
            rest = rest[size:]

    class Pieces(httpx2.AsyncByteStream):
        async def __aiter__(self) -> Any:
            for piece in pieces:
                yield piece

    reply = Reply()
    response = httpx2.Response(
        200, headers={"content-type": "text/event-stream"}, stream=Pieces(), request=httpx2.Request("POST", URL)
    )
    asyncio.run(read(response, reply, ReplyLimits(10_000, 0)))
    assert (reply.text, reply.finish, reply.usage, reply.cut) == ("".join(texts), "stop", {"prompt_tokens": 1}, "")


def reply_of(content: bytes, kind: str, longest: int = 10_000) -> Reply:
    """What is read of a response. Raises as `read`."""
    reply, headers = Reply(), {"content-type": kind}
    response = httpx2.Response(200, headers=headers, content=content, request=httpx2.Request("POST", URL))
    asyncio.run(read(response, reply, ReplyLimits(longest, 0)))
    return reply


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "base64", "nonsense", ""])
def test_a_stream_is_utf_8_whatever_its_headers_say(charset: str) -> None:
    data = 'data: {"choices": [{"delta": {"content": "Köln"}}]}\n\ndata: [DONE]\n\n'
    assert reply_of(data.encode(), f"text/event-stream; charset={charset}").text == "Köln"


@pytest.mark.parametrize("charset", ["", "; charset=utf-8"])
def test_a_mark_of_the_byte_order_is_no_part_of_a_reply(charset: str) -> None:
    events = 'data: {"choices": [{"delta": {"content": "\ufeffKöln"}}]}\n\ndata: [DONE]\n\n'
    whole = '{"choices": [{"message": {"content": "\ufeffKöln"}}]}'
    for mark in (b"", b"\xef\xbb\xbf"):
        assert reply_of(mark + events.encode(), f"text/event-stream{charset}").text == "\ufeffKöln"
        assert reply_of(mark + whole.encode(), f"application/json{charset}").text == "\ufeffKöln"


@given(st.lists(st.text(), max_size=4), st.sampled_from(["delta", "message"]), st.booleans())
def test_a_content_of_several_parts_is_read(texts: list[str], key: str, thinks: bool) -> None:
    """As OpenAI writes them, and Mistral, with the reasoning in a part of its own."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text} for text in texts]
    thought = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}] if thinks else []
    reply = Reply()
    reply.add({"choices": [{key: {"content": thought + parts}, "finish_reason": "stop"}]}, ReplyLimits(1000, 10))
    reply.end()
    assert (reply.text, reply.thinking) == ("".join(texts), 2 * thinks)


def test_parts_that_are_no_text_are_no_answer() -> None:
    refusal = {"type": "refusal", "refusal": "I will not."}
    with pytest.raises(SetAside, match="I will not"):
        Reply().add({"choices": [{"message": {"content": [refusal]}}]}, ReplyLimits(1000, 0))
    for part in ({"type": "image_url", "image_url": "x"}, {"type": "text"}, {"type": "text", "text": 5}, "text", None):
        with pytest.raises(Transient, match="another form"):
            Reply().add({"choices": [{"message": {"content": [part]}}]}, ReplyLimits(1000, 0))
    alone = Reply()
    alone.add({"choices": [{"message": {"content": {"type": "text", "text": "a"}}}]}, ReplyLimits(1000, 0))
    assert alone.text == "a"


@pytest.mark.parametrize("body", ["{}", '{"choices": []}', '{"choices": null, "usage": {"prompt_tokens": 1}}'])
def test_a_reply_without_an_answer_is_no_answer(body: str) -> None:
    with pytest.raises(Transient, match="no choices"):
        reply_of(body.encode(), "application/json")
    with pytest.raises(Transient, match="no choices"):
        reply_of(f"data: {body}\n\ndata: [DONE]\n\n".encode(), "text/event-stream")


def test_of_several_answers_one_is_read() -> None:
    choices: list[Any] = [{"index": n, "delta": {"content": f"{n}"}} for n in (1, 0, 1, 2)]
    data = "".join(f"data: {json.dumps({'choices': [choice]})}\n\n" for choice in choices) + "data: [DONE]\n\n"
    assert reply_of(data.encode(), "text/event-stream").text == "11"
    assert reply_of(json.dumps({"choices": choices}).encode(), "application/json").text == "1"


def test_halves_of_a_character_are_put_together() -> None:
    texts = ["a\ud83e", "\udd86b", "\ud83e"]
    data = "".join(f"data: {json.dumps({'choices': [{'delta': {'content': t}}]})}\n\n" for t in texts)
    assert reply_of(f"{data}data: [DONE]\n\n".encode(), "text/event-stream").text == "a🦆b\ufffd"


def test_an_answer_in_one_piece_is_no_longer_than_the_limit() -> None:
    body = json.dumps({"choices": [{"message": {"content": "a" * 100_000}}]}).encode()
    reply = reply_of(body, "application/json", longest=100)
    assert reply.text == "a" * 100
    assert "100000 bytes" in reply.cut


ODDITIES: dict[str, Any] = {
    "model": st.sampled_from([{}, [MODEL], 5, True, "\ud83e"]),
    "usage": st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("prompt_tokens", "completion_tokens", "cost"),
            st.sampled_from([-1, True, "1", 1.5, float("nan"), float("inf"), 10**400, [], None]),
        ),
    ),
    "error": st.sampled_from([None, "", {}, {"code": "²", "message": []}, {"code": "9" * 5000}, {"code": 200}, 5]),
    "choices": st.lists(
        st.fixed_dictionaries(
            {"message": st.sampled_from([{"content": "Ada"}, {"content": "\ud83e"}, {"content": None}, {}, None, 5])},
            optional={
                "index": st.sampled_from([0, None, "0", []]),
                "finish_reason": st.sampled_from(["stop", None, {}, 5, "tool_calls"]),
                "logprobs": st.sampled_from([[], [1], {"content": "abc"}, {"tokens": ["a"]}, 5])
                | st.builds(
                    lambda written, logprob: {"content": [{"bytes": written, "logprob": logprob}]},
                    st.sampled_from([None, [65, 100, 97], [300], "ab", 10**13, [-1]]),
                    st.sampled_from([None, -0.1, 5, float("nan"), float("-inf"), "x", 10**400]),
                ),
            },
        ),
        max_size=2,
    ),
}


@given(st.fixed_dictionaries({}, optional=ODDITIES))
def test_whatever_a_reply_holds_it_is_an_answer_or_a_failure(record: dict[str, Any]) -> None:
    reply, accounts = Reply(), Accounts(1.0, 1.0)
    try:
        reply.add(json.loads(json.dumps(record)), ReplyLimits(100, 0))
        reply.end()
    except (Failed, InReply):
        pass
    else:
        related(MODEL, reply.model, frozenset())
        made = generation_of(request(), "none", reply, accounts.counts, Usage(1, 1))
        assert len(made.ends) == len(made.logprobs)
        assert all(logprob <= 0 for logprob in made.logprobs)
    accounts.spend(reply, "prompt")
    assert 0 <= accounts.cost < 1e9
    assert "nan" not in "".join(accounts.lines())


@settings(max_examples=30)
@given(st.text(min_size=1), st.data(), st.sampled_from(["", " ", "\n"]))
def test_scores_are_of_the_tokens_that_were_written(text: str, data: st.DataObject, lead: str) -> None:
    answer = text.encode("utf-8", "replace")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer)), max_size=5)) | {len(answer)})
    spans = list(zip([0, *cuts[:-1]], cuts, strict=True))
    tokens: list[tuple[bytes | None, float]] = [(answer[a:b], -1.0 - n) for n, (a, b) in enumerate(spans)]
    if lead and tokens[0][0] is not None:
        tokens[0] = (lead.encode() + tokens[0][0], -1.0)
    tokens.append((None, -0.5))  # the end of the turn
    reply = Reply(text, tokens, finish="stop")
    made = generation_of(request(), "none", reply, Accounts().counts, Usage(1, 1))
    assert made.ends == tuple(cuts)
    assert made.logprobs == tuple(-1.0 - n for n in range(len(cuts)))
    counts = Accounts().counts
    other = generation_of(request(), "none", Reply(text, [(b"\xffother", -1.0)]), counts, Usage(1, 1))
    assert (other.ends, other.logprobs, counts["unscored"]) == ((), (), 1)


def test_a_character_that_several_tokens_write_has_the_log_probabilities_of_all() -> None:
    """As vLLM tells them: all bytes of such a character with its last token, none with those before."""
    tokens: list[tuple[bytes | None, float]] = [(b"", -1.0), ("öl".encode(), -2.0), (b"", -3.0), (b"", -4.0)]
    tokens += [(" 東".encode(), -5.0), (b"", -6.0), (b"a", -7.0), (b"", -8.0)]
    made = generation_of(request(), "none", Reply("öl 東a", tokens), Accounts().counts, Usage(1, 1))
    assert made.ends == (1, 3, 5, 6, 7, 8)  # a token without a byte of its own is left out
    assert made.logprobs == (-1.0, -2.0, -3.0, -4.0, -5.0, -7.0)


def test_entities_have_scores_where_the_server_gives_log_probabilities() -> None:
    words = ["<PER>", "Ada", "</PER>", " left Rome."]
    logprobs = [{"token": w, "bytes": list(w.encode()), "logprob": -0.1 * n} for n, w in enumerate(words)]
    with Endpoint(lambda *_: Say("".join(words), logprobs=logprobs)) as endpoint:
        found = extractor(endpoint).extract(TEXT)
        without = extractor(endpoint, logprobs=False).extract("Ada left Rome!")
        assert "logprobs" not in endpoint.bodies[-1]
    assert found.uncalibrated_scores
    assert [e.score for e in found.entities] == [pytest.approx(0.8187, abs=1e-3)]
    assert without.text


# -- waiting


@given(st.integers(0, 2000), st.floats(0, 10), st.floats(0.001, 100), st.integers())
def test_waits_grow_up_to_the_longest_and_differ(attempt: int, first: float, longest: float, seed: int) -> None:
    whole = min(longest, first * 2.0 ** min(attempt, 30))
    assert whole / 2 <= wait_time(attempt, first, longest, Random(seed)) <= whole


@given(st.text())
def test_what_a_server_asks_for_is_read_or_not_there(said: str) -> None:
    wait = retry_after({"retry-after": said})
    assert wait is None or wait >= 0


def test_a_server_asks_to_wait_in_seconds_or_until_a_date() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    then = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": then}, now) == 90
    assert retry_after({"retry-after": format_datetime(now - timedelta(days=1))}, now) == 0
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "nan"}) is None
    assert retry_after({}) is None


def test_all_requests_wait_where_the_server_asks_for_it() -> None:
    """The time of the calls is the server's: none comes between its refusal and the moment that it names."""
    calls: list[tuple[float, bool]] = []

    def script(body: dict[str, Any], before: int) -> Step:
        refused = not any(no for _, no in calls) and len(calls) == 3
        calls.append((time.monotonic(), refused))
        return Status(429, headers={"Retry-After": "0.4"}) if refused else copy(body, 0)

    with Endpoint(script) as endpoint:
        list(extractor(endpoint, concurrency=1).pipe([f"Ada {i}." for i in range(8)]))
    (at,) = [number for number, (_, refused) in enumerate(calls) if refused]
    assert calls[at + 1][0] - calls[at][0] >= 0.4


# -- wrong calls


@given(st.integers(100, 599), st.text(), st.booleans())
def test_each_status_is_a_failure_of_the_request_or_of_the_job(status: int, said: str, seen: bool) -> None:
    assert isinstance(of_status(status, said, None, URL, "", seen), Failed | GennerError)


def test_what_is_no_endpoint_is_said() -> None:
    with Endpoint(copy) as endpoint:
        endpoint.pages["/v1/models"] = {"hello": "world"}
        with pytest.raises(UsageError, match="is no OpenAI-compatible endpoint"):
            extractor(endpoint)
        endpoint.pages["/v1/models"] = Status(404)
        with pytest.raises(UsageError, match=r"/models lists no models \(status 404\): correct --base-url"):
            extractor(endpoint, model="")
        endpoint.pages["/v1/chat/completions"] = Status(404)
        with pytest.raises(UsageError, match=r"/chat/completions answers 404.*, and its address up to /v1 with --base"):
            extractor(endpoint)
        endpoint.pages["/v1/chat/completions"] = Status(501)
        with pytest.raises(UsageError, match=r"answers 501.*--base-url"):
            extractor(endpoint)
        del endpoint.pages["/v1/chat/completions"]
        assert extractor(endpoint).extract(TEXT).entities  # some servers list no models
        assert [body for body in endpoint.bodies if not body["messages"]] == []
        endpoint.pages["/v1/models"] = Status(500)
        with pytest.raises(ModelError, match=r"answers 500.*asked 2 times"):
            extractor(endpoint, retries=1)
    with pytest.raises(ModelError, match=r"cannot be reached .*start the server"):
        HttpEngine.load(options=HttpOptions(endpoint.url, cache="none"))


def test_an_address_without_its_path_is_completed() -> None:
    with Endpoint(copy) as endpoint:
        ner = Extractor(HttpEngine(HttpOptions(endpoint.url.removesuffix("/v1"), cache="none")), XML, LABELS)
        assert engine_of(ner).name == MODEL  # the only one
        assert engine_of(ner).facts.base_url == endpoint.url
        assert ner.extract(TEXT).entities


def test_odd_facts_about_a_model_do_no_harm() -> None:
    """Lists of ten thousand models, names that are none, aliases that are no list, a window that is no number."""
    odd = {"id": MODEL, "aliases": 5, "root": {}, "parent": [1], "meta": 3, "max_model_len": True}
    many: list[Any] = [{"id": f"org/model-{number}"} for number in range(10_000)]
    for entries, model, said in (
        ([odd, *many], MODEL, ""),
        (many, "org/modell-77", "it has: org/model-77"),
        ([{"id": "\ud83e"}], "", "characters that are none"),
        ([], "\udcff", "characters that are none"),
    ):
        with Endpoint(copy) as endpoint:
            endpoint.pages["/v1/models"] = {"data": entries}
            if said:
                with pytest.raises(UsageError, match=said):
                    extractor(endpoint, model=model)
            else:
                assert extractor(endpoint, model=model).engine.window is None


def test_a_model_is_named_or_the_only_one() -> None:
    with Endpoint(copy, models=["one", "two"]) as endpoint:
        with pytest.raises(UsageError, match="name a model of the server with --model; it has: one, two"):
            extractor(endpoint, model="")
        with pytest.raises(UsageError, match=r"has no model 'ones'; it has: one, two \(any_model=true"):
            extractor(endpoint, model="ones")
        assert engine_of(extractor(endpoint, model="ones", any_model=True)).name == "ones"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": ""}, "no endpoint is named; give --base-url"),
        ({"base_url": "localhost:8000/v1"}, "did you mean http://localhost:8000/v1"),
        ({"base_url": "ftp://x/v1"}, "starts with http:// or https://"),
        ({"base_url": "http://me:secret@x/v1"}, "holds a name, a password or a query"),
        ({"base_url": "http://x/v1?key=secret"}, "holds a name, a password or a query"),
        ({"base_url": "http://x:port/v1"}, "is no address"),
        ({"structured": "xml"}, "structured='xml' is unknown; legal: auto, genner, gbnf"),
        ({"concurrency": -1}, "concurrency=-1; legal: 0 or more"),
        ({"give_up": 0}, "give_up=0; legal: 1 or more"),
        ({"retries": -1}, "retries=-1; legal: 0 or more"),
        ({"total_timeout": 0.0}, "total_timeout=0.0; legal: more than 0 seconds"),
        ({"key_env": "sk-secret"}, r"key_env=\.\.\.; legal: the name of a variable"),
        ({"body": "{"}, "is no JSON"),
        ({"max_wait": float("inf")}, "max_wait=inf; legal: more than 0 seconds"),
        ({"price_in": float("nan")}, "price_in=nan; legal: 0 or more"),
        ({"base_url": "http://x:99999/v1"}, "is no address"),
        ({"base_url": "http://x/v1\n/y"}, "is no address"),
        ({"base_url": "http://\U0001f600.invalid/v1"}, "is no address"),
        ({"base_url": "http://x/\udcff/v1"}, "is no address"),
        ({"body": "[1]"}, "is no JSON object"),
        ({"body": '{"a": NaN}'}, "is no JSON"),
        ({"body": '{"a": "\\ud83d"}'}, "is no JSON"),
        ({"body": '{"a":' * 5000}, "is no JSON"),
        ({"body": '{"model": "x"}'}, "'model' is set by genner"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        HttpOptions(**({"base_url": URL} | options))
    assert "secret" not in str(error.value)


def test_addresses_may_be_those_of_the_calls() -> None:
    for end in ("", "/", "/chat/completions", "/models"):
        assert HttpOptions(f"http://x/v1{end}").base_url == "http://x/v1"


@pytest.mark.parametrize(
    ("asked", "said", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("tiny", "", True),
        ("meta/Tiny", "tiny", True),
        ("tiny", "/models/tiny.gguf", True),
        ("tiny:latest", "tiny", True),
        ("tiny", "alias", True),
        ("tiny", "other", False),
        ("tiny-8b", "tiny", False),
    ],
)
def test_another_model_is_told_from_another_name(asked: str, said: str, same: bool) -> None:
    assert related(asked, said, frozenset({"alias"})) == same


@settings(max_examples=30)
@given(st.sampled_from(sorted(FORMATS)), st.text(min_size=1, max_size=80))
def test_the_longest_answer_fits_the_budget(form: str, text: str) -> None:
    """No legal answer is cut off: a walk that opens whatever it may stays below the limit."""
    asked = request(form, text.encode("utf-8", "replace").decode())
    limits = Budget.of(asked, HttpOptions(URL), None).limits
    answer = asked.grammar.draft(asked.grammar.start(), 1 << 20)
    assert walk(asked.grammar, asked.grammar.start(), answer) is not None
    assert len(answer) <= limits.answer


def test_a_stream_that_is_cut_at_its_limit_stops_the_server() -> None:
    events = b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % (b"x" * 5000)
    with Endpoint(lambda *_: Raw(events, cut=False)) as endpoint:
        made = next(extractor(endpoint).engine.generate([request()]))[1]
    assert not made.complete
    assert made.problems == ("the answer ran away, and was cut off at 5000 bytes",)


def test_a_server_that_cannot_be_reached_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with Endpoint(copy) as endpoint, pytest.raises(ModelError, match=r"no secure connection .*give http://"):
        HttpEngine(HttpOptions(endpoint.url.replace("http:", "https:"), cache="none"))

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ModelError, match=r"http://nowhere/v1/models: no server of this name is known .*spelling"):
        HttpEngine(HttpOptions("http://nowhere/v1", cache="none"))


def test_cached_answers_do_not_hide_that_the_server_is_down(tmp_path: Path) -> None:
    path, down = str(tmp_path / "answers.sqlite"), threading.Event()
    texts = [f"Ada {i}." for i in range(20)]
    with Endpoint(lambda body, before: Status(500) if down.is_set() else copy(body, before)) as endpoint:
        list(extractor(endpoint, cache=path).pipe(texts[::2]))
        down.set()
        with pytest.raises(ModelError, match="4 requests failed one after the other"):
            list(extractor(endpoint, cache=path, retries=0, give_up=4, concurrency=1).pipe(texts))
    assert sum(endpoint.asked[text] for text in texts[1::2]) == 4


# -- the command


def test_the_command_asks_an_endpoint_and_tells_what_it_cost(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SOME_KEY", "sk-secret-4711")
    price = ["--engine-option", "price_in=1", "--engine-option", "price_out=2.5"]
    with Endpoint(copy, key="sk-secret-4711") as endpoint:
        call = [
            "extract",
            "--text",
            TEXT,
            "--labels",
            "PER,LOC",
            "--engine",
            "http",
            "--base-url",
            endpoint.url,
            *price,
        ]
        code, out, err = run(*call, "--dry-run")
        assert (code, out, endpoint.bodies, endpoint.authorizations) == (0, "", [], set())
        assert re.search(r"requests: 1; nothing was asked\ntokens, estimated .*\ncost: about 0.0001, at most", err)
        code, out, err = run(*call)
        assert (code, out) == (2, "")
        assert "name that with --engine-option key_env=NAME" in err
        code, out, err = run(*call, "--engine-option", "key_env=SOME_KEY")
        assert code == 0
        assert [e["text"] for e in json.loads(out)["entities"]] == ["Ada"]
        assert "it constrains answers in JSON formats: --format grouped_json" in err
        assert "requests: 1 (1 answered); calls: 1\ntokens paid for: 100 of prompts, 10 of answers; cost 0.0001" in err
        code, out, err = run(*call, "--engine-option", "key_env=SOME_KEY")
        assert "requests: 1 (0 answered, 1 from the cache, 110 tokens not paid again); calls: 0" in err
        endpoint.script = lambda *_: Status(402)
        code, out, err = run(*call, "--engine-option", "key_env=SOME_KEY", "--engine-option", "cache=none")
        assert code == 1
        assert "no credit" in err
        assert "calls: 1" in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "no endpoint is named; give --base-url"),
        (["--base-url", URL, "--engine-option", "concurency=3"], "did you mean 'concurrency'?"),
        (["--base-url", URL, "--engine-option", "concurrency=many"], "'many' is not of type int"),
    ],
)
def test_a_wrong_command_is_refused(more: list[str], said: str, run: Run) -> None:
    code, out, err = run("extract", "--text", TEXT, "--engine", "http", *more)
    assert (code, out) == (2, "")
    assert said in err
    code, _, err = run("extract", "--text", TEXT, "--dry-run")
    assert code == 2
    assert "give --engine http" in err


def test_the_answers_are_kept_in_the_folder_of_genner(monkeypatch: pytest.MonkeyPatch) -> None:
    """As all else that is kept, `~nobody` included, which is a name like any other."""
    for folder in ("/some/where", "~nobody-of-this-name"):
        monkeypatch.setenv("GENNER_HOME", folder)
        assert default_path() == Path(folder) / "answers.sqlite"
