"""Which layer or cell of a table is to blame: what the errors of whole networks tell of their parts, if anything.

A network's relative error is taken as a constant plus, for each suspect, its share of the network's price times what it
is off by. A suspect is named only if chance would hardly ever find one as good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .lut import Lut
from .lut_correction import Correction
from .space import Space

Floats = npt.NDArray[np.float64]

#: Below this nothing can be said: there are more layers than networks.
NETWORKS_MIN = 10
_SUSPECTS_MAX = 3
#: A candidate that fewer networks have, or lack, stands and falls with a single one of them.
_USES_MIN = 3
_SHUFFLES = 499
#: Share of shufflings in which the best suspect may be as good as the one found.
_CHANCE = 0.02
#: Errors further from their median than this many standard deviations (by the MAD) are pulled in: measured wildly.
_WILD = 4.0


@dataclass(frozen=True)
class Suspect:
    """A layer, or a cell, that the table is off by.

    Attributes:
        name: the position (``stage2[0]``) of a layer, whatever candidate stands there; the key of a cell.
        factor: what it takes in a network over what the corrected table says; ``error`` its standard error.
        explained: share of the squared errors of networks that were left out of the fit which it and those before it
            explain, between 0 and 1.
    """

    name: str
    factor: float
    error: float
    explained: float


def suspects(
    lut: Lut,
    space: Space,
    archs: npt.NDArray[np.int16],
    measured_ms: Floats,
    correction: Correction,
    *,
    seed: int = 0,
) -> tuple[Suspect, ...]:
    """The layers and cells that stand out, strongest first; empty where none does or fewer than ten networks are there.

    One after the other is taken that explains most of what is left, as long as that is more than the best of all
    suspects explains of shuffled errors (the distribution of the maximum: Westfall & Young, Resampling-Based Multiple
    Testing, 1993), and more of the left-out errors is explained with it than without it. Fixed cells cannot be
    suspects: they cost all networks the same, and that is the correction's constant.

    Args:
        archs: int16 (networks, positions).
        measured_ms: shape (networks,).
    """
    if len(archs) < NETWORKS_MIN:
        return ()
    priced = correction.apply(lut.price(archs, corrected=False, space=space))
    names, costs = _columns(lut, space, archs)
    shares = correction.scale * costs / priced[:, None]
    error = _tame(measured_ms / priced - 1)
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    explained = 0.0
    while len(chosen) < _SUSPECTS_MAX:
        best = _best(shares, error, chosen, rng)
        if best is None or (more := _explained(shares[:, [*chosen, best]], error)) <= explained:
            break
        chosen.append(best)
        explained = more
    return _told(names, shares, error, chosen)


def _columns(lut: Lut, space: Space, archs: npt.NDArray[np.int16]) -> tuple[list[str], Floats]:
    """What each position costs in each network, and each cell wherever it stands; shape (networks, columns)."""
    costs = np.array([lut.query(cell.key).latency_ms for cell in space.measurable])
    labels, layers = [], []
    for factor in space.factors:
        if factor.scope:
            labels.append(" × ".join(space.positions[place].label for place in factor.scope))
            layers.append(factor.table(costs)[factor.entry(archs)])
    uses = space.uses(archs)
    told = {
        cell.key: costs[number] * uses[:, number]
        for number, cell in enumerate(space.measurable)
        if _is_told(uses[:, number] > 0)
    }
    columns: Floats = np.column_stack([*layers, *told.values()])
    return [*labels, *told], columns


def _is_told(used: npt.NDArray[np.bool_]) -> bool:
    return _USES_MIN <= int(used.sum()) <= len(used) - _USES_MIN


def _tame(error: Floats) -> Floats:
    middle = np.median(error)
    reach = _WILD * 1.4826 * np.median(np.abs(error - middle))
    return np.clip(error, middle - reach, middle + reach)


def _best(shares: Floats, error: Floats, chosen: list[int], rng: np.random.Generator) -> int | None:
    """The column that explains most of what the chosen ones leave; None where chance explains as much."""
    known = np.column_stack([np.ones(len(error)), shares[:, chosen]])
    basis, _ = np.linalg.qr(known)
    left = error - basis @ (basis.T @ error)
    columns = shares - basis @ (basis.T @ shares)
    size = np.linalg.norm(columns, axis=0)
    # What is left of a column that the chosen ones hold already is rounding.
    usable = size > 1e-6 * np.maximum(np.linalg.norm(shares, axis=0), 1e-12)
    total = float(left @ left)
    if not usable.any() or total <= 1e-18 * len(error):
        return None
    directions = np.where(usable, columns / np.where(usable, size, 1.0), 0.0)
    found = (left @ directions) ** 2 / total
    shuffled = np.array([rng.permutation(left) for _ in range(_SHUFFLES)])
    chance = ((shuffled @ directions) ** 2).max(axis=1) / total
    best = int(np.argmax(found))
    return best if ((chance >= found[best]).sum() + 1) / (_SHUFFLES + 1) <= _CHANCE else None


def _explained(columns: Floats, error: Floats) -> float:
    """1 − squared errors of predicting each network by a fit on the others, over those of predicting the others' mean.

    By the leverage of each row (Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, 2nd ed., §7.10).
    """
    basis, _ = np.linalg.qr(np.column_stack([np.ones(len(error)), columns]))
    left = error - basis @ (basis.T @ error)
    free = 1 - (basis**2).sum(axis=1)
    if (free < 1e-9).any():
        return -np.inf
    plain = (error - error.mean()) / (1 - 1 / len(error))
    return float(1 - ((left / free) ** 2).sum() / (plain**2).sum())


def _told(names: list[str], shares: Floats, error: Floats, chosen: list[int]) -> tuple[Suspect, ...]:
    design = np.column_stack([np.ones(len(error)), shares[:, chosen]])
    slopes, *_ = np.linalg.lstsq(design, error, rcond=None)
    left = error - design @ slopes
    freedom = max(len(error) - design.shape[1], 1)
    spread = np.sqrt(np.diag(np.linalg.pinv(design.T @ design)) * float(left @ left) / freedom)
    return tuple(
        Suspect(
            name=names[column],
            factor=float(1 + slopes[place + 1]),
            error=float(spread[place + 1]),
            explained=_explained(shares[:, chosen[: place + 1]], error),
        )
        for place, column in enumerate(chosen)
    )
