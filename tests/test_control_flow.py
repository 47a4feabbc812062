"""Ways through real graphs with If and Loop, each run in ONNX Runtime beside the graph that it was taken from."""

from __future__ import annotations

from pathlib import Path as FilePath

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.control_flow import PATHS_MAX, control_flow, paths
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.graphs.recurrent_operators import selective_scan
from edgecost.profiler.model_file import read_model
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload, workload_from_model
from tests.control_flow_models import NEGATIVE, POSITIVE, SHAPE, run, text


def operators(workload: Workload) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(workload.skeleton).graph.node]


# Both branches call their value `t`, and the then-branch reads `m` of the graph around it.
CHOICE = """
g (float[2,3] x) => (float[2,3] y) {
    m = ReduceMean <keepdims = 0> (x)
    zero = Constant <value = float {0.0}> ()
    warm = Greater (m, zero)
    y = If (warm) <
        then_branch = hot () => (float[2,3] t) { u = Relu (x)  t = Add (u, m) },
        else_branch = cold () => (float[2,3] t) { t = Neg (x) }
    >
}"""


def test_each_way_computes_what_the_graph_computes_when_it_goes_that_way() -> None:
    whole = text(CHOICE)
    hot, cold = paths(whole, {"If_3": 0.75}, {})
    assert (hot.label, hot.probability, hot.branches) == ("If_3=then", 0.75, (("If_3", "then"),))
    assert (cold.label, cold.probability) == ("If_3=else", 0.25)
    for path, x in ((hot, POSITIVE), (cold, NEGATIVE)):
        assert "If" not in operators(path.workload)
        np.testing.assert_array_equal(run(path.workload, {"x": x})[0], run(whole, {"x": x})[0])
    # The other way about, they differ: each path holds one branch only.
    assert not np.array_equal(run(hot.workload, {"x": NEGATIVE})[0], run(whole, {"x": NEGATIVE})[0])
    assert hot.workload.graph_hash != cold.workload.graph_hash


def test_what_the_graph_computes_before_it_decides_is_still_computed() -> None:
    for path in paths(text(CHOICE), {"If_3": 0.5}, {}):
        condition = run(path.workload, {"x": POSITIVE})[1]
        assert condition.dtype == np.bool_
        assert condition.all()


def test_a_way_without_a_chance_is_left_out_and_needs_no_statement_about_what_lies_on_it() -> None:
    inner = CHOICE.replace("t = Neg (x)", "t = If (warm) <then_branch = a () => (v) {v = Abs (x)}, "
                           "else_branch = b () => (v) {v = Exp (x)}>")  # fmt: skip
    whole = text(inner)
    assert control_flow(whole) == {"If_3": "If", "If_3/else/If_0": "If"}
    (hot,) = paths(whole, {"If_3": 1.0}, {})
    assert hot.probability == 1.0
    with pytest.raises(UsageError, match=r"--branch If_3/else/If_0=P"):
        paths(whole, {"If_3": 0.5}, {})
    found = paths(whole, {"If_3": 0.5, "If_3/else/If_0": 0.2}, {})
    assert [path.probability for path in found] == [0.5, 0.4, 0.1]
    assert [path.label for path in found] == [
        "If_3=then",
        "If_3=else, If_3/else/If_0=else",
        "If_3=else, If_3/else/If_0=then",
    ]
    exponential = found[1]
    np.testing.assert_allclose(run(exponential.workload, {"x": NEGATIVE})[0], np.exp(NEGATIVE), rtol=1e-6)


def test_names_that_two_nodes_share_are_told_apart_by_where_they_stand() -> None:
    branch = "t = If (warm) <then_branch = a () => (v) {v = Abs (x)}, else_branch = b () => (v) {v = Exp (x)}>"
    shared = CHOICE.replace("t = Neg (x)", branch).replace("u = Relu (x)  t = Add (u, m)", branch)
    whole = text(shared)
    model = onnx.load_from_string(whole.skeleton)
    for attribute in model.graph.node[3].attribute:
        attribute.g.node[0].name = "inner"
    whole = workload_from_model("test", "network", model)
    assert list(control_flow(whole)) == ["If_3", "If_3/then/inner", "If_3/else/inner"]
    found = paths(whole, {"If_3": 0.5, "If_3/then/inner": 1.0, "If_3/else/inner": 0.0}, {})
    assert len(found) == 2
    for path in found:
        expected = np.abs(NEGATIVE) if path.branches[0][1] == "then" else np.exp(NEGATIVE)
        np.testing.assert_allclose(run(path.workload, {"x": NEGATIVE})[0], expected, rtol=1e-6)


