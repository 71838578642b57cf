"""What probes measure, against slow code; the picture; the command line."""

import json
import subprocess
import sys
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Run
from tests.strategies import documents

from genner.document import Document, Entity, LabelSet
from genner.errors import DataError, UsageError
from genner.evaluation import evaluate
from genner.evaluation.words import words
from genner.probes import PROBES, Lexicon, make
from genner.probes.measures import (
    assign,
    best_naming,
    by_bucket,
    by_reading,
    false_alarms,
    outermost,
    strict,
)
from genner.probes.plot import Bar, draw, figure
from genner.probes.spans import Name

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SPANS = [(0, 3), (0, 7), (4, 7), (8, 11), (12, 15)]
entities = st.sets(st.builds(lambda span, label: Entity(*span, label), st.sampled_from(SPANS), st.sampled_from("ABC")))
answers = st.lists(st.tuples(entities, entities), max_size=4)


def texts(answers: list[tuple[set[Entity], set[Entity]]]) -> tuple[list[Document], list[Document]]:
    """Gold and predictions over one text, each with an id."""
    text = "Ann Lee met Bob in"
    gold = [Document(text, tuple(g), str(i)) for i, (g, _) in enumerate(answers)]
    return gold, [Document(text, tuple(p), str(i)) for i, (_, p) in enumerate(answers)]


@quick
@given(answers=answers)
def test_the_plain_score_is_that_of_evaluate(answers: list[tuple[set[Entity], set[Entity]]]) -> None:
    gold, found = texts(answers)
    made, report = strict(gold, found), evaluate(gold, found)
    micro = report.micro
    assert (made["precision"], made["recall"], made["f1"]) == (micro.precision, micro.recall, micro.f1)
    assert ((made["low"], made["high"]) if "low" in made else None) == report.interval
    assert made["gold"] == sum(len(g.entities) for g in gold)


@quick
@given(answers=answers)
def test_buckets_add_up(answers: list[tuple[set[Entity], set[Entity]]]) -> None:
    gold, found = texts(answers)
    names = ["short", "long"]
    made = by_bucket(gold, found, lambda d, e: "long" if e.end - e.start > 3 else "short", names)
    whole = strict(gold, found)
    for key in ("gold", "predicted"):
        assert sum(made[f"{name}_{key}"] for name in names) == whole[key]
    right = sum(made[f"{name}_recall"] * made[f"{name}_gold"] for name in names)
    assert right == pytest.approx(whole["recall"] * whole["gold"])
    long = [
        [Document(d.text, tuple(e for e in d.entities if e.end - e.start > 3), d.id) for d in side]
        for side in (gold, found)
    ]
    assert {f"long_{key}": value for key, value in strict(*long).items()}.items() <= made.items()


@quick
@given(
    gain=st.integers(0, 5).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 9), min_size=n, max_size=n), min_size=n, max_size=n)
    )
)
def test_the_best_assignment_is_the_best_of_all(gain: list[list[int]]) -> None:
    made = assign(gain)
    assert sorted(made) == list(range(len(gain)))
    best = max(sum(row[j] for row, j in zip(gain, order, strict=True)) for order in permutations(range(len(gain))))
    assert sum(row[j] for row, j in zip(gain, made, strict=True)) == best


@quick
@given(answers=answers)
def test_the_best_naming_is_the_best_of_all(answers: list[tuple[set[Entity], set[Entity]]]) -> None:
    gold, found = texts(answers)
    made = best_naming(gold, found)
    scores = []
    for names in permutations("ABC"):
        called = dict(zip("ABC", names, strict=True))
        named = [
            Document(d.text, tuple(Entity(e.start, e.end, called[e.label]) for e in d.entities), d.id) for d in found
        ]
        scores.append(strict(gold, named)["f1"])
    assert made["best_f1"] == pytest.approx(max(scores))
    assert made["span_f1"] == evaluate(gold, found).counts_of("span").f1


def test_symbols_are_scored_by_the_best_naming_too() -> None:
    gold = [Document("Ann in Rio", (Entity(0, 3, "PER"), Entity(7, 10, "LOC")), "d")]
    probe = make("symbols")
    probed = probe.apply(gold, LabelSet.of("PER", "LOC"))
    other = dict(zip("AB", "BA", strict=True))
    found = [
        Document(d.text, tuple(Entity(e.start, e.end, other[e.label]) for e in d.entities), d.id)
        for d in probed.documents
    ]
    made = probe.measure(probed, found)
    assert (made["f1"], made["span_f1"], made["best_f1"]) == (0, 1, 1)


