"""From kernels to the network: what the sum of kernels measured alone misses, and what it takes to make up for it.

A kernel that runs again and again finds its weights in the cache of its core. In a network every other kernel's weights
have passed in between, so its own come from further away: the time is proportional to their bytes, by a bandwidth that
belongs to the device. Matrix products read theirs in one stream and wait less than convolutions do. Activations were
just written by the kernel before, and cost a little where they are too many for the cache:

    latency = scale × Σ kernels + a × convolutions' weights + b × other weights + c × activations

With the scale alone the error follows the ratio of weights to work, and so differs from family to family.
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

#: Networks from which anything is fitted: fewer, and one bad measurement decides.
FIT_MIN = 3
#: Networks from which weights get a term, one for all of them: with fewer it would fit the noise.
WEIGHTS_MIN = 6
#: Networks from which all four terms are fitted.
ALL_TERMS_MIN = 12
#: What moves through a network, in the order of the columns of ``bytes_moved``.
MOVED = ("convolution weights", "other weights", "activations")
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Composition:
    """The terms.

    Attributes:
        scale: milliseconds of network per millisecond of its kernels.
        ms_per_megabyte: milliseconds per 10⁶ bytes of each kind in ``MOVED``.
        networks: from how many it was fitted; 0 for the plain sum.
    """

    scale: float = 1.0
    ms_per_megabyte: tuple[float, float, float] = (0.0, 0.0, 0.0)
    networks: int = 0

    def compose(self, sums_ms: Floats, moved_bytes: Floats) -> Floats:
        """Latency in ms, shape (networks,).

        Args:
            sums_ms: of kernels, shape (networks,).
            moved_bytes: by kind, shape (networks, 3).
        """
        composed: Floats = self.scale * sums_ms + moved_bytes @ np.array(self.ms_per_megabyte) / _MEGABYTE
        return composed

    @property
    def bandwidths_gb_s(self) -> dict[str, float | None]:
        """The bandwidth that each term amounts to; None where there is no such term."""
        return {name: 1.0 / cost if cost else None for name, cost in zip(MOVED, self.ms_per_megabyte, strict=True)}


def fit_composition(sums_ms: Floats, moved_bytes: Floats, measured_ms: Floats) -> Composition:
    """Least squares of the relative error, with all terms at or above 0 (Lawson & Hanson, 1974, ch. 23).

    Args:
        sums_ms, measured_ms: per network, shape (networks,).
        moved_bytes: shape (networks, 3).

    Raises:
        UsageError: fewer than ``FIT_MIN`` networks.
    """
    count = len(measured_ms)
    if count < FIT_MIN:
        raise UsageError(f"a correction is fitted on at least {FIT_MIN} networks; there are {count}")
    if count < WEIGHTS_MIN:
        return Composition(float(np.median(measured_ms / sums_ms)), networks=count)
    megabytes = moved_bytes / _MEGABYTE
    if count < ALL_TERMS_MIN:
        terms = np.stack([sums_ms, megabytes[:, 0] + megabytes[:, 1]], axis=1)
        (scale, weights), _ = nnls(terms / measured_ms[:, None], np.ones(count))
        return Composition(float(scale), (float(weights), float(weights), 0.0), count)
    terms = np.concatenate([sums_ms[:, None], megabytes], axis=1)
    (scale, convolutions, others, activations), _ = nnls(terms / measured_ms[:, None], np.ones(count))
    return Composition(float(scale), (float(convolutions), float(others), float(activations)), count)


def held_out(
    sums_ms: Floats, moved_bytes: Floats, measured_ms: Floats, kin: Sequence[int] | None = None
) -> Floats | None:
    """What each network is composed to by a fit on all others, shape (networks,); None with too few to hold one out.

    Args:
        kin: per network, which family it is of. Families are held out together, since ways through one model share most
            of their kernels and would tell of each other. None: each is a family of its own.
    """
    count = len(measured_ms)
    families = np.arange(count) if kin is None else np.asarray(kin, np.int64)
    if count <= FIT_MIN or any(np.count_nonzero(families != one) < FIT_MIN for one in families):
        return None
    found = np.empty(count)
    for place in range(count):
        others = families != families[place]
        fitted = fit_composition(sums_ms[others], moved_bytes[others], measured_ms[others])
        found[place] = fitted.compose(sums_ms[place : place + 1], moved_bytes[place : place + 1])[0]
    return found


#: Kernels that read as much of a table as they write, however large the table is.
_LOOKUPS = frozenset({"Gather", "GatherElements", "GatherND", "EmbedLayerNormalization"})


def bytes_moved(kernels: Sequence[Kernel]) -> tuple[int, int, int]:
    """Bytes of each kind in ``MOVED`` that a run through these kernels reads or writes.

    A weight that two kernels read counts twice; activations count where they are written and where they are read, as
    far as their shapes are known.
    """
    convolutions = sum(_bytes_read(kernel) for kernel in kernels if "Conv" in kernel.op)
    others = sum(_bytes_read(kernel) for kernel in kernels if "Conv" not in kernel.op)
    activations = sum(
        math.prod(shape) * np.dtype(kernel.dtype).itemsize
        for kernel in kernels
        for shape in (*kernel.inputs, *kernel.outputs)
        if shape is not None
    )
    return convolutions, others, activations


def weight_bytes(kernels: Sequence[Kernel]) -> int:
    """Bytes of the constant operands that a run through these kernels reads."""
    convolutions, others, _ = bytes_moved(kernels)
    return convolutions + others


def _bytes_read(kernel: Kernel) -> int:
    """Of a table only what is looked up; all of it where the runtime does not tell how much that is."""
    shapes = kernel.weights
    if None not in kernel.outputs and kernel.op.rpartition(".")[2] in _LOOKUPS:
        written = sum(math.prod(shape) for shape in kernel.outputs if shape is not None)
        return min(written, sum(map(math.prod, shapes))) * np.dtype(kernel.dtype).itemsize
    return sum(map(math.prod, shapes)) * np.dtype(kernel.dtype).itemsize
