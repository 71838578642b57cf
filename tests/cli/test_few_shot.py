"""`genner extract` with demonstrations and verification, on an engine without weights."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from genner.engines.base import Request
from genner.engines.scripted import ScriptedEngine
from genner.few_shot.verification import QuestionContext

Run = Callable[..., tuple[int, str, str]]
CALL = ("extract", "--text", "Ann saw Rome.", "--engine", "scripted", "--labels", "PER,LOC", "--format", "gpt_ner")
POOL = [
    {"id": "1", "text": "Rome is far.", "entities": [{"start": 0, "end": 4, "label": "LOC"}]},
    {"id": "2", "text": "Bob left.", "entities": [{"start": 0, "end": 3, "label": "PER"}]},
    {"id": "3", "text": "Bob  LEFT.", "entities": [{"start": 0, "end": 3, "label": "PER"}]},
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Request]:
    """The requests that come in; Ann and Rome are found as whatever is asked for, and Rome is denied."""
    requests: list[Request] = []

    def answer(request: Request) -> str:
        requests.append(request)
        if isinstance(request.context, QuestionContext):
            return "No" if request.context.entity.text == "Rome" else "Yes"
        return re.sub("Ann|Rome", lambda match: f"@@{match[0]}##", request.text)

    monkeypatch.setattr(ScriptedEngine, "load", classmethod(lambda cls, *_, **__: cls(answer)))
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(record) + "\n" for record in POOL))
    return requests


def test_demonstrations_and_verification(run: Run, asked: list[Request]) -> None:
    code, out, said = run(*CALL, "--demonstrations", "pool.jsonl", "--shots", "2", "--verify")
    assert code == 0, said
    record = json.loads(out)
    # Each is found as both; the labels do not nest, so of two equally certain ones the first is kept.
    assert [(e["text"], e["label"], e["verified"]) for e in record["entities"]] == [("Ann", "PER", 1)]
    assert record["refuted"] == 1
    assert "sentences to demonstrate: 2; left out: 1 given twice" in said
    assert "verification: 1 entity denied: left out" in said
    assert len(asked) == 2 + 2
    assert all("Bob left." in request.instruction or "Rome is far." in request.instruction for request in asked)


def test_all_labels_in_the_papers_words(run: Run, asked: list[Request]) -> None:
    options = ("--format", "inline_xml", "--label-by-label", "--wording", "gpt_ner")
    assert run(*CALL[:-2], *options)[0] == 0
    assert [request.instruction.split(" entities")[0] for request in asked] == [
        "I am an excellent linguist. The task is to label person (PER)",
        "I am an excellent linguist. The task is to label location (LOC)",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shots", "3"), "give --demonstrations"),
        (("--search", "faiss"), "give --demonstrations"),
        (("--demonstrations", "pool.jsonl", "--search", "near"), "unknown search 'near'"),
        (("--demonstrations", "pool.jsonl", "--retrieval", "entity"), "give --encoder"),
        (("--demonstrations", "pool.jsonl", "--retrieval", "near"), "unknown retrieval 'near'"),
        (("--demonstrations", "nothing.jsonl"), "nothing.jsonl"),
        (("--demonstrations", "pool.jsonl", "--labels", "DNA"), "they have: LOC, PER"),
        (("--wording", "poetic"), "known: genner, gpt_ner"),
    ],
)
def test_what_is_refused(run: Run, asked: list[Request], options: tuple[str, ...], said: str) -> None:
    code, out, told = run(*CALL, *options)
    assert (code, out) == (2, "")
    assert said in told
    assert asked == []


def test_other_demonstrations_do_not_go_on_with_an_output(run: Run, asked: list[Request], tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Ann saw Rome.")
    call = ("extract", "text.txt", *CALL[3:], "--demonstrations", "pool.jsonl", "--out", "found.jsonl")
    assert run(*call)[0] == 0
    assert run(*call, "--resume")[0] == 0
    code, _, told = run(*call, "--resume", "--shots", "1")
    assert code == 2
    assert "was begun with shots 8, now 1" in told
