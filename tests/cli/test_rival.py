"""`genner rival`."""

import json
from dataclasses import fields
from pathlib import Path

import pytest
from tests.conftest import Run
from tests.encoders import made_up, save_encoder

from genner.cli.option_table import meanings, option_lines
from genner.rivals import RIVALS, rival_class
from genner.rivals.base import EncoderRival
from genner.rivals.fitting import CHECKPOINT, FitOptions
from genner.rivals.tools import TOOLS, tool_class
from genner.toml_config import build, parse_option


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def train(tmp_path: Path) -> Path:
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(d.to_dict()) + "\n" for d in made_up()), encoding="utf-8")
    return file


def test_rivals_are_listed_with_what_can_be_set(run: Run) -> None:
    code, out, _ = run("rival", "list")
    assert code == 0
    lines = [line for line in out.splitlines() if line.endswith(").")]
    assert [line.split()[0] for line in lines] == [*RIVALS, *TOOLS]
    assert all(len(line.split()) > 3 for line in lines)
    code, out, _ = run("rival", "list", "gliner")
    assert "threshold=0.5" in out
    code, out, _ = run("rival", "list", "bert_tagger")
    assert "scheme=bioes  `bioes` or `iob2`." in out
    assert "encoder_rate=" in out


OPTIONS = {name: rival_class(name).options_type for name in RIVALS} | {n: tool_class(n).options_type for n in TOOLS}


@pytest.mark.parametrize("kind", [*OPTIONS.values(), FitOptions], ids=[*OPTIONS, "fit"])
def test_what_is_listed_can_be_set_as_it_is_written(kind: type) -> None:
    names = [field.name for field in fields(kind)]
    assert sorted(meanings(kind)) == sorted(names)
    shown = [line.split("  ")[0] for line in option_lines(kind())]
    set_ = dict(parse_option(text, "--set", lists=True) for text in shown if not text.endswith(": none"))
    assert build(kind, set_, "options") == kind()


def test_a_rival_is_trained_and_finds_entities(
    run: Run,
    train: Path,
    encoder_folder: Path,
    tmp_path: Path,
) -> None:
    call = ["rival", "fit", "bert_tagger", str(train), "--dev", str(train), "--encoder", str(encoder_folder)]
    settings = ["--set", "epochs=40", "--set", "encoder_rate=0.003", "--set", "head_rate=0.01", "--set", "batch_size=4"]
    code, _, err = run(*call, *settings, "--seed", "1", "--out", "trained")
    assert (code, "dev F1 100.0" in err, "ended the training" in err) == (0, True, False)
    code, _, err = run(*call, *settings, "--out", "trained")
    assert code == 2
    assert "--force" in err
    code, _, err = run("rival", "predict", "trained", str(train), "--out", "found.jsonl")
    assert (code, "8 documents" in err) == (0, True)
    code, out, _ = run("evaluate", str(train), "found.jsonl", "--json")
    assert (code, json.loads(out)["micro"]["f1"]) == (0, 1.0)


def test_a_training_that_the_time_ended_says_so(run: Run, train: Path, encoder_folder: Path) -> None:
    call = ["rival", "fit", "bert_tagger", str(train), "--encoder", str(encoder_folder), "--out", "trained"]
    code, _, err = run(*call, "--max-minutes", "0.00001")
    assert (code, "1 steps in" in err) == (0, True)
    assert "the time of 1e-05 minutes ended the training, before 10 epochs" in err


def test_a_training_that_is_stopped_says_how_it_goes_on(
    run: Run, train: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, folder: Path, **__: object) -> None:
        folder.mkdir()
        (folder / CHECKPOINT).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(EncoderRival, "fit", stopped)
    code, _, err = run("rival", "fit", "bert_tagger", str(train), "--encoder", str(encoder_folder), "--out", "trained")
    assert (code, "the same command goes on from trained/checkpoint.pt" in err) == (130, True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "nonsense=1"], "known: batch_size, bf16, clip"),
        (["--set", "crf=3"], "crf = 3 is not of type bool"),
        (["--set", "max_minutes='5'"], "max_minutes = '5'"),
        (["--set", "epochs"], "KEY=VALUE"),
        (["--set", "epochs=1", "--set", "epochs=2"], "twice"),
        (["--encoder", "no/such/folder/here"], "no such folder"),
    ],
)
def test_what_is_wrong_is_told(
    run: Run,
    train: Path,
    encoder_folder: Path,
    more: list[str],
    said: str,
) -> None:
    call = ["rival", "fit", "bert_tagger", str(train), "--encoder", str(encoder_folder), "--out", "trained"]
    code, _, err = run(*call, *more)
    assert code in (1, 2)
    assert said in err


def test_other_wrong_calls(run: Run, train: Path, encoder_folder: Path, tmp_path: Path) -> None:
    code, _, err = run("rival", "fit", "bert", str(train), "--encoder", "x/y", "--out", "trained")
    assert (code, "bert_tagger" in err) == (2, True)
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"text": "Ada", "entities": []}\n')
    code, _, err = run("rival", "fit", "bert_tagger", str(empty), "--encoder", str(encoder_folder), "--out", "trained")
    assert (code, "no entity" in err) == (2, True)
    code, _, err = run("rival", "predict", str(tmp_path), str(train), "--out", "found.jsonl")
    assert (code, "holds no rival" in err) == (1, True)
