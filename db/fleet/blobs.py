"""Models and traces by the sha256 of their contents, in pieces inside the database, so that every replica has them.

Each function runs inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from ...profiler.errors import BadDocument
from ..connect import insert_missing, now, stamp
from ..fleet_schema import blob, blob_piece

#: Small enough that neither side holds much of a model in memory.
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class BlobInfo:
    """What is known of a blob without reading it."""

    sha256: str
    size_bytes: int
    media_type: str


def put(
    connection: Connection, sha256: str, pieces: Iterable[bytes], media_type: str, by: str, most_bytes: int
) -> BlobInfo:
    """Store contents under their sha256; what is there already is left as it is.

    Args:
        pieces: the contents, in pieces of any size.

    Raises:
        BadDocument: they have another sha256, or more than ``most_bytes``; nothing is kept then.
    """
    there = info(connection, sha256)
    if there is not None:
        return there
    # The row comes first, since its pieces refer to it; its size is known only at the end, and is written then.
    row = {"sha256": sha256, "size_bytes": 0, "media_type": media_type, "created_by": by}
    added = connection.execute(
        insert_missing(blob, connection).values(**row, created_at=stamp(now(connection))).returning(blob.c.sha256)
    ).first()
    if added is None:  # another upload of the same was faster
        found = info(connection, sha256)
        assert found is not None
        return found
    digest, size = hashlib.sha256(), 0
    for ordinal, piece in enumerate(_even(pieces)):
        digest.update(piece)
        size += len(piece)
        if size > most_bytes:
            raise BadDocument(f"a blob of more than {most_bytes >> 20} MiB", remedy="send a smaller model")
        connection.execute(insert(blob_piece), {"sha256": sha256, "ordinal": ordinal, "payload": piece})
    if digest.hexdigest() != sha256:
        raise BadDocument("the contents have another sha256 than was announced: the upload was cut off or garbled")
    connection.execute(blob.update().where(blob.c.sha256 == sha256).values(size_bytes=size))
    return BlobInfo(sha256, size, media_type)


def _even(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """The same bytes in pieces of one size, so that a range can be found without reading what stands before it."""
    pending = bytearray()
    for piece in pieces:
        pending += piece
        while len(pending) >= PIECE_BYTES:
            yield bytes(pending[:PIECE_BYTES])
            del pending[:PIECE_BYTES]
    if pending:
        yield bytes(pending)


def info(connection: Connection, sha256: str) -> BlobInfo | None:
    """What is known of a blob; None when it is not there."""
    row = connection.execute(select(blob).where(blob.c.sha256 == sha256)).one_or_none()
    return None if row is None else BlobInfo(row.sha256, row.size_bytes, row.media_type)


def read(connection: Connection, sha256: str, start: int, length: int) -> bytes:
    """Up to ``length`` bytes from ``start`` on."""
    first, last = start // PIECE_BYTES, (start + length - 1) // PIECE_BYTES
    statement = (
        select(blob_piece.c.payload)
        .where(blob_piece.c.sha256 == sha256, blob_piece.c.ordinal.between(first, last))
        .order_by(blob_piece.c.ordinal)
    )
    found = b"".join(connection.execute(statement).scalars())
    begin = start - first * PIECE_BYTES
    return found[begin : begin + length]
