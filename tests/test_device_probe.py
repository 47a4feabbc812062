"""The device probe: a machine of a known law is read back, and what the store knows is not measured again."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecost.costmodels import device_probe
from edgecost.costmodels.campaign import Planned
from edgecost.costmodels.campaign import plan as campaign_plan
from edgecost.costmodels.device_probe import (
    DeviceProbe,
    Reading,
    computed_in_fp32,
    is_stale,
    measure_probe,
    probe_features,
    probe_of,
    variant_of,
)
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.db import Store
from edgecost.profiler.errors import UnstableMeasurement, UnsupportedPrecision
from edgecost.profiler.graphs.probe_graphs import (
    BUFFERS,
    ProbePlan,
    chains,
    idle_stream,
    single_pass,
    square_products,
    stream_over,
)
from edgecost.profiler.precision.convert import PRECISIONS
from edgecost.profiler.records import Environment, RuntimeProfile, Status
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload
from tests.probe_machine import Machine, Silent

KIB = 2**10
PLAN = ProbePlan((64,), (12 * KIB, 3 * KIB * KIB), (("fp32", 1), ("int8-qdq", 1)))


@pytest.fixture(scope="module")
def setting() -> LocalSetting:
    return LocalSetting.here()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "x.sqlite") as store:
        yield store


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(device_probe, "measure_planned", made.measure_planned)
    return made


def in_environment(setting: LocalSetting, **changes: str) -> LocalSetting:
    """The same device with other frozen conditions."""
    document = {**setting.stage.environment.document, **changes}
    return replace(setting, stage=replace(setting.stage, environment=Environment(document)))


def a_probe(store: Store, setting: LocalSetting) -> DeviceProbe:
    found = probe_of(store, setting.device.identity, setting.profile)
    assert found is not None
    return found


# What the rows say.


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    call_us=st.floats(0.5, 500),
    node_us=st.floats(0.02, 50),
    gflops=st.floats(0.1, 5000),
    gb_per_s=st.floats(0.5, 500),
)
def test_the_law_of_a_machine_comes_back(
    setting: LocalSetting, opened: Store, call_us: float, node_us: float, gflops: float, gb_per_s: float
) -> None:
    machine = Machine(call_us, node_us, gflops, gb_per_s)
    identity = uuid.uuid4().hex
    other = replace(
        setting,
        device=replace(setting.device, identity=identity),
        stage=replace(setting.stage, device_identity=identity),
    )
    for workload in (*chains(), idle_stream(), *(stream_over(size) for size in PLAN.working_sets_bytes)):
        machine.put(opened, workload, other)
    machine.put(opened, square_products(64), other)
    found = a_probe(opened, other)
    assert found.dispatch_us.value == pytest.approx(call_us, rel=1e-6)
    assert found.node_us.value == pytest.approx(node_us, rel=1e-6)
    assert found.gemm_gflops["fp32", 1].value == pytest.approx(gflops, rel=1e-6)
    for reading in found.bandwidth_gb_per_s.values():
        assert reading.value == pytest.approx(gb_per_s, rel=1e-6)


def test_the_best_size_of_a_product_counts(opened: Store, setting: LocalSetting) -> None:
    Machine(gflops=30.0).put(opened, square_products(32), setting)
    Machine(gflops=60.0).put(opened, square_products(64), setting)
    assert a_probe(opened, setting).gemm_gflops["fp32", 1].value == pytest.approx(60.0)


def test_what_cannot_be_told_from_starting_has_no_value(opened: Store, setting: LocalSetting) -> None:
    machine = Machine(node_us=20.0, scatter=0.1, gb_per_s=100.0)
    for workload in (*chains(), idle_stream(), stream_over(12 * KIB), stream_over(3 * KIB * KIB)):
        machine.put(opened, workload, setting)
    found = a_probe(opened, setting).bandwidth_gb_per_s
    assert (found[12 * KIB].value, found[12 * KIB].status) == (None, "below_resolution")
    assert found[3 * KIB * KIB].value == pytest.approx(100.0, rel=0.1)
    assert found[3 * KIB * KIB].spread is not None
    assert found[3 * KIB * KIB].spread > 0.05


def test_without_the_idle_stream_no_bandwidth_is_said(opened: Store, setting: LocalSetting) -> None:
    machine = Machine()
    machine.put(opened, idle_stream(), setting, Status.UNSTABLE)
    machine.put(opened, stream_over(12 * KIB), setting)
    (only,) = a_probe(opened, setting).bandwidth_gb_per_s.values()
    assert (only.value, only.status) == (None, "not_measured")


def test_a_later_failure_does_not_hide_a_number_and_a_later_number_replaces_it(
    opened: Store, setting: LocalSetting
) -> None:
    machine, product = Machine(gflops=50.0), square_products(64)
    machine.put(opened, product, setting)
    machine.put(opened, product, setting, Status.REJECTED)
    assert a_probe(opened, setting).gemm_gflops["fp32", 1].value == pytest.approx(50.0)
    machine.gflops = 80.0
    later = machine.put(opened, product, setting)
    assert a_probe(opened, setting).gemm_gflops["fp32", 1].value == pytest.approx(80.0)
    opened.retract(later.measurement_id, "me", "the fan had stopped")
    assert a_probe(opened, setting).gemm_gflops["fp32", 1].value == pytest.approx(50.0)


def test_two_environments_are_not_mixed_and_the_newest_counts(opened: Store, setting: LocalSetting) -> None:
    before, after = in_environment(setting, kernel="5.0"), in_environment(setting, kernel="6.0")
    Machine(gflops=50.0).put(opened, square_products(64), before)
    Machine().put(opened, chains()[0], before)
    newer = Machine(gflops=70.0, clock=100)
    for chain in chains():
        newer.put(opened, chain, after)
    found = a_probe(opened, setting)
    assert found.gemm_gflops == {}
    assert found.dispatch_us.value == pytest.approx(2.0)
    assert is_stale(found, before)
    assert not is_stale(found, after)


def test_more_threads_are_pinned_to_other_cpus_and_that_is_no_other_environment(
    opened: Store, setting: LocalSetting
) -> None:
    several = replace(setting.profile, threads=2)
    wider = in_environment(replace(setting, profile=several), pinned_cpus="0,1")
    wider = replace(wider, stage=replace(wider.stage, profile=several))
    Machine().put(opened, chains()[0], setting)
    Machine().put(opened, square_products(64), wider)
    assert set(a_probe(opened, setting).gemm_gflops) == {("fp32", 2)}


def test_another_runtime_or_option_is_another_probe(opened: Store, setting: LocalSetting) -> None:
    Machine().put(opened, chains()[0], setting)
    identity, profile = setting.device.identity, setting.profile
    assert probe_of(opened, identity, replace(profile, version="0.1")) is None
    assert probe_of(opened, identity, replace(profile, options=(("a", "b"),))) is None
    assert probe_of(opened, "another device", profile) is None
    assert probe_of(opened, identity, replace(profile, precision="int8-qdq")) == a_probe(opened, setting)


def test_a_runtime_that_fuses_says_no_cost_of_a_node(opened: Store, setting: LocalSetting) -> None:
    profile = replace(setting.profile, runtime="tvm", provider="llvm")
    tvm = replace(setting, profile=profile, stage=replace(setting.stage, profile=profile))
    machine = Machine(gb_per_s=20.0)
    for workload in (*chains(), idle_stream(is_single_pass=True), single_pass(1 << 18)):
        machine.put(opened, workload, tvm)
    found = a_probe(opened, tvm)
    assert computed_in_fp32(profile) == ("int8-qdq",)
    assert (found.node_us.value, found.node_us.status) == (None, "unsupported")
    assert found.dispatch_us.value == pytest.approx(2.2)
    assert found.bandwidth_gb_per_s[BUFFERS * 4 << 18].value == pytest.approx(20.0)


def test_a_provider_with_threads_of_its_own_gets_them() -> None:
    own = RuntimeProfile(
        "onnxruntime", "1", "OpenVINOExecutionProvider", options=(("a", "b"), ("provider.num_of_threads", "1"))
    )
    four = variant_of(own, "fp16", 4)
    assert dict(four.options) == {"a": "b", "provider.num_of_threads": "4"}
    assert variant_of(four, "fp32", 1) == own


# What is measured.


def test_what_is_known_is_not_measured_again_unless_asked(
    opened: Store, setting: LocalSetting, machine: Machine
) -> None:
    first = measure_probe(opened, setting, Silent(), plan=PLAN)
    assert len(machine.measured) == 2 + 1 + 2 + 1 + 1  # chains, idle stream, streams, a product in each precision
    assert all(reading.value is not None for reading in first.readings())
    narrator = Silent()
    assert measure_probe(opened, setting, narrator, plan=PLAN) == first
    assert len(machine.measured) == 7
    assert any("--refresh" in text for text in narrator.said)
    machine.gflops = 90.0
    again = measure_probe(opened, setting, Silent(), plan=PLAN, refresh=True)
    assert len(machine.measured) == 14
    assert again.gemm_gflops["int8-qdq", 1].value == pytest.approx(90.0)


def test_only_what_is_missing_is_measured(opened: Store, setting: LocalSetting, machine: Machine) -> None:
    for workload in (*chains(), idle_stream(), square_products(64)):
        machine.put(opened, workload, setting)
    machine.put(opened, stream_over(12 * KIB), setting, Status.REJECTED)
    measure_probe(opened, setting, Silent(), plan=PLAN)
    assert sorted(name.split()[0] for name in machine.measured) == ["fp32.1", "fp32.1", "int8-qdq.1"]


def test_another_environment_is_measured_anew(
    opened: Store, setting: LocalSetting, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = measure_probe(opened, setting, Silent(), plan=PLAN)
    real = LocalSetting.here
    monkeypatch.setattr(
        LocalSetting, "here", classmethod(lambda _, profile: in_environment(real(profile), governors="powersave"))
    )
    machine.call_us = 9.0
    later = measure_probe(opened, setting, Silent(), plan=PLAN)
    assert len(machine.measured) == 14
    assert later.dispatch_us.value == pytest.approx(9.0)
    assert later.environment_hash != earlier.environment_hash


def test_a_precision_that_the_runtime_lacks_is_said_and_not_tried_again(
    opened: Store, setting: LocalSetting, machine: Machine
) -> None:
    machine.failing = {"int8-qdq": Status.UNSUPPORTED_OPERATOR}
    found = measure_probe(opened, setting, Silent(), plan=PLAN)
    assert found.gemm_gflops["int8-qdq", 1] == Reading(None, None, 0, "unsupported_operator", "why")
    assert "log_gemm_gflops.int8-qdq.1" not in probe_features(found)
    measure_probe(opened, setting, Silent(), plan=PLAN)
    assert len(machine.measured) == 7


def test_a_precision_that_the_converter_refuses_is_a_result_that_is_stored_once(
    opened: Store, setting: LocalSetting, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(workload: Workload, precision: str) -> Workload:
        if precision == "fp32":
            return workload
        raise UnsupportedPrecision("nothing can be converted")

    monkeypatch.setattr(device_probe, "convert", refuse)
    for _ in range(2):
        found = measure_probe(opened, setting, Silent(), plan=PLAN)
    refused = found.gemm_gflops["int8-qdq", 1]
    assert (refused.value, refused.status, refused.message) == (
        None,
        "unsupported_precision",
        "nothing can be converted",
    )
    stored = opened.measurements(purposes=("probe",), usable_only=False)
    assert sum(1 for row in stored if row.status is Status.UNSUPPORTED_PRECISION) == 1


def test_a_job_that_was_put_off_goes_on_and_one_that_was_given_up_is_followed_by_another(
    opened: Store, setting: LocalSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_plan(
        store: Store, here: LocalSetting, name: str, origin: str, wanted: list[Planned], *_: object, **__: object
    ) -> None:
        campaign_plan(store, here, name, origin, wanted)

    def jobs() -> int:
        with pytest.raises(UnstableMeasurement):
            measure_probe(opened, setting, Silent(), plan=replace(PLAN, variants=()))
        return sum(sum(campaign.jobs.values()) for campaign in opened.campaigns())

    monkeypatch.setattr(device_probe, "measure_planned", only_plan)
    machine = Machine()
    assert jobs() == 5
    for expected in (5, 5, 6):
        machine.put(opened, chains()[0], setting, Status.REJECTED)
        assert jobs() == expected


def test_a_machine_that_is_too_busy_for_any_number_is_an_error(
    opened: Store, setting: LocalSetting, machine: Machine
) -> None:
    machine.failing = dict.fromkeys(PRECISIONS, Status.REJECTED)
    with pytest.raises(UnstableMeasurement, match="none of the probe"):
        measure_probe(opened, setting, Silent(), plan=PLAN)


def test_features_are_the_logarithms_of_what_was_measured(
    opened: Store, setting: LocalSetting, machine: Machine
) -> None:
    machine.failing = {"int8-qdq": Status.UNSUPPORTED_OPERATOR}
    found = probe_features(measure_probe(opened, setting, Silent(), plan=PLAN))
    assert found["log_gemm_gflops.fp32.1"] == pytest.approx(math.log(50))
    assert found["log_dispatch_us"] == pytest.approx(math.log(2))
    assert found[f"log_bandwidth_gb_per_s.{3 * KIB * KIB}"] == pytest.approx(math.log(40))
    assert set(found) == {
        "log_gemm_gflops.fp32.1", f"log_bandwidth_gb_per_s.{12 * KIB}", f"log_bandwidth_gb_per_s.{3 * KIB * KIB}",
        "log_dispatch_us", "log_node_us",
    }  # fmt: skip
    assert all(math.isfinite(value) for value in found.values())


def test_this_machine_is_probed_for_real(opened: Store) -> None:
    found = measure_probe(opened, LocalSetting.here(host_profile()), Silent(), plan=PLAN)
    rows = opened.measurements(purposes=("probe",), usable_only=False)
    assert {row.graph_hash for row in rows} >= {chain.graph_hash for chain in chains()}
    for reading in found.readings():
        assert (reading.value is None) == (reading.spread is None)
        assert reading.value is None or (reading.value > 0 and reading.n >= 6)
    # A busy machine may reject much, but not everything: then measure_probe would have raised.
    assert set(found.bandwidth_gb_per_s) <= set(PLAN.working_sets_bytes)
    assert probe_features(found)
