"""In-graph repetition: as many kernels as copies, copies that nothing merges, and a slope that finds its line."""

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.profiler.bench import Bench
from edgecost.profiler.client import RunnerClient
from edgecost.profiler.errors import UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.graphs.recurrent_operators import selective_scan
from edgecost.profiler.graphs.repetition import (
    BORDER_PAIRS,
    border_ms,
    border_probes,
    repeated,
    repeated_in_place,
    slope_ms,
)
from edgecost.profiler.kernels.cut import kernel_workloads
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.loading import load_request
from edgecost.profiler.protocol import runner_rules
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import workload_from_model

onnxruntime = pytest.importorskip("onnxruntime")

COPIES = 5


@pytest.fixture(scope="module")
def profile():
    return host_profile()


@pytest.fixture(scope="module")
def plain(profile):
    return replace(profile, graph_level="ORT_DISABLE_ALL")


@pytest.fixture(scope="module")
def cut_out(profile):
    """Cut-out kernels of a convolution, a residual addition, a pool and a classifier."""
    graph = GraphBuilder("parts")
    x = graph.conv(graph.input((1, 16, 8, 8)), 32, kernel=3, activation="relu6")
    y = graph.add(x, graph.conv(x, 32))
    network = workload_from_model(
        "parts", "network", graph.model(graph.linear(graph.global_average_pool(y), 10)), tuple(graph.weights)
    )
    return [alone for _, alone in kernel_workloads(network, profile) if alone is not None]


def linear():
    graph = GraphBuilder("linear")
    output = graph.linear(graph.input((4, 24)), 24)
    return workload_from_model("linear", "operator", graph.model(output), tuple(graph.weights))


def outputs(workload, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        complete(workload.skeleton, workload.weights), options, providers=["CPUExecutionProvider"]
    )
    drawn = np.random.default_rng(0)
    fed = {slot.name: drawn.standard_normal(slot.shape).astype(np.float32) for slot in session.get_inputs()}
    return session.run(None, fed)


@pytest.mark.parametrize("repeat", [repeated, repeated_in_place])
def test_a_cut_out_kernel_becomes_as_many_kernels_of_its_hash_as_there_are_copies(cut_out, plain, repeat):
    assert len(cut_out) >= 4
    for alone in cut_out:
        (kernel,) = kernels(alone, plain)
        found = kernels(repeat(alone, COPIES), plain)
        assert [one.kernel_hash for one in found] == [kernel.kernel_hash] * COPIES, alone.name


def test_independent_copies_are_not_merged_with_optimisation_on(profile):
    alone = linear()
    (kernel,) = (one for one in kernels(alone, profile) if one.op == "Gemm")
    found = [one.kernel_hash for one in kernels(repeated(alone, COPIES), profile)]
    assert found.count(kernel.kernel_hash) == COPIES


def test_copies_in_place_are_merged_with_optimisation_on(profile):
    assert len(kernels(repeated_in_place(linear(), COPIES), profile)) < COPIES


@pytest.mark.parametrize("repeat", [repeated, repeated_in_place])
def test_the_runtime_runs_every_copy(cut_out, plain, repeat):
    with Bench.for_profile(plain) as bench, RunnerClient(bench.supply, plain, runner_rules()) as runner:
        for alone in cut_out:
            runner.send({**load_request("copies", repeat(alone, COPIES), 0), "verb": "profile", "runs": 1})
            assert len(runner.receive(60.0)["kernels"]) == COPIES, alone.name


def test_independent_copies_have_their_own_data_and_in_place_copies_share_it(cut_out):
    alone = max(cut_out, key=lambda one: len(one.weights))
    single = onnx.ModelProto.FromString(alone.skeleton).graph
    apart, shared = (onnx.ModelProto.FromString(f(alone, COPIES).skeleton).graph for f in (repeated, repeated_in_place))
    assert len(apart.input) == COPIES * len(single.input)
    assert len(apart.output) == COPIES * len(single.output)
    assert len(repeated(alone, COPIES).weights) == COPIES * len(alone.weights) > 0
    assert [value.name for value in shared.input] == [value.name for value in single.input]
    assert [value.name for value in shared.output] == [value.name for value in single.output]
    assert repeated_in_place(alone, COPIES).weights == alone.weights


