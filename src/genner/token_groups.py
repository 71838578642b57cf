"""The tokens of an answer, grouped by what they decided of an entity.

The grammar says which bytes decided what (`GrammarEntity.decisions`), and the format which kinds of decisions there are
(`Format.decision_kinds`). Here the log-probabilities of the tokens are added up by kind.
"""

from collections.abc import Mapping

from genner.engines.base import Generation
from genner.errors import FormatError
from genner.formats import FORMATS
from genner.grammar import DecisionKinds, GrammarEntity

Decisions = Mapping[str, float]
"""Log-probability (nats, at most 0) of an entity's decisions, by kind."""


def decision_families() -> dict[str, DecisionKinds]:
    """The kinds of decisions of all families of formats, by the name of the family.

    Raises `FormatError` where two formats of one family have different kinds.
    """
    families: dict[str, DecisionKinds] = {}
    for form in FORMATS.values():
        kinds = form.decision_kinds
        if families.setdefault(kinds.family, kinds) != kinds:
            raise FormatError(
                f"{form.name} has decisions {', '.join(kinds.kinds)} and is of family {kinds.family!r}, whose are "
                f"{', '.join(families[kinds.family].kinds)}; give its `decision_kinds` a family of its own"
            )
    return families


def token_groups(written: GrammarEntity, generation: Generation, kinds: DecisionKinds) -> dict[str, float] | None:
    """The log-probabilities of an entity's decisions, by kind; None when the engine gave none.

    A token belongs to the first of the entity's decisions that it has a byte of: a token `<PER` to `open`. Each token
    counts once, and one that has bytes of two entities counts for both.

    Raises `FormatError` where the grammar gave a kind that the format does not have.
    """
    if not generation.logprobs:
        return None
    found, begin = dict.fromkeys(kinds.kinds, 0.0), 0
    for decision in written.decisions:
        if decision.kind not in found:
            raise FormatError(
                f"the grammar gives a decision {decision.kind!r} of {written.label} [{written.start}, {written.end}); "
                f"legal in family {kinds.family!r}: {', '.join(kinds.kinds)}"
            )
    for end, logprob in zip(generation.ends, generation.logprobs, strict=True):
        kind = next((d.kind for d in written.decisions if begin < d.end and d.begin < end), None)
        if kind is not None:
            found[kind] += logprob
        begin = end
    return found
