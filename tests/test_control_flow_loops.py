"""Loops in ways through real graphs: how often they go round is stated, and is what the way makes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.control_flow import control_flow, paths
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.graphs.recurrent_operators import selective_scan
from edgecost.profiler.workload import workload_from_model
from tests.control_flow_models import POSITIVE, run, text

COUNTED = """
g (int64 n, float[2,3] x) => (float[2,3] y, float[n,2,3] seen) {
    y, seen = Loop (n, , x) <
        body = step (int64 i, bool going, float[2,3] h) => (bool still, float[2,3] after, float[2,3] row) {
            after = Add (h, x)
            row = Relu (after)
            still = Identity (going)
        }
    >
}"""


def test_a_stated_number_of_trips_gives_what_the_loop_gives_with_that_number() -> None:
    whole = text(COUNTED)
    with pytest.raises(UsageError, match=r"--trips Loop_0=N"):
        paths(whole, {}, {})
    (path,) = paths(whole, {}, {"Loop_0": 5})
    assert (path.label, path.probability, path.trips) == ("Loop_0×5", 1.0, (("Loop_0", 5),))
    expected = run(whole, {"n": np.array(5), "x": POSITIVE})
    # Whatever count is fed, the loop makes five trips.
    for got, wanted in zip(run(path.workload, {"n": np.array(2), "x": POSITIVE}), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_loop_that_stops_by_its_data_makes_the_stated_trips_and_still_computes_its_condition() -> None:
    whole = text("""
g (float[2,3] x) => (float[2,3] y) {
    limit = Constant <value = float {40.0}> ()
    y = Loop (, , x) <
        body = step (int64 i, bool going, float[2,3] h) => (bool still, float[2,3] after) {
            after = Add (h, h)
            top = ReduceMax <keepdims = 0> (after)
            still = Less (top, limit)
        }
    >
}""")
    np.testing.assert_array_equal(run(whole, {"x": POSITIVE})[0], 16 * POSITIVE)
    (path,) = paths(whole, {}, {"Loop_1": 7})
    np.testing.assert_array_equal(run(path.workload, {"x": POSITIVE})[0], 128 * POSITIVE)
    (loop,) = [n for n in onnx.load_from_string(path.workload.skeleton).graph.node if n.op_type == "Loop"]
    assert [node.op_type for node in loop.attribute[0].g.node] == ["Add", "ReduceMax", "Less", "Or"]


def test_an_if_inside_a_loop_is_taken_one_way_by_every_trip() -> None:
    whole = text("""
g (float[2,3] x) => (float[2,3] y) {
    n = Constant <value = int64 {4}> ()
    true = Constant <value = bool {1}> ()
    two = Constant <value = int64 {2}> ()
    y = Loop (n, true, x) <
        body = step (int64 i, bool going, float[2,3] h) => (bool still, float[2,3] after) {
            early = Less (i, two)
            after = If (early) <
                then_branch = a () => (t) { t = Add (h, x) },
                else_branch = b () => (t) { t = Sub (h, x) }
            >
            still = Identity (going)
        }
    >
}""")
    name = "Loop_3/body/If_1"
    assert control_flow(whole) == {"Loop_3": "Loop", name: "If"}
    early, late = paths(whole, {name: 0.5}, {})
    assert early.probability == late.probability == 0.5
    values = {path.label: run(path.workload, {"x": POSITIVE})[0] for path in (early, late)}
    np.testing.assert_array_equal(values[f"{name}=then"], 5 * POSITIVE)
    np.testing.assert_array_equal(values[f"{name}=else"], -3 * POSITIVE)
    with pytest.raises(UsageError, match="4 trips"):
        paths(whole, {name: 0.5}, {"Loop_3": 9})


def test_a_loop_with_a_constant_count_stays_as_it_is() -> None:
    graph = GraphBuilder("loop")
    x = graph.input((1, 4, 3))
    b = graph.node("MatMul", [x, graph.weight((3, 2), fan_in=3)], (1, 4, 2))
    y = selective_scan(graph, x, x, b, b, form="loop")
    workload = workload_from_model("loop", "block", graph.model(y), tuple(graph.weights))
    assert list(control_flow(workload).values()) == ["Loop"]
    (path,) = paths(workload, {}, {})
    assert path.workload is workload


def test_fewer_trips_than_none_are_refused() -> None:
    with pytest.raises(UsageError, match="fewer trips"):
        paths(text(COUNTED), {}, {"Loop_0": -1})
