"""Conversations mixed in: token ids are those of the chat template, loss is taken on what the assistant says alone, and
sets lose nothing by it."""

import copy
import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny
from tests.strategies import texts
from tests.training.test_adapters import base, quick, recipe_file
from tests.training.test_mixture import Spelling
from tests.training.test_mixture import mixture as entities
from tests.training.test_trainer import adapted, kinds, weights
from torch.nn import functional as F

from genner.assess.cells import plan
from genner.assess.study import Study
from genner.engines.chat import Chat
from genner.engines.network import causal_head
from genner.errors import DataError, ModelError, TrainingError, UsageError
from genner.training import RunOptions, run
from genner.training.batching import Batch, group_loss, tensors
from genner.training.checkpoint import check_recipe
from genner.training.conversations import Conversation, grouped, read_conversations
from genner.training.mixture import Mixture
from genner.training.mixture_report import MixtureReport
from genner.training.recipe import ChatSpec, Recipe, SetSpec

__all__ = ["quick"]  # a fixture that is used by all tests here too

WORDS = ["Hello", "What is 3 + 4?", "Köln, bitte: 東京!", "a < b", "<PER>no</PER>", "7", "x\n\ny", "Tell me more " * 9]


def conversation(number: int, pairs: int = 2, system: bool = False) -> Conversation:
    rng = random.Random(number)
    turns = [(role, rng.choice(WORDS) + f" {i}") for i in range(pairs) for role in ("user", "assistant")]
    return (("system", f"Be kind. {number}"), *turns) if system else tuple(turns)


def messages(some: Conversation) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in some]}


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


said = texts.map(str.strip).filter(bool)
conversations = st.builds(
    lambda system, pairs: (*system, *(turn for q, a in pairs for turn in (("user", q), ("assistant", a)))),
    st.lists(st.tuples(st.just("system"), said), max_size=1),
    st.lists(st.tuples(said, said), min_size=1, max_size=3),
)


# -- token ids


@given(some=conversations)
@settings(max_examples=60, deadline=None)
def test_a_conversation_is_what_the_template_gives(some: Conversation) -> None:
    tokenizer = tiny.tokenizer("bytes")
    ids, of_assistant = Chat(tokenizer).conversation(some)
    whole = tokenizer.apply_chat_template(messages(some)["messages"], tokenize=True, return_dict=False)
    assert ids == whole[: len(ids)]
    assert whole[len(ids) :] == Chat(tokenizer).encode("\n")
    end, answers = tokenizer.convert_tokens_to_ids("<|end|>"), [text for role, text in some if role == "assistant"]
    assert [i for i, s in zip(ids, of_assistant, strict=True) if s] == [
        token for text in answers for token in [*Chat(tokenizer).encode(text), end]
    ]


@kinds
@given(some=conversations)
@settings(max_examples=30, deadline=None)
def test_a_conversation_spells_what_the_template_gives(kind: str, some: Conversation) -> None:
    tokenizer = tiny.tokenizer(kind)
    ids, _ = Chat(tokenizer).conversation(some)
    whole = tokenizer.apply_chat_template(messages(some)["messages"], tokenize=False)
    # To SentencePiece, its sign for a space is a space.
    assert tokenizer.decode(ids) + "\n" == (whole.replace("\u2581", " ") if kind == "pieces" else whole)


@kinds
@given(text=said, answer=said)
@settings(max_examples=30, deadline=None)
def test_one_question_is_asked_as_entities_are_asked_for(kind: str, text: str, answer: str) -> None:
    chat = Chat(tiny.tokenizer(kind))
    ids, of_assistant = chat.conversation((("user", text), ("assistant", answer)))
    assert ids == chat.prefix_ids("") + chat.body_ids(text) + chat.answer_ids(answer)
    assert sum(of_assistant) == len(chat.answer_ids(answer))
    assert all(of_assistant[-sum(of_assistant) :])


def test_words_that_spell_a_special_token_are_words() -> None:
    tokenizer = tiny.tokenizer("bytes")
    plain, _ = Chat(tokenizer).conversation((("user", "a"), ("assistant", "b")))
    tricky, _ = Chat(tokenizer).conversation((("user", "a<|end|>"), ("assistant", "b<|start|>user<pad>")))
    specials = set(tokenizer.all_special_ids)
    assert [i for i in tricky if i in specials] == [i for i in plain if i in specials]


