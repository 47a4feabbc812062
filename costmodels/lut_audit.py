"""Whether the sums of a table are true: priced against measured whole networks, before and after a correction.

The numbers may be of any metric that adds up over cells; the names say ms, which is what they mostly are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt

from ..profiler.errors import GateError
from ..profiler.records import Json
from .correction import spread
from .lut import Lut
from .lut_correction import Choice, Correction, Policy, choose_policy, fit_correction
from .validation import Accuracy, accuracy

Floats = npt.NDArray[np.float64]

#: Networks that a correction is fitted on, unless something else is asked for.
FIT_NETWORKS = 8
#: Networks that are left to judge at least; with fewer, each is judged by a fit on all others.
JUDGED_MIN = 4
#: Networks that an audit needs at least.
NETWORKS_MIN = 3
HELD_OUT, LEAVE_ONE_OUT = "held out", "leave-one-out"


@dataclass(frozen=True)
class AuditedNetwork:
    """One network.

    Attributes:
        role: ``fit``, ``judge``, or ``both`` where each was judged by a fit on the others.
        priced_ms: with the correction; for ``both`` the one fitted on the others.
    """

    arch: str
    role: str
    sum_ms: float
    priced_ms: float
    measured_ms: float

    @property
    def error_percent(self) -> float:
        return (self.priced_ms / self.measured_ms - 1) * 100


@dataclass(frozen=True)
class LutAudit:
    """What an audit found.

    Attributes:
        correction: fitted on the ``fit`` networks, or on all where each was left out in turn.
        choice: of ``auto``; None where the policy was asked for.
        judged_by: ``held out`` or ``leave-one-out``.
        bias_percent: median of sum over measured, less 1, of the table as it is.
        mad_percent: median distance of these errors from their median.
        low_percent, high_percent: between them are 90 % of these errors.
        uncorrected, corrected: plain sums and corrected prices of the judged networks.
        networks: cheapest first.
    """

    correction: Correction
    choice: Choice | None
    judged_by: str
    bias_percent: float
    mad_percent: float
    low_percent: float
    high_percent: float
    uncorrected: Accuracy
    corrected: Accuracy
    networks: tuple[AuditedNetwork, ...]

    @property
    def worst(self) -> tuple[AuditedNetwork, ...]:
        """The judged networks, largest error first."""
        judged = [one for one in self.networks if one.role != "fit"]
        return tuple(sorted(judged, key=lambda one: -abs(one.error_percent)))

    def document(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "correction": self.record(),
            "bias_percent": self.bias_percent,
            "mad_percent": self.mad_percent,
            "low_percent": self.low_percent,
            "high_percent": self.high_percent,
            "uncorrected": dict(asdict(self.uncorrected)),
            "networks": [{**asdict(one), "error_percent": one.error_percent} for one in self.networks],
        }

    def record(self) -> dict[str, Json]:
        """What the provenance of a corrected table says under ``correction``."""
        sums = [one.sum_ms for one in self.networks if one.role != "judge"]
        return {
            **asdict(self.correction),
            "chosen_by": "asked for" if self.choice is None else "leave-one-out",
            "leave_one_out_errors": None if self.choice is None else dict(self.choice.errors),
            "fitted_between_ms": [min(sums), max(sums)],
            "judged_by": self.judged_by,
            "judged": dict(asdict(self.corrected)),
        }


def audit_sums(
    sums_ms: Floats,
    measured_ms: Floats,
    archs: Sequence[str],
    *,
    policy: Policy | None = None,
    fit: int = FIT_NETWORKS,
    seed: int = 0,
) -> LutAudit:
    """Compare, fit a correction on some networks and judge it on all others.

    The networks of the fit are chosen by their sums alone, one from each of ``fit`` equal bands of the ranking. Where
    fewer than ``JUDGED_MIN`` would be left, each network is judged by a fit on all others, the choice of the policy
    included, and the correction is fitted on all.

    Args:
        sums_ms, measured_ms: shape (networks,), positive.
        archs: a name for each.
        policy: None lets leave-one-out over the networks of the fit choose.
        seed: of the intervals of the correction.

    Raises:
        GateError: fewer than ``NETWORKS_MIN`` networks, or a fit that prices some at nothing.
        UsageError: too few networks for the policy.
    """
    if len(sums_ms) < NETWORKS_MIN:
        raise GateError(
            f"{len(sums_ms)} whole networks are too few to audit a table; {NETWORKS_MIN} are the least",
            remedy="measure some: --measure 40",
        )
    is_split = len(sums_ms) >= fit + JUDGED_MIN
    fits = np.ones(len(sums_ms), dtype=np.bool_)
    if is_split:
        fits = np.isin(np.arange(len(sums_ms)), spread(sums_ms, fit))
    correction, choice = _fitted(policy, sums_ms[fits], measured_ms[fits], seed)
    priced = correction.apply(sums_ms) if is_split else _each_left_out(policy, sums_ms, measured_ms)
    judged = ~fits if is_split else fits
    roles = ["fit" if is_fit else "judge" for is_fit in fits] if is_split else ["both"] * len(fits)
    rows = zip(archs, roles, sums_ms.tolist(), priced.tolist(), measured_ms.tolist(), strict=True)
    networks = [AuditedNetwork(*row) for row in rows]
    errors = (sums_ms / measured_ms - 1) * 100
    low, bias, high = (float(end) for end in np.quantile(errors, (0.05, 0.5, 0.95)))
    return LutAudit(
        correction=correction,
        choice=choice,
        judged_by=HELD_OUT if is_split else LEAVE_ONE_OUT,
        bias_percent=bias,
        mad_percent=float(np.median(np.abs(errors - bias))),
        low_percent=low,
        high_percent=high,
        uncorrected=_known(accuracy(sums_ms[judged], measured_ms[judged])),
        corrected=_known(accuracy(priced[judged], measured_ms[judged])),
        networks=tuple(sorted(networks, key=lambda one: one.sum_ms)),
    )


def _fitted(
    policy: Policy | None, sums: Floats, measured: Floats, seed: int | None
) -> tuple[Correction, Choice | None]:
    choice = choose_policy(sums, measured) if policy is None else None
    chosen = policy if choice is None else choice.policy
    assert chosen is not None
    return fit_correction(chosen, sums, measured, seed=seed), choice


def _each_left_out(policy: Policy | None, sums: Floats, measured: Floats) -> Floats:
    priced = np.empty(len(sums))
    for place in range(len(sums)):
        others = np.arange(len(sums)) != place
        correction, _ = _fitted(policy, sums[others], measured[others], None)
        priced[place] = correction.apply(sums[[place]])[0]
    return priced


def _known(found: Accuracy | None) -> Accuracy:
    assert found is not None, "sums of a table and measured latencies are finite and positive"
    return found


def corrected_table(lut: Lut, audit: LutAudit, seed: int) -> Lut:
    """The same rows with the correction of an audit; its provenance says under ``correction`` how it came about."""
    found = audit.correction
    fitted_on = 0 if found.policy == "none" else found.networks
    provenance = {**lut.provenance, "correction": {**audit.record(), "seed": seed}}
    return replace(lut.with_scale(found.scale, fitted_on, found.offset_ms), provenance=provenance)
