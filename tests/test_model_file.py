"""Reading ONNX files: what can be measured comes out whole, what cannot is refused with its reason and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler.errors import (
    BrokenModel,
    DynamicShape,
    ExternalDataMissing,
    ModelError,
    UnsupportedOperator,
    UsageError,
)
from edgecost.profiler.identity import hash_graph
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.model_file import read_model
from edgecost.profiler.runtimes import host_profile

Dims = list[int | str | None]


def tensor(name: str, shape: Dims | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def floats(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(0).normal(size=shape).astype(np.float32), name)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: list[onnx.TensorProto] | None = None,
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants or [])
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def linear(shape: Dims | None = None, out: Dims | None = None) -> onnx.ModelProto:
    """x · w with a bias and a Reshape, whose target is a structural constant."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Reshape", ["a", "target"], ["y"]),
    ]
    target = numpy_helper.from_array(np.array([-1, 2, 64], np.int64), "target")
    constants = [floats("w", 64, 128), floats("b", 128), target]
    return model(nodes, [tensor("x", shape or [3, 64])], [tensor("y", out or [3, 2, 64])], constants)


def relu(inputs: list[onnx.ValueInfoProto], shape: Dims) -> onnx.ModelProto:
    return model([helper.make_node("Relu", [inputs[0].name], ["y"])], inputs, [tensor("y", shape)])


def saved(made: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    onnx.save(made, folder / name)
    return folder / name


def saved_apart(made: onnx.ModelProto, folder: Path, *, threshold: int = 1024) -> Path:
    """The weights in ``net.bin`` beside the model."""
    folder.mkdir(exist_ok=True)
    path = folder / "net.onnx"
    onnx.save(made, path, save_as_external_data=True, location="net.bin", size_threshold=threshold)
    return path


def test_a_file_becomes_a_network_with_its_weights_described(tmp_path: Path) -> None:
    path = saved(linear(), tmp_path)
    workload = read_model(path)
    assert (workload.name, workload.kind, workload.path) == ("net", "network", str(path))
    assert {(weight.name, weight.shape, weight.dtype) for weight in workload.weights} == {
        ("w", (64, 128), "float32"),
        ("b", (128,), "float32"),
    }
    left = onnx.load_model_from_string(workload.skeleton).graph.initializer
    assert [tensor.name for tensor in left] == ["target"]
    assert len(workload.skeleton) < 1000


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_broken(share: float, tmp_path: Path) -> None:
    whole = linear().SerializeToString()
    (tmp_path / "net.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BrokenModel, match=r"net\.onnx"):
        read_model(tmp_path / "net.onnx")


def test_no_cut_of_a_file_raises_anything_but_a_model_error(tmp_path: Path) -> None:
    whole = relu([tensor("x", [2, 3])], [2, 3]).SerializeToString()
    path = tmp_path / "net.onnx"
    refused = 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            read_model(path)
        except ModelError:
            refused += 1
    assert refused > len(whole) / 2  # a cut between two fields may leave a model that is whole


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"This is a text file.\nIt holds no model.\n", b"\x00" * 100, b"{}", b"PK\x03\x04zip"]
)
def test_what_is_no_model_is_broken(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(BrokenModel, match=r"net\.onnx"):
        read_model(tmp_path / "net.onnx")


def test_a_missing_file_and_a_folder_are_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match="does not exist"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(BrokenModel, match="is a folder"):
        read_model(tmp_path)


def test_weights_in_another_file_give_the_same_workload(tmp_path: Path) -> None:
    inside = read_model(saved(linear(), tmp_path))
    apart = read_model(saved_apart(linear(), tmp_path / "apart"))
    assert (apart.graph_hash, apart.weights) == (inside.graph_hash, inside.weights)


def test_structural_constants_in_another_file_still_count(tmp_path: Path) -> None:
    inside = read_model(saved(linear(), tmp_path))
    path = saved_apart(linear(), tmp_path / "apart", threshold=0)
    kept = {tensor.name: tensor.data_location for tensor in onnx.load(path, load_external_data=False).graph.initializer}
    assert kept["target"] == TensorProto.EXTERNAL
    apart = read_model(path)
    assert apart.graph_hash == inside.graph_hash
    assert kernels(apart, host_profile()) == kernels(inside, host_profile())


def test_a_missing_weight_file_is_named(tmp_path: Path) -> None:
    path = saved_apart(linear(), tmp_path)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ExternalDataMissing, match=r"'w'.*'net\.bin', which is not there") as caught:
        read_model(path)
    assert str(tmp_path) in caught.value.remedy


