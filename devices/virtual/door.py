"""What measures under a profile: the real bench, sensor and energies, or a virtual device's. Standard library only.

Boards load this; what plays a device, and the packages that its law needs, is loaded where a profile asks for one.
"""

from __future__ import annotations

from ...profiler.bench import Bench
from ...profiler.energy.measure import EnergyBench
from ...profiler.energy.meter import Meter
from ...profiler.energy.windows import EnergySettings, Guard, Span
from ...profiler.protocol import Settings
from ...profiler.records import VIRTUAL, RuntimeProfile
from ...profiler.tasks import Stage


def open_bench(profile: RuntimeProfile) -> Bench:
    """The bench of a profile; no process is started yet.

    Raises:
        UsageError: as ``Bench.for_profile``, or there is no such virtual device.
    """
    if profile.runtime != VIRTUAL:
        return Bench.for_profile(profile)
    from .bench import virtual_bench

    return virtual_bench(profile)


def virtual_stage(profile: RuntimeProfile, device_identity: str) -> Stage:
    """What measurements on a profile's virtual device stand on: its conditions are its own, and this machine's none.

    Raises:
        UsageError: there is no such virtual device.
    """
    from .catalogue import of_profile

    return Stage(profile, of_profile(profile).environment(), device_identity)


def meter_of(profile: RuntimeProfile, name: str | None, board: str = "") -> Meter:
    """The power sensor of this machine, or that of the profile's virtual device; the device's own without a name.

    Args:
        board: which of several virtual devices of the profile; their sensors are not quite alike.

    Raises:
        UsageError: there is none of this name.
        MeterError: there is none, or it may not be read.
    """
    if profile.runtime != VIRTUAL:
        from ..sensors import open_meter

        return open_meter(name)
    from .bench import virtual_meter

    return virtual_meter(profile, name, board)


def energy_bench(
    settings: Settings,
    bench: Bench,
    meter: Meter,
    energy: EnergySettings | None = None,
    guard: Guard = lambda _: "",
) -> EnergyBench:
    """What measures energies with a meter; a virtual one stands at a virtual machine, which says what ails it."""
    if meter.facts.driver != VIRTUAL:
        return EnergyBench(settings, bench, meter, energy, guard)
    from .sensors import VirtualMeter

    if not isinstance(meter, VirtualMeter):
        return EnergyBench(settings, bench, meter, energy, guard)
    from .bench import VirtualEnergyBench

    machine = meter.machine

    def guarded(span: Span) -> str:
        return guard(span) or machine.trouble(span.begin_ns, span.end_ns)

    return VirtualEnergyBench(settings, bench, meter, energy, guarded)
