"""The commands `trilemma data list|fetch|verify|path`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trilemma import DataError

if TYPE_CHECKING:
    from .download import RemoteFile


def remote_files() -> dict[str, list[RemoteFile]]:
    """The files of each downloadable dataset by its name. The import is late, because datasets load torch."""
    from . import downloadable

    return downloadable.remote_files()


def _chosen(names: tuple[str, ...]) -> dict[str, list[RemoteFile]]:
    known = remote_files()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)} cannot be downloaded; known: {', '.join(known)}")
    return {name: known[name] for name in names}


@click.group(
    epilog="""\b
Examples:
  trilemma data list
  trilemma data fetch mnist power
  trilemma data verify
  trilemma data path mnist
"""
)
def data() -> None:
    """List, fetch and verify datasets from the network."""


@data.command("list")
def list_() -> None:
    """List the downloadable datasets, and whether their files are in the cache."""
    for name, files in remote_files().items():
        there = sum(file.path().is_file() for file in files)
        click.echo(f"{name:<20} {there} of {len(files)} files in the cache")


@data.command("fetch")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--timeout", default=30.0, show_default=True, help="Seconds without data after which a transfer is tried again."
)
def fetch_(names: tuple[str, ...], timeout: float) -> None:
    """Download the files of the named datasets into the cache."""
    from .download import fetch

    for name, files in _chosen(names).items():
        for file in files:
            click.echo(f"{name}: {file.urls[0]}")
            try:
                click.echo(f"{name}: {fetch(file, timeout)}")
            except DataError as error:
                raise click.ClickException(str(error)) from error


@data.command()
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Check the files in the cache against their checksums. The command fails if one is damaged."""
    from .download import is_intact

    damaged = 0
    for name, files in (_chosen(names) if names else remote_files()).items():
        for file in files:
            if file.path().is_file():
                intact = is_intact(file)
                damaged += not intact
                click.echo(f"{name}: {file.path()}: {'ok' if intact else 'DAMAGED: fetch it again'}")
            elif names:
                click.echo(f"{name}: {file.path()}: not there")
    if damaged:
        raise click.ClickException(f"{damaged} damaged files: fetch them again with `trilemma data fetch NAME`")


@data.command()
@click.argument("name", required=False)
def path(name: str | None) -> None:
    """Print the folder of downloaded data, or the paths of the files of one dataset."""
    from .download import cache_folder

    if name is None:
        click.echo(cache_folder())
        return
    for file in _chosen((name,))[name]:
        click.echo(file.path())
