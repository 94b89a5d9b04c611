"""The registry of claims: the TOML files that plugins name by the hook `trilemma_claims`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ..contracts.config import Record
from ..errors import PluginError, Problem, SuiteError, TrilemmaError, did_you_mean
from ..planning import toml_lines
from ..planning.suite import Document, config_problems
from ..plugins import Registry
from .record import Claim


class ClaimFile(Record):
    """A file of claims."""

    claims: list[Claim] = []


@dataclass(frozen=True)
class Registered:
    """A claim and the plugin that registered it. The false discovery rate is that of the claims of one plugin."""

    claim: Claim
    plugin: str


def registered_claims(registry: Registry) -> list[Registered]:
    """All claims, by plugin and file. Raises PluginError, and SuiteError with every mistake in a file."""
    found: dict[str, Registered] = {}
    for seen in registry.observe("claims"):
        if seen.error:
            raise PluginError(seen.error)
        if isinstance(seen.value, str | Path) or not isinstance(seen.value, Iterable):
            raise PluginError(f"trilemma_claims of plugin '{seen.plugin}' returned no list of files")
        for file in seen.value:
            for claim in read_claims(Path(file)):
                if claim.name in found:
                    other = found[claim.name].plugin
                    raise PluginError(f"claim '{claim.name}' of {seen.plugin} is already registered by {other}")
                found[claim.name] = Registered(claim, seen.plugin)
    return list(found.values())


def read_claims(file: Path) -> list[Claim]:
    """The claims in a file. Raises SuiteError with every mistake."""
    try:
        return list(_claims_in(file.read_text(encoding="utf-8"), str(file)))
    except (OSError, ValueError) as error:
        raise SuiteError([Problem(f"the file of claims cannot be read: {error}", str(file))]) from None


@functools.lru_cache(maxsize=64)  # a report asks for all claims twice
def _claims_in(text: str, file: str) -> tuple[Claim, ...]:
    """The claims in the text of a file. Raises SuiteError, and ValueError if it is no TOML."""
    values = tomllib.loads(text)
    try:
        return tuple(ClaimFile.model_validate(values).claims)
    except ValidationError as error:
        document = Document(values, file, toml_lines.line_numbers(text))
        raise SuiteError(config_problems(document, (), error, ClaimFile)) from None


def chosen(claims: Sequence[Registered], only: Sequence[str] | None) -> list[Registered]:
    """The claims of these names or families, by default all. Raises TrilemmaError for an unknown name."""
    if only is None:
        return list(claims)
    known = {name for each in claims for name in (each.claim.name, each.claim.family)}
    for name in only:
        if name not in known:
            raise TrilemmaError(f"no claim and no family of claims is named '{name}' ({did_you_mean(name, known)})")
    return [each for each in claims if {each.claim.name, each.claim.family} & set(only)]
