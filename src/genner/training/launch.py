"""A training run from its recipe to a model with drafter, calibration and verdict.

Torch is imported when a run starts, so that reading recipes does not load it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from genner.document import LabelSet
from genner.errors import DataError, TrainingError
from genner.extras import naming_parts, require
from genner.formats import FORMATS
from genner.model_source import ModelSource, fingerprint
from genner.presets import ALL_LINEAR
from genner.training.options import RunOptions
from genner.training.recipe import Recipe

if TYPE_CHECKING:
    from genner.training.mixture import Mixture
    from genner.training.progress import TrainingProgress
    from genner.training.trackers import Tracker
    from genner.training.verdict import TrainingVerdict

DEFAULTS = RunOptions()


@naming_parts()
def run(recipe_file: Path, data: Path, out: Path, options: RunOptions = DEFAULTS) -> "TrainingVerdict | None":
    """Train a model from a recipe file; see `genner.training.trainer` for the contents of `out`.

    At the end, the drafter is trained and scores are calibrated. Returns a verdict: whether the model has learned
    anything, and what to change; None when the run was interrupted, or in a process other than the first.

    Raises `DataError` for a malformed recipe or data, `ModelError` for a missing base, `MissingPartError` when
    packages for training are not installed, `UsageError` for a tracker that is unknown or not installed,
    `TrainingError` when the run cannot start or continue.
    """
    from genner.training.trackers import trackers

    recipe = Recipe.from_file(recipe_file)
    watchers = trackers(options.trackers, out)
    _, verdict = _train(recipe, data, out, options, watchers)
    return verdict


@naming_parts()
def train(
    recipe: Recipe, data: Path, out: Path, options: RunOptions = DEFAULTS, watchers: "Sequence[Tracker]" = ()
) -> "TrainingProgress":
    """As `run`, from a recipe in memory; `watchers` receive losses and scores, besides the trackers of the options.
    Returns the progress of the run."""
    from genner.training.trackers import trackers

    progress, _ = _train(recipe, data, out, options, [*trackers(options.trackers, out), *watchers])
    return progress


def _train(
    recipe: Recipe, data: Path, out: Path, options: RunOptions, watchers: "Sequence[Tracker]"
) -> "tuple[TrainingProgress, TrainingVerdict | None]":
    require("torch", "transformers", "peft", "accelerate", "matplotlib", extra="train")  # some are used only at the end
    import torch
    from tqdm import tqdm
    from transformers import AutoTokenizer

    from genner.engines.chat import Chat
    from genner.training.adapters import add_tags, load_base, prepare
    from genner.training.dev import DevEvaluation
    from genner.training.distributed import Devices
    from genner.training.mixture import Mixture
    from genner.training.oom import enough_memory
    from genner.training.post_training import add_calibration, add_drafter
    from genner.training.progress import Limits
    from genner.training.trainer import Trainer
    from genner.training.verdict import conclude
    from genner.training.warm_start import WarmStart, record_of

    if options.epochs is not None:
        recipe = replace(recipe, optim=replace(recipe.optim, epochs=options.epochs, min_steps=0))
    devices = Devices.launched(options.device)
    devices.check(recipe)
    source = ModelSource.resolve(recipe.base)
    folder = source.weights
    if options.resume and (before := ModelSource.find(str(out))) and before.adapter:
        before.check_base(recipe.base, folder)
    place = devices.device
    recipe = _within(recipe, folder, devices.say)
    recipe = _for_preset(recipe, source)
    resumed = options.resume and (out / "state.pt").exists()
    start = None if resumed else WarmStart.of(recipe, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    mixture = Mixture(recipe, data, Chat(tokenizer))
    if source.preset:
        source.preset.check_chat(mixture.chat)
    _check(mixture)
    for line in mixture.read_log.lines():
        devices.say(f"data: {line}")
    longest = max((labels for _, labels, _ in mixture.sets), key=len)
    tags = add_tags(tokenizer, mixture.ranked, longest) if recipe.lora.tag_tokens else []
    torch.manual_seed(recipe.seed)
    limits = Limits(max_minutes=options.max_minutes, eval_minutes=options.eval_minutes, eval_steps=options.eval_steps)
    fix = "take a smaller base, a lower [lora] rank, or method = 'qlora' on a GPU"
    with devices.in_turn(), enough_memory(f"while the model was put on {place}", fix):
        base = load_base(folder, recipe.method, place, put=torch.device("cpu") if devices.sharded else place)
        model = prepare(base, recipe, tags, tokenizer)
        if start:
            start.put(model)
        sentences = options.eval_sentences
        evaluate = DevEvaluation.of(model, mixture, sentences, sentences, recipe.seed, quiet=not devices.main)
        origin = {"fingerprint": fingerprint(folder)}
        if recipe.start and (record := start.record if start else record_of(out / "adapter")):
            origin["start"] = record
        trainer = Trainer(model, mixture, out, limits, evaluate, watchers, origin, devices)
        del base
    progress = trainer.run(resume=options.resume)
    if not progress.finished or not devices.main:
        return progress, None
    total, sentences = trainer.total, trainer.sentences
    del trainer, evaluate, model  # free their memory
    newest = out / ("model" if recipe.method == "full" else "adapter")
    best = out / "best" if (out / "best").is_dir() else newest
    guessed: float | None = None
    if recipe.drafter.sentences and recipe.method == "full":
        tqdm.write("no drafter: it belongs to an adapter, and all weights were trained")
    elif recipe.drafter.sentences:
        try:
            begun = ModelSource.resolve(recipe.start).adapter if recipe.start else None
            guessed = add_drafter(folder, best, mixture, place, begun)
        except TrainingError as error:
            tqdm.write(f"no drafter: {error}")
    if options.calibration_sentences:
        try:
            add_calibration(folder, best, mixture, options.calibration_sentences, place)
        except TrainingError as error:
            tqdm.write(f"no calibration: {error}")
    verdict = conclude(out, recipe, limits, progress, total, sentences, guessed)
    for line in verdict.advice:
        devices.warn(line)
    return progress, verdict


def _within(recipe: Recipe, folder: Path, say: Callable[[str], None]) -> Recipe:
    """The recipe with `max_tokens` limited to the context window of the model in `folder`."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    window = getattr(config, "max_position_embeddings", None) or recipe.optim.max_tokens
    if window >= recipe.optim.max_tokens:
        return recipe
    say(f"max_tokens {recipe.optim.max_tokens} is more than the model's window; {window} is used instead")
    return replace(recipe, optim=replace(recipe.optim, max_tokens=window))


