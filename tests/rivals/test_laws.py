"""What holds for every rival in `RIVALS`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from tests.conftest import Corpora
from tests.encoders import LABELS, made_up
from tests.strategies import LABELS as DRAWN_LABELS
from tests.strategies import documents

from genner.data import read_corpus
from genner.document import Document, LabelSet
from genner.errors import TrainingError, UsageError
from genner.rivals import RIVALS, load_rival, rival_class
from genner.rivals.base import EncoderRival
from genner.rivals.encoder import WordEncoder
from genner.rivals.fitting import FitOptions
from genner.rivals.words import without_gold

QUICK = FitOptions(encoder_rate=3e-3, head_rate=1e-2, epochs=40, batch_size=4, warmup=0.1, seed=1)
"""Rates for a tiny encoder without knowledge: everything has to be learnt from eight texts."""
OF_RIVAL: dict[str, dict[str, float]] = {
    # Which label is meant has to be learnt from the letters of the queries.
    "gnn_sl": {"epochs": 15},
    "ace_style": {"epochs": 20},
    "bert_mrc": {"head_rate": 3e-3, "batch_size": 2, "epochs": 60},
    "bert_mrc_dsc": {"head_rate": 3e-3, "batch_size": 2, "epochs": 80},
    "w2ner": {"epochs": 80},  # its loss is a mean over all pairs of words
}
"""Rates of rivals that need others to learn them under every seed."""
NARROW: dict[str, dict[str, float]] = {
    "ace_style": {"hidden": 32, "characters": 8, "episodes": 4, "fine_tune_epochs": 5},
    "gnn_sl": {"k": 8, "context": 1, "depth": 2},
    "biaffine": {"channels": 16, "hidden": 32, "dropout": 0.1},
    "biaffine_cnn": {"channels": 16, "hidden": 32, "dropout": 0.1},
    "w2ner": {
        "lstm": 32,
        "channels": 16,
        "biaffine": 32,
        "hidden": 32,
        "word_dropout": 0.1,
        "grid_dropout": 0.0,
        "output_dropout": 0.1,
    },
}
"""Hyperparameters of rivals whose published widths are slow to test, with dropouts that such widths bear."""


def untrained(name: str, encoder: WordEncoder, labels: LabelSet) -> EncoderRival:
    rival = rival_class(name)(encoder, **NARROW.get(name, {}))
    rival.begin(labels, FitOptions())
    return rival


@pytest.fixture(scope="module", params=sorted(RIVALS))
def fitted(request: pytest.FixtureRequest, encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of each rival, trained on the made-up texts: on nested ones if it can express these."""
    folder = tmp_path_factory.mktemp(str(request.param))
    rival = rival_class(request.param)(str(encoder_folder), **NARROW.get(request.param, {}))
    quick = replace(QUICK, **OF_RIVAL.get(request.param, {}))
    rival.begin(LABELS, quick)
    nested = made_up(nested=True)
    can_nest = not any(rival.unencodable(document) for document in nested)
    data = nested if can_nest else made_up()
    rival.fit(data, data, LABELS, folder=folder, options=quick, quiet=True)
    assert rival.f1(data) == 1.0
    return folder


@pytest.mark.parametrize("name", sorted(RIVALS))
def test_mixed_precision_changes_the_loss_little(name: str, tiny_encoder: WordEncoder) -> None:
    rival = untrained(name, tiny_encoder, LABELS)
    windows, _ = rival.windows(made_up(), FitOptions())
    rival.network.eval()  # no dropout
    losses = []
    for bf16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = rival.network.loss(windows[:4])
        loss.backward()
        assert all(p.grad.isfinite().all() for p in rival.network.parameters() if p.grad is not None)
        losses.append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


@pytest.mark.parametrize("name", sorted(RIVALS))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents(crossing=True))
def test_targets_say_what_is_encodable(name: str, tiny_encoder: WordEncoder, document: Document) -> None:
    rival = untrained(name, tiny_encoder, DRAWN_LABELS)
    _check_targets(rival, document)


