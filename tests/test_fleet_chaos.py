"""Chaos: real hubs and real agents as processes, killed at random points, behind a proxy that cuts connections.

At the end every job has exactly one accepted result, nothing that an agent was given a receipt for is missing, and the
sums agree. ``EDGECOST_CHAOS_SEED`` repeats one; ``benchmarks/fleet_soak.py`` is the same for half an hour.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from edgecost.db import Store
from tests.chaos_fleet import add_jobs, check, fleet_on, say, wait_until_begun, wait_until_done

JOBS, CHAOS_S = 100, 14.0
SEED = int(os.environ.get("EDGECOST_CHAOS_SEED", "0")) or random.randrange(1, 1 << 30)


def test_hubs_and_boards_that_are_killed_at_random_lose_nothing_and_double_nothing(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    replicas = 2 if database_url.startswith("postgresql") else 1
    fleet = fleet_on(store, database_url, tmp_path, replicas=replicas, seed=SEED)
    campaign_id = add_jobs(store, JOBS)
    dice = random.Random(SEED)
    try:
        for one in fleet.everybody():
            one.start()
        wait_until_begun(store, campaign_id)
        fleet.chaos(CHAOS_S, dice)
        fleet.proxy.cut_share = 0.0
        wait_until_done(store, campaign_id, JOBS, 180)
        codes = {agent.name: agent.end() for agent in fleet.agents}
        assert set(codes.values()) == {0}, codes
        check(store, tmp_path)
    except BaseException:
        say(f"EDGECOST_CHAOS_SEED={SEED}", *fleet.events)
        for one in fleet.everybody():
            say(f"--- {one.name}", one.last_words())
        raise
    finally:
        fleet.proxy.close()
        for one in fleet.everybody():
            if one.running is not None and one.running.poll() is None:
                one.kill()
    killed = {one.name: one.kills for one in fleet.everybody()}
    say(f"killed {killed}, {fleet.proxy.cuts} connections cut")
    assert sum(killed.values()) > 5
    assert fleet.proxy.cuts > 0
