"""The cost of a computation: network evaluations, FLOPs and peak memory."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

if TYPE_CHECKING:
    from ..contracts.model import Context
    from ..training.neural import NeuralModel


@dataclass
class NfeCounter:
    """Counts the rows that each network evaluates while the counter is attached."""

    rows: dict[int, int] = field(default_factory=dict)

    @contextlib.contextmanager
    def attached(self, networks: Iterable[nn.Module]) -> Iterator[NfeCounter]:
        """Count the forward passes of `networks` inside the block."""
        handles = []
        for network in networks:
            self.rows.setdefault(id(network), 0)
            handles.append(network.register_forward_pre_hook(self._count, with_kwargs=True))
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _count(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        self.rows[id(module)] += len(first)

    def per_sample(self, n: int) -> float | None:
        """Evaluations per sample of the network with the most evaluations; None if no network is counted."""
        return max(self.rows.values()) / n if self.rows else None


class _FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the FLOPs of the operations for which torch has a formula, and collects the names of the others.

    It replaces FlopCounterMode of torch, which tracks modules by hooks that fail inside `torch.autograd.grad`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.uncounted: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:  # an operation that consists of others is counted by its parts
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if formula is None:
            self.uncounted.add(str(func.overloadpacket).removeprefix("aten."))
        else:
            self.flops += formula(*args, **kwargs, out_val=result)
        return result


def count_flops(call: Callable[[], object]) -> tuple[int, list[str]]:
    """FLOPs of `call()` (matrix products and convolutions, forward and backward), and the operations not counted.

    Counting makes the call several times slower, so it is never timed. Scaled-dot-product attention is counted in its
    mathematical implementation.
    """
    counter = _FlopCounter()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), counter:
        call()
    return counter.flops, sorted(counter.uncounted - _FREE)


def training_step_flops(model: NeuralModel, x: Tensor, ctx: Context) -> tuple[int, list[str]]:
    """FLOPs of one training step on the minibatch `x`, forward and backward, and the operations not counted.

    The optimizer, which takes a few operations per parameter, is left out. The weights do not change.
    """

    def backward_alone(loss: Tensor, group: str = "all") -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    with torch.enable_grad():
        flops = count_flops(lambda: model.training_step(x, ctx, backward_alone))
    model.zero_grad(set_to_none=True)
    return flops


# Operations that move or create data and do no arithmetic.
_FREE = {
    "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "slice", "select", "split", "chunk",
    "unbind", "unsqueeze", "squeeze", "alias", "detach", "clone", "copy_", "_to_copy", "cat", "stack", "empty",
    "empty_like", "new_empty", "zeros", "zeros_like", "ones", "ones_like", "full", "full_like", "fill_", "zero_",
    "arange", "as_strided", "index", "gather", "scalar_tensor", "lift_fresh", "contiguous", "repeat", "new_zeros",
    "unfold", "split_with_sizes", "narrow", "unflatten", "_local_scalar_dense", "is_same_size", "item", "linspace",
}  # fmt: skip


def _uses_cuda() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def reset_peak_memory() -> None:
    """Start a new measurement of `peak_memory`."""
    if _uses_cuda():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(
        OSError
    ):  # if not Linux or not permitted, `peak_memory` gives the peak since the process started
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak bytes since `reset_peak_memory`, of the CUDA allocator if CUDA is in use, else of the process."""
    if _uses_cuda():
        return torch.cuda.max_memory_allocated()
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage if sys.platform == "darwin" else usage * 1024