def _for_preset(recipe: Recipe, source: ModelSource) -> Recipe:
    """The recipe with `all-linear` replaced by the layers that it stands for in its base."""
    if source.preset is None or recipe.lora.targets != ALL_LINEAR:
        return recipe
    return replace(recipe, lora=replace(recipe.lora, targets=source.preset.lora_targets))


def _check(mixture: "Mixture") -> None:
    """Raise `DataError` for a set without sentences or without entities, `TrainingError` for `tag_tokens` if no format
    of the recipe has any."""
    for spec, _, documents in mixture.sets:
        if not documents:
            raise DataError(", ".join(spec.train) or "[[set]]", f"set {spec.name!r} has no sentence to train on")
        if spec.dev is not None and not mixture.dev[spec.name][1]:
            raise DataError(spec.dev, f"set {spec.name!r} has no dev sentence; leave 'dev' out if it is to have none")
        if not any(document.entities for document in documents):
            raise DataError(
                ", ".join(spec.train),
                f"set {spec.name!r} has no entity in {len(documents)} documents: it would teach to find none. Are they "
                "annotated? If they are, and hold none, put the file beside one that has some: train = ['A', 'B']",
            )
    forms = [mixture.recipe.formats, *(spec.formats for spec in mixture.recipe.sets)]
    tagged = [name for name, form in FORMATS.items() if form.added_tokens(LabelSet.of("ENTITY"))]
    if mixture.recipe.lora.tag_tokens and not any(weights.get(name) for weights in forms for name in tagged):
        named = " or ".join(map(repr, tagged))
        raise TrainingError(
            f"[lora] tag_tokens are those of the format {named}, which [formats] lacks ({mixture.recipe.formats}); "
            "give it a weight, or leave tag_tokens out"
        )
