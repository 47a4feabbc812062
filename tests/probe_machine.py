"""A machine of a known law in the place of the campaign that probes, and a narrator that keeps what it is told."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgecost.costmodels.campaign import Planned
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.db import Store
from edgecost.profiler.conclusion import conclude
from edgecost.profiler.graphs.probe_graphs import role_of
from edgecost.profiler.records import Measurement, Status, Visit
from edgecost.profiler.tasks import Task
from edgecost.profiler.workload import Workload


class Silent:
    """A narrator that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def stage(self, title: str, total: int | None = None) -> None:
        self.said.append(title)

    def step(self, note: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        self.said.append(text)


@dataclass
class Machine:
    """A device that does not exist, with a law of its own, in the place of the campaign that would measure."""

    call_us: float = 2.0
    node_us: float = 0.2
    gflops: float = 50.0
    gb_per_s: float = 40.0
    #: How wide visits scatter around the law.
    scatter: float = 0.0
    failing: dict[str, Status] = field(default_factory=dict)
    measured: list[str] = field(default_factory=list)
    clock: int = 0

    def latency_ms(self, workload: Workload) -> float:
        role = role_of(workload)
        assert role is not None
        work_ms = role.flops / self.gflops / 1e6 + role.moved_bytes / self.gb_per_s / 1e6
        # The products' nodes are part of what they take; a chain and a stream are told from theirs.
        started = 0 if role.quantity == "gemm" else role.nodes
        return (self.call_us + started * self.node_us) / 1e3 + work_ms

    def measurement(self, workload: Workload, setting: LocalSetting, status: Status = Status.OK) -> Measurement:
        self.clock += 1
        ns = self.latency_ms(workload) * 1e6
        message = "" if status is Status.OK else "why"
        values = [ns * (1 + self.scatter * step) for step in (-1, -0.6, -0.2, 0.2, 0.6, 1)]
        visits = [Visit(n, "s", (round(v),) * 3, (round(v),) * 3, (1, 1), 0, "", v) for n, v in enumerate(values)]
        return conclude(
            Task(workload, "probe", uuid.uuid4().hex), setting.stage, visits, status, message,
            overhead=self.call_us / 1e3, started_at=f"2026-01-01T00:{self.clock // 60:02}:{self.clock % 60:02}+00:00",
            session="s",
        )  # fmt: skip

    def measure_planned(
        self,
        store: Store,
        setting: LocalSetting,
        name: str,
        origin: str,
        wanted: Sequence[Planned],
        *_: object,
        **__: object,
    ) -> None:
        """Stands for ``planned_campaign.measure_planned``."""
        assert {planned.purpose for planned in wanted} == {"probe"}
        for planned in wanted:
            self.put(store, planned.workload, setting, self.failing.get(setting.profile.precision, Status.OK))
            self.measured.append(f"{setting.profile.precision}.{setting.profile.threads} {planned.workload.name}")

    def put(self, store: Store, workload: Workload, setting: LocalSetting, status: Status = Status.OK) -> Measurement:
        setting.store_in(store)
        store.put_workload(workload)
        made = self.measurement(workload, setting, status)
        store.record(made)
        return made