def test_a_truncated_weight_file_is_named(tmp_path: Path) -> None:
    path = saved_apart(linear(), tmp_path)
    data = tmp_path / "net.bin"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ExternalDataMissing, match=r"net\.bin is truncated: \d+ bytes") as caught:
        read_model(path)
    assert "again" in caught.value.remedy


@pytest.mark.parametrize("batch", ["batch", None])
def test_a_dynamic_dimension_names_the_option(batch: str | None, tmp_path: Path) -> None:
    path = saved(relu([tensor("image", [batch, 3, 32, 32])], [batch, 3, 32, 32]), tmp_path)
    with pytest.raises(DynamicShape, match=r"'image' has the shape \[(batch|\?), 3, 32, 32\]") as caught:
        read_model(path)
    assert caught.value.remedy == "give it: --shape image=1,3,32,32"


def test_an_input_of_unknown_rank_names_the_option_too(tmp_path: Path) -> None:
    path = saved(relu([tensor("image", None)], [2]), tmp_path)
    with pytest.raises(DynamicShape, match="'image' has the shape unknown") as caught:
        read_model(path)
    assert "--shape image=" in caught.value.remedy
    assert read_model(path, {"image": (2,)}, scratch(tmp_path)).path.endswith("scratch/net.onnx")


def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "weights apart"])
def test_given_shapes_make_a_copy_that_the_runtime_loads(apart: bool, tmp_path: Path) -> None:
    dynamic = linear(["n", 64], ["n", 2, 64])
    path = saved_apart(dynamic, tmp_path / "apart") if apart else saved(dynamic, tmp_path)
    workload = read_model(path, {"x": (5, 64)}, scratch(tmp_path))
    assert workload.path != str(path)
    session = onnxruntime.InferenceSession(workload.path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [5, 64]
    assert session.run(None, {"x": np.ones((5, 64), np.float32)})[0].shape == (5, 2, 64)
    assert read_model(saved(linear([5, 64], [5, 2, 64]), tmp_path, "fixed.onnx")).graph_hash == workload.graph_hash


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"y": (1, 3)}, "no input 'y'; its inputs are x"),
        ({"x": (1, 3, 8)}, "has 2 dimensions, the given shape has 3"),
        ({"x": (1, 4)}, r"fixed to \[n, 3\]; \[1, 4\] contradicts it"),
    ],
)
def test_shapes_that_do_not_fit_are_misuse(shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path) -> None:
    path = saved(relu([tensor("x", ["n", 3])], ["n", 3]), tmp_path)
    with pytest.raises(UsageError, match=message):
        read_model(path, shapes, scratch(tmp_path))


