"""The one pipeline: text -> chunks -> prompts -> engine -> answers -> `Prediction`.

What an entity's score means: the probability, among the legal alternatives at each token, of the tokens that write its
markup, given all that was written before: that an entity opens here, with this label, and that it closes here. How
likely it was to go on copying in between is left out, as is the text itself, which is forced. In a JSON format it is
the probability of all tokens that write its item. It is a product of the model's own probabilities. Where a model
comes with a calibration (`genner.calibration`), the score is what that makes of them: about the share of the entities
of this score that are right, on texts like those it was fitted on.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any, NamedTuple

from genner.calibration import Calibration, Standing
from genner.chunks import Chunk, chunks
from genner.document import Document, Entity, LabelSet, Prediction, Problem
from genner.engines.base import Engine, Generation, Request
from genner.errors import UsageError
from genner.formats import Format
from genner.grammar import Boundaries, Constraints, DecisionKinds, Grammar, GrammarEntity
from genner.inputs import checked_score, document_of, no_text, not_one_text
from genner.labels import Labels, as_label_set, family
from genner.prompts import instruction, label_ends
from genner.trained import Trained, named

log = logging.getLogger(__name__)

MAX_CHUNK_CHARS = 1200  # code points: a longer sentence is cut, since none so long was trained on
OWN_FIELDS = (
    "below_min_score",
    "answer_reading",
    "uncalibrated_scores",
)  # of a prediction that is read again, which are no longer so
DEFAULT_DEPTH = 7
"""Entities that may cover one place where the labels do not say how deep they nest: the most in any corpus at hand. On
flat corpora it changes nothing (docs/log.md)."""

DECODING = Constraints("strict", DEFAULT_DEPTH, same_span_labels=False, allow_trailing_repeat=True)
"""What decoding allows, of all that is legal in a format.

