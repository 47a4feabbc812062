"""From the store to samples: one per graph, net of the call, nothing made up."""

from __future__ import annotations

import pytest

from edgecost.costmodels.dataset import NETWORK_PURPOSES, load_samples, sample_kernels, typical_overhead_ms
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.records import Device, RuntimeProfile
from edgecost.profiler.workload import Workload, workload_from_model


def relu(size: int) -> Workload:
    graph = GraphBuilder("relu")
    return workload_from_model(f"relu {size}", "operator", graph.model(graph.activate(graph.input((size,)), "relu")))


def samples(notebook, **wanted):
    return load_samples(notebook.store, notebook.device.identity, notebook.profile, **wanted)


def test_an_empty_store_has_no_samples(notebook) -> None:
    assert samples(notebook) == []


def test_sessions_of_one_graph_are_one_sample_net_of_each_sessions_own_overhead(notebook) -> None:
    notebook.write(relu(2), 5.0)
    notebook.write(relu(1), 1.0, overhead_ms=0.1)
    notebook.write(relu(1), 1.2, overhead_ms=0.2, purpose="panel")
    notebook.write(relu(1), 2.0, overhead_ms=0.1, purpose="support")
    first, second = samples(notebook)
    assert [first.workload.name, second.workload.name] == ["relu 2", "relu 1"]
    assert second.sessions_ms == pytest.approx((0.9, 1.0, 1.9))
    assert second.latency_ms == pytest.approx(1.0)
    assert second.raw_ms == pytest.approx(1.2)
    assert second.lo_ms == pytest.approx(0.98 - 0.1)
    assert second.hi_ms == pytest.approx(2.06 - 0.1)
    assert second.visits == 21
    assert not second.is_network


def test_two_measurements_in_one_process_are_one_session(notebook) -> None:
    notebook.write(relu(1), 1.1, session="s1")
    notebook.write(relu(1), 1.3, session="s1", purpose="panel")
    notebook.write(relu(1), 2.1, session="s2", purpose="panel")
    (sample,) = samples(notebook)
    assert sample.sessions_ms == pytest.approx((1.1, 2.0))


def test_an_overhead_that_a_crash_lost_is_the_typical_one(notebook) -> None:
    for size, overhead in ((1, 0.1), (2, 0.2), (3, 0.9), (4, None)):
        notebook.write(relu(size), 1.0, overhead_ms=overhead)
    assert [s.latency_ms for s in samples(notebook)] == pytest.approx([0.9, 0.8, 0.1, 0.8])


def test_where_no_overhead_was_ever_measured_there_is_no_sample(notebook) -> None:
    notebook.write(relu(1), 1.0, overhead_ms=None)
    assert samples(notebook) == []
    assert typical_overhead_ms([]) is None


@pytest.mark.parametrize("median_ms", [0.05, 0.1])
def test_what_is_not_above_the_overhead_is_left_out_and_never_zero(notebook, median_ms: float) -> None:
    notebook.write(relu(1), median_ms)
    notebook.write(relu(2), 1.0)
    assert [s.workload.name for s in samples(notebook)] == ["relu 2"]


def test_a_bound_below_the_overhead_is_zero_but_the_latency_is_not(notebook) -> None:
    notebook.write(relu(1), 0.101)
    (sample,) = samples(notebook)
    assert sample.lo_ms == 0.0
    assert sample.latency_ms == pytest.approx(0.001)


def test_retracted_and_failed_attempts_are_not_used(notebook) -> None:
    wrong = notebook.write(relu(1), 9.0)
    notebook.write(relu(1), 1.1)
    notebook.write(relu(1), None)
    notebook.store.retract(wrong, "me", "the fan was off")
    (sample,) = samples(notebook)
    assert sample.sessions_ms == pytest.approx((1.0,))
    assert sample.visits == 7


def test_only_the_device_and_profile_that_were_asked_for_count(notebook) -> None:
    other = Device("other", "board-2", "another")
    notebook.store.put_device(other)
    notebook.write(relu(1), 1.0, device=other)
    assert samples(notebook) == []
    two = RuntimeProfile("onnxruntime", notebook.profile.version, threads=2)
    notebook.write(relu(1), 1.0)
    assert load_samples(notebook.store, notebook.device.identity, two) == []


def test_networks_are_apart_from_blocks(notebook) -> None:
    notebook.write(relu(1), 1.0)
    notebook.write(relu(2), 2.0, purpose="network")
    notebook.write(relu(3), 3.0, purpose="profile")
    found = samples(notebook, purposes=NETWORK_PURPOSES)
    assert [s.workload.name for s in found] == ["relu 2", "relu 3"]
    assert all(s.is_network for s in found)
    assert [s.workload.name for s in samples(notebook, graph_hashes=[relu(1).graph_hash])] == ["relu 1"]


def test_samples_become_the_kernels_of_their_graphs(notebook) -> None:
    notebook.write(relu(1), 1.0)
    (graph,) = sample_kernels(samples(notebook), notebook.profile)
    assert [kernel.op for kernel in graph] == ["Relu"]
