"""Jobs of the HTTP engine that begin too early, are stopped, or cannot keep their answers; what a job would cost."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Run
from tests.engines.endpoint import MODEL, Endpoint, Raw, Say, Status, Step

from genner.document import LabelSet
from genner.engines.http import HttpEngine, HttpOptions
from genner.engines.http.connection import Connection
from genner.engines.http.failures import NO_CONNECTION, TIME_OUT, Transient
from genner.engines.http.open_requests import OpenRequests
from genner.errors import DataError, ModelError
from genner.extract import Extractor
from genner.formats import get_format

LABELS = LabelSet.of("PER", "LOC")
XML = get_format("inline_xml")
LOADING = Status(503, '{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}')
PROPS = {"default_generation_settings": {"n_ctx": 1024}, "total_slots": 2}


def asked_about(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"]).split("\nText:\n", 1)[1]


def copy(body: dict[str, Any], _: int) -> Step:
    """A plain copy, with Ada as a person; yes to a question."""
    content = str(body["messages"][-1]["content"])
    return Say("Yes" if "Question:" in content else asked_about(body).replace("Ada", "<PER>Ada</PER>"))


def engine_at(endpoint: Endpoint, **options: Any) -> HttpEngine:
    given = {"cache": "none", "backoff": 0.001} | options
    return HttpEngine.load(name=MODEL, options=HttpOptions(endpoint.url, **given))


def extractor(engine: HttpEngine) -> Extractor:
    return Extractor(engine, XML, LABELS)


# -- a server that is not ready yet


def test_a_model_that_is_being_loaded_is_waited_for_and_this_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """At the start, and when the server loads it anew; no repetitions are spent on it."""
    pages = iter([LOADING, LOADING, PROPS])
    with Endpoint(lambda body, before: LOADING if before < 3 else copy(body, 0), owner="llamacpp") as endpoint:
        endpoint.pages["/props"] = lambda: next(pages)
        engine = engine_at(endpoint, retries=0)
        assert (engine.facts.kind, engine.window, engine.facts.slots) == ("llama.cpp", 1024, 2)
        found = list(extractor(engine).pipe(["Ada 1.", "Ada 2."]))
    assert [bool(each.entities) for each in found] == [True, True]
    assert not any(each.problems for each in found)
    assert engine.accounts.repeated == {"loading": 6}
    told = [record.getMessage() for record in caplog.records if record.name.startswith("genner.engines")]
    assert [said.count("is loading its model") for said in told] == [1, 1]
    assert all("up to 600 s (loading_wait)" in said for said in told)


def test_the_wait_for_a_model_ends() -> None:
    with Endpoint(copy, owner="llamacpp") as endpoint:
        endpoint.pages["/props"] = LOADING
        with pytest.raises(ModelError, match=r"loading its model .*Loading model; wait for it .*loading_wait=300"):
            engine_at(endpoint, loading_wait=0)
        endpoint.pages["/props"] = PROPS
        endpoint.script = lambda *_: LOADING
        (found,) = extractor(engine_at(endpoint, loading_wait=0, retries=1)).pipe(["Ada 1."])
    assert "loading its model (503): Loading model (asked 2 times)" in found.problems[0].detail


def test_a_server_that_takes_no_connection_yet_is_waited_for_if_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls, get = [], Connection.get

    async def late(self: Connection, address: str) -> Any:
        calls.append(address)
        if len(calls) < 9:
            raise Transient(NO_CONNECTION, "no connection")
        return await get(self, address)

    monkeypatch.setattr(Connection, "get", late)
    with Endpoint(copy) as endpoint:
        with pytest.raises(ModelError, match=r"start the server, correct --base-url, or .* start_wait=300"):
            engine_at(endpoint)
        assert len(calls) == 1
        assert engine_at(endpoint, start_wait=60, retries=0, max_wait=0.001).name == MODEL
    assert caplog.text.count("genner waits for it, up to 60 s (start_wait)") == 1


# -- a server that answers few requests at one time


@pytest.mark.parametrize(("given", "said", "open_at_once"), [(0, 2, 2), (5, 2, 5), (0, None, 8), (0, 64, 8)])
def test_no_more_requests_are_open_than_the_server_answers(
    given: int, said: int | None, open_at_once: int, caplog: pytest.LogCaptureFixture
) -> None:
    together = threading.Barrier(open_at_once, timeout=60)  # each waits until so many are open

    def script(body: dict[str, Any], before: int) -> Step:
        together.wait()
        return copy(body, before)

    with Endpoint(script, owner="llamacpp") as endpoint:
        endpoint.pages["/props"] = PROPS | {"total_slots": said}
        engine = engine_at(endpoint, concurrency=given)
        found = list(extractor(engine).pipe([f"Ada {i}." for i in range(2 * open_at_once)]))
        assert all(each.entities for each in found)
        assert endpoint.most_open == open_at_once
    assert ("answers 2 requests at one time; with concurrency=5" in caplog.text) == bool(given)


@pytest.mark.parametrize(("given", "least"), [(0, 4), (8, 8)])
def test_fewer_requests_are_open_after_time_outs(
    given: int, least: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that does not say how many it answers at one time. Time-outs side by side count once."""
    seen: set[str] = set()
    post, all_wait = Connection.post, asyncio.Event()

    async def slow(self: Connection, address: str, body: dict[str, Any], *rest: Any) -> None:
        text = asked_about(body)
        if text not in seen and len(seen) < 8:
            seen.add(text)
            if len(seen) == 8:
                all_wait.set()
            await all_wait.wait()
            raise Transient(TIME_OUT, "silent")
        await post(self, address, body, *rest)

    monkeypatch.setattr(Connection, "post", slow)
    with Endpoint(copy) as endpoint:
        engine = engine_at(endpoint, concurrency=given)
        found = list(extractor(engine).pipe([f"Ada {i}." for i in range(20)]))
        assert all(each.entities and not each.problems for each in found)
    assert engine._caller.open.most == least
    assert ("4 are open at a time from now on, not 8; set it with --engine-option concurrency=N" in caplog.text) == (
        not given
    )


