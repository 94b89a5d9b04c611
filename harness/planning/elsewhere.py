"""Models of plugins that have a Python environment of their own: they are planned by its interpreter, not by this one.

A process of that interpreter gets the entries of a suite as JSON and returns the validated models. Its standard output
is kept for the answer, so what plugins print does not matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from typing import Any

from trilemma import __version__

from ..boundary import boundary
from ..errors import PluginError, Problem, TrilemmaError
from ..identity import Provenance
from ..plugins import Registry
from .choices import Choice, ModelChoice
from .suite import Document

SECONDS = 180.0
"""For an interpreter to start, import torch and the plugin, and answer."""


def ask_interpreters(
    environments: Mapping[str, str], plugins: Sequence[str], request: Mapping[str, Any]
) -> list[Elsewhere]:
    """Ask the interpreter of each plugin, by plugin, for its models. `plugins` are those that are loaded besides."""
    return [Elsewhere(plugin, python, {**request, "plugins": plugins}) for plugin, python in environments.items()]


class Elsewhere:
    """The models that the interpreter of one plugin offers, of those in a suite."""

    def __init__(self, plugin: str, python: str, request: Mapping[str, Any]) -> None:
        """Ask the interpreter. Raises TrilemmaError if it has no trilemma, or another version of it."""
        self.plugin, self.python = plugin, python
        answer = _ask(python, {**request, "plugin": plugin})
        if "error" in answer:
            raise TrilemmaError(f"plugin {plugin}, loaded by {python}: {answer['error']}")
        self.names = set(answer["names"])
        self.problems = [(tuple(path), message, hint) for path, message, hint in answer["problems"]]
        self._models = answer["models"]

    def models(self, index: int) -> list[ModelChoice]:
        """The models of the entry with this index; none if the entry has a mistake."""
        return [_choice(record, self.python, self.plugin) for record in self._models.get(str(index), [])]


def _ask(python: str, request: Mapping[str, Any]) -> dict[str, Any]:
    command = [python, "-P", "-m", "trilemma.harness.planning.elsewhere"]
    hint = f"install trilemma {__version__} there: {python} -m pip install trilemma=={__version__}"
    try:
        done = subprocess.run(
            command, input=json.dumps(request).encode(), capture_output=True, timeout=SECONDS, check=False
        )
        answer: dict[str, Any] = json.loads(done.stdout or b"{}")
    except subprocess.TimeoutExpired:
        raise TrilemmaError(f"{python} gave no answer within {SECONDS:g} s") from None
    except (OSError, ValueError) as error:
        raise TrilemmaError(f"{python} cannot be used for a plugin: {error}") from None
    if "version" not in answer:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise TrilemmaError(f"{python} cannot be used for a plugin: {said[0]}; {hint}")
    if answer["version"] != __version__:
        raise TrilemmaError(f"{python} has trilemma {answer['version']}, and this is {__version__}; {hint}")
    return answer


def _choice(record: dict[str, Any], python: str, plugin: str) -> ModelChoice:
    """A model from its JSON."""
    provenance = record["provenance"]
    parts = {key: tuple(Choice(**part) for part in record[key]) for key in ("likelihoods", "samplers")}
    datasets = record["datasets"]
    return ModelChoice(
        **{
            **record,
            **parts,
            "provenance": Provenance(**provenance) if provenance else None,
            "datasets": None if datasets is None else tuple(datasets),
            "environment": python,
            "plugin": plugin,
        }
    )


@cache
def packages_of(python: str) -> str:
    """The hash of the packages of an interpreter, as its models have it in their source.

    It is found once in a process, because processes of the interpreter that live on keep the packages of their start.
    Raises PluginError if it gives no answer, which is not kept: the next call asks again.
    """
    command = [python, "-P", "-c", f"import {__name__} as here; print(here._installed())"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise PluginError(f"{python} gave no answer within {SECONDS:g} s") from None
    except OSError as error:
        raise PluginError(f"{python} cannot be started: {error}") from None
    if done.returncode or not done.stdout.strip():
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise PluginError(f"{python} did not say which packages it has: {said[0]}")
    return done.stdout.decode().strip()


def packages_in(source: str) -> str:
    """The hash of the packages in the source of a model that was planned by another interpreter."""
    return source.rpartition(" ")[2]


# In the other interpreter


def main() -> None:
    """Answer a request that comes on standard input."""
    output = os.dup(1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.read())
    try:
        with boundary():
            answer = _answer(request)
    except Exception as error:
        answer = {"error": str(error)}
    with os.fdopen(output, "wb") as stream:
        stream.write(json.dumps({"version": __version__, **answer}, default=str).encode())


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    from .resolve import resolve_models

    registry = Registry([*request["plugins"], request["plugin"]])
    names = [entry.name for entry in registry.records[-1].registered.get("models", ())]
    document = _Unplaced({"models": request["models"]})
    models, problems = resolve_models(document, names, registry, frozenset(request["used"]))
    installed = _installed()
    records = {
        index: [{**asdict(choice), "source": f"{choice.source} {installed}"} for choice in choices]
        for index, choices in models.items()
    }
    found = [[json.loads(problem.file), problem.message, problem.suggestion] for problem in problems]
    return {"names": names, "models": records, "problems": found}


class _Unplaced(Document):
    """A document whose problems keep their path, because this process does not know the lines."""

    def problem(self, path: Sequence[str | int], message: str, suggestion: str = "") -> Problem:
        return Problem(message, json.dumps(list(path)), None, suggestion)


def _installed() -> str:
    """A hash of all distributions of this environment, because results may depend on any of them."""
    found = sorted({f"{item.metadata['Name']} {item.version}" for item in metadata.distributions()})
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
