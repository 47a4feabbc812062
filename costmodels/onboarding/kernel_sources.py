"""Known devices whose kernels a new one may borrow: which of them the store has, and what it has of each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...db import Store
from ...profiler.errors import ModelError
from ...profiler.kernels.graph import Kernel
from ...profiler.records import Device, RuntimeProfile
from ..dataset import NETWORK_PURPOSES, Sample, load_samples, sample_kernels
from ..kernel_work import kind_of

#: Purposes of kernels that were measured by themselves; blocks are sums of kernels that may move apart.
PURPOSES = ("kernel", "repeated")
#: Fewest kernels of a known device, of which a predictor can be made.
KNOWN_MIN = 100


@dataclass(frozen=True, eq=False)
class KernelSource:
    """Kernels of a device and profile that are known.

    Attributes:
        graphs: kernels of each sample's graph: one, or its copies.
        networks: whole networks, and ``network_graphs`` their kernels.
    """

    name: str
    samples: tuple[Sample, ...]
    graphs: tuple[tuple[Kernel, ...], ...]
    networks: tuple[Sample, ...]
    network_graphs: tuple[tuple[Kernel, ...], ...]

    @property
    def hashes(self) -> tuple[str, ...]:
        return tuple(sample.workload.graph_hash for sample in self.samples)


def kernel_sources(store: Store, new: Device, profile: RuntimeProfile) -> tuple[list[KernelSource], list[str]]:
    """Devices and profiles whose kernels are those of this profile, most kernels first; and notes on the others.

    Kernels are the same where runtime, provider, level of optimisation and precision are: threads, versions, options
    and the machine may differ.
    """
    pairs = dict.fromkeys((m.device_identity, m.profile_hash) for m in store.measurements(purposes=PURPOSES))
    names = {device.identity: device.name for device in store.devices()}
    found, notes = [], []
    for identity, profile_hash in pairs:
        other = store.profile(profile_hash)
        if other is None or (identity, profile_hash) == (new.identity, profile.profile_hash):
            continue
        name = f"{names[identity]}/{other.label} ({identity[:6]}.{profile_hash[:6]})"
        if _language(other) != _language(profile):
            notes.append(f"{name}: its kernels are others than those of {profile.label}")
            continue
        samples = load_samples(store, identity, other, purposes=PURPOSES)
        if len(samples) < KNOWN_MIN:
            notes.append(f"{name}: {len(samples)} kernels are too few to borrow from ({KNOWN_MIN})")
            continue
        networks = load_samples(store, identity, other, purposes=NETWORK_PURPOSES)
        found.append(_source(name, samples, networks, other))
    return sorted(found, key=lambda source: -len(source.samples)), notes


def _language(profile: RuntimeProfile) -> tuple[str, ...]:
    return (profile.runtime, profile.provider, profile.graph_level, profile.precision)


def _source(name: str, samples: Sequence[Sample], networks: Sequence[Sample], profile: RuntimeProfile) -> KernelSource:
    graphs = sample_kernels(samples, profile)
    # A kernel without a price teaches nothing; it is none of those that are planned, but a file may bring one.
    kept = [place for place, graph in enumerate(graphs) if graph and all(map(kind_of, graph))]
    whole = readable(networks, profile)
    return KernelSource(
        name,
        tuple(samples[place] for place in kept),
        tuple(graphs[place] for place in kept),
        tuple(sample for sample, _ in whole),
        tuple(graph for _, graph in whole),
    )


def readable(networks: Sequence[Sample], profile: RuntimeProfile) -> list[tuple[Sample, tuple[Kernel, ...]]]:
    """Networks with their kernels, without those that the runtime no longer opens, such as a file that is gone."""
    found = []
    for sample in networks:
        with suppress(ModelError):
            found += [(sample, graph) for graph in sample_kernels([sample], profile)]
    return found
