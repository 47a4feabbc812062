"""What was sent: read up to a limit, unpacked up to the same limit, and decoded strictly. Nothing is guessed."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator
from typing import TypeVar

from fastapi import Request

from ..profiler.documents import decode
from ..profiler.errors import BadDocument
from .refusal import Refusal

#: Of a length that anybody may announce; Python refuses to read numbers of thousands of digits.
_DIGITS_MAX = 18

T = TypeVar("T")


async def read_record(request: Request, kind: type[T], most_bytes: int) -> T:
    """The record in a request's JSON body.

    Raises:
        Refusal: too large, packed in another way than gzip, or cut off.
        BadDocument: no JSON, or not this record.
    """
    body = b"".join([piece async for piece in read_pieces(request, most_bytes)])
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "gzip":
        body = _unpack(body, most_bytes)
    elif encoding != "identity":
        raise Refusal(415, f"a body packed by {encoding!r}", "send it as it is, or as gzip")
    try:
        # As a text: ``json`` guesses at UTF-16 and UTF-32 in bytes, and lets broken ones through.
        text = (body or b"{}").decode("utf-8")
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twice)
    except (ValueError, RecursionError) as error:
        raise BadDocument("the body is no JSON in UTF-8") from error
    return decode(kind, document)


async def read_pieces(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    """A body as it comes in, refused as soon as it is too large, whatever length was announced."""
    announced = request.headers.get("content-length", "0")
    size = 0
    if announced.isdecimal() and (len(announced) > _DIGITS_MAX or int(announced) > most_bytes):
        raise _too_large(most_bytes)
    async for piece in request.stream():
        size += len(piece)
        if size > most_bytes:
            raise _too_large(most_bytes)
        yield piece


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(413, f"a body of more than {most_bytes:,} bytes", "send less at once")


def _unpack(body: bytes, most_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        # One byte more than is allowed tells a body that is just as large from one that goes on.
        found = unpacker.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise BadDocument("the body is no gzip") from error
    if len(found) > most_bytes:
        raise _too_large(most_bytes)
    if not unpacker.eof or unpacker.unused_data:
        raise BadDocument("the body is cut off, or has something behind its end")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _refuse_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field stands there twice")
    return found
