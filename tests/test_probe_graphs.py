"""The graphs of the device probe: their work is known, and no runtime optimises it away."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.graphs.probe_graphs import (
    BUFFERS,
    IDLE_BYTES,
    PASSES_MAX,
    PASSES_MIN,
    WORKING_SETS_BYTES,
    ProbePlan,
    chains,
    role_of,
    square_products,
    stream,
    stream_over,
    thread_counts,
)
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.precision.convert import PRECISIONS, convert
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.workload import workload_from_model

KIB = 2**10


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_work_of_a_product_is_known_in_every_precision(precision: str) -> None:
    role = role_of(convert(square_products(64), precision))
    assert role is not None
    assert (role.quantity, role.flops) == ("gemm", 4 * 2 * 64**3)


def test_the_runtime_keeps_every_pass_and_moves_the_bytes_that_the_role_says(profile: RuntimeProfile) -> None:
    made = stream(1000, 8)
    found, role = kernels(made, profile), role_of(made)
    assert role is not None
    assert len(found) == role.nodes == 10
    moved = sum(
        math.prod(shape) for one in found if one.op != "Slice" for shape in (*one.inputs, *one.outputs) if shape
    )
    assert role.moved_bytes == 4 * moved


def test_the_runtime_keeps_every_node_of_a_chain(profile: RuntimeProfile) -> None:
    assert [len(kernels(chain, profile)) for chain in chains()] == [1, 17]


def test_the_numbers_of_a_stream_stay_as_large_as_its_input() -> None:
    session = onnxruntime.InferenceSession(stream(8, PASSES_MAX).skeleton, providers=["CPUExecutionProvider"])
    fed = np.arange(1, 9, dtype=np.float32)
    (made,) = session.run(None, {"input": fed})
    assert abs(made[0]) in (fed[0], 2 * fed[0])


@given(st.integers(IDLE_BYTES, 2**31))
def test_a_stream_holds_the_working_set_that_it_was_asked_for(size: int) -> None:
    role = role_of(stream_over(size))
    assert role is not None
    assert size - BUFFERS * 4 < role.working_set_bytes <= size
    assert PASSES_MIN <= role.nodes - 2 <= PASSES_MAX
    single = role_of(stream_over(size, is_single_pass=True))
    assert single is not None
    assert single.moved_bytes == single.working_set_bytes == role.working_set_bytes


def test_a_graph_that_is_no_probe_has_no_role() -> None:
    graph = GraphBuilder("net")
    value = graph.conv(graph.input((1, 3, 8, 8)), 4, kernel=3)
    assert role_of(workload_from_model("net", "network", graph.model(value), tuple(graph.weights))) is None


def test_threads_go_up_by_twos_to_all_that_there_are() -> None:
    pinned = RuntimeProfile("onnxruntime", "1", affinity=tuple(range(6)), threads=3)
    assert thread_counts(pinned) == (1, 2, 3, 4, 6)
    assert thread_counts(replace(pinned, affinity=(5,), threads=1)) == (1,)
    assert thread_counts(replace(pinned, provider="CUDAExecutionProvider")) == (3,)


def test_a_runtime_that_compiles_is_asked_for_less() -> None:
    plan = ProbePlan.for_profile(RuntimeProfile("tvm", "1", "llvm", threads=2), 2**35)
    assert plan.variants == tuple((precision, 2) for precision in PRECISIONS)
    assert set(plan.working_sets_bytes) < set(WORKING_SETS_BYTES)


def test_a_small_board_is_not_asked_for_working_sets_that_it_cannot_hold(profile: RuntimeProfile) -> None:
    small = ProbePlan.for_profile(profile, 512 * KIB * KIB)
    assert max(small.working_sets_bytes) == 48 * KIB * KIB
    assert ProbePlan.for_profile(profile, 2**35).working_sets_bytes == WORKING_SETS_BYTES
    assert ProbePlan.for_profile(profile, None).working_sets_bytes
