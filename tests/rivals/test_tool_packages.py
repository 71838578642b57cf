"""Each tool on its own package, where that is installed: with rules, or tiny models with random weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Run
from tests.engines.endpoint import Endpoint, Say, Status

from genner.document import Document, Entity, Label, LabelSet, Prediction
from genner.errors import ModelError, UsageError
from genner.rivals import load_rival
from genner.rivals.tools import tool
from genner.rivals.tools.base import NOT_IN_MODEL, UNREAD, Tool
from genner.rivals.words import INSIDE_WORD

TEXTS = ["Ada met Bob in Rome", "  ", "Bob left Paris", ""]
ODD = [
    "Rome",
    "\u200b",
    "Bo\u200bb left\ufe0f Pa\u0301ris",
    "\u0091Ada\u0092",
    "鲍勃在巴黎",
    "😀😀 Bob",
    "a\x00b",
    "Rome\n\nBob ",
]
LABELS = LabelSet((Label("PER", "person"), Label("LOC", "location")))


def check(
    made: Tool, folder: Path, problems: set[str] = frozenset(), texts: Sequence[str] = (*TEXTS, *ODD)
) -> list[Prediction]:
    """The predictions of a tool, which keep the laws: order, positions, scores, what can be expressed; saved alike."""
    found = list(made.predict(texts))
    assert [p.text for p in found] == list(texts)
    for prediction in found:
        assert {p.kind for p in prediction.problems} <= problems, prediction.problems
        assert not made.unencodable(prediction), prediction
    alone = [next(iter(made.predict([text]))) for text in texts]
    assert [p.entities for p in alone] == [p.entities for p in found]
    made.save(folder)
    assert load_rival(folder).signature == made.signature
    assert made.signature["rival"] == made.name
    return found


def test_spacy(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "Bob"}, {"label": "GPE", "pattern": "Paris"}])
    groups = pipeline.add_pipe("span_ruler", config={"spans_key": "sc"})
    groups.add_patterns([{"label": "PER", "pattern": "Bob"}, {"label": "PER", "pattern": "Bob left"}])
    pipeline.to_disk(tmp_path / "model")
    model = str(tmp_path / "model")
    made = tool("spacy", LABELS, model=model, label_map="PERSON=PER,GPE=")
    found = check(made, tmp_path / "saved")
    assert [p.entities for p in found[:4]] == [(Entity(8, 11, "PER"),), (), (Entity(0, 3, "PER"),), ()]
    gold = Document("Bob left Rome", (Entity(0, 3, "PER"), Entity(0, 2, "PER"), Entity(9, 13, "LOC")))
    assert made.unencodable(gold) == {INSIDE_WORD: 1, NOT_IN_MODEL: 1}
    (other,) = tool("spacy", LABELS, model=model, label_map="PERSON=PER").predict(TEXTS[2:3])
    assert [p.kind for p in other.problems] == ["dropped"]
    found = check(tool("spacy", LABELS, model=model, spans_key="sc"), tmp_path / "groups")
    assert found[2].entities == (Entity(0, 8, "PER"), Entity(0, 3, "PER"))
    with pytest.raises(UsageError, match="sets no group of spans 'ents'; those it sets: sc"):
        list(tool("spacy", LABELS, model=model, spans_key="ents").predict(TEXTS))
    with pytest.raises(
        UsageError, match=r"no label of the model .* stands for one of PER, LOC; its labels: GPE, PERSON"
    ):
        list(tool("spacy", LABELS, model=model).predict(TEXTS))
    with pytest.raises(ModelError, match="'nowhere' cannot be loaded"):
        list(tool("spacy", LABELS, model="nowhere").predict(TEXTS))


def test_spacy_reads_no_text_that_is_too_long(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en", config={"nlp": {}})
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "PER", "pattern": "Bob"}])
    pipeline.to_disk(tmp_path)
    made = tool("spacy", LABELS, model=str(tmp_path))
    made.model.max_length = 10
    found = list(made.predict(["Bob", "Bob met Ada", "Bob "]))
    assert [len(p.entities) for p in found] == [1, 0, 1]
    assert [p.detail for p in found[1].problems] == ["11 characters; this pipeline reads at most 10"]
    assert made.unencodable(Document("Bob met Ada", (Entity(0, 3, "PER"),))) == {UNREAD: 1}


def test_the_command(run: Run, tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Bob"}])
    pipeline.to_disk(tmp_path / "model")
    gold = [Document(text, (Entity(0, 2, "PER"),) if text.strip() else ()) for text in TEXTS]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(d.to_dict()) + "\n" for d in gold), "utf-8")
    command = ["rival", "predict", "spacy", "gold.jsonl", "--model", "model", "--out"]
    code, _, err = run(*command, "found.jsonl", "--labels", "PER,LOC", "--set", "label_map=PERSON=PER")
    assert code == 0, err
    assert "4 documents with " in err
    assert "2 of 2 gold entities cannot be expressed: begins or ends inside a word" in err
    found = [json.loads(line)["entities"] for line in (tmp_path / "found.jsonl").read_text("utf-8").splitlines()]
    assert [[(e["start"], e["label"]) for e in one] for one in found] == [[(8, "PER")], [], [(0, "PER")], []]
    code, _, err = run(*command, "other.jsonl", "--labels", "PERSON,LOC")
    assert (code, "problems" in err) == (0, False)
    for wrong, said in (
        ([], "spacy needs to know what to find; give --labels PER,ORG"),
        (["--labels", "PER", "--set", "model=x"], "--set model is given twice"),
        (["--labels", "PER", "--set", "speed=9"], "no key 'speed'"),
        (["--labels", "PER"], "its labels: PERSON; say which"),
    ):
        code, _, err = run(*command, "never.jsonl", *wrong)
        assert (code, said in err) == (2, True), err
    code, _, err = run("rival", "predict", "model", "gold.jsonl", "--labels", "PER", "--out", "never.jsonl")
    assert (code, "are of a tool (gliner" in err) == (2, True)
    code, _, err = run("rival", "fit", "spacy", "gold.jsonl", "--encoder", "x/y", "--out", "never")
    assert (code, "spacy is not trained here: spacy train trains it" in err) == (2, True)


def test_gliner(tmp_path: Path, encoder_folder: Path) -> None:
    """With random weights: some spans are found at a low threshold."""
    gliner = pytest.importorskip("gliner")
    import torch

    torch.manual_seed(0)
    config = gliner.GLiNERConfig(
        model_name=str(encoder_folder), hidden_size=32, max_width=3, max_len=4, span_mode="markerV0", num_rnn_layers=0
    )
    model = gliner.GLiNER.from_config(config)
    model.save_pretrained(tmp_path / "model")
    made = tool("gliner", LABELS, model=str(tmp_path / "model"), threshold=0.1)
    found = check(made, tmp_path / "saved", {"truncated"})
    assert found[0].entities
    assert all(e.score is not None for p in found for e in p.entities)
    # Five words, of which the model reads four.
    assert [p.detail for p in found[0].problems] == ["5 words, of which 4 are read"]
    assert not found[2].problems
    gold = Document("Ada met Bob in Rome", (Entity(0, 14, "PER"), Entity(0, 2, "PER"), Entity(15, 19, "LOC")))
    assert made.unencodable(gold) == {"longer than 3 words": 1, INSIDE_WORD: 1, UNREAD: 1}
    for flat in (True, False):
        for multi_label in (True, False):
            other = tool(
                "gliner", LABELS, model=str(tmp_path / "model"), threshold=0.0, flat=flat, multi_label=multi_label
            )
            assert check(other, tmp_path / "other", {"truncated"})[0].entities


def test_gliner2(tmp_path: Path, encoder_folder: Path) -> None:
    """With random weights: a model whose threshold is 0 finds something of each label."""
    package = pytest.importorskip("gliner2")
    import torch

    torch.manual_seed(0)
    model = package.AutoExtractor.from_config(package.ExtractorConfig(str(encoder_folder), max_width=2)).eval()
    model.save_pretrained(tmp_path / "model")
    options = {"model": str(tmp_path / "model"), "threshold": 0.0, "chunk_size": 16, "chunk_overlap": 4}
    made = tool("gliner2", LABELS, **options)
    found = check(made, tmp_path, {"dropped"})
    # The package puts a full stop behind the text, and takes it for an entity here.
    assert all("the text has no such position" in problem.detail for p in found for problem in p.problems)
    assert {e.label for e in found[0].entities} == {"PER", "LOC"}
    assert all(e.score is not None for p in found for e in p.entities)
    for policy in ("nested", "longest", "allow"):
        assert check(tool("gliner2", LABELS, **options, overlap_policy=policy), tmp_path, {"dropped"})[0].entities


def test_flair(tmp_path: Path) -> None:
    """A tagger of random weights, over random embeddings of words."""
    pytest.importorskip("flair")
    import torch
    from flair.data import Dictionary
    from flair.embeddings import OneHotEmbeddings
    from flair.models import SequenceTagger

    torch.manual_seed(0)
    words = Dictionary()
    for text in TEXTS:
        for word in text.split():
            words.add_item(word)
    tags = Dictionary(add_unk=False)
    tags.span_labels = True
    for tag in ("PERSON", "GPE"):
        tags.add_item(tag)
    model = SequenceTagger(OneHotEmbeddings(words, embedding_length=8), tags, "ner", hidden_size=8, use_rnn=False)
    model.save(tmp_path / "model.pt")
    made = tool("flair", LABELS, model=str(tmp_path / "model.pt"), label_map="PERSON=PER,GPE=LOC")
    found = check(made, tmp_path / "saved")
    assert any(p.entities for p in found)
    assert all(e.score is not None for p in found for e in p.entities)
    with pytest.raises(UsageError, match="its labels: GPE, PERSON; say which"):
        list(tool("flair", LABELS, model=str(tmp_path / "model.pt")).predict(TEXTS))
    words_alone = Dictionary(add_unk=False)
    words_alone.add_item("NOUN")
    SequenceTagger(OneHotEmbeddings(words, embedding_length=8), words_alone, "pos", use_rnn=False).save(
        tmp_path / "words.pt"
    )
    with pytest.raises(UsageError, match="tags single words with 'pos'"):
        list(tool("flair", LABELS, model=str(tmp_path / "words.pt")).predict(TEXTS))


def test_flair_positions_are_of_the_text_and_not_of_what_flair_reads() -> None:
    pytest.importorskip("flair")
    from flair.data import Sentence

    from genner.rivals.tools.flair import _places

    for text in ODD:
        read = Sentence(text).to_original_text()
        assert [text[place] for place in _places(text)][: len(read)] == list(
            text.translate(dict.fromkeys(map(ord, "\u200b\ufe0f")))
        )[: len(read)]


def test_span_marker(tmp_path: Path, encoder_folder: Path) -> None:
    """With random weights."""
    package = pytest.importorskip("span_marker")
    import torch

    torch.manual_seed(0)
    model = package.SpanMarkerModel.from_pretrained(
        str(encoder_folder), labels=["O", "PERSON"], model_max_length=8, entity_max_length=2
    )
    model.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    made = tool("span_marker", LABELS, model=str(tmp_path / "model"), label_map="PERSON=PER")
    found = check(made, tmp_path / "saved", {"truncated"})
    assert any(p.entities for p in found)
    gold = Document("Ada met Bob", (Entity(0, 11, "PER"), Entity(0, 3, "LOC")))
    assert made.unencodable(gold) == {"longer than 2 words": 1, NOT_IN_MODEL: 1}


class TestLangExtract:
    @pytest.fixture(autouse=True)
    def package(self) -> None:
        pytest.importorskip("langextract")
        pytest.importorskip("openai")

    def made(self, endpoint: Endpoint, folder: Path, **options: Any) -> Tool:
        example = Document("Eve left Oslo", (Entity(0, 3, "PER"), Entity(9, 13, "LOC")))
        folder.joinpath("shots.jsonl").write_text(json.dumps(example.to_dict()) + "\n", "utf-8")
        shots = str(folder / "shots.jsonl")
        return tool("langextract", LABELS, **{"model": "tiny", "base_url": endpoint.url, "examples": shots, **options})

    def test_over_an_endpoint(self, tmp_path: Path) -> None:
        def script(body: dict[str, Any], _: int) -> Any:
            asked = body["messages"][-1]["content"]
            assert "Eve left Oslo" in asked
            assert "- person" in asked
            assert body["max_tokens"] == 77
            if TEXTS[0] in asked:
                return Say(json.dumps({"extractions": [{"person": "Ada"}, {"location": "Rome"}, {"company": "Bob"}]}))
            if TEXTS[2] in asked:
                return Say(json.dumps({"extractions": [{"person": "Bob"}, {"person": "Xerxes"}]}))
            return Say("no JSON") if "three" in asked else Status(400)

        with Endpoint(script) as endpoint:
            made = self.made(endpoint, tmp_path, max_output_tokens=77)
            found = list(made.predict([*TEXTS, "text three", "text four"]))
            assert str(tmp_path) not in str(made.signature)
        assert found[0].entities == (Entity(0, 3, "PER"), Entity(15, 19, "LOC"))
        assert found[2].entities == (Entity(0, 3, "PER"),)
        kinds = [[p.kind for p in one.problems] for one in found]
        assert kinds == [["dropped"], [], ["dropped"], [], ["invalid"], ["failed"]]
        assert all(e.score is None for p in found for e in p.entities)

    def test_options_that_are_missing(self, tmp_path: Path) -> None:
        with Endpoint(lambda *_: Say("")) as endpoint:
            for name in ("model", "base_url", "examples"):
                with pytest.raises(UsageError, match=f"needs the option {name}"):
                    list(self.made(endpoint, tmp_path, **{name: ""}).predict(TEXTS))
            with pytest.raises(UsageError, match="NO_SUCH_KEY is not set"):
                list(self.made(endpoint, tmp_path, key_env="NO_SUCH_KEY").predict(TEXTS))
            (tmp_path / "none.jsonl").write_text('{"text": "x", "entities": []}\n', "utf-8")
            with pytest.raises(UsageError, match="has no entity of PER, LOC"):
                list(self.made(endpoint, tmp_path, examples=str(tmp_path / "none.jsonl")).predict(TEXTS))
