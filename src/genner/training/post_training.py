"""What is added to trained weights, after training or to an existing adapter: drafter, calibration, label record."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genner.errors import ModelError, TrainingError
from genner.extras import naming_parts
from genner.manifest import record_trained
from genner.model_source import ModelSource
from genner.training.recipe import Recipe, SetSpec, read_sets

if TYPE_CHECKING:
    import torch

    from genner.formats import Format
    from genner.training.mixture import Mixture


@naming_parts()
def run_drafter(recipe_file: Path, data: Path, adapter: Path, *, device: str | None = None) -> None:
    """Train a drafter for an existing adapter on a recipe's mixture, and write it into the adapter's folder.

    If the folder has a drafter, training continues from it. Raises as `run` does, and `ModelError` when the adapter
    does not fit the recipe's base.
    """
    from genner.engines.transformers_engine import device_of

    recipe = Recipe.from_file(recipe_file)
    source = ModelSource.find(str(adapter))
    if source is None or source.adapter is None:
        raise ModelError(f"{adapter} holds no adapter; give the folder of one, or of the run that made it")
    base = _base_of(recipe, source)
    mixture = _mixture(recipe, data, _tokenizer_of(source.adapter, base))
    add_drafter(base, source.adapter, mixture, device_of(device), source.adapter)


@naming_parts()
def run_manifest(adapter: str, recipe_file: Path, data: Path) -> Path:
    """Record a recipe's label sets as those that a model was trained on, in the file beside its weights.

    Training does this by itself. Returns the file; raises as `run_calibration` does.
    """
    from genner.training.mixture import label_set_of, trained_on

    recipe = Recipe.from_file(recipe_file)
    _, place = _trained_source(adapter)
    return record_trained(place, trained_on((spec, label_set_of(spec, data)) for spec in recipe.sets))


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
    """Calibrate the scores of an adapter or a fully fine-tuned model on a recipe's dev documents; writes to its folder.

    Args:
        only: the name of a format; only its family is fitted, on this format, and the folder's calibration of the other
            family is kept.
        unseen: a file of [[set]] tables that the model was not trained on, for fitting scores of unseen labels.
        only_unseen: fit only these, and keep the folder's calibration for the recipe's own sets.

    Raises as `run` does, and `ModelError` when the adapter does not fit the recipe's base.
    """
    from genner.engines.transformers_engine import device_of
    from genner.formats import get_format
    from genner.training.mixture import trained_on

    form = get_format(only) if only else None
    recipe = Recipe.from_file(recipe_file)
    source, place = _trained_source(adapter)
    base = _base_of(recipe, source) if source.adapter else place
    held_out = read_sets(unseen) if unseen else ()
    mixture = _mixture(recipe, data, _tokenizer_of(place, base))
    if source.trained is None:
        record_trained(place, trained_on((spec, labels) for spec, labels, _ in mixture.sets))
    add_calibration(base, place, mixture, sentences, device_of(device), form, held_out, data, only_unseen)


def add_drafter(base: Path, adapter: Path, mixture: "Mixture", device: "torch.device", start: Path | None) -> float:
    """Train a drafter for `adapter`, starting from the drafter of the adapter `start` if it has one.

    Returns the micro-F1 of its proposals.
    """
    from tqdm import tqdm

    from genner.drafting.span_drafter import SpanDrafter
    from genner.engines.transformers_engine import LocalEngine
    from genner.training.drafter_training import train_drafter

    begun = SpanDrafter.load(start) if start else None
    engine = LocalEngine.load(base, adapter, device=device, drafter=SpanDrafter.load(adapter, device))
    drafter, f1 = train_drafter(engine, mixture, mixture.recipe.drafter, begun)
    drafter.save(adapter)
    tqdm.write(f"drafter: micro-F1 {f1:.3f} of its guesses on held-out texts; in {adapter}")
    return f1


def add_calibration(
    base: Path,
    place: Path,
    mixture: "Mixture",
    sentences: int,
    device: "torch.device",
    only: "Format | None" = None,
    held_out: Sequence[SetSpec] = (),
    data: Path = Path(),
    only_unseen: bool = False,
) -> None:
    """Calibrate the adapter of `base`, or the full model, in `place`. See `run_calibration`."""
    from genner.calibration import IDENTITY, Calibration
    from genner.drafting.span_drafter import SpanDrafter
    from genner.engines.transformers_engine import LocalEngine
    from genner.training.calibration_fitting import calibrate, write
    from genner.training.transfer_fitting import transfer

    source = ModelSource.resolve(str(place))
    digest = source.digest if source.adapter else ""
    before = Calibration.read(place, digest) if only or only_unseen else IDENTITY
    if only_unseen and before.is_identity:
        raise TrainingError(f"{place} has no calibration to add to; leave --only-unseen out")
    drafter = SpanDrafter.load(place, device)
    engine = LocalEngine.load(base if source.adapter else place, source.adapter, device=device, drafter=drafter)
    made = before if only_unseen else calibrate(engine, mixture, sentences, digest, only, before)
    if held_out:
        made = transfer(made, engine, mixture, held_out, data, sentences, only)
    write(made, place)


def _trained_source(name: str) -> tuple[ModelSource, Path]:
    """An adapter or a fully fine-tuned model, and its folder. Raises `ModelError` for anything else."""
    source = ModelSource.find(name)
    if source is None or source.folder is None or source.kind not in ("adapter", "tuned"):
        raise ModelError(f"{name!r} is no adapter and no tuned model; give `default`, a folder of one, or of its run")
    return source, source.folder


def _base_of(recipe: Recipe, source: ModelSource) -> Path:
    """The folder of a recipe's base. Raises `ModelError` when the adapter belongs to another base."""
    base = ModelSource.resolve(recipe.base).weights
    source.check_base(recipe.base, base)
    return base


def _tokenizer_of(place: Path, base: Path) -> Path:
    return place if (place / "tokenizer_config.json").is_file() else base


def _mixture(recipe: Recipe, data: Path, tokenizer: Path) -> "Mixture":
    from genner.engines.chat import Chat
    from genner.engines.fast_loading.weights import load_tokenizer
    from genner.training.mixture import Mixture

    return Mixture(recipe, data, Chat(load_tokenizer(tokenizer)))
