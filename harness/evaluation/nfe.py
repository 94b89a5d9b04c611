"""Network evaluations per sample: from the calls of the networks, checked against the use of their weights.

The calls are known for every draw of samples, but an evaluation need not be a call: a function of the weights, a
TorchScript trace and a compiled network do without. Their operations do use the weights, so one small draw, in which
all operations are seen, tells which of the two to believe.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .calls import CallCounter, Draw, Shapes
from .flops import Operation, WorkCounter, tensors_in
from .weights import Weights

Structure = tuple[tuple[str, int], ...]
"""The place and the number of axes of each tensor of a call."""

LEARNED_SHARE = 0.5
"""The largest share of the FLOPs that may use weights of modules that are not marked, beside a count of evaluations."""
FOREIGN_SHARE = 0.9
"""The largest share of the FLOPs that may be neither those of marked networks nor those of other modules."""
OUTSIDE_SHARE = 0.01
"""The largest share of a network's FLOPs outside its calls for which its calls are believed."""
OTHER = -1
"""The number of all modules that are not marked."""
FEWEST = 1 / 3
"""How small the count of one draw may be against that of another. Adaptive samplers differ from draw to draw."""


@dataclass(frozen=True)
class Nfe:
    """Network evaluations per sample. `value` is None if it is not known, or if no network is evaluated.

    `details` says how it was counted (`counted`) or why it is not known (`unknown`), and `marks` what contradicts it.
    """

    value: float | None
    details: dict[str, Any] = field(default_factory=dict)
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Axis:
    """Where the rows of a call are: an axis of one of its tensors, or always one row."""

    tensor: int | None
    axis: int = 0

    def rows(self, shapes: Shapes) -> int:
        """The rows of a call with tensors of these shapes."""
        return 1 if self.tensor is None else shapes[self.tensor][1][self.axis]


