"""Cuts and halves against what one counts by hand, and against the whole network in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgecost.costmodels.split.cuts import SplitGraph, cut_points
from edgecost.costmodels.split.halves import Halves, halves
from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.written import written_graph
from edgecost.profiler.workload import Workload, workload_from_model
from tests.conftest import KnownLaw

Values = Mapping[str, npt.NDArray[np.generic]]
node = helper.make_node
EVERY = 99


def value(name: str, shape: list[int], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def whole(
    nodes: list[NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[TensorProto] | None = None,
    opset: int = 17,
) -> Workload:
    """A workload whose weights stand in it, so that its outputs are numbers that can be compared."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return workload_from_model("net", "network", model)


def residual() -> Workload:
    """stem → relu → (conv) + → relu; 4 channels of 6 × 6 from 3 of 12 × 12."""
    builder = GraphBuilder("net")
    x = builder.input((1, 3, 12, 12))
    stem = builder.activate(builder.conv(x, 4, kernel=3, stride=2), "relu")
    branch = builder.conv(stem, 4, kernel=3)
    y = builder.activate(builder.node("Add", [stem, branch], builder.shapes[stem]), "relu")
    return workload_from_model("net", "network", builder.model(y), tuple(builder.weights))


def run(workload: Workload, feeds: Values) -> dict[str, npt.NDArray[np.generic]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(workload.skeleton, options, providers=["CPUExecutionProvider"])
    names = [slot.name for slot in session.get_outputs()]
    made = session.run(names, {slot.name: feeds[slot.name] for slot in session.get_inputs()})
    return dict(zip(names, made, strict=True))


def run_both(one: Halves, feeds: Values) -> dict[str, npt.NDArray[np.generic]]:
    """Head, then tail with what the head made and the inputs that cross as they are."""
    found = {} if one.head is None else run(one.head, feeds)
    return found if one.tail is None else {**found, **run(one.tail, {**feeds, **found})}


def test_a_residual_connection_needs_two_tensors_and_their_bytes_are_those_of_dtype_and_shape() -> None:
    points = cut_points(SplitGraph(residual()), tensors_max=2).points
    assert [(len(point.crossing), point.size_bytes) for point in points] == [
        (1, 4 * 3 * 12 * 12),
        (1, 4 * 4 * 6 * 6),
        (1, 4 * 4 * 6 * 6),
        (2, 2 * 4 * 4 * 6 * 6),
        (1, 4 * 4 * 6 * 6),
        (0, 0),
    ]
    assert (points[0].after, points[-1].after) == ("input", "output")
    assert [point.after.split()[0] for point in points[1:-1]] == ["Conv", "Relu", "Conv", "Add"]


def test_a_limit_of_one_tensor_leaves_the_residual_connection_whole_and_counts_what_it_left_out() -> None:
    found = cut_points(SplitGraph(residual()), tensors_max=1)
    assert ([point.position for point in found.points], found.too_many, found.unknown) == ([0, 1, 2, 4, 5], 1, 0)


def test_compressed_floats_cross_in_a_quarter_of_the_bytes_and_whole_numbers_as_they_are() -> None:
    nodes = [node("Gather", ["table", "tokens"], ["e"]), node("Add", ["e", "x"], ["y"])]
    table = numpy_helper.from_array(np.ones((10, 4), np.float32), "table")
    graph = whole(
        nodes, [value("tokens", [1, 5], TensorProto.INT64), value("x", [1, 5, 4])], [value("y", [1, 5, 4])], [table]
    )
    points = cut_points(SplitGraph(graph), tensors_max=2, compress=True).points
    assert [[(one.name, one.size_bytes, one.compressed) for one in point.crossing] for point in points] == [
        [("tokens", 5 * 8, False), ("x", 5 * 4, True)],
        [("x", 5 * 4, True), ("e", 5 * 4, True)],
        [],
    ]


def test_both_ends_are_always_there_however_many_inputs_cross() -> None:
    nodes = [node("Sum", ["a", "b", "c"], ["s"]), node("Relu", ["s"], ["y"])]
    graph = whole(nodes, [value(name, [2]) for name in "abc"], [value("y", [2])])
    points = cut_points(SplitGraph(graph), tensors_max=1).points
    assert [(point.after, len(point.crossing)) for point in points] == [("input", 3), ("Sum s", 1), ("output", 0)]


def test_constants_and_shapes_cross_nowhere() -> None:
    nodes = [
        node("Constant", [], ["two"], value=numpy_helper.from_array(np.float32(2.0))),
        node("Shape", ["x"], ["shape"]),
        node("Relu", ["x"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("Mul", ["f", "two"], ["m"]),
        node("Reshape", ["m", "shape"], ["y"]),
    ]
    graph = SplitGraph(whole(nodes, [value("x", [1, 2, 3])], [value("y", [1, 2, 3])]))
    points = cut_points(graph, tensors_max=EVERY).points
    assert [[one.name for one in point.crossing] for point in points] == [["x"], ["r"], ["f"], ["m"], []]
    feeds = {"x": np.arange(-3, 3, dtype=np.float32).reshape(1, 2, 3)}
    for point in points:
        np.testing.assert_array_equal(run_both(halves(graph, point), feeds)["y"], run(graph.workload, feeds)["y"])


def test_dead_code_and_an_input_that_only_the_tail_reads_are_no_business_of_the_head() -> None:
    nodes = [node("Exp", ["x"], ["dead"]), node("Relu", ["x"], ["r"]), node("Add", ["r", "late"], ["y"])]
    graph = SplitGraph(whole(nodes, [value("x", [3]), value("late", [3])], [value("y", [3])]))
    _, middle, _ = cut_points(graph, tensors_max=2).points
    found = halves(graph, middle)
    assert found.head is not None
    assert found.tail is not None
    head, tail = (onnx.load_model_from_string(half.skeleton).graph for half in (found.head, found.tail))
    assert ([one.name for one in head.input], [one.name for one in head.output]) == (["x"], ["r"])
    assert [one.op_type for one in head.node] == ["Relu"]
    assert {one.name for one in tail.input} == {"late", "r"}


def test_what_is_drawn_anew_in_each_run_is_no_constant_and_crosses() -> None:
    nodes = [
        node("RandomNormal", [], ["noise"], shape=[3]),
        node("Relu", ["x"], ["r"]),
        node("Add", ["r", "noise"], ["y"]),
    ]
    points = cut_points(SplitGraph(whole(nodes, [value("x", [3])], [value("y", [3])])), tensors_max=2).points
    assert [{one.name for one in point.crossing} for point in points] == [{"x"}, {"x", "noise"}, {"noise", "r"}, set()]


def test_a_tensor_whose_size_depends_on_data_is_no_place_to_cut() -> None:
    nodes = [node("NonZero", ["x"], ["places"]), node("ReduceMax", ["places"], ["y"], keepdims=0)]
    found = cut_points(SplitGraph(whole(nodes, [value("x", [4])], [value("y", [], TensorProto.INT64)])), tensors_max=2)
    assert ([point.after for point in found.points], found.unknown) == (["input", "output"], 1)


def test_a_branch_is_one_step_and_what_it_reads_from_outside_crosses() -> None:
    inner = {
        name: helper.make_graph([node(op, ["r"], [name])], name, [], [value(name, [2])])
        for name, op in (("then_branch", "Exp"), ("else_branch", "Neg"))
    }
    nodes = [node("Relu", ["x"], ["r"]), node("If", ["c"], ["z"], **inner), node("Neg", ["z"], ["y"])]
    graph = SplitGraph(whole(nodes, [value("x", [2]), value("c", [], TensorProto.BOOL)], [value("y", [2])]))
    points = cut_points(graph, tensors_max=2).points
    assert [{one.name for one in point.crossing} for point in points] == [{"x", "c"}, {"c", "r"}, {"z"}, set()]
    for condition in (True, False):
        feeds = {"x": np.array([1.0, -2.0], np.float32), "c": np.array(condition)}
        for point in points:
            np.testing.assert_array_equal(run_both(halves(graph, point), feeds)["y"], run(graph.workload, feeds)["y"])


def test_the_ends_are_the_network_itself_so_that_its_own_measurements_count() -> None:
    graph = SplitGraph(residual())
    points = cut_points(graph, tensors_max=2).points
    first, last = halves(graph, points[0]), halves(graph, points[-1])
    assert (first.head, last.tail) == (None, None)
    assert first.tail is last.head is graph.workload


def test_halves_hold_their_own_weights_only_and_none_is_lost() -> None:
    graph = SplitGraph(residual())
    for point in cut_points(graph, tensors_max=2).points:
        found = halves(graph, point)
        weights = [weight for half in (found.head, found.tail) if half is not None for weight in half.weights]
        assert sorted(weights, key=lambda one: one.name) == sorted(graph.workload.weights, key=lambda one: one.name)


def test_compression_is_a_kernel_on_each_side_and_keeps_to_its_step() -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["y"])]
    graph = SplitGraph(whole(nodes, [value("x", [4])], [value("y", [4]), value("r", [4])]))
    feeds = {"x": np.array([-1.0, 0.0, 1.0, 3.0], np.float32)}
    for point in cut_points(graph, tensors_max=2, compress=True).points[:-1]:
        found = halves(graph, point)
        assert found.head is not None
        assert found.tail is not None
        operators = [
            [one.op_type for one in onnx.load_model_from_string(half.skeleton).graph.node]
            for half in (found.head, found.tail)
        ]
        assert (operators[0][-1], operators[1][0]) == ("QuantizeLinear", "DequantizeLinear")
        made = run_both(found, feeds)
        np.testing.assert_allclose(made["y"], -np.maximum(feeds["x"], 0), atol=1 / 32)
        np.testing.assert_allclose(made["r"], np.maximum(feeds["x"], 0), atol=1 / 32)


def test_an_operator_set_without_quantisation_refuses_compression() -> None:
    graph = SplitGraph(whole([node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])], opset=9))
    point = cut_points(graph, tensors_max=1, compress=True).points[0]
    with pytest.raises(UsageError, match="QuantizeLinear"):
        halves(graph, point)


