"""Architectures recognised from graphs, their work, and what to swap to meet a limit."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecost.cli.main import cli
from edgecost.costmodels.advice import advise
from edgecost.costmodels.cell_macs import cell_macs, workload_macs
from edgecost.costmodels.lut import Lut, LutCell
from edgecost.costmodels.lut_formats.contract import checksum_lut, checksum_provenance
from edgecost.costmodels.recognition import recognise, weighted_nodes
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space, read_space
from edgecost.costmodels.spaces.coding import Numeric
from edgecost.profiler.errors import GateError, UsageError
from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS
from edgecost.profiler.model_file import with_weight_inputs

SPACES = ("fbnet", "ofa-mobilenetv3", "proxylessnas")

#: Two elastic stages of which one may be a single block: few enough architectures to look at all.
SMALL = read_space(
    """
    name = "small"
    title = "small"
    citation = "none"
    resolution = 16
    width = 1.0
    native = { form = "fields", fields = { ks = "kernel", e = "expand" }, depth = "d" }

    [[layer]]
    name = "stem"
    block = "conv"
    out = 8
    kernel = 3
    stride = 2
    act = "relu"

    [[layer]]
    name = "one"
    block = "inverted_residual"
    out = 8
    kernel = [3, 5]
    expand = [1, 3]
    repeat = 2
    depth = [1, 2]

    [[layer]]
    name = "two"
    block = "inverted_residual"
    out = 16
    stride = 2
    kernel = [3, 5]
    expand = 2
    repeat = 3
    depth = [2, 3]

    [[layer]]
    name = "tail"
    block = "pooled_linear"
    out = 10
    """,
    "small.toml",
)


def everything(space: Space) -> Numeric:
    return space.sample(space.size, 0)


def table(space: Space, seed: int, *, scale: float = 1.0, offset_ms: float = 0.0) -> Lut:
    rng = np.random.default_rng(seed)
    rows = [LutCell(cell.key, float(rng.uniform(0.1, 5.0)), None, None, 0, "predicted") for cell in space.measurable]
    provenance = checksum_provenance(space)
    return Lut.from_cells(rows, provenance, scale=scale, scale_fitted_on=8, offset_ms=offset_ms)


@pytest.mark.parametrize("name", SPACES)
def test_a_network_of_a_space_is_recognised_as_one_that_computes_the_same(name: str) -> None:
    space = load_space(name)
    for arch in space.sample(20, 1):
        workload = space.build(arch)
        assert space.build(recognise(workload, space)).graph_hash == workload.graph_hash


def test_depth_and_width_of_every_small_architecture_are_found_again() -> None:
    for arch in everything(SMALL):
        np.testing.assert_array_equal(recognise(SMALL.build(arch), SMALL), arch)


def test_a_linear_layer_is_read_as_a_matrix_of_outputs_by_inputs() -> None:
    arch = SMALL.sample(1, 0)[0]
    workload = SMALL.build(arch)
    model = with_weight_inputs(onnx.ModelProto.FromString(workload.skeleton), workload.weights)
    kinds = {node.op_type for node in model.graph.node}
    assert "Gemm" in kinds
    assert weighted_nodes(workload)[-1].weight == (10, 16, 1, 1)


@pytest.mark.parametrize("name", SPACES)
def test_another_network_is_refused_with_the_place_where_it_leaves_the_space(name: str) -> None:
    stranger = next(iter(REFERENCE_NETWORKS.values()))()
    with pytest.raises(UsageError, match=rf"no architecture of {name}.*weighted node \d+, \d"):
        recognise(stranger, load_space(name))


def test_a_network_of_another_width_is_refused() -> None:
    wide, own = load_space("ofa-mobilenetv3", width=1.2), load_space("ofa-mobilenetv3")
    with pytest.raises(UsageError, match=r"weighted node 1, 3×3 3→24, stride 2"):
        recognise(wide.build(wide.sample(1, 0)[0]), own)


@pytest.mark.parametrize("name", SPACES)
def test_the_work_of_a_network_is_the_sum_of_the_work_of_its_cells(name: str) -> None:
    space = load_space(name)
    macs = cell_macs(space)
    for arch in space.sample(5, 2):
        assert sum(macs[cell.key] for cell in space.cells_of(arch)) == workload_macs(space.build(arch))


def test_the_work_of_a_convolution_is_what_the_textbook_says() -> None:
    space = load_space("fbnet")
    stem = space.fixed[0]
    assert cell_macs(space)[stem.key] == 112 * 112 * 16 * 3 * 3 * 3


@given(
    seed=st.integers(0, 10**6),
    start=st.integers(0, SMALL.size - 1),
    where=st.floats(0, 1),
    scale=st.sampled_from([0.5, 1.0, 1.3]),
    offset_ms=st.sampled_from([-0.2, 0.0, 0.7]),
)
@settings(max_examples=60, deadline=None)
def test_advice_meets_the_limit_with_the_most_work_that_any_architecture_below_it_has(
    seed: int, start: int, where: float, scale: float, offset_ms: float
) -> None:
    lut = table(SMALL, seed, scale=scale, offset_ms=offset_ms)
    archs = everything(SMALL)
    prices = lut.price(archs, space=SMALL)
    limit_ms = float(prices.min() + where * (prices.max() - prices.min())) * (1 + 1e-9)
    macs = cell_macs(SMALL)
    work = np.array([sum(macs[cell.key] for cell in SMALL.cells_of(arch)) for arch in archs])
    found = advise(lut, SMALL, archs[start], limit_ms)
    assert found.advised_ms <= limit_ms
    if prices[start] <= limit_ms:
        assert found.swaps == ()
        np.testing.assert_array_equal(found.arch, archs[start])
    else:
        # Latencies are rounded up to a part of the limit: nothing that keeps clear of it by that much does more work.
        clear = prices <= limit_ms * (1 - 5 / 20_000)
        best = work[clear].max() if clear.any() else 0
        assert best <= found.advised_macs <= work[prices <= limit_ms].max()
    swapped = found.latency_ms - sum(swap.saved_ms for swap in found.swaps)
    assert swapped == pytest.approx(found.advised_ms)
    assert found.macs - sum(swap.lost_macs for swap in found.swaps) == found.advised_macs


def test_layers_add_up_to_the_network_and_say_where_they_stand() -> None:
    lut = table(SMALL, 1, scale=1.5)
    arch = SMALL.encode([{"ks": [3, 5, 3, 3, 5], "e": [1, 3, 2, 2, 2], "d": [1, 3]}])[0]
    found = advise(lut, SMALL, arch, 1e9)
    assert [layer.place for layer in found.layers] == ["stem", "one[0]", "two[0]", "two[1]", "two[2]", "tail"]
    assert sum(layer.latency_ms for layer in found.layers) == pytest.approx(found.latency_ms)
    assert sum(layer.share for layer in found.layers) == pytest.approx(1)


def test_a_limit_that_nothing_meets_is_refused_with_what_the_fastest_takes() -> None:
    lut = table(SMALL, 1)
    fastest = lut.price(everything(SMALL), space=SMALL).min()
    with pytest.raises(GateError, match=f"its fastest takes {fastest:.4g} ms"):
        advise(lut, SMALL, everything(SMALL)[0], 0.01)


def test_a_swap_that_gains_nothing_is_not_made() -> None:
    rows = [LutCell(cell.key, 1.0, None, None, 0, "predicted") for cell in SMALL.measurable]
    lut = Lut.from_cells(rows, checksum_provenance(SMALL))
    slow = SMALL.encode([{"ks": [3, 3, 3, 3, 3], "e": [3, 3, 2, 2, 2], "d": [2, 3]}])[0]
    found = advise(lut, SMALL, slow, 6.5)
    assert len(found.swaps) >= 1
    kept = list(itertools.compress(slow.tolist(), (found.arch == slow).tolist()))
    assert len(kept) + len(found.swaps) == len(slow)
    assert all(swap.saved_ms >= 0 or swap.lost_macs < 0 for swap in found.swaps)


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["lut", "advise", *map(str, arguments)])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table of OFA, and a network of it as a file that somebody may have exported."""
    folder = tmp_path_factory.mktemp("advice")
    space = load_space("ofa-mobilenetv3")
    workload = space.build(space.sample(1, 4)[0])
    model = with_weight_inputs(onnx.ModelProto.FromString(workload.skeleton), workload.weights)
    rng = np.random.default_rng(0)
    shapes = {weight.name: weight.shape for weight in workload.weights}
    kept = [value for value in model.graph.input if value.name not in shapes]
    for name, shape in shapes.items():
        weights = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    del model.graph.input[:]
    model.graph.input.extend(kept)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx", checksum_lut(space).save(folder / "table.json")


