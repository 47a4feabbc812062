"""What usually stands around an image classifier, as ONNX graphs: frame to tensor, scores to the best classes."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from ..workload import Workload, workload_from_model
from .operators import IR_VERSION, OPSET, Shape

#: Mean and standard deviation of ImageNet's channels, in 0…255; any others cost the same.
_MEAN, _SPREAD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
#: Classes that a classifier's caller looks at.
BEST_CLASSES = 5


def image_preprocessing(shape: Shape, frame: tuple[int, int] | None = None) -> Workload | None:
    """From an uint8 NHWC frame to the float32 NCHW input of ``shape``: resize where the sizes differ, normalise, turn.

    Args:
        shape: of the model's input; None comes back unless it is (N, 1 or 3, H, W).
        frame: height and width of the frame; None for the model's own, so that nothing is resized.
    """
    if len(shape) != 4 or shape[1] not in (1, 3):
        return None
    batch, channels, height, width = shape
    high, wide = frame or (height, width)
    nodes = [helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT)]
    constants = [
        numpy_helper.from_array(_channels(_MEAN, channels), "mean"),
        numpy_helper.from_array(_channels(_SPREAD, channels), "spread"),
    ]
    value = "float"
    nodes.append(helper.make_node("Sub", [value, "mean"], ["centred"]))
    nodes.append(helper.make_node("Div", ["centred", "spread"], ["normal"]))
    nodes.append(helper.make_node("Transpose", ["normal"], ["turned"], perm=[0, 3, 1, 2]))
    value = "turned"
    if (high, wide) != (height, width):
        constants.append(helper.make_tensor("size", TensorProto.INT64, [4], list(shape)))
        nodes.append(helper.make_node("Resize", [value, "", "", "size"], ["resized"], mode="linear"))
        value = "resized"
    source = helper.make_tensor_value_info("frame", TensorProto.UINT8, (batch, high, wide, channels))
    target = helper.make_tensor_value_info(value, TensorProto.FLOAT, shape)
    model = _model(helper.make_graph(nodes, "preprocessing", [source], [target], constants))
    return workload_from_model(f"frame {high}x{wide} to tensor", "block", model)


def classification(shape: Shape) -> Workload | None:
    """From float32 scores (N, classes) to the best classes and their probabilities; None for another shape."""
    if len(shape) != 2 or shape[1] < BEST_CLASSES:
        return None
    nodes = [
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
        helper.make_node("TopK", ["probabilities", "k"], ["best", "classes"], axis=1),
    ]
    best = (shape[0], BEST_CLASSES)
    graph = helper.make_graph(
        nodes,
        "postprocessing",
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("best", TensorProto.FLOAT, best),
            helper.make_tensor_value_info("classes", TensorProto.INT64, best),
        ],
        [helper.make_tensor("k", TensorProto.INT64, [1], [BEST_CLASSES])],
    )
    return workload_from_model(f"best {BEST_CLASSES} of {shape[1]}", "block", _model(graph))


def _channels(values: tuple[float, ...], channels: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values[:channels], np.float32)


def _model(graph: GraphProto) -> ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
