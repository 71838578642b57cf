"""What is special to the ACE-style rival: its controller, its group of encoders, its search."""

import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from tests.encoders import LABELS, made_up, save_encoder

from genner.errors import ModelError, UsageError
from genner.rivals import ace_style, load_rival, rival
from genner.rivals.ace_style import AceStyle
from genner.rivals.character_lstm import CharacterLSTM
from genner.rivals.controller import Controller
from genner.rivals.encoder import WordEncoder
from genner.rivals.encoder_group import EncoderGroup, encoder_names
from genner.rivals.fitting import FitOptions, FitProgress
from genner.rivals.words import Window, words

QUICK = FitOptions(encoder_rate=3e-3, head_rate=1e-2, epochs=2, batch_size=4, seed=1)
SMALL = {"hidden": 8, "fine_tune_epochs": 1, "episodes": 4, "characters": 3}


def window(text: str) -> Window:
    return Window(text, words(text))


def test_rewards_by_hand() -> None:
    made = Controller(3, rate=0.1, momentum=0.9, discount=0.5, seed=0)
    assert made.draw() == (1, 1, 1)
    made.learn((1, 1, 1), 0.50)
    assert made.theta == [0, 0, 0]  # the first choice has nothing to be compared with
    # one position differs: (0.60 - 0.50) * 0.5^0
    assert made.reward((1, 1, 0), 0.60) == pytest.approx([0, 0, 0.10])
    made.learn((1, 1, 0), 0.60)
    # grad log P(a = 0) = 0 - sigmoid(0) = -0.5; velocity -0.05, theta 0.1 * -0.05
    assert made.theta == pytest.approx([0, 0, -0.005])
    made.learn((1, 1, 1), 0.55)  # a better score of the same choice counts from now on
    before = list(made.theta)
    # to (1,1,1), best 0.55, two positions: (0.40 - 0.55) / 2; to (1,1,0), one: 0.40 - 0.60
    assert made.reward((1, 0, 0), 0.40) == pytest.approx([0, -0.075 - 0.20, -0.075])
    velocity = list(made.velocity)
    chance = made.chances
    made.learn((1, 0, 0), 0.40)
    moved = [0.9 * v + r * (a - p) for v, r, a, p in zip(velocity, (0, -0.275, -0.075), (1, 0, 0), chance, strict=True)]
    assert made.theta == pytest.approx([t + 0.1 * m for t, m in zip(before, moved, strict=True)])
    assert made.best == ((1, 1, 0), 0.60)


def test_draws_are_never_empty_nor_the_choice_before() -> None:
    made = Controller(2, 0.1, 0.9, 0.5, seed=4)
    seen = set()
    for _ in range(40):
        choice = made.draw()
        assert any(choice)
        assert not made.tried or choice != made.tried[-1][0]
        made.learn(choice, 0.5)
        seen.add(choice)
    assert seen == {(1, 1), (1, 0), (0, 1)}
    again = Controller(2, 0.1, 0.9, 0.5, seed=4)
    for choice, score in made.tried:
        assert again.draw() == choice  # a resumed search draws the same
        again.learn(choice, score)
    made.theta = [80.0, -80.0]
    made.tried.append(((1, 0), 0.5))
    assert made.draw() == (1, 1)


def test_a_controller_learns_which_encoder_helps() -> None:
    made = Controller(3, 1.0, 0.9, 0.5, seed=0)
    for _ in range(60):
        choice = made.draw()
        made.learn(choice, 0.5 + 0.3 * choice[0] - 0.3 * choice[2])
    assert made.chances[0] > 0.8
    assert made.chances[2] < 0.2


def test_a_group_is_the_concatenation_of_its_encoders(encoder_folder: Path) -> None:
    one = WordEncoder.load(str(encoder_folder))
    layered = WordEncoder(one.model, one.tokenizer, "b", (0, 2))
    averaged = WordEncoder(one.model, one.tokenizer, "c", 2)
    group = EncoderGroup([one, layered, averaged], "a,b,c")
    assert group.candidates == [one.name, "b@0", "b@2", "c"]
    assert (group.widths, group.width) == ([32] * 4, 128)
    windows = [window("Ada xyzzy met"), window("Bob")]
    with torch.no_grad():
        whole = group(windows)
        parts = [member(windows).pool("first") for member in (one, layered, averaged)]
        torch.testing.assert_close(whole.pool("first"), torch.cat(parts, -1))
        torch.testing.assert_close(parts[1][..., 32:], parts[0])  # the last layer is the second of two
        ran = []
        for member in group.each():
            member.register_forward_pre_hook(lambda module, _: ran.append(module.name))
        some = group.chosen(windows, [False, True, False, True])
    masked = torch.cat(parts, -1)
    masked[..., :32] = masked[..., 64:96] = 0
    torch.testing.assert_close(some, masked)
    assert ran == ["b", "c"]
    assert whole.words.tolist() == [[True] * 3, [True, False, False]]


