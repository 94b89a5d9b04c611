"""Degeneracies of data: ties, atoms and directions without variance, with which a likelihood can grow without bound."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import Config

ATOM_SHARE = 1e-3  # a value in one coordinate of this share of the rows does not come from a continuous distribution
LEAST_EIGENVALUE = 1e-8  # of the correlation matrix; below it, a coordinate is a linear function of the others


class Degeneracy(Config):
    """The degeneracies of a training split: ties, atoms and directions without variance.

    - `tied_rows`: share of rows that occur more than once.
    - `largest_atom`: largest share of rows with the same value in one coordinate, which is `atom_coordinate`.
    - `constant_coordinates`: number of coordinates that are constant.
    - `least_eigenvalue`: smallest eigenvalue of the correlation matrix of the coordinates that are not constant.
    - `unbounded_because`: why a density model can reach any likelihood, by concentrating mass on an atom or a plane.
      It is empty if no model can, and for images, because they are dequantized.
    """

    tied_rows: float
    largest_atom: float
    atom_coordinate: int
    constant_coordinates: int
    least_eigenvalue: float
    unbounded_because: str = ""


def degeneracy(points: Tensor, levels: int | None) -> Degeneracy:
    """The degeneracy report of points `(n, *shape)` in data space."""
    flat = points.flatten(1)
    n = len(flat)
    _, counts = torch.unique(flat, dim=0, return_counts=True)
    ordered = flat.sort(0).values
    atoms = torch.tensor([int(torch.unique_consecutive(column, return_counts=True)[1].max()) for column in ordered.T])
    atom = int(atoms.argmax())
    varied = flat[:, ordered[0] != ordered[-1]].double()
    eigenvalue = 1.0
    if varied.shape[1] > 1:
        eigenvalue = float(torch.linalg.eigvalsh(torch.corrcoef(varied.T))[0])
    share = int(atoms[atom]) / n
    reason = ""
    if levels is None and share > ATOM_SHARE:
        reason = f"coordinate {atom} has one value in {share:.1%} of the rows"
    elif levels is None and eigenvalue < LEAST_EIGENVALUE:
        reason = f"some coordinates are linear functions of others (correlation eigenvalue {eigenvalue:.1e})"
    return Degeneracy(
        tied_rows=float(counts[counts > 1].sum()) / n,
        largest_atom=share,
        atom_coordinate=atom,
        constant_coordinates=flat.shape[1] - varied.shape[1],
        least_eigenvalue=max(eigenvalue, 0.0),
        unbounded_because=reason,
    )
