"""Fine-tuning: the training loop with checkpoints and schedule. Data, collation, evaluation and methods have their own
modules.

On several devices, one process per device runs this loop with its share of every step (`genner.training.distributed`).

The trained weights (see `genner.training.adapters`) are kept in the base model's dtype, while the optimizer keeps
float32 master copies of them: on a CPU this is 1.5 times as fast as float32 adapters over a bf16 base, and small
updates are not lost.

A run's folder holds `adapter/` (the newest; `model/` when all weights are trained), `best/` (the best on dev),
`state.pt` (for resuming), `metrics.jsonl`, `curve.png`, `recipe.json` and `data.json` (what was used and what was left
out). Every file is replaced atomically, so a killed run resumes from its last checkpoint, and ends with exactly the
weights that it would have had without the kill (given the same time limit, or none, and the same arithmetic; with
`patience`, also the same evaluations: set `eval_steps`).
"""

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from genner.data import write_atomic
from genner.engines.network import Network, causal_head
from genner.errors import TrainingError
from genner.interrupt import Interrupt
from genner.training.batching import Batch, group_loss
from genner.training.checkpoint import check_recipe, load_state, save_model, save_state, writing
from genner.training.curve import draw
from genner.training.dev import DevScores
from genner.training.distributed import Devices
from genner.training.fsdp import Sharded, gathered_weights
from genner.training.merged_lora import train_merged
from genner.training.mixture import Mixture
from genner.training.mixture_report import MixtureReport
from genner.training.oom import enough_memory
from genner.training.optimizer import Fp32MasterWeights, rate
from genner.training.progress import LOG_STEPS, Limits, Records, TrainingProgress
from genner.training.trackers import Tracker
from genner.training.verdict import FIRST_STEPS, beforehand, too_slow


