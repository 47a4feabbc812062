"""Newer measurements against a predictor: each made after its training, predicted by it before it is looked at.

Prequential, as Dawid calls it (Journal of the Royal Statistical Society A 147, 1984): the one honest test that costs
nothing, since other campaigns made the measurements.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from ...db import Store
from ...profiler.errors import ModelError
from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.kernels.graph import Kernel
from ..conformal import conformal_radius
from ..dataset import BLOCK_PURPOSES, NETWORK_PURPOSES, typical_overhead_ms
from ..kernel_times import SHORT_MS
from ..local_setting import LocalSetting
from ..predictor import LatencyPredictor
from .anchors import USUAL_RADIUS
from .model_card import HASH_LENGTH, ModelCard

#: Nominal share of newer measurements that fall outside their intervals.
ALPHA = 0.1
#: Outside far more often than nominal: beyond chance, and at least twice as often. Chance alone would do with a
#: thousand measurements, whose errors come in batches.
_CHANCE, _TIMES = 1e-3, 2.0
#: Fewer newer measurements tell nothing.
_NEWER_MIN = 10

#: Graph hash, and whether it is a whole network.
Key = tuple[str, bool]


@dataclass(frozen=True)
class Newer:
    """What newer measurements say of a predictor.

    Attributes:
        graphs: how many; ``repeated`` of them are graphs of the training data, measured again.
        outside: share outside the 90 % interval; None with too few.
        shift: median relative difference of measured from predicted; None with too few.
        repeated_shift: the same of measured again from measured at training.
        is_outside: outside far more often than nominal.
        is_shifted: measured again, they differ by more than two sessions of one machine.
    """

    graphs: int
    repeated: int
    outside: float | None
    shift: float | None
    repeated_shift: float | None
    is_outside: bool
    is_shifted: bool


def judge_newer(
    store: Store, setting: LocalSetting, predictor: LatencyPredictor, card: ModelCard, since: str
) -> Newer | None:
    """Judge a latency predictor by what was measured on its device and profile after a time; None without any."""
    measured = newer_latencies(store, setting, since)
    if not measured:
        return None
    trained = dict(zip(card.pairs.graph, card.pairs.measured, strict=True))
    again = [
        math.log(latency / trained[graph_hash[:HASH_LENGTH]])
        for (graph_hash, is_network), latency in measured.items()
        if not is_network and graph_hash[:HASH_LENGTH] in trained
    ]
    errors, inside = _errors(store, setting, predictor, card, measured)
    enough = len(errors) >= _NEWER_MIN
    outside = inside.count(False)
    chance = float(binom.sf(outside - 1, len(inside), ALPHA)) if enough else 1.0
    repeated = statistics.median(again) if len(again) >= _NEWER_MIN else None
    limit = math.log1p(max(USUAL_RADIUS, card.floor_radius or 0.0))
    return Newer(
        graphs=len(measured),
        repeated=len(again),
        outside=outside / len(inside) if enough else None,
        shift=math.expm1(statistics.median(errors)) if enough else None,
        repeated_shift=None if repeated is None else math.expm1(repeated),
        is_outside=enough and outside >= _TIMES * ALPHA * len(inside) and chance < _CHANCE,
        is_shifted=repeated is not None and abs(repeated) > limit,
    )


def newer_latencies(store: Store, setting: LocalSetting, since: str) -> dict[Key, float]:
    """Net latency in ms of what was measured after a time; the median where there are several."""
    found = store.measurements(
        device_identity=setting.device.identity,
        profile_hash=setting.profile.profile_hash,
        purposes=(*BLOCK_PURPOSES, *NETWORK_PURPOSES),
    )
    typical = typical_overhead_ms(found)
    made: dict[Key, list[float]] = defaultdict(list)
    for one in found:
        overhead = typical if one.overhead_ms is None else one.overhead_ms
        if one.started_at <= since or one.latency is None or overhead is None:
            continue
        net_ms = one.latency.median_ms - overhead
        # As for training: of a kernel too short to time alone the copies speak.
        if net_ms > (SHORT_MS if one.purpose == "kernel" else 0.0):
            made[one.graph_hash, one.purpose in NETWORK_PURPOSES].append(net_ms)
    return {key: statistics.median(values) for key, values in made.items()}


def _errors(
    store: Store,
    setting: LocalSetting,
    predictor: LatencyPredictor,
    card: ModelCard,
    measured: Mapping[Key, float],
) -> tuple[list[float], list[bool]]:
    """Log of measured over predicted, and whether it lay inside the interval, of all that have a price and one.

    What trained the predictor is compared with the prediction of one that had not seen it: the card keeps those.
    """
    held_out = dict(zip(card.pairs.graph, zip(card.pairs.predicted, card.pairs.spread, strict=True), strict=True))
    radius = conformal_radius(np.asarray(predictor.scores_), ALPHA)
    errors, inside = [], []
    unseen: dict[bool, list[str]] = {False: [], True: []}
    for (graph_hash, is_network), latency in measured.items():
        guess = None if is_network else held_out.get(graph_hash[:HASH_LENGTH])
        if guess is None:
            unseen[is_network].append(graph_hash)
        elif math.isfinite(radius):
            errors.append(math.log(latency / guess[0]))
            inside.append(abs(errors[-1]) <= radius * guess[1])
    for is_network, hashes in unseen.items():
        graphs = _graphs(store, setting, hashes)
        prices = predictor.price(list(graphs.values()), alpha=ALPHA, network=is_network) if graphs else []
        for graph_hash, price in zip(graphs, prices, strict=True):
            if price.lo_ms is not None and price.hi_ms is not None:
                latency = measured[graph_hash, is_network]
                errors.append(math.log(latency / price.total_ms))
                inside.append(price.lo_ms <= latency <= price.hi_ms)
    return errors, inside


def _graphs(store: Store, setting: LocalSetting, hashes: Sequence[str]) -> dict[str, tuple[Kernel, ...]]:
    """The kernels of each graph, without those that the runtime no longer opens."""
    found = {}
    for graph_hash in hashes:
        workload = store.workload(graph_hash)
        if workload is not None:
            with suppress(ModelError):
                found[graph_hash] = priced_kernels(workload, setting.profile).kernels
    return found
