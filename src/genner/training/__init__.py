"""Fine-tuning: recipes, mixtures, methods, the loop. `run` is what `genner train` calls."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genner.extras import naming_parts, require

if TYPE_CHECKING:
    import torch

    from genner.errors import ModelError
    from genner.formats import Format
    from genner.loading import Adapter
    from genner.training.mixture import Mixture
    from genner.training.progress import TrainingProgress
    from genner.training.recipe import Recipe, SetSpec
    from genner.training.trackers import Tracker
    from genner.training.verdict import TrainingVerdict


@naming_parts()
def run(
    recipe_file: Path,
    data: Path,
    out: Path,
    *,
    max_minutes: float | None = None,
    epochs: float | None = None,
    eval_minutes: float = 15.0,
    eval_steps: int | None = None,
    eval_sentences: int = 40,
    calibration_sentences: int = 0,
    tracker: Sequence[str] = (),
    resume: bool = False,
    device: str | None = None,
) -> "TrainingVerdict | None":
    """Train after a recipe; see `genner.training.trainer` for what ends up in `out`, `TRACKERS` for `tracker`.

    At the end, the drafter is trained, and scores are calibrated on `calibration_sentences` of each dev split (0: not).
    Returns whether the model has learned anything, and what to change; None when the run was interrupted, or in a
    process other than the first.

    Raises `DataError` for a malformed recipe or data, `ModelError` for a missing base, `MissingPartError` when what
    trains is not installed, `UsageError` for a tracker that is not known or not installed, `TrainingError` when it
    cannot start or go on.
    """
    from genner.training.recipe import Recipe
    from genner.training.trackers import trackers

    recipe = Recipe.from_file(recipe_file)
    watchers = trackers(tracker, out)
    if epochs is not None:
        recipe = replace(recipe, optim=replace(recipe.optim, epochs=epochs, min_steps=0))
    _, verdict = _train(
        recipe,
        data,
        out,
        max_minutes=max_minutes,
        eval_minutes=eval_minutes,
        eval_steps=eval_steps,
        eval_sentences=eval_sentences,
        calibration_sentences=calibration_sentences,
        watchers=watchers,
        resume=resume,
        device=device,
    )
    return verdict


@naming_parts()
def train(recipe: "Recipe", data: Path, out: Path, **options: Any) -> "TrainingProgress":
    """As `run`, after a recipe that is no file, with its options but `epochs` and `tracker`; `watchers` are told of
    losses and scores. Returns where it stands."""
    progress, _ = _train(recipe, data, out, **options)
    return progress


def _train(
    recipe: "Recipe",
    data: Path,
    out: Path,
    *,
    max_minutes: float | None = None,
    eval_minutes: float = 15.0,
    eval_steps: int | None = None,
    eval_sentences: int = 40,
    calibration_sentences: int = 0,
    watchers: "Sequence[Tracker]" = (),
    resume: bool = False,
    device: str | None = None,
) -> "tuple[TrainingProgress, TrainingVerdict | None]":
    require("torch", "transformers", "peft", "accelerate", "matplotlib", extra="train")  # some are used only at the end
    import torch
    from tqdm import tqdm
    from transformers import AutoTokenizer

    from genner.engines.chat import Chat
    from genner.errors import TrainingError
    from genner.loading import find_adapter, fingerprint
    from genner.model_store import MODELS, fetch, locate
    from genner.training.adapters import add_tags, load_base, prepare
    from genner.training.dev import DevEvaluation
    from genner.training.distributed import Devices
    from genner.training.mixture import Mixture
    from genner.training.oom import enough_memory
    from genner.training.progress import Limits
    from genner.training.trainer import Trainer
    from genner.training.verdict import conclude
    from genner.training.warm_start import WarmStart, record_of

    devices = Devices.launched(device)
    devices.check(recipe)
    folder = fetch(recipe.base) if recipe.base in MODELS else locate(recipe.base)
    if resume and (before := find_adapter(str(out))):
        before.check_base(recipe.base, folder)
    place = devices.device
    recipe = _within(recipe, folder, devices.say)
    recipe = _for_preset(recipe)
    resumed = resume and (out / "state.pt").exists()
    start = None if resumed else WarmStart.of(recipe, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    mixture = Mixture(recipe, data, Chat(tokenizer))
    if recipe.base in MODELS:
        MODELS[recipe.base].check_chat(mixture.chat)
    _check(mixture)
    for line in mixture.read_log.lines():
        devices.say(f"data: {line}")
    longest = max((labels for _, labels, _ in mixture.sets), key=len)
    tags = add_tags(tokenizer, mixture.ranked, longest) if recipe.lora.tag_tokens else []
    torch.manual_seed(recipe.seed)
    limits = Limits(max_minutes=max_minutes, eval_minutes=eval_minutes, eval_steps=eval_steps)
    fix = "take a smaller base, a lower [lora] rank, or method = 'qlora' on a GPU"
    with devices.in_turn(), enough_memory(f"while the model was put on {place}", fix):
        base = load_base(folder, recipe.method, place, put=torch.device("cpu") if devices.sharded else place)
        model = prepare(base, recipe, tags, tokenizer)
        if start:
            start.put(model)
        free = eval_sentences
        evaluate = DevEvaluation.of(model, mixture, eval_sentences, free, recipe.seed, quiet=not devices.main)
        origin = {"fingerprint": fingerprint(folder)}
        if recipe.start and (record := start.record if start else record_of(out / "adapter")):
            origin["start"] = record
        trainer = Trainer(model, mixture, out, limits, evaluate, watchers, origin, devices)
        del base
    progress = trainer.run(resume=resume)
    if not progress.finished or not devices.main:
        return progress, None
    total, sentences = trainer.total, trainer.sentences
    del trainer, evaluate, model  # its memory is needed
    newest = out / ("model" if recipe.method == "full" else "adapter")
    best = out / "best" if (out / "best").is_dir() else newest
    guessed: float | None = None
    if recipe.drafter.sentences and recipe.method == "full":
        tqdm.write("no drafter: it belongs to an adapter, and all weights were trained")
    elif recipe.drafter.sentences:
        try:
            begun = find_adapter(recipe.start) if recipe.start else None
            guessed = _add_drafter(folder, best, mixture, place, begun)
        except TrainingError as error:
            tqdm.write(f"no drafter: {error}")
    if calibration_sentences:
        try:
            _add_calibration(folder, best, mixture, calibration_sentences, place)
        except TrainingError as error:
            tqdm.write(f"no calibration: {error}")
    verdict = conclude(out, recipe, limits, progress, total, sentences, guessed)
    for line in verdict.advice:
        devices.warn(line)
    return progress, verdict


def _within(recipe: "Recipe", folder: Path, say: Callable[[str], None]) -> "Recipe":
    """The recipe, its `max_tokens` no more than the window of the model in `folder`: longer examples are left out."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    window = getattr(config, "max_position_embeddings", None) or recipe.optim.max_tokens
    if window >= recipe.optim.max_tokens:
        return recipe
    say(f"max_tokens {recipe.optim.max_tokens} is more than the model's window; {window} is used instead")
    return replace(recipe, optim=replace(recipe.optim, max_tokens=window))


