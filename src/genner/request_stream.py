"""From texts to the requests that ask a model about them: chunks, prompts, grammars."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from genner.chunks import Chunk, chunks
from genner.decoding_constraints import decoding_constraints, depth_of
from genner.document import Document, LabelSet, Problem
from genner.engines.base import Engine, Request
from genner.errors import UsageError
from genner.few_shot.prompting import FewShot
from genner.few_shot.wording import TaskPrompt, task_prompt
from genner.formats import Format
from genner.formats.grammar_source import FormatGrammarSource
from genner.inputs import document_of
from genner.pending import ChunkContext, PendingDocument

MAX_CHUNK_CHARS = 1200  # code points: a longer sentence is cut, since the models were trained on shorter ones
TEXTS_AHEAD = 16  # texts whose demonstrations are looked up together


@dataclass(frozen=True)
class RequestStream:
    """Makes the requests of a call of `genner.extract.Extractor`, whose arguments these are.

    Attributes:
        labels: what the model is asked for.
        exact: whether the answers are decoded under genner's automaton.
    """

    engine: Engine
    form: Format
    labels: LabelSet
    constrained: bool
    exact: bool
    split: bool
    nested: bool | None
    symbols: bool
    adapter: str
    prompt_per_label: bool | None
    wording: str
    few_shot: FewShot | None

    def requests(self, texts: Iterable[str | Document | None], pending: deque[PendingDocument]) -> Iterator[Request]:
        """The requests for all chunks of the texts; each document is put into `pending` before its first request."""
        labels = self.labels
        apart = self.form.prompt_per_label if self.prompt_per_label is None else self.prompt_per_label
        parts = [labels.subset([tag]) for tag in labels.tags] if apart else [labels]
        prompts = [task_prompt(part, self.form, self.wording) for part in parts]
        constraints = [decoding_constraints(part, nested=self.nested, symbols=self.symbols) for part in parts]
        copies = max(1, *(self.form.copies_in(part) for part in parts))
        fits = self._fits(max((prompt.instruction() for prompt in prompts), key=len), copies)
        numbered = enumerate(texts, 1)
        while block := list(islice(numbered, TEXTS_AHEAD if self.few_shot else 1)):
            made = [self._pending(text, number, fits, len(parts)) for number, text in block]
            shown = self._demonstrated([d.document.text[c.start : c.end] for d in made for c in d.chunks])
            for document in made:
                pending.append(document)
                for chunk in document.chunks:
                    if chunk.cut:
                        detail = f"a sentence was cut at {chunk.end}, being too long; an entity across the cut is lost"
                        document.problems.append(Problem("split", detail))
                    piece, sentences = document.document.text[chunk.start : chunk.end], next(shown)
                    for part, prompt, allowed in zip(parts, prompts, constraints, strict=True):
                        source = FormatGrammarSource(self.form, piece, part, allowed)
                        yield Request(
                            self._instruction(prompt, sentences, part, piece, copies),
                            piece,
                            source.grammar(),
                            self.constrained,
                            prompt.label_positions,
                            ChunkContext(document, chunk, part),
                            self.adapter,
                            source,
                        )

    def _pending(
        self, text: str | Document | None, number: int, fits: Callable[[str], bool], parts: int
    ) -> PendingDocument:
        """The document of a text, in its chunks, each of which is asked about in so many `parts`."""
        document = document_of(text, number)
        pieces = tuple(self._chunks(document.text, fits))
        made = PendingDocument(
            document,
            self.form,
            self.exact,
            depth_of(self.labels, self.nested),
            self.form.independent_labels or parts > 1,
            len(pieces) * parts,
            pieces,
        )
        if not isinstance(text, str | Document):
            detail = f"text {number} is {text!r}, which is no text: nothing was asked"
            made.problems.append(Problem("missing", detail))
        return made

    def _demonstrated(self, pieces: list[str]) -> Iterator[list[Document]]:
        """The demonstrations of each piece, nearest last."""
        return iter(self.few_shot.retrieve(pieces) if self.few_shot else [[] for _ in pieces])

    def _instruction(
        self, prompt: TaskPrompt, sentences: list[Document], part: LabelSet, piece: str, copies: int
    ) -> str:
        """What is asked about a piece, with the demonstrations that fit."""
        if self.few_shot is None:
            return prompt.instruction()
        examples = self.few_shot.examples(sentences, part, self.form)
        room = None
        if self.engine.window is not None:  # as `_fits` reckons
            answer = self.engine.measure("", piece) - self.engine.measure("", "")
            room = self.engine.window - 3 * copies * answer - 64
        return self.few_shot.fitted(prompt, examples, room, lambda asked: self.engine.measure(asked, piece))

    def _chunks(self, text: str, fits: Callable[[str], bool]) -> Iterator[Chunk]:
        if self.split or len(text) > MAX_CHUNK_CHARS or not fits(text):
            return chunks(text, fits, MAX_CHUNK_CHARS, keep_tags=self.symbols)
        return iter([Chunk(0, len(text))] if text else [])

    def _fits(self, asked: str, copies: int) -> Callable[[str], bool]:
        """Whether a piece fits with the instruction and its answer, which copies it so many times."""
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
        # The text stands in the prompt once, in each copy of the answer once, and tags take twice as much again.
        return lambda piece: fixed + (1 + 3 * copies) * (self.engine.measure("", piece) - empty) + 64 <= window
