"""Train a predictor from the store and judge it: one call from measurements to a model and its report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..db import Store
from ..profiler.kernels.graph import Kernel
from ..profiler.records import Device, Json, RuntimeProfile
from .active.what_next import Surveys, what_next
from .cards.card_file import plain_json, write_card
from .cards.model_card import Judged, ModelCard, predictor_card
from .cards.training_data import training_data
from .composition import composition_document
from .dataset import Sample
from .fitting import Fitted, Measured, fit_measured, read_measured
from .predictor import LatencyPredictor
from .predictor_file import FILES, save_predictor
from .trees.boosting import HERE, Trainer
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
        card: all of it and more, as it is kept beside the predictor.
    """

    predictor: LatencyPredictor
    graphs: int
    cells: int
    networks: int
    held_out: Accuracy | None
    floor: Accuracy | None
    flops_only: Accuracy | None
    coverage: float | None
    card: ModelCard

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
    trainer: Trainer = HERE,
) -> TrainingReport:
    """Train on everything that the store holds for a device and profile.

    Args:
        cells: graph hashes to judge on (the cells of a space); empty judges on all graphs.
        core_cache_bytes: second-level cache of the device; None where it is not known.
        trainer: what boosts the trees.

    Raises:
        UsageError: too few measurements.
    """
    measured = read_measured(
        store, device_identity, profile, random_state=random_state, core_cache_bytes=core_cache_bytes
    )
    return report_of(store, device_identity, measured, fit_measured(measured, trainer), cells=cells)


def report_of(
    store: Store,
    device_identity: str,
    measured: Measured,
    fitted: Fitted,
    *,
    cells: Collection[str] = (),
    surveys: Surveys | None = None,
) -> TrainingReport:
    """Judge what was fitted, wherever that was, and look up what it stands on and what would help it most.

    Args:
        cells: as in ``train``.
        surveys: what spaces look like, where several devices are trained; None looks anew.
    """
    data, around = training_data(
        store,
        device_identity,
        measured.profile,
        graphs=[sample.workload.graph_hash for sample in measured.blocks],
        networks=[sample.workload.graph_hash for sample, _ in fitted.networks],
        kernels=sum(map(len, fitted.graphs)),
        seed=measured.random_state,
    )
    purposes = [around.purposes[sample.workload.graph_hash] for sample in measured.blocks]
    judged = _judge(fitted.predictor, measured.blocks, fitted.graphs, purposes, fitted.networks, frozenset(cells))
    card = predictor_card(judged, measured.profile, data, around)
    wanted = what_next(store, measured, fitted, Surveys() if surveys is None else surveys)
    return _report(judged, replace(card, curve=fitted.curve, next=wanted))


def _judge(
    predictor: LatencyPredictor,
    samples: Sequence[Sample],
    graphs: Sequence[Sequence[Kernel]],
    purposes: Sequence[str],
    networks: Sequence[tuple[Sample, tuple[Kernel, ...]]],
    cells: frozenset[str],
) -> Judged:
    truth = np.array([sample.latency_ms for sample in samples])
    chosen = np.array([not cells or sample.workload.graph_hash in cells for sample in samples])
    return Judged(
        predictor=predictor,
        samples=samples,
        graphs=graphs,
        purposes=purposes,
        chosen=chosen,
        guess_ms=predictor.held_out_ms_,
        fold=predictor.fold_,
        spread=predictor.held_out_spread_,
        networks=networks,
        held_out=accuracy(predictor.held_out_ms_[chosen], truth[chosen]),
        floor=repeatability([sample for sample, inside in zip(samples, chosen, strict=True) if inside]),
        flops_only=accuracy(flops_baseline(graphs, truth, predictor.fold_)[chosen], truth[chosen]),
    )


def _report(judged: Judged, card: ModelCard) -> TrainingReport:
    at_alpha = next(one for one in card.coverage if abs(one.nominal - (1 - ALPHA)) < 1e-9)
    return TrainingReport(
        predictor=judged.predictor,
        graphs=len(judged.samples),
        cells=int(judged.chosen.sum()),
        networks=len(judged.predictor.network_scores_),
        held_out=judged.held_out,
        floor=judged.floor,
        flops_only=judged.flops_only,
        coverage=at_alpha.held,
        card=card,
    )


def save_report(report: TrainingReport, folder: Path, provenance: dict[str, Json]) -> None:
    """Write the predictor with its report and origin beside it, and its card.

    What tells whether it is stale stands in the provenance as well: reading that takes no time (``staleness.py``).
    """
    card = report.card
    origin: dict[str, Json] = {
        **provenance,
        "metric": card.metric,
        "trained_at": card.made_at,
        "environment": None if card.environment is None else plain_json(card.environment),
        "protocols": [*sorted(card.data.protocols)],
        "report": report.document(),
    }
    save_predictor(report.predictor, folder, origin)
    write_card(replace(card, device={**card.device, **_described(provenance)}), folder, FILES)


def pair_provenance(device: Device, profile: RuntimeProfile) -> dict[str, Json]:
    """Where a predictor comes from, as its file says it."""
    return {
        "device": device.name,
        "device_identity": device.identity,
        "device_description": device.description,
        "profile": profile.label,
        "profile_hash": profile.profile_hash,
    }


def _described(provenance: dict[str, Json]) -> dict[str, str]:
    """What the caller knows of the device better than the store."""
    names = {"name": "device", "identity": "device_identity", "description": "device_description"}
    return {name: str(provenance[key]) for name, key in names.items() if isinstance(provenance.get(key), str)}
