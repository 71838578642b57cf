"""A format that somebody adds: scores and calibration follow from what it says, or there is a clear error."""

import re
from collections.abc import Iterator
from math import exp, log

import pytest
from hypothesis import given, settings
from tests.strategies import LABELS, documents

from genner.calibration import Calibration
from genner.calibration_scales import Scale
from genner.document import Document, Entity, LabelSet
from genner.engines.base import Generation
from genner.errors import FormatError, UsageError
from genner.formats import FORMATS, Format
from genner.formats.inline import InlineFormat, Mark, MarkupTag
from genner.grammar import Constraints, DecisionKinds, GrammarEntity, accepts, decisions_of
from genner.token_groups import decision_families, token_groups

_MARK = re.compile(r"\\[{}]|\{([^{}:\s][^{}:\n]*+):|\}")


class Curly(InlineFormat):
    """The text copied out, each entity as `{PER:John Smith}`."""

    name = "curly"
    instruction = "Copy the text with each entity as {LABEL:mention}"
    example = "{PER:John Smith} reported from {LOC:New York}."
    forbidden_start_chars = ("{",)

    def tags(self, labels: LabelSet) -> tuple[list[MarkupTag], list[MarkupTag]]:
        return [MarkupTag("{", f"{tag}:") for tag in labels.tags], [MarkupTag("}")]

    def escape(self, text: str, labels: LabelSet) -> list[str]:
        return [f"\\{char}" if char in "{}" else char for char in text]

    def lex(self, text: str, answer: str, labels: LabelSet) -> Iterator[str | Mark]:
        begin = 0
        for match in _MARK.finditer(answer):
            yield answer[begin : match.start()]
            begin = match.end()
            if match[0].startswith("\\"):
                yield match[0][1]
            elif match[0] == "}":
                yield Mark("}", True, "")
            else:
                yield Mark(match[0], False, match[1] if match[1] in labels else None, match[1])
        yield answer[begin:]


@pytest.fixture
def form(monkeypatch: pytest.MonkeyPatch) -> Format:
    monkeypatch.setitem(FORMATS, "curly", Curly())
    return FORMATS["curly"]


@given(document=documents())
@settings(max_examples=40, deadline=None)
def test_it_has_an_encoding_and_a_grammar(document: Document) -> None:
    form = Curly()
    document, _ = form.encodable_part(document)
    answer = form.encode(document, LABELS)
    assert accepts(form.grammar(document.text, LABELS), answer.encode())
    assert form.decode(document.text, answer, LABELS).entities == document.entities


def test_each_token_is_of_the_decision_that_it_took(form: Format) -> None:
    tokens = [("{", 0.5), ("PER", 0.8), (":", 0.9), ("Ann", 0.1), ("}", 0.7), (" is here", 0.2)]
    answer = "".join(text for text, _ in tokens).encode()
    ends = [len("".join(text for text, _ in tokens[: i + 1])) for i in range(len(tokens))]
    made = Generation(answer, tuple(ends), tuple(log(p) for _, p in tokens))
    kinds = form.decision_kinds
    (one,) = form.grammar("Ann is here", LABELS).read(answer) or ()
    wanted = {"open": log(0.5), "label": log(0.8 * 0.9), "inside": log(0.1), "close": log(0.7)}
    assert token_groups(one, made, kinds) == pytest.approx(wanted)
    # It is calibrated as the other formats of its family are.
    scale = Scale(dict.fromkeys(("open", "label", "close"), 2.0), 1.5, -0.5)
    found = Calibration({"inline": scale}).score(one, made, LABELS, kinds)
    assert found == pytest.approx(scale.score(wanted))
    assert found != pytest.approx(exp(sum(wanted.values()) - wanted["inside"]))


def test_what_it_is_not_asked_for_and_what_is_broken_is_told(form: Format) -> None:
    labels = LabelSet.of("PER", "LOC")
    prediction = form.decode("Ann left Oslo.", "{PER:Ann} left} {ORG:Oslo}.", labels)
    assert prediction.entities == (Entity(0, 3, "PER"),)
    assert {p.kind for p in prediction.problems} >= {"invalid", "dropped"}
    assert form.decode_strictly("Ann left Oslo.", "{PER:Ann} left {ORG:Oslo}.", labels).entities == (
        Entity(0, 3, "PER"),
        Entity(9, 13, "ORG"),
    )
    assert set(form.labels_in("{PER:Ann} left {ORG:Oslo}.")) == {"PER", "ORG"}


def test_a_decision_of_another_kind_is_an_error(form: Format) -> None:
    entity = GrammarEntity(0, 3, "PER", decisions_of(("begins", 0, 5), ("close", 8, 9)))
    with pytest.raises(FormatError, match=r"gives a decision 'begins' of PER .*legal in family 'inline': open, label"):
        token_groups(entity, Generation(b"{PER:Ann}", (9,), (-1.0,)), form.decision_kinds)


def test_a_family_has_one_set_of_kinds(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "decision_kinds", DecisionKinds("inline", ("all",)), raising=False)
    with pytest.raises(FormatError, match=r"curly has decisions all and is of family 'inline'.*a family of its own"):
        decision_families()
    monkeypatch.setattr(form, "decision_kinds", DecisionKinds("curly", ("all",)), raising=False)
    assert decision_families()["curly"].kinds == ("all",)


@pytest.mark.parametrize("name", FORMATS)
def test_what_rules_and_schemas_cannot_express_is_refused(name: str) -> None:
    form = FORMATS[name]
    for language in (form.rules, form.lark):
        with pytest.raises(UsageError, match=r"need a depth; give Constraints\(depth=1\)"):
            language("Ann", LABELS, Constraints("strict"))
    if form.json_schema("Ann", LABELS) is not None:
        with pytest.raises(UsageError, match="has word boundaries"):
            form.json_schema("Ann", LABELS, Constraints("any", 1))


def test_constraints_are_checked() -> None:
    with pytest.raises(UsageError, match="boundaries 'words' are unknown; legal: any, word, strict"):
        Constraints("words")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="depth 0 lets no entity in; legal: 1"):
        Constraints(depth=0)
