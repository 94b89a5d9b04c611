"""The fixtures that trilemma gives to the tests of plugins, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest, torch, trilemma

class Gauss(trilemma.Model):
    "A standard Gaussian."
    name = "gauss"
    def fit(self, train, ctx): ...
    def sample(self, n, ctx): return torch.randn(n, *ctx.info.shape, generator=ctx.generator)

class Shapeless(Gauss):
    "It draws points of a wrong shape."
    name = "shapeless"
    def sample(self, n, ctx): return torch.randn(n, generator=ctx.generator)

def test_run(trilemma_suite, trilemma_run, tmp_path):
    trilemma_suite["budget"]["steps"] = 1
    frame = trilemma_run(trilemma_suite, models=["oracle"])
    assert set(frame["model"]) == {"oracle"}
    assert "ok" in set(frame["outcome"])
    assert (tmp_path / "run" / "report.html").exists()

def test_the_suite_is_fresh(trilemma_suite):
    assert trilemma_suite["budget"] == {"steps": 5}

def test_check(trilemma_check):
    results = trilemma_check(Gauss, only=("documented", "samplers"))
    assert [result.status for result in results] == ["passed", "passed"]

def test_check_by_name(trilemma_check):
    assert trilemma_check("gaussian", only=("documented",))[0].name == "gaussian"

def test_check_of_a_wrong_class(trilemma_check):
    trilemma_check(Shapeless)

def test_unknown(trilemma_check):
    with pytest.raises(trilemma.PluginError, match="did you mean 'gaussian'"):
        trilemma_check("gausian")
    with pytest.raises(ValueError, match="there is no check dokumented"):
        trilemma_check(Gauss, only=("dokumented",))
"""


def test_the_fixtures(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(TESTS)
    found = pytester.runpytest_subprocess("-p", "trilemma.harness.pytest_plugin", "-p", "no:cacheprovider")
    found.assert_outcomes(passed=5, failed=1)
    found.stdout.fnmatch_lines(["FAILED *test_check_of_a_wrong_class*"])
    assert "shapeless, " in found.stdout.str()


def test_to_load_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, trilemma.harness.pytest_plugin;"
        "print({'torch', 'numpy', 'pydantic', 'pandas', 'click'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_pytest_finds_the_plugin_where_trilemma_is_installed() -> None:
    root = Path(__file__).parents[2]
    if not (root / "pyproject.toml").exists():
        pytest.skip("needs the source tree")
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"trilemma": "trilemma.harness.pytest_plugin"}
