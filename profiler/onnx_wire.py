"""Walk through the bytes of a serialised ONNX model, in one pass, without copying and without believing any of them.

It needs the standard library alone. It does not judge what a model computes (``onnx_gate.py`` does) and makes no model
of it: it finds where each message begins and ends, and keeps the few numbers that the rules ask for. Where protobuf
parsers are known to read the same bytes differently, the bytes are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .errors import UnsafeModel

#: The messages of onnx.proto (ONNX 1.23): each field's name, number and kind; ``*`` is repeated. A test holds this
#: table and ONNX's own descriptors together.
_TABLE = """
AttributeProto: name 1 bytes, ref_attr_name 21 bytes, doc_string 13 bytes, type 20 int32, f 2 float, i 3 int64,
    s 4 bytes, t 5 TensorProto, g 6 GraphProto, sparse_tensor 22 SparseTensorProto, tp 14 TypeProto, floats 7 float*,
    ints 8 int64*, strings 9 bytes*, tensors 10 TensorProto*, graphs 11 GraphProto*,
    sparse_tensors 23 SparseTensorProto*, type_protos 15 TypeProto*
ValueInfoProto: name 1 bytes, type 2 TypeProto, doc_string 3 bytes, metadata_props 4 StringStringEntryProto*
NodeProto: input 1 bytes*, output 2 bytes*, name 3 bytes, op_type 4 bytes, domain 7 bytes, overload 8 bytes,
    attribute 5 AttributeProto*, doc_string 6 bytes, metadata_props 9 StringStringEntryProto*,
    device_configurations 10 NodeDeviceConfigurationProto*
IntIntListEntryProto: key 1 int64, value 2 int64*
NodeDeviceConfigurationProto: configuration_id 1 bytes, sharding_spec 2 ShardingSpecProto*, pipeline_stage 3 int32
ShardingSpecProto: tensor_name 1 bytes, device 2 int64*, index_to_device_group_map 3 IntIntListEntryProto*,
    sharded_dim 4 ShardedDimProto*
ShardedDimProto: axis 1 int64, simple_sharding 2 SimpleShardedDimProto*
SimpleShardedDimProto: dim_value 1 int64, dim_param 2 bytes, num_shards 3 int64
TrainingInfoProto: initialization 1 GraphProto, algorithm 2 GraphProto,
    initialization_binding 3 StringStringEntryProto*, update_binding 4 StringStringEntryProto*
ModelProto: ir_version 1 int64, opset_import 8 OperatorSetIdProto*, producer_name 2 bytes, producer_version 3 bytes,
    domain 4 bytes, model_version 5 int64, doc_string 6 bytes, graph 7 GraphProto,
    metadata_props 14 StringStringEntryProto*, training_info 20 TrainingInfoProto*, functions 25 FunctionProto*,
    configuration 26 DeviceConfigurationProto*
DeviceConfigurationProto: name 1 bytes, num_devices 2 int32, device 3 bytes*
StringStringEntryProto: key 1 bytes, value 2 bytes
TensorAnnotation: tensor_name 1 bytes, quant_parameter_tensor_names 2 StringStringEntryProto*
GraphProto: node 1 NodeProto*, name 2 bytes, initializer 5 TensorProto*, sparse_initializer 15 SparseTensorProto*,
    doc_string 10 bytes, input 11 ValueInfoProto*, output 12 ValueInfoProto*, value_info 13 ValueInfoProto*,
    quantization_annotation 14 TensorAnnotation*, metadata_props 16 StringStringEntryProto*
TensorProto: dims 1 int64*, data_type 2 int32, segment 3 Segment, float_data 4 float*, int32_data 5 int32*,
    string_data 6 bytes*, int64_data 7 int64*, name 8 bytes, doc_string 12 bytes, raw_data 9 bytes,
    external_data 13 StringStringEntryProto*, data_location 14 int32, double_data 10 double*, uint64_data 11 uint64*,
    metadata_props 16 StringStringEntryProto*
