"""The additivity audit: networks of the tiny space measured for real, and the arithmetic on what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgecost.costmodels.additivity import (
    NETWORK_SESSIONS,
    AdditivityAudit,
    _compare,
    _Way,
    audit_additivity,
    explain,
)
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.errors import UnstableMeasurement, UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.precision.convert import convert
from edgecost.profiler.protocol import Settings
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload, workload_from_model

#: So loose that a busy machine settles too.
LOOSE = Settings(visits_min=3, target=0.9, visits_max=6, rounds_max=60)


class Told:
    """A narrator that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps = 0

    def stage(self, title: str, total: int | None = None) -> None:
        self.notes.append(title)

    def step(self, note: str) -> None:
        self.steps += 1

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Audited:
    store: Store
    setting: LocalSetting
    networks: list[Workload]
    found: AdditivityAudit


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    space = load_space(str(Path(__file__).with_name("tiny.toml")))
    networks = [space.build(arch) for arch in space.sample(4, 0)]
    setting = LocalSetting.here()
    with Store(tmp_path_factory.mktemp("audit") / "store.sqlite") as store:
        yield Audited(store, setting, networks, audit_additivity(networks, store, setting, Told(), settings=LOOSE))


def test_every_distinct_kernel_is_measured_once_and_every_network_in_processes_of_its_own(audited: Audited) -> None:
    distinct = {k.kernel_hash for network in audited.networks for k in kernels(network, audited.setting.profile)}
    assert audited.found.distinct_kernels == len(distinct)
    made = audited.store.measurements()
    alone = Counter(m.graph_hash for m in made if m.purpose == "kernel")
    assert set(alone.values()) == {1}
    # Two kernels that compute the same on the same numbers are one workload.
    assert len(distinct) - 5 <= len(alone) <= len(distinct)
    whole = {network.graph_hash: [] for network in audited.networks}
    for measurement in made:
        if measurement.purpose == "network":
            whole[measurement.graph_hash].append(measurement.session)
    assert {len(sessions) for sessions in whole.values()} == {NETWORK_SESSIONS}
    assert {len(set(sessions)) for sessions in whole.values()} == {NETWORK_SESSIONS}


def test_each_network_has_a_sum_and_a_correction_from_the_others(audited: Audited) -> None:
    found = audited.found
    assert [one.name for one in found.networks] == [network.name for network in audited.networks]
    for one in found.networks:
        assert one.missing == 0
        assert one.kernels > 5
        assert one.sum_error == pytest.approx(one.sum_ms / one.latency_ms - 1)
        assert one.composed_ms is not None
        assert one.composed_error is not None
    assert found.composition.networks == 4
    assert found.plain is not None
    assert found.composed is not None
    document = found.document()
    assert document["distinct_kernels"] == found.distinct_kernels
    assert {"name", "sum_error", "composed_error"} <= set(document["networks"][0])  # type: ignore[index]


def test_a_second_audit_measures_nothing_anew_and_says_the_same(audited: Audited) -> None:
    before = audited.store.counts().measurements
    told = Told()
    again = audit_additivity(audited.networks, audited.store, audited.setting, told, settings=LOOSE)
    assert audited.store.counts().measurements == before
    assert again == audited.found
    assert any("already measured, reused" in note for note in told.notes)


def test_one_network_is_explained_by_its_kernels_the_largest_difference_first(audited: Audited) -> None:
    network = audited.networks[0]
    found = explain(network, audited.found, audited.store, audited.setting, LOOSE)
    assert len(found) == audited.found.networks[0].kernels
    assert sum(one.inside_ms for one in found) == pytest.approx(audited.found.networks[0].latency_ms)
    assert sum(one.alone_ms or 0 for one in found) == pytest.approx(audited.found.networks[0].sum_ms)
    gaps = [abs(one.inside_ms - (one.alone_ms or 0)) for one in found]
    assert gaps == sorted(gaps, reverse=True)
    assert sum(one.weight_bytes for one in found) == audited.found.networks[0].weight_bytes


def test_a_network_is_converted_to_the_precision_of_the_profile_and_keeps_its_name(tmp_path: Path) -> None:
    graph = GraphBuilder("net")
    made = graph.conv(graph.input((1, 8, 16, 16)), 16, kernel=3, activation="relu")
    network = workload_from_model("net", "network", graph.model(made), tuple(graph.weights))
    setting = LocalSetting.here(replace(host_profile(), precision="int8-qoperator"))
    with Store(tmp_path / "store.sqlite") as store:
        found = audit_additivity([network], store, setting, Told(), settings=LOOSE)
        (row,) = found.networks
        differences = explain(network, found, store, setting, LOOSE)
        whole = {m.graph_hash for m in store.measurements(purposes=("network",))}
    assert (row.name, row.missing) == ("net", 0)
    assert any(one.op.endswith("QLinearConv") for one in differences)
    assert whole == {convert(network, "int8-qoperator").graph_hash}