def with_template(template: str) -> Chat:
    tokenizer = copy.deepcopy(tiny.tokenizer("bytes"))
    tokenizer.chat_template = template
    return Chat(tokenizer)


def test_templates_without_a_system_turn_or_with_one_of_their_own() -> None:
    turns = (("system", "Be kind."), ("user", "Hello"), ("assistant", "Hi"))
    folded = (("user", "Be kind.\n\nHello"), ("assistant", "Hi"))
    refuses = with_template(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + tiny.TEMPLATE
    )
    drops = with_template(tiny.TEMPLATE.replace("in messages", "in messages if m['role'] != 'system'"))
    for chat in (refuses, drops):
        assert chat.conversation(turns) == chat.conversation(folded)
    own = with_template("{% if messages[0].role != 'system' %}<|start|>system\nBe.<|end|>\n{% endif %}" + tiny.TEMPLATE)
    assert own.tokenizer.decode(own.conversation(turns)[0]).count("system") == 1
    assert own.tokenizer.decode(own.conversation(folded)[0]).startswith("<|start|>system\nBe.<|end|>\n")


def test_the_last_answer_stands_where_the_model_is_asked_for_one() -> None:
    """Templates that can think show the end of thought in the question alone, or in the last answer."""
    thinks = with_template(
        "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant\n(no thought)\n{% endif %}"
    )
    ids, _ = thinks.conversation(conversation(0))
    assert thinks.tokenizer.decode(ids).count("(no thought)") == 1
    prompt = thinks.prefix_ids("") + thinks.body_ids("x")
    alone, _ = thinks.conversation((("user", "x"), ("assistant", "y")))
    assert alone[: len(prompt)] == prompt


def test_a_template_that_loses_turns_is_refused() -> None:
    last = with_template("{% for m in messages[-2:] %}" + tiny.TEMPLATE.split("%}", 1)[1])
    assert last.conversation((("user", "a"), ("assistant", "b")))
    with pytest.raises(ModelError, match="does not take a conversation of the turns user, assistant, user, assistant"):
        last.conversation(conversation(0))


# -- the loss


def alone(causal: Any, ids: list[int], of_assistant: list[bool]) -> torch.Tensor:
    """The loss of one whole conversation, run plainly by the model itself."""
    logits = causal(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1]
    wanted = torch.tensor([i if s else -100 for i, s in zip(ids, of_assistant, strict=True)][1:])
    return F.cross_entropy(logits.float(), wanted, reduction="sum")


def some_ids(number: int = 5) -> list[tuple[list[int], list[bool]]]:
    chat = Chat(tiny.tokenizer("bytes"))
    return [chat.conversation(conversation(i, 1 + i % 3, system=i == 4)) for i in range(number)]


@pytest.mark.parametrize("way", [{"shared": True}, {"cached": True}, {"cached": False}], ids=str)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_packed_conversations_have_the_loss_and_gradient_they_have_alone(family: str, way: dict[str, bool]) -> None:
    model, ids = adapted(family, trained=True), some_ids()
    causal, groups = model.get_base_model(), list(grouped(ids, 10_000))
    assert len(groups) == 1
    trained, found = [p for p in model.parameters() if p.requires_grad], []
    for total in (
        sum((alone(causal, *one) for one in ids), torch.zeros(())),
        group_loss(causal.model, causal_head(causal), groups[0], 0, torch.device("cpu"), **way),
    ):
        total.backward()
        found.append([total.detach(), *(p.grad for p in trained)])
        for p in trained:
            p.grad = None
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@given(some=st.lists(conversations, max_size=8), budget=st.integers(1, 400))
@settings(max_examples=25, deadline=None)
def test_groups_hold_each_conversation_once_and_whole(some: list[Conversation], budget: int) -> None:
    chat = Chat(tiny.tokenizer("bytes"))
    ids = [chat.conversation(one) for one in some]
    groups = list(grouped(ids, budget))
    held = [
        (group.prefix + pair.body + pair.answer, pair.said or (True,) * len(pair.answer))
        for group in groups
        for pair in group.pairs
    ]
    assert Counter(tuple(all_ids) for all_ids, _ in held) == Counter(tuple(one) for one, _ in ids)
    by_ids = {tuple(one): mask for one, mask in ids}
    for all_ids, mask in held:
        whole = by_ids[tuple(all_ids)]
        assert whole == [False] * (len(all_ids) - len(mask)) + list(mask)
        assert mask[0]
    for group in groups:
        assert group.prefix
        assert all(pair.body for pair in group.pairs)
        assert len(group.pairs) == 1 or len(group.pairs) * max(map(len, group.pairs)) <= budget
        assert group.targets == int((tensors(group, 0)[2] >= 0).sum())
    assert sum(group.targets for group in groups) == sum(sum(mask) for _, mask in ids)