def test_a_lower_limit_holds_when_the_open_requests_have_ended() -> None:
    async def most_open() -> list[int]:
        limit, seen = OpenRequests(8, adapts=True), []
        open_now = 0

        async def one(begun: float) -> None:
            nonlocal open_now
            async with limit:
                open_now += 1
                seen.append(open_now)
                await asyncio.sleep(0)
                limit.timed_out(begun)
                open_now -= 1

        now = asyncio.get_running_loop().time()
        await asyncio.gather(*(one(now) for _ in range(8)))
        first = max(seen)
        seen.clear()
        await asyncio.gather(*(one(now) for _ in range(8)))
        second = max(seen)
        for _ in range(5):  # of calls begun since then
            limit.timed_out(asyncio.get_running_loop().time() + 1)
        return [first, second, limit.most]

    assert asyncio.run(most_open()) == [8, 4, 1]


# -- a job that is stopped


def test_what_is_given_up_is_counted() -> None:
    """Each request that was sent is in the account when the job has stopped, whatever became of it."""

    def script(body: dict[str, Any], before: int) -> Step:
        return copy(body, 0) if int(asked_about(body).split()[1]) < 4 else Raw(b"", cut=False)

    with Endpoint(script) as endpoint:
        engine = engine_at(endpoint, concurrency=3)
        predictions = extractor(engine).pipe([f"Ada {i} left." for i in range(50)])
        assert len(list(islice(predictions, 4))) == 4
        while endpoint.asked.total() < 7:
            time.sleep(0.005)
        predictions.close()  # type: ignore[attr-defined]
        counts = dict(engine.accounts.counts)
        assert (counts["answered"], counts["interrupted"], counts["calls"]) == (4, 3, 7)
    assert engine.summary()[0] == "requests: 7 (4 answered, 3 interrupted, without an answer); calls: 7"
    assert engine.accounts.prompt == 400