def test_a_copy_computes_what_the_kernel_computes():
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (single,) = outputs(linear(), level)
    (in_place,) = outputs(repeated_in_place(linear(), COPIES), level)
    np.testing.assert_array_equal(single, in_place)
    made = outputs(repeated(linear(), COPIES), level)
    assert len(made) == COPIES
    assert len({array.tobytes() for array in made}) == COPIES, "each copy has numbers of its own"


@pytest.mark.parametrize("repeat", [repeated, repeated_in_place])
def test_every_number_of_copies_is_a_workload_of_its_own(repeat):
    made = {count: repeat(linear(), count) for count in (1, 2, 4, 8)}
    assert len({workload.graph_hash for workload in made.values()}) == 4
    assert made[1].graph_hash == linear().graph_hash


def test_the_two_kinds_of_copies_are_told_apart():
    assert repeated(linear(), 2).graph_hash != repeated_in_place(linear(), 2).graph_hash


@pytest.mark.parametrize("repeat", [repeated, repeated_in_place])
def test_what_cannot_be_repeated_is_refused(repeat):
    with pytest.raises(UsageError, match="0 copies"):
        repeat(linear(), 0)
    with pytest.raises(UsageError, match="weights of its own"):
        repeat(replace(linear(), path="model.onnx"), 2)
    graph = GraphBuilder("scan")
    x, delta = graph.input((4, 1, 8), "x"), graph.input((4, 1, 8), "delta")
    b, c = graph.input((4, 1, 2), "b"), graph.input((4, 1, 2), "c")
    output = selective_scan(graph, x, delta, b, c)
    scan = workload_from_model("scan", "operator", graph.model(output), tuple(graph.weights))
    with pytest.raises(UsageError, match="control flow"):
        repeat(scan, 2)


def test_the_border_probes_run_the_same_nodes_behind_different_borders(plain):
    probes = border_probes()
    assert {name: len(kernels(probe, plain)) for name, probe in probes.items()} == dict.fromkeys(probes, BORDER_PAIRS)
    graphs = {name: onnx.ModelProto.FromString(probe.skeleton).graph for name, probe in probes.items()}
    assert [len(graphs["side"].input), len(graphs["side"].output)] == [BORDER_PAIRS] * 2
    assert [len(graphs["chain"].input), len(graphs["chain"].output)] == [1, 1]


times = st.floats(min_value=1e-4, max_value=10.0)


@given(node=times, overhead=times, pair=times, counts=st.sets(st.integers(1, 64), min_size=2, max_size=6))
def test_the_slope_finds_a_kernel_behind_overhead_and_border(node, overhead, pair, counts):
    side = overhead + BORDER_PAIRS * (node + pair)
    chain = overhead + BORDER_PAIRS * node + pair
    border = border_ms(side, chain)
    found = slope_ms({count: overhead + count * (node + pair) for count in counts}, border_ms=border)
    assert math.isclose(found, node, rel_tol=1e-6, abs_tol=1e-9)


@given(node=times, overhead=times, place=st.integers(0, 4), much=st.floats(0.1, 100.0))
def test_one_disturbed_latency_cannot_carry_the_slope_away(node, overhead, place, much):
    latencies = {count: overhead + count * node for count in (1, 2, 4, 8, 16)}
    latencies[list(latencies)[place]] += much
    assert math.isclose(slope_ms(latencies), node, rel_tol=1e-6, abs_tol=1e-9)


def test_a_slope_of_one_point_is_refused():
    with pytest.raises(UsageError, match="at least two"):
        slope_ms({4: 1.0})
