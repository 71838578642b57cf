"""The rules for other engines, run by those engines, against genner's own automaton."""

import json
import random
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from genner.boundaries import boundaries, worded
from genner.cfg import ContextFreeGrammar, Symbol
from genner.document import Document, Entity, LabelSet
from genner.formats import FORMATS, Format, json_cfg
from genner.formats.grammar_source import FormatGrammarSource
from genner.formats.json_list import JsonList
from genner.grammar import Constraints, accepts
from genner.labels import label_set
from tests.conftest import Run
from tests.strategies import LABELS, documents

jsonschema = pytest.importorskip("jsonschema")
llguidance = pytest.importorskip("llguidance")
xgrammar = pytest.importorskip("xgrammar")

formats = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())
WITH_SCHEMA = [name for name, form in FORMATS.items() if form.json_schema("a", LABELS) is not None]

SENTENCES = [
    "John Smith reported from New York.",
    'New York, New York: Ann (Bob\'s "friend") said \\o/.',
    "東京 で Ann\n<PER> [x | LOC] @@ é## 🙂",
]


def by_llguidance(lark: str, answer: bytes) -> bool:
    """Whether llguidance accepts an answer, a byte at a time."""
    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Bytes()))
    matcher = llguidance.LLMatcher(tokenizer, llguidance.grammar_from("lark", lark))
    assert not matcher.is_error(), matcher.get_error()
    return bool(matcher.consume_tokens(list(answer)) and matcher.is_accepting())


class Bytes:
    """A tokenizer with a token for each byte, as llguidance wants one."""

    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([i]) for i in range(256)), b"<eos>")
    special_token_ids = (256,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


def by_xgrammar(ebnf: str, answer: bytes) -> bool:
    """Whether xgrammar accepts an answer."""
    return matches(xgrammar.Grammar.from_ebnf(ebnf), answer)


def matches(grammar: xgrammar.Grammar, answer: bytes) -> bool:
    info = xgrammar.TokenizerInfo([bytes([i]) for i in range(256)] + [b"<eos>"], stop_token_ids=[256])
    compiled = xgrammar.GrammarCompiler(info, cache_enabled=False).compile_grammar(grammar)
    matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=False)
    return all(matcher.accept_token(byte) for byte in answer) and matcher.accept_token(256)


def walk(form: Format, text: str, labels: LabelSet, rng: random.Random) -> bytes:
    """A random answer of flat entities at word boundaries."""
    grammar = form.grammar(text, labels, Constraints("strict", 1))
    state, answer = grammar.start(), bytearray()
    while not (grammar.final(state) and not grammar.edges(state)):
        edges = grammar.edges(state)
        byte, state = rng.choice(edges)
        answer.append(byte)
    return bytes(answer)


@formats
@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("by", [by_llguidance, by_xgrammar])
def test_other_engines_accept_what_the_automaton_does(form: Format, text: str, by) -> None:  # type: ignore[no-untyped-def]
    labels, rng = LabelSet.of("PER", "LOC"), random.Random(text)
    rules = form.rules(text, labels)
    written = form.lark(text, labels) if by is by_llguidance else rules.gbnf()
    automaton = form.grammar(text, labels, Constraints("strict", 1))
    for _ in range(4):
        answer = walk(form, text, labels, rng)
        assert by(written, answer)
        # Changed in one byte, it is accepted by both or by neither, where the rules are exact.
        at = rng.randrange(len(answer))
        changed = answer[:at] + rng.choice([b"", b"x", b"<", b'"', b"]"]) + answer[at + 1 :]
        if form.name != "grouped_json":
            assert by(written, changed) == accepts(automaton, changed), changed


