"""This machine as the stage of a measurement. Standard library only."""

from __future__ import annotations

from functools import partial

from ..profiler.records import Environment, RuntimeProfile
from ..profiler.runtimes import timing_cpus
from ..profiler.tasks import Stage
from .guards import BoardWatch
from .host import host_environment, read_conditions, read_host


def host_stage(
    profile: RuntimeProfile, device_identity: str, cpus: tuple[int, ...] = (), watch: BoardWatch | None = None
) -> Stage:
    """What measurements under a profile stand on here and now.

    Args:
        cpus: those that the runner is pinned to; none for the profile's own, else the last ones.
        watch: over this machine, the same for as long as the process lives; None where it has nothing to be watched.
    """
    pinned = cpus or profile.affinity or timing_cpus(profile.threads)
    return Stage(
        profile,
        environment_now(profile, pinned),
        device_identity,
        pinned,
        read_environment=partial(environment_now, profile, pinned),
        read_conditions=read_conditions,
        watch=None if watch is None else watch.on(pinned, gpu=profile.is_on_nvidia),
    )


def environment_now(profile: RuntimeProfile, cpus: tuple[int, ...]) -> Environment:
    """This machine's frozen conditions, looked at anew."""
    return host_environment(read_host(), profile, cpus)
