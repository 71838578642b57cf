"""The pipeline: text -> chunks -> prompts -> engine -> answers -> `Prediction`.

What an entity's score means: the probability, among the legal alternatives at each token, of the tokens that write its
markup, given all that was written before: that an entity opens here, with this label, and that it closes here. The
probability of copying on in between is left out, and so is the text itself, which is forced. In a JSON format it is the
probability of all tokens that write the entity's item. So it is a product of the model's own probabilities. A
calibration (`genner.calibration`) turns it into about the share of the entities of this score that are right, on texts
like those it was fitted on; the identity leaves it as it is.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from inspect import signature
from typing import Any

from genner.calibration import IDENTITY, Calibration, Standing
from genner.document import Document, LabelSet, Prediction
from genner.engines.base import Engine, Generation, Request
from genner.errors import UnknownNameError, UsageError
from genner.few_shot.prompting import FewShot
from genner.few_shot.verification import Candidate, SelfVerification
from genner.few_shot.wording import task_prompt
from genner.formats import Format
from genner.inputs import checked_score, no_text, not_one_text
from genner.labels import Labels, as_label_set, enclosing_label_set
from genner.pending import PendingDocument
from genner.request_stream import RequestStream
from genner.trained import Trained, named

log = logging.getLogger(__name__)

OnGeneration = Callable[[Request, Generation], None]
"""Is told of each answer as it comes in. The context of the request is a `genner.pending.ChunkContext`: the document,
the part of it that was asked about, and the labels. With self-verification, the context of a question about an entity
is a `genner.few_shot.verification.QuestionContext`."""


class Extractor:
    """Finds entities in texts. It is not changed once it is made (see `replace`), and threads may share one: they take
    turns at the model, and get the same results as one alone.

    Args:
        engine: what answers the prompts.
        form: the format of the answers.
        labels: what is asked for when a call does not say: a label set, or what `as_label_set` makes one of.
        constrained: decode under the grammar, so that no answer can be invalid. If not, the model writes freely, and
            its answers are repaired: predictions are the `repaired` reading of them (docs/scores.md). None: under the
            grammar if the engine can. A grammar that is exported to a server may allow more than is legal; such
            answers are repaired too.
        prompt_full_label_set: when some labels of a shipped set are wanted, ask for the whole set, and keep those. A
            small model that was trained on whole sets tells people from places better when it may name both.
        min_score: leave out entities that score less, to the four digits that are written; raise it where precision
            matters more than recall. None: the threshold that the calibration has for the labels that are asked for,
            0 if it has none; 0: leave out nothing.
        calibration: turns the model's probabilities into scores; the identity leaves their product as it is.
        split: cut texts into sentences. If not, each text is asked about as a whole, as far as it fits.
        nested: whether entities may lie within each other, while decoding under the grammar. None: as deep as the label
            set says that they do (`LabelSet.depth`), and no deeper.
        symbols: allow entities that start at a character of the format's markup (`<` in XML), or that consist of
            punctuation alone; and show the model tags of HTML and XML, at which texts are cut otherwise. By default the
            grammar allows neither: a model that finds markup in a text takes it for its own.
        adapter: the adapter of the engine that answers (see `Engine.add_adapter`); empty for the model it was loaded
            with.
        prompt_per_label: ask for one label at a time, each in a prompt of its own, or for all at once. None: as the
            format does (`Format.prompt_per_label`).
        wording: the words of the prompt: `genner`, as its adapters were trained on, or `gpt_ner`, those of the paper
            (`genner.few_shot.wording`).
        few_shot: shows demonstrations before each text; None for none.
        verification: asks about each entity whether it is one, and drops those that the model denies; None: does not.
        trained: what the model was trained on, where it is known; a call that asks for labels that are new to the model
            gets a warning (see `caution`).
        signature: what identifies this system in a score: model, adapter ... The extractor's own `signature` adds the
            format and what else the arguments decide; its `min_score` is that of calls that name neither labels nor a
            `min_score`.

    Raises `UsageError` when the answers have to be constrained and the engine cannot.
    """

    def __init__(
        self,
        engine: Engine,
        form: Format,
        labels: Labels,
        *,
        constrained: bool | None = None,
        prompt_full_label_set: bool = False,
        min_score: float | None = None,
        split: bool = True,
        signature: dict[str, str] | None = None,
        calibration: Calibration = IDENTITY,
        nested: bool | None = None,
        symbols: bool = False,
        prompt_per_label: bool | None = None,
        wording: str = "genner",
        few_shot: FewShot | None = None,
        verification: SelfVerification | None = None,
        trained: Trained | None = None,
        adapter: str = "",
    ) -> None:
        self.engine, self.form, self.labels, self.adapter = engine, form, as_label_set(labels), adapter
        for name, value in (("constrained", constrained), ("nested", nested)):
            if value not in (True, False, None):
                raise UsageError(f"{name} {value!r}; legal: True, False, None")
        can = engine.capabilities
        constrains = can.constrains and not (can.json_only and form.json_schema("a", self.labels) is None)
        if constrained and not constrains:
            more = f" of {form.name}, only of JSON formats" if can.constrains else ""
            raise UsageError(
                f"engine {engine.name!r} cannot decode under a grammar{more}; give constrained=False, or engine='local'"
            )
        self.constrained, self.split = constrains if constrained is None else constrained, split
        self.exact = self.constrained and can.grammar == "exact"
        self.prompt_per_label, self.wording = prompt_per_label, wording
        self.few_shot, self.verification = few_shot, verification
        asks_per_label = form.prompt_per_label if prompt_per_label is None else prompt_per_label
        changed = few_shot is not None or wording != "genner" or asks_per_label != form.prompt_per_label
        self._is_calibrated = self.exact and not changed
        task_prompt(self.labels, form, wording)
        if few_shot:
            few_shot.check_labels(self.labels)
        self.prompt_full_label_set = prompt_full_label_set
        self.min_score = None if min_score is None else checked_score(min_score)
        self.calibration = calibration
        self.nested, self.symbols = nested, symbols
        self.trained, self._cautioned = trained, set[LabelSet]()
        decoding = "grammar" if self.exact else "exported-grammar" if self.constrained else "free"
        self._given_signature = signature
        self.signature = {
            "format": form.name,
            "decoding": f"greedy-{decoding}",
            **(signature or {}),
            **engine.signature,
        }
        if nested is not None:
            self.signature["nesting"] = "nested" if nested else "flat"
        if symbols:
            self.signature["symbols"] = "allowed"
        if asks_per_label != form.prompt_per_label:
            self.signature["prompts"] = "one label" if asks_per_label else "all labels"
        if wording != "genner":
            self.signature["wording"] = wording
        self.signature |= few_shot.signature if few_shot else {}
        if verification:
            self.signature["verification"] = verification.signature
        self.signature["scores"] = self.standing()
        if least := self.least():
            source = "from calibration" if min_score is None else "" if calibration.is_identity else "calibrated"
            self.signature["min_score"] = f"{least} {source}".rstrip()
        self._is_made = True

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, "_is_made"):
            raise AttributeError(f"an Extractor is not changed once it is made; make another with replace({name}=...)")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an Extractor is not changed once it is made: {name} stays")

    def replace(self, **arguments: Any) -> "Extractor":
        """Another extractor, with these arguments and otherwise those of this one; they share the engine.

        Raises `UnknownNameError` for an unknown argument.
        """
        if unknown := arguments.keys() - set(_ARGUMENTS):
            raise UnknownNameError("argument", sorted(unknown)[0], _ARGUMENTS)
        same = {name: getattr(self, name) for name in _ARGUMENTS} | {"signature": self._given_signature}
        made = Extractor(**(same | arguments))
        made._cautioned.update(self._cautioned)
        return made

    def extract(self, text: str | Document, labels: Labels = None, *, min_score: float | None = None) -> Prediction:
        """The entities of one text, including nested ones, with their positions and scores.

        `min_score` replaces the extractor's own (see `least`). Raises `UsageError` for what is no text.
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
        """The threshold that the calibration has for these labels; None if it has none, or does not hold (see
        `standing`)."""
        if not self._is_calibrated:
            return None
        # For the labels that are wanted, not for all that the model is asked for: thresholds are chosen for whole sets.
        return self.calibration.threshold(self.form.decision_kinds.family, self._labels(labels).tags)

    def standing(self, labels: Labels = None) -> Standing:
        """What the scores of a call with these labels are worth (see `genner.calibration.Standing`). Predictions with
        uncalibrated scores say so (`Prediction.uncalibrated_scores`)."""
        # Calibrations are fitted on decisions under the grammar, and on prompts as in training.
        if not self._is_calibrated:
            return "uncalibrated"
        return self.calibration.standing(self.form, self._asked(self._labels(labels)))

    def new_labels(self, labels: Labels = None) -> tuple[str, ...] | None:
        """The tags of the labels of a call that are new to the model: no label set that it was trained on has a label
        of this name. None if it is not known what it was trained on."""
        return None if self.trained is None else self.trained.new(self._labels(labels))

    def caution(self, labels: Labels = None) -> str:
        """A warning about labels that are new to the model, or that no demonstration has, a line each; empty if there
        are none, or if it was given before.

        `pipe` logs it with the logger `genner.extract`, unless the caller was given it before.
        """
        asked = self._labels(labels)
        if asked in self._cautioned:
            return ""
        self._cautioned.add(asked)
        return "\n".join(filter(None, (self._of_new_labels(asked), self._of_labels_not_shown(asked))))

    def _of_new_labels(self, asked: LabelSet) -> str:
        if not (new := self.new_labels(asked)):
            return ""
        scores = {
            "calibrated": "scores here were fitted on these labels",
            "calibrated for other labels": "scores here were fitted on other labels that it had not met",
            "uncalibrated": "scores here are uncalibrated: do not read them as probabilities",
        }[self.standing(asked)]
        return (
            f"new to the model: {named(new)} ({len(new)} of {len(asked)} labels); it was not trained on labels of "
            "these names, misses more of their entities, and often gives their mentions a wrong label; " + scores
        )

    def _of_labels_not_shown(self, asked: LabelSet) -> str:
        if self.few_shot is None or not (lacking := self.few_shot.lacking(asked)):
            return ""
        return (
            f"no demonstration has an entity of: {named(lacking)} ({len(lacking)} of {len(asked)} labels); models find "
            "few entities of labels that no demonstration shows; give demonstrations of these, or leave the labels out"
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
        """The entities of many texts, in order, read and answered as a stream; memory does not grow with its length.

        A `Document` keeps its id; its own entities are ignored. A value that stands for a missing text (None, NaN,
        pandas' NA) becomes an empty prediction with the problem `missing`.

        Args:
            batch_size: sentences in a forward pass.
            min_score: replaces the extractor's own (see `least`).
            on_generation: is told of each answer as it comes in (see `OnGeneration`).

        Raises `UsageError` for a single text, for an element that is no text, and for labels of which no demonstration
        has any.
        """
        not_one_text(texts)
        wanted = self._labels(labels)
        if self.few_shot:
            self.few_shot.check_labels(wanted)
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
        finished = self._finished(texts, asked, batch_size, on_generation)
        if self.verification is None:
            yield from (document.prediction(wanted, least, uncalibrated) for document in finished)
            return
        # What is left out by its score is not asked about.
        found = ((document, document.prediction(wanted, least, uncalibrated)) for document in finished)
        yield from self.verification.verified(
            (Candidate(document.document, document.chunks, prediction) for document, prediction in found),
            self.engine,
            wanted,
            # A yes or a no is no JSON.
            constrained=self.constrained and not self.engine.capabilities.json_only,
            adapter=self.adapter,
            batch_size=batch_size,
            heard=on_generation,
        )

    def _finished(
        self,
        texts: Iterable[str | Document | None],
        asked: LabelSet,
        batch_size: int | None,
        on_generation: OnGeneration | None,
    ) -> Iterator[PendingDocument]:
        """The documents, in order, each when its last answer has come."""
        calibration = self.calibration if self._is_calibrated else IDENTITY
        pending: deque[PendingDocument] = deque()  # in order
        stream = RequestStream(
            self.engine,
            self.form,
            asked,
            constrained=self.constrained,
            exact=self.exact,
            split=self.split,
            nested=self.nested,
            symbols=self.symbols,
            adapter=self.adapter,
            prompt_per_label=self.prompt_per_label,
            wording=self.wording,
            few_shot=self.few_shot,
        )
        requests = stream.requests(texts, pending)
        for request, generation in self.engine.generate(requests, batch_size=batch_size):
            if on_generation:
                on_generation(request, generation)
            request.context.pending.collect(request, generation, calibration)
            # Documents without a chunk (empty ones) are yielded as soon as those before them are.
            while pending and not pending[0].remaining:
                yield pending.popleft()
        yield from pending

    def _labels(self, labels: Labels) -> LabelSet:
        return self.labels if labels is None else as_label_set(labels)

    def _asked(self, wanted: LabelSet) -> LabelSet:
        """The labels that the model is asked for, when these are wanted."""
        return enclosing_label_set(wanted) if self.prompt_full_label_set else wanted


_ARGUMENTS = tuple(name for name in signature(Extractor).parameters)
