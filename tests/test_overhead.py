"""The overhead of a call: exact where the chains follow the law, absent where a chain was not measured."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.overhead import overhead_ms, overhead_probes
from edgecost.profiler.records import Visit
from edgecost.profiler.workload import workload_from_model

SHORT, LONG = "sigmoid_chain_1", "sigmoid_chain_17"


def visits(*values_ns: float | None) -> list[Visit]:
    return [
        Visit(i, "s", (1,), (1,), (1, 1), 0, "canary" if value is None else "", value)
        for i, value in enumerate(values_ns)
    ]


@pytest.mark.parametrize(("name", "length"), [(SHORT, 1), (LONG, 17)])
def test_the_probes_are_to_the_last_bit_what_the_builder_makes(name: str, length: int) -> None:
    graph = GraphBuilder("overhead")
    value = graph.input((1,))
    for _ in range(length):
        value = graph.activate(value, "sigmoid")
    assert overhead_probes()[name] == workload_from_model(name, "operator", graph.model(value))


def test_the_probes_are_chains_of_1_and_17_sigmoids() -> None:
    probes = overhead_probes()
    assert set(probes) == {SHORT, LONG}
    for name, workload in probes.items():
        model = onnx.load_model_from_string(workload.skeleton)
        onnx.checker.check_model(model, full_check=True)
        nodes = model.graph.node
        assert [node.op_type for node in nodes] == ["Sigmoid"] * int(name.rpartition("_")[2])


@given(st.integers(0, 10**7), st.integers(0, 10**5))
def test_the_overhead_of_the_linear_law_is_found_exactly(empty_ns: int, node_ns: int) -> None:
    made = {SHORT: visits(empty_ns + node_ns), LONG: visits(empty_ns + 17 * node_ns)}
    assert overhead_ms(made) == empty_ns / 1e6


def test_medians_of_the_valid_visits_count() -> None:
    made = {SHORT: visits(3000, None, 3100, 90_000), LONG: visits(None, 4700.0, 1.0, 9000.0)}
    assert overhead_ms(made) == pytest.approx((3100 - (4700 - 3100) / 16) / 1e6)


@pytest.mark.parametrize("empty", [SHORT, LONG])
def test_a_probe_without_a_valid_visit_gives_no_number(empty: str) -> None:
    made = {SHORT: visits(3000.0), LONG: visits(5000.0)} | {empty: visits(None)}
    assert overhead_ms(made) is None


def test_a_long_chain_that_came_out_faster_does_not_make_the_overhead_larger_than_a_call() -> None:
    assert overhead_ms({SHORT: visits(3000.0), LONG: visits(2000.0)}) == 3000 / 1e6
