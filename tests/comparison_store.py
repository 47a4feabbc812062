"""Stores filled by hand for the tests of comparisons: workloads that exist, visits whose values are chosen."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgecost.db import Store
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.records import Device, Environment, Measurement, RuntimeProfile, Status, Visit
from edgecost.profiler.statistics import summarise
from edgecost.profiler.workload import Workload, workload_from_model

ONE = RuntimeProfile("onnxruntime", "1.32.0", threads=1)
FOUR = RuntimeProfile("onnxruntime", "1.32.0", threads=4)
TVM = RuntimeProfile("tvm", "0.27.0", provider="llvm", graph_level="default", options=(("trials", "64"),))
BOARD = Device("board", "board-1", "a board")


def relu(size: int, name: str = "") -> Workload:
    graph = GraphBuilder("relu")
    model = graph.model(graph.activate(graph.input((size,)), "relu"))
    return workload_from_model(name or f"relu {size}", "operator", model)


def around(median_ms: float, n: int = 9, spread: float = 0.02, seed: int = 0) -> list[float]:
    """Values with exactly this median."""
    values = np.exp(spread * np.random.default_rng(seed).standard_normal(n))
    return [float(value) for value in median_ms * values / np.median(values)]


class Bench:
    """A store on a file, and a way to write attempts with visits into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store(path)

    def write(
        self,
        workload: Workload,
        values_ms: Sequence[float],
        profile: RuntimeProfile = ONE,
        *,
        session: str = "",
        overhead_ms: float | None = 0.0,
        status: Status = Status.OK,
        purpose: str = "kernel",
        device: Device = BOARD,
        started_at: str = "2026-01-01T00:00:00.000+00:00",
        environment: str = "6.1",
    ) -> str:
        """Record one attempt; without values it has no latency. Returns its id."""
        document = Environment({"kernel": environment})
        self.store.put_workload(workload)
        self.store.put_profile(profile)
        self.store.put_device(device)
        self.store.put_environment(document)
        name = uuid.uuid4().hex
        made_by = session or name
        visits = tuple(
            Visit(place, made_by, (int(value * 1e6),) * 3, (), (1, 1), 0, "", value * 1e6)
            for place, value in enumerate(values_ms)
        )
        self.store.record(
            Measurement(
                measurement_id=name,
                graph_hash=workload.graph_hash,
                profile_hash=profile.profile_hash,
                environment_hash=document.environment_hash,
                device_identity=device.identity,
                session=made_by,
                protocol="edgecost-1",
                purpose=purpose,
                status=status,
                message="",
                started_at=started_at,
                finished_at=started_at,
                latency=summarise(visits),
                overhead_ms=overhead_ms,
                visits=visits,
            )
        )
        return name
