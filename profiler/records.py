"""The records of a measurement: what was run, on what, and what came out. Frozen; no behaviour beyond arithmetic.

A quantity that is not known is ``None``, never 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum

#: JSON as it is read: what an environment document or an option table may hold.
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Status(str, Enum):
    """How an attempt to measure ended. Only ``OK`` and ``UNCONVERGED`` carry a latency that may be used."""

    OK = "ok"
    #: The interval stayed wider than the target until the limit of rounds or time.
    UNCONVERGED = "unconverged"
    #: Runs took place, but the guards rejected too many visits to say a number.
    REJECTED = "rejected"
    #: The attempt was cut off (Ctrl-C, power, kill -9) before it had enough visits.
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    SEGFAULT = "segfault"
    SIGILL = "sigill"
    #: The runner ended for another reason: killed from outside, aborted, exited.
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    UNSUPPORTED_OPERATOR = "unsupported_operator"
    INVALID_MODEL = "invalid_model"
    INVALID_OUTPUT = "invalid_output"
    PROVIDER_FALLBACK = "provider_fallback"

    @property
    def has_latency(self) -> bool:
        return self in (Status.OK, Status.UNCONVERGED)


def content_hash(document: Mapping[str, object]) -> str:
    """sha256 of the canonical JSON (sorted keys, no blanks) of a document, in hexadecimal."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class RuntimeProfile:
    """A configuration of a runtime. Two measurements with different profiles are never the same quantity.

    Attributes:
        runtime: ``onnxruntime``.
        version: the runtime's version, as the runner found it.
        provider: execution provider asked for; a silent fall-back to another one is a rejected attempt.
        threads: intra-op threads.
        graph_level: name in ``onnxruntime.GraphOptimizationLevel``.
        options: session configuration entries.
    """

    runtime: str
    version: str
    provider: str = "CPUExecutionProvider"
    threads: int = 1
    precision: str = "fp32"
    graph_level: str = "ORT_ENABLE_ALL"
    options: tuple[tuple[str, str], ...] = ()

    @property
    def profile_hash(self) -> str:
        return content_hash(asdict(self))

    @property
    def label(self) -> str:
        """For people: ``onnxruntime 1.32.0, CPU, 1 thread, fp32``."""
        provider = self.provider.removesuffix("ExecutionProvider")
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.runtime} {self.version}, {provider}, {threads}, {self.precision}"


@dataclass(frozen=True)
class Environment:
    """Frozen conditions of a session: machine, kernel, governor, interpreter, versions. Content-addressed."""

    document: Mapping[str, Json]

    @property
    def environment_hash(self) -> str:
        return content_hash(self.document)


@dataclass(frozen=True)
class Device:
    """A board or host: a name that people use and an identity that stays when the name changes."""

    name: str
    identity: str
    description: str


@dataclass(frozen=True)
class Visit:
    """One stay at one workload within an interleaved round: a few timed runs between two canaries.

    Attributes:
        wall_ns, cpu_ns: wall and thread-CPU time of each timed run.
        canary_ns: the canary before and after.
        switches: involuntary context switches during the timed runs.
        reject_reason: empty when the visit counts.
        value_ns: median of the visit's valid runs; None when the visit is rejected.
        session: the runner process that made the visit.
    """

    ordinal: int
    session: str
    wall_ns: tuple[int, ...]
    cpu_ns: tuple[int, ...]
    canary_ns: tuple[int, int]
    switches: int
    reject_reason: str
    value_ns: float | None


@dataclass(frozen=True)
class Latency:
    """Statistics over the values of the valid visits, in milliseconds; raw, with nothing subtracted.

    ``lo_ms`` and ``hi_ms`` bound the median at 95 % *within the session*; between processes numbers differ by more
    (``measurement.md`` calls that the repeatability figure). ``mad_ms`` needs two visits, else None. p90 and p99 are
    over all runs of the valid visits, preempted ones included: preemption is what a tail is made of.
    """

    median_ms: float
    lo_ms: float
    hi_ms: float
    min_ms: float
    quartile_ms: float
    mean_ms: float
    p90_ms: float
    p99_ms: float
    mad_ms: float | None
    visits: int
    runs: int

    @property
    def relative_half_width(self) -> float:
        return (self.hi_ms - self.lo_ms) / 2 / self.median_ms


@dataclass(frozen=True)
class Measurement:
    """One attempt at one workload on one device: immutable once made, stored whatever came of it.

    Attributes:
        measurement_id: made before the first run, so that the same result can be sent twice and recorded once.
        overhead_ms: what the runtime and the harness take for an empty graph, measured in the same session; None when
            that was not measured. ``net_ms`` subtracts it.
        purpose: ``cell``, ``panel`` (repeatability), ``network``, ``kernel`` or ``profile``.
    """

    measurement_id: str
    graph_hash: str
    profile_hash: str
    environment_hash: str
    device_identity: str
    session: str
    protocol: str
    purpose: str
    status: Status
    message: str
    started_at: str
    finished_at: str
    latency: Latency | None
    overhead_ms: float | None
    visits: tuple[Visit, ...] = field(repr=False, default=())

    @property
    def net_ms(self) -> float | None:
        """Median less the overhead of an empty graph; None when either is unknown or nothing would be left."""
        if self.latency is None or self.overhead_ms is None:
            return None
        net = self.latency.median_ms - self.overhead_ms
        return net if net > 0 else None

    @property
    def rejected_visits(self) -> int:
        return sum(1 for visit in self.visits if visit.reject_reason)
