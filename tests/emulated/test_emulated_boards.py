"""The unmodified agent, runner and wheels as aarch64, on the processors and the files of recorded boards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgecost.db import Store
from edgecost.db.records import NewJob
from edgecost.devices.boards.recording import load
from edgecost.hub.settings import HubSettings
from edgecost.profiler.documents import document_of
from edgecost.profiler.readings import Reading
from edgecost.profiler.records import Measurement
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload
from tests.emulated.emulated_board import EmulatedBoard, recorded
from tests.fleet_store import workload
from tests.hub_server import served
from tests.little_hub import LOOSE
from tests.small_tasks import conv
from tests.test_fleet_energy import BRIEF

Boot = Callable[[str, str, str], EmulatedBoard]
SETTINGS = HubSettings(lease_s=60.0, wait_s=1.0, poll_s=0.1, reap_s=0.5)
#: Board, the processor that QEMU has for it, and the newest ONNX Runtime that its C library takes.
FLEET = [
    ("nano-r32.7.1-maxn", "cortex-a57", "1.28.0"),
    ("pi4-arm64", "cortex-a72", "1.32.0"),
    ("pi5", "cortex-a76", "1.32.0"),
]
#: What a meter that never moves can say of the energy, and what a board without one says.
ENERGY = {
    "nano-r32.7.1-maxn": Reading.BELOW_RESOLUTION,
    "pi4-arm64": Reading.UNSUPPORTED,
    "pi5": Reading.BELOW_RESOLUTION,
}
EVERY_BOARD = [
    ("nano-r32.1-old", "cortex-a57"), ("nano-r32.7.1-maxn", "cortex-a57"), ("nano-r32.7.1-5w", "cortex-a57"),
    ("nano-2gb", "cortex-a57"), ("tx2-r32", "cortex-a57"), ("xavier-nx-r35", "cortex-a76"),
    ("agx-xavier-r35", "cortex-a76"), ("orin-nano-r36.4", "cortex-a76"), ("agx-orin-r35.4", "cortex-a76"),
    ("thor-r38", "neoverse-n1"), ("pi3b-plus", "cortex-a53"), ("pi4-arm64", "cortex-a72"),
    ("pi4-undervolt", "cortex-a72"), ("pi4+ina226", "cortex-a72"), ("pi5", "cortex-a76"),
]  # fmt: skip


class Keeper:
    """A hub with one emulated board in it, worked as its keeper would by hand."""

    def __init__(self, store: Store, board: EmulatedBoard) -> None:
        self.store, self.board = store, board
        self.home = board.root.parent / "agent"

    def measures(self, version: str, workloads: Sequence[Workload], **asked: object) -> list[Measurement]:
        """Let the board enrol and work until it has nothing more to do; what the store has then."""
        settings = {
            "runtime": "ort",
            "profile_hash": replace(host_profile(), version=version).profile_hash,
            "protocol": document_of(LOOSE),
            **asked,
        }
        campaign = self.store.open_campaign("emulated", "test", settings, "pool=emulated")
        for one in workloads:
            self.store.put_workload(one)
        wanted = [NewJob(one.graph_hash, "cell", one.name, 0, one.graph_hash) for one in workloads]
        self.store.add_jobs(campaign, wanted)
        with served(self.store, SETTINGS) as hub:
            code = self.store.fleet.make_code({"pool": "emulated"}, by="keeper").code
            self.board.edgecost("agent", "enroll", hub.url, code, "--home", self.home, "--name", self.board.name)
            self.board.edgecost("agent", "run", "--home", self.home, "--until-idle", "2s")
        return list(self.store.measurements(usable_only=False, of=None))


@pytest.mark.parametrize(("name", "cpu", "version"), FLEET)
def test_an_agent_enrols_measures_and_says_what_board_it_is(
    name: str, cpu: str, version: str, booted: Boot, file_store: Store
) -> None:
    keeper = Keeper(file_store, booted(name, cpu, version))
    wanted = [conv(channels).workload for channels in (4, 8)]
    found = keeper.measures(version, wanted)
    assert {one.graph_hash for one in found if one.status.has_latency} == {one.graph_hash for one in wanted}
    device = file_store.fleet.agent(name).agent
    model = recorded(name).files["/proc/device-tree/model"].rstrip("\0")
    assert device.description.startswith(model)
    assert {one.device_identity for one in found} == {device.device_identity}


@pytest.mark.parametrize(("name", "cpu", "version"), FLEET)
def test_a_meter_that_never_moves_gives_no_energy_and_the_store_says_why(
    name: str, cpu: str, version: str, booted: Boot, file_store: Store
) -> None:
    keeper = Keeper(file_store, booted(name, cpu, version))
    found = keeper.measures(version, [workload(20_000)], energy=document_of(BRIEF))
    energies = [one.energy for one in found if one.energy is not None]
    assert {energy.status for energy in energies} == {ENERGY[name]}
    assert {energy.net_median_mj for energy in energies} == {None}


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a57", "cortex-a72"])
def test_a_runtime_that_dies_on_the_processor_is_no_longer_offered_and_takes_no_attempt(
    cpu: str, booted: Boot, file_store: Store
) -> None:
    keeper = Keeper(file_store, booted("pi4-arm64", cpu, "1.21.0"))
    assert keeper.measures("1.21.0", [conv(4).workload]) == []
    (job,) = file_store.fleet.jobs(campaign="emulated", limit=10)
    assert (job.state, job.attempts, job.kills) == ("pending", 0, 0)
    (offer,) = file_store.fleet.agent("pi4-arm64").agent.offers
    assert "SIGILL" in offer.problem


def test_the_same_runtime_works_on_a_newer_processor(booted: Boot, file_store: Store) -> None:
    keeper = Keeper(file_store, booted("pi5", "cortex-a76", "1.21.0"))
    (made,) = keeper.measures("1.21.0", [conv(4).workload])
    assert made.status.has_latency


@pytest.mark.parametrize(("name", "cpu"), EVERY_BOARD)
def test_doctor_on_the_board_says_what_it_says_of_its_recording(name: str, cpu: str, booted: Boot) -> None:
    board = booted(name, cpu, "1.28.0")
    ended = board.run("-m", "edgecost", "doctor", "--json")
    assert ended.returncode == 9, ended.stderr
    document = json.loads(ended.stdout)
    told = document["board"]
    mode = told["power_mode"]
    told["power_mode"] = mode if mode is None else mode["name"]
    told["whole_meter"] = next(iter(told["whole_meters"]), None)
    expected = recorded(name).expected
    assert {key: told[key] for key in expected} == dict(expected)


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("1.21.0", ["! onnxruntime 1.21.0: its import is ended by SIGILL", "→ take 1.20.1, or 1.22.1 and later"]),
        ("1.28.0", ["onnxruntime 1.28.0: can be used (AzureExecutionProvider, CPUExecutionProvider)"]),
    ],
)
def test_doctor_tells_of_an_import_that_dies_and_lives_on(version: str, says: list[str], booted: Boot) -> None:
    ended = booted("nano-r32.7.1-maxn", "cortex-a57", version).run("-m", "edgecost", "doctor")
    told = [line.strip() for line in ended.stdout.splitlines()]
    place = told.index(says[0])
    assert told[place : place + len(says)] == says
    assert any("a reading takes" in line for line in told)


def test_a_control_profile_changes_the_board_and_everything_comes_back(booted: Boot) -> None:
    board = booted("pi4-arm64", "cortex-a72", "1.32.0")
    governor = board.root / "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
    before = governor.read_text()
    board.edgecost("control", "apply", "governor-performance")
    assert governor.read_text().strip() == "performance"
    assert "governor-performance" in board.edgecost("control", "show")
    board.edgecost("control", "restore")
    assert governor.read_text().strip() == before.strip() != "performance"


def test_a_board_that_records_itself_is_the_board_that_was_recorded(booted: Boot, tmp_path: Path) -> None:
    board = booted("orin-nano-r36.4", "cortex-a76", "1.28.0")
    board.edgecost("record-board", "-o", tmp_path / "again.json")
    again, first = load(tmp_path / "again.json"), recorded("orin-nano-r36.4")
    # The emulation has some files of its own.
    assert {path: again.files.get(path) for path in first.files} == dict(first.files)
    assert again.machine == "aarch64"
    assert again.kernel_release == first.kernel_release


def test_a_container_that_hides_the_processor_kills_a_runtime_and_not_the_agent(
    booted: Boot, file_store: Store
) -> None:
    board = booted("nano-r32.7.1-maxn", "cortex-a57", "1.28.0")
    (board.root / "proc" / "cpuinfo").unlink()
    shutil.rmtree(board.root / "sys" / "devices" / "system" / "cpu")
    keeper = Keeper(file_store, board)
    assert keeper.measures("1.28.0", [conv(4).workload]) == []
    (offer,) = file_store.fleet.agent(board.name).agent.offers
    assert "SIGSEGV" in offer.problem