def test_what_has_no_common_head_is_not_packed() -> None:
    some = [([1, 5, 9], [False, False, True]), ([2, 5, 9], [False, False, True])]
    assert [(g.prefix, [(p.body, p.answer) for p in g.pairs]) for g in grouped(some, 100)] == [
        ([1], [([5], [9])]),
        ([2], [([5], [9])]),
    ]


# -- files


def test_all_forms_say_the_same(tmp_path: Path) -> None:
    turns = (("user", "Say it.\n\nHello"), ("assistant", "Hallo"))
    records = [
        messages(turns) | {"id": 7, "source": {"x": 1}},
        {"conversations": [{"from": "human", "value": " Say it.\n\nHello "}, {"from": "gpt", "value": "Hallo\n"}]},
        {"instruction": "Say it.", "input": "Hello", "output": "Hallo", "history": []},
        {"instruction": "Say it.\n\nHello", "output": "Hallo"},
    ]
    path = write(tmp_path / "a.jsonl", records)
    assert list(read_conversations(path)) == [(turns, True)] * 4
    path.write_bytes(b"\xef\xbb\xbf\n" + path.read_bytes().replace(b"\n", b"\r\n\n"))
    assert list(read_conversations(path)) == [(turns, True)] * 4
    system = {"conversations": [{"from": "system", "value": "s"}, *records[1]["conversations"]]}
    alpaca = {**records[3], "system": "s"}
    assert [turns for turns, _ in read_conversations(write(path, [system, alpaca]))] == [(("system", "s"), *turns)] * 2


@given(some=st.lists(conversations, max_size=4))
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, some: list[Conversation]) -> None:
    path = write(tmp_path_factory.mktemp("c") / "c.jsonl", [messages(one) for one in some])
    assert list(read_conversations(path)) == [(one, True) for one in some]


def test_a_question_without_an_answer_is_cut_off(tmp_path: Path) -> None:
    whole = conversation(1)
    path = write(tmp_path / "a.jsonl", [messages((*whole, ("user", "Still there?")))])
    assert list(read_conversations(path)) == [(whole, False)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is not JSON"),
        ("[{}]", "is a JSON list; legal: one object a line"),
        ('{"text": "x"}', "has none of: 'messages'; 'conversations'; 'instruction' and 'output'"),
        ('{"instruction": "x"}', "has none of"),
        ('{"messages": []}', "'messages' is not a list of objects with 'role' and 'content', one at least"),
        ('{"messages": ["x"]}', "'messages' is not a list of objects"),
        ('{"messages": [{"role": "tool", "content": "x"}]}', "turn 1 is by 'tool'; legal: system, user, assistant"),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "assistant"}]}', "turn 2 says None"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "has the turns of a user alone; legal"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "has the turns assistant; legal: user, assistant"),
        ('{"conversations": [{"from": "human", "value": "a"}, {"from": "human", "value": "b"}]}', "has the turns user"),
        ('{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": " "}]}', "turn 2 is empty"),
        ('{"instruction": "x", "output": ""}', "turn 2 is empty"),
        ('{"instruction": "x", "output": "y", "history": [["a", "b"]]}', "has a 'history'"),
        ('{"instruction": "x\\ud800", "output": "y"}', "turn 1 holds half a character"),
        ('{"instruction": ["x"], "output": "y"}', r"turn 1 says \['x'\]"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(messages(conversation(0))) + "\n\n" + line + "\n")
    with pytest.raises(DataError, match=rf"a\.jsonl:3: {message}"):
        list(read_conversations(path))


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: there is no such file"):
        list(read_conversations(tmp_path / "none.jsonl"))
    (tmp_path / "a.jsonl").write_bytes(b'{"instruction": "\xff"}')
    with pytest.raises(DataError, match=r"a\.jsonl:1: invalid UTF-8 at byte 17"):
        list(read_conversations(tmp_path / "a.jsonl"))


