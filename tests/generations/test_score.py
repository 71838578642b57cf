"""Three readings of answers worked out by hand: by the published scripts with their faults, strict, and repaired."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import LABELS, documents

from genner.document import Document, Entity, LabelSet
from genner.errors import DataError, UnknownNameError, UsageError
from genner.evaluation import Counts, evaluate
from genner.formats import FORMATS
from genner.generations import PAPER_RULES, READINGS, GenerationsReport, read_generations, score_generations
from genner.generations.records import GenerationRecord
from genner.generations.sources import find_source

TAGS = ("PER", "LOC", "P")
Score = Callable[..., GenerationsReport]


def paper(format: str, predict: Any, label: Any) -> tuple[float, float, float]:
    counts = sum(PAPER_RULES[format](predict, label, TAGS).counts().values(), Counts())
    return counts.tp, counts.fp, counts.fn


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def score(tmp_path: Path) -> Score:
    """Score records: `score(format, rule, (predict, label), (predict, label, prompt), ...)`."""

    def call(format: str, rule: str, *rows: tuple[Any, ...], **options: Any) -> GenerationsReport:
        names = ("predict", "label", "prompt")
        records = [dict(zip(names, row, strict=False)) for row in rows]
        return score_generations(write(tmp_path / "g.jsonl", *records), format, rule, **options)

    return call


def micro(report: GenerationsReport) -> tuple[float, float, float]:
    return report.micro.tp, report.micro.fp, report.micro.fn


# The paper's rule: prediction, gold answer, (tp, fp, fn). The counts are those of the published scripts.

BRACKETED = {
    "by position where the copies agree": (
        "[Ann | PER] met Ann.", "Ann met [Ann | PER].", (0, 1, 1)),
    "by text where they do not: a wrong place is right": (
        "[Ann | PER] met Ann", "Ann met [Ann | PER].", (1, 0, 0)),
    "nested": ("[[New York | LOC] Times | PER]", "[[New York | LOC] Times | PER]", (2, 0, 0)),
    "blanks before the bar and in the label": ("[Ann  |  cell \t line ]", "[Ann | cell line]", (1, 0, 0)),
    "a bar without blanks": ("[Ann|PER] left", "[Ann | PER] left", (1, 0, 0)),
    "blanks after the bracket stay": ("[ Ann | PER] left", "[Ann | PER] left", (0, 1, 1)),
    "blanks around the answer": ("  [Ann | PER] left \n", "[Ann | PER] left", (1, 0, 0)),
    "an unmatched closing vanishes": ("Ann | PER] [Bob | PER]", "Ann [Bob | PER]", (1, 0, 0)),
    "an unclosed bracket vanishes": ("[Ann [Bob | PER]", "Ann [Bob | PER]", (1, 0, 0)),
    "an empty span": ("[ | PER]Ann", "Ann", (0, 0, 0)),
    "an empty label": ("[Ann | ]", "[Ann | PER]", (0, 0, 1)),
    "no label at all is text": ("[Ann |] [Bob | PER]", "[Ann |] [Bob | PER]", (1, 0, 0)),
    "a label is anything up to the bracket": ("[a | b [c | PER]", "a | b [c | PER]", (0, 1, 0)),
    "a bracket of the source that is never closed": ("[1] [Ann | PER] left", "[1] [Ann | PER] left", (1, 0, 0)),
    "a wrong label": ("[Ann | LOC]", "[Ann | PER]", (0, 1, 1)),
    "written twice by text": ("x [Ann | PER] [Ann | PER]", "[Ann | PER]", (1, 1, 0)),
    "an empty answer": ("", "[Ann | PER]", (0, 0, 1)),
    "no answer": (None, "[Ann | PER]", (0, 0, 1)),
}  # fmt: skip

XML = {
    "by position where the copies agree": (
        "<PER>Ann</PER> met Ann.", "Ann met <PER>Ann</PER>.", (0, 1, 1)),
    "by text where they do not": (
        "<PER>Ann</PER> met Ann", "Ann met <PER>Ann</PER>.", (1, 0, 0)),
    "no blank goes": (" <PER>Ann</PER>", "<PER>Ann</PER>", (1, 0, 0)),
    "blanks inside count": ("<PER>Ann </PER>left", "<PER>Ann</PER> left", (0, 1, 1)),
    "nested": ("<PER><LOC>New York</LOC> Times</PER>", "<PER><LOC>New York</LOC> Times</PER>", (2, 0, 0)),
    "nested of one label": ("<P>a <P>b</P></P>", "<P>a <P>b</P></P>", (2, 0, 0)),
    "other tags are text": ("<ORG>Ann</ORG> <PER>Bob</PER>", "Ann <PER>Bob</PER>", (1, 0, 0)),
    "a closing discards those opened since": ("<PER>a <LOC>b</PER> c</LOC>", "<PER>a b</PER> c", (1, 0, 0)),
    "unclosed": ("<PER>Ann", "Ann", (0, 0, 0)),
    "empty": ("<PER></PER>Ann", "Ann", (0, 0, 0)),
    "tags of the source are misread": ("<P>Ann</P>", "<P>Ann</P>", (1, 0, 0)),
    "tags with blanks are text": ("<PER >Ann</PER>", "<PER>Ann</PER>", (0, 0, 1)),
    "no answer": (None, "<PER>Ann</PER>", (0, 0, 1)),
}  # fmt: skip

GROUPED = {
    "by text": ('{"PER": ["Ann", "Bob"], "LOC": []}', '{"PER": ["Bob", "Cy"]}', (1, 1, 1)),
    "multisets": ('{"PER": ["Ann", "Ann"]}', '{"PER": ["Ann"]}', (1, 1, 0)),
    "code fences are not JSON": ('```json\n{"PER": ["Ann"]}\n```', '{"PER": ["Ann"]}', (0, 0, 1)),
    "a list is not an object": ('["Ann"]', '{"PER": ["Ann"]}', (0, 0, 1)),
    "a value that is no list": ('{"PER": "Ann", "LOC": ["Rome"]}', '{"LOC": ["Rome"]}', (1, 0, 0)),
    "what is no string": ('{"PER": [true, null, 1.0]}', '{"PER": ["True", "None", "1"]}', (2, 1, 1)),
    "not a number is JSON": ('{"PER": [NaN]}', '{"PER": ["nan"]}', (1, 0, 0)),
    "the last of two keys": ('{"PER": ["a"], "PER": ["b"]}', '{"PER": ["b"]}', (1, 0, 0)),
    "an object as it is": ({"PER": ["Ann"]}, '{"PER": ["Ann"]}', (1, 0, 0)),
    "no answer": (None, '{"PER": ["Ann"]}', (0, 0, 1)),
    "an answer too deep": ('{"PER": ' + "[" * 100_000, '{"PER": ["Ann"]}', (0, 0, 1)),
}  # fmt: skip


def items(*given: tuple[Any, ...], keys: tuple[str, ...] = ("text", "label", "occurrence_index")) -> str:
    return json.dumps([dict(zip(keys, item, strict=False)) for item in given])


GOLD_ITEMS = items(("Ann", "PER", 1), ("Rome", "LOC", 2))
OCCURRENCE = {
    "every field counts": (items(("Ann", "PER", 1), ("Rome", "LOC", 1)), GOLD_ITEMS, (1, 1, 1)),
    "multisets": (items(("Ann", "PER", 1), ("Ann", "PER", 1)), GOLD_ITEMS, (1, 1, 1)),
    "one bad number empties the answer": (items(("Ann", "PER", 1), ("Rome", "LOC", "two")), GOLD_ITEMS, (0, 0, 2)),
    "a number that is none": (items(("Ann", "PER", 1), ("Rome", "LOC", [2])), GOLD_ITEMS, (0, 0, 2)),
    "not a number": (items(("Ann", "PER", 1), ("Rome", "LOC", float("nan"))), GOLD_ITEMS, (0, 0, 2)),
    "infinity": (items(("Ann", "PER", 1), ("Rome", "LOC", float("inf"))), GOLD_ITEMS, (0, 0, 2)),
    "what int takes is taken": (items(("Ann", "PER", True), ("Rome", "LOC", "2")), GOLD_ITEMS, (2, 0, 0)),
    "fractions are cut off": (items(("Ann", "PER", 1.9), ("Rome", "LOC", 2.5)), GOLD_ITEMS, (2, 0, 0)),
    "a missing or null field loses one item": (items(("Ann", "PER", 1), ("Rome", "LOC")), GOLD_ITEMS, (1, 0, 1)),
    "null": (items(("Ann", "PER", 1), (None, "LOC", "x")), GOLD_ITEMS, (1, 0, 1)),
    "an item that is no object loses itself": ('[1, "Ann", ' + GOLD_ITEMS[1:], GOLD_ITEMS, (2, 0, 0)),
    "text and label as Python writes them": (items((1, False, 1)), items(("1", "False", 1)), (1, 0, 0)),
    "an object is no list": ('{"text": "Ann"}', GOLD_ITEMS, (0, 0, 2)),
    "broken off": (GOLD_ITEMS[:-1], GOLD_ITEMS, (0, 0, 2)),
    "a list as it is": (json.loads(GOLD_ITEMS), GOLD_ITEMS, (2, 0, 0)),
    "a bad number in the gold answer": (GOLD_ITEMS, items(("Ann", "PER", 1), ("Rome", "LOC", "x")), (0, 2, 0)),
    "an empty answer": ("", GOLD_ITEMS, (0, 0, 2)),
}
KEYS = ("text", "label", "start", "end")
GOLD_OFFSETS = items(("Ann", "PER", 0, 3), ("Rome", "LOC", 8, 12), keys=KEYS)
OFFSET = {
    "every field counts": (items(("Ann", "PER", 0, 3), ("Rome", "LOC", 8, 11), keys=KEYS), GOLD_OFFSETS, (1, 1, 1)),
    "the text, too": (items(("Anne", "PER", 0, 3), ("Rome", "LOC", 8, 12), keys=KEYS), GOLD_OFFSETS, (1, 1, 1)),
    "one bad number": (items(("Ann", "PER", 0, 3), ("Rome", "LOC", 8, "end"), keys=KEYS), GOLD_OFFSETS, (0, 0, 2)),
    "one number missing": (items(("Ann", "PER", 0, 3), ("Rome", "LOC", 8), keys=KEYS), GOLD_OFFSETS, (1, 0, 1)),
    "places that cannot be": (
        items(("Ann", "PER", 3, 0), keys=KEYS),
        items(("Ann", "PER", 3, 0), keys=KEYS),
        (1, 0, 0),
    ),
}
ALL = {
    f"{name}: {what}": (name, *case)
    for name, cases in zip(PAPER_RULES, (BRACKETED, XML, GROUPED, OCCURRENCE, OFFSET), strict=True)
    for what, case in cases.items()
}


@pytest.mark.parametrize(("format", "predict", "label", "counts"), ALL.values(), ids=ALL)
def test_the_papers_rule(format: str, predict: Any, label: Any, counts: tuple[int, int, int]) -> None:
    assert paper(format, predict, label) == counts


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*KEYS, "PER"]) | st.text(), inner),
    max_leaves=8,
)
pieces = st.lists(st.sampled_from([*"[]|<>/ \n", " | PER]", "<PER>", "</PER>", "</LOC>", "<LOC>", "Ann"]), max_size=9)
answers = pieces.map("".join) | anything | anything.map(json.dumps)


@given(answers, answers)
def test_the_papers_rule_takes_anything(predict: Any, label: Any) -> None:
    for format in PAPER_RULES:
        tp, fp, fn = paper(format, predict, label)
        assert paper(format, label, predict) == (tp, fn, fp)
        right, wrong, missed = paper(format, label, label)
        assert (wrong, missed) == (0, 0)
        assert right == tp + fn or format.startswith("inline")


@settings(max_examples=40, deadline=None)
@given(documents(crossing=True))
def test_paper_and_format_agree_on_a_perfect_answer(document: Document) -> None:
    for name, format in FORMATS.items():
        if name not in PAPER_RULES:
            continue
        said, _ = format.encodable_part(document)
        answer = format.encode(said, LABELS)
        again = format.decode(document.text, answer, LABELS)
        assert again.entities == said.entities
        assert paper(name, answer, answer)[1:] == (0, 0)


# Strict, and repaired


def prompt(text: str, tail: str = "\nassistant\n") -> str:
    return f"user\n\nFind the entities. Labels:\nPER: people\nNow process the input sentence:\n{text}{tail}"


def test_a_changed_copy_does_not_make_a_wrong_place_right(score: Score) -> None:
    row = ("[Ann | PER] met Ann", "Ann met [Ann | PER].")
    assert micro(score("inline_bracketed", "paper", row)) == (1, 0, 0)
    report = score("inline_bracketed", "strict", row)
    assert micro(report) == (0, 1, 1)
    assert report.readings["paper"].counts == Counts(1, 0, 0)
    assert report.readings["repaired"].counts == Counts(0, 1, 1)
    assert [case.reasons for case in report.cases] == [("paper matches texts here, not positions",)]


def test_brackets_of_the_source_are_read_by_the_prompt(score: Score) -> None:
    text = "See [1] and a | b] with Ann."
    answer = "See [1] and a | b] with [Ann | PER]."
    row = (answer, answer, prompt(text))
    labels = LabelSet.of("PER", "LOC")
    assert micro(score("inline_bracketed", "paper", row, labels=labels)) == (2, 0, 0)
    report = score("inline_bracketed", "strict", row, labels=labels)
    assert micro(report) == (1, 0, 0)
    assert report.cases[0].reasons == ("the gold answer is read differently",)
    assert find_source(GenerationRecord(1, answer, answer, prompt(text)), FORMATS["inline_bracketed"], labels) == text


def test_a_bad_number_costs_one_entity(score: Score) -> None:
    gold = items(("Ann", "PER", 1), ("Rome", "LOC", 1))
    row = (items(("Ann", "PER", 1), ("Rome", "LOC", "one"), ("Bob", "PER", 1)), gold)
    assert micro(score("occurrence_json", "paper", row)) == (0, 0, 2)
    report = score("occurrence_json", "strict", row)
    assert micro(report) == (1, 2, 1)
    assert (report.basis, report.misplaced, report.problems) == ({"items": 1}, 1, {})
    assert report.cases[0].reasons == ("paper discards the whole answer",)


def test_offsets_are_spans_without_a_source(score: Score) -> None:
    gold = items(("Ann", "PER", 0, 3), ("Rome", "LOC", 8, 12), keys=KEYS)
    pred = items(("Anx", "PER", 0, 3), ("Rome", "LOC", 8, 12), ("Rome", "LOC", 8, 12), ("Ann", "P", 3, 0), keys=KEYS)
    assert micro(score("offset_json", "paper", (pred, gold))) == (1, 3, 1)
    report = score("offset_json", "strict", (pred, gold))
    assert (micro(report), report.basis, report.misplaced) == ((1, 2, 1), {"items": 1}, 1)


def test_grouped_answers_have_no_places(score: Score) -> None:
    row = ('```json\n{"PER": ["Ann", 1]}\n```', '{"PER": ["Ann"], "LOC": []}')
    report = score("grouped_json", "strict", row)
    assert (micro(report), report.basis, report.problems) == ((1, 0, 0), {"texts": 1}, {"malformed": 1})
    assert "NOT spans" in report.table()
    report = score("grouped_json", "strict", (*row, prompt("Ann left.")))
    assert (micro(report), report.basis) == ((1, 0, 0), {"spans": 1})


@pytest.mark.parametrize(
    "tail", ["", "assistant\n\n", "\nassistant\n", "<|im_end|>\n<|im_start|>assistant\n", " [/INST]"]
)
@pytest.mark.parametrize("name", PAPER_RULES)
def test_the_source_is_found_in_the_prompt(name: str, tail: str) -> None:
    text = "Labels: Rome, Ann and Rome saw Ann."
    document = Document(
        text, (Entity(8, 12, "LOC"), Entity(14, 17, "PER"), Entity(22, 26, "LOC"), Entity(31, 34, "PER"))
    )
    labels = LabelSet.of("PER", "LOC")
    answer = FORMATS[name].encode(document, labels)
    assert find_source(GenerationRecord(1, "", answer, prompt(text, tail)), FORMATS[name], labels) == text


def test_a_source_of_several_lines(score: Score) -> None:
    text = "He said:\nAnn left.\nAnn came back."
    gold = items(("Ann", "PER", 9, 12), ("Ann", "PER", 19, 22), keys=KEYS)
    labels = LabelSet.of("PER")
    assert find_source(GenerationRecord(1, "", gold, prompt(text)), FORMATS["offset_json"], labels) == text
    assert micro(score("offset_json", "strict", (gold, gold, prompt(text)))) == (2, 0, 0)


def test_where_the_prompt_lacks_the_source(score: Score) -> None:
    gold = items(("Ann", "PER", 1))
    report = score("occurrence_json", "strict", (gold, gold, "nothing of the kind"))
    assert (micro(report), report.basis) == ((1, 0, 0), {"items": 1})


@settings(max_examples=40, deadline=None)
@given(documents(crossing=True), documents(crossing=True))
def test_with_gold_documents_it_is_the_score_of_the_decoded_answers(
    tmp_path_factory: pytest.TempPathFactory, gold: Document, other: Document
) -> None:
    form = FORMATS["occurrence_json"]
    entities = tuple(e for e in other.entities if e.end <= len(gold.text))
    answer = form.encode(form.encodable_part(Document(gold.text, entities))[0], LABELS)
    path = write(tmp_path_factory.mktemp("g") / "g.jsonl", {"predict": answer, "label": "unused"})
    report = score_generations(path, "occurrence_json", "repaired", LABELS, [gold])
    decoded = evaluate([gold], [form.decode(gold.text, answer, LABELS)])
    assert report.micro == decoded.micro
    assert {k: v for k, v in report.per_label.items() if v != Counts()} == decoded.per_label


# Reports


def test_the_report(score: Score) -> None:
    rows = [("<PER>Ann</PER> left", "<PER>Ann</PER> left."), ("x", "<LOC>Rome</LOC>"), ("<PER>a</PER>", "<LOC>a</LOC>")]
    for rule in READINGS:
        report = score("inline_xml", rule, *rows)
        record = json.loads(json.dumps(report.to_dict()))
        assert record["micro"] == {
            "precision": 0.5, "recall": 1 / 3, "f1": 0.4, "support": 3, "tp": 1, "fp": 1, "fn": 2,
        }  # fmt: skip
        assert (record["rule"], record["records"], record["labels"]) == (rule, 3, ["LOC", "PER"])
        assert record["labels_inferred"]
        assert record["cases"] == []
        assert report.signature.startswith(f"match:{rule}|format:inline_xml|labels:LOC,PER|gold:answers|records:3|")
        assert record["readings"].keys() == set(READINGS)
        assert "the three readings agree on every record" in report.table()
        shown = [line.split() for line in report.table().splitlines()]
        assert [line[:4] for line in shown if line and line[0] in READINGS] == [
            [name, "0.5000", "0.3333", "0.4000"] for name in READINGS
        ]
        assert report.interval[0] <= report.micro.f1 <= report.interval[1]
    assert list(score("inline_xml", "paper", *rows, labels=LabelSet.of("PER", "P")).per_label) == ["P", "PER"]


def test_what_the_gold_answers_lost_is_not_said_to_be_repaired(score: Score) -> None:
    report = score("inline_xml", "strict", ("<PER>Ann</PER> in Ro", "<PER>Ann</PER> in <LOC>Ro"))
    lines = report.table().splitlines()
    assert report.problems == {"dropped in gold": 1}
    assert "gold answers: 1 dropped" in lines
    assert not any(line.startswith("repaired:") for line in lines)


def test_only_given_labels_are_tags(score: Score) -> None:
    row = ("<PER>Ann</PER> <b>x</b>", "<PER>Ann</PER> <b>x</b>")
    assert micro(score("inline_xml", "paper", row)) == (2, 0, 0)
    assert micro(score("inline_xml", "paper", row, labels=LabelSet.of("PER"))) == (1, 0, 0)


def test_cases_are_told_and_counted(score: Score) -> None:
    rows = [("[Ann | PER] met Ann", "Ann met [Ann | PER].")] * 12
    text = score("inline_bracketed", "paper", *rows).table()
    assert "the three readings differ on 12 of 12 records:" in text
    assert "     12  paper matches texts here, not positions" in text
    assert "the first 10 of 12; --json lists all" in text
    assert len(score("inline_bracketed", "paper", *rows).to_dict()["cases"]) == 12


def test_nothing_to_score(score: Score) -> None:
    for rule in READINGS:
        for name in PAPER_RULES:
            assert micro(score(name, rule)) == (0, 0, 0)
            assert micro(score(name, rule, ("", ""))) == (0, 0, 0)
            assert "none" in score(name, rule, ("", "")).table()


def test_mistakes_in_the_call(score: Score) -> None:
    with pytest.raises(UnknownNameError, match="unknown format of generations 'xml'; known: grouped_json, inline"):
        score("xml", "paper", ("", ""))
    with pytest.raises(UnknownNameError, match="unknown rule 'lenient'; known: paper, repaired, strict"):
        score("inline_xml", "lenient", ("", ""))
    with pytest.raises(UsageError, match="gold documents: 2, records: 1"):
        score("inline_xml", "strict", ("", ""), gold=[Document("a")] * 2)


# Reading


def test_reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "g.jsonl"
    path.write_bytes(b'{"predict": "a", "label": "b", "prompt": "c"}\n\n{broken\r\n{"label": null, "prompt": 1}\n')
    generations = read_generations(path)
    assert generations.records == (GenerationRecord(1, "a", "b", "c"), GenerationRecord(4, "", None, None))
    assert generations.skipped == (3,)
    assert "g.jsonl:3: is not JSON" in caplog.text
    assert "lines that are not JSON, not counted: 1 (3)" in score_generations(path, "inline_xml", "paper").table()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[1]\n", r"g\.jsonl:1: is a JSON list, not an object"),
        (b'{"text": "a"}\n', "no line has 'predict' and 'label'; there are: text; give"),
        (b'{"predict": "\xff"}\n', "invalid UTF-8"),
        (b"1" * 5000, r"g\.jsonl:1: cannot be read as JSON"),
    ],
)
def test_another_kind_of_file(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "g.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_generations(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_generations(tmp_path / "none.jsonl")
