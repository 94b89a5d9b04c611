"""Reading a folder of images of any size into one array."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trilemma import DataError, printable

from .bounded import MOST_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MOST_PIXELS = 50_000_000
"""The most pixels of an image: a small file can claim to hold many more, and would fill the memory."""

_LARGEST, _REDUCED = 64, 32  # pixels: images that are larger, or of several sizes, are reduced
_MOST_UNREADABLE = 0.1  # of the files
_GRAY = ("1", "L", "LA", "La")


@dataclass(frozen=True)
class Images:
    """Images as intensity levels, (n, height, width) or with channels, and what was done to them."""

    values: NDArray[Any]
    remarks: tuple[str, ...] = ()


def image_files(folder: Path) -> list[Path]:
    """The image files under a folder, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())


def read_folder(folder: Path, size: int = 0) -> Images:
    """The images under a folder, in the order of their paths: (n, height, width), or (n, height, width, 3) if colored.

    Images are cropped to the middle square and reduced to `size` pixels. With `size` 0 they stay as they are if they
    are equal and small. Raises DataError if there are none, or if more than a tenth cannot be read.
    """
    shapes: Counter[tuple[int, int]] = Counter()
    gray, problems, good = True, {}, []
    for path in image_files(folder):
        try:
            with _opened(path) as image:
                shapes[image.size] += 1
                gray = gray and image.mode in _GRAY
            good.append(path)
        except Exception as error:  # damaged files raise errors of many kinds
            problems[path] = error
    if not good and not problems:
        raise DataError(f"{folder}: no images ({', '.join(ENDINGS)}) in this folder")
    whole = not size and len(shapes) == 1 and max(next(iter(shapes))) <= _LARGEST
    size = 0 if whole else size or _REDUCED
    if good and len(good) * (size or max(next(iter(shapes)))) ** 2 * 3 > MOST_BYTES:
        raise DataError(f"{folder}: {len(good):,} images of {size} x {size} pixels are too many: take fewer")
    found = []
    for path in good:
        try:
            with _opened(path) as image:
                found.append(_levels(image, "L" if gray else "RGB", size))
        except Exception as error:
            problems[path] = error
    if len(problems) > _MOST_UNREADABLE * (len(found) + len(problems)):
        raise DataError(f"{folder}: {_unreadable(problems)}")
    remarks = [] if whole else [_reduced(shapes, size)]
    if problems:
        remarks.append(f"left out: {_unreadable(problems)}")
    return Images(np.stack(found), tuple(remarks))


def _opened(path: Path) -> Image:
    """An image whose header is read. Raises ValueError for one that is too large, and other errors."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(path)
    width, height = image.size
    if width * height > MOST_PIXELS:
        image.close()
        raise ValueError(f"it claims {width:,} x {height:,} pixels; at most {MOST_PIXELS:,} are read")
    if image.mode.startswith(("I", "F")):
        image.close()
        raise ValueError("it has more than 8 bits in each channel: convert it to 8 bits")
    return image


def _levels(image: Image, mode: str, size: int) -> NDArray[np.uint8]:
    """The intensity levels of an image, upright, and as a square of `size` pixels unless this is 0."""
    from PIL import Image, ImageOps

    if size:
        image.draft(mode, (2 * size, 2 * size))  # large photographs are decoded at a fraction of their size
    upright = ImageOps.exif_transpose(image).convert(mode)
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BOX) if size else upright)


def _reduced(shapes: Counter[tuple[int, int]], size: int) -> str:
    least, most = min(shapes, key=lambda shape: shape[0] * shape[1]), max(shapes, key=lambda shape: shape[0] * shape[1])
    sizes = f"{least[0]} x {least[1]}" + (f" to {most[0]} x {most[1]}" if len(shapes) > 1 else "")
    return (
        f"images of {sizes} pixels were cropped to the middle square and reduced to {size} x {size}; the option 'size' "
        "sets another size"
    )


def _unreadable(problems: dict[Path, Exception]) -> str:
    path, error = next(iter(problems.items()))
    what = "1 file" if len(problems) == 1 else f"{len(problems):,} files"
    why = printable(str(error).strip() or type(error).__name__)
    return f"{what} cannot be read as images, such as {printable(path.name)} ({why})"
