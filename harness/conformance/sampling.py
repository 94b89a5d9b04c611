"""The checks of the samples of a model."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from ..contracts.model import Sampler
from ..errors import TrilemmaError, UnsupportedError
from .kit import needs, no_global_randomness, require
from .settings import alternatives, changed_to
from .subject import Subject

_BOUNDS = ("max_", "min_")  # the beginnings of the names of options that need not have an effect
_REPEATED = 0.01  # the largest share of rows that may repeat


class SampleChecks(Subject):
    """The checks of `sample`."""

    @needs("fit")
    def check_samplers(self) -> str:
        """Every sampler draws finite float32 points of the right shape, as does every entry of `always_samplers`."""
        for sampler in (*(cls() for cls in self.cls.samplers), *self.cls.always_samplers):
            require(type(sampler) in self.cls.samplers, f"'{sampler.name}' in always_samplers is not in samplers")
            one = self.draw(self.model, 1, sampler=self.brief(sampler))
            self.require_points(one, 1, f"by sampler '{sampler.name}'")
            self._check_chain(sampler, 7)
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

    def _check_chain(self, sampler: Sampler, n: int) -> None:
        """A sampler draws `n` points. If it says so, it shows its chain from step 0 on, and otherwise it does not."""
        steps: list[int] = []
        context = self.context(1, sampler)
        context.show = lambda step, x: steps.append(step)
        with self.watch("sample"):
            x = self.model.sample(n, context).detach()
        self.require_points(x, n, f"by sampler '{sampler.name}'")
        said = f"sampler '{sampler.name}' has shows_chain = {sampler.shows_chain}"
        require(bool(steps) == sampler.shows_chain, f"{said}, but calls ctx.show {len(steps)} times")
        require(steps == sorted(set(steps)) and steps[:1] in ([], [0]), f"{said}, but its steps do not rise from 0")

    @needs("samplers")
    def check_sample_deterministic(self) -> str:
        """The samples depend on the given generator, and not on a global one."""
        for cls in self.cls.samplers:
            sampler = self.brief(cls())
            with no_global_randomness("sample"):
                x, again, other = (self.draw(self.model, 4, seed, sampler) for seed in (1, 1, 2))
            same = torch.equal(x, again)
            require(same, f"sampler '{cls.name}' differs between two generators of the same seed; keep no state in it")
            differs = not torch.equal(x, other)
            require(differs, f"sampler '{cls.name}' ignores the generator; draw with generator=ctx.generator")
            context = self.context(1, sampler)
            with self.watch("sample"):
                one, next_one = (self.model.sample(4, context).detach() for _ in range(2))
            require(
                not torch.equal(one, next_one),
                f"sampler '{cls.name}' gives the same points in two calls with one generator; draw from ctx.generator, "
                "as seed = int(torch.randint(2**31, (), generator=ctx.generator)), and not from its initial_seed()",
            )
        return "equal with equal generators"

    @needs("samplers", "sample-deterministic")
    def check_sample_size(self) -> str:
        """Many points are as many as asked for, and each is new: none repeats, in one call or in the next."""
        x = self.many
        n = self.size
        self.require_points(x, n, f"by sampler '{self.quick.name}'")
        rows = [row.numpy().tobytes() for row in x.flatten(1)]
        repeated = 1 - len(set(rows)) / n
        fix = "every row must be an independent draw, so draw all of them and keep none for later"
        require(repeated <= _REPEATED, f"{repeated:.0%} of {n} samples repeat others; {fix}")
        again = {row.numpy().tobytes() for row in self.drawn(self.model, n // 4, seed=7).flatten(1)}
        known = len(again & set(rows)) / (n // 4)
        require(known <= _REPEATED, f"{known:.0%} of the samples of one call are those of another call; {fix}")
        return f"{n} different points"

    @needs("samplers", "sample-deterministic")
    def check_sampler_options(self) -> str:
        """Every option of every sampler changes the samples, at the defaults or with other options changed too."""
        ignored, count = [], 0
        for cls in self.cls.samplers:
            unused = self._unused(self.brief(cls()))
            if unused and self.brief(cls()) != cls():  # an option may matter in many steps alone
                unused = self._unused(cls())
            count += sum(not key.startswith(_BOUNDS) for key in cls.model_fields)
            ignored += [f"'{key}' of sampler '{cls.name}' (tried {values})" for key, values in unused.items()]
        require(
            not ignored,
            f"the samples do not depend on option {', '.join(ignored)}; read it from ctx.sampler, or remove it",
        )
        return f"{count} options" if count else "no options"

    def _unused(self, usual: Sampler) -> dict[str, str]:
        """The options of a sampler setting that change no samples, with the values that were tried."""
        keys = [key for key in type(usual).model_fields if not key.startswith(_BOUNDS)]
        others = {key: values for key in keys if (values := list(alternatives(usual, key)))}
        x = self._few(usual)
        unused: dict[str, str] = {}
        accepted: dict[str, Any] = {}
        for key, values in others.items():
            used = False
            for value in values:
                found = self._few_or_none(changed_to(usual, {key: value}))
                if found is not None:
                    accepted.setdefault(key, value)
                if used := found is None or not torch.equal(x, found):
                    break
            if not used:
                unused[key] = ", ".join(map(repr, values))
        return self._unused_together(usual, accepted, unused) if unused and len(accepted) > 1 else unused

    def _unused_together(self, usual: Sampler, values: dict[str, Any], unused: dict[str, str]) -> dict[str, str]:
        """Those of the options that change no samples either when all options have other values."""
        x, left = None, dict(unused)
        with suppress(Exception):  # a combination of options that nobody has chosen
            x = self._few_or_none(changed_to(usual, values))
        for key in unused if x is not None else ():
            rest = changed_to(usual, {name: value for name, value in values.items() if name != key})
            found = self._few_or_none(rest)
            if x is not None and rest is not None and (found is None or not torch.equal(x, found)):
                del left[key]
        return left

    def _few(self, sampler: Sampler) -> Tensor:
        return self.draw(self.model, 4, sampler=sampler)

    def _few_or_none(self, sampler: Sampler | None) -> Tensor | None:
        """The samples of a setting; None if there is no such setting, or if the model refuses it: so it is used."""
        if sampler is None:
            return None
        try:
            return self._few(sampler)
        except (TrilemmaError, ValueError):
            return None

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
