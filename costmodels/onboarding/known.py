"""Devices that measured networks of a space already: as the store has them, a device for each machine and profile.

One machine under another runtime, with other threads or another precision counts as another device: what it costs to
run a network there is another function, and one that may be alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...db import Store
from ...profiler.errors import EdgecostError, UsageError
from ...profiler.records import Device, RuntimeProfile
from ..dataset import NETWORK_PURPOSES, load_samples
from .arch_space import Archs, ArchSpace

Floats = npt.NDArray[np.float64]

#: Fewest measured networks of a device from which anything is borrowed: fewer say less than they cost to weigh.
ROWS_MIN = 20


@dataclass(frozen=True, eq=False)
class KnownDevice:
    """What a device measured of a space.

    Attributes:
        name: unique among those that are used together.
        origin: where the numbers come from, for people.
        archs: shape (networks, places), distinct.
        latency_ms: shape (networks,), whole networks, nothing subtracted.
    """

    name: str
    origin: str
    archs: Archs
    latency_ms: Floats


@dataclass(frozen=True)
class StoredPair:
    """A device and a runtime profile under which the store has networks of a space."""

    device: Device
    profile: RuntimeProfile
    known: KnownDevice


def stored_pairs(store: Store, space: ArchSpace) -> list[StoredPair]:
    """Every device and profile with measured networks of this very space (its resolution and width too)."""
    hashes: dict[tuple[str, str], None] = {}
    for measurement in store.measurements(purposes=NETWORK_PURPOSES):
        hashes.setdefault((measurement.device_identity, measurement.profile_hash))
    devices, names, found = {device.identity: device for device in store.devices()}, _Names(space), []
    for identity, profile_hash in hashes:
        profile = store.profile(profile_hash)
        if profile is None:  # pragma: no cover  a foreign key says otherwise
            continue
        archs, latency_ms = measured_networks(store, identity, profile, names)
        if len(latency_ms):
            device = devices[identity]
            known = KnownDevice(f"{device.name}/{profile.label}", f"store, device {identity[:8]}", archs, latency_ms)
            found.append(StoredPair(device, profile, known))
    return _told_apart(found)


def measured_networks(store: Store, identity: str, profile: RuntimeProfile, names: _Names) -> tuple[Archs, Floats]:
    """Architectures (networks, places) and their latencies in ms: of each network the median over its sessions."""
    found: dict[bytes, tuple[Archs, float]] = {}
    for sample in load_samples(store, identity, profile, purposes=NETWORK_PURPOSES):
        arch = names.arch_of(sample.workload.name, sample.workload.graph_hash)
        if arch is not None:
            found[arch.tobytes()] = (arch, sample.raw_ms)
    archs = np.array([arch for arch, _ in found.values()], dtype=np.int16)
    latency_ms = np.array([latency for _, latency in found.values()], dtype=np.float64)
    return archs.reshape(len(found), names.space.pool.shape[1]), latency_ms


class _Names:
    """Which architecture a stored network is: by its name, which says it, and its hash, which does not lie."""

    def __init__(self, space: ArchSpace) -> None:
        self.space = space
        self._found: dict[str, Archs | None] = {}

    def arch_of(self, name: str, graph_hash: str) -> Archs | None:
        if graph_hash not in self._found:
            self._found[graph_hash] = self._read(name, graph_hash)
        return self._found[graph_hash]

    def _read(self, name: str, graph_hash: str) -> Archs | None:
        if not name.startswith(self.space.prefix):
            return None
        try:
            given = self.space.parse(name.removeprefix(self.space.prefix))
            arch = self.space.canonical(given.reshape(1, -1))[0]
            # Another resolution or width has the same names and other graphs.
            return arch if self.space.build(arch).graph_hash == graph_hash else None
        except EdgecostError:
            return None


def network_names(space: ArchSpace) -> _Names:
    """What ``measured_networks`` recognises networks by; keep it, it remembers."""
    return _Names(space)


def usable(known: Sequence[KnownDevice], only: Sequence[str] = ()) -> tuple[list[KnownDevice], list[str]]:
    """Those with enough networks, and a note on each of the others.

    Args:
        only: names, or beginnings of names, of those that are wanted; all where none is given.

    Raises:
        UsageError: nothing has one of these names.
    """
    for name in only:
        if not any(device.name.startswith(name) for device in known):
            there = ", ".join(device.name for device in known) or "none"
            raise UsageError(f"no known device is called {name!r}", remedy=f"known devices: {there}")
    wanted = [device for device in known if not only or device.name.startswith(tuple(only))]
    notes = [
        f"{device.name}: {len(device.latency_ms)} networks of this space are too few to borrow from ({ROWS_MIN})"
        for device in wanted
        if len(device.latency_ms) < ROWS_MIN
    ]
    chosen = [device for device in wanted if len(device.latency_ms) >= ROWS_MIN]
    twice = [name for name, group in _by_name(chosen).items() if len(group) > 1]
    if twice:
        raise UsageError(f"two known devices have one name: {', '.join(twice)}", remedy="rename one in its file")
    return chosen, notes


def _by_name(devices: Sequence[KnownDevice]) -> dict[str, list[KnownDevice]]:
    groups: dict[str, list[KnownDevice]] = defaultdict(list)
    for device in devices:
        groups[device.name].append(device)
    return groups


def _told_apart(found: Sequence[StoredPair]) -> list[StoredPair]:
    """With a piece of the hashes in the name where names are equal: a label leaves out options and affinity."""
    groups = _by_name([pair.known for pair in found])
    told = []
    for pair in found:
        known = pair.known
        if len(groups[known.name]) > 1:
            suffix = f"{pair.device.identity[:6]}.{pair.profile.profile_hash[:6]}"
            known = KnownDevice(f"{known.name} ({suffix})", known.origin, known.archs, known.latency_ms)
        told.append(StoredPair(pair.device, pair.profile, known))
    return told
