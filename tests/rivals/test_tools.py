"""What all tools share, on tools whose answers are made up. The packages themselves: test_tool_packages.py."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from genner.document import Document, Entity, Label, LabelSet, Prediction, Span
from genner.errors import MissingPartError, ModelError, UnknownNameError, UsageError
from genner.rivals import load_rival, rival, rival_class
from genner.rivals.tools import TOOLS, tool, tool_class
from genner.rivals.tools.base import NOT_IN_MODEL, UNREAD, Tool, TrainedTool
from genner.rivals.tools.found import Found, ToolAnswer
from genner.rivals.words import INSIDE_WORD, NOT_ASKED

TEXTS = ["Ada met Bob in Rome", "  ", "Bob left Paris", ""]
LABELS = LabelSet((Label("PER", "person"), Label("LOC", "location")))


@dataclass(frozen=True)
class MadeUpOptions:
    model: str = "none"
    threshold: float = 0.5
    batch_size: int = 1


class MadeUp(Tool):
    """Answers from a list; of a package that is surely installed."""

    name = "made_up"
    package = "numpy"
    options_type = MadeUpOptions
    training: ClassVar[str] = "nobody trains it"
    answers: Sequence[ToolAnswer] = ()

    def load_model(self) -> Any:
        if self.options.model == "broken":
            raise OSError("no such file\nand more")
        return "a model"

    def find(self, model: Any, texts: Sequence[str]) -> Sequence[ToolAnswer]:
        assert all(text.strip() for text in texts)
        return self.answers[: len(texts)]


@dataclass(frozen=True)
class MappedOptions:
    model: str = "none"
    label_map: str = ""


class Mapped(TrainedTool):
    """Knows PERSON, GPE and DATE; reads words between blanks, of which there are four at most; entities have two."""

    name = "mapped"
    package = "numpy"
    options_type = MappedOptions
    training: ClassVar[str] = "nobody trains it"

    def load_model(self) -> Any:
        return "a model"

    def names(self, model: Any) -> Collection[str]:
        return ["PERSON", "GPE", "DATE"]

    def find(self, model: Any, texts: Sequence[str]) -> Sequence[ToolAnswer]:
        return [ToolAnswer([Found(0, 3, name, score=0.5) for name in self.names(model)]) for _ in texts]

    def words(self, model: Any, text: str) -> list[Span]:
        found, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            found.append((at, at := at + len(word)))
        return found[:4]

    def max_words(self, model: Any) -> int:
        return 2


def predicted(*found: Found, text: str = TEXTS[0]) -> Prediction:
    made = MadeUp(LABELS)
    made.answers = [ToolAnswer(found)]
    (prediction,) = made.predict([text])
    return prediction


def test_names_become_tags_and_texts_keep_their_order() -> None:
    made = MadeUp(LABELS)
    made.answers = [
        ToolAnswer([Found(0, 3, "person", "Ada", 0.9)]),
        ToolAnswer([Found(9, 14, "location", "Paris", 1.0)]),
    ]
    documents = [Document(text, (), str(i), group="g") for i, text in enumerate(TEXTS)]
    found = list(made.predict(documents))
    assert [p.text for p in found] == TEXTS
    assert [p.id for p in found] == ["0", "1", "2", "3"]
    assert [p.entities for p in found] == [(Entity(0, 3, "PER"),), (), (Entity(9, 14, "LOC"),), ()]
    assert found[0].entities[0].score == 0.9
    assert not any(p.problems for p in found)


@pytest.mark.parametrize(
    ("said", "entity", "kind"),
    [
        (Found(0, 3, "person", "Ada"), Entity(0, 3, "PER"), None),
        (Found(0, 3, "person"), Entity(0, 3, "PER"), None),
        (Found(1, 4, "person", "Ada"), Entity(0, 3, "PER"), "realigned"),
        (Found(None, None, "person", "Bob"), Entity(8, 11, "PER"), "realigned"),
        (Found(17, 22, "location", "Rome"), Entity(15, 19, "LOC"), "realigned"),
        (Found(2, 3, "person", "d"), Entity(1, 2, "PER"), "realigned"),
        (Found(4, 5, "person", "e"), Entity(5, 6, "PER"), "ambiguous"),
        (Found(0, 3, "person", "Eve"), None, "dropped"),
        (Found(None, None, "person"), None, "dropped"),
        (Found(17, 22, "location"), None, "dropped"),
        (Found(3, 3, "location", ""), None, "dropped"),
        (Found(0, 3, "company", "Ada"), None, "dropped"),
    ],
)
def test_a_position_is_checked(said: Found, entity: Entity | None, kind: str | None) -> None:
    found = predicted(said)
    assert found.entities == ((entity,) if entity else ())
    assert [p.kind for p in found.problems] == ([kind] if kind else [])


def test_scores() -> None:
    found = predicted(
        Found(0, 3, "person", "Ada", 1.0002),
        Found(8, 11, "person", "Bob", 7.0),
        Found(15, 19, "location", "Rome", math.nan),
    )
    assert [e.score for e in found.entities] == [1.0, None, None]
    assert [p.kind for p in found.problems] == ["engine", "engine"]


def test_twins_are_kept_once_with_the_better_score() -> None:
    found = predicted(Found(0, 3, "person", "Ada", 0.9), Found(0, 3, "person", "Ada", 0.2))
    assert [(e.span, e.score) for e in found.entities] == [((0, 3), 0.9)]
    assert [p.kind for p in found.problems] == ["duplicate"]


def test_labels_of_a_model_are_mapped() -> None:
    (found,) = Mapped(LABELS, label_map="PERSON=PER, GPE=LOC").predict(TEXTS[:1])
    assert found.entities == (Entity(0, 3, "LOC"), Entity(0, 3, "PER"))
    assert [p.kind for p in found.problems] == ["dropped"]
    for on_purpose in ("PERSON=PER,GPE=,DATE=", "PERSON=PER,*="):
        (found,) = Mapped(LABELS, label_map=on_purpose).predict(TEXTS[:1])
        assert (found.entities, found.problems) == ((Entity(0, 3, "PER"),), ())


@pytest.mark.parametrize(
    ("label_map", "said"),
    [
        ("PERSON", "'PERSON'; legal: MODEL_LABEL=TAG with a tag of PER, LOC"),
        ("=PER", "'=PER'; legal"),
        ("GPE=ORG", "'GPE=ORG'; legal"),
        ("*=PER", r"'\*=PER'; legal"),
        ("PERSN=PER", "has no label 'PERSN'; its labels: DATE, GPE, PERSON"),
        ("", "no label of the model 'none' stands for one of PER, LOC; its labels: DATE, GPE, PERSON; say which"),
    ],
)
def test_a_wrong_map_is_told_each_time(label_map: str, said: str) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match=said):
            list(Mapped(LABELS, label_map=label_map).predict(TEXTS))


def test_what_a_tool_cannot_express_is_counted() -> None:
    gold = Document("Ada Bob", (Entity(0, 7, "PER"), Entity(0, 3, "PER"), Entity(4, 7, "ORG")))
    assert MadeUp(LABELS).unencodable(gold) == {"overlaps another entity": 1, NOT_ASKED: 1}
    gold = Document(
        "Ada met Bob-Eve in Rome",
        (
            Entity(0, 3, "PER"),
            Entity(0, 7, "LOC"),
            Entity(0, 15, "PER"),
            Entity(8, 11, "PER"),
            Entity(8, 15, "PER"),
            Entity(19, 23, "PER"),
        ),
    )
    made = Mapped(LABELS, label_map="PERSON=PER")
    assert made.unencodable(gold) == {NOT_IN_MODEL: 1, "longer than 2 words": 1, INSIDE_WORD: 1, UNREAD: 1}
    assert made.unencodable(Document("", ())) == {}


def test_a_tool_is_found_where_rivals_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOOLS, "made_up", f"{__name__}:MadeUp")
    monkeypatch.setattr("genner.rivals.tools.tool_class", lambda name: MadeUp)
    monkeypatch.setattr("genner.rivals.tool_class", lambda name: MadeUp)
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    made = rival("made_up", labels=LABELS, model=str(folder), threshold=0.1)
    made.save(tmp_path / "saved")
    again = load_rival(tmp_path / "saved")
    assert isinstance(again, MadeUp)
    assert (again.labels, again.options, again.signature) == (made.labels, made.options, made.signature)
    # What names the model in a signature is what it is, wherever it lies; batches change nothing.
    assert str(tmp_path) not in str(made.signature)
    assert "batch_size" not in str(made.signature)
    (folder / "weights").write_bytes(b"22")
    assert made.signature != again.__class__(LABELS, threshold=0.1).signature
    assert (
        rival("made_up", labels=LABELS, model=str(folder), threshold=0.1).signature
        != rival("made_up", labels=LABELS, model=str(folder), threshold=0.2).signature
    )
    with pytest.raises(UsageError, match="made_up is a tool with a model of its own"):
        rival("made_up", "bert-base-cased")
    with pytest.raises(UsageError, match="made_up is not trained here: nobody trains it; name a trained model"):
        rival_class("made_up")


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="made_up is not trained here: nobody trains it"):
        MadeUp(LABELS).fit([], [], LABELS, folder=tmp_path)
    with pytest.raises(ModelError, match=r"the model 'broken' cannot be loaded: no such file; genner rival list "):
        list(MadeUp(LABELS, model="broken").predict(TEXTS))
    with pytest.raises(UsageError, match=r"no key 'treshold' .did you mean 'threshold'"):
        MadeUp(LABELS, treshold=1.0)
    with pytest.raises(UnknownNameError, match="'spcy'"):
        tool("spcy", LABELS)
    with pytest.raises(UnknownNameError, match="gliner2"):
        rival("gliner3", labels=LABELS)
    with pytest.raises(UsageError, match="bert_tagger needs an encoder"):
        rival("bert_tagger", labels=LABELS)
    with pytest.raises(UsageError, match="have one name, 'person'"):
        MadeUp(LabelSet((Label("PER", "person"), Label("person"))))
    with pytest.raises(ModelError, match="holds no rival"):
        MadeUp.load(tmp_path)
    with pytest.raises(UsageError, match="this is one str"):
        list(MadeUp(LABELS).predict("Ada"))


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_is_of_an_extra_and_names_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.extras.is_installed", lambda package: False)
    monkeypatch.setattr("genner.rivals.tools.base.is_installed", lambda package: False)
    kind = tool_class(name)
    assert kind.name == name
    assert f"[{name}]" in kind.installed()
    assert kind.options_type().model or name == "langextract"
    with pytest.raises(MissingPartError, match=rf"is not installed.*\[{name}\]"):
        tool(name, LABELS)