Segment: begin 1 int64, end 2 int64
SparseTensorProto: values 1 TensorProto, indices 2 TensorProto, dims 3 int64*
TensorShapeProto: dim 1 Dimension*
Dimension: dim_value 1 int64, dim_param 2 bytes, denotation 3 bytes
TypeProto: tensor_type 1 Tensor, sequence_type 4 Sequence, map_type 5 Map, optional_type 9 Optional,
    sparse_tensor_type 8 SparseTensor, opaque_type 7 Opaque, denotation 6 bytes
Tensor: elem_type 1 int32, shape 2 TensorShapeProto
Sequence: elem_type 1 TypeProto
Map: key_type 1 int32, value_type 2 TypeProto
Optional: elem_type 1 TypeProto
SparseTensor: elem_type 1 int32, shape 2 TensorShapeProto
Opaque: domain 1 bytes, name 2 bytes
OperatorSetIdProto: domain 1 bytes, version 2 int64
FunctionProto: name 1 bytes, input 4 bytes*, output 5 bytes*, attribute 6 bytes*, attribute_proto 11 AttributeProto*,
    node 7 NodeProto*, doc_string 8 bytes, opset_import 9 OperatorSetIdProto*, domain 10 bytes, overload 13 bytes,
    value_info 12 ValueInfoProto*, metadata_props 14 StringStringEntryProto*
