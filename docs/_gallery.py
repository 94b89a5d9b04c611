"""The gallery: a picture of each built-in model on `ring8` and on `digits`, and the page that shows them.

    python docs/_gallery.py                    # trains every model, in about a quarter of an hour of CPU time
    python docs/_gallery.py --models edm,vae   # only these; the other pictures stay

The pictures and `gallery.json`, which says how each was made, are in `docs/images/gallery` and are tracked.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from _markdown import table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

import trilemma
from trilemma.harness.plugins import Registry

FOLDER = Path(__file__).parent / "images" / "gallery"
RECORD = FOLDER / "gallery.json"
MARK = "<!-- gallery -->"
"""Where docs/gallery.md shows the pictures."""

DATASETS = ("ring8", "digits")
POINTS = 1000
TILES = (4, 6)
"""Rows and columns of the images in a picture."""
ZOOM = 4

MISSING = {
    "langevin on digits": "it needs the density of the data, which is not known for digits",
    "exact-score on digits": "it needs a mixture of Gaussians as data",
    "ncsn on digits": "after so short a training, some samples are not finite",
}
"""`MODEL on DATASET`: why there is no picture, where the model could have one."""

FAMILIES = {
    "control": "Controls",
    "flow": "Normalizing flows",
    "autoregressive": "Autoregressive models",
    "diffusion": "Diffusion and scores",
    "restoration": "Restoration",
    "adversarial": "Adversarial models",
    "autoencoder": "Autoencoders",
    "descent": "Particle descent",
    "drifting": "Drifting models",
    "trees": "Trees",
}
"""The headings of the page, in its order. A family that is not here comes last, under its own name."""


@dataclass(frozen=True)
class Shown:
    """One picture, and what it was made with."""

    model: str
    dataset: str
    sampler: str
    budget: str
    steps: int | None

    @property
    def name(self) -> str:
        """`MODEL on DATASET`."""
        return f"{self.model} on {self.dataset}"

    @property
    def file(self) -> str:
        """The picture, relative to docs/."""
        return f"images/gallery/{self.dataset}/{self.model}.webp"


def models() -> dict[str, Any]:
    """The built-in models by name."""
    return Registry(builtin_only=True).classes("models")


def wanted() -> dict[tuple[str, str], list[str]]:
    """The models that a picture is wanted of, by dataset and budget. Networks for images take longer than flat ones."""
    found: dict[tuple[str, str], list[str]] = {("ring8", "5s"): [], ("digits", "3s"): [], ("digits", "10s"): []}
    for name, cls in models().items():
        if "vector" in cls.accepts:
            found["ring8", "5s"].append(name)
        found["digits", "3s" if "image" not in cls.accepts else "10s"].append(name)
    return {key: [name for name in names if f"{name} on {key[0]}" not in MISSING] for key, names in found.items()}


def stored() -> dict[str, Shown]:
    """The tracked pictures by `MODEL on DATASET`."""
    if not RECORD.exists():
        return {}
    return {shown.name: shown for shown in (Shown(**entry) for entry in json.loads(RECORD.read_text("utf-8")))}


def make(chosen: set[str], runs: Path) -> None:
    """Train the chosen models, or all if none is named, and write their pictures and the record."""
    made: dict[str, Shown] = {}
    for (dataset, budget), names in wanted().items():
        names = [name for name in names if not chosen or name in chosen]
        if not names:
            continue
        out = runs / f"{dataset}-{budget}"
        trilemma.run(suite(dataset, budget, names), out=out, jobs=1)
        for name in names:
            try:
                shown = draw(out, name, dataset, budget)
            except trilemma.TrilemmaError as error:  # such a model needs a reason in MISSING
                print(f"{name} on {dataset}: no picture: {error}")
                continue
            made[shown.name] = shown
    found = stored() | made
    known = {f"{name} on {dataset}" for (dataset, _), names in wanted().items() for name in names}
    lines = [json.dumps(asdict(found[name])) for name in sorted(known & set(found))]
    RECORD.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def suite(dataset: str, budget: str, names: list[str]) -> dict[str, Any]:
    """A suite that trains models and evaluates next to nothing."""
    return {
        "name": "gallery",
        "budget": {"seconds": float(budget.removesuffix("s"))},
        "datasets": [{"name": dataset}],
        "models": [{"name": name, "samplers": [{"name": models()[name].samplers[0].name}]} for name in names],
        "metrics": {"training_cost": {}},
    }


def draw(run: Path, name: str, dataset: str, budget: str) -> Shown:
    """Draw samples with the first sampler of a model, and write their picture."""
    model = trilemma.load_model(run, name, dataset=dataset)
    x = model.sample(POINTS if dataset == "ring8" else TILES[0] * TILES[1])
    frame = trilemma.load_results(run)
    (steps,) = frame.loc[frame["model"] == name, "steps"].unique()
    shown = Shown(name, dataset, model.setting().label, budget, None if steps != steps else int(steps))
    file = FOLDER.parents[1] / shown.file
    file.parent.mkdir(parents=True, exist_ok=True)
    (scatter(x) if dataset == "ring8" else tiles(x)).save(file, "WEBP", quality=80, method=6)
    return shown


def scatter(x: NDArray[Any]) -> Image.Image:
    """Points in the plane, with the same axes for every model."""
    figure = Figure(figsize=(2.4, 2.4), dpi=100)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.scatter(x[:, 0], x[:, 1], s=2, alpha=0.7, color="#3f51b5", linewidths=0)
    axes.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[])
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return Image.open(stream).convert("RGB")


def tiles(x: NDArray[Any]) -> Image.Image:
    """Images side by side, black on white, enlarged without smoothing. Intensity levels are 0 to 16."""
    rows, columns = TILES
    side = round(x[0].size ** 0.5)
    gray = 255 - np.clip(x.reshape(-1, side, side).astype(float) / 16, 0, 1) * 255
    page = np.full((rows * (side + 1) - 1, columns * (side + 1) - 1), 255.0)
    for place, image in enumerate(gray[: rows * columns]):
        top, left = place // columns * (side + 1), place % columns * (side + 1)
        page[top : top + side, left : left + side] = image
    large = page.round().astype(np.uint8).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    return Image.fromarray(large, "L")


def fill(markdown: str) -> str:
    """The page with its pictures, and with the models that have none."""
    return markdown.replace(MARK, "\n\n".join(page()))


def page() -> Iterator[str]:
    """Each family with its models, then what has no picture."""
    found, classes = stored(), models()
    names: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for name, cls in classes.items():
        names.setdefault(cls.family or "other", []).append(name)
    for family, members in names.items():
        pictures = {name: [found[key] for d in DATASETS if (key := f"{name} on {d}") in found] for name in members}
        if any(pictures.values()):
            yield f"## {FAMILIES.get(family, family.capitalize())}"
            figures = [figure(shown) for name in members for shown in pictures[name]]
            yield '<div class="gallery" markdown>\n\n' + "\n\n".join(figures) + "\n\n</div>"
    if MISSING:
        yield "## Without a picture"
        yield table(["Model", "Why"], [[f"`{name}`", why] for name, why in MISSING.items()])


def figure(shown: Shown) -> str:
    """One picture with its caption."""
    made = [shown.budget.replace("s", " s"), *([f"{shown.steps:,} steps"] if shown.steps else [])]
    made += [f"`{shown.sampler}`"] if shown.sampler != "direct" else []
    return "\n".join([
        '<figure markdown="block">',
        f"![Samples of {shown.name}]({shown.file})",
        '<figcaption markdown="span">',
        f"[{shown.model}](reference/models.md#{shown.model}), {shown.dataset}<br>{', '.join(made)}",
        "</figcaption>",
        "</figure>",
    ])  # fmt: skip


def main() -> None:
    """Read the command line and make the pictures."""
    parser = argparse.ArgumentParser(description="Train built-in models and write the pictures of the gallery.")
    parser.add_argument("--models", default="", help="names, separated by commas; by default all built-in models")
    parser.add_argument("--runs", type=Path, help="a folder for the runs, which a second call continues")
    asked = parser.parse_args()
    chosen = {name for name in asked.models.split(",") if name}
    if unknown := chosen - set(models()):
        parser.error(f"there is no built-in model named {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as folder:
        make(chosen, asked.runs or Path(folder))


if __name__ == "__main__":
    main()
