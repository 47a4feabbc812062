"""The devices that are known already: each a predictor trained on its own samples, as a surface over the whole space.

A source is LightGBM at heart (``space_model.py``: a table, and trees on its honest residual). What a new device borrows
is what each source *predicts* for every architecture: no two devices need to have measured the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...profiler.errors import UsageError
from .bayes_lut import check_samples
from .encoding import Encoding

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: A relative surface is never below this share of its median: networks that cost nothing would be divided by.
LEAST = 0.05


@dataclass(frozen=True, eq=False)
class Source:
    """One known device.

    Attributes:
        rows: shape (samples,), the architectures it measured.
        latency_ms: shape (samples,), what it measured.
        surface_ms: shape (architectures,), what its own predictor gives for every architecture.
    """

    name: str
    rows: Ints
    latency_ms: Floats
    surface_ms: Floats


@dataclass(frozen=True, eq=False)
class Fleet:
    """The known devices of one space; there may be none.

    Raises:
        UsageError: a surface that does not fit the space, or two sources of one name.
    """

    encoding: Encoding
    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        names = self.names
        if len(set(names)) != len(names):
            raise UsageError(f"two sources have one name: {', '.join(sorted(names))}")
        for source in self.sources:
            if source.surface_ms.shape != (self.encoding.size,) or not np.all(np.isfinite(source.surface_ms)):
                raise UsageError(f"the surface of {source.name} does not give every architecture a latency")
            check_samples(source.rows, source.latency_ms, self.encoding.size)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(source.name for source in self.sources)

    @property
    def typical(self) -> Bools:
        """Mask of the architectures that are networks: something of their input reaches the output."""
        return ~self.encoding.degenerate

    def relative(self) -> Floats:
        """Surfaces in units of their own medians, shape (architectures, sources)."""
        if not self.sources:
            return np.zeros((self.encoding.size, 0))
        surfaces = np.column_stack([source.surface_ms for source in self.sources])
        return np.maximum(surfaces / np.median(surfaces[self.typical], axis=0), LEAST)

    def without(self, name: str) -> Fleet:
        """The fleet as it would be if this device were unknown."""
        return Fleet(self.encoding, tuple(source for source in self.sources if source.name != name))


def train_source(name: str, encoding: Encoding, rows: npt.ArrayLike, latency_ms: npt.ArrayLike) -> Source:
    """Train a device's own predictor and ask it for every architecture.

    Degenerate architectures are measured for the predictor, which knows how to treat them, but are not among the
    source's samples: a network that costs nothing tells nothing about the costs of operators.

    Args:
        rows: shape (samples,), some hundred architectures that the device measured.
        latency_ms: shape (samples,), positive.

    Raises:
        UsageError: samples that are none, or too few for a predictor of one device.
    """
    from .space_model import SpaceModel  # LightGBM costs a cold start a second, and not every caller trains

    chosen, measured = check_samples(rows, latency_ms, encoding.size)
    surface_ms = SpaceModel().fit(encoding.take(chosen), measured).predict(encoding)
    kept = ~encoding.degenerate[chosen]
    return Source(name, chosen[kept], measured[kept], np.maximum(surface_ms, 0.0))


def train_fleet(encoding: Encoding, devices: Sequence[tuple[str, npt.ArrayLike, npt.ArrayLike]]) -> Fleet:
    """``train_source`` for each (name, rows, latency_ms)."""
    return Fleet(encoding, tuple(train_source(name, encoding, rows, values) for name, rows, values in devices))
