"""Fitting a calibration on dev documents: a model predicts entities in them, and gold tells which are correct.

The fit maximizes the likelihood of which entities are correct, with a weak prior that keeps each kind's temperature
near 1 and each label set's offset near 0 where data are few. All data sets have the same weight, whatever their number
of entities, so that the largest does not dominate.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from genner.calibration import IDENTITY, Calibration
from genner.calibration_scales import CERTAIN, COOLEST, FARTHEST, HOTTEST, Fit, Scale, tags
from genner.document import Document, LabelSet
from genner.engines.base import Engine, Generation, Request
from genner.errors import TrainingError
from genner.evaluation.confidence import BINS, calibration_error
from genner.extract import Extractor, OnGeneration
from genner.formats import Format
from genner.grammar import DecisionKinds
from genner.pending import ChunkContext, written_entities
from genner.token_groups import token_groups
from genner.training.mixture import Mixture
from genner.training.thresholds import ScoredEntities, choose_all, f1

FEWEST = 100  # minimum number of entities: a fit on fewer is noise
SPREAD = 0.5  # prior standard deviation of the log of a kind's temperature; the mean is 0
OVERALL_SPREAD = 2.0  # the same, of the overall temperature and the offset
OFFSET_SPREAD = 1.0  # the same, of the offset of a label set
LEAST_WEIGHED = 30  # entities in a set: with fewer, the set has less weight than the others
FOLDS = 5  # of cross-validation

Samples = Mapping[str, tuple[LabelSet, Sequence[Document]]]
"""By data set: the labels to ask for, and documents with gold entities."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A predicted entity: its data set, the index of its document there, the labels asked for, the kinds of decisions,
    the log-probabilities of the decisions that wrote it, whether it is correct, its label."""

    name: str
    document: int
    labels: tuple[str, ...]
    kinds: DecisionKinds
    decided: dict[str, float]
    right: bool
    label: str = ""


def judge(engine: Engine, form: Format, samples: Samples) -> list[Judged]:
    """The entities that the model predicts under the grammar, when asked for each set's own labels; each marked
    correct or not."""
    found: list[Judged] = []
    total = sum(len(documents) for _, documents in samples.values())
    with tqdm(total=total, desc=f"calibration: {form.name}", unit="doc", leave=False) as bar:
        for name, (labels, documents) in samples.items():
            ner = Extractor(engine, form, labels, split=False, min_score=0.0)
            for _ in ner.pipe(documents, on_generation=_judging(name, form, documents, found)):
                bar.update()
    return found


def _judging(name: str, form: Format, documents: Sequence[Document], found: list[Judged]) -> OnGeneration:
    """A callback that adds the entities of each answer to `found`; `name` is the data set's."""
    numbers = {id(document): number for number, document in enumerate(documents)}

    def judged(request: Request, generation: Generation) -> None:
        context: ChunkContext = request.context
        for written in written_entities(request, generation, form) or ():
            decided = token_groups(written, generation, form.decision_kinds)
            if decided is not None:
                number, asked = numbers[id(context.document)], tags(context.labels.tags)
                right = context.entity(written) in context.document.entities
                found.append(Judged(name, number, asked, form.decision_kinds, decided, right, written.label))

    return judged


def sample(mixture: Mixture, sentences: int) -> Samples:
    """At most `sentences` documents of each dev split of a recipe, drawn with its seed; sets without are skipped."""
    drawn = {}
    for name, (labels, documents) in mixture.dev.items():
        if documents:
            rng = random.Random(f"{mixture.recipe.seed}:calibration:{name}")
            drawn[name] = labels, rng.sample(documents, min(sentences, len(documents)))
    return drawn


