"""The base class of two-dimensional distributions whose entropy comes from quadrature."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property

import trilemma

from .quadrature import Box, Estimate, EstimatedEntropy, planar_entropy


class PlanarDistribution(EstimatedEntropy, trilemma.Distribution):
    """Base class of two-dimensional distributions with a density that is smooth on a known scale.

    A subclass gives `box` and `smoothness`.
    """

    @property
    @abstractmethod
    def box(self) -> Box:
        """A rectangle outside which the density is negligible."""

    @property
    @abstractmethod
    def smoothness(self) -> float:
        """The length over which the density changes, which is the standard deviation of its narrowest part."""

    @cached_property
    def entropy_estimate(self) -> Estimate:
        return planar_entropy(self.log_prob, self.box, self.smoothness / 3)
