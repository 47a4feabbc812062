"""How long the hub takes to make each page, at 10⁴, 10⁵ and 10⁶ measurements and 200 boards, on SQLite and PostgreSQL.

The store is that of ``store_scale.py`` (measurements that are made up), with an agent for each device and a campaign of
1,000 jobs. Pages are asked for over loopback by one client, in turns; the first round is not counted.

Run it:  python benchmarks/page_times.py --rows 10000 --rows 100000
"""

from __future__ import annotations

import argparse
import http.client
import json
import platform
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy import text
from store_scale import Fleet, fill, key, new_database, settle

from edgecost.db import Store
from edgecost.db.connect import Database, resolve_url
from edgecost.db.records import NewJob
from edgecost.profiler.fleet_protocol import Enrolment, Hello, OfferedRuntime
from edgecost.profiler.records import Device, RuntimeProfile
from tests.hub_server import Hub, served

FLEET = Fleet(200, 2, 10_000)
PROFILE = RuntimeProfile("onnxruntime", "1.32.0")
CONDITIONS = {"temperatures_celsius": [41.0, 36.5], "clocks_mhz": [1479.0], "load_1min": 0.2}
JOBS = 1_000


def prepare(store: Store, database: Database) -> None:
    """An agent for each device, and a campaign that waits."""
    with database.engine.begin() as connection:
        # Made-up profiles have no contents; a page shows what they are.
        document = json.dumps(PROFILE.document())
        connection.execute(text("UPDATE runtime_profile SET document = :document"), {"document": document})
    for number in range(FLEET.devices):
        device = Device(f"board-{number}", key("device", number), "NVIDIA Jetson Nano Developer Kit, 4 CPUs, 4 GiB")
        code = store.fleet.make_code({"pool": "nano"}, by="keeper").code
        made = store.fleet.enrol(Enrolment(code, device, "0.1.0"), "127.0.0.1")
        offers = (OfferedRuntime("ort", PROFILE.document()),)
        store.fleet.hello(made.agent_id, Hello("boot", "0.1.0", device, "", offers), "127.0.0.1")
        store.fleet.seen(made.agent_id, "127.0.0.1", CONDITIONS)
    settings = {"runtime": "ort", "profile_hash": PROFILE.profile_hash, "protocol": {}}
    campaign = store.open_campaign("campaign", "test", settings, "pool=nano")
    store.add_jobs(campaign, [NewJob(key("graph", at), "cell", f"graph {at}", 0, f"job {at}") for at in range(JOBS)])


def places(store: Store) -> dict[str, str]:
    """A page of each kind."""
    measured = next(one for one in range(FLEET.devices) if store.profiles_of(key("device", one)))
    newest = store.browsing.newest(device_identity=key("device", measured), limit=1)[0]
    return {
        "fleet, 200 boards": "/",
        "a board": f"/devices/board-{measured}",
        "campaigns": "/campaigns",
        "a campaign, 1,000 jobs": "/campaigns/1",
        "workloads, 10,000": "/workloads?q=graph+77",
        "a workload": f"/workloads/{newest.graph_hash}",
        "a measurement": f"/measurements/{newest.measurement_id}",
    }


def page_ms(hub: Hub, token: str, place: str) -> tuple[float, int]:
    """Milliseconds until a page is there, and its bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=300)
    begin = time.perf_counter()
    connection.request("GET", place, headers={"Cookie": f"edgecost_token={token}"})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - begin) * 1e3
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{place}: {answer.status}")
    return took, len(body)


def measure(url: str, number: int, rounds: int) -> Mapping[str, Mapping[str, float]]:
    """Fill a store and ask for its pages."""
    with Store(url) as store:
        database = Database(resolve_url(url))
        fill(database, FLEET, number, number > 100_000, time.monotonic() + 3600)
        prepare(store, database)
        store.maintain()
        settle(database)
        token = store.fleet.make_token("somebody", "viewer")
        found: dict[str, list[tuple[float, int]]] = {}
        asked = places(store)
        with served(store) as hub:
            for _ in range(rounds + 1):
                for name, place in asked.items():
                    found.setdefault(name, []).append(page_ms(hub, token, place))
        database.close()
    return {name: told(taken[1:]) for name, taken in found.items()}


def told(taken: list[tuple[float, int]]) -> dict[str, float]:
    """Median, 95th percentile and size."""
    times = sorted(milliseconds for milliseconds, _ in taken)
    return {"median_ms": statistics.median(times), "p95_ms": times[int(0.95 * (len(times) - 1))], "bytes": taken[0][1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, action="append", help="[default: 10000, 100000, 1000000]")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), action="append", help="[default: both]")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    everything = []
    for number in arguments.rows or (10_000, 100_000, 1_000_000):
        for engine in arguments.engine or ("sqlite", "postgresql"):
            with new_database(engine, None) as (url, version):
                found = measure(url, number, arguments.rounds)
            everything.append({"engine": engine, "version": version, "measurements": number, "pages": found})
            if not arguments.json:
                print(f"\n{engine} {version}, {number:,} measurements")
                for name, one in found.items():
                    size = f"{one['bytes'] / 1e3:8.0f} kB"
                    print(f"  {name:26}{one['median_ms']:8.1f} ms, 95 % below {one['p95_ms']:8.1f} ms{size}")
    if arguments.json:
        print(json.dumps({"python": platform.python_version(), "fleet": asdict(FLEET), "stores": everything}))


if __name__ == "__main__":
    main()
