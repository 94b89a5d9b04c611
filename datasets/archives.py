"""Single members of downloaded archives, extracted once into the cache."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from trilemma import DataError

from .download import RemoteFile, cached


def extracted(archive: RemoteFile, members: tuple[str, ...]) -> list[Path]:
    """Extract members of an archive into a folder beside it, and return their paths.

    The archive is read only if a member is not extracted yet. Only regular files with exactly these names are written,
    at paths that come from `members` and not from the archive. Raises DataError.
    """
    folder = archive.path().parent / "extracted"
    targets = [folder / member for member in members]
    if not all(target.is_file() for target in targets):
        path = cached(archive)
        missing = {member: target for member, target in zip(members, targets, strict=True) if not target.is_file()}
        try:
            with tarfile.open(path) as tar:
                for info in tar:
                    name = info.name.removeprefix("./")
                    if name in missing and info.isfile():
                        _write(tar, info, missing.pop(name))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{path}: the archive cannot be unpacked ({error}): fetch it again") from error
        if missing:
            raise DataError(f"{path}: the archive holds no {', '.join(missing)}: fetch it again")
    return targets


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, target: Path) -> None:
    """Write one member completely or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    source = tar.extractfile(info)
    if source is None:
        raise tarfile.ReadError(f"{info.name} is not a file")
    with source, partial.open("wb") as file:
        shutil.copyfileobj(source, file)
    os.replace(partial, target)
