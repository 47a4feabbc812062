"""Quantised graphs: what runs on 8 bits, what travels as values, and what their identity depends on."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler import runner
from edgecost.profiler.errors import UnsupportedPrecision
from edgecost.profiler.graphs.blocks import InvertedResidual
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.model_file import read_model, split_weights
from edgecost.profiler.precision.convert import PRECISIONS, convert, convert_and_report
from edgecost.profiler.precision.quantise import INTEGER_IN_QDQ, QuantiseOptions
from edgecost.profiler.precision.roles import Role, quantised_roles
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.weights import Weight, complete
from edgecost.profiler.workload import Workload, workload_from_model

LOWER = PRECISIONS[1:]
INT8 = ("int8-qdq", "int8-qoperator")
ON_X86 = platform.machine() in ("x86_64", "AMD64")


def mobile() -> Workload:
    """Expansion, depthwise, squeeze-and-excitation, hard swish, shortcut, and a classifier behind them."""
    graph = GraphBuilder("block")
    block = InvertedResidual(16, 64, 3, 1, "hard_swish", squeeze=16)
    y = graph.linear(graph.global_average_pool(block.build(graph, graph.input((1, 16, 14, 14)))), 10)
    return workload_from_model("block", "block", graph.model(y), tuple(graph.weights))


def by_hand(
    nodes: list[onnx.NodeProto],
    shape: list[int],
    weights: dict[str, tuple[int, ...]] | None = None,
    constants: dict[str, np.ndarray] | None = None,
) -> Workload:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    described = tuple(Weight(name, shape, "float32", 0.2) for name, shape in (weights or {}).items())
    return workload_from_model("made", "block", model, described)


def skeleton(workload: Workload) -> onnx.ModelProto:
    return onnx.load_model_from_string(workload.skeleton)


def constants(workload: Workload) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in skeleton(workload).graph.initializer}


def outputs(workload: Workload) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        complete(workload.skeleton, workload.weights), providers=["CPUExecutionProvider"]
    )
    kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    random = np.random.default_rng(0)
    return session.run(
        None, {slot.name: random.normal(size=slot.shape).astype(kinds[slot.type]) for slot in session.get_inputs()}
    )


def executed(workload: Workload) -> list[str]:
    return [kernel.op.rpartition(".")[2] for kernel in kernels(workload, host_profile())]


AXES = np.array([0], np.int64)
BETWEEN: dict[str, tuple[list[str], dict[str, np.ndarray], dict[str, object]]] = {
    "Add": (["d"], {}, {}),
    "AveragePool": ([], {}, {"kernel_shape": [2, 2]}),
    "Concat": (["d"], {}, {"axis": 0}),
    "Flatten": ([], {}, {}),
    "Gather": (["k"], {"k": np.array([0, 2])}, {"axis": 2}),
    "GatherElements": (["k"], {"k": np.zeros((1, 4, 4, 4), np.int64)}, {}),
    "GlobalAveragePool": ([], {}, {}),
    "LeakyRelu": ([], {}, {}),
    "MaxPool": ([], {}, {"kernel_shape": [2, 2]}),
    "Mul": (["d"], {}, {}),
    "Reshape": (["k"], {"k": np.array([4, 4, 2, 2])}, {}),
    "Resize": (["", "k"], {"k": np.array([1, 1, 2, 2], np.float32)}, {"mode": "nearest"}),
    "Sigmoid": ([], {}, {}),
    "Slice": (["k", "l"], {"k": np.array([1, 0]), "l": np.array([3, 2])}, {}),
    "Softmax": ([], {}, {}),
    "Split": ([], {}, {"axis": 2}),
    "Squeeze": (["k"], {"k": AXES}, {}),
    "Transpose": ([], {}, {"perm": [0, 1, 3, 2]}),
    "Unsqueeze": (["k"], {"k": AXES}, {}),
    "Where": (["d"], {"k": np.ones((1, 4, 4, 4), bool)}, {}),
    "Pad": (["k"], {"k": np.array([0, 0, 1, 1] * 2)}, {}),
    "TopK": (["k"], {"k": np.array([3])}, {}),
    "Exp": ([], {}, {}),
}


@pytest.mark.parametrize("op", BETWEEN)
def test_what_is_told_to_be_quantised_is_executed_on_8_bits(op: str) -> None:
    more, values, attributes = BETWEEN[op]
    reads = ["k", "c", "d"] if op == "Where" else ["c", *more]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Conv", ["x", "v"], ["d"]),
        helper.make_node(op, reads, ["y", "z"] if op in ("Split", "TopK") else ["y"], **attributes),
    ]
    before = by_hand(nodes, [1, 4, 4, 4], {"w": (4, 4, 1, 1), "v": (4, 4, 1, 1)}, values)
    conversion = convert_and_report(before, "int8-qdq")
    found = executed(conversion.workload)
    place = next(index for index, kernel in enumerate(found) if kernel.endswith(op))  # QLinearAdd, NhwcMaxPool
    assert (2 in conversion.report.kept) == ("DequantizeLinear" in found[:place])
    assert (2 in conversion.report.kept) == (op not in INTEGER_IN_QDQ)


def test_what_the_quantiser_gives_up_is_unsupported() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Where", ["k", "c", "x"], ["y"]),
    ]
    before = by_hand(nodes, [1, 4, 4, 4], {"w": (4, 4, 1, 1)}, {"k": np.ones((1, 4, 4, 4), bool)})
    with pytest.raises(UnsupportedPrecision, match="quantiser refuses"):
        convert(before, "int8-qoperator")


@pytest.mark.parametrize("precision", INT8)
def test_weights_travel_by_description_and_scales_as_values(precision: str) -> None:
    made = convert(mobile(), precision)
    graph, values = skeleton(made).graph, constants(made)
    roles = quantised_roles(graph.node)
    scales = {name: values[name] for name, role in roles.items() if role is Role.SCALE}
    assert {weight.dtype for weight in made.weights} == {"int8", "int32"}
    assert not {weight.name for weight in made.weights} & {n for n, role in roles.items() if role is not Role.DATA}
    assert all(np.isfinite(scale).all() and (scale > 0).all() for scale in scales.values())
    assert 64 in {scale.size for scale in scales.values()}  # one for each channel of the expansion
    assert max(value.nbytes for value in values.values()) == 4 * 64


def test_one_scale_for_a_whole_weight_is_an_option() -> None:
    made = convert_and_report(mobile(), "int8-qdq", options=QuantiseOptions(per_channel=False)).workload
    assert {value.size for value in constants(made).values()} == {1}
    assert made.graph_hash != convert(mobile(), "int8-qdq").graph_hash
    assert np.isfinite(outputs(made)[0]).all()


def test_activations_may_be_symmetric_and_signed() -> None:
    made = convert_and_report(mobile(), "int8-qdq", options=QuantiseOptions(activation="int8")).workload
    values = constants(made)
    points = [values[name] for name, role in quantised_roles(skeleton(made).graph.node).items() if "zero" in role.value]
    assert {point.dtype.name for point in points} == {"int8", "int32"}
    assert not any(point.any() for point in points)
    assert np.isfinite(outputs(made)[0]).all()


def test_whether_a_zero_point_is_zero_matters_and_its_value_does_not() -> None:
    def graph(point: int, scale: float) -> Workload:
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ]
        return by_hand(nodes, [4], constants={"s": np.float32(scale), "z": np.uint8(point)})

    assert graph(7, 0.5).graph_hash == graph(9, 0.25).graph_hash != graph(0, 0.5).graph_hash


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("precision", INT8)
def test_a_quantised_file_is_the_workload_it_was_written_from(precision: str, apart: bool, tmp_path: Path) -> None:
    made = convert(mobile(), precision)
    model = onnx.load_model_from_string(complete(made.skeleton, made.weights))
    path = tmp_path / "net.onnx"
    onnx.save(model, path, save_as_external_data=apart, size_threshold=0, location="net.data")
    read = read_model(path)
    assert read.graph_hash == made.graph_hash
    assert {weight.name for weight in read.weights} == {weight.name for weight in made.weights}
    assert np.isfinite(outputs(Workload("net", "network", read.graph_hash, read.skeleton, read.weights))[0]).all()


def test_the_factors_of_a_resize_are_not_weights() -> None:
    nodes = [
        helper.make_node("Resize", ["x", "", "factors"], ["r"], mode="nearest"),
        helper.make_node("Conv", ["r", "w"], ["y"]),
    ]
    before = by_hand(nodes, [1, 4, 8, 8], {"w": (8, 4, 1, 1)}, {"factors": np.array([1, 1, 2, 2], np.float32)})
    kept, weights = split_weights(onnx.load_model_from_string(complete(before.skeleton, before.weights)))
    assert [weight.name for weight in weights] == ["w"]
    assert [tensor.name for tensor in kept.graph.initializer] == ["factors"]


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_8_bit_weights_use_the_whole_range_and_8_bit_inputs_do_not(dtype: str) -> None:
    pool = runner._pool(0)
    made = runner._numbers([100, 100], dtype, 0.1, pool, 0)
    assert made.dtype == dtype
    assert len(np.unique(made)) == 256
    assert set(np.unique(runner._numbers([100, 100], dtype, 1.0, pool, 0, fed=True))) == {0, 1}
