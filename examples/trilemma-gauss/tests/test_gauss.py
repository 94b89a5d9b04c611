from pathlib import Path

import trilemma


def test_gauss_agrees_with_the_built_in_gaussian(tmp_path: Path) -> None:
    models = ["gauss", "gaussian"]
    frame = trilemma.run("smoke", out=tmp_path, models=models, budget="1steps")
    assert set(frame["outcome"]) == {"ok"}
    nll = frame[frame["metric"] == "nll"].set_index("model")["value"]
    assert abs(nll["gauss"] - nll["gaussian"]) < 1e-4
