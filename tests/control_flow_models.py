"""Graphs with control flow from ONNX's textual form, and what ONNX Runtime makes of them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload, workload_from_model

Array = NDArray[np.generic]
SHAPE = (2, 3)
NEGATIVE, POSITIVE = np.full(SHAPE, -1.5, np.float32), np.full(SHAPE, 2.5, np.float32)


def run(workload: Workload, inputs: dict[str, Array]) -> list[Array]:
    model = workload.path or complete(workload.skeleton, workload.weights)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, inputs)]


def text(model: str) -> Workload:
    """A workload from ONNX's textual form; what stands in brackets of a node are its attributes."""
    parsed = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17, "own" : 1]>\n' + model)
    onnx.checker.check_model(parsed, full_check=True)
    return workload_from_model("test", "network", parsed)
