"""Training a drafter: a small network that proposes entities from the hidden states of a trained adapter.

The adapter is not changed. The network's inputs are the hidden states of prompts, which are computed once. Its targets
are the gold entities of the mixture, or the adapter's own predictions (self-distillation, as for draft models: Zhou et
al. 2024, "DistillSpec: Improving Speculative Decoding via Knowledge Distillation").
"""

import math
import random
from copy import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from genner.decoding_constraints import decoding_constraints
from genner.document import Document, Entity
from genner.drafting.span_drafter import DrafterShape, SpanDrafter, pack, tokens_of_words
from genner.engines.base import Request
from genner.engines.cache import KVCache
from genner.engines.network import Network
from genner.engines.prefix_state import label_tokens
from genner.engines.transformers_engine import LocalEngine
from genner.errors import TrainingError
from genner.prompts import label_ends
from genner.training.mixture import Mixture, PromptTask
from genner.training.recipe import DrafterSpec

GuessedSpan = tuple[int, int, int]  # index of the first word, number of words minus one, index of the label


@dataclass(frozen=True)
class Passage:
    """A text as the model reads it: hidden states [tokens, layers * H], first and last token of each word, entities."""

    states: Tensor
    firsts: list[int]
    lasts: list[int]
    spans: list[GuessedSpan]


@dataclass(frozen=True)
class PassageStates:
    """Passages with the same instruction; `labels` [L, layers * H] are the states at the instruction's labels."""

    labels: Tensor
    passages: list[Passage]


