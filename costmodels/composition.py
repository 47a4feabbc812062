"""From kernels to the network: what the sum of kernels measured alone misses, and what it takes to make up for it.

A kernel that runs again and again finds its weights where they are nearest. In a network all other kernels' weights
have passed in between, so that its own come from further away, unless those of the whole network fit the caches: the
part of them that the machine's other users leave, which is fitted. Its activations were just written by the kernel
before, and come from further away where they are too many for the core's own cache:

    latency = scale × Σ kernels + a × weights beyond the caches + b × activations beyond the core's (+ c × kernels)

Weights of convolutions and others have a cost each: a convolution uses each weight for many pixels, and the next ones
arrive meanwhile; a product of few tokens waits for them.

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
from ..profiler.kernels.views import of_one_element
from ..profiler.records import Json
from .kernel_work import filter_of

Floats = npt.NDArray[np.float64]

#: Networks from which anything is fitted: fewer, and one bad measurement decides.
FIT_MIN = 3
#: Networks from which weights get a term: with fewer it would fit the noise.
WEIGHTS_MIN = 6
#: Networks from which all terms are fitted.
ALL_TERMS_MIN = 12
#: What comes from beyond the cache of a core, in the order of the columns of ``Composition.moved_bytes``.
MOVED = ("weights of convolutions", "other weights", "activations")
#: A core's own cache where the machine does not tell: that of the server cores the correction was found on.
CORE_CACHE_BYTES = 1 << 20
#: Sizes that are tried for what the caches hold of a network's weights, in megabytes. On a virtual machine with a
#: megabyte of its own and 32 shared ones it came out as 8 in one hour and 12 in another.
_CAPACITIES_MB = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
#: Errors beyond this count alike when a capacity is chosen.
_FAR_ERROR = 0.15
#: Where there was no such choice (predictors up to schema 3), the caches held this many times the core's.
OLDER_CACHES = 2.0
#: A kernel's activations count from this share of the cache on: they have to share it with its weights.
_ACTIVATION_CACHES = 0.5
_MEGABYTE = 1e6
#: Columns of ``own_bytes``.
OWN = ("weights", "first weights", "activations", "weights of convolutions")
_WEIGHTS, _FIRST_WEIGHTS, _ACTIVATIONS, _CONVOLUTIONS = range(len(OWN))
#: Relative errors up to this are the business of any fit; a network beyond it may have been disturbed.
_USUAL_ERROR = 0.05
_REWEIGHTINGS = 10
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Composition:
    """The terms.

    Attributes:
        scale: milliseconds of network per millisecond of its kernels.
        ms_per_megabyte: milliseconds per 10⁶ bytes beyond the cache, of each kind in ``MOVED``.
        networks: from how many it was fitted; 0 for the plain sum.
        ms_per_kernel: milliseconds of each kernel beyond what it takes alone; None where that was not fitted.
        cached_bytes: of a network's weights, what the caches hold.
        is_capped: of each kernel no more weights count than the core's cache holds (predictors up to schema 3).
    """

    scale: float = 1.0
    ms_per_megabyte: tuple[float, float, float] = (0.0, 0.0, 0.0)
    networks: int = 0
    ms_per_kernel: float | None = None

    cached_bytes: float = 0.0
    is_capped: bool = False

    def compose(
        self,
        sums_ms: Floats,
        own: Floats,
        kernels: Floats | None = None,
        weights_bytes: npt.ArrayLike | None = None,
    ) -> Floats:
        """Latency in ms, shape (networks,).

        Args:
            sums_ms: of kernels, shape (networks,).
            own: what each network brings, shape (networks, 4), from ``network_bytes``.
            kernels: how many each has, shape (networks,); None leaves their term out.
            weights_bytes: of the whole network, where a row is a part of one; broadcast to shape (networks,).
        """
        moved = self.moved_bytes(own, weights_bytes)
        composed: Floats = self.scale * sums_ms + moved @ np.array(self.ms_per_megabyte) / _MEGABYTE
        return composed if kernels is None or self.ms_per_kernel is None else composed + self.ms_per_kernel * kernels

    def moved_bytes(self, own: Floats, weights_bytes: npt.ArrayLike | None = None) -> Floats:
        """Bytes of each kind in ``MOVED`` that come from beyond the caches, shape (networks, 3); see ``compose``."""
        weights = own[:, _WEIGHTS] if weights_bytes is None else np.asarray(weights_bytes, np.float64)
        share = np.maximum(0.0, weights - self.cached_bytes) / np.maximum(1.0, weights)
        if self.is_capped:
            return np.stack([own[:, _FIRST_WEIGHTS] * share, 0.0 * share, own[:, _ACTIVATIONS]], axis=1)
        others = own[:, _WEIGHTS] - own[:, _CONVOLUTIONS]
        return np.stack([own[:, _CONVOLUTIONS] * share, others * share, own[:, _ACTIVATIONS]], axis=1)

    def terms(self) -> str:
        """For people: ``1.027 × Σ kernels + other weights beyond 8 MB at 33 GB/s``."""
        held = f"beyond {self.cached_bytes / _MEGABYTE:g} MB"
        places = (held, held, "beyond the core's cache")
        pairs = zip(self.bandwidths_gb_s.items(), places, strict=True)
        told = [f"{name} {place} at {speed:.0f} GB/s" for (name, speed), place in pairs if speed]
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


def fit_composition(sums_ms: Floats, own: Floats, measured_ms: Floats, kernels: Floats | None = None) -> Composition:
    """Least squares of the relative error, with all terms at or above 0 (Lawson & Hanson, 1974, ch. 23).

    One network that was disturbed hardly moves it: with few the scale is a median, else large errors count for less.
    What the caches hold is the size with which the networks are composed best.

    Args:
        sums_ms, measured_ms: per network, shape (networks,).
        own: what each network brings, shape (networks, 4), from ``network_bytes``.
        kernels: how many each has, shape (networks,); None fits no term for them.

    Raises:
        UsageError: fewer than ``FIT_MIN`` networks.
    """
    count = len(measured_ms)
    if count < FIT_MIN:
        raise UsageError(f"a correction is fitted on at least {FIT_MIN} networks; there are {count}")
    if count < WEIGHTS_MIN:
        return Composition(float(np.median(measured_ms / sums_ms)), networks=count)
    counted = kernels if count >= ALL_TERMS_MIN else None
    best, least = Composition(), math.inf
    for capacity in _CAPACITIES_MB:
        found = _fit_with(capacity * _MEGABYTE, sums_ms, own, measured_ms, counted)
        errors = np.abs(found.compose(sums_ms, own, counted) / measured_ms - 1)
        error = float(np.minimum(errors, _FAR_ERROR).mean())
        # A size that changes nothing is not chosen for a rounding error.
        if error < least - _ROUNDING:
            best, least = found, error
    return best


def _fit_with(
    cached_bytes: float, sums_ms: Floats, own: Floats, measured_ms: Floats, kernels: Floats | None
) -> Composition:
    count = len(measured_ms)
    moved = Composition(cached_bytes=cached_bytes).moved_bytes(own) / _MEGABYTE
    if count < ALL_TERMS_MIN:
        terms = np.column_stack([sums_ms, moved[:, :2].sum(axis=1)])
        scale, weights = robust_costs(terms / measured_ms[:, None]).tolist()
        return Composition(scale, (weights, weights, 0.0), count, None, cached_bytes)
    terms = np.column_stack([sums_ms, moved, *([] if kernels is None else [kernels])])
    scale, convolutions, others, activations, *each = robust_costs(terms / measured_ms[:, None]).tolist()
    return Composition(scale, (convolutions, others, activations), count, each[0] if each else None, cached_bytes)


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
    own: Floats,
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
    if count <= FIT_MIN or any(np.count_nonzero(families != family) < FIT_MIN for family in families):
        return None
    found = np.empty(count)
    for place in range(count):
        others = families != families[place]
        counts = None if kernels is None else kernels[others]
        fitted = fit_composition(sums_ms[others], own[others], measured_ms[others], counts)
        one = slice(place, place + 1)
        found[place] = fitted.compose(sums_ms[one], own[one], None if kernels is None else kernels[one])[0]
    return found


#: Kernels that read as much of a table as they write, however large the table is.
_LOOKUPS = frozenset({"Gather", "GatherElements", "GatherND", "EmbedLayerNormalization"})


def network_bytes(kernels: Sequence[Kernel], core_cache_bytes: int | None = None) -> Floats:
    """What a run through these kernels reads and writes beyond what each finds at hand: ``own_bytes`` of all."""
    total: Floats = own_bytes(kernels, core_cache_bytes).sum(axis=0)
    return total


def own_bytes(kernels: Sequence[Kernel], core_cache_bytes: int | None = None) -> Floats:
    """What each kernel brings whatever network it is in, shape (kernels, 4), in the order of ``OWN``: its weights,
    those up to one cache of the core, its activations beyond that cache, and its weights if it is a convolution. Of the
    weights a share counts, the same for all of a network.

    A weight that two kernels read counts twice; activations count where they are written and where they are read, as
    far as their shapes are known.

    Args:
        core_cache_bytes: None for ``CORE_CACHE_BYTES``.
    """
    cache = core_cache_bytes or CORE_CACHE_BYTES
    weights = np.array([_bytes_read(kernel) for kernel in kernels], np.float64)
    activations = np.array([_activation_bytes(kernel) for kernel in kernels], np.float64)
    beyond = np.maximum(0.0, activations - _ACTIVATION_CACHES * cache)
    convolves = np.array([filter_of(kernel) is not None for kernel in kernels], dtype=bool)
    return np.stack([weights, np.minimum(weights, cache), beyond, np.where(convolves, weights, 0.0)], axis=1)


def weight_bytes(kernels: Sequence[Kernel]) -> int:
    """Bytes of the constant operands that a run through these kernels reads."""
    return sum(_bytes_read(kernel) for kernel in kernels)


def _activation_bytes(kernel: Kernel) -> int:
    kernel = of_one_element(kernel)  # a view moves nothing
    shapes = [shape for shape in (*kernel.inputs, *kernel.outputs) if shape is not None]
    return sum(map(math.prod, shapes)) * np.dtype(kernel.dtype).itemsize


def _bytes_read(kernel: Kernel) -> int:
    """Of a table only what is looked up; all of it where the runtime does not tell how much that is."""
    shapes = kernel.weights
    if None not in kernel.outputs and kernel.op.rpartition(".")[2] in _LOOKUPS:
        written = sum(math.prod(shape) for shape in kernel.outputs if shape is not None)
        return min(written, sum(map(math.prod, shapes))) * np.dtype(kernel.dtype).itemsize
    return sum(map(math.prod, shapes)) * np.dtype(kernel.dtype).itemsize