def test_the_command_advises_on_an_onnx_file(files: tuple[Path, Path]) -> None:
    model, lut = files
    space = load_space("ofa-mobilenetv3")
    now_ms = float(Lut.load(lut).price(space.sample(1, 4))[0])
    result = command(model, "--lut", lut, "--limit", f"latency_ms={now_ms * 0.7}", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document["latency_ms"] == now_ms
    assert Lut.load(lut).price([document["arch"]])[0] == document["advised_ms"] <= now_ms * 0.7
    shown = command(model, "--lut", lut, "--limit", f"latency_ms={now_ms * 0.7}")
    assert "swaps meet" in shown.output
    assert "Accuracy is not known here" in shown.output


def test_an_architecture_may_be_given_instead_of_a_file(files: tuple[Path, Path]) -> None:
    space = load_space("ofa-mobilenetv3")
    arch = json.dumps(space.decode(space.sample(1, 4))[0])
    document = json.loads(command("--arch", arch, "--lut", files[1], "--limit", "latency_ms=1e15", "--json").output)
    assert document["swaps"] == []
    assert document["arch"] == document["recognised"]


@pytest.mark.parametrize("limit", ["20", "latency_ms=", "latency_ms=nan", "latency_ms=-1", "energy_mj=3"])
def test_a_limit_that_is_none_is_refused(files: tuple[Path, Path], limit: str) -> None:
    result = command(files[0], "--lut", files[1], "--limit", limit)
    assert result.exit_code == 2
    assert "latency_ms=20" in result.output


def test_a_model_and_an_architecture_are_too_many(files: tuple[Path, Path]) -> None:
    result = command(files[0], "--arch", "{}", "--lut", files[1], "--limit", "latency_ms=3")
    assert isinstance(result.exception, UsageError)