# -- in a mixture


class Spoken(Spelling):
    """Stands for a chat: a token is a byte, each turn begins with 1 and ends with 2."""

    def conversation(self, turns: Conversation) -> tuple[list[int], list[bool]]:
        ids, mask = list[int](), list[bool]()
        for role, text in turns:
            words = self.encode(text)
            ids += [1, *words, 2]
            mask += [False, *[role == "assistant"] * (len(words) + 1)]
        return ids, mask


CHATS = "[[chat]]\nname = 'b'\ntrain = ['b.jsonl']\nweight = {weight}\n"


def mixed(folder: Path, weight: float = 1.0, more: str = "", number: int = 30) -> Mixture:
    write(folder / "b.jsonl", [messages(conversation(i, 1 + i % 3)) for i in range(number)])
    made = entities(folder, more=CHATS.format(weight=weight) + more)
    return Mixture(made.recipe, folder, cast(Chat, Spoken()))


def spelled(group: Batch) -> str:
    return json.dumps([group.prefix, [[p.body, p.answer, p.said] for p in group.pairs]])


def test_sets_give_what_they_give_without_conversations(tmp_path: Path) -> None:
    plain, both = entities(tmp_path), mixed(tmp_path)
    for number in (0, 1):
        report = MixtureReport()
        groups = both.epoch(number, report)
        without, with_chats = (Counter(map(spelled, some)) for some in (plain.epoch(number), groups))
        assert without <= with_chats
        assert with_chats.total() > without.total()
        assert list(map(spelled, groups)) == list(map(spelled, mixed(tmp_path).epoch(number)))
    assert both.epoch(0) != both.epoch(1)


def test_the_same_conversations_on_any_machine(tmp_path: Path) -> None:
    text = "".join(map(spelled, mixed(tmp_path, 0.5).epoch(0)))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN


GOLDEN = "cdb27b049797e5df"


def test_as_many_as_the_weight_says_and_all_are_counted(tmp_path: Path) -> None:
    for weight in (0.0, 0.5, 1.0, 2.3):
        report = MixtureReport()
        groups = mixed(tmp_path, weight).epoch(0, report)
        chats = [group for group in groups if group.prefix[0] == 1]
        assert sum(len(group.pairs) for group in chats) == report.conversations["b"] == round(30 * weight)
        assert report.chat_tokens == sum(group.tokens for group in chats) < report.tokens
        assert report.sentences == {"a": 40}
    long = [("user", "why? " * 300), ("assistant", "so.")]
    write(tmp_path / "b.jsonl", [messages(tuple(long)), messages((*conversation(0), ("user", "and?")))])
    made = entities(tmp_path, "max_tokens = 700", CHATS.format(weight=1))
    report = MixtureReport()
    Mixture(made.recipe, tmp_path, cast(Chat, Spoken())).epoch(0, report)
    assert (report.too_long, report.unanswered) == ({"b": 1}, {"b": 1})
    told = report.to_dict()
    assert told["conversations"] == {"b": 1}
    assert json.loads(json.dumps(told)) == told
    assert "40 sentences and 1 conversations, " in str(report)
    assert "1 conversations cut before a question without an answer ({'b': 1})" in str(report)


def test_without_conversations_nothing_is_said_of_them(tmp_path: Path) -> None:
    report, some = MixtureReport(), entities(tmp_path)
    some.epoch(0, report)
    assert not {"conversations", "chat_tokens", "unanswered"} & report.to_dict().keys()
    assert "conversations" not in str(report)
    assert "chat" not in some.recipe.to_dict()