def test_an_if_inside_a_function_of_the_model_is_found() -> None:
    whole = text("""
g (bool c, float[2,3] x) => (float[2,3] y) { y = own.pick (c, x) }
<domain: "own", opset_import: ["" : 17]>
pick (d, z) => (r) {
    r = If (d) <then_branch = a () => (t) {t = Relu (z)}, else_branch = b () => (t) {t = Neg (z)}>
}""")
    (name,) = control_flow(whole)
    for path in paths(whole, {name: 0.5}, {}):
        taken = path.branches[0][1] == "then"
        inputs = {"c": np.array(taken), "x": NEGATIVE}
        np.testing.assert_array_equal(run(path.workload, inputs)[0], run(whole, inputs)[0])


def test_an_if_inside_a_scan_is_found() -> None:
    whole = text("""
g (bool c, float[2,3] x) => (float[2,3] y) {
    y = Scan <num_scan_inputs = 1, body = step (float[3] row) => (float[3] r) {
        r = If (c) <then_branch = a () => (t) {t = Relu (row)}, else_branch = b () => (t) {t = Neg (row)}>
    }> (x)
}""")
    assert control_flow(whole) == {"Scan_0/body/If_0": "If"}
    for path in paths(whole, {"Scan_0/body/If_0": 0.5}, {}):
        inputs = {"c": np.array(path.branches[0][1] == "then"), "x": NEGATIVE}
        np.testing.assert_array_equal(run(path.workload, inputs)[0], run(whole, inputs)[0])


def test_a_constant_condition_needs_no_probability_and_none_may_contradict_it() -> None:
    whole = text("""
g (float[2,3] x) => (float[2,3] y) {
    s = Shape (x)
    one = Constant <value = int64[1] {1}> ()
    axis = Constant <value = int64[1] {0}> ()
    size = Gather (s, axis)
    is_one = Equal (size, one)
    y = If (is_one) <
        then_branch = a () => (t) { t = Squeeze (x, axis) },
        else_branch = b () => (t) { t = Identity (x) }
    >
}""")
    (path,) = paths(whole, {}, {})
    assert (path.label, path.probability, path.branches) == ("", 1.0, (("If_5", "else"),))
    np.testing.assert_array_equal(run(path.workload, {"x": POSITIVE})[0], POSITIVE)
    with pytest.raises(UsageError, match="constant"):
        paths(whole, {"If_5": 0.5}, {})


def test_a_condition_may_be_constant_on_one_way_and_open_on_another() -> None:
    # What Shape sees depends on the branch before: a fixed shape, or as many rows as are not zero.
    whole = text("""
g (bool c, float[2,3] x) => (float[n,m] y) {
    z = If (c) <
        then_branch = a () => (float[k,l] t) { t = Relu (x) },
        else_branch = b () => (float[k,l] t) { u = NonZero (x)  t = Cast <to = 1> (u) }
    >
    s = Shape (z)
    one = Constant <value = int64[1] {1}> ()
    columns = Gather (s, one)
    three = Constant <value = int64[1] {3}> ()
    same = Equal (columns, three)
    y = If (same) <then_branch = d () => (v) {v = Abs (z)}, else_branch = e () => (v) {v = Exp (z)}>
}""")
    found = paths(whole, {"If_0": 0.5, "If_6": 0.2}, {})
    assert [(path.label, path.probability) for path in found] == [
        ("If_0=then", 0.5),
        ("If_0=else, If_6=else", 0.4),
        ("If_0=else, If_6=then", 0.1),
    ]
    inputs = {"c": np.array(True), "x": POSITIVE}
    np.testing.assert_array_equal(run(found[0].workload, inputs)[0], run(whole, inputs)[0])


