"""Dev evaluation while training: the model as it stands, on a fixed sample of each set's dev split."""

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
"""What may be wrong with an output that was written freely; more than one may be (see `genner.document.ProblemKind`).

- `invalid`: it is not what the format prescribes for its text;
- `hallucinated`: it marks or lists something that nothing in the text, or no label asked for, answers to;
- `truncated`: it ended before the text did.
"""


DEV_SCORE_MEANING = (
    "the model as it stood in training, on a fixed sample of each dev split, entities of any score; f1 is the mean "
    "over sets, and chose the checkpoint"
)


class DevScores(dict[str, float]):
    """Metrics of an evaluation; `f1` decides which checkpoint is best.

    `results` say what each set's F1 is of, as JSON: `set`, `split`, `sentences` scored `of` so many, `tp`, `fp`, `fn`,
    `low` and `high` of the 95 % interval in [0, 1] (null where there is none), `signature`.
    """

    results: list[dict[str, Any]]

    def __init__(self, metrics: Mapping[str, float], results: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(metrics)
        self.results = [*results]

    def record(self) -> dict[str, Any]:
        """What is written beside the weights: the mean, and what it is the mean of."""
        return {"meaning": DEV_SCORE_MEANING, "f1": self["f1"], "results": self.results} if self else {}


class DevEvaluation:
    """Scores the model as it stands, its adapter unmerged; called by `Trainer`.

    Args:
        model: the model that is being trained.
        mixture: its training data, which brings dev documents, label sets and formats along.
        sentences: documents of each dev split that are scored; the same ones each time.
        free: documents that are decoded once more without the grammar, over all sets in turn.
        seed: which documents are drawn.
        quiet: show no bar.

    Calling it returns `f1_<set>`, the micro-F1 of each set under the grammar; `f1`, their mean; and, if `free` is not
    0, the shares of outputs in `ANSWER_RATES` when the same model decodes freely (under the grammar they are 0 by
    construction, but for answers that outgrow their budget). All of this is in the format with the most weight, and on
    the text of the dev split as it is. Leaves the model in evaluation mode.

    Raises `TrainingError` when no set has dev documents; `of` then gives None.
    """

    def __init__(
        self, model: Any, mixture: Mixture, sentences: int = 40, free: int = 20, seed: int = 0, quiet: bool = False
    ) -> None:
        self.model, self.quiet = model, quiet
        self.tokenizer = mixture.chat.tokenizer
        self.form = mixture.ranked[0]
        self.samples: dict[str, tuple[LabelSet, list[Document]]] = {}
        self.sizes: dict[str, int] = {}  # documents of the whole dev splits
        for name, (labels, documents) in mixture.dev.items():
            if chosen := random.Random(f"{seed}:{name}").sample(documents, min(sentences, len(documents))):
                self.samples[name] = labels, chosen
                self.sizes[name] = len(documents)
        if not self.samples:
            raise TrainingError("no [[set]] of the recipe has dev documents; name a file: dev = 'NAME/dev.jsonl'")
        # In turn, so that a few documents still touch every set.
        turns = [name for i in range(sentences) for name, (_, some) in self.samples.items() if i < len(some)]
        self.free = Counter(turns[:free])

    @classmethod
    def of(
        cls, model: Any, mixture: Mixture, sentences: int = 40, free: int = 20, seed: int = 0, quiet: bool = False
    ) -> Self | None:
        """The evaluation of this mixture, or None where there is nothing to evaluate on."""
        if not sentences or not any(documents for _, documents in mixture.dev.values()):
            return None
        return cls(model, mixture, sentences, free, seed, quiet)

    def __call__(self) -> DevScores:
        self.model.eval()
        # A fresh engine each time: an engine keeps what it computed of the instruction, by weights that change.
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
