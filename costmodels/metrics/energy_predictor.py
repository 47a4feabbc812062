"""The energy predictor: the law of the latency predictor, in millijoules: energy per call, per operation, per byte.

Energy adds up over kernels as time does, so roofline, trees, the correction for whole networks and the conformal
intervals are those of ``LatencyPredictor``, fitted on energies. What comes out carries mJ in its names; nothing here
hands on a number under a name in ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...profiler.errors import ArtefactError, UsageError
from ...profiler.kernels.graph import Kernel
from ...profiler.records import Json
from ..predictor import GRAPHS_MIN, Graph, LatencyPredictor
from ..predictor_file import load_predictor, save_predictor
from ..prices import GraphPrice, KernelPrice
from .metric import ENERGY

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class KernelEnergy:
    """One kernel's share of a prediction; ``source`` as in ``KernelPrice``, None where it is ``unsupported``."""

    kernel: Kernel
    energy_mj: float | None
    source: str


@dataclass(frozen=True)
class GraphEnergy:
    """A predicted graph; fields as in ``GraphPrice``, in millijoules."""

    total_mj: float
    lo_mj: float | None
    hi_mj: float | None
    is_lower_bound: bool
    kernels: tuple[KernelEnergy, ...]
    coverage: Mapping[str, float]


class EnergyPredictor:
    """Predicts the gross energy of a run of a graph from the kernels it becomes.

    Args:
        parameters: of ``LatencyPredictor``.

    Attributes set by ``fit``: ``scope_``, ``held_out_mj_`` (prediction of each block by a model that had not seen it)
    ``held_out_spread_`` and ``fold_``.
    """

    def __init__(self, **parameters: int | float) -> None:
        self._law = LatencyPredictor().set_params(**parameters)

    def get_params(self, deep: bool = True) -> dict[str, int | float]:
        """The constructor's arguments by name."""
        return self._law.get_params(deep)

    def fit(
        self,
        graphs: Sequence[Graph],
        energy_mj: npt.ArrayLike,
        *,
        scope: str,
        is_network: Sequence[bool] | None = None,
        core_cache_bytes: int | None = None,
    ) -> EnergyPredictor:
        """Train on measured graphs; arguments as for ``LatencyPredictor.fit``.

        Args:
            energy_mj: shape (graphs,), positive: gross, without the energy of the call.
            scope: what all of them include (``Energy.scope``).

        Raises:
            UsageError: as ``LatencyPredictor.fit``, or no scope.
        """
        measured = np.asarray(energy_mj, dtype=np.float64)
        if not np.all(np.isfinite(measured) & (measured > 0)):
            raise UsageError("energies must be positive and finite: leave out what could not be measured")
        if not scope:
            raise UsageError("energies without a scope: nobody could say what a prediction includes")
        blocks = len(graphs) - (0 if is_network is None else sum(is_network))
        if blocks < max(GRAPHS_MIN, int(self._law.folds)):
            raise UsageError(
                f"the energy of {blocks} graphs is too few to train on; {GRAPHS_MIN} is the least",
                remedy="measure energy on a device with a power sensor, or import what one measured",
            )
        self._law.fit(graphs, measured, is_network=is_network, core_cache_bytes=core_cache_bytes)
        self.scope_ = scope
        self.held_out_mj_: Floats = self._law.held_out_ms_
        self.fold_, self.held_out_spread_ = self._law.fold_, self._law.held_out_spread_
        return self

    @property
    def networks(self) -> int:
        """Whole networks behind the correction from sums to networks; 0 without one."""
        return 0 if self._law.composition_ is None else self._law.composition_.networks

    def price(self, graphs: Sequence[Graph], *, alpha: float = 0.1, network: bool = False) -> list[GraphEnergy]:
        """Price every kernel of every graph, and say where each number comes from; as ``LatencyPredictor.price``."""
        return [_in_millijoules(price) for price in self._law.price(graphs, alpha=alpha, network=network)]

    def save(self, folder: Path, provenance: Mapping[str, Json]) -> None:
        """Write it as predictors are written, with its metric, unit and scope in the provenance.

        Raises:
            OutputError: the folder cannot be written.
        """
        own: dict[str, Json] = {"metric": ENERGY.name, "unit": ENERGY.unit, "scope": self.scope_}
        save_predictor(self._law, folder, {**provenance, **own})

    @classmethod
    def load(cls, folder: Path) -> tuple[EnergyPredictor, dict[str, Json]]:
        """Read a predictor and its provenance.

        Raises:
            ArtefactError: as ``load_predictor``: one of another metric is refused.
        """
        if not (folder / "predictor.json").exists():
            raise ArtefactError(f"{folder} holds no predictor", remedy="train one: edgecost train --metric energy")
        law, provenance = load_predictor(folder, metric=ENERGY.name)
        found = cls()
        found._law = law
        found.scope_ = str(provenance.get("scope", ""))
        return found, provenance


def _in_millijoules(price: GraphPrice) -> GraphEnergy:
    """The law was fitted on millijoules; its fields are named for the milliseconds that it was made for."""
    return GraphEnergy(
        total_mj=price.total_ms,
        lo_mj=price.lo_ms,
        hi_mj=price.hi_ms,
        is_lower_bound=price.is_lower_bound,
        kernels=tuple(map(_kernel_energy, price.kernels)),
        coverage=price.coverage(),
    )


def _kernel_energy(price: KernelPrice) -> KernelEnergy:
    return KernelEnergy(price.kernel, price.latency_ms, price.source)
