"""Visits as bytes and back, exactly: a version byte, then zlib over a JSON head and delta-coded 64-bit integers.

History of the format: 1 – first: head = [ordinal, session, runs, cpu runs, switches, reject reason, value] per visit.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..profiler.errors import SchemaMismatch, StoreError
from ..profiler.records import Visit

#: Stands in ``measurement_raw.codec``.
CODEC = "edgecost-visits-1"
_VERSION = 1
_HEAD_LENGTH = struct.Struct("<I")


def encode_visits(visits: Sequence[Visit]) -> bytes:
    """Visits as bytes; times are int64 nanoseconds.

    Raises:
        OverflowError: a time does not fit 64 bits.
    """
    head = json.dumps(
        [
            [v.ordinal, v.session, len(v.wall_ns), len(v.cpu_ns), v.switches, v.reject_reason, v.value_ns]
            for v in visits
        ],
        separators=(",", ":"),
    ).encode()
    times = [t for v in visits for t in v.wall_ns] + [t for v in visits for t in v.cpu_ns]
    times += [t for v in visits for t in v.canary_ns]
    body = _HEAD_LENGTH.pack(len(head)) + head + _pack(np.array(times, dtype=np.int64))
    return bytes([_VERSION]) + zlib.compress(body, 6)


def decode_visits(payload: bytes) -> tuple[Visit, ...]:
    """The visits that ``encode_visits`` was given.

    Raises:
        SchemaMismatch: the payload has a version that this edgecost does not know.
        StoreError: the payload is damaged.
    """
    if payload[:1] != bytes([_VERSION]):
        raise SchemaMismatch(
            f"Raw visits in format {payload[:1].hex() or 'none'}; this edgecost reads format {_VERSION}.",
            remedy="Upgrade edgecost.",
        )
    try:
        return _decode_body(zlib.decompress(payload[1:]))
    except (zlib.error, struct.error, ValueError, IndexError) as error:
        raise StoreError(f"Raw visits are damaged: {error}.", remedy="Restore the database from a copy.") from error


def _decode_body(body: bytes) -> tuple[Visit, ...]:
    start = _HEAD_LENGTH.size + _HEAD_LENGTH.unpack_from(body)[0]
    head: list[tuple[int, str, int, int, int, str, float | None]] = json.loads(body[_HEAD_LENGTH.size : start])
    times: list[int] = _unpack(body[start:]).tolist()
    wall_at, cpu_at = 0, sum(row[2] for row in head)
    canary_at = cpu_at + sum(row[3] for row in head)
    if canary_at + 2 * len(head) != len(times):
        raise ValueError(f"{len(times)} times for {len(head)} visits")
    visits = []
    for ordinal, session, runs, cpu_runs, switches, reject_reason, value_ns in head:
        visits.append(
            Visit(
                ordinal=ordinal,
                session=session,
                wall_ns=tuple(times[wall_at : wall_at + runs]),
                cpu_ns=tuple(times[cpu_at : cpu_at + cpu_runs]),
                canary_ns=(times[canary_at], times[canary_at + 1]),
                switches=switches,
                reject_reason=reject_reason,
                value_ns=value_ns,
            )
        )
        wall_at, cpu_at, canary_at = wall_at + runs, cpu_at + cpu_runs, canary_at + 2
    return tuple(visits)


def _pack(times: NDArray[np.int64]) -> bytes:
    """Differences, sign in the lowest bit, bytes of equal weight together: small neighbours become runs of zeros.

    The subtraction may wrap around; the sum wraps back, so every int64 returns.
    """
    deltas = np.diff(times, prepend=np.int64(0))
    zigzag = (deltas << 1) ^ (deltas >> 63)
    return zigzag.astype("<i8").view(np.uint8).reshape(-1, 8).T.tobytes()


def _unpack(packed: bytes) -> NDArray[np.int64]:
    planes = np.frombuffer(packed, dtype=np.uint8).reshape(8, -1)
    zigzag = np.ascontiguousarray(planes.T).view("<u8").reshape(-1)
    deltas = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
    return np.cumsum(deltas, dtype=np.int64)
