"""What this repository builds passes the gate: operators, blocks, spaces, networks, cut kernels, other precisions."""

from __future__ import annotations

from itertools import islice

import pytest

from edgecost.costmodels.random_blocks import random_blocks
from edgecost.costmodels.random_networks import random_networks
from edgecost.costmodels.space_file import load_space, space_names
from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS
from edgecost.profiler.graphs.probe_graphs import chains, single_pass, square_products, stream
from edgecost.profiler.graphs.repetition import border_probes, repeated
from edgecost.profiler.kernels.cut import kernel_workloads
from edgecost.profiler.onnx_gate import DOMAINS, GateReport, check_onnx
from edgecost.profiler.precision.convert import convert
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload
from tests.test_blocks_breadth import CASES
from tests.test_blocks_breadth import workload as block_workload
from tests.test_operators_breadth import OPERATORS, build
from tests.test_space_blocks import OPERATORS as IMAGE_OPERATORS
from tests.test_space_blocks import build as build_image


@pytest.fixture(scope="module")
def profile() -> RuntimeProfile:
    return host_profile()


def passes(workload: Workload, *, whole: bool = True) -> GateReport:
    """The skeleton passes, and so does the model with its weights."""
    found = check_onnx(workload.skeleton)
    if whole:
        completed = check_onnx(complete(workload.skeleton, workload.weights))
        assert completed.nodes == found.nodes
        assert completed.tensor_bytes >= found.tensor_bytes
    return found


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_passes(name: str) -> None:
    shape, make = OPERATORS[name]
    model, _, _ = build(make, shape)
    assert check_onnx(model.SerializeToString()).nodes >= 1


@pytest.mark.parametrize("name", IMAGE_OPERATORS)
def test_an_operator_of_images_passes(name: str) -> None:
    model, _, _ = build_image(IMAGE_OPERATORS[name], (1, 16, 9, 9))
    assert check_onnx(model.SerializeToString()).nodes >= 1


@pytest.mark.parametrize("name", CASES)
def test_a_block_passes(name: str) -> None:
    block, shape, _ = CASES[name]
    assert passes(block_workload(block, shape, "int64" if "token" in name.lower() else "float32")).nodes >= 1


@pytest.mark.parametrize("name", space_names())
def test_a_network_of_a_space_and_its_cells_pass(name: str) -> None:
    space = load_space(name)
    (arch,) = space.sample(1, seed=1)
    assert passes(space.build(arch), whole=False).nodes > 3
    for cell in space.cells_of(arch):
        workload = space.workload(cell)
        if workload is not None:
            passes(workload, whole=False)


@pytest.mark.parametrize("name", REFERENCE_NETWORKS)
def test_a_network_that_everybody_knows_passes(name: str) -> None:
    assert passes(REFERENCE_NETWORKS[name](), whole=False).nodes > 30


def test_random_blocks_networks_and_probes_pass() -> None:
    for workload in [*islice(random_blocks(0), 40), *islice(random_networks(0), 12)]:
        passes(workload, whole=False)
    for workload in [*chains(), single_pass(1000), stream(1000, 4), square_products(64), *border_probes().values()]:
        passes(workload)


@pytest.mark.parametrize("name", ["mobilenet_v2", "vit_tiny"])
def test_kernels_that_were_cut_out_pass_and_so_do_repetitions_of_them(name: str, profile: RuntimeProfile) -> None:
    found = [cut for _, cut in kernel_workloads(REFERENCE_NETWORKS[name](), profile) if cut is not None]
    assert len(found) > 10
    domains = {domain for cut in found for domain in passes(cut, whole=False).domains}
    assert domains <= DOMAINS
    for cut in found[:4]:
        assert passes(repeated(cut, 3), whole=False).nodes >= 3


@pytest.mark.parametrize("precision", ["fp16", "int8-qdq", "int8-qoperator"])
def test_a_converted_block_and_its_kernels_pass(precision: str, profile: RuntimeProfile) -> None:
    block, shape, _ = CASES["MBConv with squeeze"]
    converted = convert(block_workload(block, shape), precision)
    passes(converted)
    for _, cut in kernel_workloads(converted, profile):
        if cut is not None:
            passes(cut)