class Trainer:
    """Trains the weights of `model` that require a gradient on `mixture`.

    Args:
        model: as `genner.training.adapters.prepare` returns it, on its device.
        mixture: the training data.
        out: the run's folder.
        limits: time limit and intervals.
        evaluate: scores the current model on dev data, or None.
        trackers: receive losses and scores, besides `metrics.jsonl`.
        origin: the adapter's provenance, which is written beside it: the base's `fingerprint` (see `genner.loading`),
            and the `start` (see `genner.training.warm_start`).
        devices: this process among those of the run; they also decide whether the model is sharded. None: a single
            process.
    """

    def __init__(
        self,
        model: Any,
        mixture: Mixture,
        out: Path,
        limits: Limits,
        evaluate: Callable[[], DevScores] | None = None,
        trackers: Sequence[Tracker] = (),
        origin: dict[str, dict[str, str]] | None = None,
        devices: Devices | None = None,
    ) -> None:
        self.devices = devices or Devices(next(model.parameters()).device)
        self.model, self.mixture, self.out, self.limits, self.evaluate = model, mixture, out, limits, evaluate
        self.spec, self.trackers, self.origin = mixture.recipe.optim, trackers if self.devices.main else (), origin
        self.newest = "model" if mixture.recipe.method == "full" else "adapter"
        causal = model if mixture.recipe.method == "full" else model.get_base_model()
        self._body, self._head = causal.model, causal_head(causal)
        self._head_layer = causal.get_output_embeddings()
        self._device = self.devices.device
        # Measured on a CPU only, where thin products and padding take half of a step.
        on_cpu = self._device.type == "cpu"
        rolls_back = Network(model).rolls_back
        self._shared = (on_cpu or self.devices.sharded) and rolls_back
        self._cached = rolls_back and not self.devices.sharded
        if on_cpu and mixture.recipe.method == "lora":
            train_merged(model)
        tokenizer = mixture.chat.tokenizer
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self._sharded = Sharded(model, self._body.layers, self.devices.mesh) if self.devices.sharded else None
        self._weights: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self._masters = Fp32MasterWeights(self._weights, self.spec, self.devices)
        self.progress = TrainingProgress()
        self.total = self.sentences = 0  # steps of the run, sentences per epoch: set by `run`
        self._scores = DevScores({})  # of the current weights; empty if not evaluated since the last step
        self._recent = deque[tuple[int, float]](maxlen=LOG_STEPS)  # tokens and seconds of the last steps
        self._interrupt = Interrupt()
        self._records = Records(out / "metrics.jsonl" if self.devices.main else None, self.trackers)

    def run(self, *, resume: bool = False) -> TrainingProgress:
        """Train to the end, the time limit, early stopping on dev scores, or an interrupt; then save.

        Returns the progress.

        Raises `TrainingError` when the loss is not a number, memory runs out, the folder holds another run or cannot be
        written, or `patience` is set without dev data.
        """
        if self.spec.patience and not self.evaluate:
            raise TrainingError(
                f"[optim] patience = {self.spec.patience} needs evaluations, and there are none; give a [[set]] a dev "
                "file, or patience = 0"
            )
        with writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        state = self.out / "state.pt"
        if state.exists() and not resume:
            raise TrainingError(f"{self.out} already holds a run; go on with --resume, or give another --out")
        if state.exists():
            check_recipe(self.out / "recipe.json", self.mixture.recipe)
            self._load(state)
        else:
            self._masters.equal()
        self.devices.wait()  # all have read the files that the main process now writes
        if self.devices.main:
            self._records.trim(self.progress)
            write_atomic(self.out / "recipe.json", json.dumps(self.mixture.recipe.to_dict(), indent=1))
        report = MixtureReport()
        first_epoch = self.mixture.epoch(0, report)
        per_epoch = math.ceil(len(first_epoch) / self.spec.groups_per_step)
        total = self.total = max(1, self.spec.min_steps, round(per_epoch * self.spec.epochs))
        self.sentences = sum(report.sentences.values())
        if self.devices.main:
            asked = {spec.labels: labels.to_json() for spec, labels, _ in self.mixture.sets}
            record = {"steps": total, "labels": asked, **report.to_dict()}
            write_atomic(self.out / "data.json", json.dumps(record, indent=1))
        size = self.spec.group_tokens * self.spec.groups_per_step
        shared_by = f", shared by {self.devices.count} processes" if self.devices.count > 1 else ""
        self.devices.say(f"{total} steps of up to {size} tokens{shared_by}; {report}")
        for warning in beforehand(self.mixture.recipe, total, self.sentences):
            self.devices.warn(warning)
        for tracker in self.trackers:
            tracker.begin(self.mixture.recipe.to_dict(), self.progress.step)
        try:
            self._loop(total, self._steps(first_epoch, per_epoch))
        finally:
            for tracker in self.trackers:
                tracker.end()
        self.devices.wait()  # no process continues before everything is written
        return self.progress

    def _loop(self, total: int, steps: Iterator[list[Batch]]) -> None:
        saved = time.monotonic()
        self.progress.finished = False
        bar = tqdm(total=total, initial=self.progress.step, unit="step", desc="train", disable=not self.devices.main)
        with self._interrupt.listening(), bar:
            while True:
                # From here on, decisions are the same in all processes.
                overdue = time.monotonic() - saved >= 60 * self.limits.save_minutes
                self.progress.seconds, stop, save = self.devices.largest(
                    self.progress.seconds, self._interrupt.wanted, overdue
                )
                done = self._fraction(total)
                if stop or self._exhausted or done >= 1:
                    break
                if self.evaluate and self._due:
                    self._evaluate()
                    self.save()  # evaluating took minutes and set the score for `best`
                    saved = time.monotonic()
                    continue
                if save:
                    self.save()
                    saved = time.monotonic()
                groups = next(steps)
                begun = time.monotonic()
                loss = self._step(groups, rate(done, self.spec))
                self._scores = DevScores({})
                tokens, seconds = sum(group.tokens for group in groups), time.monotonic() - begun
                self.progress.step += 1
                self.progress.tokens += tokens
                self.progress.seconds += seconds
                self._recent.append((tokens, seconds))
                self._records.step(self.progress, loss, rate(done, self.spec))
                bar.update()
                bar.set_postfix(self._standing(loss, total))
                if self.progress.step == FIRST_STEPS:
                    for line in too_slow(self.limits, self.mixture.recipe, self.progress, total):
                        self.devices.warn(line)
            if self._exhausted:
                best, stale = self.progress.best, self.progress.stale
                self.devices.say(f"no better dev F1 than {best:.4g} in {stale} evaluations: done")
            self.progress.finished = self._exhausted or self._fraction(total) >= 1
            if self.evaluate and self.progress.finished and self.progress.evaluated < self.progress.seconds:
                self._evaluate()
            self.save()

    @property
    def _exhausted(self) -> bool:
        """Whether dev F1 has not improved for `patience` evaluations."""
        return 0 < self.spec.patience <= self.progress.stale

    @property
    def _due(self) -> bool:
        """Whether an evaluation is due and has not been done since the last step."""
        since = self.progress.seconds - self.progress.evaluated
        if self.limits.eval_steps is not None:
            return since > 0 and self.progress.step % self.limits.eval_steps == 0
        return since > 0 and since >= 60 * self.limits.eval_minutes

    def _standing(self, loss: float, total: int) -> dict[str, str]:
        """For the progress bar: loss, tokens per second over the last steps, best dev F1, remaining time in steps."""
        tokens, seconds = (sum(column) for column in zip(*self._recent, strict=True))
        standing = {"loss": f"{loss:.3f}", "tok_s": f"{tokens / (seconds or 1):.0f}"}
        if self.progress.best >= 0:
            standing["F1"] = f"{self.progress.best:.3f}"
        done = min(1.0, self._fraction(total))
        return {**standing, "eta": tqdm.format_interval(self.progress.seconds * (1 - done) / done)}

    # -- one step

    def _step(self, groups: list[Batch], learning_rate: float) -> float:
        """One optimizer step on the mean loss of the groups' answer tokens; returns that loss, in nats per token."""
        targets = sum(group.targets for group in groups)
        total = 0.0
        self.model.train()
        # FSDP averages over the processes; the sum is needed.
        scale = self.devices.count if self.devices.sharded else 1
        for number, counts in self.devices.share(groups):
            group = groups[number]
            # Dropout does not depend on interruptions or on the process that runs the group.
            torch.manual_seed(self.mixture.recipe.seed + self.progress.step * self.spec.groups_per_step + number)
            where = (
                f"at step {self.progress.step}, in a group of {len(group.pairs)} x {max(map(len, group.pairs))} tokens "
                f"behind {len(group.prefix)} of instruction"
            )
            fix = (
                f"lower [optim] group_tokens ({self.spec.group_tokens}), or max_tokens ({self.spec.max_tokens}) if the "
                "group is a single long text, and resume"
            )
            with enough_memory(where, fix):
                work = partial(self._loss, group)
                loss = (self._sharded.run(work) if self._sharded else work()) / targets * counts
                (loss * scale).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        total = self.devices.total(total)
        trained = sum(weight.numel() for weight in self._weights)
        with enough_memory(
            f"at step {self.progress.step}, in the optimizer, which keeps four float32 numbers for each of {trained:,} "
            "weights that are trained",
            "train fewer, with a lower [lora] rank or with method = 'lora', in another --out",
        ):
            norm = self._masters.take_gradients()
            if not math.isfinite(total) or not math.isfinite(norm):
                raise TrainingError(
                    f"the loss is {total} and its gradient {norm} long at step {self.progress.step}; lower [optim] "
                    f"learning_rate ({self.spec.learning_rate}) and resume from the last checkpoint"
                )
            self._masters.step(learning_rate)
        return total

    def _loss(self, group: Batch) -> Tensor:
        of_head = [p for p in self._head_layer.parameters() if p.requires_grad]
        how = {"shared": self._shared, "cached": self._cached}
        return group_loss(self._body, self._head, group, self._pad, self._device, of_head, **how)

    def _steps(self, first_epoch: list[Batch], per_epoch: int) -> Iterator[list[Batch]]:
        """The groups of each step from the current one on; interruptions do not change them."""
        step, size = self.progress.step, self.spec.groups_per_step
        epoch, groups = 0, first_epoch
        while True:
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                groups = self.mixture.epoch(epoch)
            # Epochs differ by a few groups, since sentences are bucketed anew each time: in a shorter epoch, steps past
            # its end start over; in a longer one, the last few groups, which are random, are left out.
            at = (step % per_epoch) * size % len(groups)
            yield groups[at : at + size]
            step += 1

    def _fraction(self, total: int) -> float:
        """The fraction of the run that is done, by steps or by time, whichever is larger."""
        by_time = self.progress.seconds / (60 * self.limits.max_minutes) if self.limits.max_minutes else 0.0
        return max(self.progress.step / total, by_time)

    # -- records

    def _evaluate(self) -> None:
        assert self.evaluate is not None
        self.model.eval()
        self._scores = DevScores({})
        with enough_memory(
            f"in the evaluation after step {self.progress.step}",
            "leave the longest texts out of the dev files, or do without them, and resume",
        ):
            if self._sharded:  # all processes must take part
                self._scores = self._sharded.look(self.evaluate)
            elif self.devices.main:
                self._scores = self.evaluate()
        scores = self._scores
        self._records.add(self.progress, **{f"dev_{name}": value for name, value in scores.items()})
        self.progress.evaluated = self.progress.seconds
        said = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.devices.say(f"step {self.progress.step}: {said}")
        (f1,) = self.devices.largest(scores["f1"] if self.devices.main else -1.0)
        if f1 > self.progress.best:
            self.progress.best, self.progress.stale = f1, 0
            self._save("best")
        else:
            self.progress.stale += 1

    def save(self) -> None:
        """Write the adapter or model, the state for resuming, and the curve."""
        self._save(self.newest)
        state = {"progress": vars(self.progress), **self._masters.state()}
        if not self.devices.main:
            return
        save_state(self.out / "state.pt", state)
        with writing(self.out / "curve.png") as path:
            draw(self.out / "metrics.jsonl", path)

    def _save(self, name: str) -> None:
        weights = gathered_weights(self.model, self.devices.main) if self.devices.sharded else None
        if self.devices.main:
            save_model(self.model, self.out / name, self.mixture, self._scores.record(), self.origin, weights)

    def _load(self, path: Path) -> None:
        place = torch.device("cpu") if self.devices.sharded else self._device
        state = load_state(path, [weight.shape for weight in self._weights], place)
        self.progress = TrainingProgress(**state["progress"])
        self._masters.load(state)
