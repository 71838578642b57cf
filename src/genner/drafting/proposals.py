"""The entities that a text may have, as a drafter proposes them; grammars write drafts from them."""

from collections.abc import Iterable, Mapping, Sequence

from genner.grammar import Grammar


class SpanProposals:
    """Entities that a text may have; a `genner.grammar.Proposals`.

    Args:
        spans: the probable entities as (start, end, number of the label), half-open, in code points.
        others: by start, less probable entities as (end, number of the label), the most probable first. They are used
            when the model opens an entity that is not in `spans`, or does not end one where `spans` does.
    """

    def __init__(
        self,
        spans: Iterable[tuple[int, int, int]] = (),
        others: Mapping[int, Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        self.spans = tuple(sorted(set(spans), key=lambda span: (span[0], -span[1], span[2])))
        self._others = others or {}
        self._from: dict[int, list[tuple[int, int]]] = {}
        for start, end, rank in self.spans:
            self._from.setdefault(start, []).append((end, rank))

    def starting(self, start: int) -> Sequence[tuple[int, int]]:
        return self._from.get(start, ())

    def likeliest(self, start: int, place: int, rank: int | None = None) -> tuple[int, int] | None:
        some = [known for known in (*self.starting(start), *self._others.get(start, ())) if known[0] >= place]
        return next((known for known in some if known[1] == rank), some[0] if some else None)

    def only(self, rank: int) -> "SpanProposals":
        others = {start: [(end, 0) for end, n in some if n == rank] for start, some in self._others.items()}
        return SpanProposals([(start, end, 0) for start, end, number in self.spans if number == rank], others)


class ProposesSpans:
    """The shared part of every `genner.engines.base.Drafter` whose proposals are `SpanProposals`."""

    def hits(self, proposals: SpanProposals, grammar: Grammar, answer: bytes) -> tuple[int, int]:
        """How many of the proposed spans the answer has, and how many it lacks; labels are not compared."""
        if not proposals.spans:
            return 0, 0
        written = {(entity.start, entity.end) for entity in grammar.read(answer) or ()}
        right = sum((start, end) in written for start, end, _ in proposals.spans)
        return right, len(proposals.spans) - right
