"""`genner rival`."""

import json
from pathlib import Path

import pytest
from tests.conftest import Run
from tests.encoders import made_up, save_encoder

from genner.rivals import RIVALS
from genner.rivals.tools import TOOLS


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
    assert "threshold = 0.5" in out
    code, out, _ = run("rival", "list", "bert_tagger")
    assert "scheme = 'bioes'" in out
    assert "encoder_rate = " in out


def test_a_rival_is_trained_and_finds_entities(
    run: Run,
    train: Path,
    encoder_folder: Path,
    tmp_path: Path,
) -> None:
    call = ["rival", "fit", "bert_tagger", str(train), "--dev", str(train), "--encoder", str(encoder_folder)]
    settings = ["--set", "epochs=40", "--set", "encoder_rate=0.003", "--set", "head_rate=0.01", "--set", "batch_size=4"]
    code, _, err = run(*call, *settings, "--seed", "1", "--out", "trained")
    assert (code, "dev F1 100.0" in err) == (0, True)
    code, _, err = run(*call, *settings, "--out", "trained")
    assert code == 2
    assert "--force" in err
    code, _, err = run("rival", "predict", "trained", str(train), "--out", "found.jsonl")
    assert (code, "8 documents" in err) == (0, True)
    code, out, _ = run("evaluate", str(train), "found.jsonl", "--json")
    assert (code, json.loads(out)["micro"]["f1"]) == (0, 1.0)


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
