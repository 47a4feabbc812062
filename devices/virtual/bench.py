"""What measures on a virtual device: the law's costs go to the runner as a graph would, energies by a virtual sensor.

``door`` chooses between these and the real ones.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from ...profiler.bench import Bench
from ...profiler.client import RunnerSupply
from ...profiler.energy.measure import AttemptFailed, EnergyBench
from ...profiler.energy.session import Load
from ...profiler.errors import UsageError
from ...profiler.loading import LoadRefused
from ...profiler.records import RuntimeProfile, Status
from ...profiler.tasks import Stage
from ...profiler.worker import Answer, Spawned
from ...profiler.workload import Workload
from ..simulators.role import SimulatedCost, checked_cost
from .catalogue import VirtualDevice, of_profile
from .load import VirtualLoad
from .machine import Machine
from .sensors import RAILS, SENSORS, VirtualMeter


def virtual_bench(profile: RuntimeProfile) -> Bench:
    """The bench of a virtual profile; raises as ``of_profile``."""
    device = of_profile(profile)
    return Bench(VirtualSupply(profile.provider, device.seed), VirtualLoader(device))


def virtual_meter(profile: RuntimeProfile, name: str | None, board: str = "") -> VirtualMeter:
    """The sensor of a profile's virtual device, or one of another kind beside it; each time in a session of its own.

    Args:
        board: which of several boards of the profile; each has another sensor.

    Raises:
        UsageError: there is no sensor of this kind.
    """
    device = of_profile(profile)
    kind = name or device.sensor
    facts = SENSORS.get(kind)
    if facts is None:
        raise UsageError(f"there is no virtual sensor {kind!r}", remedy=f"one of {', '.join(SENSORS)}")
    # One board has one sensor: what it is off by stays the same from session to session. Chance does not.
    session = _new_session(device.seed)
    machine = Machine(device.character, session)
    which = f"{device.seed}/{board}" if board else str(device.seed)
    return VirtualMeter(machine, facts, session, rails=RAILS.get(kind, ()), board=which)


def _new_session(seed: int) -> int:
    return seed * 1_000_003 + uuid.uuid4().int % 1_000_000


class VirtualSupply(RunnerSupply):
    """Starts runners of a virtual device. Each is a session of its own, and the next session has other chances."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__()
        self._name = name
        self._session = _new_session(seed)

    def prepare(self) -> None:
        """It starts in no time."""

    def take(self) -> Spawned:
        """As ``RunnerSupply.take``."""
        self._session += 1
        module = f"{__package__}.process"
        return Spawned.start([sys.executable, "-m", module, self._name, str(self._session)], {})


class VirtualLoader:
    """Asks the law, once for each graph that is to be loaded."""

    def __init__(self, device: VirtualDevice) -> None:
        self._device = device

    def request(self, name: str, workload: Workload, seed: int) -> Answer:
        """What the runner needs to play a graph; raises ``LoadRefused`` where the law knows an operator not."""
        cost = asked_cost(self._device, workload)
        assert cost.latency_ms is not None, "what is not supported was refused"
        return {
            "verb": "load",
            "id": name,
            "latency_ms": cost.latency_ms,
            "active_mw": active_mw(self._device, cost),
            "memory_bytes": cost.peak_memory_bytes,
            "kernels_ms": list(cost.kernels_ms),
        }

    def canary(self) -> Answer | None:
        """The virtual runner has its own."""
        return None

    def close(self) -> None:
        """Nothing stands behind it."""


class VirtualEnergyBench(EnergyBench):
    """An energy bench whose loads run at the virtual machine that the meter stands at, and not in a process."""

    @contextmanager
    def opened_load(self, workload: Workload, stage: Stage) -> Iterator[Load]:
        """As ``EnergyBench.opened_load``."""
        assert isinstance(self.meter, VirtualMeter), "made for no other"
        device, machine = of_profile(stage.profile), self.meter.machine
        cost = asked_cost(device, workload)
        assert cost.latency_ms is not None, "what is not supported was refused"
        if (cost.peak_memory_bytes or 0) > device.character.memory_bytes:
            raise AttemptFailed(Status.OUT_OF_MEMORY, f"{workload.name} needs more than the virtual machine has")
        grain_s = max(0.002, self.meter.facts.period_s / 8)
        yield VirtualLoad(machine, cost.latency_ms, active_mw(device, cost), grain_s)


def asked_cost(device: VirtualDevice, workload: Workload) -> SimulatedCost:
    """What the law says.

    Raises:
        LoadRefused: it knows an operator not.
    """
    cost = checked_cost(device.law, workload)
    if cost.unsupported:
        raise LoadRefused(Status.UNSUPPORTED_OPERATOR, "; ".join(cost.unsupported))
    return cost


def active_mw(device: VirtualDevice, cost: SimulatedCost) -> float:
    """Mean power of a run: the law's energy over its time; a law of an accelerator alone leaves out the board's rest.

    Where the law knows no energy a running machine takes twice what it takes at rest.
    """
    idle_mw = device.character.idle_mw
    if cost.energy_mj is None or cost.latency_ms is None:
        return 2 * idle_mw
    power_mw = cost.energy_mj / (cost.latency_ms / 1e3)
    return power_mw if power_mw > idle_mw else power_mw + idle_mw
