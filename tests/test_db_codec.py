"""Visits as bytes: whatever goes in comes out, and damage is named."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.db.codec import decode_visits, encode_visits
from edgecost.profiler.errors import SchemaMismatch, StoreError
from edgecost.profiler.records import Visit

NANOSECONDS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.lists(NANOSECONDS, max_size=8).map(tuple)
VISITS = st.builds(
    Visit,
    ordinal=st.integers(0, 2**31),
    session=st.text(),
    wall_ns=TIMES,
    cpu_ns=TIMES,
    canary_ns=st.tuples(NANOSECONDS, NANOSECONDS),
    switches=st.integers(0, 2**40),
    reject_reason=st.text(),
    value_ns=st.none() | st.floats(allow_nan=False),
)


@given(st.lists(VISITS, max_size=6))
def test_visits_come_back_exactly(visits: list[Visit]) -> None:
    assert decode_visits(encode_visits(visits)) == tuple(visits)


def test_a_typical_session_takes_less_than_two_bytes_per_time() -> None:
    visits = [
        Visit(
            n, "session", tuple(2_000_000 + (n * 7919 + k * 104_729) % 4000 for k in range(30)), (), (9, 9), 0, "", 2e6
        )
        for n in range(20)
    ]
    assert len(encode_visits(visits)) < 2 * 20 * 30


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"", SchemaMismatch),
        (b"\x02anything", SchemaMismatch),
        (b"\x01not zlib", StoreError),
        (b"\x01" + zlib.compress(b""), StoreError),
        (b"\x01" + zlib.compress(b"\x02\x00\x00\x00[]" + bytes(8)), StoreError),
        (encode_visits([Visit(0, "s", (1, 2), (), (3, 4), 0, "", None)])[:-3], StoreError),
    ],
)
def test_damaged_or_newer_bytes_are_an_error_of_ours(payload: bytes, error: type[StoreError]) -> None:
    with pytest.raises(error):
        decode_visits(payload)
