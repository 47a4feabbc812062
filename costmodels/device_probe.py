"""The device probe: peak of matrix products, memory bandwidth by working set, cost of a call and of a node.

Measured as every other workload is, by a campaign under the protocol, and kept as measurements of the purpose
``probe``. A probe is read from those rows alone; nothing here is fitted, and nothing knows a predictor.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from ..db import Store
from ..db.campaigns import MAX_ATTEMPTS
from ..profiler.conclusion import conclude
from ..profiler.errors import UnstableMeasurement, UnsupportedPrecision
from ..profiler.graphs.probe_graphs import (
    GEMM_SIZES,
    IDLE_BYTES,
    ProbePlan,
    ProbeRole,
    Variant,
    role_of,
    runs_each_node,
    square_products,
)
from ..profiler.kernels.graph import kernels
from ..profiler.precision.convert import PRECISIONS, convert, emulated
from ..profiler.protocol import KERNELS
from ..profiler.records import Environment, Json, Latency, Measurement, RuntimeProfile, Status
from ..profiler.runtimes import CPU_PROVIDER, PROVIDER_THREADS
from ..profiler.tasks import Task
from ..profiler.workload import Workload
from .campaign import Planned
from .local_setting import LocalSetting
from .planned_campaign import Narrator, measure_planned

PURPOSE = "probe"
#: A rate whose interval is wider than this says nothing.
_SPREAD_MAX = 0.5
#: All of a probe takes half a minute on two cores: a few runs per precision and number of threads must do, and what a
#: busy machine rejects is tried again only while there is time.
_BUDGET_S, _BUDGET_MIN_S = 24.0, 1.0
_SETTINGS = replace(KERNELS, target=0.03, visits_max=30, rounds_max=60, group_max_s=8.0)
#: Seconds of a group for TVM, which compiles its graphs in that time.
_COMPILED_GROUP_S = 30.0
#: Outcomes that another attempt in the same environment would only repeat.
_SETTLED = frozenset(
    Status(name)
    for name in (
        "unsupported_operator unsupported_precision invalid_model invalid_output invalid_target dynamic_shape"
        " provider_fallback sigill"
    ).split()
)


@dataclass(frozen=True)
class Reading:
    """One quantity of a probe, or why there is none.

    Attributes:
        value: in the unit that the field of the probe names; None where there is none, never 0.
        spread: half the 95 % interval within the session over the value; None without a value.
        n: valid visits behind it.
        status: of the measurement; ``below_resolution`` where the quantity cannot be told from what surrounds it,
            ``not_measured`` where no attempt is known, ``unsupported`` where the runtime has no such quantity.
    """

    value: float | None
    spread: float | None
    n: int
    status: str
    message: str = ""


NOT_MEASURED = Reading(None, None, 0, "not_measured")


@dataclass(frozen=True)
class DeviceProbe:
    """What a device can do at best under one runtime profile.

    Attributes:
        gemm_gflops: 10⁹ operations per second (a multiply-add is two) of square products, the best of the sizes, by
            precision and threads; conversions at the border of an int8 graph included.
        bandwidth_gb_per_s: 10⁹ bytes per second, read and written, by working set in bytes, in fp32 with the profile's
            threads; less what starting the nodes costs.
        dispatch_us: an empty call.
        node_us: one more node that does next to nothing.
        measured_at: begin of the newest measurement, ISO-8601 in UTC.
        environment_hash: of the bandwidth and of dispatch; that of another number of threads differs in its CPUs alone.
    """

    device_identity: str
    profile: RuntimeProfile
    gemm_gflops: Mapping[Variant, Reading]
    bandwidth_gb_per_s: Mapping[int, Reading]
    dispatch_us: Reading
    node_us: Reading
    measured_at: str
    environment_hash: str

    def readings(self) -> Iterator[Reading]:
        """All of them."""
        yield from self.gemm_gflops.values()
        yield from self.bandwidth_gb_per_s.values()
        yield self.dispatch_us
        yield self.node_us

    def document(self) -> dict[str, object]:
        """As JSON."""
        return {
            "device_identity": self.device_identity,
            "profile": self.profile.label,
            "profile_hash": self.profile.profile_hash,
            "measured_at": self.measured_at,
            "environment_hash": self.environment_hash,
            "gemm_gflops": [
                {"precision": precision, "threads": threads, **asdict(reading)}
                for (precision, threads), reading in self.gemm_gflops.items()
            ],
            "bandwidth_gb_per_s": [
                {"working_set_bytes": size, **asdict(reading)} for size, reading in self.bandwidth_gb_per_s.items()
            ],
            "dispatch_us": asdict(self.dispatch_us),
            "node_us": asdict(self.node_us),
        }


def measure_probe(
    store: Store, setting: LocalSetting, narrator: Narrator, *, refresh: bool = False, plan: ProbePlan | None = None
) -> DeviceProbe:
    """Measure what the store does not know of this device in its present environment, and read the probe.

    Args:
        setting: of the runtime that is probed; its precision does not matter.
        refresh: measure everything again.
        plan: None for all that the device has.

    Raises:
        UnstableMeasurement: the machine was too busy for any number; what was tried is stored.
        RunnerError: the runner could not be started.
    """
    plan = plan or ProbePlan.for_profile(setting.profile, setting.facts.memory_bytes)
    base = variant_of(setting.profile, "fp32", setting.profile.threads)
    measured, begin = 0, time.monotonic()
    for variant in dict.fromkeys((("fp32", base.threads), *plan.variants)):
        here = LocalSetting.here(variant_of(setting.profile, *variant))
        known = set() if refresh else _settled(store, here)
        wanted = plan.streams_and_chains(base) if here.profile == base else []
        # Converting takes longer than looking at how many products are known.
        if variant in plan.variants and (here.profile == base or len(known) < len(plan.gemm_sizes)):
            wanted += _products(plan, here, store)
        missing = [workload for workload in wanted if workload.graph_hash not in known]
        if missing:
            left_s = _BUDGET_S - (time.monotonic() - begin)
            _measure(missing, store, here, narrator, max(left_s, _BUDGET_MIN_S))
        measured += len(missing)
    if not measured:
        narrator.note("everything is in the database already; --refresh measures it again")
    found = probe_of(store, setting.device.identity, setting.profile)
    if found is None or all(reading.value is None for reading in found.readings()):
        why = "`edgecost db info --failures` says why; stop other programs and try again"
        raise UnstableMeasurement("none of the probe's measurements gave a number", remedy=why)
    return found


def probe_of(store: Store, device_identity: str, profile: RuntimeProfile) -> DeviceProbe | None:
    """The probe that the store has of a device under a profile, whatever the profile's precision; None if it has none.

    Of several environments the newest counts, of several measurements of one graph the newest with a number.
    """
    base = variant_of(profile, "fp32", profile.threads)
    rows = _rows(store, device_identity)
    variants = _variants(store, base, rows)
    own = [row for row in rows if row.profile_hash == base.profile_hash]
    if not own:
        return None
    usable = [row for row in own if row.status.has_latency]
    environment_hash = (usable or own)[-1].environment_hash
    current = _same_conditions(store, environment_hash, {row.environment_hash for row in rows})
    kept = [row for row in rows if row.environment_hash in current and row.profile_hash in variants]
    found = {row.graph_hash: store.workload(row.graph_hash) for row in kept}
    roles = {graph_hash: role_of(workload) for graph_hash, workload in found.items() if workload is not None}
    # A number is not given up for a later attempt without one.
    newest: dict[tuple[Variant, ProbeRole], Measurement] = {}
    for row in sorted(kept, key=lambda row: row.status.has_latency):
        role = roles.get(row.graph_hash)
        if role is not None:
            newest[variants[row.profile_hash], role] = row
    of_base = {role: row for (variant, role), row in newest.items() if variant == ("fp32", base.threads)}
    dispatch_us, node_us = _call_and_node(of_base, base)
    return DeviceProbe(
        device_identity,
        base,
        _gemm(newest),
        _bandwidth(of_base),
        dispatch_us,
        node_us,
        measured_at=max(row.started_at for row in kept),
        environment_hash=environment_hash,
    )


def is_stale(probe: DeviceProbe, setting: LocalSetting) -> bool:
    """Whether the machine is not what it was: another kernel, governor, interpreter or version of the runtime."""
    return probe.environment_hash != setting.stage.environment.environment_hash


def probe_features(probe: DeviceProbe) -> dict[str, float]:
    """Natural logarithms of the quantities by name; what was not measured is missing, never NaN or 0.

    Names are ``log_gemm_gflops.fp32.2`` (precision, threads), ``log_bandwidth_gb_per_s.12288`` (working set in bytes),
    ``log_dispatch_us`` and ``log_node_us``.
    """
    named = {
        **{f"gemm_gflops.{precision}.{threads}": one for (precision, threads), one in probe.gemm_gflops.items()},
        **{f"bandwidth_gb_per_s.{size}": one for size, one in probe.bandwidth_gb_per_s.items()},
        "dispatch_us": probe.dispatch_us,
        "node_us": probe.node_us,
    }
    return {f"log_{name}": math.log(one.value) for name, one in named.items() if one.value is not None}


def computed_in_fp32(profile: RuntimeProfile) -> tuple[str, ...]:
    """Precisions whose products the runtime computes in 32 bits after all, between conversions; as far as it tells."""
    if profile.runtime == "tvm":
        # Its importer leaves each product between a DequantizeLinear and a QuantizeLinear.
        return ("int8-qdq",)
    if profile.interpreter or profile.provider != CPU_PROVIDER:
        return ()
    half = variant_of(profile, "fp16", profile.threads)
    return ("fp16",) if emulated(kernels(convert(square_products(GEMM_SIZES[0]), "fp16"), half)) else ()


def variant_of(profile: RuntimeProfile, precision: str, threads: int) -> RuntimeProfile:
    """The profile with another precision and number of threads."""
    option = PROVIDER_THREADS.get(profile.provider)
    options = dict(profile.options)
    if option in options:
        options[option] = str(threads)
    return replace(profile, precision=precision, threads=threads, options=tuple(options.items()))


def _settled(store: Store, here: LocalSetting) -> set[str]:
    """Graphs whose result in this environment is known."""
    return {
        row.graph_hash
        for row in _rows(store, here.device.identity)
        if row.profile_hash == here.profile.profile_hash
        and row.environment_hash == here.stage.environment.environment_hash
        and (row.status.has_latency or row.status in _SETTLED)
    }


def _products(plan: ProbePlan, here: LocalSetting, store: Store) -> list[Workload]:
    """The products in the profile's precision; that it cannot be had is a result, and stored as one."""
    found = []
    for size in plan.gemm_sizes:
        written = square_products(size)
        try:
            found.append(convert(written, here.profile.precision))
        except UnsupportedPrecision as refusal:
            here.store_in(store)
            store.put_workload(written)
            store.record(
                conclude(
                    Task(written, PURPOSE), here.stage, [], Status.UNSUPPORTED_PRECISION, refusal.message,
                    overhead=None, started_at=None, session="",
                )
            )  # fmt: skip
    return found


