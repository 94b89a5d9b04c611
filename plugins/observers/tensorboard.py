"""The observer for TensorBoard: a folder of event files for each cell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .cells import CellObserver, Reported, require


class TensorBoard(CellObserver):
    """Writes training curves, numbers and options of each cell into the folder `tensorboard` of the run directory."""

    name = "tensorboard"

    def __init__(self) -> None:
        require("tensorboard", "tensorboard")
        super().__init__()

    def report(self, path: Path, cells: Iterator[Reported]) -> list[Path]:
        """Write the event files."""
        from torch.utils.tensorboard import SummaryWriter

        home = path / "tensorboard"
        written = []
        for cell in cells:
            folder = home / cell.folder
            if folder.is_symlink() or home.is_symlink():
                raise OSError(f"{folder} is a link, which trilemma does not follow; remove it")
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()  # of an earlier run of this cell
            with SummaryWriter(str(folder)) as writer:  # type: ignore[no-untyped-call]
                writer.add_text("cell", f"{cell.label}: {cell.outcome}")  # type: ignore[no-untyped-call]
                for name, text in cell.parameters.items():
                    writer.add_text(name, text)  # type: ignore[no-untyped-call]
                for name, points in cell.curves.items():
                    for step, value in points:
                        writer.add_scalar(f"curves/{name}", value, step)  # type: ignore[no-untyped-call]
                for name, value in cell.numbers.items():
                    writer.add_scalar(f"numbers/{name}", value)  # type: ignore[no-untyped-call]
            written.append(folder)
        return written
