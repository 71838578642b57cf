"""A server that fails in every way: each document is answered or set aside with its reason; nothing is paid twice."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.engines.endpoint import MODEL, Endless, Endpoint, Raw, Say, Script, Status, Step

from genner.document import Document, Entity, LabelSet
from genner.engines.http import HttpEngine, HttpOptions
from genner.errors import GennerError, ModelError, UsageError
from genner.extract import Extractor
from genner.formats import get_format

LABELS = LabelSet.of("PER", "LOC")
FORM = get_format("grouped_json")
TEXT = "Ada left Rome."
QUICK: dict[str, Any] = {"cache": "none", "backoff": 0.001, "retries": 3}


def gold(text: str) -> str:
    """The right answer about a text with Ada in it."""
    start = text.index("Ada")
    return FORM.encode(Document(text, (Entity(start, start + 3, "PER"),)), LABELS)


def asked_about(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"]).split("\nText:\n", 1)[1]


def extractor(endpoint: Endpoint, **options: Any) -> Extractor:
    engine = HttpEngine.load(name=MODEL, options=HttpOptions(endpoint.url, **(QUICK | options)))
    return Extractor(engine, FORM, LABELS)


def engine_of(ner: Extractor) -> HttpEngine:
    assert isinstance(ner.engine, HttpEngine)
    return ner.engine


def first_then_well(step: Step) -> Script:
    """`step` at the first time, then the right answer."""
    return lambda body, before: Say(gold(asked_about(body))) if before else step


# -- one failure, then the right answer

EVENT = b'data: {"choices": [{"delta": {"content": "{\\"PER\\": "}}]}\n\n'
PASSING = {
    "429": Status(429),
    "429, in seconds": Status(429, headers={"Retry-After": "0"}),
    "429, a date": Status(429, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "500": Status(500, "<html>Internal Server Error</html>"),
    "503": Status(503, "", {"Retry-After": "0.01"}),
    "529": Status(529),
    "cut connection": Raw(EVENT),
    "cut before anything": Raw(b""),
    "half JSON": Raw(EVENT + b'data: {"choices": [{"del'),
    "half JSON, ended": Raw(b'data: {"choices": [{"del\n\n'),
    "no end of a line": Raw(b"data: " + b"x" * (1 << 20)),
    "no object": Raw(b"data: [1, 2]\n\n"),
    "other form": Raw(b'data: {"choices": [3]}\n\n'),
    "error in the stream": Raw(b'data: {"error": {"code": 502, "message": "provider is down"}}\n\n'),
    "error without a code": Raw(b'data: {"error": "provider is down"}\n\n'),
    "wrong model": Say('{"PER": ["Rome"], "LOC": []}', model="another-model"),
    "no UTF-8": Raw(b"data: \xff\xfe\n\n"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("step", PASSING.values(), ids=PASSING)
def test_a_failure_that_passes_is_repeated(step: Step, stream: bool) -> None:
    with Endpoint(first_then_well(step)) as endpoint:
        ner = extractor(endpoint, stream=stream)
        found = ner.extract(TEXT)
        accounts = engine_of(ner).accounts
    assert [e.text for e in found.entities] == ["Ada"]
    assert not found.problems
    assert endpoint.asked[TEXT] == 2
    assert accounts.counts["answered"] == 1
    assert accounts.counts["calls"] == 2
    assert sum(accounts.repeated.values()) == 1


@pytest.mark.parametrize(
    ("step", "options", "kind"),
    [
        (Raw(b"", cut=False), {"read_timeout": 0.1}, "time-out"),
        (Raw(EVENT, cut=False), {"read_timeout": 0.1}, "time-out"),
        (Endless("", pause=0.02), {"total_timeout": 0.3}, "time-out"),
    ],
    ids=["silence", "silence within", "slow drip"],
)
def test_time_is_limited(step: Step, options: dict[str, Any], kind: str) -> None:
    """Each time: a busy machine may make a good answer late, so nothing is said of that."""
    with Endpoint(lambda *_: step) as endpoint:
        ner = extractor(endpoint, **options, retries=1)
        found = ner.extract(TEXT)
        assert engine_of(ner).accounts.repeated == {kind: 2}
    assert [p.kind for p in found.problems] == ["failed"]
    assert "asked 2 times" in found.problems[0].detail


# -- answers that are not what was asked for

ODD: dict[str, tuple[Step, list[str], str]] = {
    "prose": (Say("I see Ada, who is a person."), [], "invalid"),
    "prose around": (Say('Here it is:\n```json\n{"PER": ["Ada"], "LOC": []}\n```'), ["Ada"], "invalid"),
    "another sentence": (Say('{"PER": ["Bob"], "LOC": ["Paris"]}'), [], "dropped"),
    "thinking": (Say('<think>{"PER": ["Rome"]} no</think>{"PER": ["Ada"], "LOC": []}'), ["Ada"], "invalid"),
    "half JSON": (Say('{"PER": ["Ada"], "LOC": ["Ro', finish="length"), ["Ada"], "truncated"),
    "nothing": (Say(""), [], "invalid"),
    "runs away": (Endless('{"PER": ["Ada"], "LOC": ['), ["Ada"], "truncated"),
}


@pytest.mark.parametrize(("step", "entities", "kind"), ODD.values(), ids=ODD)
def test_an_odd_answer_is_repaired_and_counted(step: Step, entities: list[str], kind: str) -> None:
    with Endpoint(lambda *_: step) as endpoint:
        ner = extractor(endpoint)
        found = ner.extract(TEXT)
        counts = engine_of(ner).accounts.counts
    assert [e.text for e in found.entities][:1] == entities
    assert kind in {p.kind for p in found.problems}
    assert counts["illegal"] == 1
    assert endpoint.asked[TEXT] == 1
    if kind == "truncated":
        assert counts["cut by server"] + counts["cut off"] == 1
        assert "engine" in {p.kind for p in found.problems}


def test_reasoning_is_cut_off_unless_it_is_allowed() -> None:
    thinking = Say(gold(TEXT), thinking="Ada is a person. " * 100)
    endless = Endless("<think> hm ")
    with Endpoint(lambda *_: thinking) as endpoint:
        cut, whole = (extractor(endpoint, thinking_tokens=n).extract(TEXT) for n in (0, 500))
    assert "thinking_tokens" in cut.problems[0].detail
    assert ([e.text for e in whole.entities], whole.problems) == (["Ada"], ())
    with Endpoint(lambda *_: endless) as endpoint:
        found = extractor(endpoint, thinking_tokens=50).extract(TEXT)
    assert "thinking_tokens" in found.problems[0].detail
    assert not found.entities


# -- failures of one document, and of the job

SET_ASIDE = {
    "too long": (
        Status(400, '{"error": {"message": "maximum context length is 10 tokens"}}'),
        "too long for the model",
    ),
    "413": (Status(413), "too long for the model"),
    "filtered": (Status(400, '{"error": {"code": "content_filter", "message": "no"}}'), "filter"),
    "withheld": (Say("", finish="content_filter"), "filter withholds"),
    "refused": (Status(422, '{"detail": "cannot do that"}'), "cannot do that"),
    "always down": (Status(500), "answers 500: scripted (asked 4 times)"),
    "another model": (Say("{}", model="other"), "from the model 'other', not 'tiny'"),
    "long wait": (Status(429, headers={"Retry-After": "1000"}), "asks to wait 1000 s, longer than max_wait=120"),
}


@pytest.mark.parametrize(("step", "reason"), SET_ASIDE.values(), ids=SET_ASIDE)
def test_what_concerns_one_document_sets_it_aside(step: Step, reason: str) -> None:
    with Endpoint(lambda body, _: step if "bad" in asked_about(body) else Say(gold(asked_about(body)))) as endpoint:
        found = list(extractor(endpoint).pipe(["Ada left.", "Ada is bad.", "Ada stays."]))
    assert [[e.text for e in each.entities] for each in found] == [["Ada"], [], ["Ada"]]
    assert [[p.kind for p in each.problems] for each in found] == [[], ["failed"], []]
    assert reason in found[1].problems[0].detail


STOP = {
    "key": (Status(401), UsageError, "refuses the key"),
    "model": (
        Status(404, '{"error": {"message": "model tiny does not exist"}}'),
        UsageError,
        "does not exist.*--model",
    ),
    "credit": (Status(402), ModelError, "no credit"),
    "quota": (Status(429, '{"error": {"code": "insufficient_quota", "message": "x"}}'), ModelError, "no credit"),
    "elsewhere": (Status(301, "", {"Location": "http://other/"}), UsageError, "to http://other/"),
    "down": (Status(500), ModelError, "3 requests failed one after the other, the last: the server answers 500"),
    "no model of ours": (Say("{}", model="other"), GennerError, "other"),
}


@pytest.mark.parametrize(("step", "kind", "said"), STOP.values(), ids=STOP)
def test_what_concerns_the_job_stops_it(step: Step, kind: type[GennerError], said: str) -> None:
    with Endpoint(lambda *_: step) as endpoint:
        ner = extractor(endpoint, give_up=3, concurrency=1)
        with pytest.raises(kind, match=said):
            list(ner.pipe([f"Ada {i}." for i in range(100)]))
    assert sum(endpoint.asked.values()) <= 4 * 4


def test_texts_that_failed_when_the_server_went_down_are_not_done() -> None:
    """The job stops, and gives none of the last failures out; one that an answer follows is given out."""

    def script(body: dict[str, Any], before: int) -> Step:
        number = int(asked_about(body).split()[1])
        return Status(500) if number == 2 or number >= 6 else Say(gold(asked_about(body)))

    found = []
    with Endpoint(script) as endpoint:
        predictions = extractor(endpoint, give_up=4, concurrency=1).pipe([f"Ada {i} left." for i in range(100)])
        found += [[p.kind for p in each.problems] for each in islice(predictions, 6)]
        with pytest.raises(ModelError, match="4 requests failed one after the other"):
            next(predictions)
    assert found == [[], [], ["failed"], [], [], []]


# -- a thousand requests, one in five of which fails; killed, and resumed

NUMBER = 1000
FAILING = [
    *(step for kind, step in PASSING.items() if kind not in ("429, a date", "no UTF-8")),
    *(step for step, _, _ in ODD.values()),
    *(step for step, _ in (SET_ASIDE["too long"], SET_ASIDE["filtered"], SET_ASIDE["refused"])),
    Status(500, '{"error": {"message": "for ever"}}'),
]


def thousand(body: dict[str, Any], before: int) -> Step:
    text = asked_about(body)
    number = int(text.split()[1])
    if number % 5:
        return Say(gold(text))
    step = FAILING[number // 5 % len(FAILING)]
    passes = step in PASSING.values()
    return Say(gold(text)) if passes and before else step


def run_command(folder: Path, endpoint: Endpoint, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "genner", "extract", "texts.jsonl", "--out", "out.jsonl", "--engine", "http"]
    command += ["--base-url", endpoint.url, "--format", "grouped_json", "--labels", "PER,LOC", "--engine-option"]
    command += ["backoff=0.001", "--engine-option", "retries=2", "--engine-option", "key_env=A_KEY", *more]
    environment = os.environ | {"GENNER_HOME": str(folder / "home"), "A_KEY": "secret-1234"}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE)


def test_a_thousand_requests_one_in_five_failing_killed_and_resumed(tmp_path: Path) -> None:
    texts = [f"Ada {number} left." for number in range(NUMBER)]
    lines = [json.dumps({"id": str(number), "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    with Endpoint(thousand, key="secret-1234") as endpoint:
        first = run_command(tmp_path, endpoint)
        while endpoint.paid.total() < 400 and first.poll() is None:
            time.sleep(0.005)
        assert first.poll() is None, first.communicate()[1]
        first.send_signal(signal.SIGKILL)
        first.communicate()
        at_kill = set(endpoint.paid)
        second = run_command(tmp_path, endpoint, "--resume")
        _, told = second.communicate()
        assert second.returncode == 0, told
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [each["text"] for each in found] == texts  # none left out, none twice, in order
    kinds = [{problem["kind"] for problem in each.get("problems", ())} for each in found]
    for number, (each, seen) in enumerate(zip(found, kinds, strict=True)):
        step = FAILING[number // 5 % len(FAILING)] if number % 5 == 0 else None
        passes = step is None or step in PASSING.values()
        assert bool(seen) != passes, (number, each)
        assert ("failed" in seen) == (step in FAILING[-4:]), (number, each)
        if passes:
            assert [e["text"] for e in each["entities"]] == ["Ada"], each
    # An answer that was on its way when the process was killed is lost; all others are paid once.
    wrong = {
        text for i, text in enumerate(texts) if i % 5 == 0 and FAILING[i // 5 % len(FAILING)] == PASSING["wrong model"]
    }
    twice = {text for text, times in endpoint.paid.items() if times > 1} - wrong
    assert len(twice) <= HttpOptions(endpoint.url).open_at_once()
    assert twice <= at_kill
    assert all(endpoint.paid[text] <= 3 for text in wrong)
    assert "failed and were repeated or given up" in told, told
    assert re.search(r"no answer for \d+ parts", told), told
    everything = told + "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert "secret-1234" not in everything
