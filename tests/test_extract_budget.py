"""How long an answer may be: every gold answer fits, and no answer of whatever model is longer than the law says."""

import random
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genner.boundaries import boundaries, first_ends, most_mentions
from genner.data import read_jsonl
from genner.decoding_constraints import DEFAULT_DEPTH, decoding_constraints, depth_of
from genner.document import Document, Entity, Label, LabelSet
from genner.engines.base import Request
from genner.engines.chat import Chat
from genner.engines.decoding import SEAM, SPARE, budget
from genner.engines.sequence import Sequence
from genner.engines.vocabulary import Vocabulary
from genner.formats import FORMATS, Format
from genner.labels import label_set, label_sets
from tests import tiny
from tests.strategies import texts

WINDOW = 1 << 30
FLAT = LabelSet.of("PER", "LOC")
LONG = LabelSet((Label("sovereign_state_or_country_name_in_full"), Label("P")), depth=2)
COUNTRIES = "France, Spain, Italy, Peru, Chile, Cuba, Iran, Iraq, India, China, Japan, Nepal, Kenya, Ghana."

formats = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
kinds = pytest.mark.parametrize("kind", ["bytes", "pieces"])


def chat(kind: str) -> Chat:
    return Chat(tiny.tokenizer(kind))


def room(form: Format, text: str, labels: LabelSet, kind: str = "bytes", window: int = WINDOW) -> int:
    return budget(chat(kind), Request("", text, form.grammar(text, labels, decoding_constraints(labels))), 0, window)


def parts(form: Format, labels: LabelSet) -> list[LabelSet]:
    return [labels.subset([tag]) for tag in labels.tags] if form.prompt_per_label else [labels]


def taken(form: Format, document: Document, labels: LabelSet, kind: str) -> int:
    """Tokens of the gold answer, as far as decoding allows it."""
    sayable, _ = form.encodable_part(document, "strict")
    return len(chat(kind).answer_ids(form.encode(sayable, labels)))


@formats
@kinds
@pytest.mark.parametrize("longer", ["", "_which_is_called_by_a_name_of_many_words"])
def test_every_gold_answer_fits(form: Format, kind: str, longer: str) -> None:
    for path in sorted(Path(str(files("genner") / "assets" / "gold")).glob("*.jsonl")):
        known = label_set(path.stem if path.stem in label_sets() else "core")
        labels = LabelSet(tuple(Label(label.tag + longer) for label in known), known.depth)
        for document in list(read_jsonl(path))[::8]:
            entities = [Entity(e.start, e.end, e.label + longer) for e in document.entities]
            for part in parts(form, labels):
                asked = Document(document.text, tuple(e for e in entities if e.label in part))
                assert taken(form, asked, part, kind) <= room(form, document.text, part, kind)


@formats
@kinds
def test_a_list_of_nothing_but_names_fits_whatever_they_are_called(form: Format, kind: str) -> None:
    labels = LONG.subset(["sovereign_state_or_country_name_in_full"])
    spans = [(COUNTRIES.index(name), len(name)) for name in COUNTRIES.rstrip(".").split(", ")]
    document = Document(COUNTRIES, tuple(Entity(start, start + size, labels.tags[0]) for start, size in spans))
    assert len(document.entities) == 14
    assert taken(form, document, labels, kind) <= room(form, COUNTRIES, labels, kind)
    assert room(form, COUNTRIES, labels, window=100) == 100


def relentless(form: Format, text: str, labels: LabelSet, rng: random.Random, most: int) -> Sequence:
    """What a model writes that opens an entity whenever it may, and ends one as late as it may."""
    tokenizer = tiny.tokenizer("bytes")
    vocabulary = Vocabulary(tokenizer, Chat(tokenizer).end_id, 700)
    grammar = form.grammar(text, labels, decoding_constraints(labels))
    row = Sequence(Request("", text, grammar), [], most, grammar.start())
    while not row.finished:
        legal = row.legal(row.state, vocabulary)
        copied = grammar.draft(row.state, 1)
        others = [t for t in legal if t != vocabulary.end_id and not copied.startswith(vocabulary.bytes[t] or b"\0")]
        opens = [t for t in others if not (vocabulary.bytes[t] or b"").startswith((b"</", b" |", b"##", b"]", b'"]'))]
        token = rng.choice(opens or sorted(legal))
        row.take(token, 0.0, vocabulary, legal[token])
    return row


@formats
@pytest.mark.parametrize("labels", [label_set("core"), label_set("genia"), LONG, FLAT], ids=["1", "4", "2", "?"])
@given(text=texts.map(lambda text: f"{text} one, two <b>three</b> {text}"), seed=st.integers(0, 99))
@settings(max_examples=6, deadline=None)
def test_no_answer_is_longer_than_the_law_says(form: Format, labels: LabelSet, text: str, seed: int) -> None:
    """The plain copy, and for each word that could be an entity one of the longest label: of any model."""
    asked = parts(form, labels)[0]
    row = relentless(form, text, asked, random.Random(seed), room(form, text, asked))
    assert len(row.tokens) <= room(form, text, asked)
    written = row.request.grammar.read(bytes(row.answer))
    assert written is not None
    covered = [
        sum(w.start <= i < w.end and (not form.independent_labels or w.label == written[0].label) for w in written)
        for i in range(len(text))
    ]
    assert max(covered) <= depth_of(asked)
    if depth_of(asked) == 1 and form.name in ("inline_xml", "compact", "inline_bracketed", "gpt_ner"):
        starts, ends = boundaries(text, "strict", form.forbidden_start_chars)
        assert len(written) <= most_mentions(starts, first_ends(text, "strict", ends))


@formats
@pytest.mark.parametrize("labels", [label_set("core"), label_set("gum_nested_open"), LONG])
def test_the_law_is_linear_in_the_text_and_in_the_length_of_labels(form: Format, labels: LabelSet) -> None:
    asked = parts(form, labels)[0]
    sentence = "Ann Lee (Rome) met <b>Bob</b> at 5 % of 東京. "
    once = room(form, sentence, asked)
    for times in (2, 5, 20):
        assert room(form, sentence * times, asked) <= times * once
    longest = max(len(label.tag) for label in asked)
    words = len(sentence.split()) + 4
    assert once <= 4 * 2 * len(sentence.encode()) + words * (2 * longest + 60 + 4 * SEAM) + 40 * len(asked) + SPARE


def test_depth_is_never_more_than_any_corpus_has() -> None:
    assert max(labels.depth or 0 for labels in label_sets().values()) == DEFAULT_DEPTH


@given(text=texts)
@settings(max_examples=50, deadline=None)
def test_as_many_entities_are_reckoned_with_as_lie_side_by_side(text: str) -> None:
    """Counted by trying: the most spans that do not overlap, of those that are allowed."""
    starts, ends = boundaries(text, "strict")
    first = first_ends(text, "strict", ends)
    best = [0] * (len(text) + 1)
    for i in range(1, len(text) + 1):
        fits = [best[s] + 1 for s in range(i) if starts[s] and ends[i] and first[s] <= i]
        best[i] = max([best[i - 1], *fits])
    assert most_mentions(starts, first) == best[-1]
