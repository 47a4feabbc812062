"""``edgecost profile`` and ``edgecost kernels`` in the terminal: options, tables, JSON, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.cli.main import main
from edgecost.db import Store

Captured = pytest.CaptureFixture[str]

CHOICE = """
<ir_version: 8, opset_import: ["" : 17]>
choice (float[4,8] x) => (float[4,8] y) {
    m = ReduceMean <keepdims = 0> (x)
    zero = Constant <value = float {0.0}> ()
    warm = Greater (m, zero)
    [gate] c = If (warm) <
        then_branch = hot () => (float[4,8] t) { t = Tanh (x) },
        else_branch = cold () => (float[4,8] t) { t = Neg (x) }
    >
    three = Constant <value = int64 {3}> ()
    turns = ReduceSum <keepdims = 0> (three)
    [again] y = Loop (turns, warm, c) <
        body = body (int64 turn, bool go, float[4,8] v) => (bool on, float[4,8] w) { on = Identity (go) w = Relu (v) }
    >
}"""
#: Stops at an interval that any machine reaches; the exit code may still be 3 where every visit is rejected.
FAST = ("--preset", "quick", "--ci", "90%", "--max-time", "20s")
KEYS = {
    "model", "graph_hash", "device", "profile", "profile_hash", "status", "message", "latency", "call_overhead_ms",
    "rejected_visits", "conditions", "drift", "is_emulated", "expected_ms", "paths", "kernels", "pipeline",
    "memory", "energy", "schema_version",
}  # fmt: skip


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command of a test works on a database of its own."""
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "test.sqlite"


def run(captured: Captured, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = main([str(argument) for argument in arguments])
    out, err = captured.readouterr()
    return code, out, err


def save(path: Path, *, batch: int | str = 1) -> Path:
    """A classifier of 3 × 8 × 8 images into 10 classes."""
    rng = np.random.default_rng(0)
    constants = {
        "k": rng.standard_normal((4, 3, 3, 3), np.float32),
        "w": rng.standard_normal((10, 4), np.float32),
        "b": np.zeros(10, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], "convolution", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "gate"),
        helper.make_node("GlobalAveragePool", ["r"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"], "classifier", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_every_option_at_once_gives_one_document_with_every_part(tmp_path: Path, capsys: Captured) -> None:
    model = save(tmp_path / "net.onnx", batch="n")
    step = tmp_path / "step.onnx"
    onnx.save(onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> s (float[9] x) => (float[9] y) '
                                      '{ y = Abs (x) }'), step)  # fmt: skip
    code, out, _ = run(
        capsys, "profile", model, "--shape", "x=1,3,8,8", "--runtime", "ort-basic", "--threads", "1", *FAST,
        "--precision", "fp32", "--pipeline", "--before", step, "--after", step, "--frame", "12x10", "--no-keep",
        "--memory", "--json",
    )  # fmt: skip
    assert code in (0, 3)
    document = json.loads(out)
    assert set(document) == KEYS
    assert document["model"] == "net"
    assert document["latency"]["median_ms"] == document["expected_ms"] > 0
    assert set(document["conditions"]) >= {"before", "after", "load_ms", "first_run_ms"}
    assert sum(kernel["share"] for kernel in document["kernels"]) == pytest.approx(1)
    assert set(document["kernels"][0]) == {
        "name", "op", "kernel_hash", "signature", "outputs", "nodes", "share", "latency_ms",
    }  # fmt: skip
    steps = [row["step"] for row in document["pipeline"]]
    assert {"before: step", "inference: net", "after: step", "copy in", "create session, cold"} <= set(steps)
    assert [path["probability"] for path in document["paths"]] == [1.0]
    memory = document["memory"]
    assert (memory["outcome"], memory["status"], memory["repetitions"]) == ("ok", "ok", 3)
    # A few kilobytes of weights; the rest is the code of its kernels.
    assert memory["overhead_bytes"] < memory["peak_bytes"] < memory["overhead_bytes"] + 10_000_000


def test_the_table_shows_the_latency_the_kernels_and_the_nodes_and_the_row_is_kept(
    tmp_path: Path, database: Path, capsys: Captured
) -> None:
    code, out, _ = run(capsys, "profile", save(tmp_path / "net.onnx"), *FAST, "--frame", "12x10", "--memory")
    assert "at the peak of a run" in out
    assert code in (0, 3)
    for words in ("median", "p99", "visits rejected", "Kernels by share of the time", "classifier", "Gemm"):
        assert words in out
    for words in ("Around the inference", "before: frame 12x10 to tensor", "after: best 5 of 10"):
        assert words in out
    with Store(database) as store:
        assert {m.purpose for m in store.measurements(usable_only=False)} == {"profile", "memory"}


def test_control_flow_needs_its_options_and_shows_every_way(tmp_path: Path, capsys: Captured) -> None:
    model = tmp_path / "choice.onnx"
    onnx.save(onnx.parser.parse_model(CHOICE), model)
    code, _, err = run(capsys, "profile", model, *FAST, "--no-keep")
    assert code == 2
    assert "--branch gate=P" in err
    code, _, err = run(capsys, "profile", model, *FAST, "--no-keep", "--branch", "gate=0.25")
    assert code == 2
    assert "--trips again=N" in err
    stated = ("--branch", "gate=0.25", "--trips", "again=4")
    code, out, _ = run(capsys, "profile", model, *FAST, "--no-keep", *stated)
    assert code in (0, 3)
    for words in ("Ways through the model's control flow", "gate=else, again×4", "75.0 %", "expected:"):
        assert words in out
    code, _, err = run(capsys, "profile", model, *FAST, "--no-keep", *stated, "--branch", "door=0.5")
    assert code == 2
    assert "'door'" in err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--ci", "0%"), 2, "write it like 2%"),
        (("--ci", "200%"), 2, "write it like 2%"),
        (("--ci", "narrow"), 2, "write it like 2%"),
        (("--max-time", "0s"), 2, "more than 0 s"),
        (("--max-time", "soon"), 2, "write it like 90s"),
        (("--preset", "hasty"), 2, "quick"),
        (("--branch", "gate=2"), 2, "no probability"),
        (("--branch", "0.5"), 2, "no probability"),
        (("--trips", "again=-1"), 2, "no number of trips"),
        (("--frame", "12"), 2, "480x640"),
        (("--frame", "0x9"), 2, "480x640"),
        (("--shape", "x=0"), 2, "no shape"),
        (("--shape", "z=1,3,8,8"), 2, "z"),
        (("--threads", "99999"), 2, "threads were asked for"),
        (("--precision", "fp8"), 2, "int8-qdq"),
        (("--runtime", "ort-cuda"), 2, "it has"),
        (("--runtime", "nothing"), 2, "there is no runtime 'nothing'"),
        (("--branch", "gate=0.5"), 2, "has no If"),
        (("--before", "missing.onnx"), 6, "missing.onnx"),
    ],
)
def test_wrong_usage_has_its_exit_code_and_says_what_would_be_right(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path, capsys: Captured
) -> None:
    found, out, err = run(capsys, "profile", save(tmp_path / "net.onnx"), "--no-keep", *FAST, *arguments)
    assert (found, out) == (code, "")
    assert said in err