def calibrate(
    engine: Engine,
    mixture: Mixture,
    sentences: int,
    adapter: str = "",
    only: Format | None = None,
    before: Calibration = IDENTITY,
) -> Calibration:
    """Fit a calibration of the engine's model on dev documents of a recipe, at most `sentences` of each set.

    Each family of formats that the recipe trains gets one scale, fitted on the family's format with the most weight.
    `adapter`: see `Calibration`. With `only`, just that format's family is fitted, on that format; the rest is taken
    from `before`.

    Raises `TrainingError` when there are no dev documents, or too few entities are found in them.
    """
    samples = sample(mixture, sentences)
    if not samples:
        raise TrainingError(
            "no [[set]] of the recipe has dev documents to calibrate on; name a file: dev = 'NAME/dev.jsonl'"
        )
    scales, fits, thresholds = dict(before.scales), dict(before.fits), dict(before.thresholds)
    transfers = {
        kind: one for kind, one in before.transfers.items() if only is None or kind != only.decision_kinds.family
    }
    forms = [(only.decision_kinds.family, only)] if only else _forms(mixture)
    reasons = []
    for kind, form in forms:
        found = judge(engine, form, samples)
        try:
            scales[kind], fits[kind] = fit(found), assess(found, form, samples)
            thresholds[kind] = choose_all(_scored(scales[kind], found, samples))
        except TrainingError as error:
            reasons.append(f"{form.name}: {error}")
    if not scales or (only and reasons):
        raise TrainingError("; ".join(reasons))
    for reason in reasons:
        tqdm.write(f"no calibration of {reason}")
    return Calibration(scales, adapter, fits, thresholds, transfers)


def _forms(mixture: Mixture) -> Iterator[tuple[str, Format]]:
    """For each family that the recipe trains, its format with the most weight."""
    seen = set[str]()
    for form in mixture.ranked:
        kind = form.decision_kinds.family
        if kind not in seen:
            yield kind, form
        seen.add(kind)


def fit(found: Sequence[Judged]) -> Scale:
    """The most likely scale. Raises `TrainingError` for too few entities, or when all are correct or all are wrong."""
    right = sum(one.right for one in found)
    if len(found) < FEWEST or right in (0, len(found)):
        raise TrainingError(
            f"{len(found)} entities were found, {right} of them right: too few to calibrate by; legal: {FEWEST} or "
            "more, some right and some wrong; take more sentences"
        )
    return _most_likely(found)


