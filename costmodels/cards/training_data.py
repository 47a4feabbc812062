"""What a predictor stands on: which measurements, from when, under which protocol, and what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ...db import Store
from ...profiler.records import Device, Measurement, RuntimeProfile
from ..dataset import BLOCK_PURPOSES, NETWORK_PURPOSES, typical_overhead_ms
from ..device_probe import probe_features, probe_of
from ..drift import canary_level_us

#: Why a usable measurement is no sample, as the card says it.
NO_OVERHEAD = "what a call costs was never measured"
NOTHING_LEFT = "takes no longer than the call that is subtracted, or is too short to time alone"
UNREADABLE = "the runtime does not open the model any more"
RETRACTED = "retracted"


@dataclass(frozen=True)
class TrainingData:
    """The measurements behind a model.

    Attributes:
        rows: measurements that took part, ``purposes`` by purpose.
        graphs, kernels, networks: distinct graphs without the networks, the kernels in them, and whole networks.
        sessions: runner processes that measured them.
        measured_from, measured_until: begin of the first and end of the last, ISO-8601 in UTC; empty without rows.
        protocols: rows by version of the protocol.
        environments: how many differing ones the rows are from.
        kernels and environments are None where nobody counted.
        left_out: measurements that took no part, by reason.
        seed: of folds and trees.
    """

    rows: int
    purposes: Mapping[str, int]
    graphs: int
    kernels: int | None
    networks: int
    sessions: int
    measured_from: str
    measured_until: str
    protocols: Mapping[str, int]
    environments: int | None
    left_out: Mapping[str, int]
    seed: int


@dataclass(frozen=True)
class ProbeFingerprint:
    """The device's probe as it was at training (``device_probe.probe_features``)."""

    measured_at: str
    environment_hash: str
    features: Mapping[str, float]


@dataclass(frozen=True)
class Circumstances:
    """Under which conditions the measurements were made.

    Attributes:
        environment: document of the environment that most rows are from; None where none is known.
        canary_us: quiet level of the canary in the sessions behind them, the median; None where none has one.
        probe: None where the device was not probed.
        purposes: under which each graph was measured first, by its hash.
    """

    device: Device | None
    environment: Mapping[str, object] | None
    canary_us: float | None
    probe: ProbeFingerprint | None
    purposes: Mapping[str, str]


def training_data(
    store: Store,
    device_identity: str,
    profile: RuntimeProfile,
    *,
    graphs: Collection[str],
    networks: Collection[str],
    kernels: int,
    seed: int,
) -> tuple[TrainingData, Circumstances]:
    """Look up what the samples of a training were made of.

    Args:
        graphs, networks: hashes of the graphs and networks that took part.
        kernels: how many kernels they have.
    """
    purposes = (*BLOCK_PURPOSES, *NETWORK_PURPOSES)
    every = store.measurements(
        device_identity=device_identity, profile_hash=profile.profile_hash, purposes=purposes, usable_only=False
    )
    usable = store.measurements(device_identity=device_identity, profile_hash=profile.profile_hash, purposes=purposes)
    blocks, wholes = set(graphs), set(networks)
    used = [m for m in usable if m.graph_hash in (wholes if m.purpose in NETWORK_PURPOSES else blocks)]
    data = TrainingData(
        rows=len(used),
        purposes=dict(Counter(m.purpose for m in used)),
        graphs=len(blocks),
        kernels=kernels,
        networks=len(wholes),
        sessions=len({m.session for m in used}),
        measured_from=min((m.started_at for m in used), default=""),
        measured_until=max((m.finished_at for m in used), default=""),
        protocols=dict(Counter(m.protocol for m in used)),
        environments=len({m.environment_hash for m in used}),
        left_out=_left_out(every, usable, used),
        seed=seed,
    )
    return data, _circumstances(store, device_identity, profile, used)


def _left_out(
    every: Sequence[Measurement], usable: Sequence[Measurement], used: Sequence[Measurement]
) -> dict[str, int]:
    good, taken = {m.measurement_id for m in usable}, {m.measurement_id for m in used}
    overhead_ms = typical_overhead_ms(usable)
    reasons: Counter[str] = Counter()
    for one in every:
        if one.measurement_id in taken:
            continue
        if not one.status.has_latency:
            reasons[one.status.value.replace("_", " ")] += 1
        elif one.measurement_id not in good:
            reasons[RETRACTED] += 1
        else:
            reasons[_why_no_sample(one, overhead_ms)] += 1
    return dict(reasons.most_common())


def _why_no_sample(one: Measurement, typical_ms: float | None) -> str:
    if one.overhead_ms is None and typical_ms is None:
        return NO_OVERHEAD
    return UNREADABLE if one.purpose in NETWORK_PURPOSES and one.net_ms is not None else NOTHING_LEFT


def _circumstances(
    store: Store, device_identity: str, profile: RuntimeProfile, used: Sequence[Measurement]
) -> Circumstances:
    common = Counter(m.environment_hash for m in used).most_common(1)
    environment = store.environment(common[0][0]) if common else None
    device = next((one for one in store.devices() if one.identity == device_identity), None)
    sessions = {m.session for m in used}
    probe = probe_of(store, device_identity, profile)
    return Circumstances(
        device=device,
        environment=None if environment is None else dict(environment.document),
        canary_us=canary_level_us(store, device_identity, profile.profile_hash, sessions.__contains__),
        probe=None
        if probe is None
        else ProbeFingerprint(probe.measured_at, probe.environment_hash, dict(probe_features(probe))),
        purposes={m.graph_hash: m.purpose for m in reversed(used)},
    )