def test_a_model_that_computes_no_number_gets_the_code_of_models(tmp_path: Path, capsys: Captured) -> None:
    model = tmp_path / "root.onnx"
    onnx.save(onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> s (float[9] x) => (float[9] y) '
                                      '{ y = Sqrt (x) }'), model)  # fmt: skip
    code, out, err = run(capsys, "profile", model, *FAST)
    assert (code, out) == (6, "")
    assert "NaN" in err


def test_a_runtime_that_computes_half_precision_in_single_says_so(tmp_path: Path, capsys: Captured) -> None:
    code, out, _ = run(capsys, "kernels", save(tmp_path / "net.onnx"), "--precision", "fp16", "--json")
    assert code == 0
    emulates = any("float32" in kernel["dtype"] or kernel["op"] == "Cast" for kernel in json.loads(out)["kernels"])
    code, out, _ = run(capsys, "profile", save(tmp_path / "net.onnx"), *FAST, "--no-keep", "--precision", "fp16")
    assert code in (0, 3)
    assert ("computes in 32 bits" in out) == emulates


def test_the_kernels_are_listed_without_running_with_the_nodes_of_each(tmp_path: Path, capsys: Captured) -> None:
    model = save(tmp_path / "net.onnx")
    code, out, _ = run(capsys, "kernels", model)
    assert code == 0
    for words in ("convolution", "distinct, in order of execution", "of 5 ONNX nodes cost nothing"):
        assert words in out
    code, out, _ = run(capsys, "kernels", model, "--runtime", "ort-basic", "--json")
    assert code == 0
    document = json.loads(out)
    assert set(document) == {"schema_version", "model", "graph_hash", "profile", "kernels", "folded_nodes", "paths"}
    listed = [node for kernel in document["kernels"] for node in kernel["nodes"]] + document["folded_nodes"]
    assert set(listed) == {"convolution", "gate", "pool", "flatten", "classifier"}
    assert set(document["kernels"][0]) == {
        "op", "name", "signature", "kernel_hash", "inputs", "weights", "outputs", "attributes", "dtype", "nodes",
    }  # fmt: skip
    assert not (tmp_path / "test.sqlite").exists()


def test_the_kernels_of_a_model_with_open_shapes_need_shapes(tmp_path: Path, capsys: Captured) -> None:
    model = save(tmp_path / "net.onnx", batch="n")
    code, _, err = run(capsys, "kernels", model)
    assert code == 6
    assert "--shape" in err
    code, out, _ = run(capsys, "kernels", model, "--shape", "x=2,3,8,8", "--json")
    assert code == 0
    assert [kernel["outputs"] for kernel in json.loads(out)["kernels"]][-1] == [[2, 10]]
