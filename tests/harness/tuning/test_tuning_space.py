"""The search space: ranges as text, the ranges that models declare, and mistakes in them."""

from __future__ import annotations

import pytest
from pydantic import Field

import trilemma
from trilemma.harness.contracts.options import check_options
from trilemma.harness.contracts.tunable import Choices, Interval, declared, parse_range
from trilemma.harness.plugins import Registry
from trilemma.harness.tuning.space import Axis, defaults, options_of, search_space


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5:2", Interval(0.5, 2, False, False)),
        ("2:8", Interval(2, 8, False, True)),
        ("log:1e-4:1e-2", Interval(1e-4, 1e-2, True, False)),
        ("log:16:512", Interval(16, 512, True, True)),
        ("64|128", Choices((64, 128))),
        ("[64, 64]|[128,128]", Choices(([64, 64], [128, 128]))),
        ("cosine|constant", Choices(("cosine", "constant"))),
        ("true|false", Choices((True, False))),
        ("3", Choices((3,))),
    ],
)
def test_ranges_are_read(text: str, expected: object) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize("text", ["2:1", "log:0:1", "a:b", "lin:1:2", "1:2:3:4", "", "64|", "{", "true:false"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|interval|logarithm|value"):
        parse_range(text)


@pytest.fixture
def realnvp() -> type[trilemma.Model]:
    found: type[trilemma.Model] = Registry(builtin_only=True).get("models", "realnvp")
    return found


def test_the_declared_ranges_are_the_default_space(realnvp: type[trilemma.NeuralModel]) -> None:
    axes = {axis.key: axis for axis in search_space(realnvp)}
    assert {"recipe.lr", "recipe.batch_size", "recipe.weight_decay", "recipe.ema", "config.hidden"} <= set(axes)
    assert defaults(axes.values())["recipe.lr"] == realnvp.recipe.lr
    for axis in axes.values():
        where = realnvp.recipe if axis.place == "recipe" else realnvp.Config()
        assert axis.default == where.model_dump(mode="json")[axis.name]
        if isinstance(axis.range, Choices):
            assert axis.default in axis.range.values
        else:
            assert axis.range.low <= axis.default <= axis.range.high


def test_given_ranges_replace_the_declared_ones(realnvp: type[trilemma.Model]) -> None:
    axes = search_space(realnvp, ["lr=log:1e-4:1e-3", "config.transforms=2:8", "hidden=[32,32]"])
    assert [axis.key for axis in axes] == ["recipe.lr", "config.transforms", "config.hidden"]
    lr, transforms, hidden = axes
    assert isinstance(lr.range, Interval)
    assert lr.range.high == lr.default == 5e-3  # the default is a part of every range
    assert isinstance(transforms.range, Interval)
    assert transforms.range.whole
    assert defaults([hidden]) == {"config.hidden": [32, 32]}  # but a single value is fixed
    assert lr.decode(0.0012345) == 0.00123
    assert lr.decode(lr.default) == lr.default
    values = {"recipe.lr": 1e-3, "config.transforms": 4, "config.hidden": [32, 32]}
    assert options_of(axes, values) == {"recipe": {"lr": 1e-3}, "config": {"transforms": 4, "hidden": [32, 32]}}
    assert hidden.decode(hidden.encode([32, 32])) == [32, 32]
    (ema,) = search_space(realnvp, ["ema=none|0.9"])
    assert isinstance(ema.range, Choices)
    assert ema.range.values == (None, 0.9, 0.998)


def test_numbers_are_whole_only_if_the_default_is_and_rounding_stays_in_the_interval() -> None:
    (axis,) = search_space(Registry(builtin_only=True).get("models", "vp-sde"), ["beta_min=1:5"])
    assert axis.default == 0.1
    assert axis.range == Interval(0.1, 5, False, False)
    assert axis.decode(1.23456) == 1.23
    ema = Axis("recipe", "ema", Interval(0.9, 0.9998, False, False), "0.9:0.9998", 0.99)
    assert ema.decode(0.99975) == 0.9998


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("lrr=1:2", "did you mean 'lr'"),
        ("config.lr=1:2", "there is no option 'lr'"),
        ("lr", "expected OPTION=RANGE"),
        ("optimizer.lr=1:2", "expected OPTION=RANGE"),
        ("lr=-1:2", "greater than 0"),
        ("lr=0.1|fast", "valid number"),
        ("lr=2:1", "the lower one first"),
        ("dropout=0.1:0.4", r"the default none is no number .* as in none\|A\|B"),
    ],
)
def test_mistakes_name_the_option(realnvp: type[trilemma.Model], space: str, message: str) -> None:
    with pytest.raises(trilemma.TrilemmaError, match=message):
        search_space(realnvp, [space])


def test_a_model_without_ranges_asks_for_some() -> None:
    gaussian = Registry(builtin_only=True).get("models", "gaussian")
    with pytest.raises(trilemma.TrilemmaError, match="declares no ranges"):
        search_space(gaussian)


@pytest.mark.parametrize("name", sorted(Registry(builtin_only=True).names("models")))
def test_every_declared_range_of_a_built_in_model_is_valid(name: str) -> None:
    model = Registry(builtin_only=True).get("models", name)
    if issubclass(model, trilemma.NeuralModel):
        assert search_space(model)


def test_a_wrong_range_is_found_when_the_plugin_is_checked() -> None:
    class Config(trilemma.Config):
        width: int = Field(4, description="width", json_schema_extra={"tune": "8:2"})

    assert declared(Config) == {"width": "8:2"}
    with pytest.raises(trilemma.PluginError, match="the lower one first"):
        check_options("the options", Config)
