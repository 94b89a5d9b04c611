"""The gallery has a picture of every model, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from trilemma.harness.plugins import Registry

ROOT = Path(__file__).parents[2]
HINT = "run `python docs/_gallery.py --models NAME`, or give the reason in MISSING of docs/_gallery.py"


def test_every_model_has_its_pictures_or_a_reason(docs_module: Callable[[str], ModuleType]) -> None:
    gallery = docs_module("_gallery")
    classes = Registry(builtin_only=True).classes("models")
    # Vectors are trained on both datasets, because images are flattened for them. Networks for images see images only.
    wanted = {f"{name} on ring8" for name, cls in classes.items() if "vector" in cls.accepts}
    wanted |= {f"{name} on digits" for name in classes}
    found = gallery.stored()
    assert not wanted - set(found) - set(gallery.MISSING), HINT
    assert not set(found) - wanted, "pictures of models that are gone: remove them from gallery.json"
    assert not set(gallery.MISSING) - wanted
    assert not set(gallery.MISSING) & set(found)
    for shown in found.values():
        assert (ROOT / "docs" / shown.file).read_bytes()[8:12] == b"WEBP"


def test_pictures_are_small_and_all_of_them_are_shown(docs_module: Callable[[str], ModuleType]) -> None:
    gallery = docs_module("_gallery")
    files = {path.relative_to(ROOT / "docs").as_posix() for path in gallery.FOLDER.rglob("*.webp")}
    assert files == {shown.file for shown in gallery.stored().values()}
    assert sum((ROOT / "docs" / file).stat().st_size for file in files) < 1_500_000
    page = gallery.fill((ROOT / "docs" / "gallery.md").read_text(encoding="utf-8"))
    assert all(f"]({file})" in page for file in files)
    assert all(f"`{key}`" in page and why in page for key, why in gallery.MISSING.items())
