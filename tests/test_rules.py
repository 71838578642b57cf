"""The rules for other engines, run by those engines, against genner's own automaton."""

import json
import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from genner.cli import app
from genner.document import Document, Entity, LabelSet
from genner.formats import FORMATS, Format, json_rules
from genner.grammar import accepts
from genner.rules import Part, Rules
from strategies import LABELS, documents

jsonschema = pytest.importorskip("jsonschema")
llguidance = pytest.importorskip("llguidance")
xgrammar = pytest.importorskip("xgrammar")

formats = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())

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
    grammar = form.grammar(text, labels, where="strict", depth=1)
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
    written = rules.lark() if by is by_llguidance else rules.gbnf()
    automaton = form.grammar(text, labels, where="strict", depth=1)
    for _ in range(4):
        answer = walk(form, text, labels, rng)
        assert by(written, answer)
        # Changed in one byte, it is accepted by both or by neither, where the rules are exact.
        at = rng.randrange(len(answer))
        changed = answer[:at] + rng.choice([b"", b"x", b"<", b'"', b"]"]) + answer[at + 1 :]
        if form.name != "grouped_json":
            assert by(written, changed) == accepts(automaton, changed), changed


def generated(rules: Rules, answer: str) -> bool:
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


def _literal(rules: Rules, text: str) -> str:
    name = f"literal {text}"
    if text:
        rules.rules.setdefault(name, ((Part(text),),))  # type: ignore[attr-defined]
    return name if text else ""


@formats
@given(document=documents(), depth=st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_rules_generate_every_encoding_that_the_grammar_accepts(form: Format, document: Document, depth: int) -> None:
    sayable, _ = form.keep(document, "strict")
    answer = form.encode(sayable, LABELS)
    if accepts(form.grammar(document.text, LABELS, where="strict", depth=depth), answer.encode()):
        assert generated(form.rules(document.text, LABELS, where="strict", depth=depth), answer)


@pytest.fixture
def rough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules as of a long text: of a mention's beginning, one word is remembered."""
    monkeypatch.setattr(json_rules, "EXACT_WORDS", 1)
    monkeypatch.setattr(json_rules, "EXACT_RULES", 0)


lists = pytest.mark.parametrize("form", [FORMATS["occurrence_json"], FORMATS["offset_json"]], ids=lambda f: f.name)


@lists
@pytest.mark.usefixtures("rough")
@given(document=documents(), depth=st.integers(1, 2))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rough_rules_generate_every_encoding(form: Format, document: Document, depth: int) -> None:
    sayable, _ = form.keep(document, "strict")
    answer = form.encode(sayable, LABELS)
    if accepts(form.grammar(document.text, LABELS, where="strict", depth=depth), answer.encode()):
        assert generated(form.rules(document.text, LABELS, where="strict", depth=depth), answer)


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


def derived(rules: Rules, rng: random.Random) -> str:
    """A random answer that the rules generate."""
    out, stack = "", [Part("", next(iter(rules.rules)))]
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
    a, b, c = Part("a", "b"), Part("b", "a"), Part("c")
    assert Rules({"root": ((a,), (c,)), "b": ((b,),), "a": ((a,),)}).pruned() == Rules({"root": ((c,),)})
    # A long chain, in either order of its rules, is gone through once.
    links = {f"r{i}": ((Part("x", f"r{i + 1}"),),) for i in range(50_000)} | {"r50000": ((c,),)}
    assert Rules(links).pruned() == Rules(links)


@pytest.mark.parametrize("name", ["grouped_json", "occurrence_json", "offset_json"])
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


def test_big_grammars_warn_with_their_size() -> None:
    def run(words: int, to: str) -> tuple[str, str]:
        text = " ".join(f"word{i}" for i in range(words))
        call = ["grammar", "--text", text, "--labels", "PER", "--format", "occurrence_json", "--to", to]
        result = CliRunner().invoke(app, call)
        assert result.exit_code == 0
        return result.stdout, result.stderr

    assert run(20, "gbnf")[1] == run(20, "json-schema")[1] == ""
    schema, warning = run(60, "json-schema")
    json.loads(schema)
    assert f"warning: {len(schema.encode()) // 1024} KiB for" in warning
    assert "gbnf, ebnf and lark are smaller" in warning
    assert run(60, "gbnf")[1] == ""
    assert "give a shorter --text" in run(600, "gbnf")[1]
