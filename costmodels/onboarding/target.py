"""Whom to onboard: this machine, or a device that the store has enough networks of to be fitted without measuring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...db import Store
from ...profiler.errors import UsageError
from ...profiler.records import Device, RuntimeProfile
from ..local_setting import LocalSetting
from .known import StoredPair

#: Fewest networks of a device elsewhere that are fitted without measuring anything.
REFIT_MIN = 5


@dataclass(frozen=True)
class Target:
    """The new device.

    Attributes:
        is_here: whether it is this machine, so that it can be measured.
    """

    device: Device
    profile: RuntimeProfile
    is_here: bool

    def is_pair(self, pair: StoredPair) -> bool:
        return (pair.device.identity, pair.profile.profile_hash) == (self.device.identity, self.profile.profile_hash)


def find_target(
    store: Store, pairs: Sequence[StoredPair], asked: str | None, setting: LocalSetting, profile_hash: str = ""
) -> Target:
    """The device that somebody asked for.

    Args:
        asked: a name, or the beginning of an identity; None is this machine.
        profile_hash: the beginning of a profile's hash, where the store has networks of a device under several.

    Raises:
        UsageError: nobody is called so, several are, or it is another machine that has too few networks in the store.
    """
    if asked is None or asked == setting.device.name or _begins(setting.device.identity, asked):
        return Target(setting.device, setting.profile, is_here=True)
    known = [device for device in store.devices() if device.name == asked or _begins(device.identity, asked)]
    if len(known) != 1:
        there = ", ".join(f"{device.name} ({device.identity[:8]})" for device in known or store.devices()) or "none"
        raise UsageError(
            f"{len(known)} devices are called {asked!r}" if known else f"there is no device {asked!r} in the database",
            remedy=f"name one by the beginning of its identity: {there}; leave it out for this machine",
        )
    (device,) = known
    mine = [
        pair
        for pair in pairs
        if pair.device.identity == device.identity and pair.profile.profile_hash.startswith(profile_hash)
    ]
    enough = [pair for pair in mine if len(pair.known.latency_ms) >= REFIT_MIN]
    if len(enough) > 1:
        choice = "; ".join(f"{pair.profile.profile_hash[:8]} {pair.profile.label}" for pair in enough)
        raise UsageError(
            f"{device.name} was measured under {len(enough)} runtime profiles", remedy=f"choose: --profile {choice}"
        )
    if not enough:
        most = max((len(pair.known.latency_ms) for pair in mine), default=0)
        raise UsageError(
            f"{device.name} is not this machine, and {most} of its networks in the database are too few to learn it"
            f" from ({REFIT_MIN})",
            remedy="run the same command on that machine, with this database or with its own",
        )
    return Target(device, enough[0].profile, is_here=False)


def _begins(identity: str, asked: str) -> bool:
    """Whether this is the beginning of an identity; four characters are the least that anybody means as one."""
    return len(asked) >= 4 and identity.startswith(asked)
