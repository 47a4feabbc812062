"""The audit of a table: the sums of its cells against the whole networks that the store holds."""

from __future__ import annotations

from dataclasses import dataclass

from ...costmodels.audit_picture import audit_svg
from ...costmodels.lut_audit import NETWORKS_MIN, LutAudit
from ...costmodels.network_audit import NetworkAudit, audit_networks
from ...costmodels.validation import Accuracy
from ...db import Store
from ...profiler.errors import UsageError
from .tables import Made, TableRow, make_table

#: Networks that a page lists, the worst first.
_SHOWN = 15


@dataclass(frozen=True)
class AuditView:
    """What an audit found.

    Attributes:
        networks: whole networks of the space that were measured there; below ``least`` there is no audit.
        command: that measures more of them, and ``where`` it is typed; ``is_file_needed`` where it reads the table.
        audit: None without enough networks.
        held, of: judged networks inside the sum of their cells' intervals, and how many were judged; ``held`` is None
            where a cell has no interval.
        floor: how well networks measured again agree; None where none was.
    """

    row: TableRow
    networks: int
    least: int
    command: str
    where: str
    is_file_needed: bool
    audit: LutAudit | None = None
    held: int | None = None
    of: int = 0
    floor: Accuracy | None = None

    @property
    def worst(self) -> tuple[object, ...]:
        """The judged networks with the largest errors."""
        return () if self.audit is None else self.audit.worst[:_SHOWN]


def audit_view(store: Store, space: str, identity: str, profile_hash: str) -> AuditView:
    """Hold a table against networks.

    Raises:
        UsageError, GateError: as ``tables.table_view``.
    """
    made = make_table(store, space, identity, profile_hash)
    networks = made.networks(store)
    native = f"{made.space.name}-w{made.space.width:g}-{made.space.resolution}.lut.json"
    doer = made.doer(store)
    command = doer.networks(space, native)
    asked = (made.row, len(networks), NETWORKS_MIN, command, doer.where, not doer.selector)
    if len(networks) < NETWORKS_MIN:
        return AuditView(*asked)
    found = audit_networks(made.table, made.space, networks)
    return AuditView(*asked, found.audit, found.held, found.of, networks.floor)


def audit_picture(store: Store, space: str, identity: str, profile_hash: str) -> str:
    """Sums and corrected prices against what was measured, as SVG.

    Raises:
        UsageError: as ``audit_view``, or there are too few networks.
    """
    made = make_table(store, space, identity, profile_hash)
    return audit_svg(_audited(store, made).audit, f"{space} on {made.row.device}, {made.row.profile}")


def _audited(store: Store, made: Made) -> NetworkAudit:
    networks = made.networks(store)
    if len(networks) < NETWORKS_MIN:
        raise UsageError(f"there is no picture of {len(networks)} networks", remedy="measure some first")
    return audit_networks(made.table, made.space, networks)
