"""A sharded model: each process holds a share of every weight (torch's FSDP2, `fully_shard`; arXiv 2304.11277).

A layer's weights are gathered just before its forward or backward pass and freed after it; weights outside the layers
are gathered once for each group. Gradients are summed, and each process keeps those of its share, so master weights and
optimizer state are sharded too.

FSDP acts when a module is called, but the trainer calls the body and the head of the model separately, or decodes with
it. So all of that runs within one outer module, `Sharded`.

A gradient must enter a layer through the layer's output, or FSDP does not gather the weights for it. Keys and values
that a layer leaves in a cache for later rows bypass that, so groups are not run over a cache here (see
`genner.training.batching`).
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

T = TypeVar("T")


class Sharded(torch.nn.Module):
    """The sharded model. Every process must run the same work, with the same number of passes.

    Args:
        model: the whole model, in main memory or on the process's device; its weights are replaced by their parts.
        layers: its modules that are gathered one at a time.
        mesh: the processes (see `genner.training.distributed`).
    """

    def __init__(self, model: Any, layers: Sequence[Any], mesh: Any) -> None:
        super().__init__()
        self.model = model
        self._layers = list(layers)
        self._begun = False
        for part in (*self._layers, self):
            fully_shard(part, mesh=mesh, mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32))

    def forward(self, work: Callable[[], T]) -> T:
        return work()

    def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, which runs the model; it may be a tensor with a graph."""
        if not self._begun:
            # Allocate the buffers for whole weights outside inference mode (decoding), or training could not use them.
            for part in (*self._layers, self):
                part.unshard()
                part.reshard()
            self._begun = True
        found: T = self(work)
        return found

    def look(self, work: Callable[[], T]) -> T:
        """As `run`, for work without a backward pass."""
        found = self.run(work)
        self.reshard()  # type: ignore[operator]  # added by `fully_shard`
        return found


def local(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor, by reference; any other tensor as it is."""
    if not isinstance(tensor, DTensor):
        return tensor
    part: Tensor = cast(DTensor, tensor.detach()).to_local()
    return part


def part(whole: Tensor, weight: Tensor) -> Tensor:
    """This process's part of a tensor shaped like `weight`; all of it, if the weight is not sharded."""
    if not isinstance(weight, DTensor):
        return whole
    parts, rank = whole.chunk(weight.device_mesh.size()), weight.device_mesh.get_local_rank()
    return parts[rank] if rank < len(parts) else whole[:0]


def gathered(part: Tensor, weight: Tensor, keep: bool = True) -> Tensor:
    """The whole tensor shaped like `weight`, in main memory, from its parts; every process must call this.

    Without `keep`, the result is empty. If the weight is not sharded, `part` is returned unchanged.
    """
    if not isinstance(weight, DTensor):
        return part
    parts = DTensor.from_local(
        part, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )
    whole: Tensor = parts.full_tensor()
    return whole.cpu() if keep else whole.new_empty(0)


def gathered_weights(model: Any, keep: bool = True) -> dict[str, Tensor]:
    """The whole weights that require a gradient, by name; every process must call this.

    A weight with two names is one tensor. Without `keep`, the dictionary is empty.
    """
    found, seen = dict[str, Tensor](), dict[int, Tensor]()
    for name, weight in model.named_parameters(remove_duplicate=False):
        if weight.requires_grad:
            if id(weight) not in seen:
                seen[id(weight)] = gathered(local(weight), weight, keep)
            found[name] = seen[id(weight)]
    return found if keep else {}
