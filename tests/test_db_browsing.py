"""What people look at in a store: the newest first, and never more than was asked for."""

from __future__ import annotations

import pytest

from edgecost.db import Store
from edgecost.db.browsing import Pace
from edgecost.profiler.errors import UsageError
from tests.fleet_store import PROFILE, campaign, enrol, result, workload


def fill(store: Store, jobs: int = 6) -> list[str]:
    """Results of one board, in the order in which they were made."""
    board = enrol(store, "nano-1")
    campaign(store, jobs)
    made = []
    for at in range(jobs):
        batch = store.fleet.lease(board.agent_id, 1, 60.0)
        assert batch is not None
        sent = result(board, batch, name=f"{at:032x}")
        store.fleet.accept(board.agent_id, sent)
        made.append(sent.measurement.measurement_id)
    return made


def test_the_newest_of_a_device_are_found_whatever_came_of_them(store: Store) -> None:
    made = fill(store)
    found = store.browsing.newest(device_identity="device-nano-1", limit=4)
    assert [one.measurement_id for one in found] == made[::-1][:4]
    assert {one.profile_hash for one in found} == {PROFILE.profile_hash}
    assert store.browsing.newest(device_identity="device-nano-9") == []


def test_those_of_a_graph_and_one_alone(store: Store) -> None:
    made = fill(store)
    (one,) = store.browsing.newest(graph_hash=workload(1).graph_hash)
    assert store.browsing.measurement(one.measurement_id).measurement_id == one.measurement_id
    assert one.measurement_id in made
    with pytest.raises(UsageError, match="there is no measurement"):
        store.browsing.measurement("f" * 32)
    with pytest.raises(UsageError, match="of which device"):
        store.browsing.newest()


def test_workloads_are_found_by_a_part_of_their_name_and_nothing_in_it_is_a_pattern(store: Store) -> None:
    fill(store, 12)
    assert [one.name for one in store.browsing.workloads("sigmoid_1")] == [
        "sigmoid_1", "sigmoid_10", "sigmoid_11", "sigmoid_12",
    ]  # fmt: skip
    assert store.browsing.workloads("sigmoid%1") == []
    assert store.browsing.workloads("sigmoidx1") == []
    assert len(store.browsing.workloads(limit=3)) == 3
    (by_hash,) = store.browsing.workloads(workload(3).graph_hash[:12])
    assert by_hash.name == "sigmoid_3"
    assert store.browsing.names([workload(2).graph_hash, "0" * 64]) == {workload(2).graph_hash: "sigmoid_2"}


def test_a_campaign_s_pace_counts_results_that_counted(store: Store) -> None:
    assert store.browsing.pace(99).results == 0
    fill(store, 5)
    (one,) = store.campaigns()
    pace = store.browsing.pace(one.id)
    assert pace.results == 5
    assert pace.first_at is not None
    assert pace.last_at is not None
    assert pace.first_at <= pace.last_at


def test_results_that_come_together_do_not_make_a_campaign_fast(store: Store) -> None:
    assert store.browsing.pace(99).per_minute is None
    fill(store, 5)
    pace = store.browsing.pace(store.campaigns()[0].id)
    # Each was measured for a second; they were sent at once.
    assert pace.first_took_s == 1.0
    assert pace.per_minute is not None
    assert pace.per_minute <= 5 * 60.0


@pytest.mark.parametrize(("took_s", "last", "expected"), [(0.0, "00", None), (30.0, "00", 20.0), (30.0, "30", 10.0)])
def test_the_pace_counts_from_when_the_first_began(took_s: float, last: str, expected: float | None) -> None:
    pace = Pace(10, "2026-01-01T00:00:00+00:00", f"2026-01-01T00:00:{last}+00:00", took_s)
    assert pace.per_minute == expected
