"""Train an energy predictor from the store and judge it: one call from measurements to a model and its report."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from ...db import Store
from ...profiler.errors import ModelError, UsageError
from ...profiler.kernels.graph import Kernel, kernels
from ...profiler.records import Json, RuntimeProfile
from ..validation import flops_baseline
from .energy import Energies, EnergySample, load_energies
from .energy_predictor import EnergyPredictor
from .judgement import Judgement, judge


@dataclass(frozen=True)
class EnergyReport:
    """A trained predictor, what it is worth, and what took no part in it.

    Attributes:
        left_out: measurements without an energy that could be used, by reason.
    """

    predictor: EnergyPredictor
    graphs: int
    networks: int
    judgement: Judgement
    left_out: Mapping[str, int]

    def document(self) -> dict[str, Json]:
        """The report as JSON, without the model."""
        return {
            "metric": "energy",
            "unit": "mJ",
            "scope": self.predictor.scope_,
            "graphs": self.graphs,
            "networks": self.networks,
            "left_out": dict(self.left_out),
            **self.judgement.document(),
        }

    def save(self, folder: Path, provenance: Mapping[str, Json]) -> None:
        """Write the predictor with its report and origin beside it."""
        made = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.predictor.save(folder, {**provenance, "trained_at": made, "report": self.document()})


def train_energy(
    store: Store,
    device_identity: str,
    profile: RuntimeProfile,
    *,
    scope: str | None = None,
    random_state: int = 0,
    core_cache_bytes: int | None = None,
) -> EnergyReport:
    """Train on every energy that the store holds for a device and profile.

    Args:
        scope: as for ``load_energies``.

    Raises:
        UsageError: too few energies, or of several scopes.
    """
    energies = load_energies(store, device_identity, profile, scope=scope)
    if not energies.samples:
        raise _nothing_measured(energies)
    blocks = _readable(energies.blocks, profile)
    networks = _readable(energies.networks, profile)
    both = [*blocks, *networks]
    predictor = EnergyPredictor(random_state=random_state).fit(
        [graph for _, graph in both],
        [sample.energy_mj for sample, _ in both],
        scope=energies.scope,
        is_network=[False] * len(blocks) + [True] * len(networks),
        core_cache_bytes=core_cache_bytes,
    )
    measured = np.array([sample.energy_mj for sample, _ in blocks])
    line = flops_baseline([graph for _, graph in blocks], measured, predictor.fold_)
    sessions = [sample.sessions_mj for sample, _ in blocks]
    return EnergyReport(
        predictor=predictor,
        graphs=len(blocks),
        networks=predictor.networks,
        judgement=judge(
            predictor.held_out_mj_,
            measured,
            sessions,
            predictor.fold_,
            line,
            "FLOPs only",
            predictor.held_out_spread_,
        ),
        left_out=energies.left_out,
    )


def _nothing_measured(energies: Energies) -> UsageError:
    told = ", ".join(f"{count} {reason}" for reason, count in energies.left_out.items())
    return UsageError(
        f"no energy was measured on this device and runtime ({told or 'no measurements at all'})",
        remedy="energy needs a power sensor: measure on a board that has one, or on a simulated device",
    )


def _readable(samples: list[EnergySample], profile: RuntimeProfile) -> list[tuple[EnergySample, tuple[Kernel, ...]]]:
    """Graphs with their kernels, without those that the runtime no longer opens."""
    found = []
    for sample in samples:
        with suppress(ModelError):
            found.append((sample, kernels(sample.workload, profile)))
    return found
