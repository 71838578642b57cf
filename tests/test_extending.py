"""The examples of docs/extending.md run, and obey the laws of what genner comes with."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genner.data.base import ReadLog
from genner.data.corpus import read_corpus
from genner.data.registry import SYNTAXES
from genner.document import Document
from genner.engines import ENGINES, engine_class
from genner.evaluation import METRICS
from genner.formats import FORMATS
from genner.presets import MODELS
from genner.training.recipe import Recipe
from tests import syntax_laws, tiny
from tests.engines import test_registry
from tests.engines.endpoint import Endpoint, Say
from tests.evaluation import test_metrics
from tests.formats import test_law
from tests.places import ROOT
from tests.strategies import documents, texts

PAGE = ROOT / "docs" / "extending.md"
TEXT = PAGE.read_text("utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.M)[1:]}


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What the examples add is gone afterwards; they run in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    kept = [(registry, dict(registry)) for registry in (FORMATS, METRICS, SYNTAXES, MODELS, ENGINES)]
    yield
    for registry, before in kept:
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]


def blocks(language: str, *sections: str) -> list[str]:
    found = [re.findall(rf"^```{language}[^\n]*\n(.*?)^```", SECTIONS[name], re.M | re.S) for name in sections]
    return [block for of_section in found for block in of_section]


def run(*sections: str) -> dict[str, Any]:
    """Run the Python of these sections, one after the other; returns its names."""
    names: dict[str, Any] = {"__name__": "extending"}
    for block in blocks("python", *sections):
        before = "\n" * TEXT[: TEXT.index(block)].count("\n")  # so that a traceback shows the line of the page
        exec(compile(before + block, str(PAGE), "exec"), names)
    return names


def test_a_format_obeys_the_law() -> None:
    """The laws of tests/formats/test_law.py, which finds every format of the dict, on fewer examples."""
    form = run("A format")["Curly"]()

    @given(documents(), texts, st.integers(0, 10**6))
    @settings(max_examples=40, deadline=None)
    def laws(document: Document, text: str, seed: int) -> None:
        for test in (
            test_law.test_round_trip,
            test_law.test_grammar_accepts_every_encoding,
            test_law.test_word_grammar_accepts_what_lies_at_word_boundaries,
            test_law.test_a_grammar_without_twins_accepts_all_but_second_labels,
        ):
            test.hypothesis.inner_test(form, document)  # type: ignore[attr-defined]
        test_law.test_every_legal_path_decodes_without_problems.hypothesis.inner_test(
            form, document.text, seed, "strict", 3, False, True
        )
        test_law.test_decode_takes_any_string.hypothesis.inner_test(form, document.text, text)

    laws()


def test_a_metric_obeys_the_law() -> None:
    run("A format", "A metric")
    test_metrics.test_every_metric(name="start")  # type: ignore[call-arg]


def test_a_syntax_keeps_what_it_can_and_counts_the_rest(tmp_path: Path) -> None:
    run("A format", "A file syntax")

    @given(documents(crossing=True))
    @settings(max_examples=60, deadline=None)
    def keeps(document: Document) -> None:
        read_log = ReadLog()
        SYNTAXES["pairs"]().write([document], tmp_path / "x.jsonl", read_log)
        (back,) = read_corpus(tmp_path / "x.jsonl", "pairs")
        kept = tuple(e for e in document.entities if e.label == "PER")
        assert back == Document(document.text, kept, document.id)
        assert read_log.dropped.total() == len(document.entities) - len(kept)

    keeps()
    syntax_laws.has_typed_options("pairs")
    syntax_laws.guessed_and_read_alike("pairs", tmp_path / "seeds")
    syntax_laws.refuses_a_foreign_record("pairs", tmp_path)
    syntax_laws.survives_damage("pairs", tmp_path, 25)


def test_a_corpus_is_read_and_its_recipe_too(tmp_path: Path) -> None:
    run("A format", "A file syntax", "A corpus")
    (recipe,) = blocks("toml", "A corpus")
    (tmp_path / "recipe.toml").write_text(recipe, "utf-8")
    (mine,) = Recipe.from_file(tmp_path / "recipe.toml").sets
    assert [(tmp_path / name).is_file() for name in (*mine.train, mine.labels)] == [True, True]


def test_a_model_is_loaded_from_its_folder(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer("bytes")
    tiny.model("llama", len(tokenizer)).save_pretrained(tmp_path / "models" / "mine")
    tokenizer.save_pretrained(tmp_path / "models" / "mine")
    run("A model")
    assert "my-model" in MODELS


def test_an_engine_obeys_the_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run("A format", "An engine")
    module = SimpleNamespace(CallingEngine=names["CallingEngine"])
    monkeypatch.setitem(sys.modules, ENGINES["calling"].partition(":")[0], module)  # type: ignore[misc]
    monkeypatch.setattr(names["CallingEngine"].__init__, "__defaults__", (lambda prompt: "",))
    test_registry.test_each_request_gets_an_answer("calling", tmp_path, Endpoint(lambda body, before: Say("")))
    test_registry.test_a_model_is_loaded_into_the_engine_of_a_name(
        "calling", Path("some-model"), Endpoint(lambda body, before: Say(""))
    )
    assert not engine_class("calling").capabilities.constrains


def test_every_section_is_run() -> None:
    assert [name for name in SECTIONS if blocks("python", name)] == [
        "A format", "A metric", "A file syntax", "A corpus", "A model", "An engine"
    ]  # fmt: skip
