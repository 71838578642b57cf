"""What every engine of `ENGINES` has to do. An engine that is added there is tested here without further ado."""

import copy
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny
from tests.engines.endpoint import MODEL, Endpoint, Say
from tests.strategies import texts

import genner.engines
from genner.cli.app import engine_options as command_options
from genner.cli.engines import engines as list_engines
from genner.document import LabelSet
from genner.engines import ENGINES, engine_class, engine_options, signed_options
from genner.engines.base import Answered, Capabilities, Engine, Generation, Request
from genner.engines.http.options import HttpOptions
from genner.engines.scripted import ScriptedEngine
from genner.errors import ModelError, UnknownNameError, UsageError
from genner.extract import Extractor
from genner.formats import FORMATS, get_format
from genner.formats.grammar_source import FormatGrammarSource
from genner.grammar import Constraints
from genner.loading import load
from genner.prompts import instruction

LABELS = LabelSet.of("PER", "LOC")
TEXTS = ["Ann saw Bob in Rome.", "", "Köln is far away, said Ann.", "Ann saw Bob in Rome.", "no names"]
# vLLM lives in an environment of its own, and is tested in tests/vllm.
of_each = pytest.mark.parametrize("name", [name for name in ENGINES if name != "vllm"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    copy.deepcopy(tiny.model("llama")).save_pretrained(made)
    tiny.tokenizer("bytes").save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    """A server that copies every text."""
    with Endpoint(lambda body, _: Say(body["messages"][0]["content"].split("\nText:\n")[1])) as endpoint:
        yield endpoint


def options(name: str, server: Endpoint) -> dict[str, Any]:
    """What an engine has to be told."""
    return {"base_url": server.url, "cache": "none"} if name == "http" else {}


def made(name: str, folder: Path, server: Endpoint) -> Engine:
    model = MODEL if name == "http" else "some model"
    return engine_class(name).load(folder, name=model, options=engine_options(name, options(name, server)))


def requests(constrained: bool) -> list[Request]:
    form = get_format("inline_xml")
    words = instruction(LABELS, form)
    return [Request(words, text, form.grammar(text, LABELS, Constraints("word")), constrained) for text in TEXTS]


@of_each
def test_each_request_gets_an_answer(name: str, folder: Path, server: Endpoint) -> None:
    """And what is said of its tokens fits it."""
    engine = made(name, folder, server)
    asked = requests(engine_class(name).capabilities.constrains)
    answers = list(engine.generate(iter(asked), batch_size=2))
    assert [id(request) for request, _ in answers] == [id(request) for request in asked]
    for _, generation in answers:
        assert list(generation.ends) == sorted(generation.ends)
        assert all(0 <= end <= len(generation.answer) for end in generation.ends)
        assert len(generation.logprobs) in (0, len(generation.ends))
        assert all(logprob <= 1e-6 for logprob in generation.logprobs)
    assert list(engine.generate([])) == []


@of_each
def test_constrained_answers_are_legal(name: str, folder: Path, server: Endpoint) -> None:
    if not engine_class(name).capabilities.constrains:
        with pytest.raises(UsageError, match=f"engine '{name}' cannot decode under a grammar"):
            load(str(folder), engine=name, constrained=True)
        return
    for request, generation in made(name, folder, server).generate(requests(True)):
        assert request.grammar.read(generation.answer) is not None


@of_each
def test_a_model_is_loaded_into_the_engine_of_a_name(name: str, folder: Path, server: Endpoint) -> None:
    model, more = MODEL if name == "http" else str(folder), options(name, server)
    ner = load(model, LABELS, engine=name, engine_options=more)
    assert type(ner.engine) is engine_class(name)
    assert ner.extract(TEXTS[0]).text == TEXTS[0]
    longer = ner.engine.measure("a b, " * 9, "c")
    assert longer > ner.engine.measure("a", "c")
    assert ner.engine.window is None or ner.engine.window > longer


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown engine 'vlm'.*known: free, http, local, scripted"):
        load("default", engine="vlm")


# -- engines of other packages, options, adapters


@dataclass(frozen=True)
class Options:
    base_url: str = field(default="", metadata={"help": "the address"})
    concurrency: int = field(default=4, metadata={"help": "requests at once"})
    seconds: float | None = None


class Remote(ScriptedEngine):
    """An engine that asks a server, which has two models."""

    name = "remote"
    capabilities = Capabilities("exported", adapters=True, weights=False)
    Options = Options
    asked: ClassVar[list[Request]] = []

    def __init__(self, name: str, options: Options) -> None:
        super().__init__(self.said)
        self.model, self.options = name, options
        self.signature = {"engine": "remote"}

    def said(self, request: Request) -> str:
        self.asked.append(request)
        return "<PER>Ann</PER> left." if request.adapter == "one" else "left"

    @classmethod
    def load(cls, *_: Any, name: str, options: Options, **__: Any) -> "Remote":
        return cls(name, options)

    def add_adapter(self, name: str, folder: Path | None) -> str:
        assert folder is None
        if name not in ("one", "two"):
            raise ModelError(f"no model {name!r}")
        return name


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The engine `remote`, as another package adds it."""
    point = EntryPoint("remote", f"{__name__}:Remote", "genner.engines")
    monkeypatch.setattr(genner.engines, "entry_points", lambda group: [point] if group == "genner.engines" else [])
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Remote.__module__])
    genner.engines._added.cache_clear()
    yield "remote"
    genner.engines._added.cache_clear()


def test_another_package_adds_an_engine(remote: str, capsys: pytest.CaptureFixture[str]) -> None:
    ner = load("one", engine=remote, engine_options={"base_url": "http://there", "concurrency": 2})
    assert isinstance(ner.engine, Remote)
    assert ner.engine.options == Options("http://there", 2)
    list_engines(None)
    told = capsys.readouterr().out
    assert "remote\tgrammars that the server reads, no scores, several adapters, needs no weights here" in told
    assert [line.split("\t")[0] for line in told.splitlines()] == [*ENGINES, "remote"]
    list_engines("remote")
    assert capsys.readouterr().out.splitlines()[:2] == ["base_url\tthe address", "concurrency=4\trequests at once"]


NO_CLASS = "it is no class of an engine"
BROKEN = {
    "genner_no_such_module:X": "ModuleNotFoundError: No module named 'genner_no_such_module'",
    "json:NoSuchClass": "AttributeError",
    "json": NO_CLASS,
    "json:JSONDecoder": NO_CLASS,
    "json:__doc__": NO_CLASS,
    "": "AttributeError",
    "::": "AttributeError",
    f"{__name__}:BrokenAtImport": "RuntimeError: broken",
    f"{__name__}:WithoutOptions": "its Options are no dataclass",
}


class WithoutOptions(Remote):
    Options = dict  # type: ignore[assignment]


def __getattr__(name: str) -> Any:
    if name == "BrokenAtImport":
        raise RuntimeError("broken")
    raise AttributeError(name)


@pytest.mark.parametrize(("place", "said"), BROKEN.items(), ids=BROKEN)
def test_a_broken_engine_of_another_package_is_said_and_the_others_are_listed(
    place: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(genner.engines, "_added", lambda: {"plug": place})
    for use in (engine_class, lambda name: engine_options(name, {}), list_engines, lambda name: load(engine=name)):
        with pytest.raises(UsageError, match="'plug' cannot be used") as error:
            use("plug")
        assert said in str(error.value)
    list_engines(None)
    told = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in told] == [*ENGINES, "plug"]
    assert "cannot be used" in told[-1]


def test_options_of_vllm_are_listed_without_vllm(capsys: pytest.CaptureFixture[str]) -> None:
    list_engines("vllm")
    told = capsys.readouterr()
    assert "adapters=0\tadapters held beside the base" in told.out
    assert ("pip install" in told.err) == (find_spec("vllm") is None)


def test_the_scripted_engine_says_that_it_has_no_model(caplog: pytest.LogCaptureFixture) -> None:
    load("default", engine="scripted")
    assert "'scripted' is for tests: it runs no model, and finds no entity" in caplog.text


@pytest.mark.parametrize("engine", [5, None, b"http", ["http"], object(), Remote])
def test_what_is_no_engine_is_refused(engine: Any) -> None:
    with pytest.raises(UsageError, match="is no engine; legal: local, "):
        load(engine=engine)


@pytest.mark.parametrize("given", [5, "a=1", [("a", 1)], {5: 1}])
def test_options_are_a_dict(given: Any) -> None:
    with pytest.raises(UsageError, match="legal: a dict of options"):
        load(engine="scripted", engine_options=given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"base": "x"}, r"no key 'base' .*known: base_url, concurrency, seconds"),
        ({"concurrency": "many"}, "concurrency = 'many' is not of type int"),
        ({"seconds": "long"}, "seconds = 'long' is not of type"),
    ],
)
def test_a_wrong_option_is_refused_by_name(remote: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load("one", engine=remote, engine_options=given)


def test_one_engine_holds_several_models(remote: str) -> None:
    one = load("one", engine=remote)
    two = load("two", engine=one.engine)
    assert two.engine is one.engine
    Remote.asked.clear()
    assert [e.text for e in one.extract("Ann left.").entities] == ["Ann"]
    found = two.extract("Ann left.")
    assert not found.entities
    assert [request.adapter for request in Remote.asked] == ["one", "two"]
    with pytest.raises(ModelError, match="no model 'three'"):
        load("three", engine=one.engine)


def test_what_is_less_than_exact_is_said(remote: str) -> None:
    """A server's grammar may allow what genner's does not; its answers are read as free ones are."""
    ner = load("two", engine=remote)
    assert (ner.constrained, ner.exact) == (True, False)
    assert ner.signature["decoding"] == "greedy-exported-grammar"
    assert ner.signature["engine"] == "remote"
    found = ner.extract("Ann left.")
    assert (found.invalid, found.answer_reading) == (True, "repaired")
    assert load(engine="scripted").signature["decoding"] == "greedy-grammar"


def test_an_engine_of_one_model_takes_no_other(folder: Path) -> None:
    ner = load(str(folder), LABELS, engine="local")
    with pytest.raises(UsageError, match="holds one model"):
        load(str(folder), engine=ner.engine)
    with pytest.raises(UsageError, match="holds one model"):
        ner.engine.add_adapter("other", None)
    with pytest.raises(UsageError, match="has no key 'fast'"):
        load(str(folder), engine="local", engine_options={"fast": True})
    with pytest.raises(UsageError, match=r"engine 'local' asks no server.*--engine http"):
        load(str(folder), engine="local", engine_options={"base_url": "http://localhost:8000/v1"})


def test_a_part_without_an_answer_is_reported() -> None:
    class Failing(ScriptedEngine):
        def generate(self, requests: Iterable[Request], *, batch_size: int | None = None) -> Iterator[Answered]:
            for request in requests:
                if "Bob" in request.text:
                    yield request, Generation(b"", failure="the server is down")
                else:
                    yield request, Generation(b"<PER>Ann</PER> left.", problems=("asked twice",))

    found = Extractor(Failing(), get_format("inline_xml"), LABELS).extract("Ann left. Bob stays.")
    assert [e.text for e in found.entities] == ["Ann"]
    assert [(p.kind, p.detail) for p in found.problems] == [
        ("engine", "asked twice"),
        ("failed", "no answer for [10, 20): the server is down"),
    ]
    assert found.invalid


@given(texts, st.sampled_from(sorted(FORMATS)), st.integers(1, 4))
def test_a_grammar_is_made_again_elsewhere(text: str, form: str, depth: int) -> None:
    limits = Constraints("strict", depth, same_span_labels=False, allow_trailing_repeat=True)
    source = FormatGrammarSource(FORMATS[form], text, LABELS, limits)
    again = FormatGrammarSource.from_json(json.loads(json.dumps(source.to_json())))
    assert again == source
    answer = source.grammar().draft(source.grammar().start(), 1 << 20)
    assert again.grammar().read(answer) == source.grammar().read(answer)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "xml"}, "unknown format 'xml'"),
        ({"text": 3}, "text 3 is not a string"),
        ({"labels": []}, "labels .* are not a list of tags"),
        ({"labels": ["<"]}, "label '<' cannot be written"),
        ({"constraints": {"depth": 1}}, "constraints .* keys, all of them"),
        ({"more": 1}, "has no key 'more'"),
    ],
)
def test_a_grammar_that_says_something_else_is_refused(change: dict[str, Any], said: str) -> None:
    raw = FormatGrammarSource(FORMATS["inline_xml"], "Ann", LABELS, Constraints()).to_json()
    with pytest.raises(UsageError, match=said):
        FormatGrammarSource.from_json(raw | change)
    with pytest.raises(UsageError, match="lacks 'text'"):
        FormatGrammarSource.from_json({key: value for key, value in raw.items() if key != "text"})


def test_the_commands_options_are_the_engines() -> None:
    assert command_options(["concurrency=8", "a=b"], "http://x") == {"concurrency": 8, "a": "b", "base_url": "http://x"}
    with pytest.raises(UsageError, match="concurrency is given twice"):
        command_options(["concurrency=8", "concurrency=9"], None)
    with pytest.raises(UsageError, match="not both"):
        command_options(["base_url=http://x"], "http://y")


def test_signatures_have_the_options_that_answers_depend_on() -> None:
    given = {"base_url": "http://ann@host/v1", "cache": "/home/ann/x", "window": 5, "body": '{"user": "ann"}'}
    told = signed_options("http", given)
    assert told.keys() == {"window", "body"}
    assert "ann" not in repr(told)
    assert told != signed_options("http", given | {"body": "{}"})
    assert signed_options("vllm", {"dtype": "float32"}) == {"dtype": "float32"}


def test_no_option_is_excepted_that_there_is_not() -> None:
    assert {field.name for field in fields(HttpOptions)} >= HttpOptions.UNSIGNED | HttpOptions.HASHED
