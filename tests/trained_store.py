"""A store with measurements by a known law, as if of this machine, some of them unusable; and the same made later."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.quickstart import training_provenance
from edgecost.costmodels.space_file import load_space
from edgecost.costmodels.training import TrainingReport, save_report, train
from edgecost.db import Store
from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.protocol import PROTOCOL
from edgecost.profiler.records import Latency, Measurement, Status
from edgecost.profiler.workload import Workload, workload_from_model

CELLS, AGAIN, NETWORKS = 40, 10, 12
OVERHEAD_MS = 0.1
#: Cells take milliseconds by the known law; a canary is a matter of microseconds.
CANARY_US = 4.6


def write(
    store: Store,
    setting: LocalSetting,
    workload: Workload,
    latency_ms: float | None,
    *,
    purpose: str = "cell",
    minute: int = 0,
    session: str = "",
    canary_us: float = CANARY_US,
    overhead_ms: float | None = OVERHEAD_MS,
) -> str:
    """Record one measurement that began in a minute of a day; its id. None is an attempt without a latency."""
    store.put_workload(workload)
    name = uuid.uuid4().hex
    latency = None
    if latency_ms is not None:
        m = latency_ms + OVERHEAD_MS
        latency = Latency(m, 0.99 * m, 1.01 * m, m, m, m, m, m, None, visits=7, runs=21)
    begin = f"2026-01-01T{minute // 60:02}:{minute % 60:02}:"
    store.record(
        Measurement(
            measurement_id=name,
            graph_hash=workload.graph_hash,
            profile_hash=setting.profile.profile_hash,
            environment_hash=setting.stage.environment.environment_hash,
            device_identity=setting.device.identity,
            session=session or f"session-{minute}",
            protocol=PROTOCOL,
            purpose=purpose,
            status=Status.OK if latency else Status.SEGFAULT,
            message="",
            started_at=f"{begin}00.000+00:00",
            finished_at=f"{begin}01.000+00:00",
            latency=latency,
            overhead_ms=overhead_ms,
            conditions={"canary_us": canary_us},
        )
    )
    return name


@dataclass(frozen=True)
class Trained:
    """A store, the predictor that was trained from it, and its report."""

    store: Path
    folder: Path
    setting: LocalSetting
    report: TrainingReport


def make_trained(place: Path, law: object) -> Trained:
    """All of it below a folder."""
    setting = fill(place / "store.sqlite", law)
    with Store(place / "store.sqlite") as store:
        report = train(store, setting.device.identity, setting.profile)
    save_report(report, place / "made", training_provenance(setting))
    return Trained(place / "store.sqlite", place / "made", setting, report)


def fill(path: Path, law: object) -> LocalSetting:
    """Write the store: cells, ten of them twice and 1 % slower, whole networks; and five rows that cannot be used."""
    setting = LocalSetting.here()
    space = load_space("ofa-mobilenetv3")
    cells = [workload for cell in space.measurable if (workload := space.workload(cell)) is not None]
    # Any graph may be measured as a network; small ones are optimised sooner.
    networks = cells[CELLS + 5 : CELLS + 5 + NETWORKS]
    with Store(path) as store:
        setting.store_in(store)
        latencies = measured(law, setting, cells[: CELLS + 5], seed=1)
        for place, (workload, latency) in enumerate(zip(cells[:CELLS], latencies, strict=False)):
            write(store, setting, workload, latency, minute=place // 10)
            if place < AGAIN:
                write(store, setting, workload, 1.01 * latency, purpose="panel", minute=10)
        totals = 1.2 * measured(law, setting, networks, seed=2)
        for workload, latency in zip(networks, totals, strict=True):
            write(store, setting, workload, latency, purpose="network", minute=20)
        spare = cells[CELLS : CELLS + 5]
        store.retract(write(store, setting, spare[0], 1.0), "a test", "made up")
        write(store, setting, spare[1], None)
        write(store, setting, spare[2], -0.5 * OVERHEAD_MS)
        write(store, setting, spare[3], 0.001, purpose="kernel")
        write(store, setting, unreadable(), 3.0, purpose="profile")
    return setting


def unreadable() -> Workload:
    """A network with an operator that no runtime knows."""
    graph = GraphBuilder("odd")
    model = graph.model(graph.activate(graph.input((4,)), "relu"))
    model.graph.node[0].op_type = "Gone"
    return Workload("odd", "network", "f" * 64, workload_from_model("odd", "network", model).skeleton)


def measure_later(
    path: Path,
    setting: LocalSetting,
    factor: Callable[[Measurement], float],
    *,
    minute: int = 100,
    canary_us: float = CANARY_US,
    purposes: Sequence[str] = ("cell",),
) -> None:
    """All usable measurements of these purposes once more, by a factor of what they were, in sessions of five."""
    with Store(path) as store:
        setting.store_in(store)
        for place, one in enumerate(store.measurements(purposes=purposes)):
            assert one.latency is not None
            scaled = (one.latency.median_ms - OVERHEAD_MS) * factor(one)
            workload = store.workload(one.graph_hash)
            assert workload is not None
            later = minute + place // 5
            write(store, setting, workload, scaled, purpose=one.purpose, minute=later, canary_us=canary_us)


def measured(law: object, setting: LocalSetting, workloads: Sequence[Workload], *, seed: int) -> np.ndarray:
    return law.measured_ms([kernels(one, setting.profile) for one in workloads], seed=seed)  # type: ignore[attr-defined]


def elsewhere(setting: LocalSetting, **changes: object) -> LocalSetting:
    """The same machine with another environment."""
    document = {**setting.stage.environment.document, **changes}
    environment = type(setting.stage.environment)(document)
    return replace(setting, stage=replace(setting.stage, environment=environment))


def train_for_space(trained: Trained, place: Path) -> Trained:
    """The same store with a campaign for the space of its cells, and the predictor trained from that."""
    shutil.copy(trained.store, place / "store.sqlite")
    with Store(place / "store.sqlite") as store:
        store.open_campaign("ofa", "ofa-mobilenetv3", {"protocol": {}})
        report = train(store, trained.setting.device.identity, trained.setting.profile)
    save_report(report, place / "made", training_provenance(trained.setting))
    return Trained(place / "store.sqlite", place / "made", trained.setting, report)
