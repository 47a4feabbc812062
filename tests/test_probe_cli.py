"""``edgecost probe`` in the terminal: tables, JSON, exit codes, and what is said when the machine has changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.costmodels import device_probe
from edgecost.costmodels.campaign import Planned
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.db import Store
from edgecost.profiler.conclusion import conclude
from edgecost.profiler.graphs import probe_graphs
from edgecost.profiler.graphs.probe_graphs import role_of, square_products
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.precision.convert import convert
from edgecost.profiler.records import Environment, Status, Visit
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.tasks import Task

Captured = pytest.CaptureFixture[str]


class Campaign:
    """Stands for the campaign that would measure: a call of 2 µs, a node of 0.2 µs, 40 GB/s and 50 GFLOP/s."""

    def __init__(self) -> None:
        self.statuses: dict[str, Status] = {}
        self.measured = 0

    def __call__(
        self,
        store: Store,
        setting: LocalSetting,
        name: str,
        origin: str,
        wanted: Sequence[Planned],
        *_: object,
        **__: object,
    ) -> None:
        setting.store_in(store)
        for planned in wanted:
            self.measured += 1
            status = self.statuses.get(setting.profile.precision, Status.OK)
            role = role_of(planned.workload)
            assert role is not None
            nodes = 0 if role.quantity == "gemm" else role.nodes
            ns = 2000 + 200 * nodes + role.moved_bytes / 40 + role.flops / 50
            visits = [Visit(n, "s", (round(ns),) * 3, (), (1, 1), 0, "", ns) for n in range(6)]
            store.put_workload(planned.workload)
            store.record(
                conclude(
                    Task(planned.workload, planned.purpose, uuid.uuid4().hex), setting.stage, visits, status, "",
                    overhead=0.002, started_at=None, session="s",
                )
            )  # fmt: skip


@pytest.fixture
def campaign(monkeypatch: pytest.MonkeyPatch) -> Campaign:
    made = Campaign()
    monkeypatch.setattr(device_probe, "measure_planned", made)
    # Converting products of 512 takes longer than all the rest.
    monkeypatch.setattr(probe_graphs, "GEMM_SIZES", (64,))
    return made


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def run(captured: Captured, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = main(["probe", *arguments])
    out, err = captured.readouterr()
    return code, out, err


def test_the_tables_show_every_quantity_and_the_second_time_nothing_is_measured(
    campaign: Campaign, capsys: Captured
) -> None:
    code, out, err = run(capsys)
    assert code == 0
    for words in ("int8-qoperator", "1 thread", "50 ±0.0 %", "12 KiB", "1.5 MiB", "40 ±0.0 %", "█"):
        assert words in out
    assert "An empty call takes 2 µs (±0.0 %), each further node 0.2 µs (±0.0 %)." in out
    assert "--refresh" not in err
    emulates = any(kernel.op == "Cast" for kernel in kernels(convert(square_products(64), "fp16"), host_profile()))
    assert ("! this runtime converts fp16 to 32 bits" in out) == emulates
    measured = campaign.measured
    code, again, err = run(capsys)
    assert (code, again, campaign.measured) == (0, out, measured)
    assert "--refresh measures it again" in err
    assert run(capsys, "--refresh")[0] == 0
    assert campaign.measured == 2 * measured


def test_what_a_runtime_lacks_is_named_and_never_0(campaign: Campaign, capsys: Captured) -> None:
    campaign.statuses = {"int8-qdq": Status.UNSUPPORTED_OPERATOR}
    code, out, _ = run(capsys)
    assert code == 0
    (line,) = (line for line in out.splitlines() if "int8-qdq" in line)
    assert "unsupported operator" in line
    assert not any(character.isdigit() for character in line.replace("int8", ""))
    code, out, err = run(capsys, "--json")
    assert (code, err) == (0, "")
    (lacking, *_) = (one for one in json.loads(out)["gemm_gflops"] if one["precision"] == "int8-qdq")
    assert (lacking["value"], lacking["spread"], lacking["status"]) == (None, None, "unsupported_operator")


def test_the_document_has_every_reading_with_its_spread_and_status(campaign: Campaign, capsys: Captured) -> None:
    code, out, err = run(capsys, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert set(document) == {
        "schema_version", "device", "device_identity", "profile", "profile_hash", "measured_at", "environment_hash",
        "gemm_gflops", "bandwidth_gb_per_s", "dispatch_us", "node_us", "computed_in_fp32",
    }  # fmt: skip
    reading = {"value", "spread", "n", "status", "message"}
    assert set(document["node_us"]) == set(document["dispatch_us"]) == reading
    assert set(document["gemm_gflops"][0]) == reading | {"precision", "threads"}
    assert set(document["bandwidth_gb_per_s"][0]) == reading | {"working_set_bytes"}
    assert document["gemm_gflops"][0]["precision"] == "fp32"
    sizes = [one["working_set_bytes"] for one in document["bandwidth_gb_per_s"]]
    assert sizes == sorted(set(sizes))


def test_a_machine_that_has_changed_is_said_to_be_measured_again(
    campaign: Campaign, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys)[0] == 0
    measured, real = campaign.measured, LocalSetting.here

    def changed(profile: object) -> LocalSetting:
        setting = real(profile)
        environment = Environment({**setting.stage.environment.document, "kernel": "another"})
        return replace(setting, stage=replace(setting.stage, environment=environment))

    monkeypatch.setattr(LocalSetting, "here", changed)
    code, _, err = run(capsys)
    assert code == 0
    assert "not what it was when it was probed" in err
    assert campaign.measured == 2 * measured


def test_a_machine_that_is_too_busy_gives_the_code_of_unstable_measurements(
    campaign: Campaign, capsys: Captured
) -> None:
    campaign.statuses = dict.fromkeys(("fp32", "fp16", "int8-qdq", "int8-qoperator"), Status.REJECTED)
    code, out, err = run(capsys)
    assert (code, out) == (3, "")
    assert "stop other programs" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--runtime", "nothing"), 2, "there is no runtime 'nothing'"),
        (("--threads", "99999"), 2, "threads were asked for"),
        (("--threads", "0"), 2, "--threads"),
        (("--db", "mysql://x/y"), 2, "mysql"),
        (("model.onnx",), 2, "model.onnx"),
    ],
)
def test_wrong_usage_has_its_exit_code(arguments: tuple[str, ...], code: int, said: str, capsys: Captured) -> None:
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "")
    assert said in err
