"""A trained predictor in the place of nn-Meter's: NNI's ``NnMeterProfiler`` asks it for every module of a model space.

The numbers are of modules alone, in ms, and what their sum is off a whole network is not corrected.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...profiler.errors import ArtefactError, UsageError
from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.model_file import read_graph
from ...profiler.records import RuntimeProfile
from ...profiler.runtimes import host_profile
from ..predictor import LatencyPredictor
from ..predictor_file import load_predictor

#: Operators whose inputs after the first are parameters wherever a network is a network. The second input of a MatMul
#: or an Add may be data, so it stays what it is.
_PARAMETRISED = {
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "Gemm",
    "InstanceNormalization",
    "LayerNormalization",
    "PRelu",
}


class NnMeterSlot:
    """Has the one method of nn-Meter's predictor that NNI calls.

    Args:
        predictor: of latency.
        profile: what it was trained for; by default ONNX Runtime on this machine.
    """

    def __init__(self, predictor: LatencyPredictor, profile: RuntimeProfile | None = None) -> None:
        self.predictor, self.profile = predictor, profile or host_profile()

    @classmethod
    def load(cls, folder: str | Path, profile: RuntimeProfile | None = None) -> NnMeterSlot:
        """Of a folder that ``edgecost train`` wrote.

        Raises:
            ArtefactError: it holds no predictor of latency, or one for another runtime.
        """
        profile = profile or host_profile()
        predictor, provenance = load_predictor(Path(folder), metric="latency")
        if provenance.get("profile_hash") not in (None, profile.profile_hash):
            raise ArtefactError(
                f"the predictor was trained for {provenance.get('profile')}, not for {profile.label}",
                remedy="Give that runtime's profile: NnMeterSlot.load(folder, profile).",
            )
        return cls(predictor, profile)

    def predict(self, model: onnx.ModelProto | str | Path, model_type: str = "onnx") -> float:
        """Latency of a model in ms.

        Raises:
            UsageError: another type of model than onnx.
            GateError: an operator has no price; nn-Meter would count 0 for it.
            ModelError: the graph is not valid, or its shapes are not fixed.
        """
        if model_type != "onnx":
            raise UsageError(f"a model of type {model_type!r} cannot be priced", remedy="Export it to ONNX.")
        if not isinstance(model, onnx.ModelProto):
            graph = read_graph(Path(model))
        else:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "module.onnx"
                onnx.save(_with_parameters(model), file)
                graph = read_graph(file)
        kernels = priced_kernels(graph, self.profile).kernels
        # A module that leaves its input as it is has no kernel.
        return float(self.predictor.predict([kernels])[0]) if kernels else 0.0


def _with_parameters(model: onnx.ModelProto) -> onnx.ModelProto:
    """NNI exports without parameters: weights are inputs, and no runtime folds or packs an input. Values are of no
    consequence.
    """
    held = {tensor.name for tensor in model.graph.initializer}
    free = {name for node in model.graph.node if node.op_type not in _PARAMETRISED for name in node.input}
    free |= {node.input[0] for node in model.graph.node if node.input}
    taken = {name for node in model.graph.node for name in node.input}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for value in model.graph.input:
        if value.name in held | free or value.name not in taken:
            continue
        kind = value.type.tensor_type
        shape = [dimension.dim_value for dimension in kind.shape.dim]
        numbers = np.full(shape, 0.5, dtype=helper.tensor_dtype_to_np_dtype(kind.elem_type))
        made.graph.initializer.append(numpy_helper.from_array(numbers, value.name))
        made.graph.input.remove(value)
    return made
