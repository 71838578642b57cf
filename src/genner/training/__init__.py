"""LoRA fine-tuning: recipes, mixtures, the loop. `run` is what `genner train` calls."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from genner.training.mixture import Mixture


def run(
    recipe_file: Path,
    data: Path,
    out: Path,
    *,
    max_minutes: float | None = None,
    epochs: float | None = None,
    eval_minutes: float = 15.0,
    eval_sentences: int = 40,
    resume: bool = False,
    device: str | None = None,
) -> None:
    """Train an adapter after a recipe; see `genner.training.trainer` for what ends up in `out`.

    Raises `DataError` for a malformed recipe or data, `ModelError` for a missing base, `TrainingError` when it cannot
    start or go on.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from genner.engines.chat import Chat
    from genner.engines.local import default_device, fast_dtype
    from genner.models import MODELS, fetch, locate
    from genner.training.dev import DevEvaluation
    from genner.training.mixture import Mixture
    from genner.training.recipe import Recipe
    from genner.training.trainer import Limits, Trainer, add_adapter

    recipe = Recipe.from_file(recipe_file)
    if epochs is not None:
        recipe = replace(recipe, optim=replace(recipe.optim, epochs=epochs))
    folder = fetch(recipe.base) if recipe.base in MODELS else locate(recipe.base)
    place = torch.device(device) if device else default_device()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    mixture = Mixture(recipe, data, Chat(tokenizer))
    torch.manual_seed(recipe.seed)
    causal = AutoModelForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        dtype=fast_dtype(place),
        # SDPA's backward pass on a CPU takes a quarter of the whole step; plain attention is faster there.
        attn_implementation="eager" if place.type == "cpu" else "sdpa",
    )
    model = add_adapter(causal.to(place), recipe.lora)
    evaluate = DevEvaluation.of(model, mixture, eval_sentences, free=eval_sentences, seed=recipe.seed)
    trainer = Trainer(model, mixture, out, Limits(max_minutes=max_minutes, eval_minutes=eval_minutes), evaluate)
    if trainer.run(resume=resume).finished and recipe.drafter.sentences:
        del trainer, evaluate, model, causal  # its memory is needed
        best = out / "best"
        _add_drafter(folder, best if best.is_dir() else out / "adapter", mixture, place)


def run_drafter(recipe_file: Path, data: Path, adapter: Path, *, device: str | None = None) -> None:
    """Train a drafter for an adapter that exists, on the mixture of a recipe, and put it into the adapter's folder.

    Raises as `run` does, and `ModelError` when the adapter does not fit the recipe's base.
    """
    import torch

    from genner.engines.chat import Chat
    from genner.engines.local import default_device
    from genner.engines.weights import load_tokenizer
    from genner.models import MODELS, fetch, locate
    from genner.training.mixture import Mixture
    from genner.training.recipe import Recipe

    recipe = Recipe.from_file(recipe_file)
    folder = fetch(recipe.base) if recipe.base in MODELS else locate(recipe.base)
    mixture = Mixture(recipe, data, Chat(load_tokenizer(folder)))
    _add_drafter(folder, adapter, mixture, torch.device(device) if device else default_device())


def _add_drafter(base: Path, adapter: Path, mixture: "Mixture", device: "torch.device") -> None:
    from tqdm import tqdm

    from genner.engines.local import LocalEngine
    from genner.training.drafting import train_drafter

    drafter, f1 = train_drafter(LocalEngine.load(base, adapter, device=device), mixture, mixture.recipe.drafter)
    drafter.save(adapter)
    tqdm.write(f"drafter: micro-F1 {f1:.3f} of its guesses on held-out texts; in {adapter}")