@quick
@given(answers=answers, other=entities)
def test_readings_are_scored_one_by_one(answers: list[tuple[set[Entity], set[Entity]]], other: set[Entity]) -> None:
    gold, found = texts(answers)
    second = [Document(d.text, tuple(other), d.id) for d in gold]
    made = by_reading({"one": gold, "two": second}, found)
    for name, reading in (("one", gold), ("two", second)):
        assert {f"{name}_{key}": value for key, value in strict(reading, found).items()}.items() <= made.items()
    chosen: Counter[str] = Counter()
    for a, b, p in zip(gold, second, found, strict=True):
        for span in SPANS:
            la, lb, lp = ({e.label for e in d.entities if e.span == span} for d in (a, b, p))
            if la != lb:
                chosen["all"] += 1
                chosen["none" if not lp else "one" if lp == la else "two" if lp == lb else "other"] += 1
    assert made["disputed"] == chosen["all"]
    for name in ("one", "two", "other", "none"):
        assert made[f"chose_{name}"] == (chosen[name] / chosen["all"] if chosen["all"] else 0)


@quick
@given(answers=answers)
def test_false_alarms_are_counted_by_words(answers: list[tuple[set[Entity], set[Entity]]]) -> None:
    gold, found = texts(answers)
    made = false_alarms(gold, found)
    wrong = [len(p - g) for g, p in answers]
    assert made["false_alarms"] == sum(wrong)
    assert made["words"] == 5 * len(gold) == sum(len(d.text.split()) for d in gold)
    assert made["per_1000_words"] == (1000 * sum(wrong) / (5 * len(gold)) if gold else 0)
    assert made["documents_with"] == (sum(map(bool, wrong)) / len(gold) if gold else 0)


@quick
@given(gold=documents(), data=st.data())
def test_outermost_is_recall_of_what_lies_in_no_other(gold: Document, data: st.DataObject) -> None:
    found = tuple(e for e in gold.entities if data.draw(st.booleans()))
    made = outermost([gold], [Document(gold.text, found, gold.id)])
    covers = [
        {(e.start, e.end) for o in gold.entities if set(range(e.start, e.end)) < set(range(o.start, o.end))}
        for e in gold.entities
    ]
    outer = [e for e, covered in zip(gold.entities, covers, strict=True) if not covered]
    assert made["outer_gold"] == len(outer)
    assert made["outer_recall"] == (len(set(outer) & set(found)) / len(outer) if outer else 0)


def test_predictions_on_other_texts_are_an_error() -> None:
    with pytest.raises(UsageError, match="the texts of gold and prediction differ"):
        strict([Document("Ann", (), "d")], [Document("Bob", (), "d")])
    with pytest.raises(UsageError, match="gold documents without a prediction: 1"):
        false_alarms([Document("Ann", (), "d"), Document("Bob", (), "e")], [Document("Ann", (), "d")])


def test_words_are_those_of_evaluation() -> None:
    assert len(words("Ann Lee met Bob in").starts) == 5


# Lexicons ------------------------------------------------------------------------------------------------------------


def test_lexicons_from_files(tmp_path: Path) -> None:
    listed, file = tmp_path / "names.json", tmp_path / "gold.jsonl"
    listed.write_text(json.dumps({"PER": ["Zoe", "Ann", "Zoe"]}))
    assert Lexicon.from_file(listed) == Lexicon({"PER": (Name("Ann", "PER"), Name("Zoe", "PER"))})
    document = Document("IL-2 gene", (Entity(0, 9, "DNA"), Entity(0, 4, "protein")), "d")
    file.write_text(json.dumps(document.to_dict()))
    made = Lexicon.from_file(file)
    assert made == Lexicon.of([document]) == Lexicon({"DNA": (Name("IL-2 gene", "DNA", (Entity(0, 4, "protein"),)),)})
    assert made.within(LabelSet.of("DNA")) == Lexicon({"DNA": (Name("IL-2 gene", "DNA"),)})
    assert made.without({"il-2 gene"}) == Lexicon({})
    for wrong in ('["Ann"]', '{"PER": "Ann"}', '{"PER": [" "]}', "{"):
        listed.write_text(wrong)
        with pytest.raises(DataError):
            Lexicon.from_file(listed)
    with pytest.raises(DataError, match="cannot be read"):
        Lexicon.from_file(tmp_path / "none.json")


