"""What a model was trained on, written beside its weights, and what is said of labels that are new to it."""

import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genner.document import Label, LabelSet
from genner.engines.scripted import ScriptedEngine
from genner.errors import DataError
from genner.export.about import ModelFacts
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.labels import label_set
from genner.model_source import ModelSource, shipped
from genner.trained import Trained, named
from genner.training.recipe import Recipe
from tests.conftest import Run
from tests.export.test_folder import a_base, an_adapter
from tests.places import ROOT

RECIPES = ROOT / "recipes"
CORE = Trained.of([("a", label_set("core")), ("b", label_set("core")), ("c", LabelSet.of("cell_type"))])


def test_each_label_set_is_there_once() -> None:
    assert CORE.sets == ((("a", "b"), label_set("core")), (("c",), LabelSet.of("cell_type")))


@pytest.mark.parametrize(
    ("label", "known"),
    [
        (Label("PER"), True),
        (Label("per"), True),
        (Label("Person"), True),  # PER's name
        (Label("X", "person"), True),
        (Label("Cell-Type"), True),
        (Label("person", "somebody else"), True),
        (Label("persons"), False),
        (Label("band"), False),
        (Label("cell"), False),
    ],
)
def test_a_label_is_known_by_its_tag_or_its_name(label: Label, known: bool) -> None:
    assert CORE.new(LabelSet((label,))) == (() if known else (label.tag,))


words = st.text("abcÄé_ 1.", min_size=1, max_size=6).filter(lambda text: text.strip() == text and "  " not in text)


@given(st.lists(st.builds(Label, words, words | st.just(""), words), min_size=1, unique_by=lambda label: label.tag))
def test_what_is_written_is_read_and_knows_itself(some: list[Label]) -> None:
    labels = LabelSet(tuple(some))
    trained = Trained.of([("a", labels), ("b", labels)])
    assert Trained.from_json(json.loads(json.dumps(trained.to_json())), "x") == trained
    assert trained.new(labels) == ()


@pytest.mark.parametrize("raw", [{}, ["a"], [{"sets": "a"}], [{"sets": []}], [{"sets": [], "labels": 1}]])
def test_a_damaged_record_is_refused_by_name(raw: object) -> None:
    with pytest.raises(DataError, match="some file"):
        Trained.from_json(raw, "some file")


def test_a_message_names_the_first_labels() -> None:
    assert named(("a", "b")) == "a, b"
    assert named([str(n) for n in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


# -- of the shipped adapters, and of any other


@pytest.mark.parametrize("name", shipped())
def test_shipped_adapters_say_what_their_recipes_say(name: str) -> None:
    adapter, recipe = ModelSource.find(name), Recipe.from_file(RECIPES / f"{name}.toml")
    assert adapter is not None
    assert adapter.trained == Trained.of((spec.name, label_set(spec.labels)) for spec in recipe.sets)


def test_a_command_writes_it_beside_weights_that_lack_it(tmp_path: Path, run: Run) -> None:
    adapter = an_adapter(tmp_path / "adapter", a_base(tmp_path / "base"))
    before = json.loads((adapter / "genner.json").read_text())
    (tmp_path / "mine.json").write_text('{"band": "groups of musicians"}')
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'base = "x"\n[formats]\ninline_xml = 1\n'
        '[[set]]\nname = "mine"\ntrain = ["a"]\nlabels = "mine.json"\n'
        '[[set]]\nname = "unused"\ntrain = ["a"]\nlabels = "core"\nweight = 0\n'
    )
    code, _, told = run("calibrate", str(adapter), str(recipe), "--labels-only", "--format", "compact")
    assert code == 2
    assert "--labels-only fits nothing; leave out" in told
    code, _, told = run("calibrate", str(adapter), str(recipe), "--data", str(tmp_path), "--labels-only")
    assert (code, str(adapter / "genner.json") in told) == (0, True)
    found = ModelSource.find(str(adapter))
    assert found is not None
    assert found.trained == Trained.of([("mine", LabelSet((Label("band", "", "groups of musicians"),)))])
    after = json.loads((adapter / "genner.json").read_text())
    assert {key: value for key, value in after.items() if key != "trained"} == before
    assert ModelFacts.of(str(adapter)).trained == after["trained"]  # which goes into what is exported


# -- what is said


def extractor(trained: Trained | None = CORE) -> Extractor:
    return Extractor(ScriptedEngine(), FORMATS["inline_xml"], label_set("core"), trained=trained)


def test_labels_that_are_new_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    ner = extractor()
    assert ner.new_labels() == ()
    assert ner.new_labels("PER,band") == ("band",)
    with caplog.at_level(logging.WARNING, "genner"):
        ner.extract("Ann")
        assert not caplog.records
        for labels in ("PER,band", ["band"]):
            list(ner.pipe(["Ann", "Bob"], labels))
            ner.extract("Ann", labels)
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "new to the model: band (1 of 2 labels)",
        "new to the model: band (1 of 1 labels)",
    ]


def test_what_was_not_recorded_is_not_taken_for_nothing() -> None:
    assert extractor(None).new_labels("band") is None
    assert extractor(None).caution("band") == ""


def test_the_command_line_says_it_unless_it_is_to_be_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(model: str, labels: LabelSet, **_: object) -> Extractor:
        return extractor().replace(labels=labels)

    monkeypatch.setattr("genner.loading.load", load)
    for options, times in ((["--labels", "PER,band"], 1), (["--labels", "core"], 0), (["--labels", "band,", "-q"], 0)):
        code, _, told = run("extract", "--text", "Ann met Bob.", *options)
        assert (code, told.count("new to the model")) == (0, times)