- `strict` boundaries cost 276 of the 467,826 gold entities at hand in inline XML (docs/formats.md);
- of 130,000 gold entities 31 share their span with another, and models in a loop write all labels;
- a list may end in an entity that it has already: this is how models in a loop get out of it.
"""


def decoding_constraints(labels: LabelSet, *, nested: bool | None = None, symbols: bool = False) -> Constraints:
    """`DECODING` for these labels and these arguments of `Extractor`."""
    boundaries: Boundaries = "word" if symbols else DECODING.boundaries
    return replace(DECODING, boundaries=boundaries, depth=depth_of(labels, nested))


def depth_of(labels: LabelSet, nested: bool | None = None) -> int:
    """How many entities may cover one place: as many as the labels say, unless it is said whether they nest."""
    known = labels.depth
    if nested is None:
        return known or DEFAULT_DEPTH
    if not nested:
        return 1
    return known if known and known > 1 else DEFAULT_DEPTH


OnGeneration = Callable[[Document, Chunk, Generation], None]
"""Is told of each answer as it comes in: the document, the part of it that was asked about, what the engine gave."""


@dataclass
class _Pending:
    """A document whose chunks are being answered."""

    document: Document
    remaining: int  # chunks without an answer
    depth: int  # how many entities may cover one place
    entities: list[Entity] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _Owner(NamedTuple):
    """What a request was made for."""

    pending: _Pending
    chunk: Chunk
    grammar: Grammar
    labels: LabelSet


class Extractor:
    """Finds entities in texts. Threads may share one: they take turns at the model, and get what one alone gets.

    Args:
        engine: what answers the prompts.
        form: the format of the answers.
        labels: what is asked for when a call does not say.
        constrained: decode under the grammar, so that no answer can be invalid; else let the model write freely, and
            repair what it wrote: what is given is the `repaired` reading of its answers (docs/scores.md).
        widen: ask for the whole shipped label set when some of its labels are wanted, and keep those. A small model
            that was trained on whole sets tells people from places better when it may name both.
        min_score: leave out entities that score less, to the four digits that are written; raise it where precision
            matters more than recall. None: the threshold that the calibration has for the labels that are asked for,
            0 without one; 0: leave out nothing.
        calibration: what makes scores of the model's probabilities; None for the plain product of them.
        split: cut texts into sentences; else give each to the model whole, as far as it fits.
        nested: whether entities may lie within each other, while decoding under the grammar. None: as deep as the label
            set says that they do (`LabelSet.depth`), and no deeper.
        symbols: allow entities that start at a character of the format's markup (`<` in XML), or that consist of
            punctuation alone; and show the model tags of HTML and XML, which texts are cut at otherwise. By default
            none does, under the grammar: a model that meets markup in a text takes it for its own.
        trained: what the model was trained on, where it is known; a call that asks for labels that are new to the model
            gets a word on it (see `caution`).
        signature: what identifies this system in a score: model, adapter, format ...; `min_score` in it is that of
            calls that name neither labels nor a `min_score`.
    """

    def __init__(
        self,
        engine: Engine,
        form: Format,
        labels: LabelSet,
        *,
        constrained: bool = True,
        widen: bool = False,
        min_score: float | None = None,
        split: bool = True,
        signature: dict[str, str] | None = None,
        calibration: Calibration | None = None,
        nested: bool | None = None,
        symbols: bool = False,
        trained: Trained | None = None,
    ) -> None:
        self.engine, self.form, self.labels = engine, form, labels
        self.constrained, self.widen, self.split = constrained, widen, split
        self.min_score = None if min_score is None else checked_score(min_score)
        self.calibration = calibration
        self.nested, self.symbols = nested, symbols
        self.trained, self._cautioned = trained, set[LabelSet]()
        decoding = "grammar" if constrained else "free"
        self.signature = {"format": form.name, "decoding": f"greedy-{decoding}", **(signature or {})}
        if nested is not None:
            self.signature["nesting"] = "nested" if nested else "flat"
        if symbols:
            self.signature["symbols"] = "allowed"
        self.signature["scores"] = self.standing()
        if least := self.least():
            source = "from calibration" if min_score is None else "calibrated" if calibration else ""
            self.signature["min_score"] = f"{least} {source}".rstrip()

    def extract(self, text: str | Document, labels: Labels = None, *, min_score: float | None = None) -> Prediction:
        """The entities of one text, nested ones included, with their positions and scores.

        `min_score`: instead of the extractor's own (see `least`). Raises `UsageError` for what is no text.
        """
        if not isinstance(text, str | Document):
            raise UsageError(no_text("the text", text))
        return next(self.pipe([text], labels, min_score=min_score))

    def predict_entities(
        self, text: str, labels: Labels = None, threshold: float | None = None
    ) -> list[dict[str, Any]]:
        """As `extract`, in the shape that GLiNER returns: `[{"start", "end", "text", "label", "score"}]`."""
        found: list[dict[str, Any]] = self.extract(text, labels, min_score=threshold).to_dict()["entities"]
        return found

    def least(self, labels: Labels = None, min_score: float | None = None) -> float:
        """The least score of the entities that a call with these arguments keeps.

        It is the call's `min_score`, else the extractor's, else the threshold that the calibration has for these
        labels, else 0. Raises `UsageError` when it is not in [0, 1].
        """
        given = self.min_score if min_score is None else checked_score(min_score)
        if given is not None:
            return given
        chosen = self.threshold(labels)
        return 0.0 if chosen is None else chosen

    def threshold(self, labels: Labels = None) -> float | None:
        """The threshold that the calibration has for these labels; None without a calibration that has any."""
        if self.calibration is None:
            return None
        # Of the labels that are wanted, not of all that the model is asked for: nobody chose one for a part of a set.
        return self.calibration.threshold(self.form.decision_kinds.family, self._labels(labels).tags)

    def standing(self, labels: Labels = None) -> Standing:
        """What the scores of a call with these labels are worth (see `genner.calibration.Standing`). Predictions whose
        scores are not calibrated say so (`Prediction.uncalibrated_scores`)."""
        if self.calibration is None or not self.constrained:  # what was fitted was decided under the grammar
            return "uncalibrated"
        return self.calibration.standing(self.form, self._asked(self._labels(labels)))

    def new_labels(self, labels: Labels = None) -> tuple[str, ...] | None:
        """Of the labels that a call asks for, the tags of those that are new to the model: none of the label sets that
        it was trained on has one of this name. None where it is not known what it was trained on."""
        return None if self.trained is None else self.trained.new(self._labels(labels))

    def caution(self, labels: Labels = None) -> str:
        """A word on labels that are new to the model; empty where none is, and where it was said before.

        `pipe` logs it as a warning of the logger `genner.extract`, unless the caller has had it.
        """
        asked = self._labels(labels)
        new = self.new_labels(asked)
        if not new or asked in self._cautioned:
            return ""
        self._cautioned.add(asked)
        scores = {
            "calibrated": "scores here were fitted on these labels",
            "calibrated for other labels": "scores here were fitted on other labels that it had not met",
            "uncalibrated": "scores here are uncalibrated: do not read them as probabilities",
        }[self.standing(asked)]
        which = "all" if len(new) == len(asked) else len(new)
        return (
            f"new to the model, {which} of {len(asked)} labels: {named(new)}; the recipe that it was trained after has "
            "none of that name. It finds fewer such entities, and with the right words often gives the wrong label; "
            + scores
        )

    def pipe(
        self,
        texts: Iterable[str | Document | None],
        labels: Labels = None,
        batch_size: int | None = None,
        *,
        min_score: float | None = None,
        on_generation: OnGeneration | None = None,
    ) -> Iterator[Prediction]:
        """The entities of many texts, in order, read and answered as a stream; memory does not grow with it.

        A `Document` keeps its id; its own entities are ignored. What is no text but stands where one is missing (None,
        NaN, pandas' NA) becomes an empty prediction with the problem `missing`.

        Args:
            batch_size: sentences in a forward pass.
            min_score: instead of the extractor's own (see `least`).
            on_generation: is told of each answer as it comes in.

        Raises `UsageError` for a single text, and for an element that is no text.
        """
        not_one_text(texts)
        wanted = self._labels(labels)
        return self._pipe(texts, wanted, batch_size, self.least(wanted, min_score), on_generation)

    def _pipe(
        self,
        texts: Iterable[str | Document | None],
        wanted: LabelSet,
        batch_size: int | None,
        least: float,
        on_generation: OnGeneration | None,
    ) -> Iterator[Prediction]:
        asked = self._asked(wanted)
        uncalibrated = self.standing(wanted) == "uncalibrated"
        if caution := self.caution(wanted):
            log.warning(caution)
        waiting: deque[_Pending] = deque()  # documents whose chunks have been handed out, in order
        owners: deque[_Owner] = deque()  # of requests that are not yet answered, in order

        # Documents without any chunk (empty ones) must not wait for an answer, so they are yielded by whoever is next.
        answers = self.engine.generate(self._requests(texts, asked, waiting, owners), batch_size=batch_size)
        for _, generation in answers:
            owner = owners.popleft()
            if on_generation:
                on_generation(owner.pending.document, owner.chunk, generation)
            self._collect(owner, generation)
            owner.pending.remaining -= 1
            while waiting and not waiting[0].remaining:
                yield self._finish(waiting.popleft(), wanted, least, uncalibrated)
        yield from (self._finish(pending, wanted, least, uncalibrated) for pending in waiting)

    def _requests(
        self,
        texts: Iterable[str | Document | None],
        labels: LabelSet,
        waiting: deque[_Pending],
        owners: deque[_Owner],
    ) -> Iterator[Request]:
        parts = [labels.subset([tag]) for tag in labels.tags] if self.form.prompt_per_label else [labels]
        asked = [instruction(part, self.form) for part in parts]
        options = [label_ends(words, part) for words, part in zip(asked, parts, strict=True)]
        fits = self._fits(max(asked, key=len))
        constraints = {part: decoding_constraints(part, nested=self.nested, symbols=self.symbols) for part in parts}
        for number, text in enumerate(texts, 1):
            document = document_of(text, number)
            pieces = list(self._chunks(document.text, fits))
            pending = _Pending(document, len(pieces) * len(parts), depth_of(labels, self.nested))
            if not isinstance(text, str | Document):
                detail = f"text {number} is {text!r}, which is no text: nothing was asked"
                pending.problems.append(Problem("missing", detail))
            waiting.append(pending)
            for chunk in pieces:
                if chunk.cut:
                    detail = f"a sentence was cut at {chunk.end}, being too long; an entity across the cut is lost"
                    pending.problems.append(Problem("split", detail))
                piece = document.text[chunk.start : chunk.end]
                for part, words, ends in zip(parts, asked, options, strict=True):
                    grammar = self.form.grammar(piece, part, constraints[part])
                    owners.append(_Owner(pending, chunk, grammar, part))
                    yield Request(words, piece, grammar, self.constrained, ends)

    def _chunks(self, text: str, fits: Callable[[str], bool]) -> Iterator[Chunk]:
        if self.split or len(text) > MAX_CHUNK_CHARS or not fits(text):
            return chunks(text, fits, MAX_CHUNK_CHARS, keep_tags=self.symbols)
        return iter([Chunk(0, len(text))] if text else [])

    def _fits(self, asked: str) -> Callable[[str], bool]:
        window = self.engine.window
        if window is None:
            return lambda piece: True
        fixed = self.engine.measure(asked, "")
        if fixed * 2 > window:
            raise UsageError(
                f"the instruction takes {fixed} of the model's {window} tokens; ask for fewer labels or shorter "
                "definitions"
            )
        empty = self.engine.measure("", "")
        # The text stands in the prompt once, in the answer once, and tags take about as much again.
        return lambda piece: fixed + 4 * (self.engine.measure("", piece) - empty) + 64 <= window

    def _collect(self, owner: _Owner, generation: Generation) -> None:
        pending, chunk, grammar, labels = owner
        piece = pending.document.text[chunk.start : chunk.end]
        written, kinds = grammar.read(generation.answer), self.form.decision_kinds
        if written is not None:
            if not generation.complete:  # what was open when the budget ran out was closed without asking the model
                reached = generation.ends[-1] if generation.ends else 0
                written = tuple(w for w in written if all(end <= reached for _, end in w.marks(kinds)))
            pending.entities += [
                Entity(chunk.start + w.start, chunk.start + w.end, w.label, self._score(owner, w, generation))
                for w in written
            ]
        else:
            prediction = self.form.decode(piece, generation.text, labels)
            pending.entities += [e.shifted(chunk.start) for e in prediction.entities]
            pending.problems += prediction.problems
        if not generation.complete:
            detail = f"the answer for [{chunk.start}, {chunk.end}) was cut off, being too long; no entities in its rest"
            pending.problems.append(Problem("truncated", detail))

    def _score(self, owner: _Owner, written: GrammarEntity, generation: Generation) -> float | None:
        if self.calibration:
            return self.calibration.score(written, generation, owner.labels, self.form.decision_kinds)
        return score(written, generation, self.form.decision_kinds)

    def _finish(self, pending: _Pending, wanted: LabelSet, least: float, uncalibrated: bool) -> Prediction:
        document = pending.document
        asked = [entity for entity in self._within_depth(pending) if entity.label in wanted]
        # Scores are compared to the four digits in which they are written.
        kept = tuple(e for e in asked if e.score is None or round(e.score, 4) >= least)
        return Prediction(
            document.text,
            kept,
            document.id,
            tuple(pending.problems),
            below_min_score=len(asked) - len(kept),
            answer_reading="" if self.constrained else "repaired",
            group=document.group,
            uncalibrated_scores=uncalibrated and any(e.score is not None for e in kept),
            extra={key: value for key, value in document.extra.items() if key not in OWN_FIELDS},
        )

    def _within_depth(self, pending: _Pending) -> list[Entity]:
        """The entities of a document, no place covered too often; of those that would, the less certain are dropped.

        Grammars see to it, but where a format writes the entities of each label apart (`Format.independent_labels`).
        """
        if not (self.constrained and self.form.independent_labels):
            return pending.entities
        covered: Counter[int] = Counter()
        kept: list[Entity] = []
        surest = sorted(pending.entities, key=lambda e: 1.0 if e.score is None else e.score, reverse=True)
        for entity in surest:
            places = range(entity.start, entity.end)
            if any(covered[place] >= pending.depth for place in places):
                detail = f"{entity.label} at [{entity.start}, {entity.end}) overlaps with entities of other labels"
                pending.problems.append(Problem("dropped", f"{detail}; the labels nest {pending.depth} deep"))
            else:
                covered.update(places)
                kept.append(entity)
        return kept

    def _labels(self, labels: Labels) -> LabelSet:
        return self.labels if labels is None else as_label_set(labels)

    def _asked(self, wanted: LabelSet) -> LabelSet:
        """What the model is asked for, when these are wanted."""
        return family(wanted) if self.widen else wanted


def score(written: GrammarEntity, generation: Generation, kinds: DecisionKinds) -> float | None:
    """The probability of the tokens that write an entity's markup or item; None when the engine gives none."""
    if not generation.logprobs:
        return None
    marks = written.marks(kinds)
    total, begin = 0.0, 0
    for end, logprob in zip(generation.ends, generation.logprobs, strict=True):
        if any(begin < mark_end and mark_begin < end for mark_begin, mark_end in marks):
            total += logprob
        begin = end
    return min(1.0, exp(total))
