"""A cell trains on the data that its run was planned with, or not at all."""

from __future__ import annotations

from pathlib import Path

import trilemma

PLUGIN = '''
import os, torch, trilemma

class Drifting(trilemma.Dataset):
    """Other points in every process."""
    name = "drifting"
    title = "Drifting"
    source = "drawn"
    license = "MIT"
    def load(self):
        parts = [torch.randn(n, 2, generator=torch.Generator().manual_seed(n + os.getpid())) for n in (300, 80, 90)]
        return trilemma.Splits(*parts)

@trilemma.hookimpl
def trilemma_datasets():
    return [Drifting]
'''


def test_a_cell_with_other_data_than_was_planned_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "drifting.py"
    file.write_text(PLUGIN)
    suite = {
        "name": "s",
        "budget": {"steps": 5},
        "datasets": [{"name": "drifting"}],
        "models": [{"name": "gaussian"}],
        "metrics": {"nll": {"n": 50}},
    }
    frame = trilemma.run(suite, out=tmp_path / "out", plugins=[file])
    assert set(frame["outcome"]) == {"error"}
    assert frame["message"].str.contains("not the data that this run was planned with").all()
