"""Everything that measurements on this machine stand on: device, runtime profile, environment, CPUs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..devices.guards import board_watch
from ..devices.host import HostFacts, host_device, read_host
from ..devices.host_stage import environment_now, host_stage
from ..profiler.records import SIMULATOR, VIRTUAL, Device, Environment, RuntimeProfile
from ..profiler.runtimes import host_profile
from ..profiler.tasks import Stage
from ..profiler.tvm.client import is_remote
from .drift import quiet_canary_ns

if TYPE_CHECKING:
    from ..db import Store


@dataclass(frozen=True)
class LocalSetting:
    """Everything that measurements on this machine stand on."""

    facts: HostFacts
    device: Device
    profile: RuntimeProfile
    stage: Stage

    @classmethod
    def here(cls, profile: RuntimeProfile | None = None) -> LocalSetting:
        """This machine as it is now.

        Args:
            profile: None for ONNX Runtime with one thread, as it is installed beside edgecost.
        """
        facts = read_host()
        profile = profile or host_profile()
        if profile.runtime == VIRTUAL:
            from ..devices.virtual.catalogue import of_profile  # simulators come with it

            virtual = of_profile(profile)
            device = virtual.device()
            return cls(facts, device, profile, Stage(profile, virtual.environment(), device.identity))
        if is_remote(profile):
            return cls._behind_rpc(facts, profile)
        device = host_device(facts)
        stage = host_stage(profile, device.identity, watch=board_watch())
        return cls(facts, device, profile, stage)

    @classmethod
    def _behind_rpc(cls, facts: HostFacts, profile: RuntimeProfile) -> LocalSetting:
        """A board that only TVM's tracker knows: by its key, with nothing of its conditions to be read from here."""
        options = dict(profile.options)
        key, tracker = options["rpc_key"], options["rpc_tracker"]
        device = Device(
            name=key,
            identity=hashlib.sha256(f"tvm-rpc/{key}".encode()).hexdigest(),
            description=f"{key} ({options['mcpu']}), behind the TVM tracker {tracker}",
        )
        environment = Environment({"rpc_key": key, "rpc_tracker": tracker, "target": options["mcpu"]})
        return cls(facts, device, profile, Stage(profile, environment, device.identity))

    @property
    def is_elsewhere(self) -> bool:
        """Whether the device is not this machine, but a board behind a tracker, a simulation or a virtual one."""
        return is_remote(self.profile) or self.profile.runtime in (SIMULATOR, VIRTUAL)

    @property
    def core_cache_bytes(self) -> int | None:
        """Of the device's second-level cache; None where it does not tell."""
        return None if self.is_elsewhere else self.facts.core_cache_bytes

    def stage_now(self, store: Store | None) -> Stage:
        """The stage as it is at this moment: environment and, where a store knows it, how fast the machine can be."""
        stage = self.stage
        if not self.is_elsewhere:
            stage = replace(stage, environment=environment_now(self.profile, stage.cpus))
        if store is None:
            return stage
        store.put_environment(stage.environment)
        environment = stage.environment.environment_hash
        quiet_ns = quiet_canary_ns(store, stage.device_identity, self.profile.profile_hash, environment)
        return replace(stage, quiet_canary_ns=quiet_ns)

    def store_in(self, store: Store) -> None:
        """Make the device, profile and environment known to the store."""
        store.put_device(self.device)
        store.put_profile(self.profile)
        store.put_environment(self.stage.environment)