def _for_preset(recipe: "Recipe") -> "Recipe":
    """The recipe, `all-linear` put as the layers that this means for its base."""
    from genner.presets import ALL_LINEAR, MODELS

    spec = MODELS.get(recipe.base)
    if spec is None or recipe.lora.targets != ALL_LINEAR:
        return recipe
    return replace(recipe, lora=replace(recipe.lora, targets=spec.lora_targets))


def _check(mixture: "Mixture") -> None:
    """Raise `DataError` for a set without a sentence or an entity, `TrainingError` for tag tokens that no format
    of the recipe has."""
    from genner.document import LabelSet
    from genner.errors import DataError, TrainingError
    from genner.formats import FORMATS

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


@naming_parts()
def run_drafter(recipe_file: Path, data: Path, adapter: Path, *, device: str | None = None) -> None:
    """Train a drafter for an adapter that exists, on the mixture of a recipe, and put it into the adapter's folder.

    It goes on from the one that is there. Raises as `run` does, and `ModelError` when the adapter does not fit the
    recipe's base.
    """
    from genner.engines.chat import Chat
    from genner.engines.fast_loading.weights import load_tokenizer
    from genner.engines.transformers_engine import device_of
    from genner.errors import ModelError
    from genner.loading import find_adapter
    from genner.model_store import MODELS, fetch, locate
    from genner.training.mixture import Mixture
    from genner.training.recipe import Recipe

    recipe = Recipe.from_file(recipe_file)
    folder = fetch(recipe.base) if recipe.base in MODELS else locate(recipe.base)
    found = find_adapter(str(adapter))
    if found is None:
        raise ModelError(f"{adapter} holds no adapter; give the folder of one, or of the run that made it")
    found.check_base(recipe.base, folder)
    adapter = found.folder
    own = adapter if (adapter / "tokenizer_config.json").is_file() else folder
    mixture = Mixture(recipe, data, Chat(load_tokenizer(own)))
    _add_drafter(folder, adapter, mixture, device_of(device), found)


