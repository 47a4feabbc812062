"""This machine as the stage of a measurement. Standard library only."""

from __future__ import annotations

from functools import partial

from ..profiler.records import Environment, RuntimeProfile
from ..profiler.runtimes import timing_cpus
from ..profiler.tasks import Stage
from .host import host_environment, read_conditions, read_host


def host_stage(profile: RuntimeProfile, device_identity: str, cpus: tuple[int, ...] = ()) -> Stage:
    """What measurements under a profile stand on here and now.

    Args:
        cpus: those that the runner is pinned to; none for the profile's own, else the last ones.
    """
    pinned = cpus or profile.affinity or timing_cpus(profile.threads)
    return Stage(
        profile,
        environment_now(profile, pinned),
        device_identity,
        pinned,
        read_environment=partial(environment_now, profile, pinned),
        read_conditions=read_conditions,
    )


def environment_now(profile: RuntimeProfile, cpus: tuple[int, ...]) -> Environment:
    """This machine's frozen conditions, looked at anew."""
    return host_environment(read_host(), profile, cpus)