def test_shapes_that_the_graph_cannot_take_are_a_broken_model(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = saved(model(nodes, [tensor("x", ["n", "k"])], [tensor("y", ["n", 8])], [floats("w", 64, 8)]), tmp_path)
    with pytest.raises(BrokenModel, match=r"Incompatible dimensions"):
        read_model(path, {"x": (3, 65)}, scratch(tmp_path))


@pytest.mark.parametrize("given", [None, {"x": (0, 3)}], ids=["in the file", "on the command line"])
def test_a_dimension_of_zero_is_refused(given: dict[str, tuple[int, ...]] | None, tmp_path: Path) -> None:
    path = saved(relu([tensor("x", [0, 3])], [0, 3]), tmp_path)
    with pytest.raises(DynamicShape, match=r"\[0, 3\]: a dimension is zero"):
        read_model(path, given, scratch(tmp_path))


def test_a_scalar_input_is_concrete(tmp_path: Path) -> None:
    assert read_model(saved(relu([tensor("x", [])], []), tmp_path)).kind == "network"


@pytest.mark.parametrize("given", [None, {"x": (2,)}], ids=["as it is", "with a shape"])
def test_an_input_that_is_no_tensor_is_refused(given: dict[str, tuple[int, ...]] | None, tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [2])
    nodes = [helper.make_node("SequenceAt", ["x", "i"], ["y"])]
    path = saved(model(nodes, [sequence, tensor("i", [], TensorProto.INT64)], [tensor("y", [2])]), tmp_path)
    with pytest.raises(BrokenModel, match="'x' is not a tensor"):
        read_model(path, given, scratch(tmp_path))


def test_an_old_exporter_that_lists_weights_as_inputs_gives_the_same_workload(tmp_path: Path) -> None:
    listed = linear()
    listed.graph.input.insert(0, tensor("w", [64, 128]))
    listed.graph.input.insert(1, tensor("target", [3], TensorProto.INT64))
    listed.graph.input.append(tensor("b", [128]))
    old = read_model(saved(listed, tmp_path, "old.onnx"))
    new = read_model(saved(linear(), tmp_path))
    assert old.graph_hash == new.graph_hash
    assert [kernel.signature for kernel in kernels(old, host_profile())] == [
        kernel.signature for kernel in kernels(new, host_profile())
    ]


def test_an_operator_that_onnx_does_not_define_is_unsupported(tmp_path: Path) -> None:
    path = saved(
        model([helper.make_node("Frobnicate", ["x"], ["y"])], [tensor("x", [2])], [tensor("y", [2])]), tmp_path
    )
    with pytest.raises(UnsupportedOperator, match="Frobnicate"):
        read_model(path)


def test_an_operator_of_another_domain_is_left_to_the_runtime(tmp_path: Path) -> None:
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")]
    path = saved(model(nodes, [tensor("x", [2])], [tensor("y", [2])], domains=("acme",)), tmp_path)
    workload = read_model(path)
    with pytest.raises(UnsupportedOperator, match="Frobnicate"):
        kernels(workload, host_profile())


def test_a_domain_that_is_not_imported_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")]
    with pytest.raises(BrokenModel, match="No opset import for domain 'acme'"):
        read_model(saved(model(nodes, [tensor("x", [2])], [tensor("y", [2])]), tmp_path))


def test_a_declared_output_shape_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match=r"Inferred shape and existing shape differ in dimension 1: \(3\) vs \(4\)"):
        read_model(saved(relu([tensor("x", [2, 3])], [2, 4]), tmp_path))


def test_an_output_without_a_shape_is_fine(tmp_path: Path) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["y"])]
    outputs = [tensor("y", None, TensorProto.INT64)]
    assert read_model(saved(model(nodes, [tensor("x", [4])], outputs), tmp_path)).name == "net"


def test_weights_of_types_that_cannot_be_generated_stay(tmp_path: Path) -> None:
    words = helper.make_tensor("words", TensorProto.STRING, [3], [b"a", b"b", b"c"])
    half = helper.make_tensor("half", TensorProto.BFLOAT16, [2, 2], [1.0, 2.0, 3.0, 4.0])
    nodes = [
        helper.make_node("Gather", ["words", "i"], ["s"]),
        helper.make_node("Cast", ["half"], ["h"], to=TensorProto.FLOAT),
    ]
    outputs = [tensor("s", [1], TensorProto.STRING), tensor("h", [2, 2])]
    path = saved(model(nodes, [tensor("i", [1], TensorProto.INT64)], outputs, [words, half]), tmp_path)
    workload = read_model(path)
    assert workload.weights == ()
    assert {kernel.op for kernel in kernels(workload, host_profile())} >= {"Gather"}


def test_a_sparse_weight_is_described_without_its_values(tmp_path: Path) -> None:
    def sparse(first: float) -> onnx.ModelProto:
        values = helper.make_tensor("w", TensorProto.FLOAT, [2], [first, 2.0])
        indices = helper.make_tensor("at", TensorProto.INT64, [2], [0, 5])
        made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor("x", [2, 3])], [tensor("y", [2, 3])])
        made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 3]))
        return made

    assert hash_graph(sparse(1.0)) == hash_graph(sparse(9.0))
    with pytest.raises(BrokenModel, match="MatMul"):  # ONNX's own shape inference knows no sparse weights
        read_model(saved(sparse(1.0), tmp_path))


def test_a_cycle_is_a_broken_model(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(BrokenModel, match="topologically sorted"):
        read_model(saved(model(nodes, [tensor("x", [2])], [tensor("b", [2])]), tmp_path))


def test_concrete_shapes_without_a_scratch_folder_are_misuse(tmp_path: Path) -> None:
    path = saved(relu([tensor("x", ["n"])], ["n"]), tmp_path)
    with pytest.raises(UsageError, match="scratch folder"):
        read_model(path, {"x": (2,)})
