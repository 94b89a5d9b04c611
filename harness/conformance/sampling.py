"""The checks of the samples of a model."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import torch
from pydantic import ValidationError
from torch import Tensor

from ..contracts.model import Direct, Sampler
from ..errors import TrilemmaError, UnsupportedError
from .kit import needs, no_global_randomness, require
from .subject import MANY, Subject

_BOUNDS = ("max_", "min_")  # the beginnings of the names of options that need not have an effect
_REPEATED = 0.01  # the largest share of rows that may repeat


class SampleChecks(Subject):
    """The checks of `sample`."""

    @needs("fit")
    def check_samplers(self) -> str:
        """Every sampler draws finite float32 points of the right shape, as does every entry of `always_samplers`."""
        for sampler in (*(cls() for cls in self.cls.samplers), *self.cls.always_samplers):
            require(type(sampler) in self.cls.samplers, f"'{sampler.name}' in always_samplers is not in samplers")
            for n in (1, 7):
                self.require_points(self.draw(self.model, n, sampler=sampler), n, f"by sampler '{sampler.name}'")
            self._check_chain(sampler)
        return ", ".join(cls.name for cls in self.cls.samplers)

    def require_points(
        self, x: Tensor, n: int, how: str, shape: tuple[int, ...] | None = None, device: str = "cpu"
    ) -> None:
        """Fail unless `x` holds n points as `sample` must return them."""
        wanted, label = (n, *(shape or self.prepared.info.shape)), f"sample({n}) {how}"
        require(x.layout == torch.strided, f"{label} is {x.layout}; return a dense tensor, by .to_dense()")
        hint = "the shape of a point is ctx.info.shape"
        if len(x) != n:
            hint = "return as many independent points as asked for, drawn in parts if they are many"
        require(tuple(x.shape) == wanted, f"{label} has shape {tuple(x.shape)}, expected {wanted}: {hint}")
        hint = "return its real part" if x.dtype.is_complex else "end with .float()"
        require(x.dtype == torch.float32, f"{label} is {x.dtype}, expected torch.float32: {hint}")
        require(x.device.type == device, f"{label} is on {x.device}, expected {device}: make tensors on ctx.device")
        require(bool(torch.isfinite(x).all()), f"{label} is not finite")

    def _check_chain(self, sampler: Sampler) -> None:
        """A sampler that says so shows its chain from step 0 on, and no other does."""
        steps: list[int] = []
        context = self.context(1, sampler)
        context.show = lambda step, x: steps.append(step)
        self.model.sample(3, context)
        said = f"sampler '{sampler.name}' has shows_chain = {sampler.shows_chain}"
        require(bool(steps) == sampler.shows_chain, f"{said}, but calls ctx.show {len(steps)} times")
        require(steps == sorted(set(steps)) and steps[:1] in ([], [0]), f"{said}, but its steps do not rise from 0")

    @needs("samplers")
    def check_sample_deterministic(self) -> str:
        """The samples depend on the given generator, and not on a global one."""
        for cls in self.cls.samplers:
            sampler = None if cls is Direct else cls()
            with no_global_randomness("sample"):
                x, again, other = (self.draw(self.model, seed=seed, sampler=sampler) for seed in (1, 1, 2))
            same = torch.equal(x, again)
            require(same, f"sampler '{cls.name}' differs between two generators of the same seed; keep no state in it")
            differs = not torch.equal(x, other)
            require(differs, f"sampler '{cls.name}' ignores the generator; draw with generator=ctx.generator")
        return "equal with equal generators"

    @needs("samplers", "sample-deterministic")
    def check_sample_size(self) -> str:
        """Many points are as many as asked for, and each is new: none repeats, in one call or in the next."""
        x = self.many
        self.require_points(x, MANY, f"by sampler '{self.cls.samplers[0].name}'")
        rows = [row.numpy().tobytes() for row in x.flatten(1)]
        repeated = 1 - len(set(rows)) / MANY
        fix = "every row must be an independent draw, so draw all of them and keep none for later"
        require(repeated <= _REPEATED, f"{repeated:.0%} of {MANY} samples repeat others; {fix}")
        again = {row.numpy().tobytes() for row in self.draw(self.model, MANY // 4, seed=7).flatten(1)}
        known = len(again & set(rows)) / (MANY // 4)
        require(known <= _REPEATED, f"{known:.0%} of the samples of one call are those of another call; {fix}")
        return f"{MANY} different points"

    @needs("samplers", "sample-deterministic")
    def check_sampler_options(self) -> str:
        """Every option of every sampler changes the samples, at the defaults or with other options changed too."""
        ignored, count = [], 0
        for cls in self.cls.samplers:
            usual = cls()
            others = {key: list(_alternatives(usual, key)) for key in cls.model_fields if not key.startswith(_BOUNDS)}
            changed = {key: values[0] for key, values in others.items() if values}
            moved = self._moved(usual, changed) if len(changed) > 1 else None
            for key, values in others.items():
                count += 1
                back = {name: value for name, value in changed.items() if name != key}
                used = any(self._differ(usual, _with(usual, {key: value})) for value in values) or (
                    moved is not None and self._differ(moved, _with(usual, back))
                )
                if values and not used:
                    ignored.append(f"'{key}' of sampler '{cls.name}' (tried {', '.join(map(repr, values))})")
        require(
            not ignored,
            f"the samples do not depend on option {', '.join(ignored)}; read it from ctx.sampler, or remove it",
        )
        return f"{count} options" if count else "no options"

    def _moved(self, usual: Sampler, values: dict[str, Any]) -> Sampler | None:
        """The sampler with all options changed; None if they do not go together."""
        sampler = _with(usual, values)
        try:
            if sampler is not None:
                self.draw(self.model, 4, sampler=sampler)
        except Exception:  # a combination of options that nobody has chosen
            return None
        return sampler

    def _differ(self, one: Sampler, other: Sampler | None) -> bool:
        """Whether two settings give different samples. A setting that is refused is used."""
        if other is None:
            return False
        try:
            x, y = (self.draw(self.model, 4, sampler=sampler) for sampler in (one, other))
        except (TrilemmaError, ValueError):
            return True
        return not torch.equal(x, y)

    @needs("fit")
    def check_device(self) -> str:
        """On a GPU, the model trains there and returns its points there."""
        if not torch.cuda.is_available():
            raise UnsupportedError("there is no GPU on this machine; the check runs where there is one")
        device = torch.device("cuda", torch.cuda.current_device())
        model, _, watched = self.train(device=device)
        with self.watch("sample"):
            x = model.sample(8, self.context(prepared=watched, device=device)).detach()
        self.require_points(x, 8, "on a GPU", device="cuda")
        return str(device)


def _with(sampler: Sampler, values: dict[str, Any]) -> Sampler | None:
    """The sampler with other values; None if they are not valid."""
    try:
        return type(sampler).model_validate(sampler.model_dump() | values)
    except (ValidationError, TrilemmaError, ValueError):
        return None


def _alternatives(sampler: Sampler, key: str) -> Iterator[Any]:
    """Valid values of an option besides its present one: up to two numbers, or all values of a choice."""
    value, annotation = getattr(sampler, key), type(sampler).model_fields[key].annotation
    candidates: list[Any] = []
    for part in get_args(annotation) if get_origin(annotation) in (types.UnionType,) else (annotation,):
        if get_origin(part) is Literal:
            candidates += get_args(part)
        elif part is bool:
            candidates += [True, False]
        elif part is int:
            number = value if isinstance(value, int) else 4
            candidates += [number // 2, number + 1, number - 1]
        elif part is float:
            real = float(value) if isinstance(value, int | float) else 0.5
            candidates += [real / 2, real * 1.5, real + 0.1]
    found = 0
    for candidate in candidates:
        if (
            candidate != value
            and _with(sampler, {key: candidate}) is not None
            and (found < 2 or isinstance(candidate, str))
        ):
            found += 1
            yield candidate