def _most_likely(found: Sequence[Judged]) -> Scale:
    kinds, asked = found[0].kinds.kinds, sorted({one.labels for one in found})
    logprobs = torch.tensor([[one.decided[kind] for kind in kinds] for one in found], dtype=torch.float64)
    truth = torch.tensor([one.right for one in found], dtype=torch.float64)
    which = torch.tensor([asked.index(one.labels) for one in found])
    weights = _weights(found)
    spreads = [*[SPREAD] * len(kinds), OVERALL_SPREAD, OVERALL_SPREAD, *[OFFSET_SPREAD] * len(asked)]
    spread = torch.tensor(spreads, dtype=torch.float64)
    # The logs of the temperatures, the overall one last; the offset; the label sets' offsets.
    fitted = torch.zeros(len(spreads), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([fitted], max_iter=200, line_search_fn="strong_wolfe")
    cut = len(kinds) + 1

    def loss() -> float:
        optimizer.zero_grad()
        odds = _odds(logprobs, fitted[:cut].exp(), fitted[cut] + fitted[cut + 1 :][which])
        losses = F.binary_cross_entropy_with_logits(odds, truth, reduction="none")
        total = (weights * losses).sum() + ((fitted / spread) ** 2).sum() / 2
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    *temperatures, overall = (round(float(t), 4) for t in fitted[:cut].detach().exp().clamp(COOLEST, HOTTEST))
    offset, *offsets = (round(float(b), 4) for b in fitted[cut:].detach().clamp(-FARTHEST, FARTHEST))
    by_kind, by_labels = dict(zip(kinds, temperatures, strict=True)), dict(zip(asked, offsets, strict=True))
    return Scale(by_kind, overall, offset, by_labels)


def _odds(logprobs: Tensor, temperatures: Tensor, offsets: Tensor) -> Tensor:
    """The log-odds of `Scale.score`, from decisions [entities, kinds], temperatures [kinds + 1] (the overall one last)
    and offsets [entities]."""
    product = F.logsigmoid(_logit(logprobs) / temperatures[:-1]).sum(1)
    return _logit(product) / temperatures[-1] + offsets


def _logit(logprobs: Tensor) -> Tensor:
    capped = logprobs.clamp(max=CERTAIN)
    return capped - torch.log(-torch.expm1(capped))


def _weights(found: Sequence[Judged]) -> Tensor:
    """Weights of the entities that give all sets equal weight; their mean is 1."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.name] = counts.get(one.name, 0) + 1
    weights = torch.tensor([1 / max(counts[one.name], LEAST_WEIGHED) for one in found], dtype=torch.float64)
    return weights * len(found) / weights.sum()


def assess(found: Sequence[Judged], form: Format, samples: Samples) -> Fit:
    """What calibration improves, measured on held-out documents (cross-validation)."""
    plain = [Scale.identity(found[0].kinds).score(one.decided) for one in found]
    held_out = [0.0] * len(found)
    for fold in range(FOLDS):
        scale = _most_likely([one for one in found if one.document % FOLDS != fold])
        for i, one in enumerate(found):
            if one.document % FOLDS == fold:
                held_out[i] = scale.score(one.decided, one.labels)
    right = [one.right for one in found]
    chosen, sets = _cross_checked(found, samples), {}
    for name, (_, documents) in samples.items():
        mine = [i for i, one in enumerate(found) if one.name == name]
        hits = [right[i] for i in mine]
        before, after = (calibration_error([scores[i] for i in mine], hits) for scores in (plain, held_out))
        sets[name] = {
            "sentences": len(documents),
            "entities": len(mine),
            "right": sum(hits),
            "error_before": round(before, 4),
            "error_after": round(after, 4),
            **chosen[name],
        }
    before, after = (round(calibration_error(scores, right), 4) for scores in (plain, held_out))
    return Fit(form.name, sets, before, after, BINS)


def _scored(
    scale: Scale, found: Sequence[Judged], samples: Samples, half: int | None = None
) -> dict[str, ScoredEntities]:
    """The scored entities of each set: of the even (`half` 0) or odd (1) documents, or of all (None)."""
    scored = {}
    for name, (labels, documents) in samples.items():
        mine = [one for one in found if one.name == name and half in (None, one.document % 2)]
        scores = tuple((scale.score(one.decided, one.labels), one.right) for one in mine)
        gold = sum(len(d.entities) for number, d in enumerate(documents) if half in (None, number % 2))
        scored[name] = ScoredEntities(tags(labels.tags), scores, gold)
    return scored


def _cross_checked(found: Sequence[Judged], samples: Samples) -> dict[str, dict[str, float]]:
    """By set, F1 with thresholds on each half of the documents; scale and thresholds are fitted on the other half."""
    halves = []
    for half in (0, 1):
        scale = _most_likely([one for one in found if one.document % 2 == half])
        thresholds = choose_all(_scored(scale, found, samples, half))
        halves.append((thresholds, _scored(scale, found, samples, 1 - half)))
    brought = {}
    for name in samples:
        parts = [(scored[name], thresholds.of(scored[name].labels)) for thresholds, scored in halves]
        brought[name] = {
            "gold": sum(part.gold for part, _ in parts),
            "f1_all": round(f1(part.counts(0.0) for part, _ in parts), 4),
            "f1_kept": round(f1(part.counts(least) for part, least in parts), 4),
        }
    return brought


def write(calibration: Calibration, folder: Path) -> None:
    """Write a calibration into a folder and print what it improves."""
    path = calibration.write(folder)
    for kind, some in calibration.fits.items():
        scale = calibration.scales[kind]
        degrees = ", ".join(f"{name} {t:.2f}" for name, t in [*scale.temperatures.items(), ("all", scale.overall)])
        tqdm.write(
            f"calibration of {some.format}: expected calibration error {some.before:.3f} before, {some.after:.3f} "
            f"after, on {some.entities} entities of {len(some.sets)} sets ({some.bins} bins); temperatures: {degrees}; "
            f"offset {scale.offset:+.2f}; in {path}"
        )
        if chosen := calibration.thresholds.get(kind):
            every, kept = (
                sum(one[key] for one in some.sets.values()) / len(some.sets) for key in ("f1_all", "f1_kept")
            )
            listed = ", ".join(f"{least:.2f} for {'/'.join(labels)}" for labels, least in chosen.by_labels.items())
            tqdm.write(
                f"thresholds of {some.format}: {listed}; {chosen.other:.2f} for other label sets; chosen on a half and "
                f"tried on the other, mean micro-F1 {every:.3f} of all entities, {kept:.3f} of those kept"
            )
