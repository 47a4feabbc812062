"""Chains of operators to split, and predictors that know Relu by a law."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from edgecost.costmodels.metrics.energy_predictor import EnergyPredictor
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.workload import Workload, workload_from_model

_SIZES = np.arange(1, 31) * 256


def chain(*operators: str, size: int = 1024) -> Workload:
    """Operators one after the other, over so many floats."""
    names = [f"v{place}" for place in range(len(operators) + 1)]
    nodes = [helper.make_node(op, [a], [b]) for op, a, b in zip(operators, names, names[1:], strict=False)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return workload_from_model("chain", "network", model)


def latency_of_relu() -> LatencyPredictor:
    """A microsecond, and one more for each thousand floats. No network was measured: a plain sum."""
    return LatencyPredictor(rounds=20).fit([_relu(int(size)) for size in _SIZES], 1e-3 + 1e-6 * _SIZES)


def energy_of_relu() -> EnergyPredictor:
    """Two microjoules, and three more for each thousand floats."""
    return EnergyPredictor(rounds=20).fit([_relu(int(size)) for size in _SIZES], 2e-3 + 3e-6 * _SIZES, scope="module")


def _relu(size: int) -> tuple[Kernel]:
    return (Kernel("Relu", ((1, size),), (), ((1, size),)),)
