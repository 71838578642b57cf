"""Fitting scores for labels that a model was not trained on (`genner.transfer`).

The model is asked about held-out label sets, which its recipe lacks: for half of their sentences with names and
definitions, for half with tags alone, since users do both. The recipe's own sets are added, asked for with their own
labels and with synonyms, so that the fit also covers familiar labels, and new labels on familiar texts. The benefit is
measured by leaving out each held-out set in turn and scoring it by a fit on all others. The benefit of the offset that
each set has of its own is measured by cross-validation.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import log
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from genner.calibration import Calibration
from genner.calibration_scales import Scale, tags
from genner.data.base import ReadLog
from genner.document import Document, Entity, Label, LabelSet
from genner.engines.base import Engine
from genner.errors import TrainingError, UsageError
from genner.evaluation.confidence import calibration_error
from genner.formats import Format, get_format
from genner.labels import of_tags
from genner.trained import Trained, plain
from genner.training.calibration_fitting import FEWEST, FOLDS, OFFSET_SPREAD, Judged, judge, sample
from genner.training.label_augmentation import synonyms
from genner.training.mixture import Mixture, label_set_of, read_documents, trained_on
from genner.training.recipe import SetSpec
from genner.training.thresholds import ScoredEntities, choose_all
from genner.transfer import FEATURES, PROMISED, Transfer, features, odds, probability

WORTH = 30  # entities: maximum weight of a set, since the entities of a set are correct or wrong together
FEWEST_SETS = 3  # minimum number of held-out sets
SPREADS = (0.1, 0.3, 2.0)  # prior standard deviations of the weights, the effects and the offset (docs/log.md)
REPORTED = 30  # entities: with fewer, a set's error is mostly noise, and is left out of the mean


@dataclass(frozen=True)
class Question:
    """Documents of one set and the labels to ask for. `held_out`: the model was not trained on the set."""

    name: str
    set: str
    labels: LabelSet
    documents: Sequence[Document]
    held_out: bool


def held_out(
    specs: Iterable[SetSpec], root: Path, trained: Trained, sentences: int, seed: int, read_log: ReadLog
) -> list[Question]:
    """At most `sentences` documents of each held-out set. Raises `UsageError` for one whose labels the recipe has."""
    asked = []
    known = {frozenset(labels.tags): names for names, labels in trained.sets}
    for spec in specs:
        labels = label_set_of(spec, root)
        if names := known.get(frozenset(labels.tags)):
            raise UsageError(
                f"[set] {spec.name!r} is no held-out set: its labels are those of {names[0]!r}, which the model was "
                "trained on; leave it out"
            )
        if spec.dev is None:
            raise UsageError(f"[set] {spec.name!r} has no dev file to try scores on; name one: dev = 'NAME/dev.jsonl'")
        some = draw(read_documents(spec, (spec.dev,), root, read_log), sentences, f"{seed}:held out:{spec.name}")
        asked.append(Question(spec.name, spec.name, labels, some[::2], True))
        asked.append(Question(f"{spec.name}, tags alone", spec.name, of_tags(labels.tags), some[1::2], True))
    return asked


def by_other_names(name: str, labels: LabelSet, documents: Sequence[Document], trained: Trained) -> Question | None:
    """A set that the model was trained on, asked for with synonymous tags that are new to the model, without
    definitions; None if no label has such a tag."""
    rng, names, taken = random.Random(f"names:{name}"), dict[str, str](), {plain(tag) for tag in labels.tags}
    for label in labels:
        known = synonyms().get((label.name or label.tag).casefold(), ())
        free = [tag for tag in known if plain(tag) not in taken and trained.new(LabelSet.of(tag))]
        names[label.tag] = rng.choice(free) if free else label.tag
        taken.add(plain(names[label.tag]))
    if all(tag == other for tag, other in names.items()):
        return None
    named = [Label(names[label.tag], label.name if names[label.tag] == label.tag else "") for label in labels]
    other = [
        Document(d.text, tuple(Entity(e.start, e.end, names[e.label]) for e in d.entities), d.id) for d in documents
    ]
    return Question(f"{name}, by other names", name, LabelSet(tuple(named), labels.depth), other, False)


def questions(
    mixture: Mixture, specs: Iterable[SetSpec], root: Path, trained: Trained, sentences: int
) -> list[Question]:
    """The held-out sets, and the recipe's dev sets: half of the documents with their own labels, half with synonyms."""
    asked = held_out(specs, root, trained, sentences, mixture.recipe.seed, mixture.read_log)
    taken = {question.set for question in asked}
    for name, (labels, documents) in sample(mixture, sentences).items():
        if name in taken:
            raise UsageError(f"[set] {name!r} is no held-out set: the recipe has one of that name; leave it out")
        asked.append(Question(name, name, labels, documents[::2], False))
        renamed = by_other_names(name, labels, documents[1::2], trained)
        asked += [renamed] if renamed else []
    return asked


