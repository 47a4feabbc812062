"""Operators of sequences, recurrences and vision against ONNX's reference implementation and NumPy by hand."""

from __future__ import annotations

from collections.abc import Callable
from math import erf

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from edgecost.profiler.graphs import recurrent_operators as recurrent
from edgecost.profiler.graphs import sequence_operators as sequence
from edgecost.profiler.graphs import tensor_operators as tensor
from edgecost.profiler.graphs import vision_operators as vision
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import workload_from_model

Array = NDArray[np.float32]
Build = Callable[[GraphBuilder, str], str]
IMAGE, TOKENS, SIGNAL = (1, 8, 7, 9), (2, 6, 8), (2, 8, 21)


def build(make: Build, shape: tuple[int, ...], dtype: str = "float32") -> tuple[onnx.ModelProto, GraphBuilder, str]:
    graph = GraphBuilder("test")
    y = make(graph, graph.input(shape, dtype=dtype))
    model = graph.model(y)
    return onnx.load_from_string(complete(model.SerializeToString(), tuple(graph.weights), seed=3)), graph, y


def feeds(graph: GraphBuilder) -> dict[str, NDArray[np.generic]]:
    draws = np.random.default_rng(5)
    return {
        name: draws.standard_normal(graph.shapes[name]).astype(np.float32)
        if graph.dtype(name) == "float32"
        else draws.integers(0, 4, graph.shapes[name])
        for name in graph.inputs
    }