def test_a_condition_behind_computed_pads_is_constant() -> None:
    # As PyTorch exports a pad: the widths go through Concat, Reshape, Slice, Transpose and Cast.
    whole = text("""
g (float[1,6] x) => (float[n,m] y) {
    given = Constant <value = int64[2] {0, 2}> ()
    rank = Constant <value = int64[1] {2}> ()
    none = ConstantOfShape <value = int64[1] {0}> (rank)
    both = Concat <axis = 0> (given, none)
    pairs = Constant <value = int64[2] {-1, 2}> ()
    table = Reshape (both, pairs)
    turned = Transpose (table)
    flat = Constant <value = int64[1] {-1}> ()
    order = Reshape (turned, flat)
    widths = Cast <to = 7> (order)
    z = Pad (x, widths)
    elements = Size (z)
    eight = Constant <value = int64 {8}> ()
    wide = Greater (elements, eight)
    y = If (wide) <then_branch = a () => (v) {v = Abs (z)}, else_branch = b () => (v) {v = Exp (z)}>
}""")
    (path,) = paths(whole, {}, {})
    x = np.full((1, 6), -2.0, np.float32)
    np.testing.assert_array_equal(run(path.workload, {"x": x})[0], run(whole, {"x": x})[0])


def test_a_branch_may_hand_out_a_constant_of_its_own() -> None:
    whole = text("""
g (bool c, float[2,3] x) => (float[2,3] p, float[2,3] q) {
    n = Neg (x)
    p, q = If (c) <
        then_branch = a () => (float[2,3] k, float[2,3] i)
            <float[2,3] k = {1, 2, 3, 4, 5, 6}> { i = Identity (n) },
        else_branch = b () => (float[2,3] t, float[2,3] u) { t = Abs (x)  u = Add (t, n) }
    >
}""")
    yes, no = paths(whole, {"If_1": 0.6}, {})
    for path, c in ((yes, True), (no, False)):
        inputs = {"c": np.array(c), "x": NEGATIVE}
        for got, expected in zip(run(path.workload, inputs), run(whole, inputs), strict=False):
            np.testing.assert_array_equal(got, expected)


def test_a_graph_without_choices_is_its_own_only_path() -> None:
    graph = GraphBuilder("scan")
    x = graph.input((1, 4, 3))
    wide = graph.weight((3, 2), fan_in=3)
    b = graph.node("MatMul", [x, wide], (1, 4, 2))
    workload = workload_from_model(
        "scan", "block", graph.model(selective_scan(graph, x, x, b, b, form="scan")), tuple(graph.weights)
    )
    (path,) = paths(workload, {}, {})
    assert path.workload is workload
    with pytest.raises(UsageError, match="no If named 'If_0'"):
        paths(workload, {"If_0": 0.5}, {})


def test_the_weights_of_a_built_graph_stay_what_they_are_on_every_path() -> None:
    graph = GraphBuilder("early exit")
    x = graph.input((1, 3, 8, 8))
    features = graph.conv(x, 4, kernel=3, activation="relu")
    mean = graph.node("ReduceMean", [features], (), keepdims=0)
    sure = graph.typed_node("Greater", [mean, graph.scalar(0.5)], (), "bool")
    exit_now, go_on = graph.body("exit"), graph.body("deep")
    early = exit_now.linear(features, 10)
    late = go_on.linear(go_on.conv(features, 8, kernel=3, stride=2, activation="relu"), 10)
    bodies = {"then_branch": exit_now.subgraph(early), "else_branch": go_on.subgraph(late)}
    model = graph.model(graph.node("If", [sure], (1, 10), **bodies))
    onnx.checker.check_model(onnx.load_from_string(complete(model.SerializeToString(), tuple(graph.weights))))
    whole = workload_from_model("early exit", "network", model, tuple(graph.weights))
    (name,) = control_flow(whole)
    shallow, deep = paths(whole, {name: 0.7}, {})
    draws = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    answers = {}
    for scale in (0.01, 100.0):
        inputs = {"input": draws * np.float32(scale)}
        expected = run(whole, inputs)[0]
        path = next(
            path for path in (shallow, deep) if bool(run(path.workload, inputs)[-1]) == (path.branches[0][1] == "then")
        )
        np.testing.assert_allclose(run(path.workload, inputs)[0], expected, rtol=1e-4)
        answers[path.label] = expected
    assert len(answers) == 2