class CountedDraw:
    """A draw of `n` samples in which all operations are seen.

    FLOPs are those of networks inside their calls (`inside`) and with their weights outside (`outside`), both together
    (`marked`), those with weights of `others`, modules that are not marked (`learned`), and the rest (`foreign`). A
    backward pass belongs to the evaluation before it.
    """

    def __init__(self, calls: CallCounter, others: Iterable[nn.Module], n: int, draw: Callable[[int], object]) -> None:
        self.n = n
        self.inside: defaultdict[int, int] = defaultdict(int)
        self.outside: defaultdict[int, int] = defaultdict(int)
        self.uses_inside: defaultdict[tuple[int, int], float] = defaultdict(float)
        self.uses_outside: defaultdict[tuple[int, int], float] = defaultdict(float)
        self.spent: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.widest: defaultdict[int, float] = defaultdict(float)
        self.log: list[tuple[int, Shapes, float]] = []
        self.marked = self.learned = self.foreign = 0
        networks = [*enumerate(calls.networks), *((OTHER, module) for module in others)]
        self._calls, self._weights = calls, Weights(networks)
        self._now: defaultdict[int, defaultdict[tuple[int, int], float]] = defaultdict(lambda: defaultdict(float))
        counter = WorkCounter(self._observe)
        with calls.observed(n, self._ended) as self.draw, counter.counting():
            draw(n)
        self.flops, self.uncounted = counter.flops / n, counter.named()
        self.work = (counter.flops + counter.values) / n

    def _observe(self, operation: Operation, args: tuple[Any, ...], result: Any, flops: int) -> None:
        if flops:
            self._product(operation.name, args, result, flops)
        elif operation.writes:
            self._weights.forget(result)
        elif not operation.view:  # a view is recognized by its storage
            self._weights.follow(tensors_in(args), result)

    def _product(self, name: str, args: tuple[Any, ...], result: Any, flops: int) -> None:
        """A product of matrices or a convolution: whose FLOPs are they, and how often are which weights used?"""
        convolution = "conv" in name
        places = (1,) if convolution else (1, 2) if name.startswith(("add", "badd")) else (0, 1)
        operands = [args[place] for place in places if place < len(args) and isinstance(args[place], Tensor)]
        labels = [label for tensor in operands if (label := self._weights.used(tensor))]
        used = self._weights.main(frozenset().union(*labels)) if labels else []
        owners = {owner for i in used for owner in self._weights.all[i].owners}
        running = set(self._calls.running)
        backward = torch._C._current_autograd_node() is not None
        if running or owners - {OTHER}:
            self.marked += flops
        elif owners and not backward:
            self.learned += flops
        elif not backward:
            self.foreign += flops
        for owner in running:
            self.inside[owner] += flops
        if not convolution:
            self._weights.follow(operands, result)
        if backward:
            return
        for owner in owners - running - {OTHER}:
            self.outside[owner] += flops
        if len(labels) != 1 or "backward" in name:
            return
        operand = next(tensor for tensor in operands if self._weights.used(tensor))
        size, key = self._weights.size(used), (used[0], 0)
        if owners == {OTHER} and operand.numel() < size:  # one of the weights that a tensor of the model holds
            size, key = operand.numel(), (used[0], operand.storage_offset())
        uses = args[0].shape[0] if convolution else flops / (2 * size)
        self._use(used, uses, flops, running)
        for owner in running:
            self._now[owner][key] += uses

    def _use(self, used: Sequence[int], uses: float, flops: int, running: set[int]) -> None:
        for i in used:
            for owner in self._weights.all[i].owners - {OTHER}:
                self.widest[owner] = max(self.widest[owner], uses)
                self.spent[owner, i] += flops // len(used)
                if owner in running:
                    self.uses_inside[owner, i] += uses
                else:
                    self.uses_outside[owner, i] += uses

    def _ended(self, number: int, shapes: Shapes) -> None:
        uses: dict[tuple[int, int], float] = self._now.pop(number, {})
        self.log.append((number, shapes, max(uses.values(), default=0.0)))

    def axes(self) -> dict[tuple[int, Structure], Axis | None]:
        """Where the rows of the calls of each network are, by what its calls look like; None if it is not known."""
        groups: defaultdict[tuple[int, Structure], list[tuple[Shapes, float]]] = defaultdict(list)
        for number, shapes, uses in self.log:
            groups[number, structure(shapes)].append((shapes, uses))
        return {key: _axis(calls, self.n) for key, calls in groups.items()}

    def by_weights(self, number: int, rows: float | None) -> float | None:
        """Evaluations per sample of a network, from the uses of its weights; None if it is not known.

        `rows` is the number of rows in its calls, None if not known. Uses per row inside the calls tell what one
        evaluation is, for networks that use a weight several times per row. Without calls a weight must be used at most
        once per row, which is sure if no operation has more rows than samples.
        """
        estimates: list[tuple[float, int]] = []
        for (owner, i), flops in self.spent.items():
            if owner != number:
                continue
            inside, outside = self.uses_inside[owner, i], self.uses_outside[owner, i]
            if rows and inside:
                estimates.append(((inside + outside) * rows / inside / self.n, flops))
            elif self.widest[number] <= self.n:
                estimates.append(((inside + outside) / self.n, flops))
            else:
                return None
        if not estimates:
            return None
        value = max(estimates, key=lambda estimate: estimate[1])[0]
        agreeing = sum(flops for estimate, flops in estimates if abs(estimate - value) <= 0.01 * value)
        return value if agreeing >= 0.9 * sum(flops for _, flops in estimates) else None


def structure(shapes: Shapes) -> Structure:
    """What a call looks like, whatever the sizes of its tensors."""
    return tuple((place, len(shape)) for place, shape in shapes)


