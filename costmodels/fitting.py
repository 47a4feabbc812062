"""Samples → a fitted predictor, without a store: what may run on another machine than the one that has the database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..db import Store
from ..profiler.errors import ModelError
from ..profiler.kernels.graph import Kernel
from ..profiler.records import RuntimeProfile
from .cards.growth import LearningPoint
from .dataset import BLOCK_PURPOSES, NETWORK_PURPOSES, Sample, load_samples, sample_kernels
from .learning_curve import learning_curve
from .predictor import LatencyPredictor
from .trees.boosting import HERE, Trainer


@dataclass(frozen=True)
class Measured:
    """What a store holds for a device and profile, and how it is to be fitted.

    Attributes:
        blocks, networks: samples that train kernels, and whole networks.
        core_cache_bytes: second-level cache of the device; None where it is not known.
    """

    profile: RuntimeProfile
    blocks: tuple[Sample, ...]
    networks: tuple[Sample, ...]
    random_state: int = 0
    core_cache_bytes: int | None = None

    @property
    def digest(self) -> str:
        """Of all that the fit depends on but the code: equal digests give equal predictors."""
        head = [self.profile.profile_hash, self.random_state, self.core_cache_bytes]
        samples = [[one.workload.graph_hash, one.is_network, *one.sessions_ms] for one in self.blocks + self.networks]
        return hashlib.sha256(json.dumps([head, samples]).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Fitted:
    """A predictor, and the kernels that it was fitted on.

    Attributes:
        graphs: the kernels of each of ``Measured.blocks``.
        networks: the networks that the runtime still opens, with theirs.
        curve: how the error fell with the number of blocks.
    """

    predictor: LatencyPredictor
    graphs: tuple[tuple[Kernel, ...], ...]
    networks: tuple[tuple[Sample, tuple[Kernel, ...]], ...]
    curve: tuple[LearningPoint, ...] = ()


def read_measured(
    store: Store,
    device_identity: str,
    profile: RuntimeProfile,
    *,
    random_state: int = 0,
    core_cache_bytes: int | None = None,
) -> Measured:
    """Everything that the store holds for a device and profile."""
    blocks, networks = (
        tuple(load_samples(store, device_identity, profile, purposes=purposes))
        for purposes in (BLOCK_PURPOSES, NETWORK_PURPOSES)
    )
    return Measured(profile, blocks, networks, random_state, core_cache_bytes)


def fit_measured(measured: Measured, trainer: Trainer = HERE) -> Fitted:
    """Ask the runtime for the kernels of all graphs, and fit.

    Raises:
        UsageError: too few measurements.
        ModelError: the runtime does not open a block any more.
    """
    blocks, profile = measured.blocks, measured.profile
    graphs = sample_kernels(blocks, profile)
    networks = _readable(measured.networks, profile)
    samples = [*blocks, *(sample for sample, _ in networks)]
    predictor = LatencyPredictor(random_state=measured.random_state).fit(
        [*graphs, *(graph for _, graph in networks)],
        [sample.latency_ms for sample in samples],
        is_network=[False] * len(blocks) + [True] * len(networks),
        sessions_ms=[sample.sessions_ms for sample in samples],
        core_cache_bytes=measured.core_cache_bytes,
        trainer=trainer,
    )
    curve = learning_curve(predictor, graphs, np.array([sample.latency_ms for sample in blocks]))
    return Fitted(predictor, tuple(graphs), tuple(networks), curve)


def _readable(samples: Sequence[Sample], profile: RuntimeProfile) -> list[tuple[Sample, tuple[Kernel, ...]]]:
    """Networks with their kernels, without those that the runtime no longer opens: somebody's file is not our cells."""
    found = []
    for sample in samples:
        with suppress(ModelError):
            found += [(sample, graph) for graph in sample_kernels([sample], profile)]
    return found