def test_a_lexicon_takes_the_most_frequent_inside_and_no_crossing() -> None:
    def gene(*inner: Entity) -> Document:
        return Document("IL-2 gene", (Entity(0, 9, "DNA"), *inner))

    protein = Entity(0, 4, "protein")
    assert Lexicon.of([gene(protein), gene(), gene(protein)]).names["DNA"] == (Name("IL-2 gene", "DNA", (protein,)),)
    crossing = Document("a b c", (Entity(0, 3, "X"), Entity(2, 5, "Y")))
    assert Lexicon.of([crossing]) == Lexicon({})


# The picture ---------------------------------------------------------------------------------------------------------

BARS = [
    Bar("nonsense", (0.5, 0.4, 0.6), (0.7, 0.65, 0.75)),
    Bar("lower", (0.3, 0.31, 0.4), (0.7, 0.65, 0.75)),
    Bar("alone", (1.0, 0.9, 1.0)),
]


def test_bars_are_as_long_as_their_scores() -> None:
    (axes,) = figure(BARS, title="Probes", ink="0.5").axes
    original, probe = (
        [patch.get_width() for patch in container.patches]
        for container in axes.containers
        if hasattr(container, "patches")
    )
    assert original == pytest.approx([70, 70])
    assert probe == pytest.approx([50, 30, 100])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["nonsense", "lower", "alone"]
    assert [text.get_text() for text in axes.texts] == ["70.0", "70.0", "50.0", "30.0", "100.0"]
    assert axes.get_title(loc="left") == "Probes"


def test_bars_of_measures() -> None:
    scores = {"f1": 0.5, "low": 0.4, "high": 0.6, "name_f1": 0.2, "name_low": 0.1, "name_high": 0.3}
    assert Bar.of("x", scores) == Bar("x", (0.5, 0.4, 0.6))
    assert Bar.of("x", scores, scores, "name_") == Bar("x", (0.2, 0.1, 0.3), (0.5, 0.4, 0.6))


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_pictures_are_the_same_each_time(tmp_path: Path, suffix: str, start: bytes) -> None:
    made = []
    for name in ("a", "b"):
        draw(BARS, tmp_path / f"{name}{suffix}")
        made.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert made[0].startswith(start)
    assert made[0] == made[1]
    assert len(list(tmp_path.iterdir())) == 2


def test_pictures_of_nothing_and_of_no_kind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no probe to draw"):
        figure([])
    with pytest.raises(UsageError, match=r"ends in '.gif'; legal: .png, .svg, .pdf"):
        draw(BARS, tmp_path / "a.gif")


# The command line ----------------------------------------------------------------------------------------------------

GOLD = [
    Document("Ann Lee left Rio.", (Entity(0, 7, "PER"), Entity(13, 16, "LOC")), "1"),
    Document("Nothing to see.", (), "2"),
]


def written(path: Path, documents: list[Document]) -> str:
    path.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in documents))
    return str(path)


def read(path: Path) -> list[Document]:
    return [Document.from_dict(json.loads(line)) for line in path.read_text().splitlines()]


def test_probe_writes_what_extract_and_evaluate_read(run: Run, tmp_path: Path) -> None:
    gold = written(tmp_path / "gold.jsonl", GOLD)
    code, out, err = run("probe", "permuted", gold, "out.jsonl", "--labels", "core", "--seed", "4")
    assert (code, out) == (0, "")
    assert "2 documents in out.jsonl" in err
    assert "labels_changed: 3" in err
    from genner.labels import label_set

    probed = make("permuted", 4).apply(GOLD, label_set("core"))
    assert read(tmp_path / "out.jsonl") == list(probed.documents)
    assert LabelSet.from_file(tmp_path / "out.labels.json") == probed.labels
    about = json.loads((tmp_path / "out.probe.json").read_text())
    assert about == {
        "probe": "permuted",
        "seed": 4,
        "options": {},
        "back": dict(probed.back),
        "report": dict(probed.report),
        "readings": {"definition": "out.jsonl", "tag": "out.tag.jsonl"},
    }
    assert read(tmp_path / "out.tag.jsonl") == GOLD
    code, out, _ = run("probe", "permuted", gold, "--labels", "core", "--seed", "4", "--score", "out.tag.jsonl")
    assert code == 0
    assert json.loads(out) == make("permuted", 4).measure(probed, GOLD)
    assert json.loads(out)["chose_tag"] == 1


