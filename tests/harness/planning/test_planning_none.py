"""The text `none`, which means no value in suites and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click
import pytest
from pydantic import Field

import trilemma
from trilemma.harness.cli.options import parsed_config
from trilemma.harness.planning.cell import Cell, data_id, plan
from trilemma.harness.planning.choices import Resolved
from trilemma.harness.planning.resolve import resolve
from trilemma.harness.planning.suite import read_document
from trilemma.harness.planning.values import toml_value
from trilemma.harness.plugins import Registry

START = 'name = "s"\n[budget]\nsteps = 5\n[[datasets]]\nname = "ring8"\n[[models]]\nname = "ncsnv2"\n'


def resolved(tmp_path: Path, text: str = "", *assignments: str) -> Resolved:
    file = tmp_path / "suite.toml"
    file.write_text(START + text + "\n[metrics]\nnll = {}\nwasserstein = {}\n")
    document = read_document(file)
    document.override(assignments)
    return resolve(document, Registry(builtin_only=True))


class Options(trilemma.Config):
    """Options that may be None, that may not, and that may be the text itself."""

    rate: float | None = 0.5
    width: int = 3
    text: str | None = "a"
    kind: Literal["none", "some"] | None = "some"
    sizes: tuple[int, ...] | None = (1,)


def test_the_text_is_no_value_where_the_type_allows_none_but_not_the_text() -> None:
    found = Options(rate="none", text="none", kind="none", sizes="none")  # type: ignore[arg-type]
    assert (found.rate, found.text, found.kind, found.sizes) == (None, "none", "none", None)
    assert found == Options(rate=None, text="none", kind="none", sizes=None)
    with pytest.raises(ValueError, match="valid integer"):
        Options(width="none")  # type: ignore[arg-type]


def test_options_inside_options_may_be_none() -> None:
    class Outer(trilemma.Config):
        """Options with options in them."""

        inner: Options = Field(Options())

    assert Outer.model_validate({"inner": {"rate": "none"}}).inner.rate is None


def test_recipes_samplers_and_grids_take_it(tmp_path: Path) -> None:
    text = (
        'recipe = { ema = [0.99, "none"] }\n'
        'config = { sigma_max = 3.0 }\nsamplers = [{ name = "annealed-langevin", ratio = [0.3, "none"] }]'
    )
    models = resolved(tmp_path, text).models
    assert [model.label for model in models] == ["ncsnv2(sigma_max=3, ema=0.99)", "ncsnv2(sigma_max=3, ema=none)"]
    assert [(model.recipe or {})["ema"] for model in models] == [0.99, None]
    settings = [(choice.label, choice.config["ratio"]) for choice in models[0].samplers]
    assert settings == [("annealed-langevin(ratio=0.3)", 0.3), ("annealed-langevin(ratio=none)", None)]
    assert (resolved(tmp_path, "", "models.ncsnv2.recipe.clip=none").models[0].recipe or {})["clip"] is None


def test_both_spellings_are_one_cell_with_one_label() -> None:
    def cell(value: Any) -> Cell:
        model = {
            "name": "ncsnv2",
            "recipe": {"ema": value},
            "samplers": [{"name": "annealed-langevin", "ratio": value}],
        }
        values = {"name": "s", "budget": {"steps": 5}, "datasets": [{"name": "ring8"}], "models": [model],
                  "metrics": {"wasserstein": {}}}  # fmt: skip
        found = resolve(read_document(values), Registry(builtin_only=True))
        return plan(found, {data_id(dataset): {"sha256": "a"} for dataset in found.datasets}, "cpu")[0]

    spelled, plain = cell("none"), cell(None)
    assert spelled.describe() == plain.describe()
    assert [e.id for e in spelled.evaluations] == [e.id for e in plain.evaluations]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('recipe = { lr = "none" }', "this option cannot be none"),
        ("recipe = { ema = 0 }", 'for no value, write "none"'),
        ('recipe = { ema = "off" }', 'for no value, write "none"'),
        ('datasets = "none"', "valid list"),
        ('[timing]\nseconds = "none"', "valid number"),
    ],
)
def test_mistakes_say_whether_none_is_possible(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(trilemma.SuiteError, match=message):
        resolved(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("none", "none"),
        ("heun", "heun"),
        ("3", 3),
        ("true", True),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        (" none ", "none"),
    ],
)
def test_a_word_without_quotes_is_text(text: str, value: Any) -> None:
    assert toml_value(text) == value


def test_commands_of_plugins_take_words_without_quotes() -> None:
    metric = Registry(builtin_only=True).get("metrics", "sampling_time")
    assert parsed_config(metric, ("watts=none",)) == parsed_config(metric, ()) == metric.Config()
    with pytest.raises(click.BadParameter, match="options of 'sampling_time': watts"):
        parsed_config(metric, ("watts=off",))
