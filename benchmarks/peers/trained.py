"""genner's own trainer: unchanged, and without its CPU-only optimizations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from genner.engines.chat import Chat
from genner.engines.transformers_engine import default_device
from genner.training.adapters import load_base, prepare
from genner.training.batching import Batch
from genner.training.mixture import Mixture
from genner.training.mixture_report import MixtureReport
from genner.training.progress import Limits
from genner.training.recipe import Recipe
from genner.training.trainer import Trainer
from peers.clock import Tokens, forget_peaks, moment, most_mb
from peers.lessons import Lesson, Outcome, Row, chat_of, folder_of


class Fixed(Mixture):
    """A mixture whose epochs all have the same groups, in order."""

    def __init__(self, recipe: Recipe, chat: Chat, groups: Sequence[Batch]) -> None:
        super().__init__(recipe, Path(), chat)
        self._groups = list(groups)

    def epoch(self, number: int, report: MixtureReport | None = None) -> list[Batch]:
        return self._groups


class Watched(Trainer):
    """The trainer with a timer, from the end of its last warm-up step to the end of its last step."""

    def __init__(self, model: Any, lesson: Lesson, chat: Chat, out: Path, *, plain: bool) -> None:
        super().__init__(model, Fixed(lesson.recipe, chat, lesson.groups), out, Limits(save_minutes=1e6))
        if plain:
            self._shared = False
            for module in model.modules():  # the forward that merges LoRA layers is set on each layer
                module.__dict__.pop("forward", None)
        self.warm = len(lesson.warm)
        self.all_losses: list[float] = []
        self.counter = Tokens()
        self.counter.of(model.get_base_model().model)
        self.begun = self.ended = 0.0
        self.peak_mb: float | None = None

    def _step(self, groups: list[Batch], learning_rate: float) -> float:
        loss = super()._step(groups, learning_rate)
        self.ended, self.peak_mb = moment(), most_mb()
        self.all_losses.append(loss)
        if len(self.all_losses) == self.warm:
            forget_peaks()
            self.counter.computed = 0
            self.begun = moment()
        return loss

    def save(self) -> None:
        """Called at the end; does nothing, since the adapter is not used."""


def trained(*, plain: bool = False) -> Any:
    """`Row.train`; with `plain`, rows are padded, and LoRA layers compute as in peft."""

    def train(lesson: Lesson, out: Path) -> Outcome:
        torch.manual_seed(lesson.recipe.seed)
        model = prepare(load_base(folder_of(lesson.recipe), "lora", default_device()), lesson.recipe)
        trainer = Watched(model, lesson, chat_of(lesson.recipe), out, plain=plain)
        trainer.run()
        counts = lesson.counts()
        return Outcome(
            seconds=trainer.ended - trainer.begun,
            tokens=counts["once_a_group"] - counts["examples"],  # the last token of an answer predicts nothing
            computed=trainer.counter.computed,
            steps=len(lesson.timed),
            losses=trainer.all_losses,
            peak_mb=trainer.peak_mb,
        )

    return train


def rows() -> list[Row]:
    """The rows `genner` and `genner_plain`, which is left out if there is no CPU path."""
    first = Row("genner", "genner", trained(), ours=True)
    plain = Row("genner_plain", "genner without its CPU path", trained(plain=True), ours=True)
    return [first, plain] if default_device().type == "cpu" else [first]