def transfer(
    calibration: Calibration,
    engine: Engine,
    mixture: Mixture,
    specs: Iterable[SetSpec],
    root: Path,
    sentences: int,
    only: Format | None = None,
) -> Calibration:
    """The calibration with scores for unseen labels added, for each of its families, or only for that of `only`.

    Raises `UsageError` for a set that is not held out, and `TrainingError` if nothing could be fitted.
    """
    trained = trained_on((spec, labels) for spec, labels, _ in mixture.sets)
    asked = questions(mixture, specs, root, trained, sentences)
    samples = {question.name: (question.labels, question.documents) for question in asked}
    transfers, thresholds = dict(calibration.transfers), dict(calibration.thresholds)
    reasons = []
    for kind, fit in calibration.fits.items():
        if only is not None and fit.format != only.name:
            continue
        try:
            found = judge(engine, get_format(fit.format), samples)
            made, least = fit_transfer(found, asked, trained, calibration.scales[kind], fit.format)
        except TrainingError as error:
            reasons.append(f"{fit.format}: {error}")
            continue
        transfers[kind] = made
        if known := thresholds.get(kind):
            thresholds[kind] = replace(known, other=least)
        tqdm.write(table(made))
    if reasons and transfers == calibration.transfers:
        raise TrainingError("; ".join(reasons))
    for reason in reasons:
        tqdm.write(f"no scores for other labels of {reason}")
    return replace(calibration, transfers=transfers, thresholds=thresholds)


def table(made: Transfer) -> str:
    """A table of the calibration errors before and after, by set."""
    lines = [f"scores of {made.format} for other labels, each set scored by a fit on the others:"]
    lines.append(f"{'set':<24}{'entities':>9}{'right':>8}{'error before':>14}{'after':>8}{'with own offset':>17}")
    for name, one in made.sets.items():
        share = f"{one['right'] / one['entities']:>8.1%}" if one["entities"] else f"{'-':>8}"
        lines.append(
            f"{name:<24}{one['entities']:>9}{share}{one['error_before']:>14.3f}{one['error_after']:>8.3f}{one['error_fitted']:>17.3f}"
        )
    verdict = "called calibrated" if made.holds else f"marked uncalibrated (more than {PROMISED})"
    lines.append(f"mean expected calibration error of sets with {REPORTED} or more: {made.error:.3f}: {verdict}")
    return "\n".join(lines)


def draw(documents: Sequence[Document], number: int, seed: str) -> list[Document]:
    """A random sample of `number` documents, or all if there are fewer."""
    return random.Random(seed).sample(list(documents), min(number, len(documents)))


def fit_transfer(
    found: Sequence[Judged], questions: Sequence[Question], trained: Trained, scale: Scale, form: str
) -> tuple[Transfer, float]:
    """The scores for unseen labels, and the threshold for them.

    Args:
        found: the entities that the model predicted; `Judged.name` is the name of the question.
        scale: the scale of the trained sets, for the error before.

    Raises `TrainingError` for too few held-out sets or entities.
    """
    by_name = {question.name: question for question in questions}
    mine = [by_name[one.name] for one in found]
    held = sorted({question.set for question in mine if question.held_out})
    number = sum(question.held_out for question in mine)
    if len(held) < FEWEST_SETS or number < FEWEST:
        raise TrainingError(
            f"{number} entities were found in {len(held)} held-out sets: too few to fit scores for other labels; "
            f"legal: {FEWEST} or more, in {FEWEST_SETS} sets or more; give more sets or more sentences"
        )
    table = _Table.of(found, mine, trained)
    scores = [0.0] * len(found)
    for name in held:
        apart = _fit(table.without(name))
        for i, question in enumerate(mine):
            if question.set == name:
                scores[i] = apart.score(found[i].decided, features(question.labels, trained)[found[i].label])
    made = _fit(table)
    sets, chosen, by_labels = {}, {}, dict[tuple[str, ...], list[int]]()
    for name in held:
        places = [i for i, question in enumerate(mine) if question.set == name]
        right = [found[i].right for i in places]
        asked = [question for question in questions if question.set == name]
        before = [scale.score(found[i].decided) for i in places]
        after = [scores[i] for i in places]
        sets[name] = {
            "sentences": sum(len(question.documents) for question in asked),
            "entities": len(places),
            "right": sum(right),
            "error_before": round(calibration_error(before, right), 4),
            "error_after": round(calibration_error(after, right), 4),
            "error_fitted": round(calibration_error(_cross_checked(after, found, places), right), 4),
        }
        by_labels.setdefault(tags(asked[0].labels.tags), []).extend(places)
        gold = sum(len(document.entities) for question in asked for document in question.documents)
        chosen[name] = ScoredEntities((name,), tuple(zip(after, right, strict=True)), gold)
    told = [one["error_after"] for one in sets.values() if one["entities"] >= REPORTED] or [1.0]
    offsets, errors = dict[tuple[str, ...], float](), dict[tuple[str, ...], float]()
    for some, places in by_labels.items():
        right = [found[i].right for i in places]
        own = [made.odds(found[i].decided, features(mine[i].labels, trained)[found[i].label]) for i in places]
        offsets[some] = round(own_offset(own, right), 4)
        fitted = _cross_checked([scores[i] for i in places], found, places)
        errors[some] = round(calibration_error(fitted, right), 4) if len(places) >= REPORTED else 1.0
    error = round(sum(told) / len(told), 4)
    return replace(made, format=form, error=error, sets=sets, offsets=offsets, errors=errors), choose_all(chosen).other


