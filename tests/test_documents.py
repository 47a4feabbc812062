"""Records as JSON and back: nothing is lost on the way, and nothing that does not belong there gets through."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.profiler import fleet_protocol
from edgecost.profiler.documents import decode, document_of, schema_of
from edgecost.profiler.errors import BadDocument
from edgecost.profiler.fleet_protocol import MESSAGES, Lease, LeasedJob, LeasedWorkload, Renewal, Result
from edgecost.profiler.protocol import PRESETS
from edgecost.profiler.records import Energy, Latency, Measurement, PeakMemory, Reading, Status, Visit
from edgecost.profiler.weights import Weight

NUMBERS = st.integers(0, 1 << 62)
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)
POSITIVE = st.floats(1e-6, 1e6)
VISITS = st.builds(
    Visit, ordinal=NUMBERS, session=TEXTS, wall_ns=st.lists(NUMBERS, max_size=3).map(tuple),
    cpu_ns=st.lists(NUMBERS, max_size=3).map(tuple), canary_ns=st.tuples(NUMBERS, NUMBERS), switches=NUMBERS,
    reject_reason=TEXTS, value_ns=st.none() | POSITIVE,
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MEASUREMENTS = st.builds(
    Measurement,
    **dict.fromkeys(("measurement_id", "graph_hash", "profile_hash", "environment_hash", "device_identity"), TEXTS),
    **dict.fromkeys(("session", "protocol", "purpose", "message", "started_at", "finished_at"), TEXTS),
    status=st.sampled_from(Status),
    latency=st.none() | st.builds(Latency, *[POSITIVE] * 8, st.none() | POSITIVE, NUMBERS, NUMBERS),
    overhead_ms=st.none() | POSITIVE,
    visits=st.lists(VISITS, max_size=3).map(tuple),
    conditions=st.dictionaries(TEXTS, JSON, max_size=3),
    energy=st.none() | st.just(Energy(Reading.OK, "soc", gross_median_mj=2.0, gross_lo_mj=1.0, gross_hi_mj=3.0)),
    peak_memory=st.none() | st.just(PeakMemory(Reading.BELOW_RESOLUTION, "rss-1", "too small")),
)
RESULTS = st.builds(
    Result, job_id=NUMBERS, lease_token=TEXTS, measurement=MEASUREMENTS,
    environment=st.dictionaries(TEXTS, JSON, max_size=3), profile=st.dictionaries(TEXTS, JSON, max_size=3),
    killed_by=TEXTS,
)  # fmt: skip


@given(RESULTS)
def test_a_result_survives_the_wire(result: Result) -> None:
    text = json.dumps(document_of(result), allow_nan=False)
    assert decode(Result, json.loads(text)) == result
    jsonschema.validate(json.loads(text), schema_of(Result))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_lease_survives_the_wire(preset: str) -> None:
    workload = LeasedWorkload("conv", "operator", "ab", (Weight("w", (3, 3), "float32", 0.1),), skeleton="eJw=")
    lease = Lease("t", "c", "ort", "cd", PRESETS[preset], 60.0, (LeasedJob(1, "cell", "a", workload),), 1.5)
    assert decode(Lease, json.loads(json.dumps(document_of(lease)))) == lease


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_message_has_a_valid_schema(kind: type) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(kind))


def test_every_message_is_listed() -> None:
    parts = {"OfferedRuntime", "LeasedWorkload", "LeasedJob"}  # of other messages
    made = {
        one.__name__
        for one in vars(fleet_protocol).values()
        if isinstance(one, type) and is_dataclass(one) and one.__module__ == fleet_protocol.__name__
    }
    assert {kind.__name__ for kind in MESSAGES} == made - parts


def good() -> dict[str, object]:
    return document_of(Result(1, "t", measurement(), {}, {}))


def measurement() -> Measurement:
    visit = Visit(1, "s", (5,), (5,), (1, 1), 0, "", 5.0)
    texts = dict.fromkeys(("session", "protocol", "purpose", "message", "started_at", "finished_at"), "x")
    hashes = dict.fromkeys(("measurement_id", "graph_hash", "profile_hash", "environment_hash", "device_identity"), "y")
    return Measurement(**texts, **hashes, status=Status.REJECTED, latency=None, overhead_ms=None, visits=(visit,))


def nest(depth: int) -> object:
    return [nest(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("job_id",), "1", "job_id: a whole number belongs here, not '1'"),
        (("job_id",), True, "a whole number belongs here, not True"),
        (("job_id",), 1 << 63, "does not fit 64 bits"),
        (("lease_token",), 7, "lease_token: a text belongs here"),
        (("lease_token",), "a\0b", "zero character"),
        (("unheard_of",), 1, "has no field 'unheard_of'"),
        (("measurement",), [], "an object belongs here"),
        (("measurement", "status"), "fine", "none of ok, unconverged"),
        (("measurement", "overhead_ms"), float("nan"), "not a finite number"),
        (("measurement", "visits", 0, "canary_ns"), [1], "2 values belong here, not 1"),
        (("measurement", "visits", 0, "wall_ns"), 3, "a list belongs here"),
        (("measurement", "visits", 0, "wall_ns"), [1.5], "a whole number belongs here"),
        (("environment",), {"a": float("inf")}, "not a finite number"),
        (("environment",), {"a": nest(20)}, "nested deeper"),
        (("environment",), {1: 2}, "an object belongs here"),
        (("measurement", "energy"), {"status": "ok"}, "energy"),
    ],
)
def test_what_does_not_belong_is_refused_by_its_place(place: tuple[str | int, ...], value: object, said: str) -> None:
    document = good()
    inner: object = document
    for step in place[:-1]:
        inner = inner[step]  # type: ignore[index]
    inner[place[-1]] = value  # type: ignore[index]
    with pytest.raises(BadDocument) as refused:
        decode(Result, document)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", [one.name for one in fields(Result) if one.default is MISSING])
def test_a_missing_field_is_named(name: str) -> None:
    document = good()
    del document[name]
    with pytest.raises(BadDocument, match=f"lacks the field '{name}'"):
        decode(Result, document)


def test_what_may_be_left_out_has_its_default() -> None:
    assert decode(Renewal, {}) == Renewal()


@given(JSON)
def test_whatever_arrives_is_read_or_refused(document: object) -> None:
    # Any other exception fails this test; hardly any JSON is a result.
    with suppress(BadDocument):
        decode(Result, document)
