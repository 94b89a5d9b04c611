"""Counts of the work of a computation: FLOPs and the values that its operations write."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

if TYPE_CHECKING:
    from ..contracts.model import Context
    from ..training.neural import NeuralModel


@dataclass
class Operation:
    """What is known of an operation of torch.

    Its name, its formula of FLOPs, whether it writes to an argument, whether its result shares the memory of an
    argument that it does not write to (a view), and whether it consists of other operations.
    """

    name: str
    formula: Callable[..., int] | None
    writes: bool
    view: bool
    composite: bool = True


Observer = Callable[[Operation, tuple[Any, ...], Any, int], None]
"""Is told of an operation, of its arguments, its result, and its FLOPs."""


class WorkCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up FLOPs and written values of operations, and collects the names of operations without a formula of FLOPs.

    It replaces FlopCounterMode of torch, which tracks modules by hooks that fail inside `torch.autograd.grad`.
    """

    def __init__(self, observer: Observer | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.values = 0
        self.uncounted: set[str] = set()
        self._observer = observer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = _operation(func)
        if operation.composite and operation.formula is None:
            with self:  # an operation that consists of others is counted by its parts
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
            operation.composite = False
        result = func(*args, **kwargs)
        flops = 0
        if operation.formula is None:
            self.uncounted.add(operation.name)
        else:
            flops = int(operation.formula(*args, **kwargs, out_val=result))
            self.flops += flops
        if not operation.view:
            self.values += sum(tensor.numel() for tensor in tensors_in(result))
        if self._observer is not None:
            self._observer(operation, (*args, *kwargs.values()), result, flops)
        return result

    @contextlib.contextmanager
    def counting(self) -> Iterator[WorkCounter]:
        """Count inside the block.

        Attention, recurrent networks and transformer layers run in their plain implementations there, because the FLOPs
        of fused ones have no formula.
        """
        before = [(set_it, is_on()) for is_on, set_it in _FUSED]
        for set_it, _ in before:
            set_it(False)
        try:
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), self:
                yield self
        finally:
            for set_it, was_on in before:
                set_it(was_on)

    def named(self) -> list[str]:
        """The names of the operations without a formula, without those that only move data."""
        return sorted(self.uncounted - _FREE)


def count_flops(call: Callable[[], object]) -> tuple[int, list[str]]:
    """FLOPs of `call()` (matrix products and convolutions, forward and backward), and the operations not counted.

    Counting makes the call several times slower, so it is never timed.
    """
    with WorkCounter().counting() as counter:
        call()
    return counter.flops, counter.named()


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


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested lists and tuples."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


@cache
def _operation(func: Any) -> Operation:
    name = str(func.overloadpacket).removeprefix("aten.")
    formula = _FORMULAS.get(name) or flop_registry.get(func.overloadpacket)
    aliases = [value.alias_info for value in func._schema.returns if value.alias_info is not None]
    writes = any(
        argument.alias_info is not None and argument.alias_info.is_write for argument in func._schema.arguments
    )
    view = any(not alias.is_write for alias in aliases)
    return Operation(name, formula, writes, view, func is not torch.ops.prim.device.default)


def _product(place: int) -> Callable[..., int]:
    """Two FLOPs for each value of the argument at `place`, which is multiplied by a vector."""

    def formula(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        return 2 * int(args[place].numel())

    return formula


# The switches of fused transformer layers and recurrent networks.
_FUSED: tuple[tuple[Callable[[], bool], Callable[[bool], object]], ...] = (
    (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled),
    (torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    (torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled),
)

# Products of matrices and vectors, for which torch has no formula.
_FORMULAS = {"mv": _product(0), "dot": _product(0), "vdot": _product(0), "addmv": _product(1)}

# Operations that move or create data and do no arithmetic.
_FREE = {
    "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "slice", "select", "split", "chunk",
    "unbind", "unsqueeze", "squeeze", "alias", "detach", "clone", "copy_", "_to_copy", "cat", "stack", "empty",
    "empty_like", "new_empty", "zeros", "zeros_like", "ones", "ones_like", "full", "full_like", "fill_", "zero_",
    "arange", "as_strided", "index", "gather", "scalar_tensor", "lift_fresh", "contiguous", "repeat", "new_zeros",
    "unfold", "split_with_sizes", "narrow", "unflatten", "_local_scalar_dense", "is_same_size", "item", "linspace",
}  # fmt: skip