def generated(rules: ContextFreeGrammar, answer: str) -> bool:
    """Whether the rules generate an answer: every way at once, in the slow and obvious way."""
    root = next(iter(rules.rules))
    alive, seen = {(answer, (root,))}, set()
    while alive:
        rest, stack = state = alive.pop()
        if state in seen:
            continue
        seen.add(state)
        if not stack:
            if not rest:
                return True
            continue
        for parts in rules.rules[stack[0]]:
            at, names = rest, list[str]()
            # Text behind a rule waits on the stack as a rule of its own.
            for part in parts:
                if names:
                    names += [name for name in (_literal(rules, part.text), part.rule) if name]
                elif not at.startswith(part.text):
                    break
                else:
                    at = at[len(part.text) :]
                    names += [part.rule] if part.rule else []
            else:
                alive.add((at, (*names, *stack[1:])))
    return False


def _literal(rules: ContextFreeGrammar, text: str) -> str:
    name = f"literal {text}"
    if text:
        rules.rules.setdefault(name, ((Symbol(text),),))  # type: ignore[attr-defined]
    return name if text else ""


@formats
@given(document=documents(), depth=st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_rules_generate_every_encoding_that_the_grammar_accepts(form: Format, document: Document, depth: int) -> None:
    sayable, _ = form.encodable_part(document, "strict")
    answer = form.encode(sayable, LABELS)
    if accepts(form.grammar(document.text, LABELS, Constraints("strict", depth)), answer.encode()):
        assert generated(form.rules(document.text, LABELS, Constraints("strict", depth)), answer)


@pytest.fixture
def rough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules as of a long text: of a mention's beginning, one word is remembered."""
    monkeypatch.setattr(json_cfg, "EXACT_WORDS", 1)
    monkeypatch.setattr(json_cfg, "EXACT_RULES", 0)


lists = pytest.mark.parametrize("form", [f for f in FORMATS.values() if isinstance(f, JsonList)], ids=lambda f: f.name)


@lists
@pytest.mark.usefixtures("rough")
@given(document=documents(), depth=st.integers(1, 2))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rough_rules_generate_every_encoding(form: Format, document: Document, depth: int) -> None:
    sayable, _ = form.encodable_part(document, "strict")
    answer = form.encode(sayable, LABELS)
    if accepts(form.grammar(document.text, LABELS, Constraints("strict", depth)), answer.encode()):
        assert generated(form.rules(document.text, LABELS, Constraints("strict", depth)), answer)


@lists
@pytest.mark.usefixtures("rough")
@pytest.mark.parametrize("text", SENTENCES)
def test_what_rough_rules_generate_are_entities_of_the_text_in_order(form: Format, text: str) -> None:
    """Given up are the numbers of long mentions, and nothing else: mentions are verbatim, in order, and flat."""
    labels, rng = LabelSet.of("PER", "LOC"), random.Random(text)
    rules, wrong = form.rules(text, labels), 0
    for _ in range(40):
        answer = derived(rules, rng)
        items = json.loads(answer)
        found = form.decode(text, answer, labels)
        at = 0
        for item in items:
            at = text.index(item["text"], at) + len(item["text"])
        assert {(e.label, text[slice(*e.span)]) for e in found.entities} == {(i["label"], i["text"]) for i in items}
        if form.name == "offset_json":  # the end tells the place
            assert [e.end for e in found.entities] == [item["end"] for item in items]
            assert all(a.end <= b.start for a, b in pairwise(found.entities))
        wrong += bool(found.problems)
    assert form.name == "occurrence_json" or wrong  # or this would test nothing


def derived(rules: ContextFreeGrammar, rng: random.Random) -> str:
    """A random answer that the rules generate."""
    out, stack = "", [Symbol("", next(iter(rules.rules)))]
    while stack:
        part = stack.pop()
        out += part.text
        if part.rule:
            stack += reversed(rng.choice(rules.rules[part.rule]))
    return out


@formats
def test_rules_are_linear_in_the_text(form: Format) -> None:
    """Twice the text has twice the rules, however few different words it has."""
    labels = LabelSet.of("PER", "LOC")
    for sentence in ("Mina met Bo in Oslo, on Monday. ", "a "):
        short, long = (
            sum(
                len(written) for rules in [form.rules(sentence * n, labels)] for written in (rules.gbnf(), rules.lark())
            )
            for n in (1600 // len(sentence), 3200 // len(sentence))
        )
        assert long < 2.3 * short


def test_rules_without_an_end_are_pruned() -> None:
    a, b, c = Symbol("a", "b"), Symbol("b", "a"), Symbol("c")
    assert ContextFreeGrammar({"root": ((a,), (c,)), "b": ((b,),), "a": ((a,),)}).pruned() == ContextFreeGrammar(
        {"root": ((c,),)}
    )
    # A long chain, in either order of its rules, is gone through once.
    links = {f"r{i}": ((Symbol("x", f"r{i + 1}"),),) for i in range(50_000)} | {"r50000": ((c,),)}
    assert ContextFreeGrammar(links).pruned() == ContextFreeGrammar(links)


@pytest.mark.parametrize("name", WITH_SCHEMA)
def test_schemas(name: str) -> None:
    text, labels, form = "Ann saw Ann Lee.", LabelSet.of("PER", "LOC"), FORMATS[name]
    schema = form.json_schema(text, labels)
    good = form.encode(Document(text, (Entity(0, 3, "PER"), Entity(8, 15, "PER"))), labels)
    compiled = xgrammar.Grammar.from_json_schema(json.dumps(schema), any_whitespace=False)
    jsonschema.validate(json.loads(good), schema)
    assert matches(compiled, good.encode())
    for bad in (good.replace("PER", "ORG"), good.replace("Ann", "Bob", 1), good.replace("2", "3").replace("8", "7")):
        if bad != good:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(json.loads(bad), schema)
            assert not matches(compiled, bad.encode())


def test_sizes_are_told_and_big_grammars_refused_with_advice(run: Run) -> None:
    def grammar(words: int, format: str, *args: str) -> tuple[int, str, str]:
        return run("grammar", "--text", " ".join(f"word{i}" for i in range(words)), "--format", format, *args)

    for to in ("gbnf", "lark"):
        code, out, err = grammar(20, "occurrence_json", "--labels", "PER", "--to", to)
        assert (code, err.startswith(f"{to}: {len(out):,} characters, {len(out.splitlines()):,} rules")) == (0, True)
        assert ("the longest answer that it allows has" in err) == (to == "gbnf")
    code, out, err = grammar(60, "occurrence_json", "--labels", "PER", "--to", "json-schema")
    assert (code, out) == (2, "")
    assert "characters for a --text of 409 characters, 1 labels and --depth 1 is more than --max-size 262144" in err
    assert "give --to gbnf, ebnf or lark, which grow with the text" in err
    code, out, err = grammar(60, "occurrence_json", "--labels", "PER", "--to", "json-schema", "--max-size", "999999")
    assert (code, len(json.loads(out)["items"]["anyOf"])) == (0, 60 * 61 // 2)
    nested = ("--labels", "genia", "--depth", "3")
    code, out, err = grammar(20, "inline_xml", *nested)
    assert (code, out) == (2, "")
    assert "give --to lark, which stays small at any depth (llguidance), --format inline_bracketed or compact" in err
    assert "--depth 2, a shorter --text, or raise --max-size" in err
    assert grammar(20, "inline_xml", *nested, "--to", "lark")[0] == grammar(20, "compact", *nested)[0] == 0


@formats
@given(document=documents(LabelSet.of("PER", "LOC")), depth=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_every_answer_that_rules_allow_ends(form: Format, document: Document, depth: int) -> None:
    """There is a longest answer: of each label's copies or lists, as many mentions as the text has places."""
    text, labels = document.text, LabelSet.of("PER", "LOC")
    rules, starts = form.rules(text, labels, Constraints("strict", depth)), sum(boundaries(text, "word")[0])
    longest = rules.longest()
    assert longest is not None
    spelled = 6 * len(text)  # a control is six characters of JSON
    one = max(len(form.encode(Document("x", (Entity(0, 1, tag),)), labels)) for tag in labels.tags) + 9
    frame = len(form.encode(Document(text), labels)) + spelled
    # Side by side, mentions have the text once between them; of deeper ones each may have the rest of it.
    assert longest <= frame + len(labels) * (spelled + starts * depth * (one if depth == 1 else one + spelled))
    schema = form.json_schema(text, labels, Constraints("strict", depth))
    for some in [schema] if schema and "items" in schema else (schema or {}).get("properties", {}).values():
        assert some["maxItems"] <= starts * depth


def test_the_longest_answer_is_the_longest() -> None:
    a, b, c = Symbol("a", "b"), Symbol("bb", "c"), Symbol("ccc")
    assert (
        ContextFreeGrammar({"root": ((a, c), (c,)), "b": ((b,), (c,)), "c": ((c,), (Symbol("d"),))}).longest()
        == 1 + 2 + 3 + 3
    )
    assert (
        ContextFreeGrammar({"root": ((a,),), "b": ((Symbol("x", "root"),), (c,))}).longest() is None
    )  # it goes round and round


@pytest.mark.parametrize("text", SENTENCES)
def test_grouped_lists_are_in_reading_order_and_no_punctuation(text: str) -> None:
    form, labels, rng = FORMATS["grouped_json"], LabelSet.of("PER", "LOC"), random.Random(text)
    rules = form.rules(text, labels)
    most = 0
    for _ in range(60):
        answer = json.loads(derived(rules, rng))
        assert [*answer] == [*labels.tags]
        for mentions in answer.values():
            at, most = 0, max(most, len(mentions))
            for mention in mentions:
                at = text.index(mention, at) + len(mention)  # side by side
                assert any(map(worded, mention))
    assert most > 1


def test_a_list_of_nested_mentions_ends_too() -> None:
    """As a model that repeats itself would write it: the first mention again and again."""
    labels, text = LabelSet.of("PER"), "Ann saw Bo."
    for name in WITH_SCHEMA:
        form = FORMATS[name]
        item = form.encode(Document(text, (Entity(0, 3, "PER"),)), labels)
        head, tail = ('{"PER": [', "]}") if name == "grouped_json" else ("[", "]")
        said = item.removeprefix(head).removesuffix(tail)
        for depth, times in ((1, 1), (2, 2), (3, 3)):
            rules = form.rules(text, labels, Constraints("strict", depth))
            assert generated(rules, head + ", ".join([said] * times) + tail)
            assert not generated(rules, head + ", ".join([said] * (times + 1)) + tail)


def repeated(answer: str) -> tuple[str, str]:
    """A JSON answer whose last list that is not empty ends in its last mention once more; and that mention."""
    value = json.loads(answer)
    lists = [value] if isinstance(value, list) else [*value.values()]
    last = [some for some in lists if some][-1]
    last.append(last[-1])
    mention = last[-1] if isinstance(last[-1], str) else last[-1]["text"]
    return json.dumps(value, ensure_ascii=False), mention


@pytest.mark.parametrize("name", WITH_SCHEMA)
@given(document=documents(), depth=st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_a_list_may_end_in_its_last_mention_once_more(name: str, document: Document, depth: int) -> None:
    """As under genner's own grammar, where a model in a loop would be forced to write a wrong mention otherwise."""
    form, constraints = FORMATS[name], Constraints("strict", depth, allow_trailing_repeat=True)
    sayable, _ = form.encodable_part(document, "strict")
    assume(sayable.entities)
    answer = form.encode(sayable, LABELS)
    again, last = repeated(answer)
    ends = boundaries(document.text, "word")[1]
    assume(all(sum(ends[e.start + 1 : e.end + 1]) <= json_cfg.REPEATED_WORDS for e in sayable.entities))
    if accepts(form.grammar(document.text, LABELS, constraints), again.encode()):
        rules = form.rules(document.text, LABELS, constraints)
        assert generated(rules, answer)
        assert generated(rules, again)
        if document.text.count(last) == 1:  # or grouped JSON has it for the next
            assert form.decode(document.text, again, LABELS).entities == sayable.entities


def test_a_list_with_a_repeated_mention_ends_too() -> None:
    labels, text = LabelSet.of("PER", "LOC"), "Ann saw Bo here."
    for name in WITH_SCHEMA:
        form = FORMATS[name]
        one = form.encode(Document(text, (Entity(0, 3, "PER"),)), labels)
        both = form.encode(Document(text, (Entity(0, 3, "PER"), Entity(8, 10, "PER"))), labels)
        twice = repeated(both)[0]
        flat = Constraints("strict", 1, allow_trailing_repeat=True)
        rules = form.rules(text, labels, flat)
        assert accepts(form.grammar(text, labels, flat), twice.encode())
        assert generated(rules, twice)
        assert not generated(form.rules(text, labels), twice)
        assert not generated(rules, repeated(twice)[0])
        # Behind a repeated mention there is none.
        value = json.loads(both)
        some = value["PER"] if name == "grouped_json" else value
        some.insert(0, some[0])
        assert not generated(rules, json.dumps(value))
        for depth in (2, 3):
            nested, answer = form.rules(text, labels, Constraints("strict", depth, allow_trailing_repeat=True)), one
            for _ in range(depth):
                answer, _ = repeated(answer)
                assert generated(nested, answer)
            assert not generated(nested, repeated(answer)[0])


def test_a_grammar_that_is_sent_stays_small_and_says_what_it_gives_up(caplog: pytest.LogCaptureFixture) -> None:
    """Rules of XML for five labels, four deep, came to megabytes for a sentence."""
    labels, limits = label_set("genia"), Constraints("strict", 4, allow_trailing_repeat=True)
    long = "Incubation of each of the TRs with NE from COS-7 cells resulted in formation of a new complex."
    for text, depth in (("COS-7 cells", 2), (long, 1)):
        for _ in range(2):
            sent = FormatGrammarSource(FORMATS["inline_xml"], text, labels, limits).gbnf()
            assert sent == FORMATS["inline_xml"].rules(text, labels, replace(limits, depth=depth)).gbnf()
            assert len(sent) < 70_000
    (said,) = {record.getMessage() for record in caplog.records}
    assert "inline_xml for 5 labels nested 4 deep are too large for a request" in said
    compact = FormatGrammarSource(FORMATS["compact"], long, labels, limits).gbnf()
    assert compact == FORMATS["compact"].rules(long, labels, limits).gbnf()


@pytest.mark.parametrize("text", ["Ann, (of Rome).", "<PER> a <P <<x </LOC>", "- (x) - <"])
def test_terminals_of_nested_tags_accept_what_the_rules_do(text: str) -> None:
    labels, form, rng = LabelSet.of("PER", "LOC"), FORMATS["inline_xml"], random.Random(text)
    for depth in (1, 3):
        rules, lark = (
            form.rules(text, labels, Constraints("strict", depth)),
            form.lark(text, labels, Constraints("strict", depth)),
        )
        seen = set[bool]()
        for _ in range(4):
            answer = derived(rules, rng)
            assert by_llguidance(lark, answer.encode())
            tags = [m.span() for m in re.finditer(r"</?(PER|LOC)>", answer)]
            start, end = rng.choice(tags or [(0, 1)])
            for changed in (answer[:start] + answer[end:], answer[:start] + answer[start:end] * 2 + answer[end:]):
                legal = generated(rules, changed)
                assert by_llguidance(lark, changed.encode()) == legal, changed
                seen.add(legal)
        assert False in seen


def test_terminals_stay_small_and_are_taken_however_deep() -> None:
    """The rules of this sentence came to a megabyte three deep, and llguidance would not have them."""
    labels, form = LabelSet.of(*(f"kind{i}" for i in range(8))), FORMATS["inline_xml"]
    text = "Activation of the CD28 surface receptor provides a major costimulatory signal for T cell activation. " * 5
    start = text.index("CD28")
    nested = [Entity(start, start + n, f"kind{i}") for n, i in ((21, 0), (12, 3), (12, 5), (4, 7))]
    answer = form.encode(Document(text, tuple(nested)), labels)
    lark = form.lark(text, labels, Constraints("strict", 4))
    assert len(lark) < 8 * len(text)
    assert by_llguidance(lark, answer.encode())
    assert not by_llguidance(lark, answer.replace("</kind7>", "", 1).encode())
