"""Libraries that a plugin needs and that are not installed: which they are, and how to install them."""

from __future__ import annotations

import re
import shlex
from importlib import metadata
from importlib.util import find_spec

NAMES = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "ot": "POT",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""The distributions of common modules whose name is another one."""


def missing_library(error: BaseException) -> str:
    """The top-level package that an import did not find, if the error is one of an import; else ""."""
    name = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return name if name and not is_installed(name) else ""


def is_installed(package: str) -> bool:
    """Whether a top-level package can be imported."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def need_of(library: str, distribution: str) -> str:
    """What to say of a library that a plugin of a distribution needs: that it is missing, and how to install it."""
    command = shlex.join(["pip", "install", _requirement(library, distribution)])
    return f"needs the library '{library}', which is not installed; install it with: {command}"


def _requirement(library: str, distribution: str) -> str:
    """The requirement of a distribution that brings a library, as it declares it, such as `nflows>=0.14`."""
    wanted = NAMES.get(library, library)
    try:
        declared = metadata.requires(distribution) or []
    except (metadata.PackageNotFoundError, ValueError):  # it is a file
        declared = []
    for line in declared:
        requirement = line.partition(";")[0].replace(" ", "")
        if _normal(re.split(r"[^A-Za-z0-9._-]", requirement)[0]) == _normal(wanted):
            return requirement
    return wanted


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
