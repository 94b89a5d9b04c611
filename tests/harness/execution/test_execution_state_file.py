"""The file of a state of a training: it comes back bit for bit, or not at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from trilemma.harness.execution.state_file import DamagedError, read_about, read_state, write_state

TENSORS = [
    torch.randn(3, 4, dtype=torch.float64),
    torch.randn(2, 3).T,
    torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    torch.tensor(1.5, dtype=torch.bfloat16),
    torch.tensor([math.nan, math.inf, -0.0]),
    torch.empty(0, 2),
    torch.tensor([True, False]),
    torch.arange(5),
    torch.Generator().get_state(),
    torch.randn(10)[3:6],
]


def write(file: Path) -> Any:
    state = {
        "tensors": TENSORS,
        "numbers": [0.1, 1e300, -math.inf, 7, 2**70, True, None, "text"],
        "deep": {"in": [{"a": TENSORS[0]}]},
    }
    write_state(file, {"step": 3}, state)
    return state


def test_a_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    state = write(tmp_path / "state")
    assert read_about(tmp_path / "state") == {"step": 3}
    found = read_state(tmp_path / "state")
    for old, new in zip([*TENSORS, TENSORS[0]], [*found["tensors"], found["deep"]["in"][0]["a"]], strict=True):
        assert (old.dtype, old.shape) == (new.dtype, new.shape)
        assert torch.equal(old.contiguous().reshape(-1).view(torch.uint8), new.reshape(-1).view(torch.uint8))
    assert found["numbers"] == state["numbers"]
    assert len(load_file(tmp_path / "state")) == len(TENSORS) + 1, "it is no safetensors file"
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_no_damage_goes_unnoticed(tmp_path: Path) -> None:
    file = tmp_path / "state"
    write(file)
    content = file.read_bytes()
    whole = repr(read_state(file))
    for place in range(0, len(content), 7):
        for damaged in (content[:place], content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]):
            file.write_bytes(damaged)
            try:
                found = repr(read_state(file))
            except DamagedError:
                continue
            assert found == whole, f"damage at byte {place} changed the state"


@pytest.mark.parametrize("value", [object(), {1: 2}, torch.zeros(1, dtype=torch.complex64), {"$tensor": 0}])
def test_what_cannot_be_stored_is_refused_and_the_older_file_stays(value: Any, tmp_path: Path) -> None:
    write(tmp_path / "state")
    before = (tmp_path / "state").read_bytes()
    with pytest.raises(TypeError):
        write_state(tmp_path / "state", {}, {"value": value})
    assert (tmp_path / "state").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
