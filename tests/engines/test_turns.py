"""One extractor, many callers: threads, coroutines and interleaved streams get what one caller gets."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest
from tests import tiny

from genner.document import LabelSet, Prediction
from genner.engines.hf_generate import FreeEngine
from genner.engines.transformers_engine import LocalEngine
from genner.engines.turns import Turns
from genner.extract import Extractor
from genner.formats import FORMATS

TEXTS = ["John saw Köln.", "NF-kappa B binds DNA in T cells.", "a < b"]
SETS = [LabelSet.of("PER", "LOC"), LabelSet.of("DNA")]
CALLERS = 6


def shared(decoder: str = "speculative") -> Extractor:
    engine = LocalEngine(tiny.model("llama"), tiny.tokenizer("bytes"), decoder=decoder)  # type: ignore[arg-type]
    return Extractor(engine, FORMATS["inline_xml"], SETS[0])


def found(prediction: Prediction) -> tuple[object, ...]:
    """All of a prediction but the last digits of its scores, which the shape of a batch turns."""
    scores = [(e.span, e.label, pytest.approx(e.score, rel=1e-4, abs=1e-6)) for e in prediction.entities]
    return prediction.text, scores, prediction.problems


def jobs() -> list[tuple[str, LabelSet]]:
    return [(text, SETS[(i + j) % len(SETS)]) for i, text in enumerate(TEXTS) for j in range(len(SETS))]


@pytest.mark.parametrize(("decoder", "few"), [("speculative", 6), ("reference", 2)])
def test_threads_get_what_one_caller_gets(decoder: str, few: int) -> None:
    ner, some = shared(decoder), jobs()[-few:]
    alone = [found(ner.extract(*job)) for job in some]
    with ThreadPoolExecutor(CALLERS) as pool:
        together = list(pool.map(lambda job: ner.extract(*job), some * 2))
    assert [found(p) for p in together] == alone * 2


def test_threads_share_an_engine_that_decodes_freely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.engines.decoding.SPARE", 8)  # a random model writes all that it may
    engine = FreeEngine(tiny.model("llama"), tiny.tokenizer("bytes"))
    ner = Extractor(engine, FORMATS["inline_xml"], SETS[0], constrained=False)
    alone = [found(ner.extract(text)) for text in TEXTS[1:]]
    with ThreadPoolExecutor(CALLERS) as pool:
        assert [found(p) for p in pool.map(ner.extract, TEXTS[1:] * 2)] == alone * 2


def test_coroutines_get_what_one_caller_gets() -> None:
    ner = shared()
    alone = [found(ner.extract(*job)) for job in jobs()]

    async def ask() -> list[Prediction]:
        return await asyncio.gather(*(asyncio.to_thread(ner.extract, *job) for job in jobs()))

    assert [found(p) for p in asyncio.run(ask())] == alone


def test_a_stream_that_nobody_reads_further_blocks_nobody() -> None:
    ner = shared()
    alone = [found(p) for p in ner.pipe(TEXTS, batch_size=2)]
    halves: list[Iterator[Prediction]] = []

    def begin() -> None:
        halves.append(ner.pipe(TEXTS, batch_size=2))
        assert found(next(halves[-1])) == alone[0]

    with ThreadPoolExecutor(1) as pool:
        pool.submit(begin).result()
        assert [found(p) for p in ner.pipe(TEXTS, batch_size=3)] == alone
        assert pool.submit(lambda: found(ner.extract(TEXTS[1]))).result() == alone[1]
    assert [found(p) for p in halves[0]] == alone[1:]  # and it goes on, in another thread


def test_streams_in_one_thread_may_be_read_in_turn_and_nested() -> None:
    ner = shared()
    alone = [found(p) for p in ner.pipe(TEXTS)]
    pairs = list(zip(ner.pipe(TEXTS, batch_size=2), ner.pipe(TEXTS, batch_size=1), strict=True))
    assert [(found(a), found(b)) for a, b in pairs] == [(one, one) for one in alone]
    # The texts of one stream come from another: its engine is asked while the outer one reads ahead.
    nested = ner.pipe((p.text for p in ner.pipe(TEXTS, batch_size=2)), batch_size=2)
    assert [found(p) for p in nested] == alone
    for prediction, one in zip(islice(ner.pipe(TEXTS * 2), 3), alone, strict=True):
        assert found(ner.extract(prediction.text)) == found(prediction) == one


def test_a_stream_that_breaks_leaves_the_model_to_others() -> None:
    ner = shared()

    def broken() -> Iterator[str]:
        yield TEXTS[0]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        list(ner.pipe(broken()))
    assert ner.extract(TEXTS[0]).text == TEXTS[0]


def test_turns_come_in_the_order_of_asking() -> None:
    turns, order = Turns(), list[int]()

    def take(number: int) -> None:
        with turns:
            order.append(number)

    threads = [threading.Thread(target=take, args=(i,)) for i in range(6)]
    with turns:
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(turns._waiting) < number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(6))
    assert not turns._taken


def test_a_turn_that_fails_or_is_given_up_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns:
        raise ZeroDivisionError
    assert not turns._taken

    class Interrupted:
        """A gate at which Ctrl-C is pressed; `opened`: after its turn had come."""

        def __init__(self) -> None:
            self.asked = 0

        def acquire(self) -> None:
            self.asked += 1
            if self.asked == 2:
                if opened:
                    turns._next()
                raise KeyboardInterrupt

        def release(self) -> None:
            pass

    monkeypatch.setattr("genner.engines.turns.Lock", Interrupted)
    for opened in (False, True):
        turns.__enter__()
        with pytest.raises(KeyboardInterrupt):
            turns.__enter__()
        assert not turns._waiting
        assert turns._taken is not opened
        if not opened:
            turns._next()
    assert not turns._taken
