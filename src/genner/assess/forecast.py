"""Forecasts the cost of a cell when no similar one has been run: from the sizes of model and data and from this
machine's speed at arithmetic and copying, which is measured in a second or two.

A forward pass computes 2 operations per parameter and token and reads every weight once; its time is the sum of the
two. Training a LoRA computes twice as much in total, training all weights three times as much. The number of tokens and
passes per document depends on format and decoding: the figures below come from runs of the default adapter. The
forecast is rough, within a factor of about three. Cells similar to a finished one are estimated from that cell
(`estimate`).
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from genner.assess.corpora import path_of, syntax_of
from genner.assess.estimate import units
from genner.assess.records import Cell
from genner.data import read_corpus
from genner.data.base import ReadLog
from genner.document import LabelSet
from genner.errors import GennerError, ModelError, UnknownNameError
from genner.extras import naming_parts
from genner.formats import get_format
from genner.model_source import ModelSource
from genner.model_store import MODELS
from genner.presets import HubSource

CHARS_A_TOKEN = 4.0  # in English text; other scripts have fewer and take longer
ASSUMED_BATCH = 8  # typical number of rows per pass
STRAGGLERS = 3  # the same, if some answers are much longer than others
OVERHEAD = 0.02  # seconds per pass besides arithmetic and reading weights
SHARE = 0.4  # the share of the speed of bare matrix products that a model reaches
START_SECONDS = 4.0  # seconds to start a process
BARE_MB = 500.0  # memory of a process with torch and without a model

# Tokens that an answer has for each entity, as measured; formats that copy the text write that as well.
_MENTION = {"grouped_json": 9, "occurrence_json": 24, "offset_json": 28}
_TAGS = 8  # of another format that copies the text
_ITEM = 24  # of another format that does not
_ONE_LABEL = LabelSet.of("ENTITY")
# Tokens per question (five times for passages, whose wrong answers are scored too), and per generated answer.
_QUESTION = {
    "drop": (1500, 32), "drop_cued": (1500, 32), "squad": (1100, 32), "gsm8k": (120, 200), "ifeval": (60, 400),
    "hellaswag": (400, 0), "arc_easy": (160, 0), "arc_challenge": (160, 0), "boolq": (300, 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """The speed of this machine: operations and bytes per second, and bytes per weight in the dtype used here."""

    flops: float
    bandwidth: float
    weight: int


@dataclass(frozen=True, slots=True)
class Size:
    """A model's size: parameters, and, if its config is available, layers and hidden size (else 0)."""

    parameters: float
    layers: int = 0
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a cell: seconds, and peak memory and disk space in MB. `rough`: not from finished cells."""

    seconds: float
    memory_mb: float
    disk_mb: float
    rough: bool = True


@cache
@naming_parts()
def measure(device: str | None = None) -> Machine:
    """Measure the device that a study would use: the given one, the first GPU, or the CPU."""
    import torch

    from genner.engines.transformers_engine import fast_dtype

    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = fast_dtype(place)
    size = 4096 if place.type == "cuda" else 768
    a, b = (torch.ones(size, size, dtype=dtype, device=place) for _ in range(2))
    flops = 2.0 * size**3 / _seconds(lambda: a @ b, place)
    big = torch.ones(2**25 if place.type == "cuda" else 2**23, device=place)
    bandwidth = 2.0 * big.numel() * big.element_size() / _seconds(lambda: big.clone(), place)
    return Machine(flops, bandwidth, dtype.itemsize)


def _seconds(work: Any, place: Any) -> float:
    """The minimum time of several runs, within about half a second."""
    import torch

    best, end = float("inf"), time.monotonic() + 0.4
    for turn in range(50):
        begun = time.monotonic()
        work()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        best = min(best, max(time.monotonic() - begun, 1e-7)) if turn else best  # the first one warms up
        if turn > 2 and time.monotonic() > end:
            break
    return best


def size_of(model: str) -> Size | None:
    """The size of a model from its config if available, else from its name (`...-8b-...`); None when unknown."""
    base = model
    try:
        source = ModelSource.resolve(model, fetch=False)
        base = source.base
        config = json.loads((source.located / "config.json").read_text(encoding="utf-8"))
        return _from_config(config.get("text_config", config))
    except (ModelError, UnknownNameError, OSError, ValueError, KeyError, TypeError):
        pass
    spec = MODELS.get(base)
    names = [base, *([spec.source.repo] if spec and isinstance(spec.source, HubSource) else [])]
    names += [spec.description] if spec else []
    for name in names:
        if found := re.search(r"(?<![\d.])(\d+(?:\.\d+)?) ?([bm])(?:illion)?(?![a-z])", name.lower()):
            return Size(float(found[1]) * {"b": 1e9, "m": 1e6}[found[2]])
    return Size(3.4e9) if "granite-4.0" in base else None  # its name says `micro`


def _from_config(config: Mapping[str, Any]) -> Size:
    """Parameters of a decoder from its config: attention, the three layers of its MLP, the embedding."""
    hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
    heads = int(config["num_attention_heads"])
    head = int(config.get("head_dim") or hidden // heads)
    kv = int(config.get("num_key_value_heads") or heads)
    attention = 2 * hidden * head * (heads + kv)
    embedding = int(config["vocab_size"]) * hidden * (1 if config.get("tie_word_embeddings") else 2)
    mlp = 3 * hidden * int(config["intermediate_size"])
    return Size(float(layers * (attention + mlp) + embedding), layers, hidden)


def forecast(cell: Cell, data: Path, machine: Machine) -> Cost | None:
    """The cost of a cell; None if the size of the model or of the data is unknown."""
    about = cell.description
    if "rival" in about:
        return _rival(cell, data, machine)
    size = size_of(about["recipe"]["base"] if cell.kind == "train" else about["model"])
    n = units(cell, data)
    if size is None or n is None:
        return None
    weights = size.parameters * machine.weight / 1e6
    loading = START_SECONDS + 2 * weights * 1e6 / machine.bandwidth
    if cell.kind == "train":
        return _training(about, size, n, machine, loading)
    if cell.kind == "ability":
        tokens, written = _QUESTION.get(about["task"], (120, 0))
        prompt = tokens * (1 + about["shots"])
        seconds = n * _time(prompt + written, 1 + written, size, machine, STRAGGLERS)
        return Cost(loading + seconds, BARE_MB + 1.2 * weights + 100, n * 0.004)
    if cell.kind == "contamination":
        # Rough figures: three kinds of documents, two sides, about 25 texts of 40 tokens, and 150 generated tokens.
        seconds = n * _time(3 * 2 * 25 * 40, 3 * 2 * 150, size, machine, ASSUMED_BATCH)
        return Cost(loading + seconds, BARE_MB + 1.2 * weights + 800, n * 0.05)
    chars, entities = _like(about["file"], data, about.get("from"))
    text = chars / CHARS_A_TOKEN
    listed = not get_format(about["format"]).copies_in(_ONE_LABEL)
    answer = entities * _MENTION.get(about["format"], _ITEM if listed else _TAGS) + (0 if listed else text)
    if about["decoding"] == "sampled":
        passes, rows = 1 + answer, STRAGGLERS
    elif about["decoding"] == "greedy" and listed:
        passes, rows = 1 + 4 * answer, STRAGGLERS  # drafts rarely help, and some answers reach the token limit
    else:
        passes, rows = 3 + entities, ASSUMED_BATCH
    seconds = n * _time(text + 1.3 * answer, passes, size, machine, min(rows, n))
    # Keys and values of a batch grow with depth and width, that is, with the square root of the parameters.
    cached = (300 if about["decoding"] == "grammar" else 500) * (size.parameters / 1.35e8) ** 0.5
    memory = BARE_MB + 1.1 * weights + cached
    return Cost(loading + seconds, memory, n * (5 * chars + 800) / 1e6)


def _rival(cell: Cell, data: Path, machine: Machine) -> Cost | None:
    """The cost of a rival: of its fitting, in float32, which a time budget limits, or of its predictions."""
    about = cell.description
    size, n = size_of(cell.places.get("encoder", "")) if "encoder" in cell.places else None, units(cell, data)
    if size is None or n is None:
        return None
    weights, tokens = 4 * size.parameters / 1e6, n * 40
    passes = n / (about["fit"]["batch_size"] if cell.kind == "fit" else 32)
    seconds = 2 * size.parameters * tokens / (SHARE * machine.flops) + passes * OVERHEAD
    memory = BARE_MB + weights + 200
    if cell.kind != "fit":
        return Cost(START_SECONDS + seconds, memory, n * 0.001)
    seconds *= 3
    if about["fit"]["max_minutes"]:
        seconds = min(seconds, 60 * about["fit"]["max_minutes"])
    # Weights, gradients, two moments, and the best state; on the disk the rival and its checkpoint.
    return Cost(START_SECONDS + seconds, memory + 4 * weights + 500, 6 * weights)


def _time(tokens: float, passes: float, size: Size, machine: Machine, rows: float) -> float:
    """Seconds per document or question, if so many share a pass."""
    computing = 2 * size.parameters * tokens / (SHARE * machine.flops)
    return computing + passes * (OVERHEAD + size.parameters * machine.weight / machine.bandwidth) / max(rows, 1)


def _training(about: Mapping[str, Any], size: Size, n: float, machine: Machine, loading: float) -> Cost:
    recipe = about["recipe"]
    full = recipe["method"] == "full"
    tokens = n * 110  # a sentence, its answer, and its share of an instruction common to several
    operations = (6 if full else 4) * size.parameters * tokens
    seconds = operations / (SHARE * machine.flops) + 3 * size.parameters * machine.weight / machine.bandwidth * n / 8
    if about["limits"]["max_minutes"]:
        seconds = min(seconds, 60 * about["limits"]["max_minutes"])
    weights = size.parameters * machine.weight / 1e6
    trained = size.parameters / 1e6 if full else _lora(recipe["lora"]["rank"], size) / 1e6  # millions
    group = recipe["optim"]["group_tokens"]
    activations = group * (size.layers or 30) * (size.hidden or 2000) * machine.weight * 16 / 1e6
    memory = BARE_MB + weights + 16 * trained + activations
    kept = 4 * trained * 2 + 12 * trained  # the adapter and the best one; a checkpoint with the optimizer's state
    return Cost(loading + seconds, memory, kept + n * 0.002)


def _lora(rank: int, size: Size) -> float:
    """Approximate number of parameters of a LoRA on all linear layers of a decoder."""
    layers, hidden = (size.layers, size.hidden) if size.layers else (32, (size.parameters / 400) ** 0.5)
    return float(layers * rank * hidden * 21)


@cache
def _like(name: str, data: Path, syntax: str | None) -> tuple[float, float]:
    """Mean characters and entities per document, over the first 300; those of a news sentence if there are none."""
    chars, entities, n = 0, 0, 0
    try:
        documents = read_corpus(path_of(name, data), syntax_of(name, syntax), ReadLog(lenient=True))
        for document in islice(documents, 300):
            chars, entities, n = chars + len(document.text), entities + len(document.entities), n + 1
    except (OSError, GennerError):
        return 120.0, 2.0
    return (chars / n, entities / n) if n else (120.0, 2.0)
