"""Ask a simulator about workloads and keep what it says beside the measurements, marked as what it is.

A simulated device, its version and its numbers go the way of measured ones: training, tables and prediction find them
by device and profile. Nothing is made up for it: no visits, no runs, an interval of no width, the status ``simulated``.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ...devices.host import read_host
from ...devices.simulators import SimulatedCost, SimulatedDevice, checked_cost, open_simulator, parse_simulator
from ...profiler.errors import ModelError, SimulatorError
from ...profiler.measurement_id import new_measurement_id
from ...profiler.records import SIMULATOR, Environment, Json, Latency, Measurement, RuntimeProfile, Status
from ...profiler.tasks import Stage
from ...profiler.workload import Workload
from ..local_setting import LocalSetting
from ..named_runtimes import chosen_profile

if TYPE_CHECKING:
    from ...db import Store
    from ..planned_campaign import Narrator

#: Stands in ``Measurement.protocol``; changes when what is kept of a simulation changes its meaning.
PROTOCOL = "simulated-1"
#: How a runtime is named that is a simulator: ``--runtime simulator:systolic:rows=32``.
PREFIX = f"{SIMULATOR}:"
#: A simulator that fails so often in a row fails for a reason of its own.
_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True)
class Asked:
    """What was asked of a simulator in one go.

    Attributes:
        simulated, reused: workloads that have a cost now, asked for in this call or known before.
        unsupported: operators that the simulator lacks, by the number of workloads that hold them.
        failures: what went wrong, a line for each workload.
        seconds: wall time inside the simulator, in this call, by graph hash.
    """

    purpose: str
    simulated: int = 0
    reused: int = 0
    unsupported: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SimulatedSample:
    """What the store holds of one simulated workload. ``seconds`` is the wall time that the simulator took."""

    latency_ms: float
    energy_mj: float | None
    seconds: float


def simulated_setting(text: str) -> tuple[LocalSetting, SimulatedDevice]:
    """The setting of a simulator, as people name it, and the simulator.

    Raises:
        UsageError: there is none of this name, or it refuses the options.
    """
    simulator, name = open_simulator(text), parse_simulator(text).name
    device = simulator.device()
    profile = RuntimeProfile(
        runtime=SIMULATOR,
        version=simulator.version,
        provider=name,
        graph_level="as written",
        # A predictor is kept apart by its profile: one of another design is not this one's.
        options=(("design", device.name), ("identity", device.identity)),
    )
    environment = Environment({"simulator": name, "version": simulator.version, "design": device.description})
    return LocalSetting(read_host(), device, profile, Stage(profile, environment, device.identity)), simulator


def chosen_setting(runtime_name: str, threads: int | None = None, store_url: str | None = None) -> LocalSetting:
    """What ``--runtime`` names: a runtime of this machine, or ``simulator:NAME`` for a simulated device.

    Raises:
        UsageError: nothing has this name; or as ``chosen_profile``.
    """
    if runtime_name.startswith(PREFIX):
        return simulated_setting(runtime_name.removeprefix(PREFIX))[0]
    return LocalSetting.here(chosen_profile(runtime_name, threads, store_url))


def simulate(
    store: Store,
    setting: LocalSetting,
    simulator: SimulatedDevice,
    workloads: Sequence[Workload],
    purpose: str,
    narrator: Narrator,
    title: str,
) -> Asked:
    """Ask about each workload that the store knows nothing of, and keep each answer before the next is asked for.

    A block that is known as a cell is not asked about again as a node: a simulator has no sessions that could differ.

    What the simulator does not support is kept, too, and not asked again; what failed is.

    Raises:
        SimulatorError: it failed five times in a row.
    """
    setting.store_in(store)
    from ..dataset import BLOCK_PURPOSES  # pricing a model needs a setting and no store

    alike = BLOCK_PURPOSES if purpose in BLOCK_PURPOSES else [purpose]
    known = {one.graph_hash: one for one in _kept(store, setting, alike, usable_only=False) if _is_answer(one)}
    wanted = {workload.graph_hash: workload for workload in workloads}
    left = [workload for graph_hash, workload in wanted.items() if graph_hash not in known]
    narrator.stage(title, len(left))
    session = f"simulated-{uuid.uuid4().hex}"
    made: list[Measurement] = []
    failures: list[str] = []
    in_a_row = 0
    for workload in left:
        measurement = _ask(setting, simulator, workload, purpose, session)
        store.put_workload(workload)
        store.record(measurement)
        made.append(measurement)
        narrator.step(f"{workload.name}: {measurement.status.value}")
        in_a_row = 0 if _is_answer(measurement) else in_a_row + 1
        failures += [] if _is_answer(measurement) else [measurement.message]
        if in_a_row == _FAILURES_IN_A_ROW:
            raise SimulatorError(
                f"{in_a_row} workloads in a row came to nothing; the last one: {measurement.message}",
                remedy="what was simulated before is kept; the same command goes on from there",
            )
    answered = [*made, *(one for graph_hash, one in known.items() if graph_hash in wanted)]
    return Asked(
        purpose,
        simulated=sum(one.status is Status.SIMULATED for one in made),
        reused=sum(one.status is Status.SIMULATED for one in answered[len(made) :]),
        unsupported=_lacking(answered),
        failures=tuple(failures),
        seconds={one.graph_hash: _seconds(one) for one in made if one.status is Status.SIMULATED},
    )


def simulated_samples(store: Store, setting: LocalSetting, purposes: Collection[str]) -> dict[str, SimulatedSample]:
    """What the store holds of a simulated device, by graph hash; the oldest answer counts."""
    found: dict[str, SimulatedSample] = {}
    for one in _kept(store, setting, purposes):
        said = one.conditions.get(SIMULATOR)
        energy_mj = said.get("energy_mj") if isinstance(said, dict) else None
        assert one.latency is not None, "only usable ones are asked for"
        sample = SimulatedSample(
            one.latency.median_ms, float(energy_mj) if isinstance(energy_mj, int | float) else None, _seconds(one)
        )
        found.setdefault(one.graph_hash, sample)
    return found


def _kept(
    store: Store, setting: LocalSetting, purposes: Collection[str], *, usable_only: bool = True
) -> list[Measurement]:
    return store.measurements(
        device_identity=setting.device.identity,
        profile_hash=setting.profile.profile_hash,
        purposes=purposes,
        usable_only=usable_only,
        with_visits=True,
    )


def _is_answer(measurement: Measurement) -> bool:
    return measurement.status in (Status.SIMULATED, Status.UNSUPPORTED_OPERATOR)


def _ask(
    setting: LocalSetting, simulator: SimulatedDevice, workload: Workload, purpose: str, session: str
) -> Measurement:
    started, begin = _now(), time.perf_counter()
    cost, status, message = SimulatedCost(), Status.SIMULATED, ""
    try:
        cost = checked_cost(simulator, workload)
    except SimulatorError as error:
        status, message = Status.CRASHED, error.message
    except ModelError as error:
        status, message = Status.INVALID_MODEL, error.message
    seconds = time.perf_counter() - begin
    if cost.unsupported:
        status, message = Status.UNSUPPORTED_OPERATOR, "; ".join(cost.unsupported)
    said: dict[str, Json] = {"energy_mj": cost.energy_mj, "peak_memory_bytes": cost.peak_memory_bytes, **cost.details}
    conditions: dict[str, Json] = {"simulator_s": seconds}
    if cost.latency_ms is not None:
        conditions[SIMULATOR] = said
    return Measurement(
        measurement_id=new_measurement_id(),
        graph_hash=workload.graph_hash,
        profile_hash=setting.profile.profile_hash,
        environment_hash=setting.stage.environment.environment_hash,
        device_identity=setting.device.identity,
        session=session,
        protocol=PROTOCOL,
        purpose=purpose,
        status=status,
        message=message,
        started_at=started,
        finished_at=_now(),
        latency=None if cost.latency_ms is None else _exact(cost.latency_ms),
        # A simulator starts no process and makes no call: nothing stands between its number and the graph's.
        overhead_ms=None if cost.latency_ms is None else 0.0,
        conditions=conditions,
    )


def _exact(latency_ms: float) -> Latency:
    """A latency without a spread, that no run stands behind."""
    value = float(latency_ms)
    return Latency(
        median_ms=value,
        lo_ms=value,
        hi_ms=value,
        min_ms=value,
        quartile_ms=value,
        mean_ms=value,
        p90_ms=value,
        p99_ms=value,
        mad_ms=None,
        visits=0,
        runs=0,
    )


def _lacking(measurements: Sequence[Measurement]) -> dict[str, int]:
    named = [one.message.split("; ") for one in measurements if one.status is Status.UNSUPPORTED_OPERATOR]
    return dict(Counter(operator for operators in named for operator in operators).most_common())


def _seconds(measurement: Measurement) -> float:
    seconds = measurement.conditions.get("simulator_s")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