"""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIRES = {"int32": _VARINT, "int64": _VARINT, "uint64": _VARINT, "float": _FIXED32, "double": _FIXED64}
_SIZES = {_FIXED64: 8, _FIXED32: 4}
#: A varint holds 64 bits at most, seven to a byte; a field's key holds 32.
_VARINT_BYTES, _KEY_BITS = 10, 32
#: Bytes by whether another one of the same number follows; and packed numbers are looked at in pieces of this size.
_CONTINUES, _PIECE_BYTES = bytes(128) + b"\x01" * 128, 1 << 20
#: One number by its wire type, for runs of them: ONNX writes an attribute's integers one by one, each with its key.
_NUMBER = {
    _VARINT: rb"(?:[\x80-\xff]{0,8}[\x00-\x7f]|[\x80-\xff]{9}[\x00\x01])",
    _FIXED64: rb".{8}",
    _FIXED32: rb".{4}",
}
#: So many at once: a pattern's memory grows with its repetitions.
_RUN_LENGTH = 1000
#: Where a message stands inside one of its own kind.
_NESTING = frozenset(
    {("AttributeProto", "GraphProto"), *((kind, "TypeProto") for kind in ("Sequence", "Map", "Optional"))}
)
_DAMAGED = "Export or download the model again: its bytes are damaged, or were made to mislead."


@dataclass(frozen=True)
class Field:
    """A field of a message: ``kind`` is bytes, a type of numbers, or the message that it holds."""

    name: str
    number: int
    kind: str
    repeated: bool
    is_message: bool

    @property
    def is_run(self) -> bool:
        """Whether it is repeated numbers that nobody asks for."""
        return self.repeated and self.kind in _WIRES and self.name != "dims"

    @property
    def keys(self) -> tuple[int, ...]:
        """The keys that it may have: repeated numbers come packed or one by one."""
        wire = _WIRES.get(self.kind, _LENGTH)
        wires = {wire, _LENGTH} if self.repeated else {wire}
        return tuple(self.number << 3 | wire for wire in sorted(wires))


def _read_table() -> dict[str, tuple[Field, ...]]:
    schema = {}
    for line in _TABLE.replace("\n    ", " ").strip().splitlines():
        message, _, entries = line.partition(": ")
        fields = []
        for entry in entries.split(","):
            name, number, kind = entry.split()
            kind, repeated = kind.rstrip("*"), kind.endswith("*")
            fields.append(Field(name, int(number), kind, repeated, kind != "bytes" and kind not in _WIRES))
        schema[message] = tuple(fields)
    return schema


SCHEMA: Mapping[str, tuple[Field, ...]] = _read_table()
_KEYS = {kind: {key: field for field in fields for key in field.keys} for kind, fields in SCHEMA.items()}
_RUNS = {
    (kind, key): re.compile(b"(?:%s%s){1,%d}" % (re.escape(bytes([key])), _NUMBER[key & 7], _RUN_LENGTH), re.DOTALL)
    for kind, keys in _KEYS.items()
    for key, field in keys.items()
    if field.is_run and key & 7 != _LENGTH
}
_NUMBERS = {kind: {field.number: field.name for field in fields} for kind, fields in SCHEMA.items()}


class Message:
    """A message of the model while it is read.

    Attributes:
        kind: its name in onnx.proto.
        root: where the local function begins that it stands in, else 0, where the model begins.
        start, end: where its bytes are.
        depth: how many graphs or types of the same root it is nested in, beyond the first.
        seen: bit n is set where field number n occurs.
        numbers, spans, parts: singular numbers, places of singular bytes, and singular messages, by field number.
        dims: the dimensions of a tensor.
    """

    __slots__ = ("depth", "dims", "end", "kind", "numbers", "parent", "parts", "root", "seen", "spans", "start")

    def __init__(self, kind: str, parent: Message | None, start: int, end: int) -> None:
        self.kind = kind
        self.parent = parent
        self.start = start
        self.end = end
        self.root: int = start if parent is None or kind == "FunctionProto" else parent.root
        self.depth: int = 0 if parent is None else parent.depth + ((parent.kind, kind) in _NESTING)
        self.seen = 0
        self.numbers: dict[int, int] = {}
        self.spans: dict[int, tuple[int, int]] = {}
        self.parts: dict[int, Message] = {}
        self.dims: list[int] = []


class Walk:
    """One pass over a model.

    Each message whose kind is among ``closed`` is handed over when its last byte has been read: what stands inside it
    came before. A field that ONNX does not define is skipped, as protobuf does, and counted.

    Raises:
        UnsafeModel: bytes that are no protobuf, or that two parsers would not read alike.
    """

    def __init__(
        self, model: bytes, closed: Mapping[str, Callable[[Message], None]], fields_max: int, depth_max: int
    ) -> None:
        self.model = model
        self.closed = closed
        self.fields_max = fields_max
        self.depth_max = depth_max
        self.position = 0
        self.fields = 0
        self.unknown_bytes = 0
        #: The depth of the deepest message of each root, where it is not 0.
        self.deepest: dict[int, int] = {}

    def run(self) -> Message:
        """Read the whole model; the outermost message."""
        message = Message("ModelProto", None, 0, len(self.model))
        while True:
            while self.position == message.end:
                handler = self.closed.get(message.kind)
                if handler is not None:
                    handler(message)
                message.parts.clear()  # each points back here, and there may be a million of them
                if message.parent is None:
                    return message
                message = message.parent
            message = self._field(message)

    def _field(self, message: Message) -> Message:
        """Read one field; the message to go on in, which is the field where it is one."""
        start = self.position
        self._count()
        key = self._varint(message.end)
        field = _KEYS[message.kind].get(key)
        if field is None:
            self._skip(message, key)
            self.unknown_bytes += self.position - start
            return message
        bit = 1 << field.number
        if message.seen & bit and not field.repeated:
            self._refuse_second(message, field)
        message.seen |= bit
        if key & 7 != _LENGTH:
            self._scalar(message, field, key, start)
            return message
        end = self._length(message.end)
        if field.is_message:
            return self._open(message, field, end)
        if field.kind != "bytes":
            self._packed(message, field, end)
        elif not field.repeated:
            message.spans[field.number] = (self.position, end)
        self.position = end
        return message

    def _count(self) -> None:
        self.fields += 1
        if self.fields > self.fields_max:
            raise UnsafeModel(
                f"the model has more than {self.fields_max:,} fields",
                remedy="Its parser would make an object of each. Split the model, or raise the limit `fields`.",
            )

    def _refuse_second(self, message: Message, field: Field) -> None:
        # The one exception: weights are appended to a skeleton as a second graph.
        if (message.kind, field.name) != ("ModelProto", "graph"):
            raise self._damaged(f"{message.kind}.{field.name} occurs twice, and only one can count")

    def _scalar(self, message: Message, field: Field, key: int, start: int) -> None:
        run = _RUNS.get((message.kind, key))
        if run is not None:
            found = run.match(self.model, start, message.end)
            if not found:
                raise self._damaged(f"{message.kind}.{field.name} ends within a number")
            self.position = found.end()
        elif key & 7 == _VARINT:
            self._number(message, field, message.end)
        else:
            self._advance(_SIZES[key & 7], message.end)

    def _open(self, message: Message, field: Field, end: int) -> Message:
        part = Message(field.kind, message, self.position, end)
        if part.depth > self.depth_max:
            raise UnsafeModel(
                f"graphs or types are nested more than {self.depth_max} deep",
                remedy="Flatten the model, or raise the limit `depth`.",
            )
        if part.depth > self.deepest.get(part.root, 0):
            self.deepest[part.root] = part.depth
        if not field.repeated:
            message.parts[field.number] = part
        return part

    def _number(self, message: Message, field: Field, end: int) -> None:
        value = self._varint(end)
        if value >> 63 and field.kind != "uint64":
            value -= 1 << 64
        if field.kind == "int32" and not -(1 << 31) <= value < 1 << 31:
            # Parsers keep the lower half: 2³² + 1 would be a 1 to them.
            raise self._damaged(f"{message.kind}.{field.name} is {value}, which 32 bits do not hold")
        if not field.repeated:
            message.numbers[field.number] = value
        elif field.name == "dims":
            message.dims.append(value)

    def _packed(self, message: Message, field: Field, end: int) -> None:
        size = _SIZES.get(_WIRES[field.kind])
        if size:
            if (end - self.position) % size:
                raise self._damaged(f"{message.kind}.{field.name} ends within a number")
        elif field.name == "dims":
            while self.position < end:
                self._count()
                self._number(message, field, end)
        elif self.position < end:
            if self.model[end - 1] > 0x7F:
                raise self._damaged(f"{message.kind}.{field.name} ends within a number")
            if self._is_overlong(self.position, end):
                raise self._damaged(f"{message.kind}.{field.name} holds a number of more than {_VARINT_BYTES} bytes")

    def _is_overlong(self, start: int, end: int) -> bool:
        ends = ((place, min(place + _PIECE_BYTES + _VARINT_BYTES, end)) for place in range(start, end, _PIECE_BYTES))
        overlong = b"\x01" * _VARINT_BYTES
        return any(overlong in self.model[place:stop].translate(_CONTINUES) for place, stop in ends)

    def _skip(self, message: Message, key: int) -> None:
        if key >> _KEY_BITS:
            # Some parsers drop the upper bits, and take what others skip for a field of ONNX.
            raise self._damaged(f"a field's key of more than {_KEY_BITS} bits")
        number, wire = key >> 3, key & 7
        name = _NUMBERS[message.kind].get(number)
        if name is not None:
            raise self._damaged(f"{message.kind}.{name} has the wire type {wire}")
        if number == 0:
            raise self._damaged("a field has the number 0")
        if wire == _VARINT:
            self._varint(message.end)
        elif wire == _LENGTH:
            self.position = self._length(message.end)
        elif wire in _SIZES:
            self._advance(_SIZES[wire], message.end)
        else:
            raise self._damaged(f"a field has the wire type {wire}, which ONNX does not use")

    def _length(self, end: int) -> int:
        size = self._varint(end)
        if size > end - self.position:
            raise self._damaged(f"a field of {size} bytes where {end - self.position} are left")
        return self.position + size

    def _advance(self, size: int, end: int) -> None:
        if size > end - self.position:
            raise self._damaged(f"a number of {size} bytes where {end - self.position} are left")
        self.position += size

    def _varint(self, end: int) -> int:
        start = self.position
        if start < end and self.model[start] < 0x80:  # nearly always
            self.position = start + 1
            return self.model[start]
        value = 0
        for place in range(start, min(end, start + _VARINT_BYTES)):
            byte = self.model[place]
            value |= (byte & 0x7F) << 7 * (place - start)
            if byte < 0x80:
                if value >> 64:
                    break
                self.position = place + 1
                return value
        raise self._damaged("a number that does not end, or has more than 64 bits")

    def _damaged(self, what: str) -> UnsafeModel:
        return UnsafeModel(f"not a sound ONNX model: {what} (at byte {self.position:,})", remedy=_DAMAGED)
