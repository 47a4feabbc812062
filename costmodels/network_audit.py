"""A table held against the whole networks of its space: the audit of its sums, and what its intervals hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .lut import Lut
from .lut_audit import FIT_NETWORKS, LutAudit, audit_sums
from .lut_correction import Policy
from .network_scale import MeasuredNetworks
from .space import Space

#: A bound at nothing is no latency of a cell.
_LEAST_MS = 1e-9


@dataclass(frozen=True)
class NetworkAudit:
    """An audit with what the table's intervals hold.

    Attributes:
        held, of: judged networks inside the sum of their cells' intervals, each corrected as its price is; None where
            a cell has no interval.
    """

    audit: LutAudit
    held: int | None
    of: int


def audit_networks(
    lut: Lut,
    space: Space,
    networks: MeasuredNetworks,
    *,
    policy: Policy | None = None,
    fit: int = FIT_NETWORKS,
    seed: int = 0,
) -> NetworkAudit:
    """Hold a table against networks; arguments and errors as ``audit_sums``."""
    names = [".".join("_" if index < 0 else str(index) for index in arch) for arch in networks.archs.tolist()]
    sums = lut.price(networks.archs, corrected=False, space=space)
    audit = audit_sums(sums, networks.measured, names, policy=policy, fit=fit, seed=seed)
    bounds = [_bound(lut, name) for name in ("lo_ms", "hi_ms")]
    judged = [one for one in audit.networks if one.role != "fit"]
    if None in bounds:
        return NetworkAudit(audit, None, len(judged))
    low, high = (
        dict(zip(names, one.price(networks.archs, corrected=False, space=space).tolist(), strict=True))
        for one in bounds
        if one is not None
    )
    held = 0
    for one in judged:
        factor = one.priced_ms / one.sum_ms
        held += low[one.arch] * factor <= one.measured_ms <= high[one.arch] * factor
    return NetworkAudit(audit, held, len(judged))


def _bound(lut: Lut, name: str) -> Lut | None:
    """The table of one end of the intervals; None where a cell has none."""
    cells = []
    for cell in lut.cells:
        value: float | None = getattr(cell, name)
        if cell.source == "absent":
            cells.append(cell)
        elif value is None:
            return None
        else:
            cells.append(replace(cell, latency_ms=max(value, _LEAST_MS), lo_ms=None, hi_ms=None))
    return Lut.from_cells(cells, lut.provenance)
