"""What a Bayesian table believes before its first sample: a mean, groups of columns, and variances to sum over.

Knows no device and no measurement (``branches.py`` builds designs from a fleet, ``bayes_lut.py`` fits them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: Relative noise: from a simulator, which has none, to a phone that counts whole milliseconds.
NOISE_LEVELS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)


@dataclass(frozen=True, eq=False)
class Group:
    """Columns that share one prior variance.

    Attributes:
        values: shape (architectures, columns), in units of the design's noise surface, and scaled by ``scaled_group``
            so that a standard deviation of s moves an average architecture by s.
        deviations: the standard deviations that the lattice tries; 0 leaves the group out.
        unit: what one unit of the original columns became: ``values = original * unit / noise``.
    """

    name: str
    columns: tuple[str, ...]
    values: Floats
    deviations: tuple[float, ...]
    unit: float


@dataclass(frozen=True, eq=False)
class Design:
    """Prior beliefs for every architecture of the space, in units of a scale that the samples will give.

    Attributes:
        mean: shape (architectures,), prior mean.
        noise: shape (architectures,), positive: the surface that noise is relative to.
        groups: at least one.
    """

    mean: Floats
    noise: Floats
    groups: tuple[Group, ...]

    def matrix(self) -> Floats:
        """All columns side by side, shape (architectures, columns), in units of ``noise``."""
        return np.hstack([group.values for group in self.groups])

    def dot(self, costs: Floats) -> Floats:
        """``matrix() @ costs`` without making the matrix, shape (architectures,)."""
        ends = np.cumsum([group.values.shape[1] for group in self.groups])[:-1]
        parts = [group.values @ part for group, part in zip(self.groups, np.split(costs, ends), strict=True)]
        return np.asarray(sum(parts), dtype=np.float64)

    def scale_ms(self, rows: Ints, latency_ms: Floats) -> float:
        """Milliseconds per unit: the median over the samples, so that one bad sample does not move it."""
        return float(np.median(latency_ms / self.noise[rows]))


@dataclass(frozen=True, eq=False)
class Lattice:
    """Variances to sum over, and what is believed of them.

    Attributes:
        variances: shape (points, groups).
        noise_variances: shape (levels,).
        log_prior: shape (points, levels); the exponentials sum to one.
    """

    variances: Floats
    noise_variances: Floats
    log_prior: Floats

    def probable(self, least: float) -> Lattice:
        """Without the points whose prior is below this times the best one's."""
        best = self.log_prior.max(axis=1)
        return self.where(best >= best.max() + np.log(least))

    def where(self, kept: Bools) -> Lattice:
        """Only these points, with all their noise levels."""
        return Lattice(self.variances[kept], self.noise_variances, self.log_prior[kept])


@dataclass(frozen=True, eq=False)
class Branch:
    """One hypothesis: a design, its lattice, and the log of what is believed of it before the first sample."""

    name: str
    design: Design
    lattice: Lattice
    log_prior: float


def scaled_group(
    name: str, columns: Sequence[str], original: Floats, noise: Floats, deviations: Sequence[float], typical: Bools
) -> Group:
    """A group whose columns together move an average typical architecture by one deviation.

    Args:
        original: shape (architectures, columns), in units of the design.
        noise: shape (architectures,), the design's noise surface.
        typical: mask of the architectures over which the average is taken, shape (architectures,).
    """
    relative = original / noise[:, None]
    size = float(np.sqrt(np.mean(np.sum(relative[typical] ** 2, axis=1)))) if original.shape[1] else 0.0
    unit = 1.0 / size if size > 0 else 0.0
    return Group(name, tuple(columns), relative * unit, tuple(deviations), unit)


def lattice_of(design: Design, noise_levels: Sequence[float] = NOISE_LEVELS) -> Lattice:
    """Every combination of the groups' deviations and the noise levels, all equally likely.

    A group without columns, or whose columns vanish everywhere, has one point only.
    """
    choices = [group.deviations if np.any(group.values) else (0.0,) for group in design.groups]
    variances = np.array(list(product(*choices)), dtype=np.float64).reshape(-1, len(choices)) ** 2
    levels = np.asarray(noise_levels, dtype=np.float64) ** 2
    shape = (len(variances), len(levels))
    return Lattice(variances, levels, np.full(shape, -np.log(shape[0] * shape[1])))
