"""``campaign run --device`` and ``--local``, ``predict --device``: what a terminal asks of boards, and is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.costmodels.lut import Lut
from edgecost.db import Store
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import workload_from_model
from tests.fleet_store import enrol
from tests.test_fleet_pool import working

TINY = Path(__file__).with_name("tiny.toml")
Captured = pytest.CaptureFixture[str]


def run(capsys: Captured, *arguments: object) -> tuple[int, str, str]:
    code = main([str(one) for one in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecost.costmodels.fleet.fleet_campaign.LOOK_S", 0.02)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "fleet.sqlite"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = GraphBuilder("chain")
    made = workload_from_model("chain", "network", graph.model(graph.activate(graph.input((1, 64)), "sigmoid")))
    path = tmp_path / "model.onnx"
    path.write_bytes(complete(made.skeleton, made.weights))
    return path


def test_a_space_is_measured_by_all_boards_that_match_and_ends_with_a_table(
    place: Path, tmp_path: Path, capsys: Captured
) -> None:
    asked = ("campaign", "run", "--space", TINY, "--device", "pool=nano,runtime=ort", "--db", place, "--out", tmp_path)
    with Store(place) as store:
        boards = {name: (enrol(store, name), factor) for name, factor in (("nano-1", 1.0), ("nano-2", 1.2))}
        with working(store, boards):
            code, out, err = run(capsys, *asked)
            assert code == 0, err
            assert "nano-1" in out
            assert "The slowest board takes 20.0 % longer than the fastest" in out
            again = run(capsys, *asked, "--json")
    table = Lut.load(tmp_path / "tiny-w1-32.lut.json")
    assert len(table) == 20
    document = json.loads(again[1])
    assert (document["left"], document["failed"]) == (0, 0)
    assert document["reused"] == document["planned"]
    assert document["provenance"]["boards"].keys() == {"nano-1", "nano-2"}


def test_a_space_is_followed_no_longer_than_asked_for(place: Path, capsys: Captured) -> None:
    with Store(place) as store:
        enrol(store, "nano-1")
    code, out, _ = run(
        capsys, "campaign", "run", "--space", TINY, "--device", "nano-1", "--db", place, "--budget", "0.1s"
    )
    assert code == 0
    assert "The boards go on. Run it again to follow them" in out
    code, out, _ = run(capsys, "campaign", "list", "--db", place, "--json")
    (found,) = json.loads(out)["campaigns"]
    assert found["name"] == "tiny-32-w1@name=nano-1/" + found["name"].rpartition("/")[2]
    assert found["jobs"]["pending"] > 20


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--device", "pool=nano", "--local"), "two places"),
        (("--device", "pool=nano", "--adaptive", "--target", "5%"), "measures on this machine"),
        (("--device", "pool=nano", "--threads", "2"), "set on the board"),
        (("--device", "pool=pi"), "no board is enrolled yet"),
        (("--device", "pool nano"), "does not say which boards"),
        (("--device", "pool=nano", "--format", "nobody"), "nobody"),
    ],
)
def test_what_cannot_be_asked_of_boards_is_wrong_usage(
    place: Path, capsys: Captured, more: tuple[str, ...], said: str
) -> None:
    code, out, err = run(capsys, "campaign", "run", "--space", TINY, "--db", place, *more)
    assert (code, out) == (2, "")
    assert said in err


def test_a_variable_gives_way_to_a_selector_that_names_a_runtime_and_an_option_does_not(
    place: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECOST_RUNTIME", "tvm")
    with Store(place) as store:
        enrol(store, "nano-1")
    asked = ("campaign", "run", "--space", TINY, "--db", place, "--budget", "0.1s")
    code, out, err = run(capsys, *asked, "--device", "pool=nano,runtime=ort")
    assert (code, "The boards go on" in out) == (0, True), err
    code, _, err = run(capsys, *asked, "--device", "pool=nano")
    assert (code, "can measure with tvm" in err) == (2, True), err
    code, _, err = run(capsys, *asked, "--device", "pool=nano,runtime=ort", "--runtime", "tvm")
    assert (code, "and --runtime for tvm" in err) == (2, True), err


def test_the_same_on_this_machine_ends_with_a_table_too(place: Path, tmp_path: Path, capsys: Captured) -> None:
    code, out, err = run(capsys, "campaign", "run", "--space", TINY, "--local", "--db", place, "--out", tmp_path)
    assert code == 0, err
    assert "20 cells: 20 measured" in out
    assert len(Lut.load(tmp_path / "tiny-w1-32.lut.json")) == 20


def test_a_model_is_measured_once_and_then_known(place: Path, model: Path, capsys: Captured) -> None:
    asked = ("predict", model, "--device", "nano-1", "--db", place)
    with Store(place) as store:
        board = enrol(store, "nano-1")
        code, _, err = run(capsys, *asked)
        assert code == 8
        assert "was not measured on nano-1" in err
        with working(store, {"nano-1": (board, 1.0)}):
            code, out, _ = run(capsys, *asked, "--measure")
    assert (code, "(measured now)" in out) == (0, True)
    code, out, _ = run(capsys, *asked, "--json")
    document = json.loads(out)
    assert (code, document["source"], document["device"]) == (0, "store", "nano-1")
    assert document["lo_ms"] < document["total_ms"] < document["hi_ms"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--measure",), "--measure needs the board"),
        (("--device", "nano-9"), "there is no device 'nano-9'"),
        (("--device", "nano-1", "--metric", "memory"), "answers latencies"),
        (("--device", "nano-1", "--threads", "2"), "set on the board"),
        (("--device", "nano-1", "--runtime", "tvm"), "offers ort"),
    ],
)
def test_what_cannot_be_asked_of_a_device_is_wrong_usage(
    place: Path, model: Path, capsys: Captured, more: tuple[str, ...], said: str
) -> None:
    with Store(place) as store:
        enrol(store, "nano-1")
    code, out, err = run(capsys, "predict", model, "--db", place, *more)
    assert (code, out) == (2, "")
    assert said in err
