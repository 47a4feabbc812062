"""The TVM compiler process: libraries that compute what ONNX Runtime computes, kernels with their ONNX nodes."""

from __future__ import annotations

import importlib.util
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler.graphs.blocks import InvertedResidual
from edgecost.profiler.graphs.operators import Activation, GraphBuilder
from edgecost.profiler.tvm.compiler import TUNING_VERSIONS, tuning_refusal
from edgecost.profiler.weights import complete
from edgecost.profiler.worker import Answer, Spawned, Worker

if importlib.util.find_spec("tvm") is None:
    pytest.skip("TVM is not installed: pip install 'edgecost[tvm]'", allow_module_level=True)

COMMAND = [sys.executable, "-m", "edgecost.profiler.tvm.compiler"]
TIMEOUT_S = 120.0
#: Without a CPU named LLVM takes the oldest of this machine's family, which every machine of it can run.
TARGET: dict[str, object] = {"kind": "llvm", "num-cores": 1}
#: Loads a library in TVM's runtime-only mode, runs it on the arrays given, then calls each kernel alone.
RUN = """
import json, os, sys
os.environ["TVM_USE_RUNTIME_LIB"] = "1"
import numpy as np, tvm
from tvm.runtime import load_module
from tvm.runtime.vm import VirtualMachine
folder = sys.argv[1]
document = json.load(open(folder + "/artefact.json"))
given = np.load(folder + "/inputs.npz")
module = load_module(folder + "/lib.so")
machine = VirtualMachine(module, tvm.cpu())
machine.set_input("main", *(tvm.runtime.tensor(given[slot["name"]]) for slot in document["inputs"]))
machine.invoke_stateful("main")
made = machine.get_outputs("main")
made = [made] if hasattr(made, "numpy") else list(made)
np.savez(folder + "/outputs.npz", *(value.numpy() for value in made))
(library,) = module.imports
for kernel in document["kernels"]:
    values = [tvm.runtime.tensor(np.ones(shape, dtype)) for dtype, shape in kernel["arguments"]]
    timer = library.time_evaluator(kernel["name"], tvm.cpu(), number=1, repeat=2)
    assert len(timer(*values).results) == 2, kernel["name"]
"""
FLOAT = TensorProto.FLOAT
RESIDUAL = InvertedResidual(out=8, mid=16, kernel=3, stride=1, activation="hard_swish", squeeze=8)


@pytest.fixture(scope="module")
def compiler() -> Iterator[Worker]:
    with Worker(Spawned.start(COMMAND, {})) as worker:
        assert ask(worker, "open")["event"] == "opened"
        yield worker


def ask(worker: Worker, verb: str, **request) -> Answer:
    worker.send({"verb": verb, "id": "it", **request})
    return worker.receive(TIMEOUT_S)


def build(graph: GraphBuilder, *outputs: str) -> bytes:
    return complete(graph.model(*outputs).SerializeToString(), tuple(graph.weights))


def custom(
    nodes: list[onnx.NodeProto],
    shape: list[int | str],
    out: list[int],
    *constants: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    opset: int = 17,
) -> bytes:
    """A graph from ``x`` to ``y`` with the constants ``c0``, ``c1``, ..."""
    domains = {node.domain for node in nodes} - {""}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, out)],
        [numpy_helper.from_array(value, f"c{index}") for index, value in enumerate(constants)],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())


