"""The gate against bytes that protobuf parsers trip over, or read in two ways; ONNX Runtime is the witness."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from edgecost.profiler.errors import UnsafeModel
from edgecost.profiler.onnx_gate import GateLimits, check_onnx
from edgecost.profiler.runner import append_weights
from tests.onnx_models import CORPUS, graph, model, node, weight

RELU = node("Relu", ["x"], ["y"])
ONE_NODE = CORPUS["one node"]
GRAPH, UNKNOWN = 7, 99
VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)


def varint(number: int, padding: int = 0) -> bytes:
    out = bytearray()
    while number > 0x7F or padding:
        padding -= number <= 0x7F
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def key(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def part(number: int, payload: bytes) -> bytes:
    """A field that has a length."""
    return key(number, LENGTH) + varint(len(payload)) + payload


def refusal(serialised: bytes, limits: GateLimits | None = None) -> str:
    with pytest.raises(UnsafeModel) as refused:
        check_onnx(serialised, limits or GateLimits())
    assert refused.value.remedy
    return refused.value.message


def tensor(*fields: bytes) -> bytes:
    """A model with one initialiser of these fields."""
    return ONE_NODE + part(GRAPH, part(5, b"".join(fields)))


DAMAGED = {
    "a key without a field": (key(UNKNOWN, VARINT), "does not end"),
    "a key that does not end": (b"\x80", "does not end"),
    "a length that does not end": (key(UNKNOWN, LENGTH) + b"\xff", "does not end"),
    "a length beyond the end": (key(UNKNOWN, LENGTH) + b"\x05abc", "a field of 5 bytes where 3 are left"),
    "a length beyond the end of the message around it": (
        part(GRAPH, key(2, LENGTH) + b"\x05") + b"abcde",
        "0 are left",
    ),
    "a length of 64 bits": (key(UNKNOWN, LENGTH) + varint((1 << 64) - 1), "where 0 are left"),
    "a number of 11 bytes": (key(UNKNOWN, VARINT) + varint(1, padding=10), "64 bits"),
    "a number of 65 bits": (key(UNKNOWN, VARINT) + varint(1 << 64), "64 bits"),
    "a number of 4 bytes that has 3": (key(UNKNOWN, FIXED32) + b"abc", "4 bytes where 3"),
    "a number of 8 bytes that has 7": (key(UNKNOWN, FIXED64) + b"abcdefg", "8 bytes where 7"),
    "a group": (key(UNKNOWN, GROUP) + key(UNKNOWN, END_GROUP), "wire type 3"),
    "the end of a group": (key(UNKNOWN, END_GROUP), "wire type 4"),
    "a wire type that does not exist": (key(UNKNOWN, 6), "wire type 6"),
    "the field number 0": (key(0, VARINT) + b"\x00", "number 0"),
    "a graph that is a number": (key(GRAPH, VARINT) + b"\x00", "ModelProto.graph has the wire type 0"),
    "a version that is text": (part(1, b"9"), "ModelProto.ir_version has the wire type 2"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_bytes_are_refused_with_the_place(name: str) -> None:
    addition, reason = DAMAGED[name]
    message = refusal(ONE_NODE + addition)
    assert reason in message
    assert "at byte" in message


def test_a_key_of_more_than_32_bits_hides_a_field_from_some_but_not_from_onnx_runtime() -> None:
    hidden = onnx.GraphProto(input=[helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1])])
    payload = hidden.SerializeToString()
    alias = varint((1 << 32) + (GRAPH << 3 | LENGTH)) + varint(len(payload)) + payload
    session = onnxruntime.InferenceSession(ONE_NODE + alias, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["x", "hidden"]
    assert "more than 32 bits" in refusal(ONE_NODE + alias)


def test_bytes_that_onnx_runtime_would_take_for_its_own_format_are_refused() -> None:
    made = model([RELU])
    made.producer_name = "ORTM"
    serialised = made.SerializeToString()
    assert onnx.load_model_from_string(serialised) == made
    with pytest.raises(Fail, match="ORT model verification failed"):
        onnxruntime.InferenceSession(serialised, providers=["CPUExecutionProvider"])
    assert "ONNX Runtime's own format" in refusal(serialised)


def test_a_location_whose_lower_half_says_elsewhere_is_refused() -> None:
    # Protobuf keeps 32 bits of an enumeration: 2³² + 1 is EXTERNAL to it.
    location = key(14, VARINT) + varint((1 << 32) + TensorProto.EXTERNAL)
    assert "32 bits do not hold" in refusal(tensor(key(2, VARINT), b"\x01", location))


@pytest.mark.parametrize("location", [TensorProto.EXTERNAL, 2, 77])
def test_data_that_is_anywhere_but_inside_is_refused(location: int) -> None:
    assert "another file" in refusal(tensor(key(2, VARINT), b"\x01", key(14, VARINT), varint(location)))


@pytest.mark.parametrize(
    "order", [(TensorProto.EXTERNAL, TensorProto.DEFAULT), (TensorProto.DEFAULT, TensorProto.EXTERNAL)]
)
def test_two_locations_are_refused_in_either_order(order: tuple[int, int]) -> None:
    locations = b"".join(key(14, VARINT) + varint(location) for location in order)
    assert "occurs twice" in refusal(tensor(key(2, VARINT), b"\x01", locations))


def test_a_node_that_has_two_domains_is_refused() -> None:
    twice = part(4, b"Relu") + part(7, b"their.own") + part(7, b"")
    assert "NodeProto.domain occurs twice" in refusal(part(GRAPH, part(1, twice)))


def test_a_tensor_that_is_told_in_two_pieces_is_refused() -> None:
    # Protobuf would merge them: each half has a small shape.
    halves = [part(5, TensorProto(data_type=1, dims=[1 << 14]).SerializeToString())] * 2
    assert "AttributeProto.t occurs twice" in refusal(part(GRAPH, part(1, part(5, b"".join(halves)))))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_every_graph_of_a_model_is_looked_at_since_protobuf_merges_them(place: int) -> None:
    outside = TensorProto(name="w", data_type=1, data_location=TensorProto.EXTERNAL)
    graphs = [graph([RELU]), graph([]), graph([])]
    assert check_onnx(b"".join(part(GRAPH, each.SerializeToString()) for each in graphs)).nodes == 1
    graphs[place].initializer.append(outside)
    assert "another file" in refusal(b"".join(part(GRAPH, each.SerializeToString()) for each in graphs))


def test_weights_that_were_appended_to_a_skeleton_pass_and_count() -> None:
    skeleton = CORPUS["skeleton"]
    described = [{"name": "w", "shape": [10, 7], "dtype": "float32", "spread": 1.0}]
    whole = check_onnx(append_weights(skeleton, described, 0))
    assert whole.tensor_bytes == check_onnx(skeleton).tensor_bytes + 10 * 7 * 4


def test_fields_that_onnx_does_not_define_are_skipped_and_counted() -> None:
    unknown = part(UNKNOWN, b"\xff" * 50) + key(UNKNOWN, VARINT) + varint(1 << 40) + key(UNKNOWN, FIXED64) + b"8" * 8
    found = check_onnx(ONE_NODE + unknown)
    assert found.unknown_bytes == len(unknown)
    assert found.model_bytes == len(ONE_NODE) + len(unknown)
    assert onnx.load_model_from_string(ONE_NODE + unknown).graph.node[0].op_type == "Relu"


def test_packed_dimensions_are_read_as_well() -> None:
    packed = tensor(key(2, VARINT), b"\x01", part(1, varint(3) + varint(5)))
    assert check_onnx(packed).tensor_bytes == 2 * 12 + 15 * 4
    hostile = tensor(key(2, VARINT), b"\x01", part(1, varint(3) + varint((1 << 64) - 1)))
    assert "dimension -1" in refusal(hostile)


@pytest.mark.parametrize(
    ("field", "payload"),
    [(4, b"abc"), (10, b"abcdefg"), (5, b"\x01\x80"), (7, b"\x80" * 10 + b"\x01"), (11, b"\xff")],
)
def test_packed_numbers_that_end_within_one_are_refused(field: int, payload: bytes) -> None:
    message = refusal(tensor(key(2, VARINT), b"\x01", part(field, payload)))
    assert "ends within a number" in message or "more than 10 bytes" in message


def test_an_overlong_number_is_found_where_two_pieces_of_a_long_field_meet() -> None:
    for before in range((1 << 20) - 12, (1 << 20) + 2):
        payload = b"\x01" * before + b"\x80" * 10 + b"\x01" * 20
        assert "more than 10 bytes" in refusal(tensor(key(2, VARINT), b"\x07", part(7, payload)))


def test_a_run_of_numbers_with_a_key_each_is_one_field_and_must_be_sound() -> None:
    ints = onnx.AttributeProto(name="a", ints=[1, -1, 1 << 62] * 800, floats=[0.5] * 900)
    found = check_onnx(model([onnx.NodeProto(op_type="Any", attribute=[ints])]).SerializeToString())
    assert found.fields < 100
    serialised = part(GRAPH, part(1, part(5, ints.SerializeToString() + key(8, VARINT) + b"\x80" * 10 + b"\x00")))
    assert "AttributeProto.ints ends within a number" in refusal(serialised)


def test_a_file_of_empty_messages_is_refused_before_a_parser_makes_an_object_of_each() -> None:
    assert "more than 1,000 fields" in refusal(part(GRAPH, part(11, b"") * 1001), GateLimits(fields=1000))


def test_packed_dimensions_count_one_by_one() -> None:
    packed = tensor(key(2, VARINT), b"\x01", part(1, b"\x01" * 2000))
    assert check_onnx(packed).tensor_bytes == 2 * 12 + 4
    assert "more than 1,000 fields" in refusal(packed, GateLimits(fields=1000))


def test_names_in_messages_are_short_and_printable() -> None:
    message = refusal(part(GRAPH, part(1, part(7, b"\xff\n" * 1000))))
    assert "\\\\xff\\n" in message
    assert message.isprintable()
    assert len(message) < 400


def test_a_model_with_generated_weights_and_one_with_its_own_read_the_same() -> None:
    made = model([node("MatMul", ["x", "w"], ["y"])], initializer=[weight(shape=(3, 3))])
    bare = model([node("MatMul", ["x", "w"], ["y"])])
    described = [{"name": "w", "shape": [3, 3], "dtype": "float32", "spread": 1.0}]
    completed = check_onnx(append_weights(bare.SerializeToString(), described, 0))
    own = check_onnx(made.SerializeToString())
    assert (completed.nodes, completed.tensor_bytes) == (own.nodes, own.tensor_bytes)
