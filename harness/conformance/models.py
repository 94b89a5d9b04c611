"""The checks of a model: it is trained for a few steps on small data as a run trains it, and every method is tested."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..contracts.model import Model, Sampler
from ..errors import UnsupportedError
from ..evaluation.evaluation import Evaluation
from ..execution.stages import restore
from .densities import DensityChecks
from .fresh import Answer, ask
from .kit import needs, require
from .learning import LearningChecks
from .sampling import SampleChecks
from .settings import told
from .statistics import apart
from .subject import CPU

_ROWS = 20  # samples that are compared between processes
_PROBES = 23  # samples in which evaluations are counted: a prime number, which is rarely the size of something else
_SINGLES = 32  # calls for one sample each
_CHANCE = 1e-5
_NO_WORK, _LINEAR_MAPS = 1000.0, 4  # FLOPs and linear maps of a sample that need no network


class ModelKit(LearningChecks, DensityChecks, SampleChecks):
    """The checks of `trilemma check MODEL`."""

    @needs("samplers", "sample-deterministic", "sample-size")
    def check_batch_size(self) -> str:
        """One sample at a time has the distribution of many at once."""
        few = torch.cat([self.drawn(self.model, 1, seed=100 + index) for index in range(_SINGLES)])
        found = apart(few, self.many[:500])
        require(
            found.p >= _CHANCE,
            f"{_SINGLES} samples drawn one by one are distributed differently from samples drawn at once "
            f"({found.where}: Kolmogorov-Smirnov distance {found.distance:.2f}); use no statistics of the batch (call "
            ".eval() on networks with batch normalization)",
        )
        return f"p = {found.p:.2g}"

    @needs("samplers", "sample-deterministic", "log-prob")
    def check_state(self) -> str:
        """The state is what `fit` has left, and a new model that loads it gives the same samples and densities."""
        state = self.first[1].state
        if state is None:
            raise UnsupportedError("the model has no state, so each new evaluation trains it again")
        now = self.model.state() or {}
        for key, value in state.items():
            require(isinstance(value, Tensor), f"state['{key}'] is {type(value).__name__}, not a tensor")
            require(
                key in now and torch.allclose(now[key], self.learned[key], rtol=0, atol=0, equal_nan=True),
                f"sample, log_prob or score changes state['{key}'], so that results depend on what was computed "
                "before; learn in fit alone, and keep the networks in evaluation mode",
            )
        copy: Model = self.cls(self.config)
        with self.watch("load_state"):
            restore(copy, self.prepared, {key: value.detach().clone() for key, value in state.items()}, CPU)
        fix = "state() must return all that fit has learned, and load_state must set all of it"
        require(torch.equal(self.drawn(self.model), self.drawn(copy)), f"its samples differ after load_state; {fix}")
        if self.cls.likelihood != "none":
            require(
                torch.equal(self.densities, self.log_prob(self.some, copy)),
                f"its log-densities differ after load_state; {fix}",
            )
        return f"{len(state)} tensors"

    @needs("import-time", "samplers", "sample-deterministic", "fit-deterministic", "log-prob", "state")
    def check_fresh_process(self) -> str:
        """A new process that loads the state, or trains again without one, gives the same samples and densities."""
        state = self.first[1].state
        config = None if self.config is None else self.config.model_dump(mode="json")
        sampler = self.cls.samplers.index(type(self.quick)), self.quick.model_dump(mode="json")
        there = ask(
            f"{__name__}:in_fresh_process",
            self.cls,
            state,
            config=config,
            restored=state is not None,
            sampler=sampler,
        )
        here = {"samples": self.draw(self.model, _ROWS, 9, self.quick)}
        here |= {} if self.cls.likelihood == "none" else {"log-densities": self.densities}
        how = "loads the state" if state is not None else "trains again"
        for name, value in here.items():
            require(
                torch.equal(value, there.tensors[name]),
                f"a new process that {how} gives other {name}; keep nothing that sample or log_prob needs in globals, "
                "class attributes, files or environment variables, and use no hash() or id()",
            )
        return f"the same in a process that {how}"

    @needs("samplers", "sample-deterministic")
    def check_cost(self) -> str:
        """Network evaluations and FLOPs are counted as in a run, and do not contradict each other."""
        said, no_work = [], _NO_WORK + _LINEAR_MAPS * 2 * self.prepared.info.dim**2
        for cls in self.cls.samplers:
            setting = self.brief(cls())
            evaluation = Evaluation(
                self.model,
                self.dataset,
                self.prepared.space,
                self.prepared.info,
                seed=0,
                device=CPU,
                training=self.first[1].training,
                sampler=setting,
                truth=self.prepared.truth(self.model),
            )
            with self.watch("sample"):
                evaluation.samples(_PROBES)  # fewer than a metric draws
                found = evaluation.counted_nfe
            fix = "networks() must name every network that does the work of sampling"
            require(not found.marks, f"sampler '{cls.name}': {'; '.join(found.marks)}; {fix}")
            known = f"{found.value:.3g} evaluations" if found.value is not None else found.details["unknown"]
            flops = 0.0
            try:
                flops = evaluation.flops()[0]
            except UnsupportedError as error:
                known += f" ({error})"
            require(
                found.value is not None or flops < no_work or not list(self.model.networks()),
                f"sampler '{cls.name}' takes {flops:.3g} FLOPs per sample, but {known}; {fix}",
            )
            said.append(f"{cls.name}{told(setting, cls())}: {known}")
        return "; ".join(said)

    def check_global_state(self) -> str:
        """No method leaves the global state of the process changed."""
        changes = self.left.changes
        fix = "set it back before the method returns, or pass it as an argument instead"
        require(not changes, f"{'; '.join(changes)}; {fix}")
        return "unchanged"


def in_fresh_process(
    cls: type[Any],
    state: dict[str, Tensor],
    config: dict[str, Any] | None,
    restored: bool,
    sampler: tuple[int, dict[str, Any]],
) -> Answer:
    """Asked in a new process: samples and log-densities of a model that loads the state, or is trained again."""
    kit = ModelKit(cls, None if config is None else cls.Config.model_validate(config))
    index, options = sampler
    setting: Sampler = cls.samplers[index].model_validate(options)
    model: Model = cls(kit.config) if restored else kit.model
    if restored:
        restore(model, kit.prepared, state, CPU)
    found = {"samples": kit.draw(model, _ROWS, 9, setting)}
    found |= {} if cls.likelihood == "none" else {"log-densities": kit.log_prob(kit.some, model)}
    return Answer(None, found)
