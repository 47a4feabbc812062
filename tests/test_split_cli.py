"""``edgecost split`` in the terminal, between two simulated devices: every cut adds up, and the best is the best."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecost.cli.main import main
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import workload_from_model

Captured = pytest.CaptureFixture[str]
SIDES = ("--head", "simulator:core", "--tail", "simulator:systolic")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A chain of three convolutions whose values become smaller."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "none.sqlite"))
    graph = GraphBuilder("chain")
    value = graph.input((1, 8, 32, 32))
    for channels in (16, 8, 4):
        value = graph.activate(graph.conv(value, channels, kernel=3, stride=2), "relu")
    workload = workload_from_model("chain", "network", graph.model(value), tuple(graph.weights))
    path = tmp_path / "chain.onnx"
    path.write_bytes(complete(workload.skeleton, workload.weights))
    return path


def asked(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    code = main(["split", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_every_cut_is_head_link_and_tail_and_the_fastest_has_the_least_of_all(model: Path, capsys: Captured) -> None:
    code, out, _ = asked(capsys, str(model), *SIDES, "--link", "8Mbit/s", "--latency", "1ms", "--json")
    assert code == 0
    document = json.loads(out)
    cuts = document["cuts"]
    assert (cuts[0]["after"], cuts[-1]["after"]) == ("input", "output")
    for cut in cuts:
        parts = cut["head"]["latency_ms"] + cut["link_ms"] + cut["tail"]["latency_ms"]
        assert cut["total_ms"] == pytest.approx(parts)
        # Eight megabits a second are a byte in a microsecond.
        expected = cut["crossing_bytes"] / 1e3 + 1.0 if cut["crossing"] else 0.0
        assert cut["link_ms"] == pytest.approx(expected)
    assert cuts[0]["crossing_bytes"] == 8 * 32 * 32 * 4
    fastest = min(cuts, key=lambda cut: cut["total_ms"])
    assert document["fastest"]["number"] == fastest["number"]
    assert document["head"]["description"].startswith("simulated: ")


def test_a_faster_link_moves_work_to_the_tail(model: Path, capsys: Captured) -> None:
    found = []
    for link in ("10kbit/s", "100Gbit/s"):
        _, out, _ = asked(capsys, str(model), *SIDES, "--link", link, "--json")
        found.append(json.loads(out))
    slow, fast = (one["fastest"]["number"] for one in found)
    assert found[0]["cuts"][slow]["crossing_bytes"] == 0
    assert fast <= slow


def test_the_table_and_the_picture_show_the_cuts(model: Path, capsys: Captured, tmp_path: Path) -> None:
    picture = tmp_path / "split.svg"
    code, out, _ = asked(capsys, str(model), *SIDES, "--link", "20Mbit/s", "--plot", str(picture))
    assert code == 0
    assert "Fastest: cut" in out
    assert "radio       not known" in out
    assert "<svg" in picture.read_text(encoding="utf-8")


def test_what_a_side_cannot_compute_has_no_price_and_strict_refuses_it(model: Path, capsys: Captured) -> None:
    # The systolic array has no operator that makes bytes of floats and floats of bytes.
    sent = (str(model), *SIDES, "--link", "20Mbit/s", "--compress", "uint8")
    code, out, _ = asked(capsys, *sent, "--json")
    assert code == 0
    cuts = json.loads(out)["cuts"]
    assert any(cut["is_lower_bound"] for cut in cuts)
    assert all(cut["tail"]["latency_ms"] != 0 or cut["tail"]["source"] == "nothing" for cut in cuts)
    code, _, err = asked(capsys, *sent, "--strict")
    assert code == 5
    assert "QuantizeLinear" in err or "DequantizeLinear" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--head", "simulator:core", "--tail", "host", "--link", "20"), 2, "link"),
        (("--head", "nobody", "--tail", "simulator:core", "--link", "1Mbit/s"), 2, "nobody"),
        ((*SIDES, "--link", "1Mbit/s", "--plot", "split.png"), 2, ".svg"),
        ((*SIDES, "--link", "1Mbit/s", "--head-runtime", "ort"), 2, "its own runtime"),
    ],
)
def test_wrong_usage_says_what_would_be_right(
    model: Path, capsys: Captured, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, _, err = asked(capsys, str(model), *arguments)
    assert found == code
    assert said in err
