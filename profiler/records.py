"""The records of a measurement: what was run, on what, and what came out. Frozen; no behaviour beyond arithmetic.

A quantity that is not known is ``None``, never 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum

from .errors import UsageError
from .readings import Energy as Energy
from .readings import PeakMemory as PeakMemory
from .readings import Reading as Reading

#: The runtime of profiles under which nothing is run: a simulator says what a graph would cost.
SIMULATOR = "simulator"
#: The runtime of a machine that is played around such a law: it is visited as a board is, and no board.
VIRTUAL = "virtual"

#: JSON as it is read: what an environment document or an option table may hold.
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class Quantity(str, Enum):
    """What a measurement can say of a workload. Each stands for itself: none implies another."""

    LATENCY = "latency"
    ENERGY = "energy"
    MEMORY = "memory"


class Status(str, Enum):
    """How an attempt to measure ended. Only ``OK``, ``UNCONVERGED`` and ``SIMULATED`` carry numbers that may be
    used.

    ``UNSTABLE`` carries a latency that is shown and not used. Energy and memory have a status of their own beside this
    one (``Reading``): a sensor may fail while the clock does not.
    """

    OK = "ok"
    #: The interval stayed wider than the target until the limit of rounds or time.
    UNCONVERGED = "unconverged"
    #: Nothing was run: a simulator said the number.
    SIMULATED = "simulated"
    #: Runs took place, but the guards rejected too many visits to say a number; worth another attempt.
    REJECTED = "rejected"
    #: Rejected again on the last attempt: what the few valid visits say is kept with its interval, and not learnt from.
    UNSTABLE = "unstable"
    #: The attempt was cut off (Ctrl-C, power, kill -9) before it had enough visits.
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    SEGFAULT = "segfault"
    SIGILL = "sigill"
    #: The runner ended for another reason: killed from outside, aborted, exited.
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    UNSUPPORTED_OPERATOR = "unsupported_operator"
    #: The runtime or the converter cannot compute this graph in the profile's precision.
    UNSUPPORTED_PRECISION = "unsupported_precision"
    INVALID_MODEL = "invalid_model"
    DYNAMIC_SHAPE = "dynamic_shape"
    #: The runtime cannot make code for the CPU or device that the profile names.
    INVALID_TARGET = "invalid_target"
    #: What the machine lacks to make the workload ready, such as a cross compiler.
    MISSING_TOOL = "missing_tool"
    INVALID_OUTPUT = "invalid_output"
    PROVIDER_FALLBACK = "provider_fallback"

    @property
    def has_latency(self) -> bool:
        """Whether what the attempt says, the latency first of all, may be used by predictors and tables."""
        return self in (Status.OK, Status.UNCONVERGED, Status.SIMULATED)


def content_hash(document: Mapping[str, object]) -> str:
    """sha256 of the canonical JSON (sorted keys, no blanks) of a document, in hexadecimal."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


#: Providers of ONNX Runtime, and the kind of TVM's target.
_ON_NVIDIA = frozenset({"CUDAExecutionProvider", "TensorrtExecutionProvider", "cuda"})