def _axis(calls: Sequence[tuple[Shapes, float]], n: int) -> Axis | None:
    """The axis of the rows of like calls while `n` samples are drawn, from the uses of weights in each of the calls.

    Each row uses the weights equally often. If the most used weight tells of no axis, the rows are where the size is a
    multiple of `n`, or on the leading axis if no weight is known. Returns None if nothing fits.
    """
    candidates = [Axis(i, axis) for i, (_, shape) in enumerate(calls[0][0]) for axis in range(len(shape))]
    ranked: list[tuple[tuple[bool, int, bool, int], Axis]] = []
    for axis in candidates:
        sizes = [axis.rows(shapes) for shapes, _ in calls]
        ratios = {uses / size if size else 0.0 for size, (_, uses) in zip(sizes, calls, strict=True)}
        ratio = min(ratios)
        fits = sum(size > 0 and size % n == 0 for size in sizes)
        equal = len(ratios) == 1 and ratio >= 1 and ratio == int(ratio)
        if (equal and (ratio == 1 or fits or sum(sizes) % n == 0)) or fits == len(calls) or (fits and ratio == 0):
            place = calls[0][0][axis.tensor or 0][0]
            ranked.append(((equal, fits, place.startswith("in"), -axis.axis), axis))
    if ranked:
        return max(ranked, key=lambda item: item[0])[1]
    uses = {uses for _, uses in calls}
    if uses == {1.0}:
        return Axis(None)
    if uses == {0.0}:
        return candidates[0] if candidates else Axis(None)
    return None


def rows_of(draw: Draw, axes: dict[tuple[int, Structure], Axis | None]) -> dict[int, float | None]:
    """The rows that each called network evaluated in a draw; None if they are not known."""
    rows: dict[int, float | None] = {}
    for (number, shapes), count in draw.calls.items():
        key = number, structure(shapes)
        axis = axes[key] if key in axes else _axis([(shapes, 0.0)], draw.n)
        before = rows.get(number, 0.0)
        rows[number] = None if axis is None or before is None else before + count * axis.rows(shapes)
    return rows


def evaluations(
    draws: Iterable[Draw], repeated: Iterable[Draw], counted: CountedDraw | None, larger: Callable[[], CountedDraw]
) -> Nfe:
    """Network evaluations per sample of the network with the most of them, in the draw with the most of them.

    `draws` are those whose samples are used, `repeated` are further ones, of which the counts should not differ much,
    `counted` is one in which all operations were seen, if that is possible, and `larger()` is another one of them.
    """
    draws, axes = [*draws], {} if counted is None else counted.axes()
    per_draw = [{k: None if r is None else r / draw.n for k, r in rows_of(draw, axes).items()} for draw in draws]
    values: dict[int, float | None] = {}
    for found in per_draw:
        for number, value in found.items():
            before = values.get(number, 0.0)
            values[number] = None if value is None or before is None else max(before, value)
    how = "calls"
    if counted is not None:
        suspect = {
            k
            for k, flops in counted.outside.items()
            if k != OTHER and flops > OUTSIDE_SHARE * (flops + counted.inside[k])
        }
        suspect |= {k for k, value in values.items() if value is None}
        for k, rows in rows_of(counted.draw, axes).items():  # a compiled network has calls only while it is observed
            if (values.get(k) or 0.0) < FEWEST * (rows or 0.0) / counted.n:
                suspect.add(k)
        if suspect:
            how, large = "weights", larger()
            called = rows_of(large.draw, large.axes())
            values |= {k: large.by_weights(k, called.get(k, 0.0)) for k in suspect}
    known = [value for value in values.values() if value is not None]
    if len(known) < len(values):
        return Nfe(None, {"unknown": "the uses of the weights of a network do not tell how often it is evaluated"})
    if not known or max(known) == 0:
        return Nfe(None, {"unknown": "no marked network is evaluated"})
    value, marks = max(known), []
    others = [max((r or 0.0 for r in rows_of(draw, axes).values()), default=0.0) / draw.n for draw in repeated]
    if how == "calls" and others and min(others) < FEWEST * value:
        marks.append(f"NFE at odds with FLOPs: {value:.3g} evaluations per sample in one draw, {min(others):.3g} later")
    if counted is not None:
        total = max(1, counted.marked + counted.learned + counted.foreign)
        share = 1 - counted.marked / total
        if counted.learned > LEARNED_SHARE * total or share > FOREIGN_SHARE:
            marks.append(f"NFE at odds with FLOPs: {share:.0%} of the FLOPs are not those of the marked networks")
    return Nfe(value, {"counted": how}, tuple(marks))
