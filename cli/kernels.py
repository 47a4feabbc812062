"""``edgecost kernels``: what a model becomes in a runtime, on every way through it. Nothing is run."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import INPUT_FILE, db_option, json_option, runtime_options, shape_option
from .output import few, percent, print_json, print_table
from .profiles import Shapes, control_flow_options, precision_option

if TYPE_CHECKING:
    from ..costmodels.control_flow import ControlFlow
    from ..profiler.graphs.control_flow import Path as Way
    from ..profiler.kernels.graph import Kernel, KernelGraph
    from ..profiler.records import RuntimeProfile


@dataclass(frozen=True)
class _WayKernels:
    """One way through a model, what it becomes, and the names of its nodes."""

    way: Way
    graph: KernelGraph
    names: tuple[str, ...]


@click.command(epilog="Example:  edgecost kernels model.onnx --runtime tvm")
@click.argument("model", type=INPUT_FILE)
@shape_option
@runtime_options
@precision_option
@control_flow_options
@db_option
@json_option
def kernels(
    model: Path,
    shapes: Shapes,
    runtime_name: str,
    threads: int | None,
    precision: str | None,
    branches: tuple[tuple[str, float], ...],
    trips: tuple[tuple[str, int], ...],
    db_url: str | None,
    as_json: bool,
) -> None:
    """The kernels that MODEL becomes in a runtime, with the ONNX nodes each came from. Nothing is run."""
    from ..costmodels.control_flow import ControlFlow
    from ..costmodels.named_runtimes import chosen_profile

    runtime = chosen_profile(runtime_name, threads, db_url, precision)
    graph_hash, found = _found(model, shapes, runtime, ControlFlow(dict(branches), dict(trips)))
    if as_json:
        ways = [_way_document(one) for one in found]
        likeliest = {key: ways[0][key] for key in ("kernels", "folded_nodes")}
        head = {"model": str(model), "graph_hash": graph_hash, "profile": runtime.label}
        print_json({**head, **likeliest, "paths": ways})
        return
    click.echo(f"{model.name} in {runtime.label}")
    for one in found:
        if len(found) > 1:
            click.echo(f"\n{one.way.label}, probability {percent(one.way.probability)}")
        elif one.way.label:
            click.echo(one.way.label)
        _print_way(one)


def _found(
    model: Path, shapes: Shapes, runtime: RuntimeProfile, flow: ControlFlow
) -> tuple[str, tuple[_WayKernels, ...]]:
    """The hash of the whole graph, and what each way through it becomes, the likeliest first."""
    from ..profiler.kernels.by_runtime import runtime_kernels
    from ..profiler.kernels.nodes import node_names
    from ..profiler.model_file import read_model
    from ..profiler.precision.convert import convert

    with tempfile.TemporaryDirectory(prefix="edgecost-") as scratch:
        workload = convert(read_model(model, dict(shapes), Path(scratch)), runtime.precision)
        found = tuple(
            _WayKernels(way, runtime_kernels(way.workload, runtime), node_names(way.workload))
            for way in flow.ways(workload, Path(scratch))
        )
    return workload.graph_hash, found


def _print_way(one: _WayKernels) -> None:
    rows = [
        [kernel.op, few([one.names[node] for node in kernel.nodes]), *_in_and_out(kernel), kernel.kernel_hash[:10]]
        for kernel in one.graph.kernels
    ]
    distinct = len({kernel.kernel_hash for kernel in one.graph.kernels})
    title = f"{len(rows)} kernels, {distinct} distinct, in order of execution"
    print_table(title, ["kernel", "ONNX nodes", "input", "output", "hash"], rows, left=5)
    click.echo(f"{len(one.graph.folded)} of {len(one.names)} ONNX nodes cost nothing when the model runs.")


def _in_and_out(kernel: Kernel) -> list[str]:
    """First input and first output, for a table."""
    shapes = [shapes[0] if shapes else None for shapes in (kernel.inputs, kernel.outputs)]
    return ["×".join(map(str, shape)) if shape is not None else "?" for shape in shapes]


def _way_document(one: _WayKernels) -> dict[str, object]:
    return {
        "label": one.way.label,
        "probability": one.way.probability,
        "graph_hash": one.way.workload.graph_hash,
        "kernels": [_kernel_document(kernel, one.names) for kernel in one.graph.kernels],
        "folded_nodes": [one.names[node] for node in one.graph.folded],
    }


def _kernel_document(kernel: Kernel, names: tuple[str, ...]) -> dict[str, object]:
    return {
        "op": kernel.op,
        "name": kernel.name,
        "signature": kernel.signature,
        "kernel_hash": kernel.kernel_hash,
        "inputs": kernel.inputs,
        "weights": kernel.weights,
        "outputs": kernel.outputs,
        "attributes": kernel.attribute,
        "dtype": kernel.dtype,
        "nodes": [names[node] for node in kernel.nodes],
    }
