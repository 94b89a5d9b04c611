"""What is said if a trained model is not there, is not the only one, is damaged, or was made by other code."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trilemma
from trilemma.harness.store.store import Store

pytestmark = pytest.mark.usefixtures("unreported")


def cell_of(run: Path, model: str, seed: int = 0) -> dict[str, Any]:
    return next(c for c in Store(run).run()["cells"] if (c["model"]["name"], c["seed"]) == (model, seed))


@pytest.mark.parametrize(
    ("wanted", "options", "message"),
    [
        ("realnvpp(transforms=2)", {}, r"no model or cell .* \(did you mean 'realnvp\(transforms=2\)'"),
        ("realnvp", {}, r"'realnvp' means several models: realnvp\(transforms=2\), realnvp\(transforms=3\); give one"),
        (None, {}, "several models here"),
        ("", {}, "no model or cell ''"),
        ("gaussian", {"dataset": "ring9"}, r"no training of 'gaussian' on 'ring9' \(did you mean 'ring8'"),
        ("gaussian", {"seed": 4}, "there is no seed 4; the seeds are 0$"),
        ("gausian on ring8, seed 0", {}, "did you mean 'gaussian on ring8"),
    ],
)
def test_names_that_mean_nothing_or_several_things(
    wanted: str | None, options: dict[str, Any], message: str, finished: Path
) -> None:
    with pytest.raises(trilemma.TrilemmaError, match=message):
        trilemma.load_model(finished, wanted, **options)


@pytest.mark.parametrize(
    "wanted",
    ["gaussian", "gaussian on ring8, seed 0", "gaussian on ring8(n_train=200, n_valid=50, n_test=100), seed 0"],
)
def test_names_labels_and_ids_find_the_same_cell(wanted: str, finished: Path) -> None:
    id = cell_of(finished, "gaussian")["id"]
    assert trilemma.load_model(finished, wanted).cell == id
    assert trilemma.load_model(finished, id[:6], dataset="ring8", seed=0).cell == id


def test_several_datasets_must_be_told_apart(finished_copy: Path, edit: Callable[..., None]) -> None:
    def change(record: dict[str, Any]) -> None:
        cell = next(cell for cell in record["cells"] if cell["model"]["name"] == "gaussian")
        other = {**cell["dataset"], "label": "moons", "name": "moons"}
        record["cells"].append({**cell, "id": "0" * 20, "dataset": other, "label": "gaussian on moons, seed 0"})

    edit(finished_copy, change)
    with pytest.raises(trilemma.TrilemmaError, match=r"several datasets: ring8\(.*, moons; give the dataset"):
        trilemma.load_model(finished_copy, "gaussian")
    assert trilemma.load_model(finished_copy, "gaussian", dataset="ring8").label.startswith("gaussian on ring8(")
    with pytest.raises(trilemma.TrilemmaError, match=r"gaussian on moons, seed 0 .* was planned and not trained"):
        trilemma.load_model(finished_copy, "gaussian", dataset="moons")


def test_of_several_trainings_the_latest_is_used(finished_copy: Path, tiny_suite: dict[str, Any]) -> None:
    trilemma.run({**tiny_suite, "models": [{"name": "gaussian"}], "budget": {"steps": 6}}, out=finished_copy)
    with pytest.warns(UserWarning, match="of 2 trainings of gaussian on .* the latest run"):
        model = trilemma.load_model(finished_copy, "gaussian")
    cell = next(cell for cell in Store(finished_copy).run()["cells"] if cell["id"] == model.cell)
    assert cell["budget"] == {"steps": 6}


def test_a_cell_that_failed_names_its_error_and_the_seeds_that_did_not(plugin_run: Path) -> None:
    store = Store(plugin_run)
    cell = cell_of(plugin_run, "kept")
    record = store.record("cells", cell["id"])
    assert record is not None
    store.commit("cells", cell["id"], {**record, "outcome": "diverged", "phase": "fit", "message": "loss\nis NaN"})
    with pytest.raises(
        trilemma.TrilemmaError, match=r"no trained model: diverged in fit: loss; seeds that ended well: 1$"
    ):
        trilemma.load_model(plugin_run, "kept")
    assert trilemma.load_model(plugin_run, "kept", seed=1).seed == 1


@pytest.mark.parametrize("file", ["model.safetensors", "record.json"])
def test_a_damaged_checkpoint_is_named(file: str, finished_copy: Path) -> None:
    place = finished_copy / "cells" / cell_of(finished_copy, "gaussian")["id"] / file
    content = bytearray(place.read_bytes())
    content[-9] ^= 1
    place.write_bytes(content)
    with pytest.raises(trilemma.StoreError, match=rf"damaged: {file} is damaged .*checksum.* Run the suite again"):
        trilemma.load_model(finished_copy, "gaussian")


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(trilemma.StoreError, match="there is no run directory"):
        trilemma.load_model(tmp_path / "nothing", "gaussian")


def test_a_run_notices_that_a_plugin_file_has_changed_in_the_same_process(own_plugin: Path) -> None:
    before = {cell["id"] for cell in Store(own_plugin).run()["cells"]}
    suite = Store(own_plugin).run()["runs"][-1]["suite"]
    (file,) = Store(own_plugin).run()["runs"][-1]["plugin_files"]
    changed_plugin(own_plugin, "0.1 *", "0.3 *")
    frame = trilemma.run({**suite, "seeds": 1, "models": [{"name": "kept"}]}, out=own_plugin, plugins=[file])
    assert not before & set(frame.loc[frame["selected"], "cell"])


def changed_plugin(run: Path, old: str, new: str) -> None:
    """Change the plugin file of a run, which its copies share."""
    (file,) = Store(run).run()["runs"][-1]["plugin_files"]
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))


@pytest.fixture
def own_plugin(plugin_run: Path) -> Iterator[Path]:
    """A run of a plugin file that the test may change or move away. The file is restored."""
    (file,) = (Path(name) for name in Store(plugin_run).run()["runs"][-1]["plugin_files"])
    text = file.read_text()
    yield plugin_run
    file.write_text(text)


def test_other_code_is_warned_of(own_plugin: Path) -> None:
    changed_plugin(own_plugin, 'print("sampling")', "pass")
    with pytest.warns(UserWarning, match=r"made by other code than the code installed now \(evaluation likelihood, "):
        model = trilemma.load_model(own_plugin, "kept")
    assert model.notes
    changed_plugin(own_plugin, "0.1 *", "0.2 *")
    with pytest.warns(UserWarning, match=r"\(training, evaluation "):
        trilemma.load_model(own_plugin, "kept")


def test_errors_of_the_model_are_named(own_plugin: Path) -> None:
    changed_plugin(own_plugin, 'print("sampling")', 'raise SystemExit("enough")')
    with pytest.warns(UserWarning, match="other code"):
        model = trilemma.load_model(own_plugin, "kept")
    with pytest.raises(trilemma.PluginError, match=r"model 'kept' raised .*enough"):
        model.sample(3)


def test_a_plugin_that_is_gone_is_named_and_may_lie_elsewhere(own_plugin: Path) -> None:
    (file,) = Store(own_plugin).run()["runs"][-1]["plugin_files"]
    moved = shutil.move(file, own_plugin.parent / "moved.py")
    with pytest.raises(trilemma.PluginError, match="there is no file"):
        trilemma.load_model(own_plugin, "kept")
    with pytest.warns(UserWarning, match="other code"):  # a file at another place is another module
        model = trilemma.load_model(own_plugin, "kept", plugins=[moved])
    assert model.sample(2).shape == (2, 2)


def test_other_data_is_refused(finished_copy: Path, edit: Callable[..., None]) -> None:
    def change(record: dict[str, Any]) -> None:
        for cell in record["cells"]:
            cell["data_sha256"] = "0" * 64

    edit(finished_copy, change)
    with pytest.raises(trilemma.DataError, match=r"is not the data that gaussian on .* was trained on"):
        trilemma.load_model(finished_copy, "gaussian")


def test_a_model_without_a_state_is_trained_again_in_the_same_way(plugin_runs: Path) -> None:
    kept = trilemma.load_model(plugin_runs, "kept", seed=1)
    again = trilemma.load_model(plugin_runs, "stateless", seed=1)
    assert again.likelihood == "none"
    np.testing.assert_array_equal(kept.sample(10), again.sample(10))
    with pytest.raises(trilemma.UnsupportedError, match="'stateless' has no likelihood"):
        again.log_prob(np.zeros((1, 2)))