def train_drafter(
    engine: LocalEngine, mixture: Mixture, spec: DrafterSpec, start: SpanDrafter | None = None
) -> tuple[SpanDrafter, float]:
    """A drafter for the engine's model, and the micro-F1 of its proposals on held-out texts.

    If `start` has the right shape, training begins with it and changes it in place. Raises `TrainingError` when the
    mixture has too few usable texts.
    """
    depth = engine.network.depth
    probe_layers = (max(1, depth // 2 - 1), depth)
    asking = copy(mixture)
    asking.recipe = replace(mixture.recipe, prompt=replace(mixture.recipe.prompt, full_prompt=spec.full_prompt))
    readings = read(Network(engine.network.causal, probe_layers), engine, asking, spec.sentences, spec.self_distill)
    held_out, some = readings[: max(1, len(readings) // 20)], readings[max(1, len(readings) // 20) :]
    if not some:
        raise TrainingError(
            f"{len(readings)} sentences are too few to train a drafter on; give more, or set [drafter] sentences = 0"
        )
    shape = DrafterShape(probe_layers, readings[0].labels.shape[1] // len(probe_layers))
    torch.manual_seed(mixture.recipe.seed)
    begun = start if start is not None and start.shape == shape else SpanDrafter(shape)
    drafter = fit(begun, some, spec, mixture.recipe.seed)
    return drafter, agreement(drafter, held_out)


@torch.inference_mode()
def read(
    network: Network, engine: LocalEngine, mixture: Mixture, sentences: int, own: float = 0.0
) -> list[PassageStates]:
    """The hidden states of the prompts of about `sentences` sentences, drawn from the mixture's first epoch. For the
    share `own` of prompts, the model's own predictions replace the gold entities."""
    rng = random.Random(f"{mixture.recipe.seed}:drafter")
    tasks = list(mixture.tasks(rng))
    rng.shuffle(tasks)
    readings = []
    with tqdm(total=sentences, desc="drafter: read", unit="sentence") as bar:
        for task in tasks:
            if bar.n >= sentences:
                break
            if own and rng.random() < own:
                task = replace(task, documents=answered(engine, task))
            if reading := _read(network, engine, task):
                readings.append(reading)
            bar.update(len(task.documents))
    return readings


def answered(engine: LocalEngine, task: PromptTask) -> list[Document]:
    """A task's documents with the entities that the engine's model predicts; documents that exceed its context window
    are left out."""
    ends = label_ends(task.instruction, task.labels)
    requests = []
    for document in task.documents:
        if engine.measure(task.instruction, document.text) < engine.window:
            grammar = task.form.grammar(document.text, task.labels, decoding_constraints(task.labels))
            requests.append(Request(task.instruction, document.text, grammar, label_positions=ends, context=document))
    made = []
    for request, generation in engine.generate(requests):
        document = request.context
        written = request.grammar.read(generation.answer) or ()
        entities = tuple(Entity(w.start, w.end, w.label) for w in written)
        made.append(Document(document.text, entities, document.id, group=document.group))
    return made


def _read(network: Network, engine: LocalEngine, task: PromptTask) -> PassageStates | None:
    chat, vocabulary = engine.chat, engine.vocabulary
    places = label_tokens(chat, vocabulary, task.instruction, label_ends(task.instruction, task.labels))
    if places is None:  # the tokenizer changes the text
        return None
    prefix = network.prefix(chat.prefix_ids(task.instruction))
    labels = torch.cat([states[places] for states in network.probed()], -1)
    rank = {tag: i for i, tag in enumerate(task.labels.tags)}
    rows, facts = [], []
    for document in task.documents:
        encodable, _ = task.answer(document)
        body = chat.encode(document.text)
        token_ends = vocabulary.ends(body, document.text)
        if not token_ends or len(body) + prefix.lengths[0] > engine.window:
            continue
        words, firsts, lasts = tokens_of_words(document.text, token_ends)
        starts = {start: w for w, (start, _) in enumerate(words)}
        stops = {end: w for w, (_, end) in enumerate(words)}
        spans = [
            (starts[e.start], stops[e.end] - starts[e.start], rank[e.label])
            for e in encodable.entities
            if e.start in starts and e.end in stops
        ]
        if words:
            rows.append(body)
            facts.append((firsts, lasts, spans))
    if not rows:
        return None
    cache = KVCache(len(rows), 2 * prefix.lengths[0])
    for slot in range(len(rows)):
        cache.copy_row(prefix, 0, slot)
    network.forward(rows, cache, range(len(rows)))
    states = torch.cat(network.probed(), -1).to("cpu", torch.bfloat16)
    passages, at = [], 0
    for row, (firsts, lasts, spans) in zip(rows, facts, strict=True):
        passages.append(Passage(states[at : at + len(row)], firsts, lasts, spans))
        at += len(row)
    return PassageStates(labels.to("cpu", torch.bfloat16), passages)


def fit(drafter: SpanDrafter, readings: list[PassageStates], spec: DrafterSpec, seed: int) -> SpanDrafter:
    """Train a drafter with AdamW: a short warm-up, then linear decay of the learning rate to zero."""
    drafter.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(drafter.parameters(), lr=0.0, weight_decay=0.01)
    rng, readings = random.Random(seed), list(readings)
    steps, step = spec.epochs * len(readings), 0
    with tqdm(total=steps, desc="drafter: train", unit="step") as bar:
        for _ in range(spec.epochs):
            rng.shuffle(readings)
            for reading in readings:
                rate = spec.learning_rate * min(1.0, (step + 1) / 50) * (1 - step / steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                loss = loss_of(drafter, reading)
                if not math.isfinite(loss.item()):
                    raise TrainingError(f"the drafter's loss is {loss.item()} at step {step}; lower its learning_rate")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(drafter.parameters(), 1.0)
                optimizer.step()
                step += 1
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.2f}")
    return drafter.eval()


def logits_of(drafter: SpanDrafter, reading: PassageStates) -> tuple[Tensor, Tensor]:
    """Logits [words, longest, L] of all passages, concatenated, and a mask [words, longest] of the spans that end
    within their passage."""
    states, inside, begins = pack([passage.states.float() for passage in reading.passages])
    mixed = drafter.mix(states, inside)
    firsts, lasts, room = list[int](), list[int](), list[int]()
    for passage, begin in zip(reading.passages, begins, strict=True):
        firsts += [begin + token for token in passage.firsts]
        lasts += [begin + token for token in passage.lasts]
        room += range(len(passage.firsts), 0, -1)
    labels = drafter.read_labels([reading.labels.float()])
    logits = drafter.scores(mixed, torch.tensor(firsts), torch.tensor(lasts), labels)
    return logits, torch.arange(drafter.shape.longest)[None] < torch.tensor(room)[:, None]


def loss_of(drafter: SpanDrafter, reading: PassageStates) -> Tensor:
    """Binary cross-entropy, summed over spans and labels, in nats per passage."""
    logits, legal = logits_of(drafter, reading)
    targets, at = torch.zeros_like(logits), 0
    for passage in reading.passages:
        for word, length, rank in passage.spans:
            if length < drafter.shape.longest:
                targets[at + word, length, rank] = 1
        at += len(passage.firsts)
    return F.binary_cross_entropy_with_logits(logits[legal], targets[legal], reduction="sum") / len(reading.passages)


@torch.inference_mode()
def agreement(drafter: SpanDrafter, readings: list[PassageStates]) -> float:
    """Micro-F1 of the spans above the threshold."""
    right = guessed = wanted = 0
    for reading in readings:
        logits, legal = logits_of(drafter, reading)
        found = {
            tuple(span) for span in ((logits.sigmoid() > drafter.shape.threshold) & legal[..., None]).nonzero().tolist()
        }
        at = 0
        for passage in reading.passages:
            spans = {(at + word, length, rank) for word, length, rank in passage.spans}
            right += len(spans & found)
            wanted += len(spans)
            at += len(passage.firsts)
        guessed += len(found)
    return 2 * right / max(1, guessed + wanted)
