"""Dev evaluation during training: scores the current model on a fixed sample of each set's dev split."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from tqdm import tqdm

from genner.document import Document, LabelSet, Prediction
from genner.engines.transformers_engine import LocalEngine
from genner.errors import TrainingError
from genner.evaluation import evaluate
from genner.extract import Extractor
from genner.training.mixture import Mixture

ANSWER_RATES: dict[str, Callable[[Prediction], bool]] = {
    "invalid": lambda found: found.invalid,
    "hallucinated": lambda found: any(p.kind == "dropped" for p in found.problems),
    "truncated": lambda found: any(p.kind == "truncated" for p in found.problems),
}
"""Faults of an output decoded without the grammar; it may have several (see `genner.document.ProblemKind`).

- `invalid`: it violates the format;
- `hallucinated`: it marks or lists something that is not in the text, or a label that was not asked for;
- `truncated`: it ended before the text did.
"""


DEV_SCORE_MEANING = (
    "the model as it stood in training, on a fixed sample of each dev split, entities of any score; f1 is the mean "
    "over sets, and chose the checkpoint"
)


class DevScores(dict[str, float]):
    """Metrics of an evaluation; `f1` decides which checkpoint is best.

    `results` describe each set's F1, as JSON: `set`, `split`, `sentences` scored, `of` the split's total, `tp`, `fp`,
    `fn`, `low` and `high` of the 95 % interval in [0, 1] (null where there is none), `signature`.
    """

    results: list[dict[str, Any]]

    def __init__(self, metrics: Mapping[str, float], results: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(metrics)
        self.results = [*results]

    def record(self) -> dict[str, Any]:
        """The record written beside the weights: the mean F1 and the results it averages."""
        return {"meaning": DEV_SCORE_MEANING, "f1": self["f1"], "results": self.results} if self else {}


class DevEvaluation:
    """Scores the current model with its adapter unmerged; called by `Trainer`.

    Args:
        model: the model that is being trained.
        mixture: its training data, with dev documents, label sets and formats.
        sentences: number of documents scored of each dev split; the same ones each time.
        free: number of documents decoded again without the grammar, taken from the sets in turn.
        seed: determines which documents are drawn.
        quiet: show no progress bar.

    Calling it returns `f1_<set>`, the micro-F1 of each set under the grammar; `f1`, their mean; and, if `free` is not
    0, the `ANSWER_RATES` of the same model decoding without the grammar (under the grammar they are 0 by construction,
    except for answers that exceed their token budget). All of this uses the format with the most weight and the
    unmodified text of the dev split. Leaves the model in evaluation mode.

    Raises `TrainingError` when no set has dev documents; `of` then returns None.
    """

    def __init__(
        self, model: Any, mixture: Mixture, sentences: int = 40, free: int = 20, seed: int = 0, quiet: bool = False
    ) -> None:
        self.model, self.quiet = model, quiet
        self.tokenizer = mixture.chat.tokenizer
        self.form = mixture.ranked[0]
        self.samples: dict[str, tuple[LabelSet, list[Document]]] = {}
        self.sizes: dict[str, int] = {}  # number of documents in the whole dev splits
        for name, (labels, documents) in mixture.dev.items():
            if chosen := random.Random(f"{seed}:{name}").sample(documents, min(sentences, len(documents))):
                self.samples[name] = labels, chosen
                self.sizes[name] = len(documents)
        if not self.samples:
            raise TrainingError("no [[set]] of the recipe has dev documents; name a file: dev = 'NAME/dev.jsonl'")
        # Taken from the sets in turn, so that even a few documents cover every set.
        turns = [name for i in range(sentences) for name, (_, some) in self.samples.items() if i < len(some)]
        self.free = Counter(turns[:free])

    @classmethod
    def of(
        cls, model: Any, mixture: Mixture, sentences: int = 40, free: int = 20, seed: int = 0, quiet: bool = False
    ) -> Self | None:
        """The evaluation for this mixture, or None if it has no dev documents."""
        if not sentences or not any(documents for _, documents in mixture.dev.values()):
            return None
        return cls(model, mixture, sentences, free, seed, quiet)

    def __call__(self) -> DevScores:
        self.model.eval()
        # A fresh engine each time: an engine caches the instruction's states, which depend on the weights.
        engine = LocalEngine(self.model, self.tokenizer)
        scores, wrong, results = dict[str, float](), Counter[str](), list[dict[str, Any]]()
        total = sum(len(documents) for _, documents in self.samples.values()) + self.free.total()
        with tqdm(total=total, desc="dev", unit="doc", leave=False, disable=self.quiet) as bar:
            for name, (labels, documents) in self.samples.items():
                found = []
                ner = Extractor(engine, self.form, labels, split=False)
                for prediction in ner.pipe(documents):
                    found.append(prediction)
                    bar.update()
                report = evaluate(documents, found, settings=ner.signature)
                scores[f"f1_{name}"] = report.micro.f1
                low, high = report.interval or (None, None)
                results.append(
                    {
                        "set": name,
                        "split": "dev",
                        "sentences": len(documents),
                        "of": self.sizes[name],
                        **{key: getattr(report.micro, key) for key in ("tp", "fp", "fn")},
                        "low": low,
                        "high": high,
                        "signature": report.signature,
                    }
                )
                freely = Extractor(engine, self.form, labels, split=False, constrained=False)
                for prediction in freely.pipe(documents[: self.free[name]]):
                    wrong.update(name for name, holds in ANSWER_RATES.items() if holds(prediction))
                    bar.update()
        scores = {"f1": sum(scores.values()) / len(scores), **scores}
        rates = {name: wrong[name] / self.free.total() for name in ANSWER_RATES} if self.free else {}
        return DevScores({**scores, **rates}, results)