def _add_drafter(
    base: Path, adapter: Path, mixture: "Mixture", device: "torch.device", start: "Adapter | None"
) -> float:
    """Train a drafter for `adapter`, from that of `start` on if it has one. Returns the micro-F1 of its guesses."""
    from tqdm import tqdm

    from genner.drafting.span_drafter import SpanDrafter
    from genner.engines.transformers_engine import LocalEngine
    from genner.training.drafter_training import train_drafter

    begun = SpanDrafter.load(start.folder) if start else None
    engine = LocalEngine.load(base, adapter, device=device, drafter=SpanDrafter.load(adapter, device))
    drafter, f1 = train_drafter(engine, mixture, mixture.recipe.drafter, begun)
    drafter.save(adapter)
    tqdm.write(f"drafter: micro-F1 {f1:.3f} of its guesses on held-out texts; in {adapter}")
    return f1


@naming_parts()
def run_manifest(adapter: str, recipe_file: Path, data: Path) -> Path:
    """Write what a model was trained on, after a recipe, into the file beside its weights, which training does by
    itself. Returns the file; raises as `run_calibration` does."""
    from genner.loading import find_adapter, find_tuned
    from genner.training.checkpoint import record_trained
    from genner.training.mixture import label_set_of, trained_on
    from genner.training.recipe import Recipe

    recipe = Recipe.from_file(recipe_file)
    found = find_adapter(adapter) or find_tuned(adapter)
    if found is None:
        raise _no_model(adapter)
    return record_trained(found.folder, trained_on((spec, label_set_of(spec, data)) for spec in recipe.sets))


def _no_model(name: str) -> "ModelError":
    from genner.errors import ModelError

    return ModelError(f"{name!r} is no adapter and no tuned model; give `default`, a folder of one, or of its run")


@naming_parts()
def run_calibration(
    adapter: str,
    recipe_file: Path,
    data: Path,
    sentences: int,
    *,
    only: str | None = None,
    unseen: Path | None = None,
    only_unseen: bool = False,
    device: str | None = None,
) -> None:
    """Calibrate the scores of an adapter, or a fully tuned model, on dev documents of a recipe; into its folder.

    Args:
        only: the name of a format; its family alone is fitted, on it, and what the folder has for the other is kept.
        unseen: a file of [[set]] tables that the model was not trained on, to fit scores for other labels by.
        only_unseen: fit these alone, and keep what the folder has for the recipe's own sets.

    Raises as `run` does, and `ModelError` when the adapter does not fit the recipe's base.
    """
    from genner.engines.chat import Chat
    from genner.engines.fast_loading.weights import load_tokenizer
    from genner.engines.transformers_engine import device_of
    from genner.formats import get_format
    from genner.loading import find_adapter, find_tuned
    from genner.model_store import MODELS, fetch, locate
    from genner.training.checkpoint import record_trained
    from genner.training.mixture import Mixture, trained_on
    from genner.training.recipe import Recipe, read_sets

    form = get_format(only) if only else None
    recipe = Recipe.from_file(recipe_file)
    if found := find_adapter(adapter):
        base = fetch(recipe.base) if recipe.base in MODELS else locate(recipe.base)
        found.check_base(recipe.base, base)
        place, known = found.folder, found.trained
    elif tuned := find_tuned(adapter):
        base, place, known = tuned.folder, tuned.folder, tuned.trained
    else:
        raise _no_model(adapter)
    own = place if (place / "tokenizer_config.json").is_file() else base
    held_out = read_sets(unseen) if unseen else ()
    mixture = Mixture(recipe, data, Chat(load_tokenizer(own)))
    if known is None:
        record_trained(place, trained_on((spec, labels) for spec, labels, _ in mixture.sets))
    _add_calibration(base, place, mixture, sentences, device_of(device), form, held_out, data, only_unseen)


def _add_calibration(
    base: Path,
    place: Path,
    mixture: "Mixture",
    sentences: int,
    device: "torch.device",
    only: "Format | None" = None,
    held_out: "Sequence[SetSpec]" = (),
    data: Path = Path(),
    only_unseen: bool = False,
) -> None:
    """Calibrate what lies in `place`: an adapter of `base`, or a model of its own."""
    from genner.calibration import Calibration
    from genner.drafting.span_drafter import SpanDrafter
    from genner.engines.transformers_engine import LocalEngine
    from genner.errors import TrainingError
    from genner.loading import _digest, find_adapter
    from genner.training.calibration_fitting import calibrate, write
    from genner.training.transfer_fitting import transfer

    adapter = find_adapter(str(place))
    digest = _digest(adapter) if adapter else ""
    before = Calibration.read(place, digest) if only or only_unseen else None
    if only_unseen and before is None:
        raise TrainingError(f"{place} has no calibration to add to; leave --only-unseen out")
    drafter = SpanDrafter.load(place, device)
    engine = LocalEngine.load(base if adapter else place, place if adapter else None, device=device, drafter=drafter)
    made = before if only_unseen and before else calibrate(engine, mixture, sentences, digest, only, before)
    if held_out:
        made = transfer(made, engine, mixture, held_out, data, sentences, only)
    write(made, place)
