"""Few-shot prompting: a pool of demonstrations, and which of them a sentence is shown."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import get_args

from genner.document import Document, LabelSet
from genner.errors import UnknownNameError, UsageError
from genner.few_shot.demonstrations import DemonstrationPool, same_text
from genner.few_shot.encoders import Encoder, find_encoder
from genner.few_shot.mentions import MentionExamples
from genner.few_shot.retrieval import Retrieval, Retriever, retriever
from genner.few_shot.similarity import Backend
from genner.few_shot.vector_cache import CachedEncoder
from genner.few_shot.window import ExamplePair, shortened
from genner.few_shot.wording import TaskPrompt
from genner.formats import Format

SHOTS = 8


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


class FewShot:
    """Chooses demonstrations for sentences. Threads may share one.

    Args:
        demonstrations: an annotated corpus, as `genner.data.read_corpus` takes it, or its documents.
        shots: demonstrations in a prompt.
        retrieval: `random`, `sentence` or `entity` (see `genner.few_shot.retrieval`). None: by entity if there is an
            encoder, else random.
        encoder: what `sentence` and `entity` need: a transformers folder, an id of the hub, an embeddings endpoint as
            `https://HOST/v1#MODEL`, or an `Encoder`.
        seed: of random draws.
        limit: use so many sentences of the corpus, evenly spaced; None for all.
        search: `matrix`, or `faiss`, which is faster on large pools and finds the same.
        cache: the file in which the vectors of the pool are kept; see `CachedEncoder`.

    Raises `UsageError` for an argument that is not legal or a retrieval without an encoder, and as `read_corpus` does.
    """

    def __init__(
        self,
        demonstrations: str | os.PathLike[str] | Iterable[Document],
        *,
        shots: int = SHOTS,
        retrieval: str | None = None,
        encoder: str | Encoder | None = None,
        seed: int = 1,
        limit: int | None = None,
        search: str = "matrix",
        cache: Path | None = None,
    ) -> None:
        if not _is_count(shots) or (limit is not None and not _is_count(limit)):
            raise UsageError(
                f"shots {shots!r}, limit {limit!r}; legal: 1 or more each; for no demonstrations, give none"
            )
        self.shots, self.seed, self.search = shots, seed, search
        self.retrieval = retrieval or ("random" if encoder is None else "entity")
        if self.retrieval not in get_args(Retrieval):
            raise UnknownNameError("retrieval", retrieval, get_args(Retrieval))
        if search not in get_args(Backend):
            raise UnknownNameError("search", search, get_args(Backend))
        needs = self.retrieval != "random"
        self.queries = find_encoder(encoder, f"retrieval {self.retrieval!r}") if needs else None
        self.encoder = CachedEncoder(self.queries, cache) if self.queries else None
        self.pool = DemonstrationPool.read(demonstrations, limit)
        self.retriever: Retriever = retriever(
            self.retrieval, self.pool, self.encoder, queries=self.queries, seed=seed, search=search
        )
        self.counts: Counter[str] = Counter()
        """What happened so far: `prompts` with demonstrations wanted, `shown` and `dropped` demonstrations (those that
        did not fit), `itself` (times that the sentence itself was found and left out), `unencodable` entities,
        `wordless` sentences, for which nothing is found by entity."""
        self._lock = Lock()

    @property
    def signature(self) -> dict[str, str]:
        """What identifies the demonstrations in a score."""
        encoder = f" by {self.encoder.name}" if self.encoder else ""
        return {
            "demonstrations": self.pool.digest,
            "shots": str(self.shots),
            "retrieval": f"{self.retrieval}{encoder}" if self.retrieval != "random" else f"random seed {self.seed}",
        }

    def check_labels(self, labels: LabelSet) -> None:
        """Raise `UsageError` when the pool has none of these labels."""
        if not self.pool.labels & set(labels.tags):
            raise UsageError(
                f"the demonstrations have no label of those asked for ({', '.join(labels.tags)}); they have: "
                f"{', '.join(sorted(self.pool.labels)) or 'none'}; give other demonstrations, or labels as they have"
            )

    def lacking(self, labels: LabelSet) -> tuple[str, ...]:
        """The tags of these labels that the pool has no entity of."""
        return tuple(tag for tag in labels.tags if tag not in self.pool.labels)

    def retrieve(self, texts: Sequence[str]) -> list[list[Document]]:
        """For each text its demonstrations, nearest last; never the text itself."""
        found = []
        for text, numbers in zip(texts, self.retriever.retrieve(texts, self.shots + 1), strict=True):
            self.count(wordless=not numbers)
            sentences = [self.pool.sentences[number] for number in numbers]
            others = [sentence for sentence in sentences if same_text(sentence.text) != same_text(text)]
            self.count(itself=len(sentences) - len(others))
            found.append(others[: self.shots][::-1])
        return found

    def examples(self, sentences: Iterable[Document], labels: LabelSet, form: Format) -> list[ExamplePair]:
        """The demonstrations as they are shown: each text, and its answer for these labels in this format."""
        shown = []
        for sentence in sentences:
            wanted = Document(sentence.text, tuple(e for e in sentence.entities if e.label in labels))
            kept, left_out = form.encodable_part(wanted)
            self.count(unencodable=len(left_out))
            shown.append((sentence.text, form.encode(kept, labels)))
        return shown

    def fitted(
        self, prompt: TaskPrompt, examples: Sequence[ExamplePair], room: int | None, measure: Callable[[str], int]
    ) -> str:
        """The instruction with as many of these examples (nearest last) as fit.

        Args:
            room: tokens that the prompt may take up; None for no limit.
            measure: tokens of the prompt with this instruction.
        """
        kept = list(examples)
        if room is not None:
            kept = shortened(examples, measure=lambda some: measure(prompt.instruction(some)), room=room)
        self.count(prompts=1, shown=len(kept), dropped=len(examples) - len(kept))
        return prompt.instruction(kept)

    def count(self, **more: int) -> None:
        """Add to `counts`."""
        with self._lock:
            self.counts.update(more)

    def notes(self) -> list[str]:
        """What was left out so far, in words, for the user; the pool's part first."""
        out, counts = self.pool.left_out, self.counts
        left_out = {
            "given twice": out["duplicates"],
            "beyond the limit": out["beyond the limit"],
            "with an entity across its end": out["cut"],
        }
        parts = [f"{number} {what}" for what, number in left_out.items() if number]
        said = [f"sentences to demonstrate: {len(self.pool.sentences)}"]
        said[0] += f"; left out: {', '.join(parts)}" if parts else ""
        if counts["itself"]:
            said.append(f"not demonstrated to itself: {counts['itself']} times")
        if counts["wordless"]:
            said.append(f"without a word, so that nothing is near to them by entity: {counts['wordless']} sentences")
        if counts["dropped"]:
            wanted = counts["dropped"] + counts["shown"]
            said.append(f"{counts['dropped']} of {wanted} demonstrations did not fit into the model's window")
        if counts["unencodable"]:
            said.append(f"entities of demonstrations that this format cannot write: {counts['unencodable']}")
        return said

    @cached_property
    def mentions(self) -> MentionExamples:
        """The solved questions for verification, made when they are first wanted."""
        return MentionExamples(self.pool, self.retrieval, self.encoder, self.queries, self.seed)
