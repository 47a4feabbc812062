"""Which device and runtime profile a half runs on, as people name them. What it costs there, ``prices.py`` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...db import Store
from ...devices.simulators import SimulatedDevice
from ...profiler.errors import UsageError
from ...profiler.records import Device, RuntimeProfile
from ..fleet.ask import find_target
from ..local_setting import LocalSetting
from ..named_device import find_device
from ..named_runtimes import chosen_profile, find_runtime
from ..simulated.simulation import PREFIX, simulated_setting

#: This machine.
HOST = "host"
_DEFAULT_RUNTIME = "ort"


@dataclass(frozen=True)
class Side:
    """Where a half runs.

    Attributes:
        setting: this machine as it is, where it is the side; only it can be measured from here.
        simulator: where the side is one, which answers for itself.
    """

    device: Device
    profile: RuntimeProfile
    setting: LocalSetting | None = None
    simulator: SimulatedDevice | None = None

    @property
    def label(self) -> str:
        return f"{self.device.description}, {self.profile.label}"


def find_side(
    name: str,
    runtime: str | None,
    store: Store | None,
    store_url: str | None,
    has_predictor: Callable[[Device, RuntimeProfile], bool],
) -> Side:
    """The device that a name means, with the profile of a runtime.

    Args:
        name: ``host``; ``simulator:NAME`` with its options; else a device of the store: a board of the fleet, or one
            that was measured, by its name or the beginning of its identity.
        runtime: None is ``ort`` on this machine and on boards; of another device the profile that was measured last, of
            those with a predictor where there are some.
        store: None where there is no database.

    Raises:
        UsageError: nothing has this name, several devices have it, or it has no such runtime.
        MissingPackage, RunnerError: this machine has not got the runtime.
    """
    if name == HOST:
        setting = LocalSetting.here(chosen_profile(runtime or _DEFAULT_RUNTIME, None, store_url))
        return Side(setting.device, setting.profile, None if setting.is_elsewhere else setting)
    if name.startswith(PREFIX):
        if runtime is not None:
            raise UsageError(f"{name} is its own runtime", remedy=f"leave out the runtime {runtime}")
        simulated, simulator = simulated_setting(name.removeprefix(PREFIX))
        return Side(simulated.device, simulated.profile, simulator=simulator)
    if store is None:
        raise UsageError(
            f"there is no database that could know the device {name!r}", remedy="name it: --db URL; or take host"
        )
    if name in {agent.name for agent in store.fleet.agents()}:
        target = find_target(store, name, runtime)
        return Side(target.device, target.profile)
    device = find_device(store, name, also=(HOST,))
    return Side(device, _profile(store, device, runtime, store_url, has_predictor))


def _profile(
    store: Store,
    device: Device,
    runtime: str | None,
    store_url: str | None,
    has_predictor: Callable[[Device, RuntimeProfile], bool],
) -> RuntimeProfile:
    """The newest profile of a device that was measured; one with a predictor before one without."""
    found = [store.profile(profile_hash) for profile_hash in reversed(store.profiles_of(device.identity))]
    profiles = [profile for profile in found if profile is not None]
    if runtime is not None:
        wanted = find_runtime(runtime, store_url)
        alike = ("runtime", "provider", "precision", "graph_level")
        profiles = [one for one in profiles if all(getattr(one, key) == getattr(wanted, key) for key in alike)]
    if not profiles:
        how = "" if runtime is None else f" with {runtime}"
        raise UsageError(f"{device.name} was never measured{how}", remedy="edgecost devices list")
    return next((one for one in profiles if has_predictor(device, one)), profiles[0])
