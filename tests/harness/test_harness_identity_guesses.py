"""What the identity of a plugin reaches where its source is written in unusual ways."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.harness import source
from trilemma.harness.planning import sources

_numbers = itertools.count()
Edit = Callable[[dict[str, str], tuple[str, str, str]], tuple[bool, bool]]

HEAD = "import trilemma\n{imports}\n"
SAMPLE = "    def sample(self, n, ctx):\n        return n\n"


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Whether an edit (file, old, new) of a package changes the training and the evaluation hash of its `model.M`."""
    monkeypatch.syspath_prepend(tmp_path)

    def hashes(cls: type) -> tuple[str, str]:
        source.forget()
        sources.forget()
        return sources.training_source(cls), sources.evaluation_source(cls, None)

    def changes(files: dict[str, str], change: tuple[str, str, str]) -> tuple[bool, bool]:
        name = f"guess_pkg_{next(_numbers)}"
        for file, text in {"PKG/__init__.py": "", **files}.items():
            path = tmp_path / file.replace("PKG", name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.replace("PKG", name))
        importlib.invalidate_caches()
        cls = importlib.import_module(f"{name}.model").M
        before = hashes(cls)
        file, old, new = change
        path = tmp_path / file.replace("PKG", name)
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        after = hashes(cls)
        return before[0] != after[0], before[1] != after[1]

    return changes


def model(fit: str, *, imports: str = "", body: str = "", bases: str = "trilemma.Model", after: str = "") -> str:
    fitting = f"    def fit(self, train, ctx):\n        {fit}\n"
    lines = f"{HEAD.format(imports=imports)}class M({bases}):\n    name = 'm'\n{body}{fitting}{SAMPLE}{after}"
    return lines


@pytest.mark.parametrize(
    "text",
    [
        model("self.x = self.both", body="    scale = 1\n    both = (scale, 2)\n"),
        model("self.x = self.go()", body="    scale = 1\n    def go(self, n=scale):\n        return n\n"),
        model("self.go()", body="    def _one(self):\n        scale = 1\n    go = _one\n"),
        model("self.go", body="    def _get(self):\n        scale = 1\n    go = property(_get)\n"),
    ],
    ids=["value", "default", "method", "property"],
)
def test_names_in_the_body_of_a_class_are_followed(edit: Edit, text: str) -> None:
    assert edit({"PKG/model.py": text}, ("PKG/model.py", "scale = 1", "scale = 2")) == (True, True)


@pytest.mark.parametrize(
    "text",
    [
        model("0", body="    def go(self):\n        return 41\n").replace("def fit(self, train, ctx):\n        0",
                                                                   "def fit(me, train, ctx):\n        me.go()"),
        model("self.run()", imports="def run(self):\n    return self.go()\n",
              body="    run = run\n    def go(self):\n        return 41\n"),
        model("self.run()", body="    run = lambda me: me.go()\n    def go(self):\n        return 41\n"),
        model("self.run()", bases="Mixin, trilemma.Model", body="    def go(self):\n        return 41\n",
              imports="class Mixin:\n    def run(self):\n        return self.go()\n"),
        model("self.go()", body="    def go(self):\n        return 41\n", after="B = M\nM = type('M1', (B,), {})\n"),
        model("self.go()", body="    def go(self):\n        return 41\n", after="M.__qualname__ = 'Renamed'\n"),
    ],
    ids=["first parameter", "function as a method", "lambda", "mixin", "made by type", "renamed"],
)  # fmt: skip
def test_members_are_found_whatever_the_object_is_called(edit: Edit, text: str) -> None:
    assert edit({"PKG/model.py": text}, ("PKG/model.py", "return 41", "return 42")) == (True, True)


@pytest.mark.parametrize(
    ("imports", "fit"),
    [
        ("TABLE = {}\ndef reg(f):\n    TABLE[0] = f\n    return f\n@reg\ndef one():\n    return 41\n", "TABLE[0]()"),
        ("(a, (b, c)) = 1, (2, [41])\n", "c"),
        ("def dumps():\n    return 41\n", "dumps(); from json import dumps"),
    ],
    ids=["table", "nested tuple", "shadowed by a local import"],
)  # fmt: skip
def test_names_at_the_top_of_a_module_are_followed(edit: Edit, imports: str, fit: str) -> None:
    assert edit({"PKG/model.py": model(fit, imports=imports)}, ("PKG/model.py", "41", "42")) == (True, True)


def test_code_beside_the_package_counts_unless_it_was_installed(edit: Edit) -> None:
    beside = {"PKGnets.py": "def net():\n    return 1\n"}
    beside["PKG/model.py"] = model("net()", imports="from PKGnets import net")
    assert edit(beside, ("PKGnets.py", "return 1", "return 2")) == (True, True)


def test_a_base_class_of_another_plugin_counts(edit: Edit) -> None:
    files = {
        "PKGbase.py": "import trilemma\nclass B(trilemma.Model):\n    def fit(self, train, ctx):\n        self.x = 1\n",
        "PKG/model.py": f"from PKGbase import B\nclass M(B):\n    name = 'm'\n{SAMPLE}",
    }
    assert edit(files, ("PKGbase.py", "self.x = 1", "self.x = 2")) == (True, True)


def test_what_a_package_does_when_it_is_imported_counts(edit: Edit) -> None:
    files = {"PKG/__init__.py": "import torch\ntorch.manual_seed(1)\n", "PKG/model.py": model("self.x = 1")}
    assert edit(files, ("PKG/__init__.py", "seed(1)", "seed(2)")) == (True, True)


def test_the_text_of_an_error_does_not_count(edit: Edit) -> None:
    files = {"PKG/model.py": model("raise ValueError(f'no {train}', 7)")}
    assert edit(files, ("PKG/model.py", "no {", "not {")) == (False, False)
    assert edit(files, ("PKG/model.py", "7", "8")) == (True, True)


def test_members_that_a_metric_uses_count_for_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = model("self.x = 1", body="    def encode(self, x):\n        return 41\n") + (
        "class Metric(trilemma.Metric):\n    name = 'uses'\n"
        "    def compute(self, evaluation):\n        return evaluation.model.encode(1)\n"
    )
    file = tmp_path / "guess_metric.py"
    file.write_text(text)
    module = importlib.import_module("guess_metric")

    def hashes() -> tuple[str, str]:
        source.forget()
        sources.forget()
        used = sources.members_used((module.Metric,))
        assert "encode" in used
        return sources.training_source(module.M), sources.evaluation_source(module.M, None, used)

    before = hashes()
    file.write_text(text.replace("return 41", "return 42"))
    after = hashes()
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
