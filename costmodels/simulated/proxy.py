"""A cost model in front of a slow simulator: fit it on what the simulator said, and judge it on networks it never saw.

After ArchGym (Krishnan et al., "ArchGym: An Open-Source Gymnasium for Machine Learning Assisted Architecture Design",
ISCA 2023), which reports such proxies by RMSE and by their speed-up against the simulator.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...db import Store
from ...devices.simulators import SimulatedDevice, checked_cost
from ...profiler.errors import GateError, UsageError
from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.kernels.graph import Kernel
from ...profiler.kernels.written import written_workloads
from ...profiler.records import Json
from ...profiler.workload import Workload
from ..dataset import BLOCK_PURPOSES, NETWORK_PURPOSES
from ..local_setting import LocalSetting
from ..metrics.energy import load_energies
from ..metrics.energy_predictor import EnergyPredictor
from ..metrics.energy_training import EnergyReport, train_energy
from ..planned_campaign import Narrator
from ..predictor import GRAPHS_MIN, LatencyPredictor
from ..quickstart import training_provenance
from ..random_blocks import random_blocks
from ..space import Space
from ..space_plan import plan_space
from ..training import TrainingReport, save_report, train
from ..validation import Accuracy, accuracy
from .simulation import Asked, SimulatedSample, simulate, simulated_samples

Graph = Sequence[Kernel]
Floats = npt.NDArray[np.float64]

#: Networks that only judge: no training reads this purpose.
JUDGE = "judge"
#: Networks that are asked about again for their time, where none was simulated in this run.
_TIMED = 3
#: The proxy's own time is the best of so many passes: what disturbs it only adds.
_PASSES = 3


@dataclass(frozen=True)
class ProxyPlan:
    """What to simulate.

    Attributes:
        spaces: whose cells are simulated first; random blocks fill the samples up.
        samples: blocks to learn from.
        nodes: simulate each distinct node of the blocks alone, too. It tells which node a block's cost comes from; a
            simulator that fuses nodes is better fitted without.
        networks: whole networks of each space to learn from: they fit what a network is beyond its sum.
        held_out: networks of each space, and of each of ``judges``, that only judge.
        judges: spaces that nothing is learned from.
    """

    spaces: tuple[Space, ...] = ()
    judges: tuple[Space, ...] = ()
    samples: int = 300
    nodes: bool = True
    networks: int = 10
    held_out: int = 30
    seed: int = 0


@dataclass(frozen=True)
class Agreement:
    """Of a proxy with its simulator. ``rmse`` is in the unit of the quantity, ``rmse_percent`` of the simulated mean.

    Networks that the proxy cannot price have no part in the RMSE and are misses of every band of ``accuracy``.
    """

    rmse: float
    rmse_percent: float
    accuracy: Accuracy


@dataclass(frozen=True)
class Judgement:
    """The held-out networks of one space.

    Attributes:
        is_known: whether cells of the space were learned from.
        networks: how many were simulated.
        unpriced: how many of them the proxy cannot price.
    """

    space: str
    is_known: bool
    networks: int
    unpriced: int
    latency: Agreement | None
    energy: Agreement | None


@dataclass(frozen=True)
class Speed:
    """Seconds per network, each the median or the best of this run.

    Attributes:
        simulator_s: by the simulator.
        proxy_s: by the proxy from the same ONNX graph, one at a time.
        batch_s: by the proxy from kernels that are known, all together.
        training_s: what the simulator took for everything that the proxy learned from.
        fit_s: what training the predictor of latency took.
    """

    simulator_s: float
    proxy_s: float
    batch_s: float
    training_s: float
    fit_s: float

    @property
    def pays_after(self) -> int | None:
        """Networks after which simulating to train and then predicting is faster than simulating; None for never."""
        gained_s = self.simulator_s - self.proxy_s
        return math.ceil((self.training_s + self.fit_s) / gained_s) if gained_s > 0 else None


@dataclass(frozen=True)
class ProxyReport:
    """A fitted proxy and what it is worth. ``energy`` is None where the simulator says none."""

    training: TrainingReport
    energy: EnergyReport | None
    asked: tuple[Asked, ...]
    judgements: tuple[Judgement, ...]
    speed: Speed

    @property
    def unsupported(self) -> dict[str, int]:
        """Operators that the simulator lacks, by the blocks and networks that were left out for them.

        Nodes alone tell nothing more, and some of them are nothing to compute.
        """
        lacking: Counter[str] = Counter()
        for one in self.asked:
            lacking.update({} if one.purpose == "kernel" else dict(one.unsupported))
        return dict(lacking.most_common())

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(line for one in self.asked for line in one.failures)

    def document(self) -> dict[str, Json]:
        """As JSON, without the models."""
        speed = self.speed
        return {
            "simulated": sum(one.simulated for one in self.asked),
            "reused": sum(one.reused for one in self.asked),
            "unsupported": dict(self.unsupported),
            "failures": list(self.failures),
            "trained_on": {"blocks_and_nodes": self.training.graphs, "networks": self.training.networks},
            "judgements": [_judgement_document(one) for one in self.judgements],
            "speed": {
                **asdict(speed),
                "speed_up": speed.simulator_s / speed.proxy_s,
                "batch_speed_up": speed.simulator_s / speed.batch_s,
                "pays_after_networks": speed.pays_after,
            },
        }


def fit_proxy(
    store: Store, setting: LocalSetting, simulator: SimulatedDevice, plan: ProxyPlan, narrator: Narrator
) -> ProxyReport:
    """Simulate what the store has not got, train on all that it has of this simulator, and judge.

    Interrupted, it goes on from what was simulated.

    Raises:
        UsageError: the plan is too small, or the simulator computes too few of its blocks.
        SimulatorError: it fails all the time.
        GateError: it computes none of the networks that are to judge.
    """
    _check(plan)
    asked = []
    cells, others = _blocks(plan)
    nodes = _nodes([*cells, *others]) if plan.nodes else []
    for workloads, purpose, title in (
        (cells, "cell", "simulating cells"),
        (others, "support", "simulating random blocks"),
        (nodes, "kernel", "simulating nodes alone"),
        (_networks(plan.spaces, plan.networks, plan.seed), "network", "simulating networks to learn from"),
    ):
        if workloads:
            asked.append(simulate(store, setting, simulator, workloads, purpose, narrator, title))
    _require_enough(store, setting, asked)
    judged = _judged(store, setting, plan)
    everything = [workload for _, workloads in judged for workload in workloads]
    asked.append(simulate(store, setting, simulator, everything, JUDGE, narrator, "simulating networks that judge"))
    narrator.stage("training")
    begin = time.perf_counter()
    training = train(store, setting.device.identity, setting.profile, random_state=plan.seed)
    fit_s = time.perf_counter() - begin
    energy = _fit_energy(store, setting, plan.seed)
    predictor_mj = None if energy is None else energy.predictor
    truth = simulated_samples(store, setting, [JUDGE])
    known = [one for one in everything if one.graph_hash in truth]
    if not known:
        raise GateError("the simulator computes none of the networks that are to judge", remedy="--judge another space")
    names = {space.name for space in plan.spaces}
    judgements = tuple(
        _judge(setting, space.name, space.name in names, workloads, truth, training.predictor, predictor_mj)
        for space, workloads in judged
    )
    trained = simulated_samples(store, setting, [*BLOCK_PURPOSES, *NETWORK_PURPOSES])
    narrator.stage("timing")
    simulator_s = _simulator_seconds(simulator, known, asked[-1], truth)
    proxy_s, batch_s = _proxy_seconds(setting, training.predictor, known)
    speed = Speed(simulator_s, proxy_s, batch_s, sum(one.seconds for one in trained.values()), fit_s)
    return ProxyReport(training, energy, tuple(asked), judgements, speed)


def save_proxy(report: ProxyReport, setting: LocalSetting, folder: Path, database: str) -> None:
    """Write the predictor of latency, and that of energy into ``energy`` beside it."""
    origin: dict[str, Json] = {**training_provenance(setting), "database": database}
    save_report(report.training, folder, {**origin, "proxy": report.document()})
    if report.energy is not None:
        report.energy.save(folder / "energy", origin)


def _check(plan: ProxyPlan) -> None:
    if not plan.spaces and not plan.judges:
        raise UsageError("no space is named that networks could be judged on", remedy="--space NAME or --judge NAME")
    if plan.samples < GRAPHS_MIN:
        raise UsageError(f"{plan.samples} blocks are too few to learn from; {GRAPHS_MIN} is the least")


def _blocks(plan: ProxyPlan) -> tuple[list[Workload], list[Workload]]:
    """Cells of the spaces in random order, and random blocks where those are fewer than wanted."""
    cells: dict[str, Workload] = {}
    for space in plan.spaces:
        for planned in plan_space(space, panel_share=0, panel_sessions=0, seed=plan.seed):
            if planned.purpose == "cell":
                cells.setdefault(planned.workload.graph_hash, planned.workload)
    chosen = list(cells.values())[: plan.samples]
    return chosen, list(islice(random_blocks(plan.seed), plan.samples - len(chosen)))


def _nodes(blocks: Sequence[Workload]) -> list[Workload]:
    """The distinct nodes of blocks, each alone."""
    found = {node.graph_hash: node for block in blocks for node in written_workloads(block)}
    return list(found.values())


def _networks(spaces: Sequence[Space], count: int, seed: int) -> list[Workload]:
    return [space.build(arch[None]) for space in spaces for arch in space.sample(count, seed)]


def _judged(store: Store, setting: LocalSetting, plan: ProxyPlan) -> list[tuple[Space, list[Workload]]]:
    """The networks that judge, by space: none that any run has trained on."""
    learned = set(simulated_samples(store, setting, NETWORK_PURPOSES))
    spaces = {space.name: space for space in (*plan.spaces, *plan.judges)}
    drawn = [(space, _networks([space], plan.held_out, plan.seed + 1)) for space in spaces.values()]
    return [(space, [one for one in networks if one.graph_hash not in learned]) for space, networks in drawn]


def _require_enough(store: Store, setting: LocalSetting, asked: Sequence[Asked]) -> None:
    found = len(simulated_samples(store, setting, BLOCK_PURPOSES))
    if found >= GRAPHS_MIN:
        return
    reasons = [*(f"no {operator}" for one in asked for operator in one.unsupported)]
    reasons += [line for one in asked for line in one.failures]
    raise UsageError(
        f"the simulator computes {found} of the blocks; {GRAPHS_MIN} is the least: {'; '.join(reasons[:3])}",
        remedy="name a space whose cells it computes: --space NAME",
    )


def _fit_energy(store: Store, setting: LocalSetting, seed: int) -> EnergyReport | None:
    """As ``train --metric energy``; None where too few energies are known."""
    identity, profile = setting.device.identity, setting.profile
    if len(load_energies(store, identity, profile, purposes=BLOCK_PURPOSES).samples) < GRAPHS_MIN:
        return None
    return train_energy(store, identity, profile, random_state=seed)


def _judge(
    setting: LocalSetting,
    space: str,
    is_known: bool,
    workloads: Sequence[Workload],
    truth: dict[str, SimulatedSample],
    predictor: LatencyPredictor,
    energy: EnergyPredictor | None,
) -> Judgement:
    known = [one for one in workloads if one.graph_hash in truth]
    graphs = [priced_kernels(one, setting.profile).kernels for one in known]
    said = [truth[one.graph_hash] for one in known]
    guess = _known([(one.total_ms, one.is_lower_bound) for one in predictor.price(graphs, network=True)])
    latency = agreement(guess, [one.latency_ms for one in said])
    in_mj = [(graph, one.energy_mj) for graph, one in zip(graphs, said, strict=True) if one.energy_mj is not None]
    of_energy = None
    if energy is not None and in_mj:
        prices = energy.price([graph for graph, _ in in_mj], network=True)
        guessed = _known([(one.total_mj, one.is_lower_bound) for one in prices])
        of_energy = agreement(guessed, [value for _, value in in_mj])
    return Judgement(space, is_known, len(known), int(np.isnan(guess).sum()), latency, of_energy)


def _known(totals: Sequence[tuple[float, bool]]) -> Floats:
    """Predictions of whole networks, NaN for one with a kernel that has no price."""
    return np.array([math.nan if is_lower_bound else total for total, is_lower_bound in totals], dtype=np.float64)


def agreement(predicted: npt.ArrayLike, simulated: npt.ArrayLike) -> Agreement | None:
    """Compare, both of shape (networks,) and in one unit; None when there is nothing to compare."""
    guess, truth = np.asarray(predicted, dtype=np.float64), np.asarray(simulated, dtype=np.float64)
    found = accuracy(guess, truth)
    if found is None:
        return None
    known = np.isfinite(guess)
    rmse = float(np.sqrt(np.mean((guess[known] - truth[known]) ** 2)))
    return Agreement(rmse, rmse / float(truth[known].mean()) * 100, found)


def _simulator_seconds(
    simulator: SimulatedDevice, workloads: Sequence[Workload], asked: Asked, truth: dict[str, SimulatedSample]
) -> float:
    """The median of this run; a few are asked about again where all were known before it.

    Raises:
        GateError: one costs something else than before: then no proxy can be judged.
    """
    if asked.seconds:
        return statistics.median(asked.seconds.values())
    taken = []
    for workload in workloads[:_TIMED]:
        begin = time.perf_counter()
        cost = checked_cost(simulator, workload)
        taken.append(time.perf_counter() - begin)
        before_ms = truth[workload.graph_hash].latency_ms
        if cost.latency_ms != before_ms:
            raise GateError(
                f"{workload.name} costs {cost.latency_ms} ms in the simulator now; the store has {before_ms} ms",
                remedy="a changed simulator needs another version; one that draws lots is no law to fit",
            )
    return statistics.median(taken)


def _proxy_seconds(
    setting: LocalSetting, predictor: LatencyPredictor, workloads: Sequence[Workload]
) -> tuple[float, float]:
    """Per network: from the ONNX graph one at a time, and from known kernels all at once."""
    graphs = [priced_kernels(one, setting.profile).kernels for one in workloads]
    predictor.price(graphs[:1], network=True)
    alone, together = [], []
    for workload in workloads:
        begin = time.perf_counter()
        predictor.price([priced_kernels(workload, setting.profile).kernels], network=True)
        alone.append(time.perf_counter() - begin)
    for _ in range(_PASSES):
        begin = time.perf_counter()
        predictor.price(graphs, network=True)
        together.append((time.perf_counter() - begin) / len(graphs))
    return statistics.median(alone), min(together)


def _judgement_document(one: Judgement) -> dict[str, Json]:
    def table(value: Agreement | None, unit: str) -> Json:
        if value is None:
            return None
        return {f"rmse_{unit}": value.rmse, "rmse_percent": value.rmse_percent, **asdict(value.accuracy)}

    return {
        "space": one.space,
        "cells_were_learned": one.is_known,
        "networks": one.networks,
        "unpriced": one.unpriced,
        "latency": table(one.latency, "ms"),
        "energy": table(one.energy, "mj"),
    }
