"""The heat equation on images, solved exactly by the discrete cosine transform. It gives a blur of any strength."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..networks.points import per_point


def dct_matrix(n: int) -> Tensor:
    """The orthonormal DCT-II as a matrix `(n, n)`, float64: row k is the cosine of frequency pi k / n."""
    k, i = torch.arange(n, dtype=torch.float64).unsqueeze(1), torch.arange(n, dtype=torch.float64)
    matrix = (math.pi * k * (i + 0.5) / n).cos() * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix


class HeatBlur(nn.Module):
    """The solution of the heat equation du/ds = laplacian(u) with insulated borders at the time s = sigma^2 / 2.

    It damps each cosine of frequency f by exp(-|f|^2 sigma^2 / 2) (Rissanen et al. 2023, section 2.1). Away from the
    borders it is a Gaussian blur of width `sigma` pixels. Images have shape `(n, channels, height, width)`. `sigma` is
    a scalar or has shape `(n,)`; sigma = 0 leaves an image unchanged.
    """

    rows: Tensor
    columns: Tensor
    squared_frequency: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", dct_matrix(height), persistent=False)
        self.register_buffer("columns", dct_matrix(width), persistent=False)
        down, across = (math.pi * torch.arange(n, dtype=torch.float64) / n for n in (height, width))
        self.register_buffer("squared_frequency", down.unsqueeze(1) ** 2 + across**2, persistent=False)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        rows, columns = self.rows.to(x), self.columns.to(x)
        damping = (-self.squared_frequency.to(x) * per_point(sigma, x) ** 2 / 2).exp()
        return rows.T @ (damping * (rows @ x @ columns.T)) @ columns