def _measure(
    missing: Sequence[Workload], store: Store, here: LocalSetting, narrator: Narrator, budget_s: float
) -> None:
    rows = [row for row in _rows(store, here.device.identity) if row.profile_hash == here.profile.profile_hash]
    usable = Counter(row.graph_hash for row in rows if row.status.has_latency)
    failed = Counter(row.graph_hash for row in rows if not row.status.has_latency)
    # A job that ended with a number or was given up is followed by a new one; one that was put off goes on.
    rounds = [usable[one.graph_hash] + failed[one.graph_hash] // MAX_ATTEMPTS for one in missing]
    planned = [Planned(one, PURPOSE, one.name, round=n) for one, n in zip(missing, rounds, strict=True)]
    profile = here.profile
    group_s = _COMPILED_GROUP_S if profile.runtime == "tvm" else _SETTINGS.group_max_s
    title = f"probing {profile.precision} with {profile.threads} thread{'s' * (profile.threads != 1)}"
    measure_planned(
        store, here, PURPOSE, PURPOSE, planned, narrator, title,
        budget_s=min(budget_s, group_s), settings=replace(_SETTINGS, group_max_s=group_s),
    )  # fmt: skip


def _rows(store: Store, device_identity: str) -> list[Measurement]:
    """The probe's measurements that are not retracted, oldest first."""
    every = store.measurements(device_identity=device_identity, purposes=(PURPOSE,), usable_only=False)
    usable = store.measurements(device_identity=device_identity, purposes=(PURPOSE,))
    good = {row.measurement_id for row in usable}
    return [row for row in every if not row.status.has_latency or row.measurement_id in good]


def _variants(store: Store, base: RuntimeProfile, rows: Iterable[Measurement]) -> dict[str, Variant]:
    """Profiles that differ from ``base`` in precision and threads alone, by hash."""
    found: dict[str, Variant] = {}
    for profile_hash in {row.profile_hash for row in rows}:
        one = store.profile(profile_hash)
        if one is None or one.precision not in PRECISIONS:
            continue
        if variant_of(base, one.precision, one.threads) == one:
            found[profile_hash] = (one.precision, one.threads)
    return found


def _same_conditions(store: Store, environment_hash: str, candidates: Iterable[str]) -> set[str]:
    """The environments that differ from one in the CPUs of the runner at most: those follow the number of threads."""
    wanted = _without_cpus(store.environment(environment_hash))
    return {one for one in candidates if _without_cpus(store.environment(one)) == wanted}


def _without_cpus(environment: Environment | None) -> dict[str, Json] | None:
    if environment is None:
        return None
    return {key: value for key, value in environment.document.items() if key != "pinned_cpus"}


def _gemm(newest: Mapping[tuple[Variant, ProbeRole], Measurement]) -> dict[Variant, Reading]:
    """The best of the sizes."""
    found: dict[Variant, Reading] = {}
    for (variant, role), row in newest.items():
        if role.quantity == "gemm":
            one = _rate(row, role.flops, row.overhead_ms or 0.0, 0.0)
            if variant not in found or (one.value or 0.0) > (found[variant].value or 0.0):
                found[variant] = one
    return dict(sorted(found.items(), key=lambda item: (PRECISIONS.index(item[0][0]), item[0][1])))


def _bandwidth(of_base: Mapping[ProbeRole, Measurement]) -> dict[int, Reading]:
    """By working set; the stream that moves next to nothing says what starting its nodes costs."""
    streams = {role: row for role, row in of_base.items() if role.quantity == "stream"}
    starts = [(role, row) for role, row in streams.items() if role.working_set_bytes == IDLE_BYTES]
    found: dict[int, Reading] = {}
    for role, row in sorted(streams.items(), key=lambda item: item[0].working_set_bytes):
        if role.working_set_bytes == IDLE_BYTES:
            continue
        idle_role, idle = starts[0] if starts else (role, None)
        if idle is None or idle.latency is None or not idle.status.has_latency or idle.overhead_ms is None:
            found[role.working_set_bytes] = replace(NOT_MEASURED, message="what starting its nodes costs is not known")
            continue
        share = role.nodes / idle_role.nodes
        call_ms = idle.overhead_ms if row.overhead_ms is None else row.overhead_ms
        start_ms = call_ms + share * (idle.latency.median_ms - idle.overhead_ms)
        moved_bytes = role.moved_bytes - share * idle_role.moved_bytes
        found[role.working_set_bytes] = _rate(row, moved_bytes, start_ms, share * _half_ms(idle.latency))
    return found


def _rate(row: Measurement, amount: float, start_ms: float, start_half_ms: float) -> Reading:
    """10⁹ of an amount per second, less the time that starting takes; both errors add in squares."""
    if row.latency is None or not row.status.has_latency:
        return Reading(None, None, 0, row.status.value, row.message)
    net_ms = row.latency.median_ms - start_ms
    half_ms = math.hypot(_half_ms(row.latency), start_half_ms)
    if half_ms >= _SPREAD_MAX * net_ms:
        return Reading(None, None, row.latency.visits, "below_resolution", "it takes no longer than starting does")
    return Reading(amount / net_ms / 1e6, half_ms / net_ms, row.latency.visits, row.status.value, row.message)


def _call_and_node(of_base: Mapping[ProbeRole, Measurement], base: RuntimeProfile) -> tuple[Reading, Reading]:
    """Microseconds of an empty call and of a node, from the two chains (``profiler.overhead``)."""
    found = sorted((role.nodes, row) for role, row in of_base.items() if role.quantity == "chain")
    if len(found) < 2:
        return NOT_MEASURED, NOT_MEASURED
    (few, short), (many, long) = found[0], found[-1]
    for row in (short, long):
        if row.latency is None or not row.status.has_latency:
            failed = Reading(None, None, 0, row.status.value, row.message)
            return failed, failed
    assert short.latency is not None
    assert long.latency is not None
    visits, half_ms = short.latency.visits, _half_ms(short.latency)
    if not runs_each_node(base):
        one_kernel = Reading(None, None, 0, "unsupported", "the runtime makes one kernel of small nodes")
        return _duration(short.latency.median_ms, half_ms, visits), one_kernel
    node_ms = (long.latency.median_ms - short.latency.median_ms) / (many - few)
    node_half_ms = math.hypot(_half_ms(long.latency), half_ms) / (many - few)
    call = _duration(short.latency.median_ms - few * node_ms, math.hypot(half_ms, few * node_half_ms), visits)
    return call, _duration(node_ms, node_half_ms, long.latency.visits)


def _duration(value_ms: float, half_ms: float, visits: int) -> Reading:
    if half_ms >= _SPREAD_MAX * value_ms:
        return Reading(None, None, visits, "below_resolution", "it cannot be told from nothing")
    return Reading(value_ms * 1e3, half_ms / value_ms, visits, Status.OK.value)


def _half_ms(latency: Latency) -> float:
    return (latency.hi_ms - latency.lo_ms) / 2