@dataclass(frozen=True)
class RuntimeProfile:
    """A configuration of a runtime. Two measurements with different profiles are never the same quantity.

    Attributes:
        runtime: ``onnxruntime``, ``tvm``, or ``simulator`` with the simulator's name as the provider.
        version: the runtime's version, as the runner found it.
        provider: execution provider asked for, a silent fall-back to another one is a rejected attempt; for TVM the
            kind of its target.
        threads: intra-op threads.
        precision: of the workloads that are measured under it.
        graph_level: name in ``onnxruntime.GraphOptimizationLevel``; for TVM the pipeline.
        options: session configuration entries; for TVM the target's parts and what was tuned.
        interpreter: path of the Python that runs the runner; empty for the one that runs edgecost.
        affinity: CPUs that the runner is pinned to; empty for the rule of ``runtimes.timing_cpus``.
    """

    runtime: str
    version: str
    provider: str = "CPUExecutionProvider"
    threads: int = 1
    precision: str = "fp32"
    graph_level: str = "ORT_ENABLE_ALL"
    options: tuple[tuple[str, str], ...] = ()
    interpreter: str = ""
    affinity: tuple[int, ...] = ()

    @property
    def is_on_nvidia(self) -> bool:
        """Whether graphs run on an NVIDIA GPU."""
        return self.provider in _ON_NVIDIA

    def document(self) -> dict[str, object]:
        """As JSON. What was not there in the first version stands in it only where it is set: hashes stay."""
        later = {"interpreter": self.interpreter, "affinity": self.affinity}
        document = {key: value for key, value in asdict(self).items() if key not in later}
        return {**document, **{key: value for key, value in later.items() if value}}

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> RuntimeProfile:
        """The profile that ``document`` describes; fields of a later version are an error, not left out.

        Raises:
            ValueError: a field is missing or has another type, or there is one that this version does not know.
        """
        options, affinity, threads = document.get("options", ()), document.get("affinity", ()), document.get("threads")
        unknown = set(document) - {one.name for one in fields(cls)}
        if unknown or not isinstance(options, list | tuple) or not isinstance(affinity, list | tuple):
            raise ValueError(f"no runtime profile: {', '.join(sorted(unknown)) or 'options or affinity is no list'}")
        if not isinstance(threads, int):
            raise ValueError(f"a runtime profile with {threads!r} threads")
        texts = ("runtime", "version", "provider", "precision", "graph_level")
        missing = [name for name in texts if name not in document]
        if missing:
            raise ValueError(f"a runtime profile without {', '.join(missing)}")
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in options):
            raise ValueError(f"a runtime profile with the options {options!r}")
        if not all(isinstance(cpu, int) for cpu in affinity):
            raise ValueError(f"a runtime profile with the affinity {affinity!r}")
        runtime, version, provider, precision, graph_level = (str(document[name]) for name in texts)
        return cls(
            runtime=runtime,
            version=version,
            provider=provider,
            threads=threads,
            precision=precision,
            graph_level=graph_level,
            options=tuple((str(key), str(value)) for key, value in options),
            interpreter=str(document.get("interpreter", "")),
            affinity=tuple(affinity),
        )

    @property
    def profile_hash(self) -> str:
        return content_hash(self.document())

    @property
    def is_one_cpu_thread(self) -> bool:
        """Whether all work is done by the thread that asks for it, so that its CPU time tells when it was preempted."""
        on_cpu = self.provider in ("CPUExecutionProvider", "llvm")
        return self.threads == 1 and on_cpu and "rpc_tracker" not in dict(self.options)

    @property
    def label(self) -> str:
        """For people: ``onnxruntime 1.32.0, CPU, 1 thread, fp32``."""
        if self.runtime == SIMULATOR:
            # The name of a design does not tell all of it.
            design = f"{dict(self.options).get('design')} {dict(self.options).get('identity', '')[:8]}"
            return f"simulator {self.provider} {self.version} ({design}), graph {self.graph_level}"
        provider = self.provider.removesuffix("ExecutionProvider")
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        if self.runtime == "tvm":
            trials = dict(self.options).get("trials")
            provider = f"{self.graph_level} pipeline{f' of {trials} trials' if trials else ''}"
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
    """A few timed runs of one workload within an interleaved round, between two canaries.

    Attributes:
        ordinal: counts the visits that were due to the workload, from 1. A round has as many of each workload as the
            protocol has visits per stay; they follow one another and share their canaries.
        wall_ns: wall time of each timed run.
        cpu_ns: thread-CPU time of each timed run; one number for all of them where the runtime times its runs itself;
            empty where it is not known.
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

    What a simulator says has no spread: then all of them are its number, and there are no visits and no runs.
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
class Sensor:
    """What an energy was measured with: driver, rail, resolution, rate, calibration. Content-addressed."""

    document: Mapping[str, Json]

    @property
    def sensor_hash(self) -> str:
        return content_hash(self.document)


@dataclass(frozen=True)
class Measurement:
    """One attempt at one workload on one device: immutable once made, stored whatever came of it.

    It may say a latency, an energy, a peak memory, each alone or together.

    Attributes:
        measurement_id: made before the first run, so that the same result can be sent twice and recorded once.
        overhead_ms: what the runtime and the harness take for an empty graph, measured in the same session; None when
            that was not measured. ``net_ms`` subtracts it.
        purpose: ``cell``, ``panel`` (repeatability), ``network``, ``kernel``, ``repeated`` (copies of a kernel too
            short to time alone), ``probe``, ``anchor``, ``pipeline``, ``profile``, ``memory``, or ``judge`` (a network
            that never trains).
        conditions: what the group met beside its frozen environment: ``before`` and ``after`` (load, clock,
            temperature, memory, as far as the machine tells), and this workload's ``load_ms``, ``first_run_ms`` and
            ``compile_ms``. Empty for measurements of the first version.
        energy, peak_memory: None where it was not asked for.
        rails: energies of single rails by name, where the meter of ``energy`` reads some beside the whole. They are no
            parts of a sum: one may include another, or be included in the whole, or neither.

    Raises:
        UsageError: rails without the energy of the whole, or one without a name.
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
    conditions: Mapping[str, Json] = field(repr=False, hash=False, default_factory=dict)
    energy: Energy | None = None
    peak_memory: PeakMemory | None = None
    rails: Mapping[str, Energy] = field(hash=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.rails and (self.energy is None or "" in self.rails):
            raise UsageError("energies of rails stand beside that of the whole, each under its name")

    def says(self, quantity: Quantity) -> bool:
        """Whether there is a number of this quantity."""
        if quantity is Quantity.LATENCY:
            return self.latency is not None
        reading = self.energy if quantity is Quantity.ENERGY else self.peak_memory
        return reading is not None and reading.status.has_number

    @property
    def answers(self) -> bool:
        """Whether it answers a job that asked for it, so that nobody need try again.

        An energy or a memory that cannot be had here is an answer, too; one that was rejected or could not be read is
        none. Where a latency was measured, it decides.
        """
        readings = [one.status for one in (self.energy, self.peak_memory) if one is not None]
        if self.latency is None and readings and self.status is Status.OK:
            return not {Reading.REJECTED, Reading.UNAVAILABLE} & set(readings)
        return self.status.has_latency

    @property
    def net_ms(self) -> float | None:
        """Median less the overhead of an empty graph; None when either is unknown or nothing would be left."""
        if self.latency is None or self.overhead_ms is None:
            return None
        net = self.latency.median_ms - self.overhead_ms
        return net if net > 0 else None

    @property
    def lacks_samples(self) -> bool:
        """Whether it had visits that are not here: it was read without them, or their month was archived."""
        return not self.visits and self.latency is not None and self.latency.visits > 0

    @property
    def rejected_visits(self) -> int:
        return sum(1 for visit in self.visits if visit.reject_reason)