def test_several_encoders_are_saved_and_loaded(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_encoder(tmp_path / name)
    names = f"{tmp_path / 'one'}, {tmp_path / 'two'}"
    made = AceStyle(names, **(SMALL | {"fine_tune_epochs": 0, "episodes": 2}))
    report = made.fit(made_up(), made_up(), LABELS, folder=tmp_path / "out", options=QUICK, quiet=True)
    assert report.steps in (4, 8)
    assert [part[-2:] for part in made.signature["encoders"].split(",")].count("=1") in (1, 2, 3)
    copy = load_rival(tmp_path / "out")
    texts = [d.text for d in made_up()]
    assert list(copy.predict(texts)) == list(made.predict(texts))
    assert copy.signature == made.signature
    (tmp_path / "out" / "encoder_0").rename(tmp_path / "out" / "lost")
    with pytest.raises(ModelError, match="encoder_0"):
        load_rival(tmp_path / "out")


def test_the_search_is_logged_and_its_best_episode_kept(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.4, 0.5, 0.7, 0.6, 0.1, 0.2, 0.3, 0.2])  # two evaluations in each episode
    made = AceStyle(str(encoder_folder), **(SMALL | {"fine_tune_epochs": 0}))
    states = []

    def f1(_: object) -> float:
        states.append({n: w.clone() for n, w in made.network.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(made, "f1", f1)
    report = made.fit(made_up(), made_up(), LABELS, folder=tmp_path, options=QUICK, quiet=True)
    assert (report.dev_f1, report.steps) == (0.7, 16)
    log = [json.loads(line) for line in (tmp_path / "search.jsonl").read_text().splitlines()]
    assert [line["dev_f1"] for line in log] == [0.5, 0.7, 0.2, 0.3]
    assert len(log[0]["chosen"]) == 4  # three layers, and characters
    for name, value in states[2].items():
        assert torch.equal(made.network.state_dict()[name], value), name
    assert log[1]["chosen"] == [n.split("=")[0] for n in made.signature["encoders"].split(",") if n.endswith("=1")]


def test_a_stopped_search_ends_where_it_would_have(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(folder: Path) -> AceStyle:
        made = AceStyle(str(encoder_folder), **SMALL)
        made.fit(made_up(), made_up(), LABELS, folder=folder, options=QUICK, quiet=True)
        return made

    whole = fit(tmp_path / "whole")
    train = ace_style.train
    done = [0]

    def stopping(*given: object, **more: object) -> object:
        done[0] += 1
        if done[0] % 2:  # each stage is run once to its end
            raise KeyboardInterrupt
        return train(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ace_style, "train", stopping)
    for _ in range(20):
        try:
            stopped = fit(tmp_path / "stopped")
            break
        except KeyboardInterrupt:
            continue
    assert done[0] == 2 * (1 + int(whole.signature["episodes"]))
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(stopped.network.state_dict()[name], value)
    assert stopped.signature == whole.signature
    assert not list((tmp_path / "stopped").glob("stage_*.pt"))


def test_without_dev_data_all_encoders_are_used(encoder_folder: Path, tmp_path: Path) -> None:
    made = AceStyle(str(encoder_folder), **SMALL)
    report = made.fit(made_up(), [], LABELS, folder=tmp_path, options=QUICK, quiet=True)
    assert report.dev_f1 is None
    assert made.signature["episodes"] == "1"
    assert made.network.choice.tolist() == [1, 1, 1, 1]
    assert made.options.layers == (0, 1, 2)


def test_wrong_encoders_and_layers_are_told(encoder_folder: Path, tmp_path: Path) -> None:
    name = str(encoder_folder)
    with pytest.raises(UsageError, match="layers 0 to 2"):
        rival("ace_style", name, layers=[0, 3]).begin(LABELS, QUICK)
    with pytest.raises(UsageError, match="empty name"):
        rival("ace_style", f"{name},").begin(LABELS, QUICK)
    with pytest.raises(ModelError, match="no such folder"):
        rival("ace_style", f"{name},{tmp_path / 'none'}").begin(LABELS, QUICK)
    with pytest.raises(UsageError, match="discount"):
        rival("ace_style", name, discount=2.0)
    (tmp_path / "a,b").mkdir()
    assert encoder_names(str(tmp_path / "a,b")) == [str(tmp_path / "a,b")]


def test_a_time_budget_is_shared(encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it for fine-tuning; encoding counts; what the episodes leave goes to those that are left."""
    given: list[float] = []

    def fake(
        network: object, windows: object, f1: object, options: FitOptions, *_: object, **__: object
    ) -> FitProgress:
        assert options.max_minutes is not None
        given.append(options.max_minutes)
        return FitProgress(1, 60 * options.max_minutes, 0.1 * len(given))

    monkeypatch.setattr(ace_style, "train", fake)
    ticks = count(0, 60)  # encoding takes a minute
    monkeypatch.setattr(ace_style, "monotonic", lambda: next(ticks))
    made = AceStyle(str(encoder_folder), **SMALL)
    options = replace(QUICK, max_minutes=10)
    report = made.fit(made_up(), made_up(), LABELS, folder=tmp_path, options=options, quiet=True)
    assert given == pytest.approx([5, 1, 1, 1, 1])
    assert (report.seconds, report.steps, report.dev_f1) == pytest.approx((600, 5, 0.5))


def test_characters_are_vectors_of_words_alone() -> None:
    made = CharacterLSTM(4)
    windows = [window("Bob met Ada"), window("Ada \U0001f600 " + "x" * 300 + " \ud800")]
    vectors = made(windows)
    assert vectors.shape == (2, 4, 8)
    torch.testing.assert_close(vectors[0, 2], vectors[1, 0])
    torch.testing.assert_close(made([window("met")])[0, 0], vectors[0, 1])
    assert not torch.allclose(vectors[0, 0], vectors[0, 1])