def test_by_a_law_that_adds_up_the_halves_of_every_cut_cost_what_the_whole_costs(law: KnownLaw) -> None:
    graph = SplitGraph(residual())
    (total,) = law.true_ms([written_graph(graph.workload).kernels])
    for point in cut_points(graph, tensors_max=2).points:
        found = halves(graph, point)
        kernels = [written_graph(half).kernels for half in (found.head, found.tail) if half is not None]
        assert law.true_ms(kernels).sum() == pytest.approx(total)


@st.composite
def networks(draw: st.DrawFn) -> Workload:
    """Small graphs with branches, several inputs and outputs, shared constants, shapes and dead ends."""
    dice = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs = [f"x{place}" for place in range(draw(st.integers(1, 2)))]
    values, nodes = list(inputs), []
    constants = [numpy_helper.from_array(dice.standard_normal((4, 4)).astype(np.float32), "w")]
    for place in range(draw(st.integers(1, 9))):
        a, b = (draw(st.sampled_from(values)) for _ in range(2))
        y = f"v{place}"
        kind = draw(st.sampled_from(["one", "two", "weight", "constant", "split", "shape"]))
        if kind == "one":
            nodes.append(node(draw(st.sampled_from(["Relu", "Neg", "Tanh", "Identity"])), [a], [y]))
        elif kind == "two":
            nodes.append(node(draw(st.sampled_from(["Add", "Mul", "Sub"])), [a, b], [y]))
        elif kind == "weight":
            nodes.append(node("MatMul", [a, "w"], [y]))
        elif kind == "constant":
            held = numpy_helper.from_array(dice.standard_normal(4).astype(np.float32))
            nodes += [node("Constant", [], [f"c{place}"], value=held), node("Mul", [a, f"c{place}"], [y])]
        elif kind == "split":
            nodes += [
                node("Split", [a], [f"l{place}", f"r{place}"], axis=1),
                node("Concat", [f"r{place}", f"l{place}"], [y], axis=1),
            ]
        else:
            nodes += [node("Shape", [b], [f"s{place}"]), node("Flatten", [a], [f"f{place}"], axis=0)]
            nodes.append(node("Reshape", [f"f{place}", f"s{place}"], [y]))
        values.append(y)
    made = values[len(inputs) :]
    outputs = list(dict.fromkeys([made[-1], *draw(st.lists(st.sampled_from(made), max_size=2))]))
    return whole(nodes, [value(name, [2, 4]) for name in inputs], [value(name, [2, 4]) for name in outputs], constants)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.integers(0, 2**32 - 1))
def test_the_halves_of_every_cut_run_one_after_the_other_give_what_the_whole_network_gives(
    workload: Workload, seed: int
) -> None:
    graph = SplitGraph(workload)
    dice = np.random.default_rng(seed)
    names = [one.name for one in onnx.load_model_from_string(workload.skeleton).graph.input]
    feeds = {name: dice.standard_normal((2, 4)).astype(np.float32) for name in names}
    wanted = run(workload, feeds)
    found = cut_points(graph, tensors_max=EVERY)
    assert (found.too_many, found.unknown) == (0, 0)
    for point in found.points:
        made = run_both(halves(graph, point), feeds)
        for name, numbers in wanted.items():
            np.testing.assert_allclose(made[name], numbers, rtol=1e-4, atol=1e-5)
