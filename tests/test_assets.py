"""The bundled label sets, the gold sample and the example texts are complete, consistent and attributed."""

import json
from pathlib import Path
from typing import Any

import pytest

from genner.data.describe import nesting
from genner.document import Document, Label, LabelSet
from tests.places import ROOT

ASSETS = ROOT / "src" / "genner" / "assets"
GOLD = sorted((ASSETS / "gold").glob("*.jsonl"))
EXAMPLES = sorted((ROOT / "examples").glob("*.jsonl"))
SETS: dict[str, dict[str, Any]] = json.loads((ASSETS / "labels.json").read_text(encoding="utf-8"))
LABELS: dict[str, dict[str, dict[str, str]]] = {name: about["labels"] for name, about in SETS.items()}


def label_set_of(name: str) -> str:
    """The label set of a gold file: the UNER sets share one."""
    return "core" if name.startswith("uner_") else name


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def named(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


def test_core_is_per_loc_org_in_this_order() -> None:
    assert list(LABELS["core"]) == ["PER", "LOC", "ORG"]


@pytest.mark.parametrize("name", LABELS)
def test_label_set_is_valid_and_every_definition_is_concise(name: str) -> None:
    labels = LabelSet(tuple(Label(tag, **value) for tag, value in LABELS[name].items()))
    for label in labels:
        assert label.name
        assert 1 <= len(label.definition.split()) <= 12, label
    definitions = [label.definition for label in labels]
    assert len(set(definitions)) == len(definitions)


@named(GOLD)
def test_gold_nests_no_deeper_than_its_label_set_says(path: Path) -> None:
    depth = SETS[label_set_of(path.stem)]["depth"]
    assert max(nesting(Document.from_dict(record).entities)[2] for record in records(path)) <= depth


def test_gold_sample_is_large_enough() -> None:
    assert sum(len(records(path)) for path in GOLD) >= 300


@named(GOLD)
def test_gold_documents_load_and_use_their_label_set(path: Path) -> None:
    documents = [Document.from_dict(record) for record in records(path)]
    assert documents
    assert len({document.id for document in documents}) == len(documents)
    for document in documents:
        assert document.text.strip()
        assert {entity.label for entity in document.entities} <= set(LABELS[label_set_of(path.stem)])
        for entity in document.entities:
            mention = document.mention(entity)
            assert mention == mention.strip(), f"{document.id}: {mention!r} has an edge of spaces"


@named(GOLD)
def test_gold_sources_name_licence_and_counts(path: Path) -> None:
    sources = (ASSETS / "gold" / "SOURCES.md").read_text(encoding="utf-8")
    read = records(path)
    empty = sum(not record["entities"] for record in read)
    entities = sum(len(record["entities"]) for record in read)
    assert f"| `{path.name}` | `{label_set_of(path.stem)}` | {len(read)} | {empty} | {entities} |" in sources
    credit = next(line for line in sources.splitlines() if line.startswith(f"- **{path.stem}**"))
    assert "Licence: " in credit
    assert "GENIA" not in sources


def test_there_are_examples_in_two_languages() -> None:
    assert {"news", "biomedical", "fiction"} < {path.stem for path in EXAMPLES}
    assert len(EXAMPLES) >= 4


@named(EXAMPLES)
def test_example_is_one_attributed_document(path: Path) -> None:
    (record,) = records(path)
    assert set(record) == {"id", "title", "text", "labels", "label_set", "source", "license", "attribution"}
    assert all(record.values())
    document = Document.from_dict({**record, "entities": []})
    assert len(document.text.split()) >= 90
    assert set(record["labels"]) <= set(LABELS[record["label_set"]])
    readme = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert f"`{path.name}`" in readme
    assert f"**{path.name}**" in readme


@named(EXAMPLES)
def test_example_reads_as_natural_text(path: Path) -> None:
    (record,) = records(path)
    for tokenized in ("  ", " ,", " .", " ;", "( ", " )", " 's", " %"):
        assert tokenized not in record["text"], tokenized
