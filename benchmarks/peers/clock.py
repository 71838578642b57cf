"""Time, memory and tokens of a transformers `Trainer`, by callback. Needs torch and transformers but not genner, which
LLaMA-Factory's worker does not have."""

import time
from typing import Any

import torch

from peers.memory import forget_peak, peak_mb


def moment() -> float:
    """The current time in seconds, after pending GPU work has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def forget_peaks() -> None:
    """Reset the peak memory of the process and of the GPU."""
    forget_peak()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def most_mb() -> float | None:
    """The peak memory since the reset, in MB (10^6 bytes): of the GPU if there is one, else of the process."""
    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else peak_mb()


class Tokens:
    """Counts the tokens that run through a model's body, padding included, by hook."""

    def __init__(self) -> None:
        self.computed = 0

    def of(self, body: Any) -> None:
        """Start counting the tokens that `body` runs."""
        body.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        ids = given.get("input_ids", args[0] if args else None)
        if ids is None:
            ids = given["inputs_embeds"][..., 0]
        self.computed += ids.numel()


def timer(warm: int = 0) -> Any:
    """A callback that times `train` from the end of its first `warm` steps to the end of its last step.

    It has `seconds`, `steps`, `peak_mb` and `computed` (tokens, padding included) of the timed steps, and the `losses`
    of all steps.
    """
    from transformers import TrainerCallback

    class Timer(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.losses: list[float] = []
            self.tokens = Tokens()
            self._hooked = False
            self._done = 0
            self._restart()

        def _restart(self) -> None:
            forget_peaks()
            self.peak_mb: float | None = None
            self.steps = self.tokens.computed = self.computed = 0
            self.seconds = 0.0
            self._begun = moment()

        def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:
            if not self._hooked:
                self._hooked = True
                self.tokens.of((model.get_base_model() if hasattr(model, "get_base_model") else model).model)
            self._done = 0
            self._restart()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.steps += 1
            self._done += 1
            self.seconds, self.computed, self.peak_mb = moment() - self._begun, self.tokens.computed, most_mb()
            if self._done == warm:
                self._restart()

        def on_log(self, *_: Any, logs: dict[str, Any] | None = None, **__: Any) -> None:
            if logs and "loss" in logs:
                self.losses.append(float(logs["loss"]))

    return Timer()


def given_batches(trainer: type[Any]) -> type[Any]:
    """A transformers `Trainer` whose batches are the lists of indices in `batches`, or its own if that is None."""
    from torch.utils.data import DataLoader

    class Given(trainer):  # type: ignore[misc]
        batches: list[list[int]] | None = None

        def get_train_dataloader(self) -> Any:
            if self.batches is None:
                return super().get_train_dataloader()
            columns = set(self.train_dataset.column_names) - {"input_ids", "attention_mask", "labels"}
            data = self.train_dataset.remove_columns(sorted(columns))
            # A batch sampler may be any iterable of lists.
            return self.accelerator.prepare(DataLoader(data, batch_sampler=self.batches, collate_fn=self.data_collator))

    return Given
