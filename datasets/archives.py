"""Single members of downloaded archives, extracted once into the cache."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from trilemma import DataError

from .download import RemoteFile, cached


def extracted(archive: RemoteFile, members: tuple[str, ...]) -> list[Path]:
    """The members as files beside the archive, which is read only where one of them is missing.

    Only regular members of exactly these names are written, to places derived from our own names. Raises DataError.
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
            raise DataError(f"{path}: cannot be unpacked ({error})") from error
        if missing:
            raise DataError(f"{path} holds no {', '.join(missing)}")
    return targets


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, target: Path) -> None:
    """Write one member whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    source = tar.extractfile(info)
    if source is None:
        raise tarfile.ReadError(f"{info.name} is no file")
    with source, partial.open("wb") as file:
        shutil.copyfileobj(source, file)
    os.replace(partial, target)
