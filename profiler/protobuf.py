"""Protobuf's wire format, read and written field by field. Standard library only; it knows no schema and no ONNX.

With it a board reads the few facts of a small graph that it needs, and needs no onnx package. What a field number means
is the caller's business, and so is whether a message makes sense. Groups, which protobuf gave up before ONNX was made,
are refused. (Encoding: protobuf.dev/programming-guides/encoding.)
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from .errors import BrokenModel

#: A varint carries 7 bits a byte. No number has more than 64 of them, and no key more than 32.
_NUMBER_BYTES_MAX, _KEY_BYTES_MAX = 10, 5
_64_BITS = (1 << 64) - 1
#: Numbers that a field may have: a key is 32 bits, three of them the wire type.
_FIELDS = range(1, 1 << 29)


class WireType(IntEnum):
    """How a value is written; 3 and 4 were groups, 6 and 7 never were anything."""

    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    FIXED32 = 5


_FIXED_BYTES = {WireType.FIXED64: 8, WireType.FIXED32: 4}


def walk(message: bytes) -> Iterator[tuple[int, WireType, int | bytes]]:
    """Every field in the order in which it is written: number, wire type, value.

    A varint's value is an ``int``, unsigned; all others are ``bytes``, of the length that they were written with. The
    message is looked at as it is walked through: what stands before a fault has been yielded.

    Raises:
        BrokenModel: the message ends within a field, or a field is none.
    """
    place = 0
    while place < len(message):
        key, place = _varint_at(message, place, _KEY_BYTES_MAX)
        number, wire_type = key >> 3, _wire_type(key & 7, place)
        if number not in _FIELDS:
            raise _broken(f"a field numbered {number} before byte {place}")
        if wire_type is WireType.VARINT:
            value, place = _varint_at(message, place)
            yield number, wire_type, value
            continue
        if wire_type is WireType.BYTES:
            length, place = _varint_at(message, place)
        else:
            length = _FIXED_BYTES[wire_type]
        if length > len(message) - place:
            raise _broken(f"field {number} has {length} bytes, {len(message) - place} are left")
        yield number, wire_type, message[place : place + length]
        place += length


def payloads(message: bytes, number: int) -> list[bytes]:
    """What a repeated field of messages, strings or bytes holds; empty where the field is not written.

    Raises:
        BrokenModel: as ``walk``, or the field is written as something else.
    """
    found = []
    for field, wire_type, value in walk(message):
        if field == number:
            if wire_type is not WireType.BYTES or not isinstance(value, bytes):
                raise _broken(f"field {number} is written as {wire_type.name}, not as BYTES")
            found.append(value)
    return found


def submessage(message: bytes, number: int) -> bytes:
    """A field that is a message, empty where it is not written. Parts of one that is written twice are merged.

    To merge messages is to append their bytes ("Last One Wins" in the encoding's description).
    """
    return b"".join(payloads(message, number))


def texts(message: bytes, number: int) -> list[str]:
    """What a repeated field of strings holds; of a single one the last counts.

    Raises:
        BrokenModel: as ``payloads``, or it is no UTF-8.
    """
    try:
        return [payload.decode() for payload in payloads(message, number)]
    except UnicodeDecodeError as error:
        raise _broken(f"the text in field {number} is no UTF-8") from error


def text(message: bytes, number: int) -> str:
    """A field that is a string: the last one written, empty where there is none, as protobuf has it."""
    found = texts(message, number)
    return found[-1] if found else ""


def whole_number(message: bytes, number: int) -> int:
    """A field that is an integer: the last one written, 0 where there is none, as protobuf has it; unsigned.

    Raises:
        BrokenModel: as ``walk``, or the field is written as something else.
    """
    found = 0
    for field, wire_type, value in walk(message):
        if field == number:
            if not isinstance(value, int):
                raise _broken(f"field {number} is written as {wire_type.name}, not as VARINT")
            found = value
    return found


def written(number: int, value: int | bytes | str) -> bytes:
    """One field: an integer as a varint, text and submessages with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3 | WireType.VARINT) + _varint(value & _64_BITS)
    payload = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | WireType.BYTES) + _varint(len(payload)) + payload


def _varint_at(message: bytes, place: int, most_bytes: int = _NUMBER_BYTES_MAX) -> tuple[int, int]:
    """The number that begins at ``place``, and where the next thing begins."""
    value = 0
    for index, byte in enumerate(message[place : place + most_bytes]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & _64_BITS, place + index + 1
    if len(message) - place < most_bytes:
        raise _broken(f"the message ends within the number at byte {place}")
    raise _broken(f"the number at byte {place} has more than {most_bytes} bytes")


def _varint(number: int) -> bytes:
    # The runner has the like of its own: it is one file that stands by itself, in Python 3.6.
    written_bytes = bytearray()
    while number > 0x7F:
        written_bytes.append(number & 0x7F | 0x80)
        number >>= 7
    written_bytes.append(number)
    return bytes(written_bytes)


def _wire_type(number: int, place: int) -> WireType:
    try:
        return WireType(number)
    except ValueError:
        raise _broken(f"wire type {number} before byte {place}") from None


def _broken(what: str) -> BrokenModel:
    return BrokenModel(f"no protobuf message: {what}", remedy="the bytes were cut off or changed: send them again")