# The arithmetic alone.


def workload(name: str) -> Workload:
    return Workload(name, "network", name, b"")


def kernel(index: int, weights: int = 1000) -> Kernel:
    return Kernel("MatMul", ((1, index + 1),), ((index + 1, weights),), ((1, weights),))


def compared(
    rows: dict[str, tuple[tuple[Kernel, ...], float | None]], times: dict[str, float | None]
) -> AdditivityAudit:
    ways = [_Way(name, name, place, 1.0, workload(name)) for place, name in enumerate(rows)]
    parts = {name: made for name, (made, _) in rows.items()}
    latencies = {name: latency for name, (_, latency) in rows.items() if latency is not None}
    return _compare(ways, parts, times, latencies)


def test_a_network_with_a_kernel_missing_is_a_lower_bound_and_out_of_the_fit() -> None:
    many = [kernel(n) for n in range(6)]
    times: dict[str, float | None] = {one.kernel_hash: 1.0 + place for place, one in enumerate(many)}
    rows = {f"net{n}": ((many[n], many[(n + 1) % 5]), 1.25 * (1 + n + 1 + (n + 1) % 5)) for n in range(5)}
    whole = compared(rows, times)
    assert whole.composition.scale == pytest.approx(1.25)
    assert whole.composition.networks == 5
    lacking = compared({**rows, "lacking": ((many[0], many[5]), 900.0)}, {**times, many[5].kernel_hash: None})
    (odd,) = [one for one in lacking.networks if one.name == "lacking"]
    assert (odd.missing, odd.kernels, odd.sum_ms, odd.composed_ms) == (1, 2, 1.0, None)
    assert lacking.composition == whole.composition
    assert lacking.plain == whole.plain


def test_a_network_that_was_not_measured_end_to_end_has_no_row() -> None:
    times: dict[str, float | None] = {kernel(0).kernel_hash: 1.0}
    found = compared({"measured": ((kernel(0),), 2.0), "failed": ((kernel(0),), None)}, times)
    assert [one.name for one in found.networks] == ["measured"]


def test_a_network_that_cannot_be_told_from_an_empty_call_has_no_row() -> None:
    times: dict[str, float | None] = {kernel(0).kernel_hash: 0.0}
    assert compared({"nothing": ((kernel(0),), 0.0)}, times).networks == ()
    # One whose kernels each vanish beside the cost of a call has no ratio to learn from.
    vanishing = compared({f"net{n}": ((kernel(0),), 0.1) for n in range(5)}, times)
    assert {one.composed_ms for one in vanishing.networks} == {None}
    assert [one.sum_error for one in vanishing.networks] == [-1.0] * 5


def test_two_networks_of_one_name_keep_their_own_corrections() -> None:
    many = [kernel(n) for n in range(4)]
    times: dict[str, float | None] = {one.kernel_hash: float(1 + place) for place, one in enumerate(many)}
    ways = [_Way("model", "model", n, 1.0, workload(f"net{n}")) for n in range(4)]
    parts = {f"net{n}": (many[n],) for n in range(4)}
    found = _compare(ways, parts, times, {f"net{n}": 2.0 * (1 + n) for n in range(4)})
    assert [one.composed_ms for one in found.networks] == pytest.approx([2.0, 4.0, 6.0, 8.0])


# What cannot be audited.


def test_what_cannot_be_audited_is_wrong_usage_with_a_remedy(tmp_path: Path) -> None:
    here = LocalSetting.here()
    with Store(tmp_path / "store.sqlite") as store:
        with pytest.raises(UsageError, match="no network to audit"):
            audit_additivity([], store, here, Told())
        tvm = replace(here, profile=replace(here.profile, runtime="tvm"))
        with pytest.raises(UsageError, match="cannot be cut out") as caught:
            audit_additivity([workload("net")], store, tvm, Told())
        assert "--runtime ort" in caught.value.remedy
        elsewhere = replace(here, profile=replace(host_profile(), interpreter="/opt/python"))
        with pytest.raises(UsageError, match="cannot be cut out"):
            audit_additivity([workload("net")], store, elsewhere, Told())


def test_where_no_network_gets_a_latency_the_audit_says_so(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["a"]), helper.make_node("Sqrt", ["a"], ["y"])],
        "g",
        [value("x", 1, [64])],
        [value("y", 1, [64])],
        [numpy_helper.from_array(np.full(64, -1e3, np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    bad = workload_from_model("bad", "network", model)
    with (
        Store(tmp_path / "store.sqlite") as store,
        pytest.raises(UnstableMeasurement, match="no network could be measured") as caught,
    ):
        audit_additivity([bad], store, LocalSetting.here(), Told(), settings=LOOSE)
    assert "--failures" in caught.value.remedy
