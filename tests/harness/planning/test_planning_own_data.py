"""Own data as datasets of a suite: labels, names, suggestions, and plugins that read other kinds of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from trilemma.harness.api import make_runner
from trilemma.harness.errors import DataError, PluginError, SuiteError
from trilemma.harness.planning.own_data import own_entries, suite_name
from trilemma.harness.plugins import Registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(builtin_only=True)


def table(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a,b\n1,2\n")
    return path


def labels(registry: Registry, *paths: Path) -> list[str]:
    return [entry["label"] for entry in own_entries(paths, registry)]


def test_files_of_one_name_get_that_of_their_folder_too(tmp_path: Path, registry: Registry) -> None:
    one, two, three = (table(tmp_path / name) for name in ("a/wine.csv", "b/wine.csv", "b/beer.csv"))
    assert labels(registry, one, three) == ["wine", "beer"]
    assert labels(registry, one, two, three) == ["a/wine", "b/wine", "beer"]
    assert labels(registry, one, one) == ["wine"]
    assert labels(registry, one, table(tmp_path / "x/a/wine.csv")) == ["a/wine 1", "a/wine 2"]


def test_paths_of_every_form_mean_the_same_file(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = table(tmp_path / "my data" / "größe.csv")
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("größe.csv", "./größe.csv", "../my data/größe.csv", str(file), "~/my data/größe.csv"):
        (entry,) = own_entries([path], registry)
        assert entry == {"name": "file", "label": "größe", "config": {"path": str(file)}}


@pytest.mark.parametrize(
    ("label", "suite", "name"),
    [
        ("wine", "quick", "wine"),
        ("wine", "smoke", "wine-smoke"),
        ("my best wine", "quick", "my-best-wine"),
        ("größe", "quick", "gr-e"),
        ("..", "quick", "data"),
        ("x" * 300, "smoke", "x" * 100),
    ],
)
def test_the_run_is_named_after_the_data(label: str, suite: str, name: str) -> None:
    assert suite_name([{"label": label}], suite) == name


def test_an_absent_file_has_a_suggestion(tmp_path: Path, registry: Registry) -> None:
    table(tmp_path / "wine.csv")
    for path, message in (
        (tmp_path / "wines.csv", r"no such file or folder \(did you mean 'wine.csv'\?\)"),
        (tmp_path / "nowhere" / "wine.csv", "there is no folder .*nowhere either"),
        ("~nobody-of-this-name/wine.csv", "--data ~nobody-of-this-name/wine.csv"),
        ("wine\0.csv", "no such file or folder"),
    ):
        with pytest.raises(DataError, match=message):
            own_entries([path], registry)
    (tmp_path / "lost.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(DataError, match="where it leads if it is a link"):
        own_entries([tmp_path / "lost.csv"], registry)
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04\x00")
    with pytest.raises(DataError, match=r"no plugin reads this kind of file.*save a spreadsheet as CSV"):
        own_entries([tmp_path / "a.xlsx"], registry)


READER = """
import trilemma

@trilemma.hookimpl
def trilemma_own_data(path):
    if path.suffix == ".broken":
        raise ZeroDivisionError("no")
    if path.suffix in (".xyz", ".csv"):
        return {"name": "file", "config": {"path": str(path)}, "label": "read by me\\n"}
"""


def test_a_plugin_reads_other_kinds_and_comes_before_the_built_in_ones(tmp_path: Path) -> None:
    (tmp_path / "reader.py").write_text(READER)
    registry = Registry([tmp_path / "reader.py"], builtin_only=True)
    for name in ("a.xyz", "a.csv"):
        assert labels(registry, table(tmp_path / name)) == ["read by me"]
    with pytest.raises(PluginError, match=r"trilemma_own_data of plugin .*reader.* ZeroDivisionError"):
        own_entries([table(tmp_path / "a.broken")], registry)


def test_own_data_takes_the_place_of_the_datasets_or_stands_beside_them(tmp_path: Path) -> None:
    file = table(tmp_path / "wine.csv")
    out = tmp_path / "out"
    alone = make_runner("smoke", data=file, out=out).resolved
    assert [choice.label for choice in alone.datasets] == ["wine"]
    assert alone.suite.name == "wine-smoke"
    both = make_runner("smoke", data=[str(file)], datasets=["moons"], out=out).resolved
    assert [choice.label for choice in both.datasets] == ["moons", "wine"]
    quick = make_runner(data=file, out=out).resolved
    assert {"ddgan", "cold-morph"} <= {model.name for _, model in quick.pairs}
    assert "cold-blur" not in {model.name for _, model in quick.pairs}
    set_ = ["datasets.wine.config.test_fraction=0.3"]
    changed = make_runner("smoke", data=file, out=out, set=set_).resolved
    assert [choice.label for choice in changed.datasets] == ["wine(test_fraction=0.3)"]


def test_a_label_is_one_line() -> None:
    suite = {
        "name": "s",
        "budget": {"steps": 1},
        "datasets": [{"name": "ring8", "label": "a\nb"}],
        "models": [{"name": "gaussian"}],
    }
    with pytest.raises(SuiteError, match="label"):
        make_runner(suite)
