"""A model measured on a machine that does not stand still: its CPUs are eaten, its settings change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.costmodels.campaign import Planned, plan, run_campaign
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.profile_model import ATTEMPTS, profile
from edgecost.db import Store
from edgecost.profiler.errors import (
    UnstableMeasurement,
)
from edgecost.profiler.protocol import VISITS_MIN, Settings
from edgecost.profiler.records import Environment, Measurement, Status
from edgecost.profiler.workload import Workload, workload_from_model

#: So loose that a busy machine settles too.
LOOSE = Settings(visits_min=3, target=0.9, visits_max=6, rounds_max=60)


def save(folder: Path, nodes: Sequence[onnx.NodeProto], constants: dict[str, np.ndarray] | None = None) -> Path:
    """A model of one float input ``x`` (4, 8) and one output ``y``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def healthy(folder: Path) -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], "product"), helper.make_node("Relu", ["a"], ["y"], "gate")]
    return save(folder, nodes, {"w": np.ones((8, 16), np.float32)})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened


def operator(name: str, size: int, domain: str = "") -> Workload:
    graph = helper.make_graph(
        [helper.make_node(name, ["x"], ["y"], domain=domain)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [size])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    return workload_from_model(name, "operator", helper.make_model(graph, opset_imports=opsets, ir_version=8))


@contextmanager
def busy(cpus: Sequence[int], count: int) -> Iterator[None]:
    """Processes that do nothing but take the time of these CPUs."""
    program = f"import os\nos.sched_setaffinity(0, {list(cpus)})\nprint('x', flush=True)\nwhile True: pass"
    eaters = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for eater in eaters:
            assert eater.stdout is not None
            eater.stdout.readline()
        yield
    finally:
        for eater in eaters:
            eater.kill()
            eater.communicate()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned here")
def test_a_machine_whose_cpu_others_eat_gives_no_number_that_pretends_to_be_sound(
    tmp_path: Path, file_store: Store
) -> None:
    # One run takes longer than a scheduler lets it: with four neighbours hardly any is left in peace.
    square = np.full((1024, 1024), 1e-3, np.float32)
    products = [helper.make_node("MatMul", ["x", "w"], ["a0"])]
    products += [helper.make_node("MatMul", [f"a{n}", "v"], [f"a{n + 1}"]) for n in range(150)]
    products += [helper.make_node("Relu", ["a150"], ["y"])]
    model = save(tmp_path, products, {"w": square[:8], "v": square})
    settings = Settings(target=0.01, visits_min=6, visits_max=6, rounds_max=6, group_max_s=4.0)
    raised: list[UnstableMeasurement] = []
    with busy(LocalSetting.here().stage.cpus, 4):
        try:
            profile(model, settings=settings, store=file_store)
        except UnstableMeasurement as error:
            raised.append(error)
    rows = file_store.measurements(usable_only=False, with_visits=True)
    assert 1 <= len(rows) <= ATTEMPTS
    assert {row.status for row in rows[:-1]} <= {Status.REJECTED}
    assert rows[-1].status in (Status.OK, Status.UNCONVERGED, Status.REJECTED, Status.UNSTABLE)
    assert bool(raised) == (rows[-1].latency is None)
    assert any(row.rejected_visits for row in rows)
    for row in rows:
        _check_soundness(row)


def _check_soundness(row: Measurement) -> None:
    valid = len(row.visits) - row.rejected_visits
    assert (row.latency is not None) <= (valid >= VISITS_MIN)
    assert row.latency is None or row.latency.visits == valid
    assert row.status is Status.OK or row.message
    assert "cpu_busy_s" in str(row.conditions["before"])


def test_a_change_of_the_machine_costs_an_attempt_and_the_next_stands_on_a_new_stage(
    tmp_path: Path, file_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalSetting.here()
    looks: list[int] = []

    def look() -> Environment:
        looks.append(len(looks))
        now = real.stage.environment
        return Environment({**now.document, "governors": ["powersave"]}) if len(looks) == 1 else now

    setting = replace(real, stage=replace(real.stage, read_environment=look))
    monkeypatch.setattr(LocalSetting, "here", lambda profile=None: setting)
    for kept in (file_store, None):
        looks.clear()
        found = profile(healthy(tmp_path), settings=LOOSE, store=kept)
        assert found.measurement.environment_hash == real.stage.environment.environment_hash
    first, second = file_store.measurements(usable_only=False)
    assert first.status is Status.REJECTED
    assert "→ ['powersave']" in first.message
    assert second.latency is not None


def test_a_campaign_goes_on_after_a_change_of_the_machine(file_store: Store) -> None:
    here = LocalSetting.here()
    looks: list[int] = []

    def look() -> Environment:
        looks.append(len(looks))
        now = here.stage.environment
        return Environment({**now.document, "turbo": "switched"}) if len(looks) == 1 else now

    setting = replace(here, stage=replace(here.stage, read_environment=look))
    good = [operator("Relu", size) for size in (1, 2, 3)]
    campaign_id = plan(file_store, setting, "c", "s", [Planned(workload, "cell", workload.name) for workload in good])
    report = run_campaign(file_store, setting, campaign_id, LOOSE)
    assert report.by_status[Status.REJECTED] >= 3
    rejected = [m for m in file_store.measurements(usable_only=False) if "turbo: " in m.message]
    assert sorted(m.graph_hash for m in rejected) == sorted(workload.graph_hash for workload in good)
    assert {m.status for m in rejected} == {Status.REJECTED}
    (summary,) = file_store.campaigns()
    assert summary.jobs["done"] == 3
