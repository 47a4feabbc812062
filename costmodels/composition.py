"""From kernels to the network: what the sum of kernels measured alone misses, and what it takes to make up for it.

A kernel that runs again and again finds its weights in the cache of its core. In a network every other kernel's weights
have passed in between, so its own come from further away; its activations are as warm as when it runs alone, since the
kernel before has just written them. The time that this costs is proportional to the bytes of weights, by a bandwidth
that belongs to the device, not to the network:

    latency = scale × Σ kernels + cost × weights

With one term, the scale, the error follows the ratio of weights to work, and so differs from family to family.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from ..profiler.errors import UsageError
from ..profiler.kernels.graph import Kernel

Floats = npt.NDArray[np.float64]

#: Networks from which both terms are fitted; from fewer the scale alone is, since two terms would fit the noise.
BOTH_TERMS_MIN = 6
#: Networks from which anything is fitted: fewer, and one bad measurement decides.
FIT_MIN = 3
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Composition:
    """The two terms.

    Attributes:
        scale: milliseconds of network per millisecond of its kernels.
        ms_per_megabyte: milliseconds per 10⁶ bytes of weights.
        networks: from how many it was fitted; 0 for the plain sum.
    """

    scale: float = 1.0
    ms_per_megabyte: float = 0.0
    networks: int = 0

    def compose(self, sums_ms: Floats, weight_bytes: Floats) -> Floats:
        """Latency in ms, shape (networks,)."""
        composed: Floats = self.scale * sums_ms + self.ms_per_megabyte * weight_bytes / _MEGABYTE
        return composed

    @property
    def weight_bandwidth_gb_s(self) -> float | None:
        """The bandwidth that the second term amounts to; None when there is none."""
        return 1.0 / self.ms_per_megabyte if self.ms_per_megabyte else None


def fit_composition(sums_ms: Floats, weight_bytes: Floats, measured_ms: Floats) -> Composition:
    """Least squares of the relative error, with both terms at or above 0 (Lawson & Hanson, 1974, ch. 23).

    Args:
        sums_ms, weight_bytes, measured_ms: per network, shape (networks,).

    Raises:
        UsageError: fewer than ``FIT_MIN`` networks.
    """
    count = len(measured_ms)
    if count < FIT_MIN:
        raise UsageError(f"a correction is fitted on at least {FIT_MIN} networks; there are {count}")
    if count < BOTH_TERMS_MIN:
        return Composition(float(np.median(measured_ms / sums_ms)), 0.0, count)
    terms = np.stack([sums_ms, weight_bytes / _MEGABYTE], axis=1) / measured_ms[:, None]
    (scale, ms_per_megabyte), _ = nnls(terms, np.ones(count))
    return Composition(float(scale), float(ms_per_megabyte), count)


def held_out(sums_ms: Floats, weight_bytes: Floats, measured_ms: Floats) -> Floats | None:
    """What each network is composed to by a fit on all others, shape (networks,); None with too few to hold one out."""
    count = len(measured_ms)
    if count <= FIT_MIN:
        return None
    found = np.empty(count)
    for place in range(count):
        others = np.arange(count) != place
        fitted = fit_composition(sums_ms[others], weight_bytes[others], measured_ms[others])
        found[place] = fitted.compose(sums_ms[place : place + 1], weight_bytes[place : place + 1])[0]
    return found


#: Kernels that read as much of a table as they write, however large the table is.
_LOOKUPS = frozenset({"Gather", "GatherElements", "GatherND", "EmbedLayerNormalization"})


def weight_bytes(kernels: Sequence[Kernel]) -> int:
    """Bytes of the constant operands that a run through these kernels reads; one that two kernels read counts twice."""
    return sum(_bytes_read(kernel) for kernel in kernels)


def _bytes_read(kernel: Kernel) -> int:
    shapes = kernel.weights
    if kernel.op.rpartition(".")[2] in _LOOKUPS:
        written = sum(math.prod(shape) for shape in kernel.outputs if shape is not None)
        return min(written, sum(map(math.prod, shapes))) * np.dtype(kernel.dtype).itemsize
    return sum(map(math.prod, shapes)) * np.dtype(kernel.dtype).itemsize
