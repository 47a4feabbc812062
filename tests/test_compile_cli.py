"""``edgecost compile``: a folder that TVM's runtime alone can run, for this machine and for boards."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from edgecost.cli.compile import compile_model
from edgecost.costmodels.compilation import BOARD_CPUS, for_cpu
from edgecost.profiler.errors import EdgecostError, MissingPackage, OutputError, UsageError
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.runtimes import BUILT_IN, runs_elsewhere
from edgecost.profiler.weights import complete

if importlib.util.find_spec("tvm") is None:
    pytest.skip("TVM is not installed: pip install 'edgecost[tvm]'", allow_module_level=True)

needs_cross_compiler = pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-gcc") is None, reason="apt-get install gcc-aarch64-linux-gnu"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has no runtimes of its own and nothing tuned."""
    monkeypatch.setenv("EDGECOST_DB", str(tmp_path / "test.sqlite"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = GraphBuilder("little")
    made = graph.linear(graph.activate(graph.conv(graph.input((1, 4, 8, 8)), 4), "relu"), 5)
    path = tmp_path / "little.onnx"
    path.write_bytes(complete(graph.model(made).SerializeToString(), tuple(graph.weights)))
    return path


def ask(*arguments: str | Path) -> tuple[int, str]:
    """Exit code, and what was said; an error of ours ends the command with its code."""
    result = CliRunner().invoke(compile_model, [str(argument) for argument in arguments])
    if isinstance(result.exception, EdgecostError):
        return result.exception.exit_code, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout


def test_the_folder_runs_without_edgecost_and_computes_what_onnx_runtime_computes(model: Path, tmp_path: Path) -> None:
    code, out = ask(model, "--out", tmp_path / "built", "--json")
    assert code == 0
    told = json.loads(out)
    assert set(told["compile_ms"]) == {"import", "pipeline", "codegen", "export"}
    assert min(told["compile_ms"].values()) > 0
    assert told["library_bytes"] == (tmp_path / "built" / "lib.so").stat().st_size
    assert told["kernels"] > 0
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (slot,) = session.get_inputs()
    given = np.random.default_rng(0).normal(size=slot.shape).astype(np.float32)
    np.savez(tmp_path / "in.npz", **{slot.name: given})
    moved = (tmp_path / "built").rename(tmp_path / "moved")
    command = [sys.executable, str(moved / "run.py")]
    files = ["--inputs", str(tmp_path / "in.npz"), "--outputs", str(tmp_path / "out.npz")]
    ended = subprocess.run([*command, "--runs", "7", *files], capture_output=True, text=True, cwd="/", timeout=60)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert (report["runs"], report["threads"], report["has_nan"], report["model"]) == (7, 1, False, "little")
    assert 0 < report["min_ms"] <= report["median_ms"] <= report["p90_ms"]
    with np.load(tmp_path / "out.npz") as made:
        np.testing.assert_allclose(made["output0"], session.run(None, {slot.name: given})[0], rtol=1e-4, atol=1e-5)


@needs_cross_compiler
def test_for_a_board_the_library_is_aarch64_with_every_kernel_in_it(model: Path, tmp_path: Path) -> None:
    # A board may have more cores than this machine.
    folder = tmp_path / "pi"
    code, out = ask(model, "--cpu", "cortex-a72", "--threads", "64", "--out", folder)
    assert code == 0
    assert "cortex-a72" in out
    library = (folder / "lib.so").read_bytes()
    assert (library[:4], struct.unpack_from("<H", library, 18)) == (b"\x7fELF", (0xB7,))
    document = json.loads((folder / "artefact.json").read_text())
    assert document["target"]["num-cores"] == 64
    assert document["profile"]["threads"] == 64
    assert document["kernels"]
    assert all(kernel["name"].encode() in library for kernel in document["kernels"])


@pytest.mark.skipif(platform.machine() == "aarch64", reason="nothing is crossed here")
def test_a_missing_cross_compiler_is_an_error_that_names_its_package(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, said = ask(model, "--cpu", "cortex-a76", "--out", tmp_path / "pi")
    assert code == MissingPackage.exit_code
    assert "apt-get install gcc-aarch64-linux-gnu" in said


def test_a_cpu_that_llvm_does_not_know_is_a_usage_error(model: Path, tmp_path: Path) -> None:
    code, said = ask(model, "--cpu", "abacus", "--out", tmp_path / "built")
    assert code == UsageError.exit_code
    assert "abacus" in said


def test_a_folder_that_cannot_be_written_is_an_output_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    code, said = ask(model, "--out", tmp_path / "taken" / "built")
    assert code == OutputError.exit_code
    assert "taken" in said


@pytest.mark.skipif(platform.machine() == "aarch64", reason="its code can be tuned here")
def test_a_board_has_no_records_of_this_machine(model: Path, tmp_path: Path) -> None:
    code, said = ask(model, "--cpu", "cortex-a57", "--runtime", "tvm-tuned", "--out", tmp_path / "built")
    assert code == UsageError.exit_code
    assert "only the machine that runs the code can tune it" in said


def test_only_tvm_compiles_ahead_of_time(model: Path, tmp_path: Path) -> None:
    code, said = ask(model, "--runtime", "ort", "--out", tmp_path / "built")
    assert code == UsageError.exit_code
    assert "--runtime tvm" in said


def test_the_help_names_the_boards_of_the_table() -> None:
    said = " ".join(CliRunner().invoke(compile_model, ["--help"]).stdout.split())
    for cpu in BOARD_CPUS.values():
        assert f"{cpu.name} ({cpu.board})" in said


def test_a_known_cpu_brings_its_triple_and_drops_what_was_said_of_another() -> None:
    mine = replace(BUILT_IN["tvm"], options=(("mattr", "+avx2"), ("mcpu", "znver3"), ("other", "kept")))
    made = dict(for_cpu(mine, "cortex-a57").options)
    assert made == {"mcpu": "cortex-a57", "mtriple": "aarch64-linux-gnu", "other": "kept"}
    assert dict(for_cpu(mine, "cortex-a57", "aarch64-linux-android").options)["mtriple"] == "aarch64-linux-android"
    assert for_cpu(mine) == mine
    assert runs_elsewhere((("mtriple", "hppa-linux-gnu"),))
    assert not runs_elsewhere(mine.options)
    with pytest.raises(UsageError, match="the CPU must be named"):
        for_cpu(mine, "host", "aarch64-linux-gnu")
