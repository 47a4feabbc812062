"""Whether the sums of a table are true: measured networks against their priced cells, a correction, and its error.

The correction is ``scale * sum + offset_ms``. Which of the two is fitted is a policy; ``auto`` takes a factor alone,
unless leaving networks out says that a constant helps. What is judged was not fitted on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..profiler.errors import UsageError
from ..profiler.records import Json
from .correction import spread
from .lut import Lut
from .space import Space
from .spaces.cell import Cell
from .spaces.coding import Numeric
from .validation import Accuracy, accuracy

Floats = npt.NDArray[np.float64]
Policy = Literal["none", "scale", "offset", "scale+offset"]
POLICIES: tuple[Policy, ...] = ("none", "scale", "offset", "scale+offset")
#: A second term is taken where networks left out are that much nearer with it: the mean error falls below this share.
_GAIN = 0.9
#: Networks that are judged at the least; with fewer, each is left out of the fit in turn.
_JUDGED_MIN = 4
#: Of the layer that explains most, among layers that explain nothing but chance.
_CHANCE = 0.05
_SHUFFLES = 400
_EXPLAINED_FROM = 12
_RESAMPLES = 400


@dataclass(frozen=True)
class LutCorrection:
    """From a sum to a network: ``scale * sum + offset_ms``. Ranges: 90 % of resampled fits; None: not fitted."""

    policy: Policy
    scale: float = 1.0
    offset_ms: float = 0.0
    scale_range: tuple[float, float] | None = None
    offset_range_ms: tuple[float, float] | None = None

    def apply(self, sums_ms: Floats) -> Floats:
        """Corrected sums."""
        return self.scale * sums_ms + self.offset_ms


@dataclass(frozen=True)
class LayerSuspect:
    """A layer whose cells the rest of the error goes with.

    Attributes:
        bias: how far its cells are off, as a share of what they cost: 0.1 is 10 % too cheap in the table.
        explained: share of the variance of what is left after the correction, each network left out in turn.
        chance: how often a layer explains as much of shuffled errors.
    """

    layer: str
    bias: float
    explained: float
    chance: float


@dataclass(frozen=True)
class AuditedNetwork:
    """One network. ``role``: ``fit``, ``judge``, or ``left out`` where each was left out of the fit in turn."""

    arch: Json
    role: str
    sum_ms: float
    corrected_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """Relative, of the corrected price."""
        return self.corrected_ms / self.measured_ms - 1


@dataclass(frozen=True)
class LutAudit:
    """What an audit found.

    Attributes:
        bias, spread: median of the relative error of the plain sum, and the median distance from it.
        networks: by price. Their corrected prices are those of a fit that has not seen them, where they judge.
        suspects: layers that stand out, the one that explains most first; empty where none does.
        fitted_on: networks that the correction was fitted on.
        plain, held_out: over the networks that judge.
    """

    correction: LutCorrection
    networks: tuple[AuditedNetwork, ...]
    bias: float
    spread: float
    suspects: tuple[LayerSuspect, ...]
    fitted_on: int
    plain: Accuracy
    held_out: Accuracy

    @property
    def worst(self) -> list[AuditedNetwork]:
        """The judged networks, the one that is furthest off first."""
        judged = [one for one in self.networks if one.role != "fit"]
        return sorted(judged, key=lambda one: -abs(one.error))

    def provenance(self) -> dict[str, Json]:
        """What a corrected table says of its correction."""
        correction, held_out = self.correction, self.held_out
        return {
            "policy": correction.policy,
            "scale": correction.scale,
            "scale_range_90": None if correction.scale_range is None else list(correction.scale_range),
            "offset_ms": correction.offset_ms,
            "offset_range_90_ms": None if correction.offset_range_ms is None else list(correction.offset_range_ms),
            "fitted_on": self.fitted_on,
            "judged_on": held_out.n,
            "judged": "networks left out in turn" if self.in_turn else "networks that no fit has seen",
            "mean_error_percent": held_out.mape_percent,
            "worst_error_percent": held_out.worst_percent,
            "within_2_percent": held_out.within_2,
            "within_5_percent": held_out.within_5,
            "spearman": held_out.spearman,
        }

    @property
    def in_turn(self) -> bool:
        """Whether the networks were too few to keep some away from the fit: each is judged by a fit without it."""
        return any(one.role == "left out" for one in self.networks)


def fit_correction(sums_ms: Floats, measured_ms: Floats, policy: Policy) -> LutCorrection:
    """Robust: medians of one number, Theil and Sen's slope of two, so that one wild network does not move it.

    Raises:
        UsageError: fewer networks than the policy needs, or sums that are all equal where a slope is asked for.
    """
    if len(sums_ms) < (3 if policy == "scale+offset" else 1):
        raise UsageError(f"{len(sums_ms)} networks are too few for the correction '{policy}'")
    if policy == "scale":
        return LutCorrection(policy, scale=float(np.median(measured_ms / sums_ms)))
    if policy == "offset":
        return LutCorrection(policy, offset_ms=float(np.median(measured_ms - sums_ms)))
    if policy == "none":
        return LutCorrection(policy)
    left, right = np.triu_indices(len(sums_ms), 1)
    apart = sums_ms[left] != sums_ms[right]
    if not apart.any():
        raise UsageError("the networks have one and the same sum: a factor and a constant cannot be told apart")
    slopes = (measured_ms[left] - measured_ms[right])[apart] / (sums_ms[left] - sums_ms[right])[apart]
    slope = float(np.median(slopes))
    return LutCorrection(policy, slope, float(np.median(measured_ms - slope * sums_ms)))


def choose_policy(sums_ms: Floats, measured_ms: Floats) -> Policy:
    """A factor alone, unless another policy is better on networks left out in turn by a tenth of the error."""
    errors = {
        policy: _mean_error(_left_out(sums_ms, measured_ms, policy), measured_ms)
        for policy in POLICIES[1:]
        if policy != "scale+offset" or len(sums_ms) > 3  # three of them must be left
    }
    best: Policy = "scale"
    for policy in ("offset", "scale+offset"):
        if errors.get(policy, np.inf) < _GAIN * errors[best]:
            best = policy
    return best


def audit_lut(
    lut: Lut,
    space: Space,
    archs: Numeric,
    measured_ms: Floats,
    *,
    fit: int = 8,
    policy: Policy | Literal["auto"] = "auto",
    seed: int = 0,
) -> LutAudit:
    """Audit a table. What the table was corrected by before is not used.

    Args:
        archs: int16 (networks, positions).
        measured_ms: end to end, shape (networks,).
        fit: networks to fit on, spread over the range of prices; the others judge. Where fewer than four would be
            left, all are fitted on and each is judged by a fit without it.
        seed: of resampling and shuffling.

    Raises:
        UsageError: fewer than four networks.
        GateError: the table lacks a cell of one of them.
    """
    if len(archs) < _JUDGED_MIN:
        raise UsageError(
            f"{len(archs)} measured networks are too few for an audit",
            remedy="measure some: edgecost lut audit TABLE --measure 40",
        )
    sums = lut.price(archs, corrected=False, space=space)
    order = np.argsort(sums, kind="stable")
    archs, sums, measured = archs[order], sums[order], np.asarray(measured_ms, dtype=np.float64)[order]
    in_turn = len(archs) < fit + _JUDGED_MIN
    fitted = np.ones(len(archs), dtype=np.bool_)
    if not in_turn:
        fitted = np.isin(np.arange(len(archs)), spread(sums, fit))
    chosen: Policy = choose_policy(sums[fitted], measured[fitted]) if policy == "auto" else policy
    correction = _with_ranges(sums[fitted], measured[fitted], chosen, seed)
    corrected = _left_out(sums, measured, chosen) if in_turn else correction.apply(sums)
    judged = fitted if in_turn else ~fitted
    error = sums / measured - 1
    plain, held_out = (accuracy(guess[judged], measured[judged]) for guess in (sums, corrected))
    assert plain is not None, "at least four networks judge"
    assert held_out is not None, "at least four networks judge"
    roles = np.where(judged, "left out" if in_turn else "judge", "fit").tolist()
    native = space.decode(archs)
    return LutAudit(
        correction=correction,
        networks=tuple(
            AuditedNetwork(_json(arch), role, float(total), float(better), float(truth))
            for arch, role, total, better, truth in zip(native, roles, sums, corrected, measured, strict=True)
        ),
        bias=float(np.median(error)),
        spread=float(np.median(np.abs(error - np.median(error)))),
        suspects=suspect_layers(lut, space, archs, measured - correction.apply(sums), seed),
        fitted_on=int(fitted.sum()),
        plain=plain,
        held_out=held_out,
    )


def suspect_layers(lut: Lut, space: Space, archs: Numeric, left_ms: Floats, seed: int = 0) -> tuple[LayerSuspect, ...]:
    """The layers whose cost the rest of the error goes with, beyond what shuffled errors do.

    One layer at a time: a straight line from what its cells cost to what is left, judged on networks left out. Chance
    is taken over the best of all layers, so that looking at many does not find one by luck.

    Args:
        left_ms: measured less corrected, shape (networks,).
    """
    if len(archs) < _EXPLAINED_FROM:
        return ()
    names, costs = layer_costs(lut, space, archs)
    varies = np.ptp(costs, axis=0) > 0
    if not varies.any() or not np.ptp(left_ms):
        return ()
    names = [name for name, kept in zip(names, varies, strict=True) if kept]
    costs = costs[:, varies]
    explained, slopes = _explained(costs, left_ms)
    rng = np.random.default_rng(seed)
    by_luck = np.array([_explained(costs, rng.permutation(left_ms))[0].max() for _ in range(_SHUFFLES)])
    chances = [(float((by_luck >= one).sum()) + 1) / (_SHUFFLES + 1) for one in explained]
    suspects = [
        LayerSuspect(name, float(slope), float(one), chance)
        for name, slope, one, chance in zip(names, slopes, explained, chances, strict=True)
        if chance < _CHANCE
    ]
    return tuple(sorted(suspects, key=lambda one: -one.explained))


def layer_costs(lut: Lut, space: Space, archs: Numeric) -> tuple[list[str], Floats]:
    """What each layer of the space file costs in each network, in ms as in the table: names, (networks, layers)."""
    names = list(dict.fromkeys(step.layer for step in space.sequence))
    place = {name: column for column, name in enumerate(names)}
    costs = np.zeros((len(archs), len(names)))
    for row, arch in enumerate(archs):
        for cell, layer in zip(space.cells_of(arch), _layers_of(space, arch), strict=True):
            costs[row, place[layer]] += 0.0 if cell.absent else lut.query(cell.key).latency_ms
    return names, costs


def _layers_of(space: Space, arch: Numeric) -> list[str]:
    """The layer of each executed step: a cell's own name is that of the first layer that uses it."""
    indices = iter(arch.tolist())
    return [step.layer for step in space.sequence if isinstance(step, Cell) or next(indices) >= 0]


