"""The gate against hostile bytes, and against the onnx package's reading of the same models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from edgecost.profiler.errors import UnsafeModel
from edgecost.profiler.onnx_gate import GateLimits, check_onnx
from tests.onnx_models import CORPUS
from tests.onnx_oracle import read, unsafe

#: Narrow, so that generated models reach them.
NARROW = GateLimits(nodes=4, tensor_bytes=600, depth=1, model_bytes=300)
OFTEN = 8
#: What fields are filled with: harmless values, and hostile ones, which go into half of the models.
TAME: dict[str, list[object]] = {
    "domain": ["", "ai.onnx", "com.microsoft"],
    "op_type": ["Relu", "Add", "If", "f", "g", "h"],
    "name": ["f", "g", "h", "Other", "Another"],
    "dims": [0, 1, 2, 3, 16],
    "dim_value": [0, 1, 2, 3, 16],
    "data_type": [1, 6, 7, 8, 10, 21, 25],
    "elem_type": [0, 1, 7, 8, 21, 29],
    "data_location": [TensorProto.DEFAULT],
}
HOSTILE: dict[str, list[object]] = {
    "domain": ["com.microsoft ", "ai.onnx.ml"],
    "op_type": ["EPContext"],
    "dims": [-1, 1 << 32, (1 << 63) - 1],
    "dim_value": [-1, 1 << 32, (1 << 63) - 1],
    "data_type": [0, 29, -1],
    "elem_type": [-1],
    "data_location": [TensorProto.EXTERNAL],
}
#: Fields that carry what the rules are about.
TELLING = frozenset(
    "graph node functions op_type domain attribute g graphs t initializer input name type tensor_type shape dim"
    " dim_value dims data_type sparse_initializer values sequence_type elem_type".split()
)
#: Without these a generated message would mean nothing, nearly always.
ALWAYS = {
    "ModelProto": ["graph", "functions"],
    "GraphProto": ["node", "input"],
    "FunctionProto": ["name", "node"],
    "NodeProto": ["op_type"],
    "TensorProto": ["data_type", "dims"],
    "SparseTensorProto": ["values"],
    "ValueInfoProto": ["type"],
    "Tensor": ["elem_type", "shape"],
    "TensorShapeProto": ["dim"],
    "Dimension": ["dim_value"],
}
LEVELS_MAX, FIELDS_MAX = 9, 3


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor, hostile: bool | None = None, levels: int = 0) -> Message:
    """Any message of ONNX, those fields more often that the gate looks at."""
    if hostile is None:
        hostile = draw(st.booleans())
    made = message_class(kind)()
    fields = [field for field in kind.fields if levels < LEVELS_MAX or field.message_type is None]
    if not hostile:
        fields = [field for field in fields if field.name != "external_data"]
    telling = [field for field in fields if field.name in TELLING]
    chosen = draw(st.lists(st.sampled_from([*telling * OFTEN, *fields]), max_size=FIELDS_MAX)) if fields else []
    for field in [*(field for field in fields if field.name in ALWAYS.get(kind.name, ())), *chosen]:
        put(draw, made, field, hostile, levels)
    return made


def message_class(kind: Descriptor) -> type[Message]:
    """The class of a message, also of one that onnx names only inside another."""
    outer = onnx if kind.containing_type is None else message_class(kind.containing_type)
    found: type[Message] = getattr(outer, kind.name)
    return found


def put(draw: st.DrawFn, made: Message, field: FieldDescriptor, hostile: bool, levels: int) -> None:
    if field.message_type is not None:
        value = draw(messages(field.message_type, hostile, levels + 1))
        (getattr(made, field.name).add() if field.is_repeated else getattr(made, field.name)).CopyFrom(value)
        return
    value = draw(scalars(field, hostile))
    if field.is_repeated:
        getattr(made, field.name).append(value)
    else:
        setattr(made, field.name, value)


def scalars(field: FieldDescriptor, hostile: bool) -> st.SearchStrategy[object]:
    if field.name in TAME:
        return st.sampled_from([*TAME[field.name] * OFTEN, *(HOSTILE.get(field.name, []) if hostile else [])])
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    match field.type:
        case field.TYPE_STRING:
            return st.sampled_from(["", "x", "ünï"])
        case field.TYPE_BYTES:
            return st.binary(max_size=20)
        case field.TYPE_FLOAT | field.TYPE_DOUBLE:
            return st.floats(width=32)
        case field.TYPE_UINT64:
            return st.integers(0, (1 << 64) - 1)
        case field.TYPE_INT32:
            return st.integers(-(1 << 31), (1 << 31) - 1)
    return st.integers(-(1 << 63), (1 << 63) - 1)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(messages(onnx.ModelProto.DESCRIPTOR))
def test_the_gate_and_onnx_read_the_same_in_any_model(model: onnx.ModelProto) -> None:
    told = read(model, NARROW)
    if told.broken:
        with pytest.raises(UnsafeModel):
            check_onnx(model.SerializeToString(), NARROW)
        return
    found = check_onnx(model.SerializeToString(), NARROW)
    assert (found.nodes, found.tensor_bytes, found.model_bytes, found.depth) == (
        told.nodes, told.tensor_bytes, told.model_bytes, told.depth,
    )  # fmt: skip
    assert found.unknown_bytes == 0


def test_functions_of_one_name_count_together_though_nobody_calls_them() -> None:
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"])] * 3
    functions = [onnx.FunctionProto(name="f", node=nodes) for _ in range(2)]
    model = onnx.ModelProto(graph=onnx.GraphProto(), functions=functions)
    assert read(model, NARROW).broken == {"nodes"}
    with pytest.raises(UnsafeModel, match="6 nodes, more than 4"):
        check_onnx(model.SerializeToString(), NARROW)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_pass_and_nothing_else(garbage: bytes) -> None:
    hold_to_onnx(garbage)


def corpus() -> st.SearchStrategy[bytes]:
    return st.sampled_from(sorted(CORPUS.values()))


@given(corpus(), st.floats(0, 1))
def test_a_truncated_model_does_no_harm(model: bytes, share: float) -> None:
    hold_to_onnx(model[: int(len(model) * share)])


@settings(max_examples=400)
@given(corpus(), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=8))
def test_a_model_with_flipped_bits_does_no_harm(model: bytes, flips: list[tuple[float, int]]) -> None:
    damaged = bytearray(model)
    for share, bit in flips:
        damaged[int(share * len(damaged))] ^= 1 << bit
    hold_to_onnx(bytes(damaged))


@settings(max_examples=300)
@given(corpus(), corpus(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_piece_of_one_model_inside_another_does_no_harm(
    model: bytes, other: bytes, place: float, start: float, end: float
) -> None:
    at, first, last = int(place * len(model)), int(start * len(other)), int(end * len(other))
    hold_to_onnx(model[:at] + other[first:last] + model[at:])


@settings(max_examples=50)
@given(corpus(), messages(onnx.GraphProto.DESCRIPTOR))
def test_a_second_graph_is_judged_with_the_first(model: bytes, graph: onnx.GraphProto) -> None:
    hold_to_onnx(model + onnx.ModelProto(graph=graph).SerializeToString())


def hold_to_onnx(model: bytes) -> None:
    """Raises what the gate raises but for ``UnsafeModel``; what passes is safe in onnx's reading of it, too."""
    try:
        check_onnx(model)
    except UnsafeModel:
        return
    parsed = onnx.ModelProto()
    try:
        parsed.ParseFromString(model)
    except DecodeError:
        return
    assert unsafe(parsed) == set()


def test_the_oracle_sees_what_it_is_there_for() -> None:
    tensor = TensorProto(data_type=1, dims=[-1], data_location=TensorProto.EXTERNAL)
    node = onnx.NodeProto(op_type="EPContext", domain="elsewhere")
    node.attribute.add(g=onnx.GraphProto(initializer=[tensor]))
    assert unsafe(onnx.ModelProto(graph=onnx.GraphProto(node=[node]))) == {"external", "negative", "domain", "operator"}


@pytest.mark.benchmark
def test_the_coverage_guided_fuzzer_says_what_it_lacks() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "fuzz_onnx_gate.py"
    without = f"import runpy, sys; sys.modules['atheris'] = None; runpy.run_path({str(script)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "the fuzzer needs atheris: pip install atheris\n")
