"""Half an hour of chaos on loopback: hubs and boards are killed, connections cut, and memory of the hubs is watched.

The processes, killer and proxy of tests/test_fleet_chaos.py, on PostgreSQL with two hubs, or on SQLite with one.
It ends with the same check: each job has exactly one result, nothing is lost, nothing doubled, sums agree.

Run it:  python benchmarks/fleet_soak.py --minutes 30
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the killer and the proxy are the tests' own

from bulk_load import postgresql  # noqa: E402

from edgecost.db import Store  # noqa: E402
from tests.chaos_fleet import Fleet, add_jobs, check, fleet_on, wait_until_begun, wait_until_done  # noqa: E402

#: Jobs for each second: about what four boards do between two deaths.
JOBS_PER_S = 4.0
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process; None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
    except (OSError, IndexError):
        return None


def soak(url: str, folder: Path, seconds: float, seed: int, replicas: int) -> None:
    dice = random.Random(seed)
    with Store(url) as store:
        fleet = fleet_on(store, url, folder, replicas=replicas, seed=seed, cut_share=0.2)
        jobs = int(seconds * JOBS_PER_S)
        campaign_id = add_jobs(store, jobs)
        for one in fleet.everybody():
            one.start()
        try:
            wait_until_begun(store, campaign_id)
            begin = time.monotonic()
            while time.monotonic() - begin < seconds:
                fleet.chaos(min(30.0, seconds), dice)
                tell(store, fleet, campaign_id, time.monotonic() - begin)
            fleet.proxy.cut_share = 0.0
            wait_until_done(store, campaign_id, jobs, seconds + 120)
            lasted = time.monotonic() - begin
            assert {agent.end() for agent in fleet.agents} == {0}
            check(store, folder)
        finally:
            fleet.proxy.close()
            for one in fleet.everybody():
                if one.running is not None and one.running.poll() is None:
                    one.kill()
    kills = sum(one.kills for one in fleet.everybody())
    print(f"seed {seed}: {jobs} jobs, each with one result; {jobs / lasted:.1f} a second, beside {kills} deaths and")
    print(f"{fleet.proxy.cuts} cut connections. Lost: 0. Doubled: 0.")


def tell(store: Store, fleet: Fleet, campaign_id: int, seconds: float) -> None:
    states = store.fleet.job_states(campaign_id)
    memory = [resident_mb(hub.running.pid) for hub in fleet.hubs if hub.running is not None]
    shown = ", ".join("gone" if one is None else f"{one:.0f} MB" for one in memory)
    print(f"{seconds:6.0f} s  {states['done']} done, {states['failed']} failed; hubs {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--engine", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--postgresql", metavar="URL", help="A server that may be filled; default: one of our own.")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1 << 30))
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory(prefix="edgecost-soak-") as folder:
        if options.engine == "sqlite":
            soak(f"sqlite:///{folder}/soak.sqlite", Path(folder), options.minutes * 60, options.seed, 1)
            return
        with postgresql(options.postgresql) as new_url:
            soak(new_url(), Path(folder), options.minutes * 60, options.seed, 2)


if __name__ == "__main__":
    main()
