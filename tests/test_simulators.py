"""The simulators' door: names, options, files and plugins; and what is believed of a cost."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edgecost.devices import simulators
from edgecost.devices.simulators import SimulatedCost, checked_cost, describe, open_simulator, parse_simulator
from edgecost.devices.simulators.contract import SimulatedDeviceContract, unknown_operator
from edgecost.devices.simulators.systolic import SystolicArray, SystolicDesign
from edgecost.profiler.errors import BrokenModel, SimulatorError, UsageError
from edgecost.profiler.records import Device


class TestTheSystolicArray(SimulatedDeviceContract):
    def make_simulator(self):
        return SystolicArray()


class TestTheWeightStationarySystolicArray(SimulatedDeviceContract):
    def make_simulator(self):
        return SystolicArray(SystolicDesign(dataflow="ws", static_mw=10.0))


class TestTheSimulatorOfTheHowTo(SimulatedDeviceContract):
    """The worked example passes the contract as the page shows it."""

    names: dict[str, type] = {}  # noqa: RUF012 - filled once, by the page

    @classmethod
    def setup_class(cls):
        page = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "add-a-simulated-device.md"
        for body in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
            exec(compile(body, page.name, "exec"), cls.names)  # the text is ours

    def make_simulator(self):
        return self.names["TestRoofline"]().make_simulator()

    def test_its_options_are_read_and_refused(self):
        make = self.names["Roofline"]
        assert make({"gflops": "200"}).device() != make({}).device()
        for wrong in ({"gflops": "0"}, {"gflops": "nan"}, {"speed": "1"}):
            with pytest.raises(UsageError, match="roofline has no"):
                make(wrong)


class Told:
    """A simulator that answers what it is told."""

    version = "1"

    def __init__(self, answer=None):
        self.answer = SimulatedCost(latency_ms=2.0) if answer is None else answer

    def device(self):
        return describe("told", {}, "an answer")

    def cost(self, workload):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def announce(monkeypatch, make):
    """Put a factory behind the entry-point group, under the name ``plugin``."""

    class Point(EntryPoint):
        def load(self):
            if isinstance(make, Exception):
                raise make
            return make

    point = Point(name="plugin", value="package:make", group=simulators.GROUP)
    monkeypatch.setattr(simulators, "entry_points", lambda group: [point] if group == simulators.GROUP else [])


def test_options_make_another_design_and_so_another_device():
    small, large = open_simulator("systolic"), open_simulator("systolic:rows=32,columns=8,dataflow=ws,static_mw=2.5")
    assert large.design == SystolicDesign(rows=32, columns=8, dataflow="ws", static_mw=2.5)
    assert small.device().identity != large.device().identity
    assert open_simulator("systolic:rows=16").device() == small.device()


def test_a_design_is_read_from_a_file(tmp_path):
    file = tmp_path / "design.toml"
    file.write_text('simulator = "systolic"\n[options]\nrows = 32\ndataflow = "ws"\n', encoding="utf-8")
    assert open_simulator(str(file)).device() == open_simulator("systolic:dataflow=ws,rows=32").device()


@pytest.mark.parametrize(
    "text",
    ["rows = 32", 'simulator = "systolic"\nrows = 32', "simulator = 3", "simulator =", 'simulator = "a"\noptions = 3'],
)
def test_a_file_that_describes_no_simulator_is_refused(tmp_path, text):
    file = tmp_path / "design.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"design\.toml"):
        parse_simulator(str(file))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        parse_simulator(str(tmp_path / "design.toml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("systolc", "Did you mean 'systolic'"),
        ("systolic:rows", "is no option"),
        ("systolic:rows=", "is no option"),
        ("systolic:rows=1,rows=2", "given twice"),
        ("systolic:cells=3", r"no parameter 'cells'\n.*rows \(16\)"),
        ("systolic:rows=0", "a whole number from 1"),
        ("systolic:rows=2.5", "a whole number"),
        ("systolic:rows=9999999", "a whole number"),
        ("systolic:rows=nan", "a whole number"),
        ("systolic:mac_pj=nan", "at least 0"),
        ("systolic:mac_pj=inf", "at least 0"),
        ("systolic:mac_pj=-1", "at least 0"),
        ("systolic:dataflow=is", "one of os, ws"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(text, message):
    with pytest.raises(UsageError, match=message):
        open_simulator(text)


def test_a_plugin_is_found_and_given_its_options(monkeypatch):
    given = []

    def make(options):
        given.append(dict(options))
        return Told()

    announce(monkeypatch, make)
    assert simulators.simulator_names() == ["core", "plugin", "systolic"]
    assert open_simulator("plugin:speed=fast").cost(unknown_operator()).latency_ms == 2.0
    assert given == [{"speed": "fast"}]


class Unmarked(Told):
    def device(self):
        return Device("board", "0" * 64, "a board")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (ImportError("no module"), "of an unnamed package .* cannot be used: ImportError: no module"),
        (lambda options: 1 / 0, "ZeroDivisionError"),
        (lambda options: object(), "has not the members version, device and cost"),
        (lambda options: Unmarked(), "not marked as simulated"),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution(monkeypatch, make, message):
    announce(monkeypatch, make)
    with pytest.raises(UsageError, match=message):
        open_simulator("plugin")


@pytest.mark.parametrize(
    "answer",
    [
        ZeroDivisionError("division by zero"),
        SimulatedCost(),
        SimulatedCost(latency_ms=0.0),
        SimulatedCost(latency_ms=-1.0),
        SimulatedCost(latency_ms=float("nan")),
        SimulatedCost(latency_ms=float("inf")),
        SimulatedCost(latency_ms="3"),
        SimulatedCost(latency_ms=True),
        SimulatedCost(latency_ms=1.0, energy_mj=float("nan")),
        SimulatedCost(latency_ms=1.0, energy_mj=-2.0),
        SimulatedCost(latency_ms=1.0, peak_memory_bytes=0),
        SimulatedCost(latency_ms=1.0, details={"cycles": -1.0}),
        SimulatedCost(latency_ms=1.0, unsupported=("Loop",)),
        3.0,
    ],
)
def test_what_is_no_cost_is_not_believed(answer):
    with pytest.raises(SimulatorError, match="the simulator told on unknown-operator"):
        checked_cost(Told(answer), unknown_operator())


def test_a_simulator_may_refuse_a_workload_in_its_own_words():
    with pytest.raises(BrokenModel, match="cut off"):
        checked_cost(Told(BrokenModel("cut off")), unknown_operator())


def test_what_is_not_supported_is_no_number():
    cost = checked_cost(SystolicArray(), unknown_operator())
    assert (cost.latency_ms, cost.energy_mj) == (None, None)
    assert cost.unsupported == ("contract.EdgecostContract: the accelerator has no such operator",)