def run(model: onnx.ModelProto, inputs: dict[str, NDArray[np.generic]]) -> Array:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def weights_of(model: onnx.ModelProto) -> list[Array]:
    """The generated weights, in the order in which they were declared."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [found[f"w{place}"] for place in range(len(found)) if f"w{place}" in found]


def scattered(graph: GraphBuilder, x: str) -> str:
    places = np.array([[1, 0], [3, 2]], np.int64)
    return tensor.scatter_elements(graph, x, places, graph.weight((2, 2)), axis=1)


def scan_of(form: recurrent.Form) -> Build:
    def make(graph: GraphBuilder, x: str) -> str:
        delta = tensor.activate(graph, x, "softplus")
        b, c = (sequence.dense(graph, x, 4, bias=False) for _ in range(2))
        return recurrent.selective_scan(graph, x, delta, b, c, form=form)

    return make


OPERATORS: dict[str, tuple[tuple[int, ...], Build]] = {
    "dilated conv": (IMAGE, lambda g, x: vision.conv(g, x, 6, kernel=3, dilation=2)),
    "strided conv without bias": (IMAGE, lambda g, x: vision.conv(g, x, 6, kernel=4, stride=4, padding=0, bias=False)),
    "oblong group conv": (IMAGE, lambda g, x: vision.conv(g, x, 4, kernel=(1, 7), groups=2, activation="tanh")),
    "conv over one axis": (SIGNAL, lambda g, x: vision.conv(g, x, 6, kernel=10, stride=5, padding=0)),
    "dilated conv over one axis": (SIGNAL, lambda g, x: vision.conv(g, x, 6, kernel=3, dilation=4, groups=2)),
    "transposed conv": (
        IMAGE,
        lambda g, x: vision.transposed_conv(g, x, 5, kernel=3, stride=2, padding=1, output_padding=1),
    ),
    "transposed conv over one axis": (SIGNAL, lambda g, x: vision.transposed_conv(g, x, 5, kernel=4, stride=4)),
    "resize to the nearest": (IMAGE, lambda g, x: vision.resize(g, x, (14, 18), "nearest")),
    "resize linearly": (IMAGE, lambda g, x: vision.resize(g, x, (10, 5), "linear")),
    "average pool with an incomplete window": (
        IMAGE,
        lambda g, x: vision.valid_pool(g, x, kernel=2, stride=2, kind="average", ceil=True),
    ),
    "max pool over one axis": (SIGNAL, lambda g, x: vision.valid_pool(g, x, kernel=3, stride=2, kind="max")),
    "batch norm": (IMAGE, vision.batch_norm),
    "instance norm": (IMAGE, vision.instance_norm),
    "group norm": (IMAGE, lambda g, x: vision.group_norm(g, x, 4)),
    "group norm over one axis": (SIGNAL, lambda g, x: vision.group_norm(g, x, 8)),
    "squeeze and excitation of EfficientNet": (IMAGE, lambda g, x: vision.channel_gate(g, x, 2)),
    "squeeze and excitation over one axis": (SIGNAL, lambda g, x: vision.channel_gate(g, x, 2, inner="relu")),
    "effective squeeze and excitation": (IMAGE, lambda g, x: vision.channel_gate(g, x, 0, gate="hard_sigmoid")),
    "efficient channel gate": (IMAGE, vision.efficient_channel_gate),
    "swish": (IMAGE, tensor.swish),
    "gelu": (TOKENS, tensor.gelu),
    "gelu by tanh": (TOKENS, tensor.gelu_tanh),
    "softplus": (TOKENS, lambda g, x: tensor.activate(g, x, "softplus")),
    "softmax": (TOKENS, tensor.softmax),
    "mean over two axes": (IMAGE, lambda g, x: tensor.reduce_mean(g, x, [2, -1])),
    "mean that drops its axis": (IMAGE, lambda g, x: tensor.reduce_mean(g, x, [-3], keep=False)),
    "reshape and transpose": (
        IMAGE,
        lambda g, x: tensor.transpose(g, tensor.reshape(g, x, (2, 4, 63)), [2, 0, 1]),
    ),
    "concat": (IMAGE, lambda g, x: tensor.concat(g, [x, x, g.activate(x, "relu")], 1)),
    "slice with a step": (IMAGE, lambda g, x: tensor.slice_axis(g, x, 2, 1, 7, 2)),
    "second piece of a split": (IMAGE, lambda g, x: tensor.split(g, x, (3, 5), 1)[1]),
    "pad by reflection": (IMAGE, lambda g, x: tensor.pad(g, x, (0, 0, 1, 2), (0, 0, 3, 0), "reflect")),
    "pad with zeros": (SIGNAL, lambda g, x: tensor.pad(g, x, (0, 1, 2), (0, 0, 3))),
    "scatter rows": (TOKENS, lambda g, x: tensor.scatter_rows(g, x, [1], g.weight((1, 6, 8)))),
    "scatter elements": ((4, 5), scattered),
    "layer norm": (TOKENS, sequence.layer_norm),
    "RMS norm": (TOKENS, sequence.rms_norm),
    "gated linear unit": (TOKENS, lambda g, x: sequence.gated_linear(g, x, 5)),
    "SwiGLU": (TOKENS, lambda g, x: sequence.gated_linear(g, x, 5, gate="swish", bias=False)),
    "self-attention": (TOKENS, lambda g, x: sequence.attention(g, x, heads=2, head_size=3)),
    "grouped queries": (TOKENS, lambda g, x: sequence.attention(g, x, heads=4, head_size=2, key_value_heads=2)),
    "causal attention": (TOKENS, lambda g, x: sequence.attention(g, x, heads=2, head_size=4, causal=True)),
    "cross-attention": (
        TOKENS,
        lambda g, x: sequence.attention(g, x, heads=2, head_size=4, memory=g.input((2, 11, 5), "memory")),
    ),
    "decoder step": ((2, 1, 8), lambda g, x: sequence.cached_attention(g, x, heads=2, head_size=4, past_length=5)),
    "decoder step with grouped queries": (
        (2, 1, 8),
        lambda g, x: sequence.cached_attention(g, x, heads=4, head_size=2, past_length=5, key_value_heads=1),
    ),
    "decoder step over an encoder": (
        (2, 1, 8),
        lambda g, x: sequence.static_attention(g, x, heads=2, head_size=4, memory_length=7),
    ),
    "GRU": (TOKENS, lambda g, x: recurrent.gru(g, x, 5)),
    "LSTM": (TOKENS, lambda g, x: recurrent.lstm(g, x, 5)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_what_the_onnx_reference_computes(name: str) -> None:
    shape, make = OPERATORS[name]
    model, graph, y = build(make, shape)
    onnx.checker.check_model(model, full_check=True)
    inputs = feeds(graph)
    (expected,) = ReferenceEvaluator(model).run(None, inputs)
    assert graph.shapes[y] == expected.shape
    np.testing.assert_allclose(run(model, inputs), expected, rtol=1e-4, atol=1e-4)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def attend(q: Array, k: Array, v: Array, heads: int) -> Array:
    """Scaled dot products head by head and row by row, without batching."""
    out = np.zeros((len(q), q.shape[1]), np.float32)
    size = q.shape[1] // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for row in range(len(q)):
            weight = np.exp(k[:, part] @ q[row, part] / np.sqrt(size))
            out[row, part] = weight @ v[:, part] / weight.sum()
    return out


def test_cross_attention_computes_the_formula_of_the_paper() -> None:
    model, graph, _ = build(OPERATORS["cross-attention"][1], TOKENS)
    inputs = feeds(graph)
    wq, bq, wk, bk, wv, bv, wo, bo = weights_of(model)
    expected = [
        attend(x @ wq + bq, memory @ wk + bk, memory @ wv + bv, heads=2) @ wo + bo
        for x, memory in zip(inputs["input"], inputs["memory"], strict=True)
    ]
    np.testing.assert_allclose(run(model, inputs), expected, rtol=1e-3, atol=1e-4)


def test_a_causal_token_does_not_see_those_after_it() -> None:
    model, graph, _ = build(OPERATORS["causal attention"][1], TOKENS)
    inputs = feeds(graph)
    before = run(model, inputs)
    inputs["input"][:, 4:] += 1
    after = run(model, inputs)
    np.testing.assert_allclose(after[:, :4], before[:, :4], atol=1e-5)
    assert np.abs(after[:, 4:] - before[:, 4:]).max() > 1e-3


def test_the_last_token_of_causal_attention_equals_a_decoder_step_over_the_cached_ones() -> None:
    whole, graph, _ = build(lambda g, x: sequence.attention(g, x, heads=2, head_size=4, causal=True), (1, 6, 8))
    step, _, _ = build(OPERATORS["decoder step"][1], (1, 1, 8))
    x = feeds(graph)["input"]
    _, _, wk, bk, wv, bv, *_ = weights_of(whole)
    key, value = ((x[:, :5] @ w + b).reshape(1, 5, 2, 4).transpose(0, 2, 1, 3) for w, b in ((wk, bk), (wv, bv)))
    y = run(step, {"input": x[:, 5:], "key1": key, "value1": value})
    np.testing.assert_allclose(y, run(whole, {"input": x})[:, 5:], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_an_lstm_computes_its_gates_token_by_token(bidirectional: bool) -> None:
    model, graph, y = build(lambda g, x: recurrent.lstm(g, x, 5, bidirectional=bidirectional), TOKENS)
    x = feeds(graph)["input"]
    parts = []
    for way, (w, r, b) in enumerate(zip(*weights_of(model), strict=True)):
        h = c = np.zeros((6, 5), np.float32)
        seen = []
        for token in x[::-1] if way else x:
            gates = token @ w.T + h @ r.T + b[:20] + b[20:]
            i, o, f, new = np.split(gates, 4, axis=1)  # ONNX's order
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
            h = sigmoid(o) * np.tanh(c)
            seen.append(h)
        parts.append(np.stack(seen[::-1] if way else seen))
    assert graph.shapes[y] == (2, 6, 10 if bidirectional else 5)
    np.testing.assert_allclose(run(model, {"input": x}), np.concatenate(parts, axis=2), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("form", ["scan", "loop"])
def test_a_selective_scan_computes_its_recurrence_token_by_token(form: recurrent.Form) -> None:
    # By hand alone: the reference knows no Scan over another axis than 0, and joins a Loop's rows along an old axis.
    model, graph, _ = build(scan_of(form), TOKENS)
    onnx.checker.check_model(model, full_check=True)
    x = feeds(graph)["input"]
    wb, wc, log_a, skip = weights_of(model)
    delta, b, c = np.log1p(np.exp(x)), x @ wb, x @ wc
    h = np.zeros((2, 8, 4))
    expected = np.zeros(TOKENS)
    for t in range(6):
        h = np.exp(delta[:, t, :, None] * -np.exp(log_a)) * h
        h += (delta[:, t] * x[:, t])[:, :, None] * b[:, t, None, :]
        expected[:, t] = (h * c[:, t, None, :]).sum(axis=2) + skip * x[:, t]
    np.testing.assert_allclose(run(model, {"input": x}), expected, rtol=1e-3, atol=1e-4)


def test_an_embedding_gathers_the_rows_that_its_ids_name() -> None:
    model, graph, y = build(lambda g, x: tensor.embedding(g, x, 10, 4), (2, 3), dtype="int64")
    ids = np.array([[0, 9, 4], [4, 1, 1]])
    assert graph.shapes[y] == (2, 3, 4)
    np.testing.assert_array_equal(run(model, {"input": ids}), weights_of(model)[0][ids])


def test_gelu_is_the_gaussian_distribution_function_times_its_argument() -> None:
    model, graph, _ = build(tensor.gelu, TOKENS)
    x = feeds(graph)["input"]
    expected = [value * 0.5 * (1 + erf(value / 2**0.5)) for value in x.ravel()]
    np.testing.assert_allclose(run(model, {"input": x}).ravel(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "fused"),
    [
        (tensor.gelu, ["microsoft.Gelu"]),
        (tensor.gelu_tanh, ["microsoft.FastGelu"]),
        (tensor.swish, ["microsoft.QuickGelu"]),
        (sequence.layer_norm, ["LayerNormalization"]),
        (sequence.rms_norm, ["SimplifiedLayerNormalization"]),
    ],
)
def test_onnx_runtime_fuses_what_is_written_out(make: Build, fused: list[str], profile: RuntimeProfile) -> None:
    graph = GraphBuilder("fused")
    # A layer on both sides, so that the pattern stands inside a graph as it does in a network.
    y = sequence.dense(graph, make(graph, sequence.dense(graph, graph.input(TOKENS), 8, bias=False)), 8, bias=False)
    found = kernels(workload_from_model("fused", "block", graph.model(y), tuple(graph.weights)), profile)
    assert [kernel.op for kernel in found] == ["MatMul", *fused, "MatMul"]


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(24, 40),
    kernel=st.integers(1, 8),
    stride=st.integers(1, 5),
    dilation=st.integers(1, 3),
    padding=st.sampled_from([None, 0, 2]),
)
def test_a_conv_over_one_axis_declares_the_shape_that_the_runtime_gives(
    length: int, kernel: int, stride: int, dilation: int, padding: int | None
) -> None:
    def make(graph: GraphBuilder, x: str) -> str:
        return vision.conv(graph, x, 4, kernel=kernel, stride=stride, dilation=dilation, padding=padding)

    model, graph, y = build(make, (1, 2, length))
    assert run(model, feeds(graph)).shape == graph.shapes[y]


def test_a_body_inside_a_body_has_names_of_its_own() -> None:
    graph = GraphBuilder("outer")
    x = graph.input((2, 3))
    inner = graph.body("one")
    again = inner.body("one")
    names = {graph.input((1,), "y"), inner.input((1,), "y"), again.input((1,), "y"), x}
    assert len(names) == 4
