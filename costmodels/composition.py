"""From kernels to the network: what the sum of kernels measured alone misses, and what it takes to make up for it.

A kernel that runs again and again finds its operands in the cache of its core. In a network all other kernels' weights
have passed in between, so that its own come from further away, unless those of the whole network fit that cache; as far
as they do not fit it, they came from there when it ran alone, too. Its
activations were just written by the kernel before, and come from further away where they are too many for the cache:

    latency = scale × Σ kernels + a × weights beyond the cache + b × activations beyond the cache (+ c × kernels)

The last term is asked for where many networks are compared: each kernel begins with code and data that the one before
it has pushed aside, 0.1 to 0.2 µs of it, which is a tenth of a network of 30 kernels and 50 µs.

With the scale alone the error follows the ratio of weights to work, and so differs from family to family.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from ..profiler.errors import UsageError
from ..profiler.kernels.graph import Kernel
from ..profiler.records import Json

Floats = npt.NDArray[np.float64]

#: Networks from which anything is fitted: fewer, and one bad measurement decides.
FIT_MIN = 3
#: Networks from which weights get a term: with fewer it would fit the noise.
WEIGHTS_MIN = 6
#: Networks from which all three terms are fitted.
ALL_TERMS_MIN = 12
#: What comes from beyond the cache of a core, in the order of the columns of ``bytes_moved``.
MOVED = ("weights", "activations")
#: A core's own cache where the machine does not tell: that of the server cores the correction was found on.
CORE_CACHE_BYTES = 1 << 20
#: Weights count from this many caches on: a cache that is read through in turn loses its hits gradually. On 60 networks
#: of five families 1 to 4 differ by 0.3 points of error.
_WEIGHT_CACHES = 2.0
#: A kernel's activations count from this share of the cache on: they have to share it with its weights.
_ACTIVATION_CACHES = 0.5
_MEGABYTE = 1e6
#: Relative errors up to this are the business of any fit; a network beyond it may have been disturbed.
_USUAL_ERROR = 0.05
_REWEIGHTINGS = 10


@dataclass(frozen=True)
class Composition:
    """The terms.

    Attributes:
        scale: milliseconds of network per millisecond of its kernels.
        ms_per_megabyte: milliseconds per 10⁶ bytes beyond the cache, of each kind in ``MOVED``.
        networks: from how many it was fitted; 0 for the plain sum.
        ms_per_kernel: milliseconds of each kernel beyond what it takes alone; None where that was not fitted.
    """

    scale: float = 1.0
    ms_per_megabyte: tuple[float, float] = (0.0, 0.0)
    networks: int = 0
    ms_per_kernel: float | None = None

    def compose(self, sums_ms: Floats, moved_bytes: Floats, kernels: Floats | None = None) -> Floats:
        """Latency in ms, shape (networks,).

        Args:
            sums_ms: of kernels, shape (networks,).
            moved_bytes: by kind, shape (networks, 2), from ``bytes_moved``.
            kernels: how many each has, shape (networks,); None leaves their term out.
        """
        composed: Floats = self.scale * sums_ms + moved_bytes @ np.array(self.ms_per_megabyte) / _MEGABYTE
        return composed if kernels is None or self.ms_per_kernel is None else composed + self.ms_per_kernel * kernels

    def terms(self) -> str:
        """For people: ``1.027 × Σ kernels + weights at 33 GB/s``, of what does not fit the cache."""
        told = [f"{name} beyond the cache at {speed:.0f} GB/s" for name, speed in self.bandwidths_gb_s.items() if speed]
        told += [f"{self.ms_per_kernel * 1e3:.2f} µs for each kernel"] if self.ms_per_kernel else []
        return " + ".join([f"{self.scale:.3f} × Σ kernels", *told])

    @property
    def bandwidths_gb_s(self) -> dict[str, float | None]:
        """The bandwidth that each term amounts to; None where there is no such term."""
        return {name: 1.0 / cost if cost else None for name, cost in zip(MOVED, self.ms_per_megabyte, strict=True)}


def composition_document(composition: Composition | None) -> dict[str, Json] | None:
    """As JSON: the terms, and the bandwidths they amount to."""
    if composition is None:
        return None
    return {**asdict(composition), "bandwidths_gb_s": dict(composition.bandwidths_gb_s)}


def fit_composition(
    sums_ms: Floats, moved_bytes: Floats, measured_ms: Floats, kernels: Floats | None = None
) -> Composition:
    """Least squares of the relative error, with all terms at or above 0 (Lawson & Hanson, 1974, ch. 23).

    One network that was disturbed hardly moves it: with few the scale is a median, else large errors count for less.

    Args:
        sums_ms, measured_ms: per network, shape (networks,).
        moved_bytes: shape (networks, 2).
        kernels: how many each has, shape (networks,); None fits no term for them.

    Raises:
        UsageError: fewer than ``FIT_MIN`` networks.
    """
    count = len(measured_ms)
    if count < FIT_MIN:
        raise UsageError(f"a correction is fitted on at least {FIT_MIN} networks; there are {count}")
    if count < WEIGHTS_MIN:
        return Composition(float(np.median(measured_ms / sums_ms)), networks=count)
    used = 1 if count < ALL_TERMS_MIN else 2
    terms = np.concatenate([sums_ms[:, None], moved_bytes[:, :used] / _MEGABYTE], axis=1)
    if kernels is None or count < ALL_TERMS_MIN:
        scale, weights, activations = [*robust_costs(terms / measured_ms[:, None]).tolist(), 0.0][:3]
        return Composition(scale, (weights, activations), count)
    terms = np.column_stack([terms, kernels])
    scale, weights, activations, each = robust_costs(terms / measured_ms[:, None]).tolist()
    return Composition(scale, (weights, activations), count, each)


def robust_costs(terms: Floats) -> Floats:
    """Costs ≥ 0 whose sums come closest to 1; rows far off count for less (Huber, Robust Statistics, 1981, §7.8)."""
    from scipy.optimize import nnls  # half a second, which pricing goes without

    weights = np.ones(len(terms))
    for _ in range(_REWEIGHTINGS):
        costs, _ = nnls(terms * weights[:, None], weights)
        errors = np.abs(terms @ costs - 1)
        usual = max(_USUAL_ERROR, 2 * float(np.median(errors)))
        weights = np.sqrt(np.minimum(1.0, usual / np.maximum(errors, usual)))
    found: Floats = costs
    return found


def held_out(
    sums_ms: Floats,
    moved_bytes: Floats,
    measured_ms: Floats,
    kin: Sequence[int] | None = None,
    kernels: Floats | None = None,
) -> Floats | None:
    """What each network is composed to by a fit on all others, shape (networks,); None with too few to hold one out.

    Args:
        kin: per network, which family it is of. Families are held out together, since ways through one model share most
            of their kernels and would tell of each other. None: each is a family of its own.
        kernels: as for ``fit_composition``.
    """
    count = len(measured_ms)
    families = np.arange(count) if kin is None else np.asarray(kin, np.int64)
    if count <= FIT_MIN or any(np.count_nonzero(families != one) < FIT_MIN for one in families):
        return None
    found = np.empty(count)
    for place in range(count):
        others = families != families[place]
        counts = None if kernels is None else kernels[others]
        fitted = fit_composition(sums_ms[others], moved_bytes[others], measured_ms[others], counts)
        own = slice(place, place + 1)
        found[place] = fitted.compose(sums_ms[own], moved_bytes[own], None if kernels is None else kernels[own])[0]
    return found


#: Kernels that read as much of a table as they write, however large the table is.
_LOOKUPS = frozenset({"Gather", "GatherElements", "GatherND", "EmbedLayerNormalization"})


def bytes_moved(kernels: Sequence[Kernel], core_cache_bytes: int | None = None) -> Floats:
    """Bytes of each kind in ``MOVED`` that a run through these kernels fetches from beyond a core's cache, shape (2,).

    Arguments and rules as for ``bytes_moved_by_kernel``.
    """
    total: Floats = bytes_moved_by_kernel(kernels, core_cache_bytes).sum(axis=0)
    return total


def bytes_moved_by_kernel(kernels: Sequence[Kernel], core_cache_bytes: int | None = None) -> Floats:
    """The same kernel by kernel, shape (kernels, 2): of the weights each has its share of what the cache does not hold.

    A kernel's weights count up to one cache: what is more was not in it when the kernel ran alone either, and is in its
    own time.

    A weight that two kernels read counts twice; activations count where they are written and where they are read, as
    far as their shapes are known.

    Args:
        core_cache_bytes: None for ``CORE_CACHE_BYTES``.
    """
    own = own_bytes(kernels, core_cache_bytes)
    moved: Floats = own[:, 1:] * [float(share_beyond(own[:, 0].sum(), core_cache_bytes)), 1.0]
    return moved


def own_bytes(kernels: Sequence[Kernel], core_cache_bytes: int | None = None) -> Floats:
    """What each kernel brings whatever network it is in, shape (kernels, 3): its weights, those up to one cache, and
    its activations beyond the cache. Of the second a share counts, the same for all of a network (``share_beyond``)."""
    cache = core_cache_bytes or CORE_CACHE_BYTES
    weights = np.array([_bytes_read(kernel) for kernel in kernels], np.float64)
    activations = np.array([_activation_bytes(kernel) for kernel in kernels], np.float64)
    beyond = np.maximum(0.0, activations - _ACTIVATION_CACHES * cache)
    return np.stack([weights, np.minimum(weights, cache), beyond], axis=1)


def share_beyond(weights_bytes: npt.ArrayLike, core_cache_bytes: int | None = None) -> Floats:
    """Share of the weights of a network that its cache does not hold; of each network, where there are several."""
    weights, cache = np.asarray(weights_bytes, np.float64), core_cache_bytes or CORE_CACHE_BYTES
    share: Floats = np.maximum(0.0, weights - _WEIGHT_CACHES * cache) / np.maximum(1.0, weights)
    return share


def weight_bytes(kernels: Sequence[Kernel]) -> int:
    """Bytes of the constant operands that a run through these kernels reads."""
    return sum(_bytes_read(kernel) for kernel in kernels)


def _activation_bytes(kernel: Kernel) -> int:
    shapes = [shape for shape in (*kernel.inputs, *kernel.outputs) if shape is not None]
    return sum(map(math.prod, shapes)) * np.dtype(kernel.dtype).itemsize


def _bytes_read(kernel: Kernel) -> int:
    """Of a table only what is looked up; all of it where the runtime does not tell how much that is."""
    shapes = kernel.weights
    if None not in kernel.outputs and kernel.op.rpartition(".")[2] in _LOOKUPS:
        written = sum(math.prod(shape) for shape in kernel.outputs if shape is not None)
        return min(written, sum(map(math.prod, shapes))) * np.dtype(kernel.dtype).itemsize
    return sum(map(math.prod, shapes)) * np.dtype(kernel.dtype).itemsize
