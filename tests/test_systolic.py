"""The systolic array: laws of its folds, its memories and its pipeline, and agreement with other ways of counting."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.costmodels.kernel_work import work_of
from edgecost.costmodels.space_file import load_space
from edgecost.devices.simulators.lowering import Product, Vector, lower
from edgecost.devices.simulators.systolic import Fold, SystolicArray, SystolicDesign, pipeline
from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.kernels.written import written_graph
from edgecost.profiler.workload import workload_from_model

sides = st.integers(1, 70)
products = st.builds(
    Product,
    m=sides,
    n=sides,
    k=sides,
    input_elements=st.integers(1, 4000),
    weight_elements=st.integers(1, 4000),
    count=st.integers(1, 3),
)
designs = st.builds(
    SystolicDesign,
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    dataflow=st.sampled_from(["os", "ws"]),
    input_kb=st.integers(1, 8),
    weight_kb=st.integers(1, 8),
    output_kb=st.integers(1, 8),
    bytes_per_cycle=st.integers(1, 64),
    element_bytes=st.integers(1, 4),
)
folds = st.lists(
    st.builds(
        Fold,
        cycles=st.integers(0, 50),
        read_bytes=st.integers(0, 500),
        write_bytes=st.integers(0, 500),
        sram_bytes=st.just(0),
    ),
    max_size=8,
)
few = settings(max_examples=150, deadline=None)


def closed_cycles(design: SystolicDesign, work: Product) -> int:
    """The sum of 2r + c + T - 2 over all folds, written out: an oracle that walks over nothing."""
    rows, streamed = (work.m, work.k) if design.dataflow == "os" else (work.k, work.m)
    down, across = -(-rows // design.rows), -(-work.n // design.columns)
    return work.count * (2 * rows * across + work.n * down + (streamed - 2) * down * across)


@few
@given(designs, products)
def test_the_folds_take_the_cycles_of_the_closed_formula(design, work):
    assert SystolicArray(design).run(work).busy_cycles == closed_cycles(design, work)


@few
@given(designs, st.integers(1, 4), st.integers(1, 4), sides)
def test_on_exact_tiles_it_is_the_published_equation(design, down, across, streamed):
    spatial = down * design.rows
    m, k = (spatial, streamed) if design.dataflow == "os" else (streamed, spatial)
    work = Product(m, across * design.columns, k, 1, 1)
    published = (2 * design.rows + design.columns + streamed - 2) * down * across
    assert SystolicArray(design).run(work).busy_cycles == published


@few
@given(designs, products, st.integers(1, 10))
def test_a_larger_array_never_computes_for_longer(design, work, more):
    before = SystolicArray(design).run(work).busy_cycles
    assert SystolicArray(replace(design, rows=design.rows + more)).run(work).busy_cycles <= before
    assert SystolicArray(replace(design, columns=design.columns + more)).run(work).busy_cycles <= before


@few
@given(designs, products, st.integers(1, 64))
def test_more_bandwidth_never_takes_longer(design, work, more):
    faster = replace(design, bytes_per_cycle=design.bytes_per_cycle + more)
    assert SystolicArray(faster).run(work).cycles <= SystolicArray(design).run(work).cycles


@few
@given(designs, products)
def test_nothing_is_faster_than_its_computing_or_its_traffic(design, work):
    tally = SystolicArray(design).run(work)
    moved = tally.dram_read_bytes + tally.dram_write_bytes
    assert tally.cycles >= max(tally.busy_cycles, math.ceil(moved / design.bytes_per_cycle))
    assert tally.cycles <= tally.busy_cycles + moved
    assert tally.macs == work.count * work.m * work.n * work.k
    assert tally.macs <= tally.busy_cycles * design.rows * design.columns


@few
@given(designs, products)
def test_every_operand_is_read_at_least_once_and_every_result_written(design, work):
    tally = SystolicArray(design).run(work)
    width = design.element_bytes
    results = work.count * work.m * work.n * width
    spilled = tally.dram_write_bytes - results
    assert tally.dram_read_bytes - spilled >= work.count * (work.input_elements + work.weight_elements) * width
    assert spilled >= 0
    assert spilled == 0 or design.dataflow == "ws"


@few
@given(designs, products)
def test_with_memory_enough_everything_moves_exactly_once(design, work):
    roomy = replace(design, input_kb=10**6, weight_kb=10**6, output_kb=10**6)
    tally = SystolicArray(roomy).run(work)
    width = design.element_bytes
    assert tally.dram_read_bytes == work.count * (work.input_elements + work.weight_elements) * width
    assert tally.dram_write_bytes == work.count * work.m * work.n * width


@few
@given(designs, st.integers(0, 10**5), st.integers(1, 10**5), st.integers(1, 10**5))
def test_the_vector_unit_moves_what_there_is_and_no_more(design, operations, read, written):
    tally = SystolicArray(design).run(Vector(operations, read, written))
    assert tally.dram_read_bytes == read * design.element_bytes
    assert tally.dram_write_bytes == written * design.element_bytes
    assert tally.busy_cycles >= math.ceil(operations / design.columns)


@few
@given(folds, st.integers(1, 64))
def test_the_pipeline_is_that_of_a_table_of_phases(steps, width):
    """In phase p fold p computes, the operands of p + 1 come and the results of p - 1 go."""
    phases = []
    for phase in range(-1, len(steps) + 1):
        computing = steps[phase].cycles if 0 <= phase < len(steps) else 0
        coming = steps[phase + 1].read_bytes if phase + 1 < len(steps) else 0
        going = steps[phase - 1].write_bytes if phase >= 1 else 0
        phases.append(max(computing, math.ceil((coming + going) / width)))
    assert pipeline(steps, width).cycles == sum(phases)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "vit_tiny", "bert_tiny"])
def test_it_counts_the_multiply_adds_that_the_rules_of_work_count(name):
    workload = REFERENCE_NETWORKS[name]()
    counted = [one for one in written_graph(workload).kernels if isinstance(lower(one), Product)]
    assert counted
    for kernel in counted:
        work = lower(kernel)
        assert work.count * work.m * work.n * work.k == pytest.approx(work_of(kernel).mega_flops * 1e6 / 2), kernel


def test_every_cell_of_the_built_in_image_spaces_is_computed():
    for name in ("ofa-mobilenetv3", "fbnet", "proxylessnas"):
        space = load_space(name)
        for cell in space.measurable:
            for kernel in written_graph(space.workload(cell)).kernels:
                assert not isinstance(lower(kernel), str), kernel.signature


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (Kernel("MatMul", ((4, 8),), ((8, 3),), ((4, 3),)), Product(4, 3, 8, 32, 24)),
        (Kernel("MatMul", ((8, 3),), ((4, 8),), ((4, 3),)), Product(4, 3, 8, 32, 24)),
        (Kernel("MatMul", ((2, 5, 4, 8),), ((8, 3),), ((2, 5, 4, 3),)), Product(40, 3, 8, 320, 24)),
        (Kernel("MatMul", ((2, 5, 4, 8), (2, 5, 8, 3)), (), ((2, 5, 4, 3),)), Product(4, 3, 8, 32, 24, 10)),
        (
            Kernel("Gemm", ((4, 8),), ((3, 8), (3,)), ((4, 3),), (("transB", "1"),)),
            Product(4, 3, 8, 32, 24),
        ),
    ],
)
def test_products_are_lowered_whichever_side_the_constant_stands_on(kernel, expected):
    assert lower(kernel) == expected


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (Kernel("MatMul", ((8,),), ((8, 3),), ((3,),)), "no matrix"),
        (Kernel("MatMul", ((4, 7),), ((8, 3),), ((4, 3),)), "do not fit"),
        (Kernel("Conv", ((1, 3, 8, 8),), (), ((1, 3, 8, 8),)), "filter is not there"),
        (Kernel("Relu", (None,), (), (None,)), "depends on data"),
        (Kernel("Resize", ((1, 3, 8, 8),), (), ((1, 3, 16, 16),), (("mode", "linear"),)), "nearest only"),
        (Kernel("LSTM", ((1, 3, 8),), (), ((1, 3, 8),)), "no such operator"),
    ],
)
def test_what_cannot_be_lowered_says_why(kernel, reason):
    assert reason in lower(kernel)


def test_energy_is_what_its_parts_cost():
    graph = GraphBuilder("one")
    model = graph.model(graph.conv(graph.input((1, 16, 8, 8)), 32))
    workload = workload_from_model("one", "block", model, tuple(graph.weights))
    parts = {"mac_pj": 3.0, "sram_pj_per_byte": 5.0, "dram_pj_per_byte": 7.0, "static_mw": 11.0}
    nothing = dict.fromkeys(parts, 0.0)
    assert SystolicArray(SystolicDesign(**nothing)).cost(workload).energy_mj is None
    alone = [SystolicArray(SystolicDesign(**{**nothing, part: value})).cost(workload) for part, value in parts.items()]
    whole = SystolicArray(SystolicDesign(**parts)).cost(workload)
    assert whole.energy_mj == pytest.approx(sum(cost.energy_mj for cost in alone))
    assert alone[0].energy_mj == pytest.approx(16 * 32 * 64 * 3.0 / 1e9)
    assert alone[3].energy_mj == pytest.approx(11.0 * whole.latency_ms / 1e3)


def test_a_network_is_the_sum_of_its_nodes():
    made = SystolicArray()
    workload = REFERENCE_NETWORKS["bert_tiny"]()
    cycles = sum(made.run(lower(kernel)).cycles for kernel in written_graph(workload).kernels)
    assert made.cost(workload).details["cycles"] == cycles
    assert made.cost(workload).latency_ms == pytest.approx(cycles / 500e3)
