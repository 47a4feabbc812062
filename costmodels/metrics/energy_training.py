"""Train an energy predictor from the store and judge it: one call from measurements to a model and its report."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...db import Store
from ...profiler.errors import ModelError, UsageError
from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.kernels.graph import Kernel
from ...profiler.records import SIMULATOR, Json, RuntimeProfile
from ..cards.card_file import write_card
from ..cards.model_card import ModelCard
from ..predictor_file import FILES
from ..validation import flops_baseline
from .energy import Energies, EnergySample, load_energies
from .energy_predictor import EnergyPredictor
from .judgement import Judgement, judge
from .metric import ENERGY
from .metric_card import FLOPS_ONLY, HeldOut, metric_card, of_device


@dataclass(frozen=True)
class EnergyReport:
    """A trained predictor, what it is worth, and what took no part in it.

    Attributes:
        left_out: measurements without an energy that could be used, by reason.
        card: as it is kept beside the predictor.
    """

    predictor: EnergyPredictor
    graphs: int
    networks: int
    judgement: Judgement
    left_out: Mapping[str, int]
    card: ModelCard

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
        """Write the predictor with its report and origin beside it, and its card."""
        self.predictor.save(folder, {**provenance, "trained_at": self.card.made_at, "report": self.document()})
        write_card(replace(self.card, device=of_device(provenance)), folder, FILES)


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
        raise _nothing_simulated(energies) if profile.runtime == SIMULATOR else _nothing_measured(energies)
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
    judgement = judge(
        predictor.held_out_mj_, measured, sessions, predictor.fold_, line, FLOPS_ONLY, predictor.held_out_spread_
    )
    card = metric_card(
        ENERGY,
        HeldOut(
            hashes=[sample.workload.graph_hash for sample, _ in blocks],
            kinds=["graph"] * len(blocks),
            measured=measured,
            predicted=predictor.held_out_mj_,
            fold=predictor.fold_,
            spread=predictor.held_out_spread_,
            sessions=[len(one) for one in sessions],
        ),
        judgement,
        profile,
        model="predictor",
        graphs=len(blocks),
        networks=predictor.networks,
        left_out=energies.left_out,
        seed=random_state,
        limits=[f"It says gross energy that includes {predictor.scope_}; of other rails it knows nothing."],
    )
    return EnergyReport(predictor, len(blocks), predictor.networks, judgement, energies.left_out, card)


def _nothing_measured(energies: Energies) -> UsageError:
    told = ", ".join(f"{count} {reason}" for reason, count in energies.left_out.items())
    return UsageError(
        f"no energy was measured on this device and runtime ({told or 'no measurements at all'})",
        remedy="energy needs a power sensor: measure on a board that has one, or on a simulated device",
    )


def _nothing_simulated(energies: Energies) -> UsageError:
    if energies.left_out:
        return UsageError(
            f"this simulator says no energies ({sum(energies.left_out.values())} graphs were simulated)",
            remedy="learn its latencies: leave out --metric energy",
        )
    return UsageError(
        "nothing was simulated on this device yet",
        remedy="edgecost proxy fit --simulator NAME --space NAME simulates blocks and networks, and trains on them",
    )


def _readable(samples: list[EnergySample], profile: RuntimeProfile) -> list[tuple[EnergySample, tuple[Kernel, ...]]]:
    """Graphs with their kernels, without those that the runtime no longer opens."""
    found = []
    for sample in samples:
        with suppress(ModelError):
            found.append((sample, priced_kernels(sample.workload, profile).kernels))
    return found
