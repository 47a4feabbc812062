"""The main job in one go: space → measurements → predictor → LUT → whole networks measured against it.

Every stage is a call of the module that owns it; here stands only their order. Nothing is printed: a ``Narrator`` is
told.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..db import Store
from ..profiler.errors import GateError
from ..profiler.records import Json
from ..profiler.weights import complete
from ..profiler.workload import Workload
from .correction import ScaleReport, judge_scale, spread
from .dataset import load_samples
from .files import write_atomically
from .local_setting import LocalSetting
from .lut import Lut
from .lut_build import build_lut
from .lut_formats import lut_format
from .network_campaign import NETWORKS_PRICED, measure_networks
from .planned_campaign import CampaignOutcome, Narrator
from .space import Space
from .space_campaign import measure_space
from .training import TrainingReport, pair_provenance, save_report, train

#: Networks built whole and measured: half fit the factor, half judge it.
NETWORKS_MEASURED = 16
#: Further processes that measure each cell: of three, one that fell into a bad minute does not move the median.
PANEL_SESSIONS = 2


@dataclass(frozen=True)
class StageCost:
    """What a stage took. ``peak_memory_mb`` is this process's highest resident size so far, in MB (10⁶ bytes)."""

    name: str
    wall_s: float
    peak_memory_mb: float


@dataclass(frozen=True)
class Quickstart:
    """What the quickstart made.

    Attributes:
        networks_priced: random networks priced from the LUT.
        prices_ms: smallest, median and largest corrected price of the random networks.
        pricing_s: seconds that pricing all of them took.
    """

    setting: LocalSetting
    space: Space
    cells: CampaignOutcome
    networks: CampaignOutcome
    training: TrainingReport
    lut: Lut
    networks_priced: int
    prices_ms: tuple[float, float, float]
    pricing_s: float
    correction: ScaleReport
    files: tuple[Path, ...]
    stages: tuple[StageCost, ...]


def run_quickstart(store: Store, space: Space, folder: Path, narrator: Narrator, *, seed: int = 0) -> Quickstart:
    """Carry out the whole job; a second run finds its measurements in the store and only computes.

    Args:
        folder: where the files go; must exist.

    Raises:
        GateError: too few of the networks could be measured to fit and judge the factor.
    """
    setting = LocalSetting.here()
    clock = _Clock()
    with clock.stage("measure the cells"):
        cells = measure_space(
            store, setting, space, narrator, panel_share=1.0, panel_sessions=PANEL_SESSIONS, seed=seed
        )
    with clock.stage("train the predictor"):
        narrator.stage("training the predictor")
        hashes = [w.graph_hash for cell in space.measurable if (w := space.workload(cell)) is not None]
        first = _train(store, setting, hashes)
    with clock.stage("build the LUT and price networks"):
        narrator.stage("building the LUT")
        environment = setting.stage.environment.environment_hash
        lut = build_lut(store, space, setting.device, setting.profile, environment, first.predictor)
        archs = space.sample(min(NETWORKS_PRICED, space.size), seed)
        begin = time.perf_counter()
        prices = lut.price(archs, corrected=False, space=space)
        pricing_s = time.perf_counter() - begin
    with clock.stage("measure whole networks"):
        chosen = archs[spread(prices, NETWORKS_MEASURED)]
        built = [space.build(arch) for arch in chosen]
        networks = measure_networks(store, setting, space, built, narrator, seed)
        correction = _judge_networks(store, setting, space, lut, chosen, built)
    with clock.stage("write the files"):
        narrator.stage("writing the files")
        # Once more, now that whole networks are there for the predictor's own correction.
        training = _train(store, setting, hashes)
        lut = lut.with_scale(correction.scale, sum(row.role == "fit" for row in correction.rows))
        files = _write(lut, space, training, setting, built[0], folder)
    scaled = correction.scale * np.array([prices.min(), np.median(prices), prices.max()])
    low, middle, high = (float(price) for price in scaled)
    return Quickstart(
        setting=setting,
        space=space,
        cells=cells,
        networks=networks,
        training=training,
        lut=lut,
        networks_priced=len(archs),
        prices_ms=(low, middle, high),
        pricing_s=pricing_s,
        correction=correction,
        files=files,
        stages=tuple(clock.stages),
    )


def _train(store: Store, setting: LocalSetting, cells: Sequence[str]) -> TrainingReport:
    identity, cache = setting.device.identity, setting.core_cache_bytes
    return train(store, identity, setting.profile, cells=cells, core_cache_bytes=cache)


def _judge_networks(
    store: Store,
    setting: LocalSetting,
    space: Space,
    lut: Lut,
    chosen: npt.NDArray[np.int16],
    built: Sequence[Workload],
) -> ScaleReport:
    hashes = [workload.graph_hash for workload in built]
    samples = load_samples(store, setting.device.identity, setting.profile, purposes=("network",), graph_hashes=hashes)
    measured = {sample.workload.graph_hash: sample.raw_ms for sample in samples}
    known = [place for place, graph_hash in enumerate(hashes) if graph_hash in measured]
    if len(known) < NETWORKS_MEASURED // 2:
        raise GateError(
            f"only {len(known)} of {len(built)} whole networks could be measured: too few to fit the factor",
            remedy="see what happened: edgecost db info --failures; run it again when the machine is quieter",
        )
    sums = lut.price(chosen[known], corrected=False, space=space)
    truth = np.array([measured[hashes[place]] for place in known])
    # Every second one by price: both halves span the whole range.
    fit = np.arange(len(known)) % 2 == 0
    return judge_scale([str(place + 1) for place in known], sums, truth, fit)


def _write(
    lut: Lut, space: Space, training: TrainingReport, setting: LocalSetting, example: Workload, folder: Path
) -> tuple[Path, ...]:
    files: list[Path] = []
    for name in ("native", "ofa") if space.name == "ofa-mobilenetv3" else ("native",):
        files += lut_format(name).write(lut, space, folder)
    save_report(training, folder / "predictor", training_provenance(setting))
    network = folder / "example.onnx"
    write_atomically(network, complete(example.skeleton, example.weights))
    return (*files, folder / "predictor", network)


def training_provenance(setting: LocalSetting) -> dict[str, Json]:
    """Where a predictor comes from, as its file says it."""
    return pair_provenance(setting.device, setting.profile)


class _Clock:
    """Notes the time and memory of each stage."""

    def __init__(self) -> None:
        self.stages: list[StageCost] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        self.stages.append(StageCost(name, time.monotonic() - begin, peak_mb))