def _explained(costs: Floats, left_ms: Floats) -> tuple[Floats, Floats]:
    """Share of variance that a line on each column explains of networks left out (may be negative), and its slope."""
    n = len(left_ms)
    x = costs - costs.mean(axis=0)
    y = left_ms - left_ms.mean()
    square = (x**2).sum(axis=0)
    slopes = x.T @ y / square
    leverage = 1 / n + x**2 / square
    left = (y[:, None] - x * slopes) / (1 - leverage)
    base = y / (1 - 1 / n)
    return 1 - (left**2).sum(axis=0) / (base**2).sum(), slopes


def _left_out(sums_ms: Floats, measured_ms: Floats, policy: Policy) -> Floats:
    """Each network corrected by a fit on the others."""
    keep = ~np.eye(len(sums_ms), dtype=np.bool_)
    return np.array(
        [
            fit_correction(sums_ms[others], measured_ms[others], policy).apply(sums_ms[place : place + 1])[0]
            for place, others in enumerate(keep)
        ]
    )


def _mean_error(corrected_ms: Floats, measured_ms: Floats) -> float:
    return float(np.abs(corrected_ms / measured_ms - 1).mean())


def _with_ranges(sums_ms: Floats, measured_ms: Floats, policy: Policy, seed: int) -> LutCorrection:
    """The fit, with what 90 % of fits on resampled networks span."""
    made = fit_correction(sums_ms, measured_ms, policy)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(len(sums_ms), size=len(sums_ms))
        # A slope needs networks that differ.
        if policy != "scale+offset" or len(np.unique(sums_ms[drawn])) > 1:
            draws.append(fit_correction(sums_ms[drawn], measured_ms[drawn], policy))
    scales, offsets = (_range(draws, read) for read in (lambda one: one.scale, lambda one: one.offset_ms))
    return LutCorrection(
        policy,
        made.scale,
        made.offset_ms,
        scales if "scale" in policy else None,
        offsets if "offset" in policy else None,
    )


def _range(draws: list[LutCorrection], read: Callable[[LutCorrection], float]) -> tuple[float, float]:
    low, high = np.quantile([read(one) for one in draws], [0.05, 0.95])
    return float(low), float(high)


def _json(arch: dict[str, list[int | float]] | list[int]) -> Json:
    return {name: list(values) for name, values in arch.items()} if isinstance(arch, dict) else list(arch)
