"""Which kernel takes which share of a model's time, and which ONNX nodes it came from.

The runtime's own profiler gives shares, never times: ONNX Runtime counts whole microseconds and adds some to each
kernel, TVM's is a Python callback around each call. Of a virtual device they are its law's, as its machine plays them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..profiler.bench import Bench
from ..profiler.client import RunnerClient
from ..profiler.errors import RunnerError
from ..profiler.kernels.by_runtime import runtime_kernels
from ..profiler.kernels.graph import Kernel
from ..profiler.kernels.nodes import match_calls, match_records, node_names
from ..profiler.loading import LoadRefused
from ..profiler.protocol import Settings, runner_rules
from ..profiler.records import VIRTUAL
from ..profiler.tasks import Stage
from ..profiler.worker import RunnerDied
from ..profiler.workload import Workload

#: Runs under the runtime's profiler: the share of a kernel is the median of these.
PROFILED_RUNS = 20
_HOLDS_GRAPHS = ("If", "Loop", "Scan")


@dataclass(frozen=True)
class KernelShare:
    """One executed kernel. ``latency_ms`` is its share of the end-to-end latency, not a measurement of its own.

    Attributes:
        kernel: what was executed; None for a call that the runtime made and did not announce.
        name: as the runtime names it.
        nodes: names of the ONNX nodes that it came from.
    """

    kernel: Kernel | None
    name: str
    op: str
    outputs: tuple[tuple[int, ...], ...]
    nodes: tuple[str, ...]
    share: float
    latency_ms: float


@dataclass(frozen=True)
class _Traced:
    name: str
    op: str
    outputs: tuple[tuple[int, ...], ...]
    time_ns: float


def kernel_shares(
    workload: Workload, stage: Stage, settings: Settings, bench: Bench, whole_ms: float
) -> tuple[KernelShare, ...]:
    """The kernels of a workload in order of execution; empty when the runtime's profiler gave nothing.

    Raises:
        RunnerError: the runtime fails under its profiler.
    """
    records = _trace(workload, stage, settings, bench)
    lines = _known_lines(workload, stage, records)
    total_ns = sum(one.time_ns for one, _ in lines)
    if not total_ns:
        return ()
    names = node_names(workload)
    shares = []
    for one, kernel in lines:
        shares.append(
            KernelShare(
                kernel=kernel,
                name=one.name if kernel is None else kernel.name,
                op=one.op if kernel is None else kernel.op,
                outputs=_known(kernel) or one.outputs,
                nodes=() if kernel is None else tuple(names[node] for node in kernel.nodes),
                share=one.time_ns / total_ns,
                latency_ms=whole_ms * one.time_ns / total_ns,
            )
        )
    return tuple(shares)


def _known_lines(
    workload: Workload, stage: Stage, records: Sequence[Mapping[str, object]]
) -> list[tuple[_Traced, Kernel | None]]:
    """The lines of a trace that add up to the whole, each with its kernel.

    ONNX Runtime writes a line of its own for each node inside an If, Loop or Scan, whose time the node around it has
    already. Without the kernels these cannot be told from the others; then there is nothing to say.
    """
    traced = [_parse(record) for record in records]
    if not traced:
        return []
    holds_graphs = any(one.op in _HOLDS_GRAPHS for one in traced)
    if stage.profile.interpreter:
        # What another interpreter's runtime makes of the graph only its trace tells.
        return [] if holds_graphs else [(one, None) for one in traced]
    kernels = runtime_kernels(workload, stage.profile).kernels
    places = _MATCHES.get(stage.profile.runtime, match_records)(kernels, records)
    lines = [(one, None if p is None else kernels[p]) for one, p in zip(traced, places, strict=True)]
    if stage.profile.runtime == "onnxruntime" and holds_graphs:
        return [(one, kernel) for one, kernel in lines if kernel is not None]
    return lines


def _in_order(kernels: Sequence[Kernel], records: Sequence[Mapping[str, object]]) -> list[int | None]:
    """A law tells of the kernels of the graph as it is written, in its order, and gives them no names.

    Raises:
        RunnerError: it tells of more, or of fewer.
    """
    if len(kernels) != len(records):
        raise RunnerError(
            f"the law says what {len(records)} kernels take, of a graph with {len(kernels)}", remedy="tell its author"
        )
    return list(range(len(kernels)))


#: How the lines of a trace find their kernels where a runtime names them otherwise than ONNX Runtime.
_MATCHES: Mapping[str, Callable[[Sequence[Kernel], Sequence[Mapping[str, object]]], list[int | None]]] = {
    "tvm": match_calls,
    VIRTUAL: _in_order,
}


def _known(kernel: Kernel | None) -> tuple[tuple[int, ...], ...]:
    return () if kernel is None else tuple(shape for shape in kernel.outputs if shape is not None)


def _trace(workload: Workload, stage: Stage, settings: Settings, bench: Bench) -> Sequence[Mapping[str, object]]:
    try:
        request = {**bench.loader.request(workload.name, workload, settings.seed), "verb": "profile"}
        with RunnerClient(bench.supply, stage.profile, runner_rules(), cpus=stage.cpus) as runner:
            runner.send({**request, "runs": PROFILED_RUNS})
            answer = runner.receive(settings.visit_timeout_s)
    except (RunnerDied, LoadRefused) as died:
        raise RunnerError(f"the runtime's profiler failed: {died.message}") from died
    records = answer.get("kernels")
    return [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []


def _parse(record: Mapping[str, object]) -> _Traced:
    times, outputs = record["times_ns"], record["outputs"]
    if not isinstance(times, list) or not isinstance(outputs, list):
        raise RunnerError("the runner sent a profile without times or shapes")
    shapes = tuple(tuple(int(dim) for dim in shape) for _, shape in outputs)
    return _Traced(str(record["name"]), str(record["op"]), shapes, float(statistics.median(times)))
