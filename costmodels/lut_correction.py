"""From the sum of a table to the network: a factor, a constant, both or neither, and which of them the data ask for.

A network's latency is taken as ``scale`` times the sum of its cells plus ``offset_ms``. All fits stand on medians, so
that one network that was measured in a bad minute does not move them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..profiler.errors import GateError, UsageError
from .correction import fit_scale

Floats = npt.NDArray[np.float64]
Policy = Literal["none", "scale", "offset", "scale+offset"]
#: What may be asked for: a policy, or the one that leave-one-out chooses.
POLICIES: tuple[Policy, ...] = get_args(Policy)
AUTO = "auto"
#: Networks that a fit needs at least. Of five, a wild one spoils four of ten slopes, and the median still holds.
FIT_MIN: Mapping[Policy, int] = {"none": 1, "scale": 1, "offset": 1, "scale+offset": 5}
#: A richer correction must be better by this much in held-out relative error: less, no measurement could show.
_GAIN_MIN = 0.001
#: Standard errors of the gain, network by network, that a constant must gain to be believed.
_GAIN_SURE = 2.0
_RESAMPLES = 500
#: Ends of the 90 % interval of the resampled fits.
_ENDS = (0.05, 0.95)


@dataclass(frozen=True)
class Correction:
    """One correction.

    Attributes:
        networks: that it was fitted on.
        scale_lo, scale_hi, offset_lo_ms, offset_hi_ms: 90 % intervals; None where the term is not fitted, or too few
            networks are there to tell.
    """

    policy: Policy
    scale: float = 1.0
    offset_ms: float = 0.0
    networks: int = 0
    scale_lo: float | None = None
    scale_hi: float | None = None
    offset_lo_ms: float | None = None
    offset_hi_ms: float | None = None

    def apply(self, sums_ms: Floats) -> Floats:
        """Latencies of whole networks in ms, of the shape of the sums."""
        return self.scale * sums_ms + self.offset_ms


@dataclass(frozen=True)
class Choice:
    """What leave-one-out says of each policy.

    Attributes:
        policy: the one to use.
        errors: mean held-out |ln(priced / measured)| of each policy that could be tried; nearly a relative error.
    """

    policy: Policy
    errors: Mapping[Policy, float]


def fit_correction(policy: Policy, sums_ms: Floats, measured_ms: Floats, *, seed: int | None = 0) -> Correction:
    """Fit one policy, both arrays of shape (networks,).

    scale: the median of measured over summed. offset: the median of measured less summed; weights would make errors
    relative, and let a single small network outweigh the others. scale+offset: in measured / summed = scale +
    offset / summed, the median of the slopes between all pairs of networks and the median of what is left (Theil, A
    rank-invariant method of linear and polynomial regression analysis, 1950; Sen, J. American Statistical Association
    63, 1968).

    Args:
        seed: of the resampled intervals (bootstrap over networks: Efron, Annals of Statistics 7, 1979); None for none.

    Raises:
        UsageError: too few networks, or sums that are all alike, for this policy.
        GateError: the fit has no positive factor, or prices one of these networks at nothing.
    """
    if len(sums_ms) < FIT_MIN[policy]:
        raise UsageError(
            f"{len(sums_ms)} networks are too few to fit '{policy}'",
            remedy=f"{FIT_MIN[policy]} are the least: measure more, or ask for --correction scale",
        )
    scale, offset = _terms(policy, sums_ms, measured_ms)
    if not np.isfinite([scale, offset]).all():
        raise UsageError("the sums of all networks are alike: a constant cannot be told from a factor")
    if scale <= 0 or (scale * sums_ms + offset <= 0).any():
        raise GateError(
            f"the fit of '{policy}', {scale:.4g} × sum {offset:+.4g} ms, prices some networks at nothing",
            remedy="ask for --correction scale",
        )
    scales, offsets = _resampled(policy, sums_ms, measured_ms, seed)
    return Correction(policy, scale, offset, len(sums_ms), *_ends(scales), *_ends(offsets))


def _terms(policy: Policy, sums: Floats, measured: Floats) -> tuple[float, float]:
    if policy == "none":
        return 1.0, 0.0
    if policy == "scale":
        return fit_scale(sums, measured), 0.0
    if policy == "offset":
        return 1.0, float(np.median(measured - sums))
    ratios, inverse = measured / sums, 1 / sums
    one, other = np.triu_indices(len(sums), k=1)
    run = inverse[other] - inverse[one]
    apart = np.abs(run) > 1e-12 * np.abs(inverse).max()
    if not apart.any():
        return float("nan"), float("nan")
    offset = float(np.median((ratios[other] - ratios[one])[apart] / run[apart]))
    return float(np.median(ratios - offset * inverse)), offset


def _resampled(policy: Policy, sums: Floats, measured: Floats, seed: int | None) -> tuple[Floats, Floats]:
    """The scales and offsets of fits on networks drawn with replacement; empty for terms that are not fitted."""
    if seed is None or policy == "none" or len(sums) < 3:
        return np.empty(0), np.empty(0)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(sums), size=(_RESAMPLES, len(sums)))
    fitted = np.array([_terms(policy, sums[draw], measured[draw]) for draw in draws])
    fitted = fitted[np.isfinite(fitted).all(axis=1)]
    scales = fitted[:, 0] if "scale" in policy else np.empty(0)
    return scales, fitted[:, 1] if "offset" in policy else np.empty(0)


def _ends(values: Floats) -> tuple[float | None, float | None]:
    if not len(values):
        return None, None
    low, high = np.quantile(values, _ENDS)
    return float(low), float(high)


def choose_policy(sums_ms: Floats, measured_ms: Floats) -> Choice:
    """The policy that leave-one-out chooses.

    A factor is the rule: it wins over nothing as soon as its held-out error is smaller. A constant, alone or beside the
    factor, must be better than what it replaces by more than twice the standard error of the gain: on few networks it
    has wild cases. Errors are logarithms of ratios: one wild network counts for no more here than any other.

    Raises:
        UsageError: fewer than two networks.
    """
    if len(sums_ms) < 2:
        raise UsageError("a correction is chosen on at least two networks", remedy="name one: --correction scale")
    held: dict[Policy, Floats] = {}
    for policy in POLICIES:
        errors = _left_out_errors(policy, sums_ms, measured_ms)
        if errors is not None:
            held[policy] = errors
    best: Policy = "none"
    # One step at a time, from the plain to the rich.
    for policy, sure in (("scale", 0.0), ("offset", _GAIN_SURE), ("scale+offset", _GAIN_SURE)):
        if policy in held and _gains(held[best] - held[policy], sure):
            best = policy
    return Choice(best, {policy: float(errors.mean()) for policy, errors in held.items()})


def _gains(gain: Floats, sure: float) -> bool:
    error = float(gain.std(ddof=1)) / len(gain) ** 0.5
    return bool(float(gain.mean()) > max(_GAIN_MIN, sure * error))


def _left_out_errors(policy: Policy, sums: Floats, measured: Floats) -> Floats | None:
    """|ln(priced / measured)| of each network by a fit on the others; None where the policy cannot be fitted."""
    if len(sums) - 1 < FIT_MIN[policy]:
        return None
    errors = np.empty(len(sums))
    for place in range(len(sums)):
        others = np.arange(len(sums)) != place
        scale, offset = _terms(policy, sums[others], measured[others])
        price = scale * sums[place] + offset
        if not np.isfinite(price) or scale <= 0 or price <= 0:
            return None
        errors[place] = abs(np.log(price / measured[place]))
    return errors
