"""Protobuf read without protobuf: what the onnx package reads, and a clear word for what is no message."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import BytesValue
from hypothesis import example, given
from hypothesis import strategies as st

from edgecost.costmodels.random_blocks import random_blocks
from edgecost.profiler.errors import BrokenModel
from edgecost.profiler.graphs.networks import mobilenet_v3_large, vit
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.graphs.probe_graphs import stream
from edgecost.profiler.protobuf import WireType, payloads, submessage, text, texts, walk, whole_number, written
from edgecost.profiler.weights import complete
from tests.test_blocks_breadth import CASES
from tests.test_operators_breadth import OPERATORS

MODEL_GRAPH, GRAPH_NODE, NODE_OP_TYPE = 7, 1, 4
PACKED = {FieldDescriptor.TYPE_FLOAT: "f", FieldDescriptor.TYPE_DOUBLE: "d"}
FIELDS = st.tuples(st.integers(1, 2**29 - 1), st.integers(0, 2**64 - 1) | st.binary(max_size=300))


def skeletons() -> Iterator[tuple[str, bytes]]:
    """One graph of every builder of operators and blocks, some networks, and blocks that were drawn."""
    for name, (shape, make) in OPERATORS.items():
        graph = GraphBuilder(name)
        yield name, graph.model(make(graph, graph.input(shape))).SerializeToString()
    for name, (block, shape, _) in CASES.items():
        graph = GraphBuilder(name)
        yield name, graph.model(block.build(graph, graph.input(shape))).SerializeToString()
    for network in (mobilenet_v3_large(64), vit(1, resolution=64)):
        yield network.name, network.workload().skeleton
    yield "stream", stream(16, 4).skeleton
    drawn = random_blocks(0)
    for place in range(50):
        yield f"random block {place}", next(drawn).skeleton


def number(kind: int, value: int | bytes) -> object:
    """A scalar as the schema means it."""
    if isinstance(value, bytes):
        return struct.unpack("<f" if len(value) == 4 else "<d", value)[0]
    # int32 and int64 alike are written as 64 bits.
    return value - 2**64 if value >> 63 and kind != FieldDescriptor.TYPE_UINT64 else value


def unpacked(kind: int, value: bytes) -> list[object]:
    """The scalars of a packed field: each is read as a field of its own, with a key put before it."""
    if kind in PACKED:
        return list(struct.unpack(f"<{len(value) // struct.calcsize(PACKED[kind])}{PACKED[kind]}", value))
    found: list[object] = []
    while value:
        end = next(place for place, byte in enumerate(value) if byte < 0x80) + 1
        ((_, _, read),) = walk(b"\x08" + value[:end])
        found.append(number(kind, read))
        value = value[end:]
    return found


def as_walked(descriptor, message: bytes) -> dict[int, list[object]]:
    """All fields of a message by what ``walk`` says, and the schema of the onnx package."""
    found: dict[int, list[object]] = {}
    for place, _, value in walk(message):
        field = descriptor.fields_by_number[place]
        if field.message_type is not None:
            read = [as_walked(field.message_type, value)]
        elif field.type == FieldDescriptor.TYPE_STRING:
            read = [value.decode()]
        elif field.type == FieldDescriptor.TYPE_BYTES:
            read = [value]
        elif isinstance(value, bytes) and len(value) and field.is_packed:
            read = unpacked(field.type, value)
        else:
            read = [number(field.type, value)]
        found.setdefault(place, []).extend(read)
    return found


def as_parsed(message: Message) -> dict[int, list[object]]:
    """The same by the onnx package: the oracle."""
    return {
        field.number: [
            as_parsed(one) if isinstance(one, Message) else one for one in (value if field.is_repeated else [value])
        ]
        for field, value in message.ListFields()
    }


def test_every_graph_that_is_built_here_reads_as_the_onnx_package_reads_it() -> None:
    for name, skeleton in skeletons():
        model = onnx.load_model_from_string(skeleton)
        assert (name, as_walked(onnx.ModelProto.DESCRIPTOR, skeleton)) == (name, as_parsed(model))
        nodes = payloads(submessage(skeleton, MODEL_GRAPH), GRAPH_NODE)
        assert [text(node, NODE_OP_TYPE) for node in nodes] == [node.op_type for node in model.graph.node]


def test_a_graph_that_is_written_in_two_parts_is_merged() -> None:
    graph = GraphBuilder("conv")
    skeleton = graph.model(graph.conv(graph.input((1, 3, 8, 8)), 4)).SerializeToString()
    # The weights are appended as a second graph.
    whole = complete(skeleton, tuple(graph.weights))
    names = [text(tensor, 8) for tensor in payloads(submessage(whole, MODEL_GRAPH), 5)]
    assert names == [tensor.name for tensor in onnx.load_model_from_string(whole).graph.initializer] == ["w0", "w1"]


@given(st.lists(FIELDS))
def test_what_is_written_is_read(fields: list[tuple[int, int | bytes]]) -> None:
    message = b"".join(written(*field) for field in fields)
    assert [(place, value) for place, _, value in walk(message)] == fields


@st.composite
def nearly_messages(draw: st.DrawFn) -> bytes:
    """Fields, cut off or with some bytes exchanged."""
    message = bytearray(b"".join(written(*field) for field in draw(st.lists(FIELDS, min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 3))):
        message[draw(st.integers(0, len(message) - 1))] = draw(st.integers(0, 255))
    return bytes(message[: draw(st.integers(0, len(message)))])


def refusal(message: bytes) -> str:
    """Why a message is refused; empty where it is read."""
    try:
        list(walk(message))
    except BrokenModel as error:
        return error.message
    return ""


@given(st.binary(max_size=40) | nearly_messages())
@example(b"\x08" + b"\xff" * 9 + b"\x01")
@example(b"\x08" + b"\xff" * 10 + b"\x01")
@example(b"\x88\x80\x80\x80\x00\x01")
@example(b"\x88\x80\x80\x80\x80\x00\x01")
@example(b"\x88\x80\x80\x80\x7f\x01")
@example(b"\x00\x01")
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_what_is_read_is_what_protobuf_reads_but_for_groups(message: bytes) -> None:
    try:
        # Its only field has bytes; all others are unknown to it, and must be well formed for all that.
        BytesValue.FromString(message)
    except DecodeError:
        assert refusal(message)
    else:
        assert refusal(message) == "" or "wire type 3" in refusal(message)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b"\x08", "ends within the number at byte 1"),
        (b"\x08\x80", "ends within the number at byte 1"),
        (b"\x80", "ends within the number at byte 0"),
        (b"\x08" + b"\x80" * 10, "more than 10 bytes"),
        (b"\x12\x05abcd", "field 2 has 5 bytes, 4 are left"),
        (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7fabcd", "bytes, 4 are left"),
        (b"\x09abcdefg", "field 1 has 8 bytes, 7 are left"),
        (b"\x0dabc", "field 1 has 4 bytes, 3 are left"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0f", "wire type 7"),
        (b"\x00\x01", "a field numbered 0"),
    ],
)
def test_what_is_no_message_is_refused_with_its_reason(message: bytes, told: str) -> None:
    with pytest.raises(BrokenModel, match=told) as refused:
        list(walk(message))
    assert refused.value.remedy


def test_every_shorter_message_is_refused_or_ends_between_two_fields() -> None:
    graph = GraphBuilder("conv")
    skeleton = graph.model(graph.conv(graph.input((1, 3, 8, 8)), 4)).SerializeToString()
    borders = {0}
    for place, _, value in walk(skeleton):
        borders.add(max(borders) + len(written(place, value)))
    assert {cut for cut in range(len(skeleton) + 1) if not refusal(skeleton[:cut])} == borders


def test_a_field_that_is_written_as_something_else_is_refused() -> None:
    message = written(1, 7) + written(2, "seven") + written(3, b"\xff")
    with pytest.raises(BrokenModel, match="field 1 is written as VARINT, not as BYTES"):
        payloads(message, 1)
    with pytest.raises(BrokenModel, match="field 2 is written as BYTES, not as VARINT"):
        whole_number(message, 2)
    with pytest.raises(BrokenModel, match="field 3 is no UTF-8"):
        texts(message, 3)


def test_of_a_field_that_is_written_twice_the_last_counts_and_one_that_is_not_is_empty() -> None:
    message = written(1, 7) + written(1, 8) + written(2, "a") + written(2, "b")
    assert (whole_number(message, 1), text(message, 2), texts(message, 2)) == (8, "b", ["a", "b"])
    assert (whole_number(b"", 1), text(b"", 2), submessage(b"", 3), payloads(b"", 4)) == (0, "", b"", [])


def test_fixed_widths_keep_their_bytes() -> None:
    message = b"\x0d" + struct.pack("<f", 1.5) + b"\x11" + struct.pack("<d", -2.5)
    assert list(walk(message)) == [
        (1, WireType.FIXED32, struct.pack("<f", 1.5)),
        (2, WireType.FIXED64, struct.pack("<d", -2.5)),
    ]
