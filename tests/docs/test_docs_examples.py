"""The examples of the pages work: they run, and the plugins among them pass their checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import trilemma
from trilemma.harness.plugins import KINDS, Registry

ROOT = Path(__file__).parents[2]


def examples() -> list[Any]:
    """Every Python block of the pages that needs no package of the reader, with included files in place."""
    found = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)):
            text = re.sub(
                r"^--8<--\n(.*)\n--8<--$", lambda match: (ROOT / match[1]).read_text("utf-8"), block, flags=re.M
            )
            if "my_package" not in text and "import trilemma" in text and "trilemma.run(" not in text:
                found.append(pytest.param(text, id=f"{page.stem}-{number}"))
    return found


def plugins() -> list[Any]:
    return [case for case in examples() if "@trilemma.hookimpl" in case.values[0]]


@pytest.mark.parametrize("text", plugins())
def test_a_plugin_in_the_pages_passes_its_checks(text: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.py"
    file.write_text(text)
    registry = Registry([file], builtin_only=True)
    shown = [
        registry.get(kind, name)
        for kind in KINDS
        for name in registry.names(kind)
        if registry.provenance(kind, name).plugin == "shown"
    ]
    assert shown or "(trilemma.Observer)" in text, "observers and commands have no checks"
    for cls in shown:
        results = [check.run() for check in trilemma.conformance_checks(cls)]
        assert [result for result in results if result.status == "failed"] == []


def test_the_pages_show_a_plugin_of_each_kind() -> None:
    texts = "\n".join(case.values[0] for case in plugins())
    assert all(f"def trilemma_{kind}(" in texts for kind in ("models", "datasets", "metrics"))


def test_the_loop_over_epochs_takes_the_steps_of_its_budget() -> None:
    (text,) = [case.values[0] for case in examples() if "def train_in_epochs" in case.values[0]]
    shown: dict[str, Any] = {}
    exec(compile(text, "write-a-model.md", "exec"), shown)
    for budget in (trilemma.Budget(steps=25), trilemma.Budget(seconds=0.05)):
        clock, batches = trilemma.Clock(budget), []
        context = trilemma.Context(
            info=trilemma.DataInfo("points", "vector", (2,), 1000),
            device=torch.device("cpu"),
            generator=torch.Generator(),
            clock=clock,
        )
        shown["train_in_epochs"](batches.append, trilemma.Split(torch.randn(1000, 2)), context)
        assert len(batches) == clock.step == clock.taken
        assert clock.expired
