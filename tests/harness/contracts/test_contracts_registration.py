"""What a class says of itself is checked when its plugin is registered: a mistake has its place and a suggestion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import trilemma
from trilemma.harness.contracts.registration import check_class
from trilemma.harness.plugins import Registry


class Good(trilemma.Model):
    """A model."""

    name = "good"
    likelihood = "exact"

    def fit(self, train: trilemma.Split, ctx: trilemma.Context) -> None: ...

    def sample(self, n: int, ctx: trilemma.Context) -> Tensor:
        raise NotImplementedError

    def log_prob(self, x: Tensor, ctx: trilemma.Context) -> Tensor:
        raise NotImplementedError


class Data(trilemma.Dataset):
    """A dataset."""

    name = "data"

    def load(self) -> trilemma.Splits:
        raise NotImplementedError


class Measure(trilemma.Metric):
    """A metric."""

    name = "measure"

    def compute(self, evaluation: trilemma.Evaluation) -> list[trilemma.Result]:
        raise NotImplementedError


class Part(trilemma.ReportSection):
    """A section."""

    name = "part"

    def render(self, view: trilemma.RunView) -> None:
        return None


class Way(trilemma.Sampler):
    """A sampler."""

    name = "way"


GOOD: Mapping[str, type[Any]] = {"models": Good, "datasets": Data, "metrics": Measure, "report_sections": Part}
TWICE = (trilemma.Quantity(name="x"), trilemma.Quantity(name="x"))

WRONG = [
    ("models", {"likelihood": "excact"}, r"likelihood is 'excact' \(did you mean 'exact'\?\)"),
    ("models", {"accepts": ("vectors",)}, r"an entry of accepts is 'vectors' \(did you mean 'vector'\?\)"),
    ("models", {"accepts": "image"}, r"accepts is the text 'image'; write a tuple, \(\"image\",\)"),
    ("models", {"accepts": ()}, "an entry of accepts is None"),
    ("models", {"image_space": "log"}, r"image_space is 'log' \(did you mean 'logit'\?\)"),
    ("models", {"control": "yes"}, "control is 'yes', not of type bool"),
    ("models", {"name": ""}, "it has no `name`"),
    ("models", {"name": "two words"}, "name is 'two words'; use letters"),
    ("models", {"name": "esc\x1b[31m"}, "use letters"),
    ("models", {"name": None}, "it has no `name`"),
    ("models", {"samplers": [Way]}, "samplers is .*, not a tuple"),
    ("models", {"samplers": ()}, "samplers is empty"),
    ("models", {"samplers": (Way(),)}, "is not a subclass of trilemma.Sampler"),
    ("models", {"samplers": (Way, Way)}, "two of its samplers are named 'way'"),
    ("models", {"always_samplers": (Way(),)}, "is not an instance of a class in samplers"),
    ("models", {"Config": dict}, "Config is <class 'dict'>, not a subclass of trilemma.Config"),
    ("models", {"Likelihood": None}, "Likelihood is None"),
    ("models", {"recipe": {"lr": 1}}, "not a trilemma.Recipe"),
    ("models", {"log_prob": trilemma.Model.log_prob}, "likelihood is 'exact', but there is no log_prob"),
    ("models", {"expected_failures": ["mass"]}, "expected_failures"),
    ("datasets", {"kind": "vectors"}, r"kind is 'vectors' \(did you mean 'vector'\?\)"),
    ("datasets", {"levels": 1}, "levels is 1"),
    ("datasets", {"logit_alpha": 0.7}, "logit_alpha"),
    ("datasets", {"license": None}, "license is None, not of type str"),
    ("metrics", {"stage": "density"}, "stage is 'density'"),
    ("metrics", {"symmetric": 1}, "symmetric is 1, not of type bool"),
    ("metrics", {"quantities": ("w2",)}, "is not a trilemma.Quantity"),
    ("metrics", {"quantities": TWICE}, "two of its quantities are named 'x'"),
    ("metrics", {"quantities": (trilemma.Quantity(name=""),)}, "a quantity is named ''; use letters"),
    ("metrics", {"quantities": (trilemma.Quantity(name="two words"),)}, "a quantity is named 'two words'"),
    ("metrics", {"quantities": (trilemma.Quantity(name="a<b>"),)}, "a quantity is named 'a<b>'"),
    ("metrics", {"quantities": (trilemma.Quantity(name="x", title="a\nb"),)}, "'x' has the title .*; use one line"),
    ("metrics", {"quantities": (trilemma.Quantity(name="x", title=" "),)}, "'x' has the title ' '"),
    ("metrics", {"quantities": (trilemma.Quantity(name="x", title="a" * 41),)}, "at most 40 characters"),
    ("report_sections", {"order": "first"}, "order is 'first', not of type int"),
]


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_right_is_registered(kind: str) -> None:
    assert check_class(GOOD[kind], kind) == GOOD[kind].name


@pytest.mark.parametrize(("kind", "wrong", "message"), WRONG)
def test_what_is_wrong_is_refused_with_its_place(kind: str, wrong: dict[str, Any], message: str) -> None:
    cls = type("Mistaken", (GOOD[kind],), {"__doc__": "Wrong.", "__module__": __name__, **wrong})
    with pytest.raises(trilemma.PluginError, match=f"class Mistaken.*: .*{message}"):
        check_class(cls, kind)


def test_another_kind_of_class_and_an_abstract_one_are_refused() -> None:
    with pytest.raises(trilemma.PluginError, match=r"is not a subclass of trilemma\.Model"):
        check_class(Data, "models")
    with pytest.raises(trilemma.PluginError, match="does not define fit, sample"):
        check_class(type("Empty", (trilemma.Model,), {"name": "empty"}), "models")


def test_everything_built_in_is_right_and_says_what_it_gives() -> None:
    registry = Registry(builtin_only=True)
    registry.load_everything()
    assert registry.warnings() == []
    assert all(metric.quantities for metric in registry.classes("metrics").values())
    assert all(model.family for model in registry.classes("models").values())


MISTAKEN = '''
import torch, trilemma

class Gauss(trilemma.Model):
    """A model."""
    name = "gauss"
    likelihood = "excact"
    def fit(self, train, ctx): ...
    def sample(self, n, ctx): ...
    def log_prob(self, x, ctx): ...

@trilemma.hookimpl
def trilemma_models():
    return [Gauss]
'''

CLASHING = '''
import trilemma

class Mine(trilemma.Metric):
    """A metric."""
    name = "mine"
    quantities = (trilemma.Quantity(name="w2"),)
    def compute(self, evaluation): ...

@trilemma.hookimpl
def trilemma_metrics():
    return [Mine]
'''


def test_a_plugin_with_a_mistaken_class_is_broken_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "mistaken.py"
    file.write_text(MISTAKEN)
    message = f"class Gauss ({file}:4): likelihood is 'excact' (did you mean 'exact'?)"
    with pytest.raises(trilemma.PluginError, match=re.escape(message)):
        Registry([file])


def test_two_metrics_cannot_give_the_same_quantity(tmp_path: Path) -> None:
    file = tmp_path / "clashing.py"
    file.write_text(CLASHING)
    with pytest.raises(trilemma.PluginError, match="quantity 'w2' of metric 'mine'"):
        Registry([file]).classes("metrics")


def test_a_quantity_ranks_where_it_is_to_be_read() -> None:
    quantity = trilemma.Quantity(name="q", group="quality", place="first", least_dim=3, most_dim=5)
    for dim, readable in ((2, False), (3, True), (5, True), (6, False)):
        result = quantity.result(1.0, dim, low=0.5, high=1.5)
        assert (result.ranks, result.place) == ((True, "first") if readable else (False, "more"))
    assert not trilemma.Quantity(name="q", better="none").result(1.0, 2).ranks
    assert trilemma.Quantity(name="some_thing").result(1.0, 2).title == "some thing"
