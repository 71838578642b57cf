"""Prompted systems in a study: what is legal, their cells, and a run on an engine without weights."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.encoders import save_encoder

from genner.assess.cells import plan
from genner.assess.folders import StudyFolder
from genner.assess.missing import missing
from genner.assess.records import PredictionRecord
from genner.assess.study import Study
from genner.assess.worker import perform
from genner.document import Document, Entity
from genner.engines.base import Request
from genner.engines.scripted import ScriptedEngine
from genner.errors import UnknownNameError, UsageError
from genner.few_shot.prompting import FewShot
from genner.few_shot.verification import QuestionContext
from genner.formats import FORMATS
from genner.report import build
from genner.report.html import html
from genner.report.results import Collection
from genner.report.table import Value
from genner.transformer_encoder import identity

TABLES: dict[str, Any] = {
    "name": "prompted",
    "seeds": [1, 2],
    "formats": ["gpt_ner", "inline_xml"],
    "decodings": ["grammar", "greedy"],
    "corpus": [{"name": "names", "labels": "labels.json", "train": ["train.jsonl"], "test": "test.jsonl"}],
    "system": [
        {"name": "zero", "model": "default", "engine": "scripted"},
        {"name": "zero verified", "model": "default", "engine": "scripted", "verify": True, "wording": "gpt_ner"},
        {"name": "few", "model": "default", "engine": "scripted", "shots": 2, "verify": True, "label_by_label": True},
    ],
}
GOLD = [
    Document("Ann saw Rome", (Entity(0, 3, "PER"), Entity(8, 12, "LOC")), "1"),
    Document("Rome saw Bob", (Entity(0, 4, "LOC"), Entity(9, 12, "PER")), "2"),
]


def study(**system: Any) -> Study:
    systems = TABLES["system"] if not system else [{"name": "one", "model": "default", **system}]
    return Study.from_dict(TABLES | {"system": systems})


def test_each_system_has_its_cells() -> None:
    cells = plan(study())
    assert len(cells) == len({cell.id for cell in cells}) == 4 + 4 + 8  # random demonstrations, once for each seed
    assert {cell.model for cell in cells} == {"zero", "zero verified", "few"}
    for cell in cells:
        assert cell.kind == "score"
        assert cell.description["model"] == "default"
        assert ("train" in cell.description) == (cell.model == "few")
        assert cell.description["seed"] in ((1, 2) if cell.model == "few" else (0,))


def test_every_setting_of_a_system_is_part_of_its_cells() -> None:
    plain = {"shots": 3, "retrieval": "entity", "encoder": "a/b"}
    changes: list[dict[str, Any]] = [
        {"shots": 4}, {"retrieval": "sentence"}, {"encoder": "a/c"}, {"limit": 5}, {"search": "faiss"},
        {"verify": True}, {"label_by_label": True}, {"label_by_label": False}, {"wording": "gpt_ner"},
        {"engine": "scripted"},
        {"engine_options": {"concurrency": 2}}, {"base_url": "http://localhost:1/v1"},
        {"model": "smollm2-135m-instruct"},
    ]  # fmt: skip
    ids = [plan(study(**(plain | change)))[0].id for change in [{}, *changes]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ({"shots": -1}, "shots"),
        ({"retrieval": "random"}, "no demonstrations"),
        ({"shots": 1, "retrieval": "entity"}, "needs an 'encoder'"),
        ({"shots": 1, "corpora": ["bare"]}, "has no 'train'"),
        ({"decodings": ["sampled"]}, "'sampled' is for"),
        ({"wording": "poetic"}, "wording"),
        ({"engine": "steam"}, "engine"),
        ({"shots": 1, "retrieval": "near"}, "retrieval"),
        ({"corpora": ["nothing"]}, "corpus"),
        ({"verify": 1}, "verify"),
    ],
)
def test_systems_that_are_refused(system: dict[str, Any], said: str) -> None:
    corpora = [*TABLES["corpus"], {"name": "bare", "labels": "core", "test": "sample:uner_en_ewt"}]
    tables = TABLES | {"corpus": corpora, "system": [{"name": "one", "corpora": ["names"], **system}]}
    with pytest.raises((UsageError, UnknownNameError), match=said):
        Study.from_dict(tables)


def test_a_study_needs_a_model_or_a_system() -> None:
    with pytest.raises(UsageError, match=r"\[\[model\]\] or \[\[system\]\]"):
        Study.from_dict(TABLES | {"system": []})


def answer(request: Request) -> str | None:
    """Marks each capitalized word as an entity of the label asked about, and denies Ann."""
    if isinstance(request.context, QuestionContext):
        return "No" if request.context.entity.text == "Ann" else "Yes"
    asked = request.context.labels
    if len(asked) > 1:
        return None
    starts = (0, request.text.rindex(" ") + 1)
    entities = tuple(Entity(s, s + len(request.text[s:].split()[0]), asked.tags[0]) for s in starts)
    return FORMATS[request.context.pending.form.name].encode(Document(request.text, entities), asked)


def test_a_run_from_the_study_to_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedEngine, "load", classmethod(lambda cls, *_, **__: cls(answer)))
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(d.to_dict()) + "\n" for d in GOLD))
    (tmp_path / "labels.json").write_text('{"PER": {"name": "person"}, "LOC": {"name": "location"}}')
    (tmp_path / "bert").mkdir()
    encoder = save_encoder(tmp_path / "bert")
    near = {"name": "near", "model": "default", "engine": "scripted", "shots": 1, "encoder": str(encoder)}
    systems = [*TABLES["system"], near]
    tables = TABLES | {"formats": ["gpt_ner"], "decodings": ["grammar"], "system": systems}
    cells = plan(Study.from_dict(tables))
    assert missing(cells, tmp_path) == {}
    runs = StudyFolder(tmp_path / "runs")
    for cell in cells:
        perform(runs, runs.add(cell), tmp_path, "cpu")
    found = {}
    for run in runs.runs():
        assert run.failure is None
        assert run.result is not None
        found.setdefault(run.cell.model, (run, run.result))
    run, result = found["zero"]
    # Both names of a sentence, each with both labels.
    assert (result.metrics["strict"]["correct"], result.metrics["strict"]["predicted"]) == (4, 8)
    assert result.metrics["refuted"] == 0
    assert "engine:scripted" in result.signature
    run, result = found["zero verified"]
    assert result.metrics["refuted"] == 2  # Ann as a person and as a place
    assert (result.metrics["strict"]["correct"], result.metrics["strict"]["predicted"]) == (3, 6)
    assert result.metrics["paper"] is None
    before = result.metrics["before_verification"]
    assert (before["correct"], before["predicted"]) == (4, 8)
    denied = [[(r.text[e.start : e.end], e.label) for e in r.denied or ()] for r in run.predictions()]
    assert denied == [[("Ann", "LOC"), ("Ann", "PER")], []]
    assert "before_verification" not in found["zero"][1].metrics
    assert "verify:True" in result.signature
    assert "wording:gpt_ner" in result.signature
    run, result = found["few"]
    assert "shots:2" in result.signature
    assert f"demonstrations:{FewShot(GOLD).signature['demonstrations']}" in result.signature.split("|")
    records = list(run.predictions())
    assert [PredictionRecord.from_dict(record.to_dict()) for record in records] == records
    for record in records:
        assert len(record.raw) == 2  # the answers alone, without those of the verification
        assert record.answer_tokens > len(record.raw)
    assert result.metrics["prompt_tokens"] == sum(record.prompt_tokens for record in records) > 0
    run, result = found["near"]
    assert run.cell.description["system"]["encoder"] == identity(str(encoder))
    assert run.cell.places == {"encoder": str(encoder)}
    assert f"encoder:{identity(str(encoder))}" in result.signature.split("|")
    assert str(tmp_path) not in result.signature
    collection = Collection.open([tmp_path / "runs"])
    assert {key.system.title for key in collection.groups} == {"zero", "zero verified", "few", "near"}
    assert {len(group.items) for key, group in collection.groups.items() if key.system.model == "few"} == {2}
    table = next(t for t in build([tmp_path / "runs"]).tables() if t.name == "verification")
    assert {row.heads[0] for row in table.rows} == {"zero verified", "few"}
    (row,) = (row for row in table.rows if row.heads[0] == "zero verified")
    told = [(c.title, e.number) for c, e in zip(table.columns, row.entries, strict=True) if isinstance(e, Value)]
    assert told[:4] == [("asked about", 8), ("denied", 2), ("right, yet denied", 1), ("no clear answer", 0)]
    assert told[4:] == [
        ("before", 0.5),
        ("after", 0.5),
        ("before", 1),
        ("after", 0.75),
        ("before", 2 / 3),
        ("after", 0.6),
    ]


def test_the_cells_of_a_system_are_the_same_wherever_its_encoder_lies(tmp_path: Path) -> None:
    ids = []
    for user in ("ann", "bob"):
        folder = tmp_path / user / "bert"
        folder.mkdir(parents=True)
        named = str(save_encoder(folder)) if user == "ann" else "bert"  # a folder below the data root
        if user == "bob":
            save_encoder(folder)
        cells = plan(study(engine="scripted", shots=1, encoder=named), data=tmp_path / user)
        ids.append([cell.id for cell in cells])
        assert {cell.places["encoder"] for cell in cells} == {str(folder)}
    assert ids[0] == ids[1]


def test_the_report_shows_no_secret_of_a_request(tmp_path: Path) -> None:
    options = {"base_url": "http://localhost:1/v1", "body": '{"user": "s3cret"}'}
    runs = StudyFolder(tmp_path)
    for cell in plan(study(engine="http", engine_options=options)):
        runs.add(cell)
    shown = html(build([tmp_path]))
    assert "http://localhost:1/v1" in shown
    assert "s3cret" not in shown