def _check_targets(rival: EncoderRival, document: Document) -> None:
    network = rival.network
    windows, lost = rival.windows([document], FitOptions())
    said = 0
    for window in windows:
        assert sorted(network.read(network.targets(window))) == sorted(window.entities)
        said += len(window.entities)
    assert said + lost.total() == len(document.entities)


@pytest.mark.parametrize("corpus", ["genia", "uner_en_ewt", "uner_zh_gsdsimp"])
@pytest.mark.parametrize("name", sorted(RIVALS))
def test_targets_say_what_corpora_hold(name: str, corpus: str, tiny_encoder: WordEncoder, corpora: Corpora) -> None:
    """On a part of them: benchmarks/rivals.py counts what each rival cannot express in all corpora."""
    some = list(read_corpus(corpora(corpus) / "dev.jsonl"))[::20]
    labels = LabelSet.of(*sorted({e.label for d in some for e in d.entities}))
    rival = untrained(name, tiny_encoder, labels)
    for document in some:
        _check_targets(rival, document)


def test_predictions_depend_on_the_text_alone(fitted: Path) -> None:
    """Not on the batch, its padding, its order, or the gold."""
    rival = load_rival(fitted)
    assert isinstance(rival, EncoderRival)
    windows, _ = rival.windows(made_up(), QUICK)
    together = rival.decode(windows)
    for order in (range(len(windows)), range(len(windows) - 1, -1, -1)):
        for i in order:
            (alone,) = rival.decode([without_gold(windows[i])])
            assert [s[:3] for s in sorted(alone)] == [s[:3] for s in sorted(together[i])]
            for a, b in zip(sorted(alone), sorted(together[i]), strict=True):
                assert a.score == pytest.approx(b.score, abs=1e-3)


def test_what_is_saved_is_what_was_trained(fitted: Path, tmp_path: Path) -> None:
    rival = load_rival(fitted)
    rival.save(tmp_path / "copy")
    copy = load_rival(tmp_path / "copy")
    texts = [d.text for d in made_up()]
    assert list(copy.predict(texts)) == list(rival.predict(texts))
    assert (copy.signature, copy.labels) == (rival.signature, LABELS)


def test_texts_of_all_lengths_are_read(fitted: Path) -> None:
    """A text of 3,000 words has its entities in every window; a text without a word, and a missing one, have none."""
    rival = load_rival(fitted)
    long = " ".join(["Ada met Bob in Rome ."] * 500)
    found, empty, blank, odd = rival.predict([long, "", " \n\t", "\x00 Ada \U0001f600‍ " + "x" * 300])
    assert found.text == long
    assert len({e.text for e in found.entities} & {"Ada", "Bob", "Rome"}) > 1
    assert len(found.entities) > 500
    assert all(0 <= (e.score or 0) <= 1 for e in found.entities)
    assert empty.entities == blank.entities == ()
    assert odd.text.startswith("\x00")


@pytest.mark.parametrize("name", sorted(RIVALS))
def test_no_gold_reaches_predictions(name: str, encoder_folder: Path) -> None:
    """An untrained rival finds next to nothing that is right."""
    rival = untrained(name, WordEncoder.load(str(encoder_folder)), LABELS)
    assert rival.f1(made_up()) < 0.5


@pytest.mark.parametrize("name", sorted(RIVALS))
def test_wrong_input_is_told(name: str, encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = rival_class(name)
    with pytest.raises(UsageError, match="not trained"):
        list(kind(str(encoder_folder)).predict(["a"]))
    with pytest.raises(UsageError, match="nonsense"):
        kind(str(encoder_folder), nonsense=1)
    with pytest.raises(UsageError, match="no training data"):
        kind(str(encoder_folder)).fit([], [], LABELS, folder=tmp_path / "a", quiet=True)
    network = kind.network_type
    monkeypatch.setattr(network, "loss", lambda self, _: sum(p.sum() for p in self.parameters()) * torch.nan)
    with pytest.raises(TrainingError, match="lower encoder_rate"):
        kind(str(encoder_folder)).fit(
            made_up(), [], LABELS, folder=tmp_path / "b", options=replace(QUICK, epochs=1), quiet=True
        )
