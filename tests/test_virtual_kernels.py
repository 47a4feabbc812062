"""Kernels of a virtual device: the law's own costs, as its machine plays them, and never made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.kernel_shares import KernelShare, kernel_shares
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.named_runtimes import chosen_profile
from edgecost.costmodels.simulated.law import has_own_law, law_price
from edgecost.db import Store
from edgecost.devices.simulators.role import SimulatedCost, checked_cost
from edgecost.devices.simulators.roofline import Roofline
from edgecost.devices.virtual.bench import VirtualLoader, VirtualSupply
from edgecost.devices.virtual.catalogue import open_virtual
from edgecost.profiler.bench import Bench
from edgecost.profiler.errors import RunnerError, SimulatorError, UnsupportedOperator
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.written import written_graph
from edgecost.profiler.protocol import Settings
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload, workload_from_model
from tests.hub_server import served
from tests.hub_visitor import Visitor

LAWS = ["virtual-nano", "virtual-pi4", "virtual:systolic:rows=8,columns=8"]


def network() -> Workload:
    graph = GraphBuilder("network")
    value = graph.conv(graph.input((1, 3, 32, 32)), 8, kernel=3, stride=2, activation="relu")
    value = graph.activate(graph.conv(value, 64), "hard_swish")
    return workload_from_model("network", "network", graph.model(value), tuple(graph.weights))


def shares(name: str, law: Roofline | None = None) -> tuple[KernelShare, ...]:
    setting, device = LocalSetting.here(chosen_profile(name)), open_virtual(name)
    played = device if law is None else replace(device, law=law)
    with Bench(VirtualSupply(name, 0), VirtualLoader(played)) as bench:
        return kernel_shares(network(), setting.stage, Settings(), bench, 2.0)


@pytest.mark.parametrize("name", LAWS)
def test_the_shares_are_those_of_the_law_and_each_has_its_node(name: str) -> None:
    cost = checked_cost(open_virtual(name).law, network())
    found, kernels = shares(name), written_graph(network()).kernels
    assert [one.kernel for one in found] == list(kernels)
    assert [len(one.nodes) for one in found] == [1] * len(kernels)
    assert sum(one.latency_ms for one in found) == pytest.approx(2.0)
    for one, of_law in zip(found, cost.kernels_ms, strict=True):
        assert one.share == pytest.approx(of_law / sum(cost.kernels_ms), rel=0.1, abs=1e-4)


@pytest.mark.parametrize("name", LAWS)
def test_kernels_and_the_call_are_the_whole(name: str) -> None:
    law = open_virtual(name).law
    cost = checked_cost(law, network())
    call_ms = law.design.call_us / 1e3 if isinstance(law, Roofline) else 0.0
    assert cost.latency_ms == pytest.approx(sum(cost.kernels_ms) + call_ms)


class Changed(Roofline):
    """A law that tells of its kernels otherwise than it should."""

    def __init__(self, kernels_ms: tuple[float, ...]) -> None:
        super().__init__()
        self._kernels_ms = kernels_ms

    def cost(self, workload: Workload) -> SimulatedCost:
        return replace(super().cost(workload), kernels_ms=self._kernels_ms)


def test_a_law_that_says_the_whole_and_no_more_has_no_shares() -> None:
    assert shares("virtual-nano", Changed(())) == ()


def test_a_law_that_tells_of_another_graph_is_refused() -> None:
    with pytest.raises(RunnerError, match="1 kernels take, of a graph with"):
        shares("virtual-nano", Changed((0.001,)))


@pytest.mark.parametrize("kernels_ms", [(-1.0,), (float("nan"),), (1e6,), ("1",)])
def test_times_that_cannot_be_those_of_kernels_are_refused(kernels_ms: tuple[float, ...]) -> None:
    with pytest.raises(SimulatorError, match="kernels"):
        checked_cost(Changed(kernels_ms), network())


def test_profile_shows_them_and_says_whose_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "network.onnx"
    model.write_bytes(complete(network().skeleton, network().weights))
    command = ["profile", str(model), "--runtime", "virtual-nano", "--preset", "quick", "--no-keep"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "of a virtual device, by its law" in told
    assert "no times by kernel" not in told
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["device"].startswith("virtual: ")
    assert sum(one["share"] for one in document["kernels"]) == pytest.approx(1.0)
    assert {one["op"] for one in document["kernels"]} >= {"Conv"}


def test_a_page_prices_a_virtual_device_by_its_law_before_anybody_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    model = tmp_path / "network.onnx"
    model.write_bytes(complete(network().skeleton, network().weights))
    database = str(tmp_path / "store.sqlite")
    assert main(["profile", str(model), "--runtime", "virtual-nano", "--preset", "quick", "--db", database]) == 0
    cost = checked_cost(open_virtual("virtual-nano").law, network())
    with Store(database) as store, served(store) as hub:
        viewer = Visitor(hub, store.fleet.make_token("anna", "viewer"))
        page = viewer.get(f"/workloads/{network().graph_hash}/prices")
        (price,) = viewer.get(f"/workloads/{network().graph_hash}/prices?format=json").json["prices"]
    assert price["total_ms"] == pytest.approx(cost.latency_ms)
    assert (price["lo_ms"], price["hi_ms"], price["coverage"]) == (None, None, [["simulated", 1.0]])
    assert {one["source"] for one in price["kernels"]} == {"simulated"}
    assert price["flame"]["boxes"]
    assert "virtual: virtual-nano" in page.text
    assert "<rect" in page.text


def test_a_law_that_a_profile_brings_along_is_not_opened_for_a_page() -> None:
    assert has_own_law(chosen_profile("virtual-nano"))
    assert not has_own_law(chosen_profile("virtual:systolic:rows=8"))
    assert not has_own_law(chosen_profile("ort"))


def test_what_the_law_lacks_has_no_price() -> None:
    graph = GraphBuilder("unknown")
    made = graph.node("Det", [graph.input((1, 4, 4))], (1,))
    unknown = workload_from_model(graph.name, "block", graph.model(made), ())
    with pytest.raises(UnsupportedOperator, match="virtual-nano lacks Det"):
        law_price(unknown, chosen_profile("virtual-nano"))
