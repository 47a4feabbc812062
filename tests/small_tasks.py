"""Small tasks that tests measure: a convolution, or any nodes as a graph; and settings that a busy machine meets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Environment
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.tasks import Stage, Task
from edgecost.profiler.workload import workload_from_model

STAGE = Stage(host_profile(), Environment({"test": True}), "device")
#: So loose that a busy machine settles too.
LOOSE = Settings(visits_min=3, target=0.5, visits_max=6, rounds_max=60)


def conv(channels: int = 4) -> Task:
    graph = GraphBuilder("conv")
    made = graph.conv(graph.input((1, 4, 8, 8)), channels, activation="relu")
    return Task(workload_from_model(f"conv {channels}", "operator", graph.model(made), tuple(graph.weights)), "cell")


def graph(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    *,
    shape: Sequence[int | str] = (4, 8),
    kind: int = TensorProto.FLOAT,
    out: int = TensorProto.FLOAT,
    domain: str = "",
) -> Task:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", out, None)],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    return Task(workload_from_model(nodes[-1].op_type, "operator", model), "cell")
