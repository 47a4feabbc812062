"""A store of which every number in a report is known: a device with sessions, anchors and a meter, and a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgecost.db import Store
from edgecost.db.records import NewJob
from edgecost.profiler.records import (
    Device,
    Energy,
    Environment,
    Latency,
    Measurement,
    PeakMemory,
    Reading,
    RuntimeProfile,
    Sensor,
    Status,
    Visit,
)
from edgecost.profiler.workload import Workload
from tests.fleet_store import workload

PROFILE = RuntimeProfile("onnxruntime", "1.32.0", threads=1)
BOARD = Device("board", "board-0001", "a board on a desk")
ENVIRONMENT = Environment({"kernel": "6.1"})
SENSOR = Sensor({"name": "ina3221", "driver": "ina3221", "scope": "module", "resolution_mw": 40.0, "period_s": 0.02})
CAMPAIGN = "blocks@board"


class Desk:
    """Writes measurements into a store, each a second later than the one before."""

    def __init__(self, path: Path, board: Device = BOARD) -> None:
        self.store = Store(path)
        self.board = board
        self._second = 0
        self.store.put_device(board)
        self.store.put_profile(PROFILE)
        self.store.put_environment(ENVIRONMENT)
        self.store.put_sensor(SENSOR)

    def write(
        self,
        made: Workload,
        latency_ms: float | None,
        *,
        session: str = "first",
        purpose: str = "cell",
        status: Status = Status.OK,
        message: str = "",
        conditions: Mapping[str, float] | None = None,
        energy: Energy | None = None,
        memory: PeakMemory | None = None,
        visits: tuple[Visit, ...] = (),
        job_id: int | None = None,
    ) -> str:
        """One attempt of a second; its id. The interval is ±2 %, and a call takes 0.5 ms."""
        self.store.put_workload(made)
        self._second += 1
        name = f"{self._second:032x}"
        m = latency_ms
        latency = None if m is None else Latency(m, 0.98 * m, 1.02 * m, m, m, m, m, m, None, visits=7, runs=21)
        self.store.record(
            Measurement(
                measurement_id=name,
                graph_hash=made.graph_hash,
                profile_hash=PROFILE.profile_hash,
                environment_hash=ENVIRONMENT.environment_hash,
                device_identity=self.board.identity,
                session=session,
                protocol="edgecost-4",
                purpose=purpose,
                status=status,
                message=message,
                started_at=f"2026-01-01T00:{self._second // 60:02}:{self._second % 60:02}.000+00:00",
                finished_at=f"2026-01-01T00:{(self._second + 1) // 60:02}:{(self._second + 1) % 60:02}.000+00:00",
                latency=latency,
                overhead_ms=None if m is None else 0.5,
                conditions=conditions or {},
                energy=energy,
                peak_memory=memory,
                visits=visits,
            ),
            job_id,
        )
        return name


def of_device(path: Path, board: Device = BOARD) -> Desk:
    """Seven sessions: the canary takes 20 µs, and 25 in the last, where anchors are 10 % slower; a reject, a crash."""
    desk = Desk(path, board)
    for at in range(7):
        level = {"canary_us": 25.0 if at == 6 else 20.0}
        for length in (1, 2, 3):
            if at == 0:
                desk.write(workload(length), 2.5 * length + 0.5, session="0", conditions=level)
            else:
                taken = 2.5 * length * (1.1 if at == 6 else 1.0)
                desk.write(workload(length), taken + 0.5, session=str(at), purpose="anchor", conditions=level)
    desk.write(workload(4), None, status=Status.REJECTED, message="throttled: 91 °C")
    desk.write(workload(5), None, status=Status.SEGFAULT)
    energy = Energy(
        Reading.OK, "module", sensor_hash=SENSOR.sensor_hash, gross_median_mj=12.25, gross_lo_mj=12.0, gross_hi_mj=12.5
    )
    memory = PeakMemory(Reading.OK, "smaps-1", "", 3_500_000, *[3_500_000] * 2)
    visit = Visit(1, "first", (7_125_000,), (), (20_000, 20_000), 0, "", 7_125_000.0)
    desk.write(workload(6), 7.125, energy=energy, memory=memory, visits=(visit,))
    return desk


def of_campaign(path: Path, label: str = "conv-", jobs: int = 6) -> Desk:
    """Half are done, one fails three times and one never began, the others wait."""
    desk = Desk(path)
    campaign_id = desk.store.open_campaign(CAMPAIGN, "blocks", {})
    made = [workload(length) for length in range(1, jobs + 1)]
    for one in made:
        desk.store.put_workload(one)
    new = [NewJob(one.graph_hash, "cell", f"{label}{at}", 0, one.graph_hash) for at, one in enumerate(made)]
    desk.store.add_jobs(campaign_id, new)
    ids = [job.id for job in desk.store.fleet.jobs(campaign=CAMPAIGN)]
    for at in range(jobs // 2):
        desk.write(made[at], 2.0 * (at + 1), job_id=ids[at], session="first" if at else "second")
    for _ in range(3):
        desk.write(made[jobs // 2], None, status=Status.TIMEOUT, message="no word for 60 s", job_id=ids[jobs // 2])
    return desk
