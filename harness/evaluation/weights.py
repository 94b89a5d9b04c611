"""Which weight of a network an operation uses: by storage, by what it was computed from, or by equal values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from .calls import same_values
from .flops import tensors_in

Label = frozenset[int]
"""The numbers of the weights that a tensor consists of, or was computed from alone; empty for other tensors."""


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer of networks. `owners` are the numbers of the networks that it belongs to."""

    tensor: Tensor
    owners: frozenset[int]


class Weights:
    """Recognizes the weights of networks among the tensors of operations, inside a dispatch mode.

    A view of a weight has its storage. What is computed from weights alone, such as a copy, a change of precision, a
    stack or a product with a mask, is recognized because all operations are seen. Copies from before are recognized by
    their values.
    """

    def __init__(self, networks: Iterable[tuple[int, nn.Module]]) -> None:
        found: dict[int, tuple[Tensor, set[int]]] = {}
        for number, network in networks:
            for tensor in (*network.parameters(), *network.buffers()):
                found.setdefault(id(tensor), (tensor, set()))[1].add(number)
        self.all = [Weight(tensor, frozenset(owners)) for tensor, owners in found.values() if tensor.numel()]
        self._shared: dict[int, list[int]] = {}
        self._computed: dict[int, tuple[StorageWeakRef, Label]] = {}
        self._matrices: dict[tuple[int, ...], list[int]] = {}
        for i, weight in enumerate(self.all):
            if (key := _storage(weight.tensor)) is not None:
                self._shared.setdefault(key, []).append(i)
            if weight.tensor.ndim >= 2 and isinstance(weight.tensor, nn.Parameter):
                self._matrices.setdefault(tuple(sorted(weight.tensor.shape)), []).append(i)

    def label(self, tensor: Tensor) -> Label:
        """The weights that `tensor` is a view of, or was computed from, as far as its storage tells."""
        key = _storage(tensor)
        if key is None:
            return frozenset()
        if (sharing := self._shared.get(key)) is not None:
            return frozenset(i for i in sharing if _overlap(tensor, self.all[i].tensor)) or frozenset(sharing)
        _, label = self._computed.get(key, (None, frozenset()))
        return label

    def used(self, tensor: Tensor) -> Label:
        """`label`, and for a tensor that it does not know the weight with the same values in any order of axes."""
        if label := self.label(tensor):
            return label
        for i in self._matrices.get(tuple(sorted(tensor.shape)), ()):
            if _same_matrix(tensor, self.all[i].tensor):
                self._remember(tensor, frozenset([i]))
                return frozenset([i])
        return frozenset()

    def main(self, label: Label) -> list[int]:
        """The weights of a label without those that only adapt them: masks, gains and low-rank changes."""
        learned = [i for i in label if isinstance(self.all[i].tensor, nn.Parameter)] or [*label]
        largest = max(self.all[i].tensor.numel() for i in learned)
        return [i for i in learned if 4 * self.all[i].tensor.numel() >= largest]

    def size(self, numbers: Iterable[int]) -> int:
        """Number of values of weights together."""
        return sum(self.all[i].tensor.numel() for i in numbers)

    def follow(self, inputs: Iterable[Tensor], result: Any) -> None:
        """Label the results of an operation whose inputs are weights, or single numbers beside weights."""
        label: frozenset[int] = frozenset()
        for tensor in inputs:
            part = self.label(tensor)
            if not part and tensor.ndim:
                return
            label |= part
        if label:
            for tensor in tensors_in(result):
                self._remember(tensor, label)

    def forget(self, result: Any) -> None:
        """Drop the labels of tensors that other values were written to."""
        for tensor in tensors_in(result):
            if self._computed and (key := _storage(tensor)) is not None:
                self._computed.pop(key, None)

    def _remember(self, tensor: Tensor, label: Label) -> None:
        key = _storage(tensor)
        if key is not None and key not in self._shared:
            # A weak reference keeps the address from being used again.
            reference = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
            self._computed[key] = reference, label


def _storage(tensor: Tensor) -> int | None:
    """The address of the storage object; None for tensors without one, such as sparse tensors."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return None


def _overlap(tensor: Tensor, weight: Tensor) -> bool:
    """Whether a view of the storage of `weight` and of other weights begins in the values of `weight`."""
    start = weight.storage_offset()
    return bool(start <= tensor.storage_offset() < start + weight.numel())


def _same_matrix(tensor: Tensor, weight: Tensor) -> bool:
    with torch.no_grad():
        if tensor.shape == weight.shape and same_values(tensor, weight):
            return True
        turned = weight.transpose(-1, -2)
        return bool(tensor.shape == turned.shape and same_values(tensor, turned))