def test_the_paths_of_a_file_keep_its_weights_and_its_names(tmp_path: FilePath) -> None:
    # A variance among the weights: made-up numbers instead of it would give NaN.
    parts = {"scale": [1, 2, 3], "bias": [0, 1, 0], "mean": [0, 0, 1], "variance": [4, 1, 0.25]}
    model = onnx.parser.parse_model("""
<ir_version: 8, opset_import: ["" : 17]>
g (bool c, float[2,3] x) => (float[2,3] y) {
    z = BatchNormalization (x, scale, bias, mean, variance)
    y = If (c) <then_branch = a () => (t) {t = Relu (z)}, else_branch = b () => (t) {t = Neg (z)}>
}""")
    model.graph.initializer.extend(numpy_helper.from_array(np.array(v, np.float32), k) for k, v in parts.items())
    model.graph.node[1].name = "gate"
    file = tmp_path / "gated.onnx"
    onnx.save(model, file)
    whole = read_model(file)
    with pytest.raises(UsageError, match="scratch"):
        paths(whole, {"gate": 0.5}, {})
    found = paths(whole, {"gate": 0.9}, {}, tmp_path)
    assert [path.label for path in found] == ["gate=then", "gate=else"]
    for path in found:
        taken = path.branches[0][1] == "then"
        expected = run(whole, {"c": np.array(taken), "x": POSITIVE})[0]
        np.testing.assert_array_equal(run(path.workload, {"c": np.array(not taken), "x": POSITIVE})[0], expected)
        assert FilePath(path.workload.path).parent == tmp_path
        assert read_model(FilePath(path.workload.path)).graph_hash == path.workload.graph_hash


def choices(count: int) -> Workload:
    """A chain of Ifs, each with a condition of its own."""
    inputs = [helper.make_tensor_value_info(f"c{i}", TensorProto.BOOL, []) for i in range(count)]
    nodes, value = [], "x"
    for i in range(count):
        bodies = {
            branch: helper.make_graph(
                [helper.make_node(op, [value], ["t"])], branch, [], [helper.make_tensor_value_info("t", 1, SHAPE)]
            )
            for branch, op in (("then_branch", "Relu"), ("else_branch", "Neg"))
        }
        nodes.append(helper.make_node("If", [f"c{i}"], [f"y{i}"], name=f"gate{i}", **bodies))
        value = f"y{i}"
    x, y = (helper.make_tensor_value_info(name, 1, SHAPE) for name in ("x", value))
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x, *inputs], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    return workload_from_model("gates", "network", model)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0]) | st.floats(1e-6, 1 - 1e-6), min_size=1, max_size=6))
def test_the_probabilities_of_the_paths_sum_to_one(stated: list[float]) -> None:
    found = paths(choices(len(stated)), {f"If_{i}": p for i, p in enumerate(stated)}, {})
    assert sum(path.probability for path in found) == pytest.approx(1.0)
    assert len({path.branches for path in found}) == len(found)
    assert all(path.probability > 0 for path in found)
    # Each condition is met by exactly its probability, over all the ways.
    for i, p in enumerate(stated):
        share = sum(path.probability for path in found if (f"If_{i}", "then") in path.branches)
        assert share == pytest.approx(p)


def test_more_ways_than_anybody_measures_are_refused() -> None:
    six, seven = choices(6), choices(7)
    half = {f"If_{i}": 0.5 for i in range(6)}
    assert len(paths(six, half, {})) == PATHS_MAX
    with pytest.raises(UsageError, match="more than 64"):
        paths(seven, half | {"If_6": 0.5}, {})
    assert len(paths(seven, half | {"If_6": 1.0}, {})) == PATHS_MAX


@pytest.mark.parametrize(
    ("probabilities", "trips", "says"),
    [
        ({}, {}, "--branch If_3=P"),
        ({"If_3": 1.5}, {}, "between 0 and 1"),
        ({"If_3": float("nan")}, {}, "between 0 and 1"),
        ({"If_9": 0.5}, {}, "If_3"),
        ({"If_3": 0.5}, {"If_3": 2}, "no Loop"),
    ],
)
def test_a_statement_that_fits_no_node_is_refused_by_name(
    probabilities: dict[str, float], trips: dict[str, int], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        paths(text(CHOICE), probabilities, trips)
