"""What `--dry-run` says of files that are there and cannot be used: all of it, at once."""

import json
from pathlib import Path
from typing import Any

from genner.assess.cells import plan
from genner.assess.study import Study
from genner.assess.unreadable import unreadable

GOOD = {"id": "1", "text": "Ann saw Rome", "entities": [{"start": 0, "end": 3, "label": "PER"}]}
STUDY: dict[str, Any] = {
    "name": "faulty",
    "decodings": ["grammar"],
    "model": [{"name": "default", "corpora": ["names"]}],
    "corpus": [{"name": "names", "labels": "core", "train": ["train.jsonl"], "test": "test.jsonl"}],
}


def told(root: Path, **more: Any) -> dict[str, int]:
    """The messages, without the folder, and the number of cells that each is about."""
    found = unreadable(plan(Study.from_dict(STUDY | more)), root)
    return {why.replace(f"{root}/", ""): len(cells) for why, cells in found.items()}


def write(path: Path, *records: Any) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def test_nothing_is_said_of_what_can_be_read_or_is_not_there(tmp_path: Path) -> None:
    assert told(tmp_path) == {}  # `genner.assess.missing` tells it
    write(tmp_path / "test.jsonl", GOOD)
    assert told(tmp_path) == {}


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    write(tmp_path / "broken.jsonl", GOOD, GOOD | {"id": "2", "entities": [{"start": 0, "end": 99, "label": "PER"}]})
    foreign = [GOOD["entities"][0] | {"label": label} for label in ("GENE", "CELL")]
    write(tmp_path / "foreign.jsonl", GOOD, {"id": "2", "text": "Ann saw Rome", "entities": foreign})
    write(tmp_path / "bare.jsonl", GOOD | {"entities": []})
    write(tmp_path / "empty.jsonl")
    (tmp_path / "prose.xyz").write_text("no corpus at all, as far as anybody can tell\n", encoding="utf-8")
    write(tmp_path / "talk.jsonl", {"something": "else"})
    write(tmp_path / "test.jsonl", GOOD)
    (tmp_path / "enc").mkdir()
    tests = {name: {"name": name, "labels": "core", "test": f"{name}.jsonl"} for name in ("broken", "foreign", "bare")}
    tests["empty"] = {"name": "empty", "labels": "core", "test": "empty.jsonl"}
    tests["prose"] = {"name": "prose", "labels": "core", "test": "prose.xyz"}
    tests["good"] = {"name": "good", "labels": "core", "train": ["broken.jsonl"], "test": "test.jsonl"}
    prompted = {"name": "few", "model": "default", "engine": "scripted", "corpora": ["good"], "shots": 1}
    found = told(
        tmp_path,
        corpus=list(tests.values()),
        model=[
            {"name": "default", "corpora": ["broken", "foreign", "bare", "empty", "prose"]},
            {"name": "smollm2-135m-instruct", "corpora": ["good"], "recipes": ["lora"]},
        ],
        recipe=[{"name": "lora", "lora": {"rank": 1}, "chat": [{"name": "talk", "train": ["talk.jsonl"]}]}],
        system=[prompted, prompted | {"name": "near", "encoder": str(tmp_path / "enc")}],
    )
    starts = {
        "broken.jsonl:2: ": 4,  # its own cell, the training, and both systems that show it
        "foreign.jsonl: document '2' has label 'CELL', which the label set lacks; it has: PER, LOC, ORG": 1,
        "bare.jsonl has no entity in 1 documents: nothing can be scored": 1,
        "empty.jsonl": 1,
        "cannot tell what 'prose.xyz' is": 1,
        "talk.jsonl:1: ": 1,
        "encoder 'enc': this folder has no config.json": 1,
    }
    assert len(found) == len(starts), found
    for start, cells in starts.items():
        assert [n for why, n in found.items() if why.startswith(start)] == [cells], (start, found)
    (line,) = (why for why in found if why.startswith("foreign.jsonl"))
    assert line.endswith("the file has also 'GENE'")


def test_labels_and_syntax_are_those_of_the_study(tmp_path: Path) -> None:
    (tmp_path / "test.conll").write_text("Ann B-PER\nsaw O\n", encoding="utf-8")
    corpus = {"name": "names", "labels": "core", "test": "test.conll"}
    assert told(tmp_path, corpus=[corpus]) == {}
    (wrong,) = told(tmp_path, corpus=[corpus | {"from": "nosuch"}])
    assert "from = 'SYNTAX' in the [[corpus]]" in wrong
