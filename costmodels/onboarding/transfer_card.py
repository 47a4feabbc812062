"""The model card of a predictor that was translated from another device: judged by the new device's own kernels."""

from __future__ import annotations

import numpy as np

from ...db import Store
from ...profiler.records import Device, RuntimeProfile
from ..cards.model_card import Judged, ModelCard, predictor_card
from ..cards.training_data import training_data
from ..validation import accuracy, flops_baseline, repeatability
from .kernel_transfer import Transferred


def transfer_card(made: Transferred, store: Store, device: Device, profile: RuntimeProfile, *, seed: int) -> ModelCard:
    """What the predictor is worth: each kernel measured here as priced by the shift that all others show.

    Its data and anchors are this device's; what was borrowed is named among the limits.
    """
    truth = np.array([sample.latency_ms for sample in made.judged])
    each = np.arange(len(truth))
    data, around = training_data(
        store,
        device.identity,
        profile,
        graphs=[sample.workload.graph_hash for sample in made.judged],
        networks=[sample.workload.graph_hash for sample, _ in made.whole],
        kernels=sum(map(len, made.judged_graphs)),
        seed=seed,
    )
    judged = Judged(
        predictor=made.predictor,
        samples=made.judged,
        graphs=made.judged_graphs,
        purposes=[around.purposes[sample.workload.graph_hash] for sample in made.judged],
        chosen=np.ones(len(truth), dtype=bool),
        guess_ms=made.judged_ms,
        fold=each,
        spread=made.judged_spread,
        networks=made.whole,
        held_out=accuracy(made.judged_ms, truth),
        floor=repeatability(made.judged),
        flops_only=accuracy(flops_baseline(made.judged_graphs, truth, each), truth),
        limits=_limits(made),
    )
    return predictor_card(judged, profile, data, around)


def _limits(made: Transferred) -> tuple[str, ...]:
    borrowed = ", ".join(f"{name} ({share:.0%})" for name, share in made.weights.items())
    told = [f"Only {made.kernels} kernels were measured here; all others are translated from {borrowed}."]
    if not made.networks and made.predictor.composition_ is not None:
        told.append("What a network takes beyond its kernels is taken from there as well.")
    return tuple(told)
