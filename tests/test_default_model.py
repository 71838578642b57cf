"""The real model with the shipped adapter, end to end. `make test` fetches the model first."""

import json
from importlib.resources import files
from itertools import islice
from pathlib import Path

import pytest

import genner
from genner.data import read_jsonl
from genner.evaluation import evaluate
from genner.extract import Extractor
from genner.formats import FORMATS
from genner.labels import label_set

GOLD = Path(str(files("genner") / "assets" / "gold"))
FOLDER = Path(str(files("genner") / "assets" / "adapters" / "default"))
ABOUT = json.loads((FOLDER / "genner.json").read_text())


@pytest.fixture(scope="module")
def ner() -> Extractor:
    return genner.load()


@pytest.fixture(scope="module")
def references() -> Extractor:
    return genner.load(decoder="reference")


def test_people_and_places(processor: str) -> None:
    """On every kind of processor; the other tests run on this one."""
    text = "Angela Merkel met Barack Obama in Berlin."
    found = {(e.start, e.end, e.label) for e in genner.load().extract(text).entities}
    assert found == {(0, 13, "PER"), (18, 30, "PER"), (34, 40, "LOC")}


def test_it_answers_to_the_label_set(ner: Extractor) -> None:
    text = "Angela Merkel met Barack Obama in Berlin."
    assert [(e.start, e.end, e.label) for e in ner.extract(text, labels="LOC").entities] == [(34, 40, "LOC")]
    text = "Cisplatin-induced nephrotoxicity was reduced by amifostine in patients with ovarian cancer."
    drugs = {text[e.start : e.end] for e in ner.extract(text, labels="bc5cdr").entities if e.label == "Chemical"}
    assert "amifostine" in drugs
    proteins = ner.extract("The IL-2 gene is activated by NF-kappa B in human T cells.", labels="genia").entities
    assert (30, 40, "protein") in {(e.start, e.end, e.label) for e in proteins}


def test_the_bio_adapter_is_asked_for_what_it_knows() -> None:
    ner = genner.load("bio")
    assert ner.labels == label_set("genia")
    text = "The IL-2 gene is activated by NF-kappa B in human T cells."
    found = {(text[e.start : e.end], e.label) for e in ner.extract(text).entities}
    assert {("NF-kappa B", "protein"), ("IL-2 gene", "DNA"), ("human T cells", "cell_type")} <= found


@pytest.mark.parametrize("form", ABOUT["formats"])
def test_scores_on_the_gold_sample(ner: Extractor, form: str) -> None:
    """Not a benchmark: a floor well below what was measured, to catch a broken adapter or a broken decoder.

    As grouped JSON the model lists no disease at all; there only the answers' validity is at stake.
    """
    gold = list(islice(read_jsonl(GOLD / "ncbi_disease.jsonl"), 25))
    found = list(Extractor(ner.engine, FORMATS[form], ner.labels).pipe(gold, "ncbi_disease"))
    report = evaluate(gold, found)
    assert report.invalid == 0
    floor = {"grouped_json": -1.0, "occurrence_json": 0.25, "offset_json": 0.25}
    assert report.micro.f1 > floor.get(form, 0.45)
    assert all(e.score is not None and 0 <= e.score <= 1 for d in found for e in d.entities)


def test_speculation_and_reference_agree_in_bf16_nearly_always(ner: Extractor, references: Extractor) -> None:
    gold = sorted((d for d in read_jsonl(GOLD / "uner_en_ewt.jsonl") if d.entities), key=lambda d: len(d.text))[:12]
    fast = [p.entities for p in ner.pipe(gold, batch_size=1)]
    slow = [p.entities for p in references.pipe(gold)]
    assert sum(a == b for a, b in zip(fast, slow, strict=True)) >= 11  # bf16 may turn a near-tie


def test_adapter_says_where_it_comes_from() -> None:
    assert ABOUT["base"] == "smollm2-135m-instruct"
    assert {*ABOUT["formats"]} <= {*FORMATS}
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) < 12_000_000
    labels = label_set("core")
    assert labels.tags == ("PER", "LOC", "ORG")
