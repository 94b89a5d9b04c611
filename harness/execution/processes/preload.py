"""What the zygote loads before it forks a cell, so that no cell has to load it again.

Loading takes seconds, so the zygote loads only what its jobs use: first what every job needs, then, before a job is
forked, what the built-in classes of this job need. Code of other plugins is loaded in the cells alone.
"""

from __future__ import annotations

import gc
import json
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ...plugins import Registry
from ...plugins.places import installed
from ...source import module
from ..environment import cpu_name, git_commit, versions

ROOMS = ("trilemma.plugins.", "trilemma.datasets.")
LIBRARIES = {"ot", "pandas", "scipy", "sklearn"}
"""What built-in classes import inside functions, and what may be loaded in a process that forks: no threads."""


def essentials() -> None:
    """Load what every job needs. Errors are ignored, because the job raises them again."""
    with suppress(Exception):
        import numpy.ctypeslib
        import numpy.polynomial
        import numpy.random
        import safetensors.torch
        import torch
        import torch.utils.flop_counter

        from ...analysis import statistics
        from .. import stages, worker

        versions(), cpu_name(), git_commit(), platform.platform()  # they are cached
        torch.broadcast_shapes((1,), (1,))  # type: ignore[no-untyped-call]  # loads sympy, which distributions need
        _builtin().classes("metrics")  # a cell has to know whose quantities are whose
        if sys.platform == "linux":  # on a Mac, seeding makes a context of the GPU, which must not be forked
            with stages.global_seed(torch.device("cpu"), 0):
                pass  # torch reads sources here, to note where it was seeded
        del numpy, safetensors, statistics, worker
    _keep()


def for_job(file: str, path: Iterable[str] = ()) -> None:
    """Load what the built-in classes of a job need, and read which plugins are installed in the folders of `path`.

    Errors are ignored, because the job raises them again.
    """
    with suppress(Exception):
        load(_needs(json.loads(Path(file).read_text(encoding="utf-8"))))
    own = list(sys.path)
    with suppress(Exception):
        sys.path[:] = path or own
        installed()
    sys.path[:] = own  # nothing else is imported from there, because this process runs code of trilemma only


def load(needs: Iterable[Iterable[str]]) -> None:
    """Load what built-in classes, given by kind and name, need. A need of the kind `recipe` is that for optimizers."""
    with suppress(Exception):
        new = [(kind, name) for kind, name in needs if (kind, name) not in _loaded]
        _loaded.update(new)
        for kind, name in new:
            if kind == "recipe":
                _load_optimizer()
            elif name in _builtin().names(kind):
                _load_libraries(_builtin().get(kind, name).__module__)
        if new:
            _keep()


_loaded: set[tuple[str, str]] = set()


def _keep() -> None:
    gc.collect()
    gc.freeze()  # garbage collection in a child ignores these objects, so their memory stays shared


@cache
def _builtin() -> Registry:
    return Registry(builtin_only=True)


def _needs(job: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The classes of a job, by kind and name. A model with a recipe needs optimizers too."""
    yield "datasets", job["dataset"]["name"]
    if "model" in job:
        yield "models", job["model"]["name"]
        if job["model"]["recipe"]:
            yield "recipe", ""
    for planned in job.get("evaluations", ()):
        yield from (("metrics", metric["name"]) for metric in planned["metrics"])


def _load_libraries(start: str) -> None:
    """Load what a module, and the modules of the rooms that it imports, import from libraries inside functions."""
    waiting, seen = [start], set()
    while waiting:
        name = waiting.pop()
        source = module(name) if name.startswith(ROOMS) and name not in seen else None
        seen.add(name)
        for home, member in source.all_imports() if source else ():
            waiting += [home, f"{home}.{member}"]
            if home.split(".")[0] in LIBRARIES:
                with suppress(Exception):
                    getattr(import_module(home), member, None) or import_module(f"{home}.{member}")


def _load_optimizer() -> None:
    import torch

    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    optimizer.zero_grad()  # loads torch's compiler, which takes a second
