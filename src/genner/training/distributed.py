"""Data parallelism: one process per device, all with the same trained weights, each with its share of every step.

    launch    `accelerate launch ... -m genner.cli train` starts the program once for each device
    share     process r of W runs groups r, r + W, r + 2 W, ... of a step
    sum       gradients are summed over the processes, which then take the same optimizer step
    agree     decisions that depend on a clock or a signal are made for all: the largest value counts

A step's loss is divided by the number of targets of all its groups, so the sum over processes is the gradient that one
process with all groups would compute. Only the first process, the main one, writes files and prints.

Each process holds the whole model or, if `mesh` is given, a part of each weight (`genner.training.fsdp`).
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from genner.engines.transformers_engine import device_of
from genner.errors import TrainingError, UsageError
from genner.training.batching import Batch
from genner.training.recipe import Recipe

SYNC_TIMEOUT = timedelta(
    days=1
)  # how long a process waits for the others while the main one evaluates or loads a large model
BUNCH = 2**22  # numbers summed over the processes in one call


@dataclass(frozen=True)
class Devices:
    """This process among those of the run. With a single process, nothing is exchanged.

    Args:
        device: the device of this process.
        count, rank: the number of processes, and the index of this one.
        mesh: the processes as torch's `DeviceMesh`, if the model is to be sharded over them.
    """

    device: torch.device
    count: int = 1
    rank: int = 0
    mesh: Any = None

    @classmethod
    def launched(cls, device: str | None = None) -> Self:
        """The processes that a launcher has started; without one, this process, on `device` or the GPU if any.

        Raises `UsageError` for launcher settings that are not supported, `TrainingError` when the processes do not find
        each other.
        """
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1 or "LOCAL_RANK" not in os.environ:
            return cls(device_of(device))
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        if device not in (None, "cpu", "cuda"):
            raise UsageError(
                f"--device {device!r} with {count} processes, each of which has a device of its own; legal: cpu, cuda, "
                "or leave it out"
            )
        for other in ("DEEPSPEED", "MEGATRON_LM"):
            if parse_flag_from_env(f"ACCELERATE_USE_{other}"):
                raise UsageError(f"launched with {other}; legal: --multi_gpu, --use_fsdp")
        # Otherwise transformers leaves the weights empty in all processes but the first, for accelerate to fill.
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
        on_cpu = device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
        state = PartialState(cpu=on_cpu and device != "cuda", timeout=SYNC_TIMEOUT)
        if state.num_processes != count:
            raise TrainingError(
                f"{count} processes were launched, but accelerate knows of {state.num_processes} on {state.device}; "
                "start them with accelerate launch or torchrun, on CUDA GPUs or with --device cpu"
            )
        own = torch.device("cpu") if state.device.type == "cpu" else state.device  # torch.load rejects "cpu:0"
        mesh = None
        if parse_flag_from_env("ACCELERATE_USE_FSDP"):
            from torch.distributed.device_mesh import init_device_mesh

            mesh = init_device_mesh(own.type, (count,))
        return cls(own, count, state.process_index, mesh)

    @property
    def main(self) -> bool:
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        return self.mesh is not None

    def check(self, recipe: Recipe) -> None:
        """Raise `UsageError` for a recipe that these processes cannot share evenly, or not at all."""
        groups = recipe.optim.groups_per_step
        if groups % self.count:
            raise UsageError(
                f"[optim] groups_per_step = {groups} cannot be shared evenly by {self.count} processes; legal: "
                f"multiples of {self.count}. A step of more groups is a larger one: it may want a higher learning_rate"
            )
        if self.sharded and recipe.method == "qlora":
            raise UsageError("method = 'qlora' cannot be sharded; launch without --use_fsdp, or use method = 'lora'")

    def say(self, text: str) -> None:
        if self.main:
            tqdm.write(text)

    def warn(self, text: str) -> None:
        """Print to standard error, which is seen even if standard output goes to a file."""
        if self.main:
            tqdm.write(text, file=sys.stderr)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """One process after the other, if the model is to be sharded: before that, it is whole in main memory."""
        turns = self.count if self.sharded else 0
        for _ in range(self.rank if turns else 0):
            self.wait()
        yield
        for _ in range(turns - self.rank if turns else 0):
            self.wait()

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        if self.count > 1:
            dist.barrier()

    def share(self, groups: Sequence[Batch]) -> list[tuple[int, bool]]:
        """The indices of the groups of a step that this process runs, each with whether it counts.

        All processes run the same number of groups, at least one, since they wait for each other in every layer of a
        sharded model: where groups are missing, the first one is run again without counting.
        """
        turns = range(self.rank, -(-len(groups) // self.count) * self.count, self.count)
        return [(turn, True) if turn < len(groups) else (0, False) for turn in turns]

    def sum_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.count == 1:
            return
        bunch: list[Tensor] = []
        for i, tensor in enumerate(tensors):
            bunch.append(tensor)
            if i + 1 == len(tensors) or sum(t.numel() for t in bunch) + tensors[i + 1].numel() > BUNCH:
                flat = torch.cat([t.flatten() for t in bunch])
                dist.all_reduce(flat)
                for into, found in zip(bunch, torch.split(flat, [t.numel() for t in bunch]), strict=True):
                    into.copy_(found.view_as(into))
                bunch = []

    def copy_main(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the main process."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def total(self, value: float) -> float:
        """The sum over the processes."""
        return self._reduce([value], dist.ReduceOp.SUM)[0]

    def largest(self, *values: float) -> list[float]:
        """For each value, the largest over the processes."""
        return self._reduce(list(values), dist.ReduceOp.MAX)

    def _reduce(self, values: list[float], how: Any) -> list[float]:
        if self.count == 1:
            return values
        found = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(found, how)
        return [float(value) for value in found]