def _cross_checked(scores: Sequence[float], found: Sequence[Judged], places: Sequence[int]) -> list[float]:
    """The scores of a set with an offset fitted on its other documents, by `FOLDS`-fold cross-validation."""
    raw = [log(max(score, 1e-9)) - log(max(1 - score, 1e-9)) for score in scores]
    parts = [found[i].document % FOLDS for i in places]
    fitted = []
    for part in range(FOLDS):
        rest = [n for n, own in enumerate(parts) if own != part]
        fitted.append(own_offset([raw[n] for n in rest], [found[places[n]].right for n in rest]))
    return [probability(value + fitted[part]) for value, part in zip(raw, parts, strict=True)]


def own_offset(raw: Sequence[float], right: Sequence[bool]) -> float:
    """The offset to log-odds with the highest posterior, under a prior with mean 0 (Newton's method)."""
    offset = 0.0
    for _ in range(50):
        likely = [probability(value + offset) for value in raw]
        slope = sum(right) - sum(likely) - offset / OFFSET_SPREAD**2
        step = slope / (sum(p * (1 - p) for p in likely) + 1 / OFFSET_SPREAD**2)
        offset += min(max(step, -1.0), 1.0)
    return offset


@dataclass(frozen=True)
class _Table:
    """For each entity: log-odds by kind [N, kinds], features [N, features], whether it is correct [N], its set."""

    kinds: tuple[str, ...]
    odds: Tensor
    features: Tensor
    right: Tensor
    sets: tuple[str, ...]

    @classmethod
    def of(cls, found: Sequence[Judged], mine: Sequence[Question], trained: Trained) -> "_Table":
        kinds = tuple(found[0].decided)
        told = [features(question.labels, trained)[one.label] for one, question in zip(found, mine, strict=True)]
        return cls(
            kinds,
            torch.tensor([[odds(one.decided[kind]) for kind in kinds] for one in found], dtype=torch.float64),
            torch.tensor([[one[name] for name in FEATURES] for one in told], dtype=torch.float64),
            torch.tensor([one.right for one in found], dtype=torch.float64),
            tuple(question.set for question in mine),
        )

    def without(self, name: str) -> "_Table":
        keep = torch.tensor([own != name for own in self.sets])
        sets = tuple(own for own in self.sets if own != name)
        return _Table(self.kinds, self.odds[keep], self.features[keep], self.right[keep], sets)

    def weights(self) -> Tensor:
        counts = Counter(self.sets)
        return torch.tensor([WORTH / max(counts[name], WORTH) for name in self.sets], dtype=torch.float64)


def _fit(table: _Table) -> Transfer:
    """The weights with the highest posterior; weights of log-odds are parametrized as squares, so none is negative."""
    kinds, weighed = len(table.kinds), table.weights()
    spread = torch.tensor([SPREADS[0]] * kinds + [SPREADS[1]] * len(FEATURES) + [SPREADS[2]], dtype=torch.float64)
    start = [0.5] * kinds + [0.0] * len(FEATURES) + [log(0.5)]
    free = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")

    def fitted() -> Tensor:
        return torch.cat([free[:kinds] ** 2, free[kinds:]])

    def loss() -> float:
        optimizer.zero_grad()
        now = fitted()
        total = table.odds @ now[:kinds] + table.features @ now[kinds:-1] + now[-1]
        losses = F.binary_cross_entropy_with_logits(total, table.right, reduction="none")
        value = (weighed * losses).sum() + ((now / spread) ** 2).sum() / 2
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    values = [round(float(value), 4) for value in fitted().detach()]
    weights, effects = values[:kinds], values[kinds:-1]
    return Transfer(
        dict(zip(table.kinds, weights, strict=True)),
        dict(zip(FEATURES, effects, strict=True)),
        values[-1],
        "",
        1.0,
        {},
    )
