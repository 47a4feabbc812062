"""Each rule of the gate, by a model that breaks it and by one that does not."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from onnx import TensorProto, defs, helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from edgecost.profiler.errors import ModelError, UnsafeModel
from edgecost.profiler.onnx_gate import REFUSED_OPERATORS, GateLimits, check_onnx
from edgecost.profiler.onnx_wire import SCHEMA
from tests.onnx_models import CORPUS, branches, function, graph, model, node, sparse, weight

RELU = node("Relu", ["x"], ["y"])
OURS = "com.microsoft"


def outside(tensor: TensorProto, *, marked: bool = True) -> TensorProto:
    """The tensor with its data in another file."""
    tensor.external_data.add(key="location", value="../../etc/passwd")
    if marked:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
    return tensor


def call(name: str, count: int = 1) -> list[onnx.NodeProto]:
    return [node(name, ["x"], ["y"], domain=OURS)] * count


def nested(depth: int) -> onnx.GraphProto:
    """Graphs inside one another."""
    made = graph([RELU])
    for _ in range(depth):
        made = graph([node("Scan", ["x"], ["y"], body=made)])
    return made


def trained() -> onnx.ModelProto:
    made = model([RELU])
    made.training_info.add(algorithm=graph([RELU], initializer=[outside(weight())]))
    return made


def in_sparse(part: str) -> onnx.ModelProto:
    tensor = sparse()
    outside(getattr(tensor, part))
    return model([RELU], sparse_initializer=[tensor])


def of_types(depth: int) -> onnx.ModelProto:
    """A value that is a sequence of sequences of a tensor."""
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    for _ in range(depth):
        kind = helper.make_sequence_type_proto(kind)
    return model([RELU], value_info=[helper.make_value_info("q", kind)])


def shaped(*dims: int) -> onnx.ModelProto:
    return model([RELU], value_info=[helper.make_tensor_value_info("q", TensorProto.FLOAT, dims)])


def declared(*dims: int, data_type: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """An initialiser that has a shape, and no numbers."""
    return model([RELU], initializer=[TensorProto(name="w", dims=dims, data_type=data_type)])


def chain(length: int, calls: int = 1) -> onnx.ModelProto:
    """Functions of which each calls the next one."""
    functions = [function(f"f{i}", *call(f"f{i + 1}", calls)) for i in range(length - 1)]
    return model(call("f0"), [*functions, function(f"f{length - 1}", RELU)])


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "weights in another file": (lambda: model([RELU], initializer=[outside(weight())]), "'w' keeps its data"),
    "an entry that names a file, and is not marked": (
        lambda: model([RELU], initializer=[outside(weight(), marked=False)]), "another file"),
    "a mark without a file": (
        lambda: model([RELU], initializer=[TensorProto(name="w", data_type=1, data_location=1)]), "another file"),
    "values of a sparse weight in another file": (lambda: in_sparse("values"), "another file"),
    "places of a sparse weight in another file": (lambda: in_sparse("indices"), "another file"),
    "a constant in another file": (
        lambda: model([node("Constant", [], ["y"], value=outside(weight()))]), "another file"),
    "a list of tensors in another file": (
        lambda: model([node("Any", [], ["y"], values=[weight(), outside(weight())])]), "another file"),
    "weights of a branch in another file": (
        lambda: model([branches(graph([RELU], initializer=[outside(weight())]))]), "another file"),
    "a function's constant in another file": (
        lambda: model([RELU], [function("f", node("Constant", [], ["y"], value=outside(weight())))]), "another file"),
    "weights for training in another file": (trained, "another file"),
    "a foreign domain": (lambda: model([node("Relu", ["x"], ["y"], domain="their.own")]), "domain 'their.own'"),
    "a domain that begins as one of ours": (
        lambda: model([node("Gelu", ["x"], ["y"], domain="com.microsoft\0")]), "domain 'com.microsoft"),
    "a foreign domain in a branch": (
        lambda: model([branches(graph([node("Relu", ["x"], ["y"], domain="their.own")]))]), "'their.own'"),
    "a function of a foreign domain": (lambda: model([RELU], [function("f", RELU, domain="their.own")]), "'their.own'"),
    "an opaque type of a foreign domain": (
        lambda: model([RELU], value_info=[onnx.ValueInfoProto(
            name="q", type=onnx.TypeProto(opaque_type=onnx.TypeProto.Opaque(domain="their.own")))]), "'their.own'"),
    "what another compiler made": (
        lambda: model([node("EPContext", ["x"], ["y"], domain=OURS, ep_cache_context="../x.bin")]), "'EPContext'"),
    "what another compiler made, in a function": (
        lambda: model([RELU], [function("f", node("EPContext", ["x"], ["y"], domain=OURS))]), "'EPContext'"),
    "a function that hides behind a refused name": (
        lambda: model(call("PythonOp"), [function("PythonOp", RELU)]), "'PythonOp' is not allowed: it runs Python"),
    "a function that calls itself": (lambda: model([RELU], [function("f", *call("f"))]), "'f' calls itself"),
    "functions in a circle": (
        lambda: model([RELU], [function("f", *call("g")), function("g", *call("h")), function("h", *call("f"))]),
        "calls itself, by way of"),
    "a function that calls itself in a branch": (
        lambda: model([RELU], [function("f", branches(graph(call("f"))))]), "'f' calls itself"),
    "a function that takes ONNX's own name and calls itself": (
        lambda: model([RELU], [function("Relu", RELU, domain="ai.onnx")]), "'Relu' calls itself"),
    "overloads that call each other": (
        lambda: model([RELU], [function("f", *call("f")), function("f", RELU)]), "'f' calls itself"),
    "graphs that are nested too deep": (lambda: onnx.ModelProto(graph=nested(17)), "more than 16 deep"),
    "types that are nested too deep": (lambda: of_types(17), "more than 16 deep"),
    "calls that are nested too deep": (lambda: chain(17), "17 levels"),
    "calls within graphs, too deep together": (
        lambda: model(call("f0"), [*(function(f"f{i}", branches(graph(call(f"f{i + 1}")))) for i in range(8)),
                                   function("f8", RELU)]), "17 levels"),
    "few functions of many nodes": (lambda: chain(12, calls=9), "nodes, more than 100,000"),
    "few functions of many constants": (
        lambda: model(call("f", 3), [function("f", node("Constant", [], ["y"], value=TensorProto(
            name="w", dims=[1 << 28], data_type=1)))]), "bytes of tensors"),
    "few functions of many bytes": (
        lambda: model(call("f", 300), [function("f", node("Constant", [], ["y"], value_string=b"a" * (1 << 20)))]),
        "bytes with its functions written out"),
    "a negative dimension of a weight": (lambda: declared(2, -1), "dimension -1"),
    "a negative dimension of a value": (lambda: shaped(2, -1), "dimension -1"),
    "a negative dimension of a sparse weight": (
        lambda: model([RELU], sparse_initializer=[onnx.SparseTensorProto(values=weight(), dims=[-3])]), "dimension -3"),
    "more elements than 64 bits count": (lambda: declared(1 << 40, 1 << 40), "64 bits"),
    "more elements than 64 bits count, times zero": (lambda: shaped(1 << 40, 1 << 40, 0), "64 bits"),
    "weights beyond the memory": (lambda: declared(1 << 30), "4,294,967,320 bytes of tensors"),
    "values beyond the memory": (lambda: shaped(1 << 15, 1 << 15), "bytes of tensors"),
    "values of an unknown type beyond the memory": (
        lambda: model([RELU], value_info=[helper.make_tensor_value_info("q", 0, [1 << 27])]), "bytes of tensors"),
    "strings beyond the memory": (lambda: declared(1 << 27, data_type=TensorProto.STRING), "bytes of tensors"),
    "a few numbers that are a large tensor": (
        lambda: model([RELU], sparse_initializer=[onnx.SparseTensorProto(values=weight(), dims=[1 << 30])]),
        "bytes of tensors"),
    "elements of an unknown type": (lambda: declared(1, data_type=99), "type 99"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_runtime_must_not_get_is_refused_with_the_reason_and_a_remedy(name: str) -> None:
    build, reason = REFUSED[name]
    with pytest.raises(UnsafeModel) as refused:
        check_onnx(build().SerializeToString())
    assert reason in refused.value.message
    assert refused.value.remedy
    assert isinstance(refused.value, ModelError)
    assert refused.value.exit_code == 6


@pytest.mark.parametrize("name", CORPUS)
def test_a_sound_model_passes(name: str) -> None:
    report = check_onnx(CORPUS[name])
    assert report.model_bytes >= len(CORPUS[name])
    assert report.unknown_bytes == 0


def test_the_report_counts_functions_where_they_are_called() -> None:
    constant = node("Constant", [], ["y"], value=weight(shape=(10,)))
    report = check_onnx(
        model([*call("f", 3), RELU], [function("f", *call("g", 2)), function("g", constant)]).SerializeToString()
    )
    assert report.nodes == 4 + 3 * 2 + 3 * 2
    assert report.tensor_bytes == 2 * 12 + 3 * 2 * 40
    assert report.depth == 2
    assert report.domains == ("", OURS)


def test_a_limit_is_the_largest_that_passes() -> None:
    whole = chain(3, calls=2).SerializeToString()
    found = check_onnx(whole)
    exact = GateLimits(found.model_bytes, found.tensor_bytes, found.nodes, found.depth, found.fields)
    assert check_onnx(whole, exact) == found
    for name in ("model_bytes", "tensor_bytes", "nodes", "depth", "fields"):
        narrower = GateLimits(**{**vars(exact), name: getattr(found, name) - 1})
        with pytest.raises(UnsafeModel) as refused:
            check_onnx(whole, narrower)
        assert f"`{name}`" in refused.value.remedy


def test_functions_that_nothing_calls_are_counted_too() -> None:
    crowded = model([RELU], [function(f"f{i}", RELU) for i in range(4)]).SerializeToString()
    assert check_onnx(crowded, GateLimits(nodes=4)).nodes == 1
    with pytest.raises(UnsafeModel, match="more than 3 local functions"):
        check_onnx(crowded, GateLimits(nodes=3))


def test_the_bytes_alone_can_be_too_many() -> None:
    with pytest.raises(UnsafeModel, match="has 10 bytes, more than 9"):
        check_onnx(b"\x72\x08" + b"a" * 8, GateLimits(model_bytes=9))


def test_an_imported_domain_that_no_node_uses_is_harmless() -> None:
    made = model([RELU])
    made.opset_import.append(helper.make_opsetid("their.own", 1))
    assert check_onnx(made.SerializeToString()).domains == ("",)


def test_a_domain_can_be_allowed() -> None:
    made = model([node("Relu", ["x"], ["y"], domain="their.own")]).SerializeToString()
    assert check_onnx(made, GateLimits(domains=frozenset({"", "their.own"}))).domains == ("their.own",)


def test_a_dimension_that_is_not_fixed_is_another_check_s() -> None:
    made = model([RELU], value_info=[helper.make_tensor_value_info("q", TensorProto.FLOAT, ["batch", None, 5])])
    assert check_onnx(made.SerializeToString()).tensor_bytes == 2 * 12 + 5 * 4


def test_no_operator_of_onnx_is_refused_and_of_onnx_runtime_s_those_that_carry_binaries() -> None:
    refused = tuple(REFUSED_OPERATORS)
    assert not [each.name for each in defs.get_all_schemas() if each.name.startswith(refused)]
    of_runtime = {each.name for each in ort.get_all_operator_schema() if each.domain == OURS}
    assert {name for name in of_runtime if name.startswith(refused)} == {"EPContext", "Snpe"}


def test_every_type_of_onnx_has_a_size() -> None:
    for data_type in set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}:
        check_onnx(declared(2, data_type=data_type).SerializeToString())
    assert check_onnx(declared(5, data_type=TensorProto.INT4).SerializeToString()).tensor_bytes == 2 * 12 + 3


def test_the_table_of_fields_is_that_of_onnx() -> None:
    theirs = {}
    waiting = list(onnx.onnx_ml_pb2.DESCRIPTOR.message_types_by_name.values())
    while waiting:
        kind = waiting.pop()
        waiting += kind.nested_types
        theirs[kind.name] = {(f.number, f.name, kind_of(f), f.is_repeated) for f in kind.fields}
    ours = {name: {(f.number, f.name, f.kind, f.repeated) for f in fields} for name, fields in SCHEMA.items()}
    # An older ONNX may lack what is newest; what it has, it has as we do.
    assert set(theirs) <= set(ours)
    assert all(theirs[name] <= ours[name] for name in theirs)


def kind_of(field: onnx.onnx_ml_pb2.DESCRIPTOR.__class__) -> str:
    if field.message_type is not None:
        return field.message_type.name
    names = {field.TYPE_STRING: "bytes", field.TYPE_BYTES: "bytes", field.TYPE_INT32: "int32", field.TYPE_ENUM: "int32",
             field.TYPE_INT64: "int64", field.TYPE_UINT64: "uint64", field.TYPE_FLOAT: "float",
             field.TYPE_DOUBLE: "double"}  # fmt: skip
    return names[field.type]
