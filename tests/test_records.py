"""Records: identities that stay from version to version, and documents that are read as they were written."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecost.profiler.records import RuntimeProfile, Status, content_hash

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FIRST_VERSION = st.builds(
    RuntimeProfile,
    runtime=TEXT,
    version=TEXT,
    provider=TEXT,
    threads=st.integers(1, 64),
    precision=TEXT,
    graph_level=TEXT,
    options=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
)
PROFILES = st.builds(
    lambda profile, interpreter, affinity: replace(profile, interpreter=interpreter, affinity=affinity),
    FIRST_VERSION,
    TEXT,
    st.lists(st.integers(0, 63), max_size=3).map(tuple),
)
FIRST_FIELDS = ("runtime", "version", "provider", "threads", "precision", "graph_level", "options")


@given(FIRST_VERSION)
def test_a_profile_of_the_first_version_keeps_its_hash(profile: RuntimeProfile) -> None:
    whole = asdict(profile)
    assert profile.profile_hash == content_hash({name: whole[name] for name in FIRST_FIELDS})


def test_the_hash_of_one_profile_is_written_down_here() -> None:
    # sha256 of the canonical JSON of the first version's fields; stores hold it.
    profile = RuntimeProfile("onnxruntime", "1.32.0")
    assert profile.profile_hash == "8c35703614f1bd26fd7149ede9eda78a2a0442ee58bbca161232fd4c56380002"


@given(PROFILES)
def test_a_document_gives_back_the_profile_that_it_was_made_from(profile: RuntimeProfile) -> None:
    assert RuntimeProfile.from_document(profile.document()) == profile
    read = RuntimeProfile.from_document(json.loads(json.dumps(profile.document())))
    assert read == profile
    assert read.profile_hash == profile.profile_hash


@given(PROFILES, PROFILES)
def test_two_profiles_have_one_hash_only_if_they_are_equal(one: RuntimeProfile, other: RuntimeProfile) -> None:
    assert (one.profile_hash == other.profile_hash) == (one == other)


def test_another_interpreter_or_other_cpus_are_another_quantity() -> None:
    plain = RuntimeProfile("onnxruntime", "1.32.0")
    hashes = {
        plain.profile_hash,
        replace(plain, interpreter="/opt/python").profile_hash,
        replace(plain, affinity=(1,)).profile_hash,
        replace(plain, affinity=(0, 1)).profile_hash,
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clock_mhz": 1200}, "clock_mhz"),
        ({"threads": "2"}, "threads"),
        ({"threads": None}, "threads"),
        ({"options": "a=1"}, "options"),
        ({"options": [["a"]]}, "options"),
        ({"options": [1]}, "options"),
        ({"affinity": 3}, "affinity"),
        ({"affinity": ["1"]}, "affinity"),
        ({"affinity": [None]}, "affinity"),
    ],
)
def test_what_this_version_does_not_know_is_refused(change: dict[str, object], said: str) -> None:
    document = RuntimeProfile("onnxruntime", "1.32.0").document()
    with pytest.raises(ValueError, match=said):
        RuntimeProfile.from_document({**document, **change})


@pytest.mark.parametrize("name", ["runtime", "version", "provider", "precision", "graph_level", "threads"])
def test_what_every_version_has_must_be_there(name: str) -> None:
    document = RuntimeProfile("onnxruntime", "1.32.0").document()
    del document[name]
    with pytest.raises(ValueError, match=name):
        RuntimeProfile.from_document(document)


def test_an_unstable_attempt_has_no_latency_that_may_be_used() -> None:
    assert [status for status in Status if status.has_latency] == [
        Status.OK,
        Status.UNCONVERGED,
        Status.SIMULATED,
    ]


@pytest.mark.parametrize(
    ("change", "is_one"),
    [
        ({}, True),
        ({"threads": 2}, False),
        ({"provider": "CUDAExecutionProvider"}, False),
        ({"runtime": "tvm", "provider": "llvm"}, True),
        ({"runtime": "tvm", "provider": "llvm", "options": (("rpc_tracker", "board:9190"),)}, False),
    ],
)
def test_only_where_one_thread_here_does_all_the_work_does_its_clock_tell(
    change: dict[str, object], is_one: bool
) -> None:
    profile = replace(RuntimeProfile("onnxruntime", "1.32.0"), **change)  # type: ignore[arg-type]
    assert profile.is_one_cpu_thread == is_one
