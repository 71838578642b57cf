"""The training loop that all rivals share.

AdamW with one rate for the encoder and one for the rest, linear warm-up and decay over the run, gradients clipped by
norm. The state with the best F1 on dev data is kept. Training stops early if that is 1, and can stop after evaluations
without a better one, or after a time budget to which the schedule adapts. A killed run goes on from its last checkpoint
as if it had not been killed.
"""

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from tqdm import tqdm

from genner.errors import DataError, TrainingError, UsageError
from genner.interrupt import Interrupt
from genner.rivals.network import RivalNetwork
from genner.rivals.words import Window
from genner.toml_config import check
from genner.writing import atomic, write_atomic

CHECKPOINT, METRICS = "checkpoint.pt", "metrics.jsonl"
SAVE_SECONDS = 120.0
POOL = 16  # batches among which windows are sorted by length


@dataclass(frozen=True)
class FitOptions:
    """How a rival is trained; each rival has defaults of its own, from its paper where that says.

    Attributes:
        encoder_rate: peak learning rate of the encoder's weights.
        head_rate: peak learning rate of all other weights.
        epochs: passes over the training data.
        batch_size: windows in a step.
        warmup: share of the run over which the rates rise.
        weight_decay: of AdamW, for all weights but biases and those of normalization.
        clip: maximum norm of the gradients.
        evaluations: evaluations on the dev data per epoch.
        patience: evaluations without a better F1 after which training stops; 0: never.
        max_minutes: time budget for steps; the schedule adapts to it. None: no limit.
        max_pieces: maximum number of pieces in a window, if the encoder takes more.
        seed: of weights, order and dropout.
        bf16: train in mixed precision: products of matrices in bfloat16, weights and their updates in float32.
    """

    encoder_rate: float = 2e-5
    head_rate: float = 1e-3
    epochs: int = 10
    batch_size: int = 16
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    evaluations: int = 1
    patience: int = 0
    max_minutes: float | None = None
    max_pieces: int = 256
    seed: int = 0
    bf16: bool = False

    def __post_init__(self) -> None:
        check(
            self,
            "fit",
            encoder_rate=(0, 1),
            head_rate=(0, 1),
            epochs=(1, math.inf),
            batch_size=(1, math.inf),
            warmup=(0, 1),
            weight_decay=(0, 1),
            clip=(1e-6, math.inf),
            evaluations=(1, math.inf),
            patience=(0, math.inf),
            max_pieces=(8, math.inf),
            seed=(-(2**63), 2**63 - 1),
        )
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise UsageError(f"[fit] max_minutes = {self.max_minutes}; legal: more than 0, or None for no limit")


@dataclass
class FitProgress:
    """State of a run besides weights; `best` is the best dev F1 in [0, 1], -1 before the first evaluation."""

    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    stale: int = 0
    done: bool = False
    losses: list[float] = field(default_factory=list)  # since the last evaluation


def train(
    network: RivalNetwork,
    windows: Sequence[Window],
    dev_f1: Callable[[], float] | None,
    options: FitOptions,
    folder: Path,
    *,
    description: str,
    quiet: bool = False,
    on_step: Callable[[int, int], None] | None = None,
    data: str = "",
) -> FitProgress:
    """Train a network; it has the best state by `dev_f1` in the end, or the last if that is None.

    `on_step` is told after each step how many were done, and about how many there are: with a time budget, as many as
    fit it at this pace. `data` identifies the encoder, the documents and the dev data.

    `folder` receives `checkpoint.pt`, which a later call with the same data and options goes on from, and
    `metrics.jsonl`. The checkpoint is for the caller to delete once it has saved what was trained, so that a kill
    before that costs no more than one during training. SIGINT and SIGTERM stop the run after its step, resumable.

    Raises `TrainingError` where the loss or its gradient is not finite, and `KeyboardInterrupt` where the run was
    stopped.
    """
    if not windows:
        raise UsageError("there is no training data: no text with a word in it; give documents to fit on")
    return _Run(network, windows, dev_f1, options, folder, description, quiet, on_step, data).run()


