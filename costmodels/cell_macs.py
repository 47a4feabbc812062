"""Multiply-accumulates of the cells of a space: what a search maximises where nobody has given accuracies."""

from __future__ import annotations

import onnx
from onnx import shape_inference

from ..profiler.errors import ModelError
from ..profiler.model_file import with_weight_inputs
from ..profiler.precision.macs import count_macs
from ..profiler.workload import Workload
from .space import Space


def workload_macs(workload: Workload) -> int:
    """Multiply-accumulates of one run.

    Raises:
        ModelError: it has an operator whose work is not counted.
    """
    model = with_weight_inputs(onnx.ModelProto.FromString(workload.skeleton), workload.weights)
    model = shape_inference.infer_shapes(model, strict_mode=True)
    for place, node in enumerate(model.graph.node):
        node.name = str(place)
    counts = count_macs(model)
    if unknown := [name for name, count in counts.items() if count is None]:
        raise ModelError(f"{workload.name}: the work of {model.graph.node[int(unknown[0])].op_type} is not counted")
    return sum(count for count in counts.values() if count is not None)


def cell_macs(space: Space) -> dict[str, int]:
    """By key, for every cell; an identity has none, and its 0 is no unknown."""
    macs = {}
    for cell in space.cells:
        workload = space.workload(cell)
        macs[cell.key] = 0 if workload is None else workload_macs(workload)
    return macs
