"""A drafter learns where entities are, from the hidden states that it will be given when it decodes."""

import json
import random
from pathlib import Path

import pytest
import torch
from tests import tiny

from genner.document import Document, Entity
from genner.drafting.proposals import SpanProposals
from genner.drafting.span_drafter import DrafterShape, SpanDrafter
from genner.engines.base import DrafterInput, Request
from genner.engines.chat import Chat
from genner.engines.network import Network
from genner.engines.transformers_engine import LocalEngine
from genner.errors import TrainingError, UsageError
from genner.formats import get_format
from genner.grammar import Constraints
from genner.labels import LabelSet
from genner.prompts import instruction, label_ends
from genner.training.drafter_training import agreement, answered, fit, logits_of, read, train_drafter
from genner.training.mixture import Mixture
from genner.training.recipe import DrafterSpec, Recipe

NAMES, PLACES = ["Ada", "Bob Ray", "Grace"], ["Rome", "New York", "Köln"]


def corpus(number: int) -> list[Document]:
    made = []
    for i in range(number):
        name, place = NAMES[i % 3], PLACES[(i * 5 + 1) % 3]
        text = f"so {name} " + "again " * (i % 4) + f"saw {place} in {i}."
        at = text.index(place)
        entities = (Entity(3, 3 + len(name), "PER"), Entity(at, at + len(place), "LOC"))
        made.append(Document(text, entities, str(i)))
    return made


def mixture(folder: Path, drafter: str = "sentences = 50\nepochs = 8") -> Mixture:
    lines = "".join(json.dumps(d.to_dict()) + "\n" for d in corpus(80))
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    (folder / "labels.json").write_text('{"PER": "a human", "LOC": "a place"}')
    path = folder / "recipe.toml"
    path.write_text(
        'base = "b"\n[formats]\ninline_xml = 1.0\n[optim]\ngroup_tokens = 256\n[drafter]\n'
        + drafter
        + '\n[[set]]\nname = "a"\ntrain = ["train.jsonl"]\nlabels = "labels.json"\n'
    )
    return Mixture(Recipe.from_file(path), folder, Chat(tiny.tokenizer("bytes")))


def engine() -> LocalEngine:
    return LocalEngine(tiny.model("llama"), tiny.tokenizer("bytes"))


def test_it_learns_and_guesses_the_same_while_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The model is random, so it seldom writes what was guessed: it would not be asked again.
    monkeypatch.setattr("genner.engines.prefix_state.PrefixState.use_drafter", lambda _: True)
    some = mixture(tmp_path)
    drafter, f1 = train_drafter(engine(), some, some.recipe.drafter)
    untrained = SpanDrafter(drafter.shape).eval()
    held_out = read(Network(engine().network.causal, drafter.probe_layers), engine(), some, 20)
    assert f1 > 0.5 > agreement(untrained, held_out)

    # In the decoder it is given the same states, so it guesses what training says that it does.
    decoding = LocalEngine(tiny.model("llama"), tiny.tokenizer("bytes"), drafter=drafter)
    guessed: dict[str, set[tuple[int, int, int]]] = {}
    inner = drafter.propose

    def propose(inputs: list[DrafterInput]) -> list[SpanProposals]:
        made = inner(inputs)
        guessed.update((read.text, set(each.spans)) for read, each in zip(inputs, made, strict=True))
        return made

    monkeypatch.setattr(drafter, "propose", propose)
    documents = corpus(8)
    labels = LabelSet.from_file(tmp_path / "labels.json")
    form = get_format("inline_xml")
    words = instruction(labels, form)
    asked = [
        Request(
            words, d.text, form.grammar(d.text, labels, Constraints("word")), label_positions=label_ends(words, labels)
        )
        for d in documents
    ]
    list(decoding.generate(asked, batch_size=3))
    rank = {"PER": 0, "LOC": 1}
    right = sum(len(guessed[d.text] & {(e.start, e.end, rank[e.label]) for e in d.entities}) for d in documents)
    assert right >= 10  # of 16


def test_targets_may_be_what_the_model_writes(tmp_path: Path) -> None:
    """Those that the slow decoder writes for the same prompts; with a share of 0 they are the data's."""
    some = mixture(tmp_path)
    (task, *_) = some.tasks(random.Random(0))
    fast = answered(engine(), task)
    slow = answered(LocalEngine(tiny.model("llama"), tiny.tokenizer("bytes"), decoder="reference"), task)
    assert fast == slow
    assert [d.text for d in fast] == [d.text for d in task.documents]
    assert fast != task.documents  # the model is random

    network = Network(engine().network.causal, (1, 3))
    spans = {
        share: [p.spans for reading in read(network, engine(), some, 8, share) for p in reading.passages]
        for share in (0.0, 1.0)
    }
    assert {len(each) for each in spans[0.0]} <= {1, 2}  # a name and a place, or what was asked for of them
    assert spans[1.0] != spans[0.0]


def test_the_same_seed_gives_the_same_drafter(tmp_path: Path) -> None:
    some = mixture(tmp_path, "sentences = 20\nepochs = 2")
    spec = some.recipe.drafter
    first, _ = train_drafter(engine(), some, spec)
    again, _ = train_drafter(engine(), some, spec)
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor)


def test_it_goes_on_from_the_one_it_is_given(tmp_path: Path) -> None:
    some = mixture(tmp_path, "sentences = 50\nepochs = 8")
    trained, f1 = train_drafter(engine(), some, some.recipe.drafter)
    trained.save(tmp_path)
    little = DrafterSpec(sentences=50, epochs=1, learning_rate=1e-5)
    _, anew = train_drafter(engine(), some, little)
    _, further = train_drafter(engine(), some, little, SpanDrafter.load(tmp_path))
    assert further > anew
    assert further == pytest.approx(f1, abs=0.1)
    other = SpanDrafter(DrafterShape((1, 2), 32, width=16))  # not of the shape that this model's would have
    _, of_another = train_drafter(engine(), some, little, other)
    assert of_another == anew


def test_passages_do_not_see_each_other(tmp_path: Path) -> None:
    """Logits of several passages in a line equal those of each alone."""
    some = mixture(tmp_path)
    (reading, *_) = read(Network(engine().network.causal, (1, 3)), engine(), some, 10)
    drafter = fit(SpanDrafter(DrafterShape((1, 3), 32, width=16)), [reading], DrafterSpec(epochs=1), 0)
    together, legal = logits_of(drafter, reading)
    at = 0
    for passage in reading.passages:
        alone, its = logits_of(drafter, type(reading)(reading.labels, [passage]))
        here = slice(at, at + len(passage.firsts))
        torch.testing.assert_close(together[here][legal[here]], alone[its])
        at += len(passage.firsts)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    some = mixture(tmp_path, "sentences = 1")
    with pytest.raises(TrainingError, match="1 sentences are too few"):
        train_drafter(engine(), some, some.recipe.drafter)
    with pytest.raises(UsageError, match=r"\[drafter\] self_distill = 2; legal: 0\.0 to 1\.0"):
        DrafterSpec(self_distill=2)
    with pytest.raises(UsageError, match=r"\[drafter\] epochs = 0; legal: 1 or more"):
        DrafterSpec(epochs=0)