class _Run:
    def __init__(
        self,
        network: RivalNetwork,
        windows: Sequence[Window],
        dev_f1: Callable[[], float] | None,
        options: FitOptions,
        folder: Path,
        description: str,
        quiet: bool,
        on_step: Callable[[int, int], None] | None,
        data: str,
    ) -> None:
        self.network, self.windows, self.dev_f1, self.options, self.folder = network, windows, dev_f1, options, folder
        self.description, self.quiet, self.on_step = description, quiet, on_step
        self.progress = FitProgress()
        self.device = next(network.parameters()).device
        self.key = run_key(network, options, len(windows), data)
        self.optimizer = torch.optim.AdamW(_groups(network, options), fused=True)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.best: dict[str, torch.Tensor] | None = None
        self.steps_per_epoch = math.ceil(len(windows) / options.batch_size)
        self.total = self.steps_per_epoch * options.epochs
        self.interval = max(1, self.steps_per_epoch // options.evaluations)

    def run(self) -> FitProgress:
        self._resume()
        interrupt = Interrupt()
        bar = tqdm(
            total=self.total, initial=self.progress.step, desc=self.description, disable=self.quiet or None, unit="step"
        )
        saved = monotonic()
        with interrupt.listening(), bar:
            while not self._finished():
                for batch in self._batches():
                    self._step(batch)
                    bar.update()
                    if self.on_step:
                        self.on_step(self.progress.step, round(self.progress.step / self._part()))
                    bar.set_postfix(loss=f"{self.progress.losses[-1]:.3f}", best=f"{max(0, self.progress.best):.3f}")
                    if self.progress.step % self.interval == 0 or self._finished():
                        self._evaluate()
                    if interrupt.wanted:
                        self._save()
                        raise KeyboardInterrupt
                    if monotonic() - saved > SAVE_SECONDS:
                        self._save()
                        saved = monotonic()
                    if self._finished():
                        break
        if self.dev_f1 is not None and self.best is None:
            self._evaluate()  # a smaller budget ended a resumed run before it was evaluated
        if self.best is not None:
            self.network.load_state_dict(self.best)
        self.network.eval()
        return self.progress

    def _batches(self) -> Iterator[list[Window]]:
        """The batches of the current epoch that have not been trained on: of similar length, in random order.

        Both depend on seed and epoch alone, so a resumed run sees those that the stopped one did not.
        """
        epoch, done = divmod(self.progress.step, self.steps_per_epoch)
        draw = random.Random(f"{self.options.seed} {epoch}")
        order = list(range(len(self.windows)))
        draw.shuffle(order)
        size = self.options.batch_size
        pools = [order[i : i + POOL * size] for i in range(0, len(order), POOL * size)]
        sorted_ = [i for pool in pools for i in sorted(pool, key=lambda i: len(self.windows[i].words))]
        batches = [sorted_[i : i + size] for i in range(0, len(sorted_), size)]
        draw.shuffle(batches)
        return ([self.windows[i] for i in batch] for batch in batches[done:])

    def _step(self, batch: list[Window]) -> None:
        started = monotonic()
        progress = self.progress
        torch.manual_seed(hash((self.options.seed, progress.step)) % 2**63)  # dropout, the same after a resumption
        self.network.train()
        factor = self._factor()
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            loss = self.network.loss(batch)
        value = float(loss.detach())
        self._check_finite("the loss", value, factor)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        # Not all of the network's: frozen ones may have old gradients.
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.options.clip)
        self._check_finite("the norm of the gradient", float(norm), factor)
        self.optimizer.step()
        progress.losses.append(value)
        progress.step += 1
        progress.seconds += monotonic() - started

    def _check_finite(self, what: str, value: float, factor: float) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"{what} is {value} at step {self.progress.step} (rates {self.rates[0] * factor:.2g} of the encoder, "
                f"{self.rates[-1] * factor:.2g} of the rest); lower encoder_rate and head_rate, or raise warmup"
            )

    def _part(self) -> float:
        """The part of the run that is over, in [0, 1], by steps or by time, whichever is further."""
        part = self.progress.step / self.total
        if self.options.max_minutes is not None:
            part = max(part, self.progress.seconds / (60 * self.options.max_minutes))
        return min(1.0, part)

    def _factor(self) -> float:
        part, warmup = self._part(), self.options.warmup
        if self.progress.step == 0 or part < warmup:
            return max(part, 1 / self.total) / max(warmup, 1 / self.total)
        return (1 - part) / (1 - warmup) if warmup < 1 else 1.0

    def _finished(self) -> bool:
        return self.progress.done or self._part() >= 1

    def _evaluate(self) -> None:
        progress = self.progress
        record: dict[str, Any] = {"step": progress.step, "seconds": round(progress.seconds, 1)}
        record["loss"] = round(sum(progress.losses) / len(progress.losses), 5) if progress.losses else None
        progress.losses = progress.losses[-1:]
        if self.dev_f1 is not None:
            self.network.eval()
            record["dev_f1"] = f1 = self.dev_f1()
            if f1 > progress.best:
                progress.best, progress.stale = f1, 0
                self.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
            else:
                progress.stale += 1
            # After an F1 of 1 no later state is better.
            progress.done = f1 >= 1 or 0 < self.options.patience <= progress.stale
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "best": self.best,
        }
        save_state(self.folder / CHECKPOINT, self.key, state)

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = load_state(self.folder / CHECKPOINT, self.key)
        if state is None:
            write_atomic(self.folder / METRICS, "")
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress, self.best = FitProgress(**state["progress"]), state["best"]
        kept = [record for record in _records(self.folder / METRICS) if record["step"] <= self.progress.step]
        write_atomic(self.folder / METRICS, "".join(json.dumps(record) + "\n" for record in kept))