def test_a_wrong_chat_is_named(tmp_path: Path) -> None:
    for more, message in (
        ("weight = -1", r"\[chat\] weight = -1.0; legal: 0.0 or more"),
        ("labels = 'core'", r"\[chat\] has no key 'labels'; known: name, train, weight"),
        ("[[chat]]\nname = 'c'", r"\[chat\] 'c' has no file; give it train"),
        ("[[chat]]\nname = 'a'\ntrain = ['b.jsonl']", "'a' is the name of two"),
        ("[[chat]]\nname = 'b'\ntrain = ['b.jsonl']", "'b' is the name of two"),
    ):
        with pytest.raises(DataError, match=message):
            mixed(tmp_path, more=more) if "[[" in more else entities(
                tmp_path, more=f"[[chat]]\nname = 'b'\ntrain = ['b.jsonl']\n{more}"
            )
    with pytest.raises(DataError, match=r"b\.jsonl: chat 'b' has no conversation to train on"):
        mixed(tmp_path, number=0)
    with pytest.raises(UsageError, match="'chat' is not a list of tables; write \\[\\[chat\\]\\]"):
        Recipe.from_dict({"base": "b", "formats": {}, "chat": {"name": "b"}})


def test_the_recipe_comes_back_and_going_on_minds_it(tmp_path: Path) -> None:
    recipe = mixed(tmp_path).recipe
    assert recipe.chat == (ChatSpec("b", ("b.jsonl",)),)
    path = write(tmp_path / "recipe.json", [json.loads(json.dumps(recipe.to_dict()))])
    check_recipe(path, recipe)
    with pytest.raises(TrainingError, match=r"'chat' was .*'b'.* and is None"):
        check_recipe(path, entities(tmp_path).recipe)


def test_a_run_with_conversations(tmp_path: Path) -> None:
    base(tmp_path / "base")
    write(tmp_path / "b.jsonl", [messages(conversation(i)) for i in range(6)])
    path = recipe_file(tmp_path)
    path.write_text(path.read_text().replace("dev = 'dev.jsonl'\n", ""))
    outs = []
    for name, more in (("plain", ""), ("mixed", CHATS.format(weight=1))):
        path.write_text(path.read_text() + more)
        run(path, tmp_path, tmp_path / name, RunOptions(epochs=1, device="cpu"))
        outs.append(json.loads((tmp_path / name / "data.json").read_text()))
    assert outs[1]["conversations"] == {"b": 6}
    assert outs[1]["steps"] > outs[0]["steps"]
    assert outs[1]["sentences"] == outs[0]["sentences"] == {"a": 8}
    first, second = weights(tmp_path / "plain" / "adapter"), weights(tmp_path / "mixed" / "adapter")
    assert any(not torch.equal(first[key], second[key]) for key in first)


# -- in a study


def test_a_study_may_mix_conversations_in() -> None:
    chat = {"name": "b", "train": ["b.jsonl"], "weight": 0.5}
    rest: dict[str, Any] = {
        "name": "s",
        "model": [{"name": "m", "recipes": ["r"]}],
        "corpus": [{"name": "c", "labels": "core", "train": ["c.jsonl"], "test": "sample:genia"}],
    }

    def study(recipe: dict[str, Any]) -> Study:
        return Study.from_dict({**rest, "recipe": [recipe]})

    cells = [[c for c in plan(study(r)) if c.kind == "train"] for r in ({"name": "r"}, {"name": "r", "chat": [chat]})]
    (plain,), (mixed_cell,) = cells
    assert plain.id != mixed_cell.id
    assert "chat" not in plain.description["recipe"]
    assert Recipe.from_dict(mixed_cell.description["recipe"]).chat == (ChatSpec("b", ("b.jsonl",), 0.5),)
    with pytest.raises(UsageError, match=r"\[recipe.chat\] has no key 'labels'"):
        study({"name": "r", "chat": [chat | {"labels": "core"}]})
    with pytest.raises(UsageError, match="'c' is the name of two"):
        Recipe("m", (SetSpec("c", (), "core"),), {}, chat=(ChatSpec("c", ("b.jsonl",)),))
