"""A board's agent measures with the standard library alone; only the runner beside it has numpy and the runtime.

The agents of these tests are fresh interpreters in which an import of anything else fails.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.records import RuntimeProfile, Status
from edgecost.profiler.workload import Workload, workload_from_model
from tests.little_hub import LittleHub, home_at, job, served

#: Refuses every module that neither Python nor edgecost brings. Nothing is refused by name: an allow-list cannot age.
ALONE = """
import importlib.abc
import sys

class Refusal(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"edgecost", *sys.stdlib_module_names}:
            raise ImportError(f"{name} is not in the standard library", name=name)

sys.meta_path.insert(0, Refusal())
"""
#: What a board needs to take jobs, measure them and tell what came out.
NEEDED = (
    "edgecost.devices.agent",
    "edgecost.devices.host",
    "edgecost.profiler.bench",
    "edgecost.profiler.conclusion",
    "edgecost.profiler.measure",
    "edgecost.profiler.memory",
    "edgecost.profiler.runtimes",
    "edgecost.profiler.weights",
)
#: What talks to a hub beside: HTTP and TLS take their megabytes.
TALKING = ("edgecost.cli.agent_process", "edgecost.devices.enrolling", "edgecost.devices.service")
#: Standard modules that cost megabytes and that an idle agent has no use for.
LEFT_ALONE = {"decimal", "email", "fractions", "importlib.metadata", "ssl", "statistics"}

MEASURE = """
import base64
import json

from edgecost.devices.agent import MeasuringJob, work_off
from edgecost.devices.host import host_device, read_conditions, read_host
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import Environment, RuntimeProfile
from edgecost.profiler.tasks import Stage
from edgecost.profiler.weights import Weight
from edgecost.profiler.workload import Workload

class Jobs:
    def __init__(self, sent):
        self.left = [MeasuringJob(number, "kernel", one["name"], told(one)) for number, one in enumerate(sent)]
        self.visits = 0
        self.made = {}

    def lease(self, limit):
        given, self.left = self.left[:limit], self.left[limit:]
        return given

    def visited(self, visits):
        self.visits += len(visits)

    def record(self, job, measurement):
        median_ms = measurement.latency.median_ms if measurement.latency else None
        told = [measurement.status.value, measurement.graph_hash, median_ms, measurement.overhead_ms]
        self.made[job.label] = told

def told(one):
    weights = tuple(Weight(w["name"], tuple(w["shape"]), w["dtype"], w["spread"]) for w in one["weights"])
    skeleton = base64.b64decode(one["skeleton"])
    return Workload(one["name"], one["kind"], one["graph_hash"], skeleton, weights, one["path"])

request = json.load(sys.stdin)
profile = RuntimeProfile.from_document(request["profile"])
stage = Stage(
    profile, Environment({"test": True}), host_device(read_host()).identity, read_conditions=read_conditions
)
jobs = Jobs(request["workloads"])
settings = Settings(visits_min=3, target=0.5, visits_max=6, rounds_max=60)
report = work_off(jobs, lambda: stage, settings, profile=profile)
print(json.dumps({"made": jobs.made, "visits": jobs.visits, "measured": report.measured}))
"""


def run_alone(program: str, folder: Path, said: str = "") -> str:
    """What a program prints in an interpreter that has the standard library and edgecost, and nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE + program],
        cwd=folder,  # not the repository, whose rooms would be importable by their bare names
        input=said,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sent(workload: Workload) -> Mapping[str, object]:
    """A workload as text, as a board gets it."""
    return asdict(workload) | {"skeleton": base64.b64encode(workload.skeleton).decode()}


def conv() -> Workload:
    graph = GraphBuilder("conv")
    value = graph.conv(graph.input((1, 4, 8, 8)), 8, activation="relu")
    return workload_from_model("conv", "block", graph.model(value), tuple(graph.weights))


def kernel(op: str, name: str) -> Workload:
    """Of one input; a square root alone must be fed with positive numbers."""
    value = [helper.make_tensor_value_info(edge, TensorProto.FLOAT, [64]) for edge in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return workload_from_model(name, "kernel", model)


@pytest.mark.parametrize("package", ["numpy", "onnx", "google.protobuf", "sqlalchemy", "click", "platformdirs", "rich"])
def test_the_agents_of_these_tests_have_no_package(package: str, tmp_path: Path) -> None:
    told = f"try:\n    import {package}\nexcept ImportError as error:\n    print(error)\n"
    assert "is not in the standard library" in run_alone(told, tmp_path)


@pytest.mark.parametrize("module", NEEDED)
def test_what_a_board_needs_is_imported_alone(module: str, tmp_path: Path) -> None:
    loaded = set(json.loads(run_alone(f"import json, {module}\nprint(json.dumps(list(sys.modules)))", tmp_path)))
    assert module in loaded
    assert loaded & LEFT_ALONE == set()


@pytest.mark.parametrize("module", TALKING)
def test_what_talks_to_a_hub_is_imported_alone(module: str, tmp_path: Path) -> None:
    loaded = set(json.loads(run_alone(f"import json, {module}\nprint(json.dumps(list(sys.modules)))", tmp_path)))
    assert loaded & {"click", "decimal", "fractions", "importlib.metadata", "statistics"} == set()


def test_an_agent_serves_its_hub_with_the_standard_library_alone(tmp_path: Path) -> None:
    with served(LittleHub(jobs=[job(1), job(2)])) as hub:
        given = {"until_idle_s": 1.0, "cpus": [], "meter": "", "control": ""}
        options = json.dumps({"home": str(home_at(tmp_path, hub).folder), **given})
        program = f"from edgecost.cli.agent_process import main\nprint(main({options!r}))"
        assert run_alone(program, tmp_path) == "0\n"
    assert {result.job_id for result in hub.results.values()} == {1, 2}


def test_an_agent_measures_with_the_standard_library_alone(tmp_path: Path, profile: RuntimeProfile) -> None:
    cut_off = kernel("Sqrt", "cut off")
    jobs = {
        "conv": (conv(), Status.OK),
        "root": (kernel("Sqrt", "root"), Status.OK),
        "unknown": (kernel("Frobnicate", "unknown"), Status.UNSUPPORTED_OPERATOR),
        "cut off": (Workload("cut off", "kernel", cut_off.graph_hash, cut_off.skeleton[:-30]), Status.INVALID_MODEL),
    }
    request = {"profile": profile.document(), "workloads": [sent(workload) for workload, _ in jobs.values()]}
    told = json.loads(run_alone(MEASURE, tmp_path, json.dumps(request)))
    assert told["measured"] == len(jobs)
    assert told["visits"] >= 6
    assert set(told["made"]) == set(jobs)
    for name, (workload, expected) in jobs.items():
        status, graph_hash, median_ms, overhead_ms = told["made"][name]
        assert graph_hash == workload.graph_hash
        # A busy machine may leave an interval wide, or take visits away: that is a number too, or an honest reason.
        may_be = {Status.OK, Status.UNCONVERGED, Status.REJECTED} if expected is Status.OK else {expected}
        assert Status(status) in may_be
        assert (median_ms is not None and median_ms > 0) == Status(status).has_latency
        # The empty graph may have been taken its visits, too.
        assert overhead_ms is None or 0 < overhead_ms < 1.0