def test_probe_takes_training_data_lexicons_and_options(run: Run, tmp_path: Path) -> None:
    gold, train = written(tmp_path / "gold.jsonl", GOLD), written(tmp_path / "train.jsonl", GOLD[:1])
    (tmp_path / "names.json").write_text('{"PER": ["Zoe Day", "Ann Lee"], "LOC": ["Oslo"]}')
    code, _, err = run("probe", "mentions_unseen", gold, "out.jsonl", "--train", train, "--lexicon", "names.json")
    assert (code, "replaced: 2" in err) == (0, True)
    assert [d.text for d in read(tmp_path / "out.jsonl")] == ["Zoe Day left Oslo.", "Nothing to see."]
    code, _, _ = run("probe", "neutral", gold, "o2.jsonl", "--option", 'templates=["Hier steht {}."]')
    assert code == 0
    assert [d.text for d in read(tmp_path / "o2.jsonl")] == ["Hier steht Ann Lee.", "Hier steht Rio."]


def test_probe_list_and_what_a_probe_is_about(run: Run) -> None:
    code, out, _ = run("probe", "list")
    assert code == 0
    assert [line.split("\t")[0].split(",")[0] for line in out.splitlines()] == list(PROBES)
    assert "mentions_unseen, needs --train and --lexicon\tMentions are replaced" in out
    code, out, _ = run("probe", "symbols")
    assert code == 0
    assert "\nCannot show: " in out
    assert out.endswith("--option shuffled=...; default: true\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "GOLD", "out.jsonl"], "unknown probe 'nothing'"),
        (["nothing"], "unknown probe 'nothing'"),
        (["lower", "GOLD"], "give OUT.jsonl, where the probed documents go, or --score"),
        (["lower", "GOLD", "out.txt"], "'out.txt' ends in '.txt'; legal: .jsonl"),
        (["lower", "missing.jsonl", "out.jsonl"], "there is no 'missing.jsonl'"),
        (["lower", "GOLD", "out.jsonl", "--train", "GOLD"], "probe 'lower' does not use --train; leave it out"),
        (["mentions_seen", "GOLD", "out.jsonl"], "probe 'mentions_seen' needs train"),
        (["symbols", "GOLD", "out.jsonl", "--option", "shuffled"], "--option 'shuffled'; legal: KEY=VALUE"),
        (["symbols", "GOLD", "out.jsonl", "--option", "shuffled=no"], "option 'shuffled' is 'no'"),
        (["symbols", "GOLD", "out.jsonl", "--labels", "PER"], "has label 'LOC', which the label set lacks"),
        (["list", "GOLD"], "genner probe list takes no file"),
    ],
)
def test_wrong_use(run: Run, tmp_path: Path, arguments: list[str], message: str) -> None:
    gold = written(tmp_path / "gold.jsonl", GOLD)
    code, out, err = run("probe", *(gold if a == "GOLD" else a for a in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out.jsonl").exists()


def test_probing_needs_no_torch(tmp_path: Path) -> None:
    gold = written(tmp_path / "gold.jsonl", GOLD)
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['genner', 'probe', 'lower', {gold!r}, {str(tmp_path / 'out.jsonl')!r}]\n"
        "from genner.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not set(done.stderr.split()) & {"torch", "transformers", "peft", "matplotlib", "lm_eval", "datasets"}


def test_labels_without_any_are_the_default_ones(run: Run, tmp_path: Path) -> None:
    code, _, _ = run("probe", "no_entities", written(tmp_path / "gold.jsonl", GOLD[1:]), "out.jsonl")
    assert code == 0
    assert LabelSet.from_file(tmp_path / "out.labels.json").tags == ("PER", "LOC", "ORG")
