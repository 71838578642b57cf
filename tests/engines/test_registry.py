"""What every engine of `ENGINES` has to do. An engine that is added there is tested here without further ado."""

import copy
from pathlib import Path

import pytest
from tests import tiny

from genner.document import LabelSet
from genner.engines import ENGINES, engine_class
from genner.engines.base import Engine, Request
from genner.errors import UnknownNameError, UsageError
from genner.formats import get_format
from genner.grammar import Constraints
from genner.loading import load
from genner.prompts import instruction

LABELS = LabelSet.of("PER", "LOC")
TEXTS = ["Ann saw Bob in Rome.", "", "Köln is far away, said Ann.", "Ann saw Bob in Rome.", "no names"]
engines = pytest.mark.parametrize("name", list(ENGINES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    copy.deepcopy(tiny.model("llama")).save_pretrained(made)
    tiny.tokenizer("bytes").save_pretrained(made)
    return made


def made(name: str, folder: Path) -> Engine:
    return engine_class(name).load(folder, name="some model")


def requests(constrained: bool) -> list[Request]:
    form = get_format("inline_xml")
    words = instruction(LABELS, form)
    return [Request(words, text, form.grammar(text, LABELS, Constraints("word")), constrained) for text in TEXTS]


@engines
def test_each_request_gets_an_answer(name: str, folder: Path) -> None:
    """And what is said of its tokens fits it."""
    engine = made(name, folder)
    asked = requests(engine_class(name).constrains)
    answers = list(engine.generate(iter(asked), batch_size=2))
    assert [id(request) for request, _ in answers] == [id(request) for request in asked]
    for _, generation in answers:
        assert list(generation.ends) == sorted(generation.ends)
        assert all(0 <= end <= len(generation.answer) for end in generation.ends)
        assert len(generation.logprobs) in (0, len(generation.ends))
        assert all(logprob <= 1e-6 for logprob in generation.logprobs)
    assert list(engine.generate([])) == []


@engines
def test_constrained_answers_are_legal(name: str, folder: Path) -> None:
    if not engine_class(name).constrains:
        with pytest.raises(UsageError, match=f"engine '{name}' cannot decode under a grammar"):
            load(str(folder), engine=name)
        return
    for request, generation in made(name, folder).generate(requests(True)):
        assert request.grammar.read(generation.answer) is not None


@engines
def test_a_model_is_loaded_into_the_engine_of_a_name(name: str, folder: Path) -> None:
    ner = load(str(folder), LABELS, engine=name, constrained=engine_class(name).constrains)
    assert type(ner.engine) is engine_class(name)
    assert ner.extract(TEXTS[0]).text == TEXTS[0]
    longer = ner.engine.measure("a b", "c")
    assert longer > ner.engine.measure("a", "c")
    assert ner.engine.window is None or ner.engine.window > longer


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown engine 'vlm'.*known: free, local, scripted"):
        load("default", engine="vlm")
