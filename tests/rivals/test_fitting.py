"""The training loop: resumption, early stopping, budget, rates."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.encoders import LABELS, made_up
from torch import Tensor

from genner.document import LabelSet
from genner.errors import ModelError, TrainingError, UsageError
from genner.interrupt import Interrupt
from genner.rivals import load_rival, rival
from genner.rivals.bert_tagger import BertTagger, TaggerNetwork
from genner.rivals.fitting import CHECKPOINT, METRICS, FitOptions
from genner.rivals.words import Window
from genner.transformer_encoder import identity

OPTIONS = FitOptions(encoder_rate=1e-3, head_rate=1e-3, epochs=3, batch_size=3, seed=2)


def weights(folder: Path) -> dict[str, Tensor]:
    found = load_rival(folder)
    assert isinstance(found, BertTagger)
    return found.network.state_dict()


def test_a_stopped_run_ends_where_it_would_have(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(encoder_folder)
    rival("bert_tagger", name).fit(made_up(), made_up(), LABELS, folder=tmp_path / "whole", options=OPTIONS, quiet=True)
    stopped = tmp_path / "stopped"
    done = [0]

    class AfterTwo(Interrupt):
        @property
        def wanted(self) -> bool:
            done[0] += 1
            return done[0] % 2 == 0

        @wanted.setter
        def wanted(self, _: bool) -> None:
            pass

    with monkeypatch.context() as patch:
        patch.setattr("genner.rivals.fitting.Interrupt", AfterTwo)
        runs = 0
        for _ in range(20):
            runs += 1
            try:
                rival("bert_tagger", name).fit(
                    made_up(), made_up(), LABELS, folder=stopped, options=OPTIONS, quiet=True
                )
                break
            except KeyboardInterrupt:
                assert (stopped / CHECKPOINT).exists()
    assert 2 < runs < 20
    assert load_rival(stopped).signature["encoder"] == identity(name)
    assert not (stopped / CHECKPOINT).exists()
    for key, value in weights(tmp_path / "whole").items():
        torch.testing.assert_close(weights(stopped)[key], value)
    read = [json.loads(line) for line in (stopped / METRICS).read_text().splitlines()]
    assert [record["step"] for record in read] == [3, 6, 9]


def test_another_runs_checkpoint_is_refused(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = rival("bert_tagger", str(encoder_folder))
    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "wanted", True, raising=False)
        patch.setattr(Interrupt, "__setattr__", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            tagger.fit(made_up(), [], LABELS, folder=tmp_path, options=OPTIONS, quiet=True)
    with pytest.raises(TrainingError, match="other options or data"):
        tagger.fit(made_up(), [], LABELS, folder=tmp_path, options=replace(OPTIONS, seed=3), quiet=True)


def test_the_best_state_is_kept_and_patience_ends_a_run(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])
    seen: list[dict[str, Tensor]] = []
    tagger = rival("bert_tagger", str(encoder_folder))

    def f1(_: object) -> float:
        seen.append({k: v.clone() for k, v in tagger.network.state_dict().items()})
        return next(said)

    monkeypatch.setattr(tagger, "f1", f1)
    report = tagger.fit(
        made_up(), made_up(), LABELS, folder=tmp_path, options=replace(OPTIONS, epochs=6, patience=2), quiet=True
    )
    assert (report.dev_f1, report.steps, len(seen)) == (0.5, 12, 4)
    for key, value in tagger.network.state_dict().items():
        assert torch.equal(value, seen[1][key])
    said = iter([0.5, 1.0])  # nothing can be better
    assert tagger.fit(made_up(), made_up(), LABELS, folder=tmp_path, options=OPTIONS, quiet=True).steps == 6


def test_the_budget_ends_a_run(encoder_folder: Path, tmp_path: Path) -> None:
    report = rival("bert_tagger", str(encoder_folder)).fit(
        made_up(), [], LABELS, folder=tmp_path, options=replace(OPTIONS, epochs=10_000, max_minutes=0.01), quiet=True
    )
    assert 0.5 < report.seconds < 30
    assert report.steps < 30_000
    assert report.dev_f1 is None


def test_rates_rise_and_fall(encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []
    step = torch.optim.AdamW.step

    def spied(self: torch.optim.AdamW, closure: None = None) -> None:
        seen.append([group["lr"] for group in self.param_groups])
        step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", spied)
    rival("bert_tagger", str(encoder_folder)).fit(
        made_up(), [], LABELS, folder=tmp_path, options=replace(OPTIONS, head_rate=1e-2, warmup=0.3), quiet=True
    )
    rates = [row[0] for row in seen]
    assert all(row == pytest.approx([row[0], row[0], 10 * row[0], 10 * row[0]]) for row in seen)
    top = rates.index(max(rates))
    assert 0 < top < 5
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_what_is_no_rival_is_told(tmp_path: Path, encoder_folder: Path) -> None:
    with pytest.raises(ModelError, match="holds no rival"):
        load_rival(tmp_path)
    (tmp_path / "rival.json").write_text("{}")
    with pytest.raises(ModelError, match="no manifest"):
        load_rival(tmp_path)
    with pytest.raises(UsageError, match="epochs"):
        FitOptions(epochs=0)
    with pytest.raises(UsageError, match="scheme"):
        rival("bert_tagger", str(encoder_folder), scheme="iob9")


def test_a_label_without_examples_and_gold_without_a_label_are_told(encoder_folder: Path, tmp_path: Path) -> None:
    report = rival("bert_tagger", str(encoder_folder)).fit(
        made_up(), [], LabelSet.of("PER", "ORG"), folder=tmp_path, options=replace(OPTIONS, epochs=1), quiet=True
    )
    assert report.unseen == ("ORG",)
    assert report.unencodable == {"its label is not in the label set": 6}
    assert json.loads((tmp_path / "fit.json").read_text())["unseen"] == ["ORG"]


def test_iob2_and_crf_are_learnt_too(encoder_folder: Path, tmp_path: Path) -> None:
    quick = FitOptions(encoder_rate=3e-3, head_rate=1e-2, epochs=40, batch_size=4, seed=1)
    for more in ({"scheme": "iob2"}, {"crf": True}, {"scheme": "iob2", "crf": True, "hidden": 16}):
        made = rival("bert_tagger", str(encoder_folder), **more)
        made.fit(made_up(), made_up(), LABELS, folder=tmp_path / str(len(str(more))), options=quick, quiet=True)
        assert made.f1(made_up()) == 1.0


def test_batches_hold_each_window_once_an_epoch(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    loss = TaggerNetwork.loss

    def spied(self: TaggerNetwork, windows: Sequence[Window]) -> Tensor:
        seen.extend(window.text for window in windows)
        return loss(self, windows)

    monkeypatch.setattr(TaggerNetwork, "loss", spied)
    rival("bert_tagger", str(encoder_folder)).fit(
        made_up(), [], LABELS, folder=tmp_path, options=replace(OPTIONS, epochs=2), quiet=True
    )
    texts = sorted(d.text for d in made_up())
    assert sorted(seen[:8]) == texts
    assert sorted(seen[8:]) == texts
    assert seen[:8] != seen[8:]
