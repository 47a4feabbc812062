"""``edgecost kernels`` and ``audit additivity`` with ``--branch`` and ``--trips``: every way with its probability."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgecost.cli.main import main
from edgecost.costmodels.additivity import _compare, _Way, audit_additivity
from edgecost.costmodels.control_flow import ControlFlow
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.db import Store
from edgecost.profiler.errors import UsageError
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.model_file import read_model
from edgecost.profiler.protocol import Settings
from edgecost.profiler.workload import Workload

Captured = pytest.CaptureFixture[str]
LOOSE = Settings(visits_min=3, target=0.9, visits_max=6, rounds_max=60)

# Convolutions, so that every way takes longer than an empty call.
GATED = """
<ir_version: 8, opset_import: ["" : 17]>
gated (bool c, float[1,16,32,32] x) => (float[1,16,32,32] y) {
    [first] z = Conv <pads = [1, 1, 1, 1]> (x, k)
    [gate] y = If (c) <
        then_branch = deep () => (float[1,16,32,32] t) { [second] u = Conv <pads = [1, 1, 1, 1]> (z, k)  t = Relu (u) },
        else_branch = shallow () => (float[1,16,32,32] s) { [bend] s = Tanh (z) }
    >
}"""
TURNING = """
<ir_version: 8, opset_import: ["" : 17]>
turning (int64 n, float[1,16,32,32] x) => (float[1,16,32,32] y) {
    [again] y = Loop (n, , x) <
        body = body (int64 turn, bool go, float[1,16,32,32] v) => (bool on, float[1,16,32,32] w) {
            on = Identity (go)
            w = Conv <pads = [1, 1, 1, 1]> (v, k)
        }
    >
}"""
WAYS = ("--branch", "gate=0.25")
TRIPS = ("--trips", "again=3")


class Silent:
    """A narrator that says nothing."""

    def stage(self, title: str, total: int | None = None) -> None:
        """Silence."""

    def step(self, note: str) -> None:
        """Silence."""

    def note(self, text: str) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, one with an If and one with a Loop, and a database in which their ways are measured already."""
    made = tmp_path_factory.mktemp("ways")
    kernel = np.random.default_rng(0).standard_normal((16, 16, 3, 3), np.float32) / 12
    for name, text in (("gated", GATED), ("turning", TURNING)):
        model = onnx.parser.parse_model(text)
        model.graph.initializer.append(numpy_helper.from_array(kernel, "k"))
        onnx.save(model, made / f"{name}.onnx")
    networks = [read_model(made / "gated.onnx"), read_model(made / "turning.onnx")]
    flow = ControlFlow({"gate": 0.25}, {"again": 3})
    with Store(made / "test.sqlite") as store:
        audit_additivity(networks, store, LocalSetting.here(), Silent(), settings=LOOSE, control_flow=flow)
    return made


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def run(captured: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = main([str(argument) for argument in arguments])
    out, err = captured.readouterr()
    return code, out, err


def audited(captured: Captured, folder: Path, *arguments: str | Path) -> dict[str, list[dict[str, object]]]:
    code, out, _ = run(captured, "audit", "additivity", "--db", folder / "test.sqlite", "--json", *arguments)
    assert code == 0
    document: dict[str, list[dict[str, object]]] = json.loads(out)
    return document


def test_kernels_shows_a_table_for_each_way_the_likeliest_first(folder: Path, capsys: Captured) -> None:
    code, out, _ = run(capsys, "kernels", folder / "gated.onnx", *WAYS)
    assert code == 0
    shallow, deep = out.index("gate=else, probability 75.0 %"), out.index("gate=then, probability 25.0 %")
    assert shallow < out.index("bend") < deep < out.index("second")
    assert out.count("distinct, in order of execution") == 2


def test_kernels_lists_the_ways_as_json_with_the_likeliest_ones_kernels_beside(folder: Path, capsys: Captured) -> None:
    code, out, _ = run(capsys, "kernels", folder / "gated.onnx", *WAYS, "--json")
    assert code == 0
    document = json.loads(out)
    shallow, deep = document["paths"]
    assert set(shallow) == {"label", "probability", "graph_hash", "kernels", "folded_nodes"}
    assert [(way["label"], way["probability"]) for way in (shallow, deep)] == [("gate=else", 0.75), ("gate=then", 0.25)]
    assert len({document["graph_hash"], shallow["graph_hash"], deep["graph_hash"]}) == 3
    assert document["kernels"] == shallow["kernels"] != deep["kernels"]
    assert not any(kernel["op"] == "If" for way in document["paths"] for kernel in way["kernels"])


def test_kernels_of_a_model_without_choices_have_one_path(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    plain = tmp_path / "plain.onnx"
    onnx.save(onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> g (float[9] x) => (float[9] y) '
                                      '{ y = Abs (x) }'), plain)  # fmt: skip
    _, out, _ = run(capsys, "kernels", plain, "--json")
    document = json.loads(out)
    (path,) = document["paths"]
    assert (path["label"], path["probability"], path["graph_hash"]) == ("", 1.0, document["graph_hash"])
    _, out, _ = run(capsys, "kernels", plain)
    assert "probability" not in out
    _, out, _ = run(capsys, "kernels", folder / "turning.onnx", *TRIPS)
    assert "again×3" in out
    assert "probability" not in out


def test_profile_kernels_and_audit_ask_for_what_is_not_stated_in_the_same_words(folder: Path, capsys: Captured) -> None:
    for stated in ((), (*WAYS, "--branch", "door=0.5"), TRIPS, ("--branch", "gate=2")):
        told = []
        for command in (("profile", "--no-keep"), ("kernels",), ("audit", "additivity")):
            code, out, err = run(capsys, *command, folder / "gated.onnx", *stated)
            assert (code, out) == (2, "")
            told.append(err[err.index("Error:") :])
        assert len(set(told)) == 1


def test_the_audit_has_a_row_for_each_way_and_their_mean(folder: Path, capsys: Captured) -> None:
    document = audited(capsys, folder, folder / "gated.onnx", *WAYS)
    shallow, deep = document["networks"]
    assert [(row["name"], row["model"], row["probability"]) for row in (shallow, deep)] == [
        ("gated [gate=else]", "gated", 0.75),
        ("gated [gate=then]", "gated", 0.25),
    ]
    (expected,) = document["expected"]
    assert (expected["model"], expected["ways"], expected["missing"]) == ("gated", 2, 0)
    for key in ("latency_ms", "sum_ms"):
        assert expected[key] == pytest.approx(0.75 * shallow[key] + 0.25 * deep[key])
    assert expected["sum_error"] == pytest.approx(expected["sum_ms"] / expected["latency_ms"] - 1)
    assert (expected["composed_ms"], expected["composed_error"]) == (None, None)


def test_the_audits_tables_name_the_probabilities_only_where_there_are_several_ways(
    folder: Path, capsys: Captured
) -> None:
    where = ("--db", folder / "test.sqlite")
    code, out, _ = run(capsys, "audit", "additivity", folder / "gated.onnx", *WAYS, *where)
    assert code == 0
    for words in ("gated [gate=else]", "probability", "75.0 %", "Expected: the mean", "held out together"):
        assert words in out
    code, out, _ = run(capsys, "audit", "additivity", folder / "turning.onnx", *TRIPS, *where)
    assert code == 0
    assert "turning [again×3]" in out
    for words in ("probability", "Expected"):
        assert words not in out


def test_one_way_alone_is_explained_by_its_kernels(folder: Path, capsys: Captured) -> None:
    document = audited(capsys, folder, folder / "gated.onnx", "--branch", "gate=0")
    (row,) = document["networks"]
    assert (row["name"], row["probability"], document["expected"]) == ("gated [gate=else]", 1.0, [])
    assert len(document["differences"]) == row["kernels"]
    assert any("bend" in name for one in document["differences"] for name in one["nodes"])


def test_a_statement_goes_to_the_models_that_have_the_node(folder: Path, capsys: Captured) -> None:
    both = (folder / "gated.onnx", folder / "turning.onnx")
    with Store(folder / "test.sqlite") as store:
        before = store.counts().measurements
        document = audited(capsys, folder, *both, *WAYS, *TRIPS)
        assert store.counts().measurements == before
    assert [row["name"] for row in document["networks"]] == [
        "gated [gate=else]", "gated [gate=then]", "turning [again×3]",
    ]  # fmt: skip
    assert [one["model"] for one in document["expected"]] == ["gated"]
    code, out, err = run(capsys, "audit", "additivity", *both, *WAYS, *TRIPS, "--trips", "gate=3")
    assert (code, out) == (2, "")
    assert "no Loop named 'gate'" in err


def test_a_name_that_is_an_if_here_and_a_loop_there_is_told_apart(folder: Path, tmp_path: Path) -> None:
    model = onnx.load(folder / "turning.onnx")
    model.graph.node[0].name = "gate"
    onnx.save(model, tmp_path / "turning.onnx")
    gated, turning = read_model(folder / "gated.onnx"), read_model(tmp_path / "turning.onnx")
    flow = ControlFlow({"gate": 0.5}, {"gate": 4})
    flow.check([gated, turning])
    assert flow.about(gated) == ControlFlow({"gate": 0.5})
    assert flow.about(turning) == ControlFlow({}, {"gate": 4})
    with pytest.raises(UsageError, match="no Loop named 'gate'"):
        flow.check([gated])


def test_the_mean_is_not_known_where_one_way_was_not_measured() -> None:
    kernel = Kernel("MatMul", ((1, 2),), ((2, 3),), ((1, 3),))
    ways = [
        _Way(f"net [{label}]", "net", 0, share, Workload(label, "network", label, b""))
        for label, share in (("often", 0.9), ("seldom", 0.1))
    ]
    parts = {"often": (kernel,), "seldom": (kernel, kernel)}
    times: dict[str, float | None] = {kernel.kernel_hash: 1.0}
    (whole,) = _compare(ways, parts, times, {"often": 1.0, "seldom": 4.0}).expected
    assert (whole.latency_ms, whole.sum_ms, whole.ways) == pytest.approx((1.3, 1.1, 2))
    assert whole.sum_error == pytest.approx(1.1 / 1.3 - 1)
    found = _compare(ways, parts, times, {"often": 1.0})
    assert [row.name for row in found.networks] == ["net [often]"]
    assert found.expected == (replace(whole, latency_ms=None, sum_ms=None),)
    assert found.expected[0].sum_error is None
