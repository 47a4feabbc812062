"""The runner with TVM: libraries from the real compiler, in the real virtual machine, one process for all tests."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edgecost.costmodels.profile_model import profile
from edgecost.profiler.bench import Bench
from edgecost.profiler.client import RUNNER, RunnerClient
from edgecost.profiler.errors import MissingPackage, RunnerError, UsageError
from edgecost.profiler.graphs.blocks import InvertedResidual
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.by_runtime import runtime_kernels
from edgecost.profiler.kernels.nodes import match_calls
from edgecost.profiler.loading import LoadRefused
from edgecost.profiler.protocol import runner_rules
from edgecost.profiler.records import RuntimeProfile, Status
from edgecost.profiler.runtimes import BUILT_IN, resolve
from edgecost.profiler.tvm.client import TvmCompiler, compile_request
from edgecost.profiler.worker import Answer, RunnerDied
from edgecost.profiler.workload import Workload, workload_from_model

if importlib.util.find_spec("tvm") is None:
    pytest.skip("TVM is not installed: pip install 'edgecost[tvm]'", allow_module_level=True)

TIMEOUT_S = 60.0
#: Real for 0 and 1 only: the root of any other whole number times one minus it is not a number.
BITS_ONLY = """
<ir_version: 8, opset_import: ["" : 17]>
bits (int64[4,16] x) => (float[4,16] y) {
    f = Cast <to = 1> (x)
    one = Constant <value = float {1.0}> ()
    rest = Sub (one, f)
    product = Mul (f, rest)
    y = Sqrt (product)
}"""
#: Half of all normal numbers have no real root.
ROOTS = """
<ir_version: 8, opset_import: ["" : 17]>
roots (float[4,16] x) => (float[4,16] y) { y = Sqrt (x) }"""
ANY_SHAPE = """
<ir_version: 8, opset_import: ["" : 17]>
any (float[n,16] x) => (float[n,16] y) { y = Relu (x) }"""


@pytest.fixture(scope="module")
def runtime() -> RuntimeProfile:
    return resolve(BUILT_IN["tvm"])


@pytest.fixture(scope="module")
def bench(runtime: RuntimeProfile) -> Iterator[Bench]:
    with Bench.for_profile(runtime) as made:
        yield made


@pytest.fixture(scope="module")
def runner(runtime: RuntimeProfile, bench: Bench) -> Iterator[RunnerClient]:
    with RunnerClient(bench.supply, runtime, runner_rules()) as made:
        yield made


def parsed(text: str) -> Workload:
    return workload_from_model("parsed", "operator", onnx.parser.parse_model(text))


def twins() -> Workload:
    """Two blocks alike but for their weights: one function of the library is called from both."""
    block = InvertedResidual(out=8, mid=16, kernel=3, stride=1, activation="relu", squeeze=0)
    graph = GraphBuilder("twins")
    made = block.build(graph, block.build(graph, graph.input((1, 8, 10, 10))))
    return workload_from_model("twins", "block", graph.model(made), tuple(graph.weights))


def ask(runner: RunnerClient, request: Answer) -> Answer:
    runner.send(request)
    return runner.receive(TIMEOUT_S)


@contextmanager
def loaded(runner: RunnerClient, bench: Bench, workload: Workload) -> Iterator[Answer]:
    """The answer to loading a workload as ``it``; afterwards the runner has forgotten it."""
    yield ask(runner, bench.loader.request("it", workload, 0))
    assert ask(runner, {"verb": "unload", "id": "it"})["event"] == "unloaded"


def test_each_timed_call_brings_one_cpu_time_for_all_its_runs(runner: RunnerClient, bench: Bench) -> None:
    rules = runner_rules()
    with loaded(runner, bench, twins()) as answer:
        assert answer["event"] == "loaded", answer
        runner.send({"verb": "round", "order": ["it"]})
        answers = [runner.receive(TIMEOUT_S) for _ in range(3)]
    assert [answer["event"] for answer in answers] == ["begin", "visit", "round_done"]
    wall_ns, cpu_ns = answers[1]["wall_ns"], answers[1]["cpu_ns"]
    assert isinstance(wall_ns, list)
    assert isinstance(cpu_ns, list)
    assert rules["runs_min"] <= len(wall_ns) <= rules["runs_max"]
    assert len(cpu_ns) == 1
    assert min(wall_ns) > 0
    assert min(cpu_ns) >= 0


def test_an_output_that_is_no_number_is_refused(runner: RunnerClient, bench: Bench) -> None:
    with loaded(runner, bench, parsed(ROOTS)) as answer:
        assert (answer["event"], answer["outcome"]) == ("failed", "invalid_output")


def test_whole_numbers_are_fed_as_zeros_and_ones(runner: RunnerClient, bench: Bench) -> None:
    with loaded(runner, bench, parsed(BITS_ONLY)) as answer:
        assert answer["event"] == "loaded", answer


def test_every_call_of_a_run_finds_the_kernel_that_it_is(
    runner: RunnerClient, bench: Bench, runtime: RuntimeProfile
) -> None:
    workload = twins()
    answer = ask(runner, {**bench.loader.request("it", workload, 0), "verb": "profile", "runs": 3})
    records = answer["kernels"]
    assert isinstance(records, list)
    assert all(len(record["times_ns"]) == 3 and min(record["times_ns"]) > 0 for record in records)
    kernels = runtime_kernels(workload, runtime).kernels
    places = match_calls(kernels, records)
    # The twin's calls have the names of the first block's, and are its own kernels all the same.
    assert [place for place in places if place is not None] == list(range(len(kernels)))
    assert len({kernel.name for kernel in kernels}) < len(kernels)


def test_copies_in_and_out_are_timed(runner: RunnerClient, bench: Bench) -> None:
    with loaded(runner, bench, twins()):
        answer = ask(runner, {"verb": "copies", "id": "it", "runs": 5})
    for way in ("in_ns", "out_ns"):
        times = answer[way]
        assert isinstance(times, list)
        assert len(times) == 5
        assert min(times) > 0


@pytest.mark.parametrize("content", [b"", b"\x7fELF and nothing more"])
def test_a_broken_library_is_an_outcome_and_the_runner_goes_on(
    content: bytes, runner: RunnerClient, bench: Bench, tmp_path: Path
) -> None:
    request = bench.loader.request("it", twins(), 0)
    broken = tmp_path / "lib.so"
    broken.write_bytes(content)
    answer = ask(runner, {**request, "library": str(broken)})
    assert (answer["event"], answer["outcome"]) == ("failed", "invalid_model")
    with loaded(runner, bench, twins()) as answer:
        assert answer["event"] == "loaded", answer


def test_a_library_that_was_cut_short_ends_the_runner_not_the_asking_side(
    runtime: RuntimeProfile, bench: Bench, tmp_path: Path
) -> None:
    request = bench.loader.request("it", twins(), 0)
    cut = tmp_path / "lib.so"
    cut.write_bytes(Path(str(request["library"])).read_bytes()[:5000])
    with RunnerClient(bench.supply, runtime, runner_rules()) as victim, pytest.raises(RunnerDied) as caught:
        ask(victim, {**request, "library": str(cut)})
    # The system's loader trusts the file's own word for its length, and meets its end.
    assert caught.value.status is Status.SEGFAULT


def test_a_runner_that_is_reached_over_a_link_still_finds_the_real_tvm(tmp_path: Path) -> None:
    (tmp_path / "edgecost").symlink_to(RUNNER.resolve().parent.parent)
    there = tmp_path / "edgecost" / "profiler" / "runner.py"
    ended = subprocess.run([sys.executable, str(there), "--describe"], capture_output=True, check=True, timeout=60)
    assert json.loads(ended.stdout)["runtimes"]["tvm"]["providers"] == ["llvm"]


def without_tvm(tmp_path: Path) -> str:
    """An interpreter that does not find TVM."""
    (tmp_path / "shadow" / "tvm").mkdir(parents=True)
    (tmp_path / "shadow" / "tvm" / "__init__.py").write_text("raise ModuleNotFoundError('no tvm here', name='tvm')\n")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path / "shadow"}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_an_interpreter_without_tvm_is_told_how_to_get_it(tmp_path: Path) -> None:
    lacking = replace(BUILT_IN["tvm"], name="lacking", interpreter=without_tvm(tmp_path))
    with pytest.raises(MissingPackage) as caught:
        resolve(lacking)
    assert "pip install 'edgecost[tvm]'" in caught.value.remedy


def test_a_compiler_without_tvm_is_told_how_to_get_it(
    runtime: RuntimeProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", without_tvm(tmp_path))
    compiler = TvmCompiler(runtime)
    with pytest.raises(MissingPackage) as caught:
        compiler.opened()
    assert "pip install 'edgecost[tvm]'" in caught.value.remedy


@pytest.fixture(scope="module")
def compiler(runtime: RuntimeProfile) -> Iterator[TvmCompiler]:
    made = TvmCompiler(runtime)
    yield made
    made.close()


def asked(runtime: RuntimeProfile, model: str, folder: Path, **changes: object) -> Answer:
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(model), path)
    request = {**compile_request(runtime), "id": "it", "model_path": str(path), "folder": str(folder), **changes}
    return request  # type: ignore[return-value]  # the changes are JSON


@pytest.mark.parametrize(
    ("status", "model", "changes"),
    [
        (Status.DYNAMIC_SHAPE, ANY_SHAPE, {}),
        (Status.INVALID_TARGET, ROOTS, {"target": {"kind": "llvm", "mcpu": "abacus"}}),
        (Status.INVALID_TARGET, ROOTS, {"target": "llvm"}),
        (Status.MISSING_TOOL, ROOTS, {"target": {"kind": "llvm", "mtriple": "hppa-linux-gnu"}}),
        (Status.UNSUPPORTED_OPERATOR, ROOTS.replace("Sqrt", "acme.Frob").replace("17]", '17, "acme" : 1]'), {}),
    ],
)
def test_what_the_compiler_refuses_is_an_outcome(
    status: Status,
    model: str,
    changes: dict[str, object],
    runtime: RuntimeProfile,
    compiler: TvmCompiler,
    tmp_path: Path,
) -> None:
    with pytest.raises(LoadRefused) as caught:
        compiler.ask(asked(runtime, model, tmp_path, **changes), TIMEOUT_S)
    assert caught.value.status is status
    assert caught.value.message


def test_profiling_for_a_cpu_that_nobody_knows_names_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(ANY_SHAPE.replace("n,16", "4,16")), path)
    unknown = resolve(replace(BUILT_IN["tvm"], options=(("mcpu", "abacus"),)))
    with pytest.raises(UsageError, match="LLVM knows no CPU abacus"):
        profile(path, runtime=unknown)


def test_a_refusal_of_an_unknown_kind_is_our_own_fault(
    runtime: RuntimeProfile, compiler: TvmCompiler, tmp_path: Path
) -> None:
    wrong = asked(runtime, ROOTS, tmp_path, verb="tune", trials="many", timeout_s=1.0, seed=0, database=str(tmp_path))
    with pytest.raises(RunnerError, match="trials is a number"):
        compiler.ask(wrong, TIMEOUT_S)


def test_a_compiler_that_dies_is_an_outcome_and_the_next_request_starts_another(
    runtime: RuntimeProfile, compiler: TvmCompiler, tmp_path: Path
) -> None:
    with pytest.raises(LoadRefused, match="while TVM compiled it") as caught:
        compiler.ask(asked(runtime, ROOTS, tmp_path, verb="frobnicate"), TIMEOUT_S)
    assert caught.value.status is Status.CRASHED
    answer = compiler.ask(asked(runtime, ROOTS, tmp_path), TIMEOUT_S)
    assert answer["event"] == "compiled"
    assert (tmp_path / "lib.so").read_bytes()[:4] == b"\x7fELF"
