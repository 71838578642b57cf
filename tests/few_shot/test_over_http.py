"""Demonstrations and verification through a server that answers freely, and fails now and then."""

import re
from typing import Any

from tests.engines.endpoint import MODEL, Endpoint, Say, Status, Step
from tests.few_shot.made_up import POOL

from genner.document import LabelSet
from genner.engines.http import HttpEngine, HttpOptions
from genner.extract import Extractor
from genner.few_shot import FewShot, SelfVerification
from genner.formats import get_format

LABELS = LabelSet.of("PER", "LOC")


def answer(body: dict[str, Any], before: int) -> Step:
    """Finds the name and Rome, and denies Rome in a sentence; every third text fails the first time."""
    content = str(body["messages"][-1]["content"])
    if not before and len(content) % 3 == 0:
        return Status(503, headers={"Retry-After": "0"})
    if "Question:" in content:
        return Say("No, it is not." if 'the word "Rome"' in content.rsplit("Question:", 1)[1] else "Yes.")
    text = content.rsplit("Text:\n", 1)[1]
    return Say(re.sub(r"Ann\d+", r"<PER>\g<0></PER>", text).replace("Rome", "<LOC>Rome</LOC>"))


def test_a_stream_is_verified_through_a_server() -> None:
    texts = [f"Ann{i} saw Rome." for i in range(66)]
    shown = FewShot(POOL, shots=2)
    with Endpoint(answer) as endpoint:
        options = HttpOptions(endpoint.url, cache="none", backoff=0.001)
        engine = HttpEngine.load(name=MODEL, options=options)
        ner = Extractor(engine, get_format("inline_xml"), LABELS, few_shot=shown, verification=SelfVerification(shown))
        predictions = list(ner.pipe(texts))
    assert [prediction.text for prediction in predictions] == texts
    assert [[(e.text, e.label, e.verified) for e in p.entities] for p in predictions] == [
        [(f"Ann{i}", "PER", None)] for i in range(66)
    ]
    assert all((p.refuted, p.unverified) == (1, 0) for p in predictions)
    contents = [str(body["messages"][-1]["content"]) for body in endpoint.bodies]
    assert all(any(document.text in content for document in POOL) for content in contents)
    assert sum("Question:" in content for content in set(contents)) == 132
