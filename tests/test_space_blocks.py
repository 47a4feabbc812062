"""Operators and blocks against an independent computation: ONNX's own reference implementation and NumPy by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edgecost.costmodels.space_file import load_space
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.weights import complete

Array = NDArray[np.float32]
Build = Callable[[GraphBuilder, str], str]
TOLERANCE = 1e-4


def run(model: bytes, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(y)


def reference(model: onnx.ModelProto, x: Array) -> Array:
    (y,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x})
    return np.asarray(y, dtype=np.float32)


def build(make: Build, shape: tuple[int, ...]) -> tuple[onnx.ModelProto, GraphBuilder, str]:
    graph = GraphBuilder("test")
    y = make(graph, graph.input(shape))
    model = graph.model(y)
    return onnx.load_from_string(complete(model.SerializeToString(), tuple(graph.weights), seed=3)), graph, y


def weights_of(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def conv_by_hand(x: Array, weight: Array, bias: Array, stride: int, groups: int) -> Array:
    """Convolution as a sum over windows, group by group: NCHW, same padding."""
    pad = weight.shape[2] // 2
    windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))), weight.shape[2:], axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    per_in, per_out = x.shape[1] // groups, weight.shape[0] // groups
    parts = [
        np.einsum(
            "nchwij,ocij->nohw",
            windows[:, g * per_in : (g + 1) * per_in],
            weight[g * per_out : (g + 1) * per_out],
            optimize=True,
        )
        for g in range(groups)
    ]
    return np.asarray(np.concatenate(parts, axis=1) + bias[None, :, None, None])


OPERATORS: dict[str, Build] = {
    "conv": lambda g, x: g.conv(x, 6, kernel=3, stride=2),
    "pointwise conv with relu": lambda g, x: g.conv(x, 6, activation="relu"),
    "depthwise": lambda g, x: g.depthwise(x, kernel=5, stride=2, activation="relu6"),
    "group conv and shuffle": lambda g, x: g.channel_shuffle(g.conv(x, 16, groups=2), 2),
    "squeeze and excitation": lambda g, x: g.squeeze_excite(x, 4),
    "relu": lambda g, x: g.activate(x, "relu"),
    "relu6": lambda g, x: g.activate(x, "relu6"),
    "hard swish": lambda g, x: g.activate(x, "hard_swish"),
    "hard sigmoid": lambda g, x: g.activate(x, "hard_sigmoid"),
    "sigmoid": lambda g, x: g.activate(x, "sigmoid"),
    "max pool": lambda g, x: g.pool(x, kernel=3, stride=2, kind="max"),
    "average pool": lambda g, x: g.pool(x, kernel=3, stride=1, kind="average"),
    "global average pool": lambda g, x: g.global_average_pool(x),
    "linear": lambda g, x: g.linear(x, 10),
    "residual add": lambda g, x: g.add(x, g.conv(x, 8)),
}


def sample_input(shape: tuple[int, ...]) -> Array:
    return (4 * np.random.default_rng(5).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("side", [7, 8])
def test_an_operator_computes_what_the_onnx_reference_computes(name: str, side: int) -> None:
    model, graph, y = build(OPERATORS[name], (1, 8, side, side))
    onnx.checker.check_model(model, full_check=True)
    x = sample_input((1, 8, side, side))
    expected = reference(model, x)
    assert graph.shapes[y] == expected.shape
    np.testing.assert_allclose(run(model.SerializeToString(), x), expected, rtol=TOLERANCE, atol=TOLERANCE)


def swish(x: Array) -> Array:
    return x * np.clip(x / 6 + 0.5, 0, 1)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def shuffled(x: Array, groups: int) -> Array:
    """Channel g * (c / groups) + i moves to i * groups + g, spelt out."""
    channels = x.shape[1]
    order = [g * (channels // groups) + i for i in range(channels // groups) for g in range(groups)]
    return x[:, order]


def small(model_key: str, space_name: str) -> tuple[onnx.ModelProto, Array]:
    """A cell of a space at its least resolution, with weights, and an input for it."""
    space = load_space(space_name, resolution=128 if space_name.startswith("ofa") else 96)
    (cell,) = [cell for cell in space.cells if cell.key == model_key]
    workload = space.workload(cell)
    assert workload is not None
    model = onnx.load_from_string(complete(workload.skeleton, workload.weights, seed=7))
    return model, np.divide(sample_input(cell.input_shape), 4, dtype=np.float32)


def by_node(model: onnx.ModelProto) -> list[tuple[Array, Array]]:
    weights = weights_of(model)
    return [(weights[n.input[1]], weights[n.input[2]]) for n in model.graph.node if n.op_type == "Conv"]


def test_an_ofa_block_with_squeeze_and_shortcut_computes_the_formula_of_the_paper() -> None:
    key = "inverted_residual-8x8x112-8x8x112-k5-s1-m336-se88-add-hard_swish"
    model, x = small(key, "ofa-mobilenetv3")
    expand, depthwise, squeeze, excite, project = by_node(model)
    y = swish(conv_by_hand(x, *expand, 1, 1))
    y = swish(conv_by_hand(y, *depthwise, 1, 336))
    gate = relu(conv_by_hand(y.mean(axis=(2, 3), keepdims=True), *squeeze, 1, 1))
    y = y * np.clip(conv_by_hand(gate, *excite, 1, 1) / 6 + 0.5, 0, 1)
    expected = x + conv_by_hand(y, *project, 1, 1)
    np.testing.assert_allclose(run(model.SerializeToString(), x), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(reference(model, x), expected, rtol=1e-3, atol=1e-3)


def test_an_fbnet_group_block_shuffles_between_its_group_convolutions() -> None:
    key = "inverted_residual-12x12x32-6x6x64-k3-s2-m32-g2-relu"
    model, x = small(key, "fbnet")
    expand, depthwise, project = by_node(model)
    y = shuffled(relu(conv_by_hand(x, *expand, 1, 2)), 2)
    expected = conv_by_hand(relu(conv_by_hand(y, *depthwise, 2, 32)), *project, 1, 2)
    np.testing.assert_allclose(run(model.SerializeToString(), x), expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(reference(model, x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["ofa-mobilenetv3", "proxylessnas", "fbnet"])
def test_every_cell_runs_and_gives_the_shape_it_promises(name: str) -> None:
    space = load_space(name, resolution=128)
    for cell in space.cells:
        workload = space.workload(cell)
        assert (workload is None) == cell.absent
        if workload is not None:
            y = run(complete(workload.skeleton, workload.weights), sample_input(cell.input_shape))
            assert y.shape == cell.output_shape
            assert np.isfinite(y).all()


@pytest.mark.parametrize("name", ["ofa-mobilenetv3", "proxylessnas", "fbnet"])
def test_a_random_network_runs_with_finite_outputs(name: str) -> None:
    space = load_space(name)
    workload = space.build(space.sample(1, seed=11)[0])
    assert workload.kind == "network"
    model = onnx.load_from_string(complete(workload.skeleton, workload.weights))
    onnx.checker.check_model(model, full_check=True)
    y = run(model.SerializeToString(), sample_input(space.input_shape))
    assert y.shape == (1, 1000)
    assert np.isfinite(y).all()
    assert float(np.std(y)) > 0
