"""Rivals in a study: what is legal, their cells, and runs with a tiny random encoder."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.conftest import Run
from tests.encoders import made_up, save_encoder
from torch import Tensor

from genner.assess import rival_cells
from genner.assess.cells import plan
from genner.assess.estimate import estimate
from genner.assess.folders import CellFolder, StudyFolder
from genner.assess.forecast import Machine, forecast
from genner.assess.missing import missing
from genner.assess.records import Cell
from genner.assess.study import Study
from genner.assess.worker import INTERRUPTED, perform
from genner.document import Document, Entity
from genner.errors import UnknownNameError, UsageError
from genner.rivals import RIVALS
from genner.rivals.base import EncoderRival
from genner.rivals.bert_tagger import TaggerNetwork
from genner.rivals.fitting import CHECKPOINT

FIT = {"epochs": 10, "encoder_rate": 0.003, "head_rate": 0.01, "batch_size": 4}
TAGGER = {"name": "tagger", "rival": "bert_tagger", "encoder": "enc", "fit": FIT}
TABLES: dict[str, Any] = {
    "name": "rivals",
    "corpus": [
        {"name": "names", "labels": "labels.json", "train": ["train.jsonl"], "dev": "dev.jsonl", "test": "test.jsonl"}
    ],
    "system": [TAGGER, TAGGER | {"name": "mrc", "rival": "bert_mrc"}],
}


def write(path: Path, documents: Sequence[Document]) -> None:
    path.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in documents), encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root: an encoder and a corpus, nested in the test file."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "enc").mkdir()
    save_encoder(folder / "enc")
    documents = [replace(d, id=str(n)) for n, d in enumerate(made_up())]
    write(folder / "train.jsonl", documents)
    write(folder / "dev.jsonl", documents[:4])
    write(folder / "test.jsonl", [replace(d, id=str(n)) for n, d in enumerate(made_up(nested=True))])
    (folder / "labels.json").write_text('{"PER": {"name": "person"}, "LOC": {"name": "location"}}')
    return folder


def cells_of(data: Path, **system: Any) -> list[Cell]:
    """The cells of a study with one rival, the tagger with these changes."""
    table = {key: value for key, value in (TAGGER | system).items() if value is not None}
    return plan(Study.from_dict(TABLES | {"system": [table]}), data=data)


def run_all(runs: StudyFolder, cells: Sequence[Cell], data: Path) -> list[CellFolder]:
    found = [runs.add(cell) for cell in cells]
    for run in found:
        perform(runs, run, data, "cpu")
    return found


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyFolder, list[Cell]]:
    runs, cells = StudyFolder(tmp_path_factory.mktemp("runs")), cells_of(data)
    run_all(runs, cells, data)
    return runs, cells


# -- the plan


def test_a_rival_has_a_fitting_and_a_score_for_each_corpus_and_seed(data: Path) -> None:
    cells = plan(Study.from_dict(TABLES | {"seeds": [1, 2]}), data=data)
    assert [cell.kind for cell in cells] == ["fit"] * 4 + ["score"] * 4
    assert len({cell.id for cell in cells}) == 8
    fits = {cell.id: cell for cell in cells[:4]}
    for cell in cells[4:]:
        fit = fits[cell.needs[0]]
        assert (cell.model, cell.description["seed"]) == (fit.model, fit.description["seed"])
        assert cell.description["trained"] == fit.id
    for cell in cells:
        assert cell.description["encoder"].startswith("enc@")
        assert str(data) not in json.dumps(cell.description)
        assert cell.places == {"encoder": str(data / "enc")}


def test_every_setting_of_a_rival_is_part_of_its_cells_and_its_place_is_not(data: Path, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"rival": "biaffine"},
        {"options": {"crf": True}},
        {"fit": FIT | {"epochs": 13}},
        {"fit": FIT | {"max_minutes": 1}},
        {"dev_sentences": 2},
        {"encoder": "google-bert/bert-base-cased"},
    ]
    ids = [cells_of(data, **change)[0].id for change in [{}, *changes]]
    assert len(set(ids)) == len(ids)
    assert cells_of(data, options={"crf": False})[0].id == ids[0]  # the default
    (tmp_path / "enc").symlink_to(data / "enc")
    assert cells_of(data, encoder=str(tmp_path / "enc"))[0].id == ids[0]


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ({"rival": "bert"}, "known: .*bert_tagger"),
        ({"encoder": None}, "needs an 'encoder'"),
        ({"options": {"crff": True}}, r"'tagger'.*'crff' \(did you mean 'crf'"),
        ({"options": {"crf": 3}}, "crf = 3 is not of type bool"),
        ({"options": {"scheme": "iob9"}}, "scheme"),
        ({"fit": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"fit": {"epochs": 0}}, "epochs = 0; legal: 1 or more"),
        ({"fit": {"seed": 3}}, "the study's 'seeds'"),
        ({"fit": 3}, "fit = 3"),
        ({"dev_sentences": -1}, "dev_sentences = -1"),
        ({"folder": "there"}, "leave one of them out"),
        ({"rival": "gliner"}, "gliner is a tool, which is not trained here, and 'encoder' is for training"),
        (
            {"rival": "gliner", "encoder": None, "fit": {}, "options": {"treshold": 1}},
            "'tagger'.*did you mean 'threshold'",
        ),
        ({"corpora": ["nothing"]}, "corpus"),
        ({"corpora": ["bare"]}, "'tagger' is trained on corpus 'bare', which has no 'train'"),
        ({"shots": 3}, "no key 'shots'"),
    ],
)
def test_rivals_that_are_refused(data: Path, system: dict[str, Any], said: str) -> None:
    corpora = [*TABLES["corpus"], {"name": "bare", "labels": "core", "test": "sample:uner_en_ewt"}]
    table = {key: v for key, v in (TAGGER | {"corpora": ["names"]} | system).items() if v is not None}
    with pytest.raises((UsageError, UnknownNameError), match=said):
        Study.from_dict(TABLES | {"corpus": corpora, "system": [table]})


def test_time_and_size_of_a_rival_are_forecast_and_then_estimated(
    data: Path, done: tuple[StudyFolder, list[Cell]]
) -> None:
    machine = Machine(1e9, 1e9, 4)
    fit, score = (forecast(cell, data, machine) for cell in cells_of(data))
    assert fit is not None
    assert score is not None
    assert fit.seconds > score.seconds > 0
    short = forecast(cells_of(data, fit=FIT | {"epochs": 10**6, "max_minutes": 0.5})[0], data, machine)
    assert short is not None
    assert 30 < short.seconds < 40
    runs, cells = done
    results = [result for cell in cells if (result := runs.run(cell.id).result)]
    twice = cells_of(data, fit=FIT | {"epochs": 20})[0]
    assert estimate(twice, results, data) == pytest.approx(2 * results[0].seconds)
    assert estimate(cells[1], results, data) == pytest.approx(results[1].seconds)


# -- runs


def test_a_rival_is_scored_as_by_hand(run: Run, data: Path, done: tuple[StudyFolder, list[Cell]]) -> None:
    runs, cells = done
    fit, score = (runs.run(cell.id).result for cell in cells)
    assert fit is not None
    assert score is not None
    settings = [part for key, value in FIT.items() for part in ("--set", f"{key}={value}")]
    call = ["rival", "fit", "bert_tagger", str(data / "train.jsonl"), "--dev", str(data / "dev.jsonl")]
    more = ["--labels-file", str(data / "labels.json"), "--seed", "1", "--out", "trained"]
    code, _, _ = run(*call, "--encoder", str(data / "enc"), *more, *settings)
    assert code == 0
    run("rival", "predict", "trained", str(data / "test.jsonl"), "--out", "found.jsonl")
    code, out, _ = run("evaluate", str(data / "test.jsonl"), "found.jsonl", "--json")
    counted = json.loads(out)["micro"]
    assert 0 < counted["f1"] < 1
    assert {key: score.metrics["strict"][key] for key in ("precision", "recall", "f1")} == {
        key: counted[key] for key in ("precision", "recall", "f1")
    }
    assert score.metrics["strict"] == score.metrics["repaired"]
    assert score.metrics["paper"] is None
    assert score.metrics["unencodable"] == {"overlaps another entity": 3}
    assert fit.metrics["unencodable"] == {}
    assert fit.metrics["entities"] == 16
    assert fit.metrics["parameters"] == score.metrics["parameters"] > 1000
    assert fit.metrics["seconds"] > 0
    assert "rival:bert_tagger|encoder:enc@" in score.signature
    assert f"trained:{cells[0].id}" in score.signature
    assert str(data) not in score.signature + fit.signature


def test_a_fitting_that_is_told_to_stop_goes_on_from_where_it_was(
    data: Path, done: tuple[StudyFolder, list[Cell]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, cells = done
    monkeypatch.setattr(rival_cells, "TOLD_EVERY", 0.0)
    again = StudyFolder(tmp_path)
    run, told = again.add(cells[0]), list[int]()
    tell = rival_cells.CellContext.tell

    def stop_once(self: Any, done: int, total: int, unit: str) -> None:
        tell(self, done, total, unit)
        told.append(done)
        if len(told) == 5:  # as `kill` does
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(rival_cells.CellContext, "tell", stop_once)
    assert perform(again, run, data, "cpu") == INTERRUPTED
    assert (run.state, told) == ("waiting", [1, 2, 3, 4, 5])
    assert run.progress is not None
    assert (run.progress.done, run.progress.total, run.progress.unit) == (5, 20, "steps")
    assert perform(again, run, data, "cpu") == 0
    assert told[5] == 6
    whole = load_file(runs.run(cells[0].id).folder / "model.safetensors")
    for name, value in load_file(run.folder / "model.safetensors").items():
        assert torch.equal(value, whole[name])
    assert not (run.folder / CHECKPOINT).exists()


def test_what_was_trained_before_a_kill_is_not_trained_again(
    data: Path, done: tuple[StudyFolder, list[Cell]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, cells = done
    monkeypatch.setattr(EncoderRival, "fit", None)
    for cell in cells:
        run = runs.run(cell.id)
        before = run.result
        assert before is not None
        (run.folder / "result.json").unlink()
        if cell.kind == "score":
            path = run.folder / "predictions.jsonl"
            path.write_bytes(path.read_bytes()[:-20])
        assert perform(runs, run, data, "cpu") == 0
        assert run.result is not None
        assert (run.result.metrics, run.result.signature) == (before.metrics, before.signature)


def test_a_loss_that_is_no_number_fails_one_cell_and_the_study_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = TaggerNetwork.loss
    monkeypatch.setattr(TaggerNetwork, "loss", lambda self, windows: loss(self, windows) * float("nan"))
    few = {"fit": FIT | {"epochs": 1}}
    bad, good = cells_of(data, **few)[0], cells_of(data, rival="bert_mrc", name="mrc", **few)[0]
    first, second = run_all(StudyFolder(tmp_path), [bad, good], data)
    assert first.failure is not None
    assert "loss is nan" in first.failure.message
    assert "lower encoder_rate" in first.failure.message
    assert (first.state, second.state) == ("failed", "done")


def test_what_is_missing_is_told_and_skips_the_cell(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of(data, encoder="nowhere")
    (said,) = missing(cells, data)
    assert said.startswith("encoder 'nowhere' is not there; in the study: encoder = 'FOLDER'")
    (run,) = run_all(StudyFolder(tmp_path), cells[:1], data)
    assert run.skipped == said
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (run,) = run_all(StudyFolder(tmp_path), cells_of(data, encoder="nobody/has-this")[:1], data)
    assert run.skipped is not None
    assert "encoder 'nobody/has-this' cannot be loaded" in run.skipped
    assert missing(cells_of(data), data) == {}
    assert missing(cells_of(data, encoder="google-bert/bert-base-cased"), data) == {}
    cells = cells_of(data, rival=None, encoder=None, fit=None, folder="trained")
    assert [cell.kind for cell in cells] == ["score"]
    (said,) = missing(cells, data)
    assert "no folder 'trained' of a trained rival" in said


def test_bad_data_fail_in_clear_words(data: Path, tmp_path: Path) -> None:
    write(tmp_path / "empty.jsonl", [Document("Ada")])
    write(tmp_path / "train.jsonl", [d for d in made_up() if not any(e.label == "LOC" for e in d.entities)])
    (tmp_path / "labels.json").write_bytes((data / "labels.json").read_bytes())
    corpus = TABLES["corpus"][0] | {"dev": None, "train": ["empty.jsonl"]}
    corpus = {key: value for key, value in corpus.items() if value}
    system = TAGGER | {"encoder": str(data / "enc"), "fit": FIT | {"epochs": 1}}

    def fit(**more: Any) -> CellFolder:
        tables = TABLES | {"corpus": [corpus | more], "system": [system]}
        cell = plan(Study.from_dict(tables), data=tmp_path)[0]
        return run_all(StudyFolder(tmp_path / "runs"), [cell], tmp_path)[0]

    failure = fit().failure
    assert failure is not None
    assert "has no entity in 1 training documents" in failure.message
    found = fit(train=["train.jsonl"])
    assert found.result is not None
    assert found.result.metrics["unseen"] == ["LOC"]
    assert found.result.metrics["dev_f1"] is None


def test_a_trained_rival_is_a_row_too(data: Path, done: tuple[StudyFolder, list[Cell]], tmp_path: Path) -> None:
    runs, cells = done
    trained = runs.run(cells[0].id).folder
    (cell,) = cells_of(data, rival=None, encoder=None, fit=None, folder=str(trained))
    assert cell.description["rival"] == "bert_tagger"
    assert cell.description["folder"].startswith(f"{trained.name}@")
    (run,) = run_all(StudyFolder(tmp_path), [cell], data)
    known = runs.run(cells[1].id).result
    assert run.result is not None
    assert known is not None
    assert run.result.metrics == known.metrics
    (tmp_path / "other.json").write_text('{"ORG": {"name": "organization"}}')
    corpus = TABLES["corpus"][0] | {"labels": str(tmp_path / "other.json"), "test": str(tmp_path / "test.jsonl")}
    write(tmp_path / "test.jsonl", [Document("Ada Inc", (Entity(0, 7, "ORG"),))])
    tables = TABLES | {"corpus": [corpus], "system": [{"name": "old", "folder": str(trained)}]}
    (run,) = run_all(StudyFolder(tmp_path), plan(Study.from_dict(tables), data=data), data)
    assert run.failure is not None
    assert "predicts PER, LOC, and none of these labels" in run.failure.message


def test_devices_of_a_rival(done: tuple[StudyFolder, list[Cell]]) -> None:
    from genner.rivals import load_rival

    runs, cells = done
    made = load_rival(runs.run(cells[0].id).folder)
    assert isinstance(made, EncoderRival)
    weights: list[Tensor] = list(made.to("meta").network.parameters())
    assert {weight.device.type for weight in weights} == {"meta"}


def test_a_command_makes_a_study_of_all_rivals(run: Run, data: Path, tmp_path: Path) -> None:
    call = ["assess", "rivals", "--train", "train.jsonl", "--dev", "dev.jsonl", "--test", "test.jsonl"]
    call += ["--labels", "labels.json", "--data", str(data), "--encoder", "enc", "--out", "runs", "--model", "default"]
    code, out, _ = run(*call, "--seeds", "1,2", "--max-minutes", "0.1", "--dry-run")
    assert (code, (tmp_path / "runs").exists()) == (0, False)
    listed = [line.split() for line in out.splitlines() if " seed " in line]
    assert [line[3] for line in listed if line[2].startswith("fit-")] == [name for name in RIVALS for _ in "12"]
    assert len(listed) == 4 * len(RIVALS) + 1
    code, _, err = run(*call, "--rival", "bert")
    assert (code, "known: " in err, "binder" in err) == (2, True, True)
    code, _, err = run(*call, "--seeds", "a")
    assert (code, "--seeds 'a'; legal: whole numbers" in err) == (2, True)
    code, _, err = run(*call, "--fit", "rate=1")
    assert (code, "no key 'rate'" in err) == (2, True)
    code, out, _ = run(*call, "--encoder", "nowhere", "--rival", "binder", "--dry-run")
    assert (code, "missing: encoder 'nowhere' is not there" in out) == (0, True)


def test_the_study_of_the_command_can_be_run_again(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genner.assess.scheduler.Scheduler.work", lambda self: dict.fromkeys(c.id for c in self.cells))
    call = ["--train", "train.jsonl", "--test", "sample:uner_en_ewt", "--labels", "core", "--data", str(data)]
    more = [
        "--encoder",
        "enc",
        "--rival",
        "binder",
        "--fit",
        "encoder_rate=1e-4",
        "--name",
        'it\'s "mine"',
        "--out",
        "r",
    ]
    run("assess", "rivals", *call, *more)
    study = Study.from_file(Path("r/study.toml"))
    assert study.rivals[0].fit == {"encoder_rate": 1e-4}
    assert study.corpora[0].name == 'it\'s "mine"'
    commands = {run.cell.command for run in StudyFolder(Path("r")).runs()}
    assert all(command.startswith("genner assess r/study.toml --out r --data ") for command in commands)
    assert [cell.id for cell in plan(study, data=data)] == sorted(
        (run.cell.id for run in StudyFolder(Path("r")).runs()), key=lambda id: not id.startswith("fit")
    )


# -- tools


def test_a_tool_is_scored_and_not_trained(data: Path, tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Bob"}])
    pipeline.to_disk(data / "rules")
    options = {"model": "rules", "label_map": "PERSON=PER"}
    system = {"name": "rules", "rival": "spacy", "options": options}
    (cell,) = plan(Study.from_dict(TABLES | {"system": [system], "seeds": [1, 2]}), data=data)
    assert (cell.kind, cell.needs) == ("score", ())
    assert str(data) not in json.dumps(cell.description)
    assert cell.places == {"model": str(data / "rules")}
    assert not missing([cell], data)
    (tmp_path / "rules").symlink_to(data / "rules")
    elsewhere = system | {"options": options | {"model": str(tmp_path / "rules")}}
    assert [c.id for c in plan(Study.from_dict(TABLES | {"system": [elsewhere]}), data=data)] == [cell.id]
    (run,) = run_all(StudyFolder(tmp_path / "runs"), [cell], data)
    assert run.result is not None, run.failure
    found = run.result.metrics
    assert found["strict"]["precision"] == 1.0, found
    assert found["unencodable"]["the model has no label for it"] > 0
    assert "rival:spacy" in run.result.signature