def _records(metrics: Path) -> Iterator[dict[str, Any]]:
    """The evaluations in a file; not the half line that a full disk or a killed process left at its end."""
    if metrics.exists():
        for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                yield json.loads(line)


def run_key(network: RivalNetwork, options: FitOptions, *data: Any) -> str:
    """What a run depends on, with what identifies its data; a time budget may change."""
    fit = asdict(replace(options, max_minutes=None))
    return json.dumps([fit, repr(network.options), network.labels.to_file(), *data])


def save_state(place: Path, key: str, state: dict[str, Any]) -> None:
    """Write the state of the run `key` so that a killed run finds the old one or the new one, never a half.

    Raises `DataError` where it cannot be written; the old one is then as it was.
    """
    try:
        with atomic(place, alone=True) as file:
            torch.save({"key": key, **state}, file)
    except RuntimeError as error:  # of torch, for what the system refuses
        raise DataError(str(place), f"cannot be written: {str(error).splitlines()[0]}") from error


def load_state(place: Path, key: str) -> dict[str, Any] | None:
    """The state that `save_state` wrote, None if there is none.

    Raises `TrainingError` if it is that of another run, or damaged.
    """
    if not place.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(place, weights_only=True)
        found = state["key"]
    except Exception as error:  # of torch, pickle and the system: they have no common base
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainingError(f"{place} is damaged ({said}); delete it: what it held is trained again") from error
    if found != key:
        raise TrainingError(f"{place} belongs to a run with other options or data; give another folder, or delete it")
    return state


def _groups(network: RivalNetwork, options: FitOptions) -> list[dict[str, Any]]:
    """Parameters by rate and decay: biases and normalization are not decayed."""
    groups = []
    for named, rate in (
        (network.trained_encoder_parameters(), options.encoder_rate),
        (network.head_parameters(), options.head_rate),
    ):
        wanted = [p for _, p in named if p.requires_grad]
        groups += [
            {"params": [p for p in wanted if p.ndim > 1], "lr": rate, "weight_decay": options.weight_decay},
            {"params": [p for p in wanted if p.ndim <= 1], "lr": rate, "weight_decay": 0.0},
        ]
    return groups
