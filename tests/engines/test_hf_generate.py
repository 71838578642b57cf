"""Free decoding by transformers' `generate`: greedy it equals genner's own, drawn it keeps to the distribution."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests import tiny
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from genner.document import LabelSet
from genner.engines import decoding, hf_generate
from genner.engines.base import Request
from genner.engines.hf_generate import FreeEngine, Sampling, draw
from genner.engines.transformers_engine import LocalEngine
from genner.formats import FORMATS

LABELS = LabelSet.of("PER", "LOC")
TEXTS = [
    "John Smith reported from New York.",
    "Köln liegt am Rhein",
    "東京",
    "a < b",
    "NF-kappa B binds DNA in T cells. " * 2,
]
FORM = FORMATS["inline_xml"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of 12 tokens at most: a random model seldom ends one."""
    for module in (hf_generate, decoding):
        monkeypatch.setattr(module, "budget", lambda *_: 12)


def requests(instructions: int = 2) -> list[Request]:
    return [
        Request(f"Tag {i % instructions}:\n", text, FORM.grammar(text, LABELS), False) for i, text in enumerate(TEXTS)
    ]


def of(family: str) -> Any:
    return tiny.hybrid() if family == "hybrid" else tiny.model(family)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("family", [*tiny.FAMILIES, "hybrid"])
def test_greedy_equals_the_reference(family: str) -> None:
    fast = FreeEngine(of(family), tiny.tokenizer("bytes"))
    slow = LocalEngine(tiny.model(family), tiny.tokenizer("bytes"), decoder="reference") if family != "hybrid" else None
    if slow is None:
        with pytest.warns(UserWarning, match="token by token"):
            slow = LocalEngine(of(family), tiny.tokenizer("bytes"))
    asked = requests()
    for (_, found), (_, wanted) in zip(fast.generate(asked, batch_size=3), slow.generate(asked), strict=True):
        assert found.answer == wanted.answer
        assert (found.ends, found.complete, found.passes) == (wanted.ends, wanted.complete, wanted.passes)
    assert fast.window == slow.window
    assert fast.measure("Tag", "Ada") == slow.measure("Tag", "Ada")


@pytest.mark.usefixtures("short")
def test_the_instruction_is_run_once_where_its_cache_can_be_shared() -> None:
    shared, whole = (FreeEngine(of(family), tiny.tokenizer("bytes")) for family in ("llama", "gemma3"))
    prefix = len(shared.chat.prefix_ids("Tag 0:\n"))
    costs = [
        [g.computed - len(g.ends) for _, g in engine.generate(requests(instructions=1))] for engine in (shared, whole)
    ]
    assert [b - a for a, b in zip(*costs, strict=True)] == [prefix] * len(TEXTS)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_what_is_drawn_depends_on_the_request_and_the_seed_alone(family: str) -> None:
    def answers(seed: int, size: int, asked: list[Request]) -> list[bytes]:
        engine = FreeEngine(of(family), tiny.tokenizer("bytes"), sampling=Sampling(), seed=seed)
        return [g.answer for _, g in engine.generate(asked, batch_size=size)]

    asked = requests()
    together = answers(1, 5, asked)
    assert answers(1, 2, asked) == together
    assert answers(1, 3, asked[::-1]) == together[::-1]
    assert answers(1, 4, asked[2:]) == together[2:]
    assert answers(2, 5, asked) != together


@pytest.mark.usefixtures("short")
def test_one_candidate_is_greedy() -> None:
    model, tokenizer = of("llama"), tiny.tokenizer("bytes")
    greedy = FreeEngine(model, tokenizer).generate(requests())
    drawn = FreeEngine(model, tokenizer, sampling=Sampling(top_k=1)).generate(requests())
    assert [g.answer for _, g in greedy] == [g.answer for _, g in drawn]


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(1.3, 0.9, 5), Sampling(0.5, 1.0, 1000), Sampling(1.0, 0.01, 50)]
)
def test_draws_follow_what_transformers_leaves(sampling: Sampling) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 60) * 2
    left = TemperatureLogitsWarper(sampling.temperature)(None, logits)
    left = TopKLogitsWarper(min(sampling.top_k, 60))(None, left)
    shares = TopPLogitsWarper(sampling.top_p)(None, left).softmax(1)
    n = 2000
    found = [Counter[int]() for _ in logits]
    for i in range(n):  # evenly spaced numbers, so that each token is drawn as often as it should be, within one
        for row, token in enumerate(draw(logits, sampling, [(i + 0.5) / n] * 3).tolist()):
            found[row][token] += 1
    for row, counts in enumerate(found):
        for token, share in enumerate(shares[row].tolist()):
            assert counts[token] == pytest.approx(share * n, abs=2)


def test_an_answer_that_outgrows_its_budget_is_cut_off() -> None:
    engine = FreeEngine(of("llama"), tiny.tokenizer("bytes"))
    asked = requests()[:2]
    for request, found in engine.generate(asked):
        room = decoding.budget(engine.chat, request, 0, engine.window)
        assert len(found.ends) <= room
        assert found.complete or len(found.ends) == room
    assert list(engine.generate([])) == []
    assert str(replace(Sampling(), top_k=7)) == "t0.95-p0.7-k7"
