"""``edgecost predict`` on models that it can price in part: what is left out is named, and ``--strict`` refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgecost.cli.main import main
from edgecost.costmodels.coverage import NEVER_MEASURED, node_coverage, reason, unpriced_operators
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import save_predictor
from edgecost.costmodels.prices import KernelPrice
from edgecost.profiler.kernels.graph import Kernel, KernelGraph

Captured = pytest.CaptureFixture[str]
RELU, CONSTANT = Kernel("Relu", ((1, 8),), (), ((1, 8),), nodes=(1,)), 0
HIDDEN = Kernel("If", ((),), (), ((1, 8),), nodes=(2,))
STRANGE = Kernel("Erf", ((1, 8),), (), ((1, 8),), nodes=(1, 3))


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def predictor(tmp_path: Path) -> Path:
    """Knows Relu, and nothing else."""
    graphs = [(Kernel("Relu", ((1, 8 * size),), (), ((1, 8 * size),)),) for size in range(1, 21)]
    made = LatencyPredictor(rounds=5).fit(graphs, 0.001 + 1e-5 * np.arange(1.0, 21.0))
    save_predictor(made, tmp_path / "predictor", {"device_description": "a test"})
    return tmp_path / "predictor"


def model(path: Path, *operators: str) -> Path:
    """A chain of operators over eight numbers, and a constant that nobody needs to compute again."""
    shape = [1, 8]
    names = ["x", *(f"y{place}" for place in range(len(operators)))]
    nodes = [helper.make_node(op, [a], [b]) for op, a, b in zip(operators, names, names[1:], strict=False)]
    nodes.append(helper.make_node("Identity", [names[-1]], ["out"]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def branching(path: Path) -> Path:
    """A Relu, then an If whose condition is fed."""
    value = helper.make_tensor_value_info
    branches = {
        name: helper.make_graph(
            [helper.make_node(op, ["y"], [name])], name, [], [value(name, TensorProto.FLOAT, [1, 8])]
        )
        for name, op in (("then_branch", "Exp"), ("else_branch", "Tanh"))
    }
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("If", ["c"], ["z"], **branches)]
    inputs = [value("x", TensorProto.FLOAT, [1, 8]), value("c", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "graph", inputs, [value("z", TensorProto.FLOAT, [1, 8])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def run(captured: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = captured.readouterr()
    return code, out, err


def test_a_model_that_is_priced_whole_passes_strict(tmp_path: Path, predictor: Path, capsys: Captured) -> None:
    code, out, _ = run(
        capsys, "predict", model(tmp_path / "m.onnx", "Relu"), "--predictor", predictor, "--strict", "--json"
    )
    document = json.loads(out)
    assert (code, document["is_lower_bound"], document["no_price"]) == (0, False, {})
    assert document["nodes"] == {"priced": 1, "unpriced": 0, "free": 1}


def test_what_is_left_out_is_named_with_its_reason_and_the_total_called_a_lower_bound(
    tmp_path: Path, predictor: Path, capsys: Captured
) -> None:
    path = model(tmp_path / "m.onnx", "Relu", "Erf", "Tanh")
    code, out, _ = run(capsys, "predict", path, "--predictor", predictor)
    assert code == 0
    assert "at least" in out
    assert "2 of 3 kernels unsupported" in out
    assert f"Erf: {NEVER_MEASURED}" in out
    assert f"Tanh: {NEVER_MEASURED}" in out
    assert "lower bound" in out
    assert "1 priced, 2 without a price, 1 cost nothing" in out


def test_strict_names_every_operator_without_a_price_and_says_what_to_measure(
    tmp_path: Path, predictor: Path, capsys: Captured
) -> None:
    path = model(tmp_path / "m.onnx", "Relu", "Tanh", "Erf")
    code, out, err = run(capsys, "predict", path, "--predictor", predictor, "--strict")
    assert (code, out) == (5, "")
    assert "Erf" in err
    assert "Tanh" in err
    assert "lower bound" in err
    assert f"edgecost profile {path}" in err


def test_an_if_has_no_price_whatever_was_measured(tmp_path: Path, predictor: Path, capsys: Captured) -> None:
    path = branching(tmp_path / "if.onnx")
    code, out, _ = run(capsys, "predict", path, "--predictor", predictor, "--json")
    document = json.loads(out)
    assert (code, document["is_lower_bound"]) == (0, True)
    assert "subgraph" in document["no_price"]["If"]
    assert document["nodes"] == {"priced": 1, "unpriced": 1, "free": 0}
    code, _, err = run(capsys, "predict", path, "--predictor", predictor, "--strict")
    assert code == 5
    assert "Measure the whole model" in err


def test_a_model_of_strangers_has_no_number_at_all(tmp_path: Path, predictor: Path, capsys: Captured) -> None:
    _, out, _ = run(capsys, "predict", model(tmp_path / "m.onnx", "Erf"), "--predictor", predictor)
    assert "no price" in out.splitlines()[0]
    assert "at least" not in out


def test_every_node_is_in_one_place_and_one_kernel_without_a_price_is_enough() -> None:
    prices = [KernelPrice(RELU, 0.1, "interpolated"), KernelPrice(HIDDEN, None, "unsupported")]
    prices.append(KernelPrice(STRANGE, None, "unsupported"))
    cover = node_coverage(KernelGraph((RELU, HIDDEN, STRANGE), (CONSTANT,)), prices)
    assert cover.priced == ()
    assert [node for node, _ in cover.unpriced] == [1, 2, 3]
    assert cover.free == (CONSTANT,)
    assert [reason(price) is None for price in prices] == [True, False, False]
    assert list(unpriced_operators(prices)) == ["Erf", "If"]
    assert unpriced_operators(prices)["Erf"] == NEVER_MEASURED
