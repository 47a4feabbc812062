"""What a simulator is to edgecost: three members, and a cost in which nothing unknown is a number."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ...profiler.errors import EdgecostError, SimulatorError
from ...profiler.records import Device
from ...profiler.workload import Workload

#: How the description of a simulated device begins, so that nobody takes its numbers for measured ones.
MARK = "simulated: "


@dataclass(frozen=True)
class SimulatedCost:
    """What one run of a graph costs on a simulated device. None is what the simulator does not say.

    Attributes:
        latency_ms: None only where ``unsupported`` says why.
        unsupported: the operators that the simulator cannot compute, and why: ``Loop: …``. Then there is no number at
            all, since the rest of a graph is not what the graph costs.
        kernels_ms: of each kernel of the graph as it is written (``written_graph``), in its order; what the whole takes
            above their sum is the call's. Empty where the simulator says the whole and no more.
        details: whatever else it says, by name with unit: ``cycles``, ``dram_bytes``.
    """

    latency_ms: float | None = None
    energy_mj: float | None = None
    peak_memory_bytes: int | None = None
    unsupported: tuple[str, ...] = ()
    kernels_ms: tuple[float, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class SimulatedDevice(Protocol):
    """A device that is simulated. Equal workloads cost the same whenever they are asked for."""

    @property
    def version(self) -> str:
        """Of the simulator: another version's numbers are another quantity."""

    def device(self) -> Device:
        """The device, as ``describe`` makes it: another design is another device."""

    def cost(self, workload: Workload) -> SimulatedCost:
        """Simulate one run. The values of weights and inputs are not there; only shapes may count.

        Raises:
            EdgecostError: the workload cannot be used. An operator that is not known is no error but ``unsupported``.
        """


#: Times of kernels may add up to so much more than the whole, by rounding.
_ROUNDING = 1e-9
#: What somebody else's code raises when it fails; whatever else comes is not its failure, and not ours to answer.
PLUGIN_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def describe(name: str, design: Mapping[str, object], text: str) -> Device:
    """A simulated device: its identity is made from the design, and its description says that it is simulated.

    Args:
        name: short, for people and file names.
        design: everything that a cost depends on.
        text: one line for people, without the mark.
    """
    written = "/".join([f"simulated/{name}", *(f"{key}={value}" for key, value in sorted(design.items()))])
    return Device(name=name, identity=hashlib.sha256(written.encode()).hexdigest(), description=MARK + text)


def checked_cost(simulator: SimulatedDevice, workload: Workload) -> SimulatedCost:
    """Ask a simulator and believe nothing that is no cost.

    Raises:
        SimulatorError: it failed, said neither a latency nor what it lacks, or said a number that cannot be one.
        EdgecostError: it refused the workload.
    """
    label = f"{simulator.device().name} on {workload.name}"
    try:
        cost = simulator.cost(workload)
    except EdgecostError:
        raise
    except PLUGIN_ERRORS as error:
        raise SimulatorError(
            f"the simulator {label} failed: {type(error).__name__}: {error}", remedy="tell its author"
        ) from error
    problem = _problem(cost)
    if problem:
        raise SimulatorError(f"the simulator {label} said {problem}", remedy="tell its author")
    return cost


def _problem(cost: object) -> str:
    """What is wrong with a cost; empty when nothing is."""
    if not isinstance(cost, SimulatedCost):
        return f"{cost!r}, which is no SimulatedCost"
    numbers = {
        "latency_ms": cost.latency_ms,
        "energy_mj": cost.energy_mj,
        "peak_memory_bytes": cost.peak_memory_bytes,
        **cost.details,
    }
    if cost.unsupported:
        given = [name for name, value in numbers.items() if value is not None]
        given += ["kernels_ms"] * bool(cost.kernels_ms)
        return f"{', '.join(given)} of a graph that it cannot compute" if given else ""
    if cost.latency_ms is None:
        return "neither a latency nor what it does not support"
    for name, value in numbers.items():
        if value is not None and not _is_cost(value, may_be_zero=name in cost.details):
            return f"{name} = {value!r}"
    if not all(_is_cost(one, may_be_zero=True) for one in cost.kernels_ms):
        return f"kernels_ms = {cost.kernels_ms!r}"
    if sum(cost.kernels_ms) > cost.latency_ms * (1 + _ROUNDING):
        return f"{sum(cost.kernels_ms)} ms for kernels of a graph that takes {cost.latency_ms} ms"
    return ""


def _is_cost(value: object, *, may_be_zero: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return value >= 0 if may_be_zero else value > 0
