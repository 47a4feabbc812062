"""Store → energies: every graph whose energy was measured on one device and profile, once; and what was left out.

An energy is gross: all that the device takes while the graph runs, what it would have taken idle included. It adds up
like time, since the idle share is a power times the time; and it is what a battery pays.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ...db import Store
from ...profiler.errors import UsageError
from ...profiler.records import SIMULATOR, Measurement, RuntimeProfile
from ...profiler.workload import Workload
from ..dataset import BLOCK_PURPOSES, NETWORK_PURPOSES, usable_by_graph
from ..simulated.answer import said_energy

#: Why a measurement takes no part, in the words of the report; others are the words of ``Reading``.
NOT_MEASURED = "not measured"
NOTHING_LEFT = "nothing left after the call"


@dataclass(frozen=True)
class EnergySample:
    """One graph as measured.

    Attributes:
        energy_mj: gross, without the call's own; median over the sessions.
        lo_mj, hi_mj: widest of the sessions' own 95 % intervals, likewise.
        sessions_mj: of each session (a session is a process), oldest first.
    """

    workload: Workload
    energy_mj: float
    lo_mj: float
    hi_mj: float
    sessions_mj: tuple[float, ...]
    is_network: bool


@dataclass(frozen=True)
class Energies:
    """The energies of one device, profile and scope.

    Attributes:
        scope: what every one of them includes; empty when there is none.
        left_out: measurements without an energy that can be used, by reason.
    """

    samples: tuple[EnergySample, ...]
    scope: str
    left_out: Mapping[str, int]

    @property
    def blocks(self) -> list[EnergySample]:
        return [sample for sample in self.samples if not sample.is_network]

    @property
    def networks(self) -> list[EnergySample]:
        return [sample for sample in self.samples if sample.is_network]


def load_energies(
    store: Store,
    device_identity: str,
    profile: RuntimeProfile,
    *,
    purposes: Collection[str] = (*BLOCK_PURPOSES, *NETWORK_PURPOSES),
    scope: str | None = None,
) -> Energies:
    """All usable energies of a device and profile, grouped by graph, in the order of first measurement.

    Of a simulator: what it said, of the scope ``simulated``.

    Args:
        scope: take those of this scope, and count the others as left out. None needs all to be of one scope.

    Raises:
        UsageError: there are energies of several scopes, or none of the scope that was asked for.
    """
    is_simulated = profile.runtime == SIMULATOR
    made = store.measurements(
        device_identity=device_identity, profile_hash=profile.profile_hash, purposes=purposes, of=None,
        with_visits=is_simulated,
    )  # fmt: skip
    if is_simulated:
        made = [replace(one, energy=said_energy(one)) for one in made]
    scope = _one_scope(made, scope)
    usable, left_out = usable_by_graph(store, made, lambda measurement: _reason(measurement, scope))
    samples = [_combine(workload, of_one) for workload, of_one in usable]
    return Energies(tuple(samples), scope, left_out)


def _one_scope(made: Collection[Measurement], scope: str | None) -> str:
    found = sorted({m.energy.scope for m in made if m.energy is not None and m.energy.status.has_number})
    if scope is not None and found and scope not in found:
        raise UsageError(f"no energy here is of the scope {scope!r}", remedy=f"there is: {', '.join(found)}")
    if scope is None and len(found) > 1:
        raise UsageError(
            f"energies of {' and '.join(found)} are different quantities, and cannot be learnt together",
            remedy=f"name one: --scope {found[0]}",
        )
    return scope if scope is not None else "".join(found)


def _reason(measurement: Measurement, scope: str) -> str:
    """Why a measurement takes no part; empty when it does."""
    energy = measurement.energy
    if energy is None:
        return NOT_MEASURED
    if not energy.status.has_number:
        return energy.status.value.replace("_", " ")
    if energy.scope != scope:
        return f"of the scope {energy.scope}"
    assert energy.gross_median_mj is not None
    return "" if energy.gross_median_mj > _of_the_call_mj(measurement) else NOTHING_LEFT


def _of_the_call_mj(measurement: Measurement) -> float:
    """What a run of an empty graph takes: as measured, else at the workload's own mean power; 0 where neither is known.

    A network pays it once where a sum of its kernels would pay it for each of them.
    """
    energy, latency, overhead_ms = measurement.energy, measurement.latency, measurement.overhead_ms
    assert energy is not None
    assert energy.gross_median_mj is not None
    if energy.overhead_mj is not None:
        return energy.overhead_mj
    if latency is None or overhead_ms is None:
        return 0.0
    return energy.gross_median_mj * overhead_ms / latency.median_ms


def _combine(workload: Workload, measurements: list[Measurement]) -> EnergySample:
    sessions: dict[str, list[float]] = {}
    low, high = [], []
    for measurement in measurements:
        energy = measurement.energy
        assert energy is not None
        assert energy.gross_median_mj is not None
        assert energy.gross_lo_mj is not None
        assert energy.gross_hi_mj is not None
        call = _of_the_call_mj(measurement)
        sessions.setdefault(measurement.session, []).append(energy.gross_median_mj - call)
        low.append(max(energy.gross_lo_mj - call, 0.0))
        high.append(energy.gross_hi_mj - call)
    values = tuple(statistics.median(one) for one in sessions.values())
    return EnergySample(
        workload=workload,
        energy_mj=statistics.median(values),
        lo_mj=min(low),
        hi_mj=max(high),
        sessions_mj=values,
        is_network=measurements[0].purpose in NETWORK_PURPOSES,
    )
