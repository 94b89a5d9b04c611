"""The reference pages of the datasets: a table of all, and a card with a picture for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from io import BytesIO
from typing import Any

from _markdown import docstring, options, table
from matplotlib.figure import Figure

import trilemma

SMALL = {"n_train": 1000, "n_valid": 500, "n_test": 500}
"""Sizes of the splits for which cards are made: entropies and parameters do not depend on them."""


def datasets(classes: Iterable[type[Any]]) -> Iterator[str]:
    """The table of all datasets."""
    yield "# Datasets"
    yield (
        "Every registered dataset. The page of a dataset has its card, its options and a picture. Entropies are in"
        " nats, at default options. `trilemma info NAME` prints a card in a terminal."
    )
    rows = []
    for cls in sorted(classes, key=lambda cls: cls.name):
        found = loaded(cls)
        entropy = "" if found is None or found.entropy is None else f"{found.entropy:.5f}"
        shape = "" if found is None else "x".join(map(str, found.shape))
        rows.append([f"[{cls.name}](datasets/{cls.name}.md)", cls.title, cls.kind, shape, entropy, cls.license])
    yield table(["Dataset", "What it is", "Kind", "Shape", "Entropy", "License"], rows)


def dataset(cls: type[Any]) -> Iterator[str]:
    """One dataset: docstring, picture and card where the data are at hand, options."""
    yield f"# {cls.name}"
    yield docstring(cls)
    found = loaded(cls)
    if found is None:
        yield "There is no picture: the data need a path, a download (`--download`) or an optional package."
    else:
        yield f"![Points of {cls.name}]({cls.name}.png)"
    facts = {"Title": cls.title, "Kind": cls.kind, "Source": cls.source, "License": cls.license}
    facts |= {"Citation": cls.citation, **({} if found is None else card(found))}
    yield table(["", ""], [[name, text] for name, text in facts.items() if text])
    yield options("Options", cls.Config)


@cache
def loaded(cls: type[Any]) -> Any:
    """A dataset at default options, with small splits where they are drawn; None where it cannot be loaded here."""
    small = {key: value for key, value in SMALL.items() if issubclass(cls.Config, trilemma.DistributionConfig)}
    try:
        made = cls(cls.Config(**small))
        return made if made.splits else None
    except (trilemma.DataError, ValueError):
        return None


def card(found: Any) -> dict[str, str]:
    """The facts that are known once the data are loaded."""
    facts = {"Shape": "x".join(map(str, found.shape))}
    if not isinstance(found.config, trilemma.DistributionConfig):
        sizes = [len(part) for part in (found.splits.train, found.splits.valid, found.splits.test)]
        facts["Splits"] = "{} training, {} validation, {} test".format(*sizes)
    if found.levels is not None:
        facts["Intensity levels"] = str(found.levels)
    if found.entropy is not None:
        error = f" (± {found.entropy_error:.1g})" if found.entropy_error else ""
        facts["Entropy"] = f"{found.entropy:.5f}{error}"
    about = found.card().degeneracy
    facts["Degeneracy"] = (
        f"tied rows {about.tied_rows:.1%}, largest atom {about.largest_atom:.2%},"
        f" least correlation eigenvalue {about.least_eigenvalue:.2g}"
    )
    if about.unbounded_because:
        facts["Caution"] = f"the likelihood is unbounded in principle: {about.unbounded_because}"
    return facts


def pictures(classes: Iterable[type[Any]]) -> dict[str, bytes]:
    """A PNG of each dataset that can be loaded here: a scatter of two coordinates, or tiles of images."""
    return {cls.name: picture(loaded(cls)) for cls in classes if loaded(cls) is not None}


def picture(found: Any) -> bytes:
    """The PNG of one dataset."""
    points = found.splits.train[:1000].numpy()
    side = 4 if found.kind == "image" else 1
    figure = Figure(figsize=(4, 4), dpi=110, layout="constrained")
    panels = figure.subplots(side, side, squeeze=False).ravel()
    for panel, image in zip(panels, points, strict=False):
        if found.kind == "image":
            panel.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray_r")
            panel.set_axis_off()
        else:
            panel.scatter(points[:, 0], points[:, 1], s=2, alpha=0.6, color="#3f51b5", linewidths=0)
            panel.set(xlabel="coordinate 0", ylabel="coordinate 1", aspect="equal" if points.shape[1] == 2 else "auto")
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