def test_an_interrupted_command_tells_what_it_has_paid_for(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": f"Ada {i} left."}) for i in range(9)))

    def script(body: dict[str, Any], before: int) -> Step:
        if "Ada 4 " not in asked_about(body):
            return copy(body, 0)
        os.kill(os.getpid(), signal.SIGINT)
        return Raw(b"", cut=False)

    with Endpoint(script) as endpoint:
        call = ["extract", "texts.jsonl", "--out", "out.jsonl", "--labels", "PER,LOC", "--engine", "http"]
        call += ["--base-url", endpoint.url, "--engine-option", "concurrency=1"]
        code, _, err = run(*call)
        assert code == 130
        assert "requests: 5 (4 answered, 1 interrupted, without an answer); calls: 5" in err
        assert "tokens paid for: 400 of prompts, 40 of answers" in err
        endpoint.script = copy
        # How many documents were written when the signal came is a matter of moments; the rest is in the cache.
        code, _, err = run(*call, "--resume", "--dry-run")
        requests, kept = re.findall(r"requests: (\d+)(?:, (\d+) of them in the cache)?", err)[0]
        assert int(requests) - int(kept or 0) == 5
        written = re.findall(r"documents that out.jsonl has already: (\d+), which cost nothing", err)
        assert int(requests) + int(written[0] if written else 0) == 9
        code, _, err = run(*call, "--resume")
        assert (code, set(endpoint.paid.values())) == (0, {1})


# -- answers that cannot be kept


@pytest.mark.parametrize("reason", ["full", "readonly", "locked"])
def test_a_cache_that_takes_no_more_stops_the_job_and_what_was_paid_for_is_given_out(
    reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, texts = tmp_path / "answers.sqlite", [f"Ada {i} left." for i in range(40)]
    other = sqlite3.connect(path, isolation_level=None)
    with Endpoint(copy) as endpoint:
        engine = engine_at(endpoint, cache=str(path), concurrency=3)
        list(extractor(engine).pipe(texts[:2]))
        store = engine._caller.store
        assert store is not None
        if reason == "full":
            pages = store._db.execute("PRAGMA page_count").fetchone()[0]
            store._db.execute(f"PRAGMA max_page_count = {pages}")
        elif reason == "readonly":
            store._db.execute("PRAGMA query_only = ON")
        else:
            store._db.execute("PRAGMA busy_timeout = 1")
            other.execute("BEGIN IMMEDIATE")
        found: list[str] = []
        with pytest.raises(DataError, match=rf"{reason}.*; give another file, .* with --engine-option cache=FILE"):
            found.extend(each.text for each in extractor(engine).pipe(texts))
        assert 2 < len(found) < len(texts)
        assert set(found) == set(endpoint.paid)
        # If nothing is left to ask, no error tells it.
        caplog.clear()
        assert extractor(engine).extract("Ada, the last.").entities
        assert reason in caplog.text
        other.close()
        rest = texts[len(found) :]
        list(extractor(engine_at(endpoint, cache=str(path))).pipe(rest))
        assert set(endpoint.paid.values()) == {1}


def test_a_folder_that_cannot_hold_a_cache_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Endpoint(copy) as endpoint:
        for path in (tmp_path, tmp_path / "file" / "a.sqlite", Path("/proc/a.sqlite")):
            with pytest.raises(DataError, match="or give cache=none"):
                engine_at(endpoint, cache=str(path))
        assert not endpoint.bodies


# -- what a job would cost


@pytest.mark.parametrize("named", [False, True])
def test_a_price_has_the_questions_of_verification_and_knows_the_cache(
    named: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    lines = [json.dumps({"text": f"Ada {i} left {'and left ' * 9}."}) for i in range(5)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    with Endpoint(copy) as endpoint:
        endpoint.text_of = lambda body: str(body["messages"][-1]["content"])  # type: ignore[method-assign]
        call = ["extract", "texts.jsonl", "--labels", "PER,LOC", "--engine", "http", "--base-url", endpoint.url]
        call += ["--model", MODEL] if named else []
        without = [int(re.findall(r"estimated from characters: (\d+)", run(*call, "--dry-run")[2])[0])]
        code, out, err = run(*call, "--verify", "--dry-run")
        assert (code, out, endpoint.asked.total()) == (0, "", 0)
        assert "requests: 10; nothing was asked" in err
        assert "of the requests 5 are questions of --verify about entities that are not known yet" in err
        assert int(re.findall(r"estimated from characters: (\d+)", err)[0]) > without[0]
        assert run(*call, "--verify")[0] == 0
        asked = endpoint.asked.total()
        code, _, err = run(*call, "--verify", "--dry-run")
        assert f"requests: {asked}, {asked} of them in the cache ({asked * 110} tokens not paid again)" in err
        assert "not known yet" not in err
        assert (asked, endpoint.asked.total()) == (10, 10)


def test_a_price_asks_no_encoder_that_is_a_server_and_writes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENNER_HOME", str(tmp_path / "home"))
    gold = {"text": "Ada left.", "entities": [{"start": 0, "end": 3, "label": "PER"}]}
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(gold | {"text": f"Ada left {i}."}) for i in range(9)))
    with Endpoint(copy) as endpoint:
        call = ["extract", "--text", "Bob came.", "--labels", "PER", "--engine", "http", "--base-url", endpoint.url]
        call += ["--demonstrations", "train.jsonl", "--shots", "3", "--encoder", f"{endpoint.url}#small"]
        code, _, err = run(*call, "--dry-run")
        assert (code, endpoint.authorizations) == (0, set())  # no call of any kind
        assert "drawn at random, as the encoder is a server" in err
        assert "requests: 1; nothing was asked" in err
        assert run(*call, "--dry-run", "--retrieval", "near")[0] == 2
    assert not (tmp_path / "home").exists()