def floats(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def residual_chain() -> bytes:
    graph = GraphBuilder("chain")
    x = graph.input((1, 8, 10, 10))
    return build(graph, graph.add(graph.conv(x, 8, kernel=3, activation="relu"), x))


def twin_blocks() -> bytes:
    """Two blocks alike but for their weights: fusion makes one function of both. Then a classifier."""
    graph = GraphBuilder("twins")
    x = RESIDUAL.build(graph, RESIDUAL.build(graph, graph.input((1, 8, 10, 10))))
    return build(graph, graph.linear(x, 5))


def attention() -> bytes:
    """Softmax attention of one head with three projections alike, layer normalisation before it."""
    make = helper.make_node
    nodes = [
        make("LayerNormalization", ["x", "c0", "c0"], ["n"], axis=-1),
        make("MatMul", ["n", "c1"], ["q"]),
        make("MatMul", ["n", "c2"], ["k"]),
        make("MatMul", ["n", "c3"], ["v"]),
        make("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        make("MatMul", ["q", "kt"], ["s"]),
        make("Softmax", ["s"], ["p"], axis=-1),
        make("MatMul", ["p", "v"], ["o"]),
        make("Add", ["o", "x"], ["y"]),
    ]
    return custom(nodes, [1, 6, 16], [1, 6, 16], floats(16), floats(16, 16), floats(16, 16) + 1, floats(16, 16) - 1)


def resized() -> bytes:
    scales = np.array([1, 1, 2, 2], np.float32)
    nodes = [helper.make_node("Resize", ["x", "", "c0"], ["r"], mode="nearest"), helper.make_node("Relu", ["r"], ["y"])]
    return custom(nodes, [1, 4, 5, 5], [1, 4, 10, 10], scales)


GRAPHS = {"chain": residual_chain, "twins": twin_blocks, "attention": attention, "resize": resized}


def fields(model: bytes, folder: Path) -> dict[str, object]:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return {"model_path": str(path), "target": TARGET, "folder": str(folder), "pipeline": "default"}


def table(compiler: Worker, model: bytes, folder: Path) -> tuple[list[tuple[str, list[int]]], list[int]]:
    """Operator and nodes of every kernel, and the folded nodes."""
    answer = ask(compiler, "kernels", **fields(model, folder))
    assert answer["event"] == "kernels", answer
    return [(kernel["op"], kernel["nodes"]) for kernel in answer["kernels"]], answer["folded"]


def run_library(folder: Path, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the library in a folder computes; every one of its kernels is also run alone."""
    np.savez(folder / "inputs.npz", **inputs)
    done = subprocess.run([sys.executable, "-c", RUN, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "outputs.npz") as made:
        return [made[name] for name in made.files]


@pytest.mark.parametrize(
    ("name", "pipeline"), [*((name, "default") for name in GRAPHS), ("chain", "zero"), ("attention", "schedules")]
)
def test_a_library_computes_what_onnx_runtime_computes(
    name: str, pipeline: str, compiler: Worker, tmp_path: Path
) -> None:
    model = GRAPHS[name]()
    request = fields(model, tmp_path) | {"pipeline": pipeline}
    artefact = ask(compiler, "compile", **request)["artefact"]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = {slot.name: floats(*slot.shape) for slot in session.get_inputs()}
    made = run_library(tmp_path, inputs)
    for right, found, slot in zip(session.run(None, inputs), made, artefact["outputs"], strict=True):
        assert slot["shape"] == list(right.shape)
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)


def test_what_the_compiler_says_when_it_is_opened(compiler: Worker) -> None:
    answer = ask(compiler, "open")
    assert "llvm" in answer["targets"]
    assert answer["tuning"] == tuning_refusal(str(answer["runtime_version"]), str(answer["ffi_version"]))
    assert answer["host_target"]["num-cores"] == 1


def test_versions_that_crash_in_tuning_are_refused_with_the_pin_that_helps() -> None:
    ((version, known),) = TUNING_VERSIONS.items()
    assert tuning_refusal(version, known[0]) == ""
    assert f"apache-tvm-ffi=={known[0]}" in tuning_refusal(version, "0.1.15.post2")


def test_a_fused_kernel_names_all_its_nodes(compiler: Worker, tmp_path: Path) -> None:
    assert table(compiler, residual_chain(), tmp_path) == ([("conv2d+add+relu+add", [0, 1, 2])], [])


def test_equal_blocks_keep_their_own_nodes(compiler: Worker, tmp_path: Path) -> None:
    kernels, folded = table(compiler, twin_blocks(), tmp_path)
    half = len(kernels) // 2
    assert kernels[:half] == [(op, [node - 12 for node in nodes]) for op, nodes in kernels[half:-1]]
    assert [nodes for _, nodes in kernels[:half]] == [[0, 1], [2, 3], [4], [5, 6], [7, 8, 9], [10, 11]]
    # Flattening before the classifier is a view.
    assert (kernels[-1], folded) == (("matmul+add", [25]), [24])


def test_projections_alike_but_for_their_weights_are_told_apart(compiler: Worker, tmp_path: Path) -> None:
    kernels, folded = table(compiler, attention(), tmp_path)
    assert [nodes for op, nodes in kernels if op == "matmul"][:3] == [[1], [2], [3]]
    assert [nodes for op, nodes in kernels if "softmax" in op] == [[6]]
    assert [nodes for op, nodes in kernels if op == "layer_norm"] == [[0]]
    assert folded == []


def test_a_reshape_that_the_graph_returns_is_copied_and_counts(compiler: Worker, tmp_path: Path) -> None:
    shape = np.array([1, 800], np.int64)
    model = custom([helper.make_node("Reshape", ["x", "c0"], ["y"])], [1, 8, 10, 10], [1, 800], shape)
    assert table(compiler, model, tmp_path) == ([("reshape", [0])], [])


def test_work_on_constants_is_folded(compiler: Worker, tmp_path: Path) -> None:
    nodes = [helper.make_node("Exp", ["c0"], ["e"]), helper.make_node("Mul", ["x", "e"], ["y"])]
    assert table(compiler, custom(nodes, [4, 8], [4, 8], floats(8)), tmp_path) == ([("multiply", [1])], [0])


def test_both_branches_of_an_if_belong_to_it(compiler: Worker, tmp_path: Path) -> None:
    def branch(op: str) -> onnx.GraphProto:
        value = helper.make_tensor_value_info(op, FLOAT, [4, 8])
        return helper.make_graph([helper.make_node(op, ["x"], [op])], op, [], [value])

    choose = helper.make_node("If", ["c0"], ["z"], then_branch=branch("Relu"), else_branch=branch("Sigmoid"))
    model = custom([choose, helper.make_node("Tanh", ["z"], ["y"])], [4, 8], [4, 8], np.array(True))
    kernels, folded = table(compiler, model, tmp_path)
    assert (kernels, folded) == ([("relu", [0]), ("sigmoid", [0]), ("tanh", [1])], [])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.sampled_from(["conv", "depthwise", "squeeze", "pool", "shuffle", "twice"]), min_size=1, max_size=5
    ),
    activation=st.sampled_from(["", "relu", "relu6", "hard_swish", "sigmoid"]),
)
def test_every_kernel_has_a_node_and_every_node_a_kernel_or_none(
    steps: list[str], activation: Activation, compiler: Worker, tmp_path: Path
) -> None:
    graph = GraphBuilder("any")
    x = graph.input((1, 8, 6, 6))
    for step in steps:
        if step == "conv":
            x = graph.conv(x, 8, activation=activation)
        elif step == "depthwise":
            x = graph.depthwise(x, kernel=3, activation=activation)
        elif step == "squeeze":
            x = graph.squeeze_excite(x, 4)
        elif step == "pool":
            x = graph.pool(x, kernel=3, stride=1, kind="max")
        elif step == "shuffle":
            x = graph.channel_shuffle(x, 2)
        else:
            x = graph.add(x, x)
    kernels, folded = table(compiler, build(graph, x), tmp_path)
    executed = {node for _, nodes in kernels for node in nodes}
    assert all(nodes for _, nodes in kernels)
    assert executed.isdisjoint(folded)
    assert executed | set(folded) == set(range(len(graph.nodes)))


@pytest.mark.parametrize(
    ("outcome", "model"),
    [
        ("invalid_model", b"no model"),
        ("invalid_model", custom([helper.make_node("MatMul", ["x", "c0"], ["y"])], [2, 3], [2, 4], floats(5, 4))),
        ("dynamic_shape", custom([helper.make_node("Relu", ["x"], ["y"])], ["N", 3], [2, 3])),
        ("unsupported_operator", custom([helper.make_node("Relu", ["x"], ["y"], domain="mine")], [2, 3], [2, 3])),
        ("unsupported_operator", custom([helper.make_node("Det", ["x"], ["y"])], [2, 2], [])),
    ],
)
def test_a_model_that_fails_names_its_cause(outcome: str, model: bytes, compiler: Worker, tmp_path: Path) -> None:
    answer = ask(compiler, "compile", **fields(model, tmp_path))
    assert (answer["event"], answer["outcome"]) == ("failed", outcome), answer


@pytest.mark.parametrize(
    "wrong", [{"kind": "llvm", "mcpu": "abacus"}, {"kind": "c"}, {"kind": "llvm", "size": "small"}]
)
def test_a_target_that_is_none_is_refused(wrong: dict[str, str], compiler: Worker, tmp_path: Path) -> None:
    answer = ask(compiler, "compile", **fields(residual_chain(), tmp_path) | {"target": wrong})
    assert answer["outcome"] == "invalid_target"


def compile_for(cpu: str, compiler: Worker, folder: Path) -> Answer:
    target = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": cpu, "num-cores": 4}
    return ask(compiler, "compile", **fields(residual_chain(), folder) | {"target": target})


@pytest.mark.parametrize("cpu", ["cortex-a57", "cortex-a72", "cortex-a76"])
@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="apt-get install gcc-aarch64-linux-gnu")
def test_a_library_for_a_board_is_an_aarch64_elf(cpu: str, compiler: Worker, tmp_path: Path) -> None:
    assert compile_for(cpu, compiler, tmp_path)["event"] == "compiled"
    header = (tmp_path / "lib.so").read_bytes()[:20]
    assert (header[:4], struct.unpack_from("<H", header, 18)) == (b"\x7fELF", (0xB7,))


def test_a_missing_cross_compiler_is_named_with_its_package(tmp_path: Path) -> None:
    with Worker(Spawned.start(COMMAND, {"PATH": str(tmp_path)})) as compiler:
        answer = compile_for("cortex-a72", compiler, tmp_path)
    assert answer["outcome"] == "missing_tool"
    assert "apt-get install gcc-aarch64-linux-gnu" in str(answer["message"])
