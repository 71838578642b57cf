"""Float32 master weights, whole in each process or sharded over them, and the learning rate schedule."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genner.training.distributed import Devices
from genner.training.fsdp import gathered, local, part
from genner.training.recipe import OptimSpec


def rate(progress: float, spec: OptimSpec) -> float:
    """The learning rate at `progress` in [0, 1]: linear warm-up, then cosine decay to zero."""
    if progress < spec.warmup:
        return spec.learning_rate * progress / spec.warmup
    return spec.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - spec.warmup) / (1 - spec.warmup))))


class Fp32MasterWeights:
    """Float32 master copies of `weights`, and AdamW over them.

    If the weights are sharded, so are master weights and optimizer state: each process holds those of its part.
    """

    def __init__(self, weights: Sequence[Tensor], spec: OptimSpec, devices: Devices) -> None:
        self.weights, self._spec, self._devices = list(weights), spec, devices
        self._masters = [local(weight).detach().clone().float().requires_grad_() for weight in weights]
        self._optimizer = torch.optim.AdamW(self._masters, lr=0.0, weight_decay=spec.weight_decay)
        self._norm = torch.zeros(())

    def take_gradients(self) -> float:
        """Move the weights' gradients, summed over the processes, to the master weights; returns their norm."""
        for weight, master in zip(self.weights, self._masters, strict=True):
            master.grad = local(weight.grad).float() if weight.grad is not None else None
            weight.grad = None
        gradients = [master.grad for master in self._masters if master.grad is not None]
        if not self._devices.sharded:  # FSDP sums them itself
            self._devices.sum_up(gradients)
        self._norm = torch.nn.utils.get_total_norm(gradients)
        if self._devices.sharded:
            squared = self._devices.total(float(self._norm) ** 2)
            self._norm = torch.full_like(self._norm, math.sqrt(squared))
        return float(self._norm)

    def step(self, learning_rate: float) -> None:
        """One optimizer step on the gradients taken, clipped to the recipe's norm."""
        torch.nn.utils.clip_grads_with_norm_(self._masters, self._spec.clip, self._norm)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._put(self._masters)

    def equal(self) -> None:
        """Copy the main process's weights to all processes; sharded weights are left alone."""
        if not self._devices.sharded:
            with torch.no_grad():
                self._devices.copy_main(self._masters)
            self._put(self._masters)

    def state(self) -> dict[str, Any]:
        """Whole master weights and optimizer state, independent of the number of processes; all must call this.

        If sharded, only the main process receives the values.
        """
        optimizer, keep = self._optimizer.state_dict(), self._devices.main
        optimizer["state"] = {
            number: {
                name: gathered(value, self.weights[number], keep) if value.ndim else value
                for name, value in values.items()
            }
            for number, values in optimizer["state"].items()
        }
        pairs = zip(self._masters, self.weights, strict=True)
        masters = [gathered(master.detach(), weight, keep) for master, weight in pairs]
        return {"masters": masters, "optimizer": optimizer}

    def load(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self._put([part(master, weight) for master, weight in zip(state["masters"], self.weights, strict=True)])
        optimizer = state["optimizer"]
        numbers = {
            number: {n: part(value, self.weights[number]) if value.ndim else value for n, value in values.items()}
            for number, values in optimizer["state"].items()
        }
        self._optimizer.load_state_dict({**optimizer, "state": numbers})

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for weight, master, value in zip(self.weights, self._masters, values, strict=True):
            master.copy_(value)
            local(weight).copy_(value)
