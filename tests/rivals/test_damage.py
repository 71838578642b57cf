"""What is damaged, does not fit, or is in use: it is told, and a killed run loses nothing."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.encoders import LABELS, made_up, save_encoder
from torch import Tensor
from transformers import BertConfig, BertModel

from genner.document import Document, LabelSet
from genner.errors import DataError, ModelError, TrainingError, UsageError
from genner.rivals import load_rival, rival
from genner.rivals.base import LOCK, WEIGHTS
from genner.rivals.bert_tagger import TaggerNetwork
from genner.rivals.encoder import WordEncoder
from genner.rivals.fitting import CHECKPOINT, METRICS, FitOptions, FitProgress, load_state, save_state, train
from genner.rivals.manifest import RIVAL_MANIFEST
from genner.rivals.stages import Stages
from genner.rivals.words import Window
from genner.writing import lock

OPTIONS = FitOptions(encoder_rate=1e-3, head_rate=1e-3, epochs=1, batch_size=4, seed=2)


def _deeper(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))


def _without_tokenizer(folder: Path) -> None:
    for place in folder.iterdir():
        if place.name.startswith(("tokenizer", "vocab")):
            place.unlink()


def _short(folder: Path) -> None:
    place = folder / "tokenizer_config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"model_max_length": 2}))


def _few_tokens(folder: Path) -> None:
    config = BertConfig.from_pretrained(folder)
    config.vocab_size = 20
    BertModel(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_deeper, "lack 16 of the tensors"),
        (_without_tokenizer, "no vocabulary but special tokens"),
        (_short, "no room for a text"),
        (_few_tokens, "do not belong together"),
    ],
)
def test_an_encoder_whose_parts_do_not_fit_is_refused(
    change: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    change(save_encoder(tmp_path))
    with pytest.raises(ModelError, match=said):
        WordEncoder.load(str(tmp_path)).pieces("Ada", [(0, 3)])


def test_a_model_that_does_not_read_text_alone_is_no_encoder(encoder_folder: Path) -> None:
    tokenizer = WordEncoder.load(str(encoder_folder)).tokenizer
    with pytest.raises(ModelError, match="SimpleNamespace, which does not read"):
        WordEncoder(SimpleNamespace(config=SimpleNamespace()), tokenizer, "pictures")


def test_without_entities_nothing_is_trained_or_chosen(encoder_folder: Path, tmp_path: Path) -> None:
    bare = [Document(d.text) for d in made_up()]
    made = rival("bert_tagger", str(encoder_folder))
    with pytest.raises(UsageError, match=r"8 training documents have no entity .* PER, LOC; give"):
        made.fit(bare, [], LABELS, folder=tmp_path, options=OPTIONS, quiet=True)
    with pytest.raises(UsageError, match="16: its label is not in the label set"):
        made.fit(made_up(), [], LabelSet.of("ORG"), folder=tmp_path, options=OPTIONS, quiet=True)
    with pytest.raises(UsageError, match="8 dev documents have no entity of PER, LOC"):
        made.fit(made_up(), bare, LABELS, folder=tmp_path, options=OPTIONS, quiet=True)


def test_a_gradient_that_is_not_finite_ends_training(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep(self: TaggerNetwork, windows: list[Window]) -> Tensor:
        weight = next(p for _, p in self.head_parameters())
        return torch.sqrt((weight - weight.detach()).square().sum())  # 0, with no derivative

    monkeypatch.setattr(TaggerNetwork, "loss", steep)
    with pytest.raises(TrainingError, match="norm of the gradient is nan at step 0"):
        rival("bert_tagger", str(encoder_folder)).fit(
            made_up(), [], LABELS, folder=tmp_path, options=OPTIONS, quiet=True
        )


def test_one_process_trains_in_a_folder(encoder_folder: Path, tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("ab", buffering=0) as file:
        lock(file, tmp_path)
        with pytest.raises(DataError, match="being written by another process"):
            rival("bert_tagger", str(encoder_folder)).fit(
                made_up(), [], LABELS, folder=tmp_path, options=OPTIONS, quiet=True
            )


def test_a_checkpoint_belongs_to_its_data_and_may_be_damaged(encoder_folder: Path, tmp_path: Path) -> None:
    made = rival("bert_tagger", str(encoder_folder))
    network = made.begin(LABELS, OPTIONS)
    windows = made.windows(made_up(), OPTIONS)[0]

    def fit(data: str, f1: float | None = None, **more: Any) -> Any:
        options = replace(OPTIONS, **more)
        dev = None if f1 is None else lambda: f1
        return train(network, windows, dev, options, tmp_path, description="", quiet=True, data=data)

    fit("one")
    state = {"network": network.state_dict(), "optimizer": {}, "progress": {}, "best": None}
    save_state(tmp_path / CHECKPOINT, "another", state)
    with pytest.raises(TrainingError, match="other options or data"):
        fit("two")
    (tmp_path / CHECKPOINT).write_bytes(b"half")
    with pytest.raises(TrainingError, match=r"is damaged .*delete it"):
        fit("one")


def test_data_of_the_same_size_is_other_data(encoder_folder: Path, tmp_path: Path) -> None:
    keys = []
    other = [replace(d, text=d.text.replace("a", "o")) for d in made_up()]
    for train_, dev in ((made_up(), made_up()), (other, made_up()), (made_up(), other)):

        class Stop(Exception):  # noqa: N818
            pass

        def spied(*_: object, data: str = "", **__: object) -> None:
            keys.append(data)
            raise Stop

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("genner.rivals.base.train", spied)
            with pytest.raises(Stop):
                rival("bert_tagger", str(encoder_folder)).fit(
                    train_, dev, LABELS, folder=tmp_path, options=OPTIONS, quiet=True
                )
    assert len(set(keys)) == 3


def test_a_stage_keeps_its_checkpoint_until_its_result_is_there(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = rival("bert_tagger", str(encoder_folder)).begin(LABELS, OPTIONS)
    stages = Stages(tmp_path, network, made_up(), [], OPTIONS)
    place = tmp_path / "first" / CHECKPOINT
    place.parent.mkdir()
    place.write_bytes(b"")

    def full(*_: object) -> None:
        raise DataError("disk", "full")

    with monkeypatch.context() as patch:
        patch.setattr("genner.rivals.stages.save_state", full)
        with pytest.raises(DataError):
            stages.finish("first", {}, place.parent)
    assert place.exists()
    stages.finish("first", {}, place.parent)
    assert not place.exists()
    assert stages.result("first") == {}
    assert load_state(tmp_path / "none.pt", stages.key) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": []}, "options is \\[\\], not an object"),
        ({"encoder": 3}, "encoder is 3, not a string"),
        ({"options": {"colour": 1}, "genner": "0.0.1"}, "colour.*genner 0.0.1, and this is"),
    ],
)
def test_a_damaged_or_older_manifest_is_told(
    change: dict[str, Any], said: str, encoder_folder: Path, tmp_path: Path
) -> None:
    made = rival("bert_tagger", str(encoder_folder))
    made.begin(LABELS, OPTIONS)
    made.save(tmp_path)
    place = tmp_path / RIVAL_MANIFEST
    place.write_text(json.dumps(json.loads(place.read_text()) | change))
    with pytest.raises(ModelError, match=said):
        load_rival(tmp_path)


def test_a_save_that_fails_leaves_no_rival(encoder_folder: Path, tmp_path: Path) -> None:
    made = rival("bert_tagger", str(encoder_folder))
    made.begin(LABELS, OPTIONS)
    made.save(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    (tmp_path / WEIGHTS).mkdir()  # as good as a full disk
    with pytest.raises(DataError, match="cannot be written"):
        made.save(tmp_path)
    with pytest.raises(ModelError, match="holds no rival"):
        load_rival(tmp_path)


def test_half_weights_are_told(encoder_folder: Path, tmp_path: Path) -> None:
    made = rival("bert_tagger", str(encoder_folder))
    made.begin(LABELS, OPTIONS)
    made.save(tmp_path)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"cannot be loaded: .*; train it again, with --force"):
        load_rival(tmp_path)


def test_half_a_line_of_metrics_and_an_unfinished_evaluation_are_no_hindrance(
    encoder_folder: Path, tmp_path: Path
) -> None:
    made = rival("bert_tagger", str(encoder_folder))
    network = made.begin(LABELS, OPTIONS)
    windows = made.windows(made_up(), OPTIONS)[0]

    def resumed(on_step: Callable[[int, int], None] | None, minutes: float) -> FitProgress:
        options = replace(OPTIONS, epochs=50, max_minutes=minutes)
        return train(
            network, windows, lambda: 0.5, options, tmp_path, description="", quiet=True, on_step=on_step, data="one"
        )

    def stop(step: int, _: int) -> None:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        resumed(stop, 5)
    (tmp_path / METRICS).write_text('{"step": 1, "loss": 1.0}\n{"ste')
    progress = resumed(None, 1e-9)
    assert (progress.step, progress.best) == (1, 0.5)
    assert [json.loads(line)["step"] for line in (tmp_path / METRICS).read_text().splitlines()] == [1, 1]
