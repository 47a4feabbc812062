"""Train a predictor from the store and judge it: one call from measurements to a model and its report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from ..db import Store
from ..profiler.errors import ModelError
from ..profiler.kernels.graph import Kernel
from ..profiler.records import Json, RuntimeProfile
from .composition import composition_document
from .conformal import cross_coverage
from .dataset import BLOCK_PURPOSES, NETWORK_PURPOSES, Sample, load_samples, sample_kernels
from .predictor import LatencyPredictor
from .predictor_file import save_predictor
from .validation import Accuracy, accuracy, flops_baseline, repeatability

#: Nominal share of graphs outside the intervals that are printed.
ALPHA = 0.1


@dataclass(frozen=True)
class TrainingReport:
    """A trained predictor and what it is worth.

    Attributes:
        held_out: agreement on graphs that the predicting model had not seen (5 folds, split by graph), restricted to
            the cells that were asked for.
        floor: agreement of two measurements of the same cells in separate processes; None without repetitions.
        flops_only: the same judgement of a line through FLOPs.
        coverage: share of held-out graphs inside the 90 % interval; None when too few.
        networks: whole networks behind the network factor.
    """

    predictor: LatencyPredictor
    graphs: int
    cells: int
    networks: int
    held_out: Accuracy | None
    floor: Accuracy | None
    flops_only: Accuracy | None
    coverage: float | None

    def document(self) -> dict[str, Json]:
        """The report as JSON, without the model."""

        def table(value: Accuracy | None) -> Json:
            return None if value is None else dict(asdict(value))

        return {
            "graphs": self.graphs,
            "cells": self.cells,
            "networks": self.networks,
            "held_out": table(self.held_out),
            "repeatability_floor": table(self.floor),
            "flops_only": table(self.flops_only),
            "interval_nominal_coverage": 1 - ALPHA,
            "interval_measured_coverage": self.coverage,
            "composition": composition_document(self.predictor.composition_),
        }


def train(
    store: Store,
    device_identity: str,
    profile: RuntimeProfile,
    *,
    cells: Collection[str] = (),
    random_state: int = 0,
    core_cache_bytes: int | None = None,
) -> TrainingReport:
    """Train on everything that the store holds for a device and profile.

    Args:
        cells: graph hashes to judge on (the cells of a space); empty judges on all graphs.
        core_cache_bytes: second-level cache of the device; None where it is not known.

    Raises:
        UsageError: too few measurements.
    """
    samples = load_samples(store, device_identity, profile, purposes=BLOCK_PURPOSES)
    graphs = sample_kernels(samples, profile)
    networks = _readable(load_samples(store, device_identity, profile, purposes=NETWORK_PURPOSES), profile)
    predictor = LatencyPredictor(random_state=random_state).fit(
        [*graphs, *(graph for _, graph in networks)],
        [sample.latency_ms for sample in [*samples, *(sample for sample, _ in networks)]],
        is_network=[False] * len(samples) + [True] * len(networks),
        core_cache_bytes=core_cache_bytes,
    )
    return _judge(predictor, samples, graphs, frozenset(cells))


def _readable(samples: Sequence[Sample], profile: RuntimeProfile) -> list[tuple[Sample, tuple[Kernel, ...]]]:
    """Networks with their kernels, without those that the runtime no longer opens: somebody's file is not our cells."""
    found = []
    for sample in samples:
        with suppress(ModelError):
            found += [(sample, graph) for graph in sample_kernels([sample], profile)]
    return found


def _judge(
    predictor: LatencyPredictor,
    samples: Sequence[Sample],
    graphs: Sequence[Sequence[Kernel]],
    cells: frozenset[str],
) -> TrainingReport:
    truth = np.array([sample.latency_ms for sample in samples])
    chosen = np.array([not cells or sample.workload.graph_hash in cells for sample in samples])
    errors = np.abs(np.log(predictor.held_out_ms_ / truth))
    known = chosen & np.isfinite(errors)
    return TrainingReport(
        predictor=predictor,
        graphs=len(samples),
        cells=int(chosen.sum()),
        networks=len(predictor.network_scores_),
        held_out=accuracy(predictor.held_out_ms_[chosen], truth[chosen]),
        floor=repeatability([sample for sample, inside in zip(samples, chosen, strict=True) if inside]),
        flops_only=accuracy(flops_baseline(graphs, truth, predictor.fold_)[chosen], truth[chosen]),
        coverage=cross_coverage(errors[known], predictor.fold_[known], ALPHA),
    )


def save_report(report: TrainingReport, folder: Path, provenance: dict[str, Json]) -> None:
    """Write the predictor with its report and origin beside it."""
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    save_predictor(report.predictor, folder, {**provenance, "trained_at": made, "report": report.document()})
