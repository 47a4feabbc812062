"""A table as a blackbox of Syne Tune that answers for every architecture, where the written folder holds a sample.

``UserBlackboxBackend(blackbox, elapsed_time_attr=ELAPSED)`` makes a simulated backend of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ...profiler.errors import MissingPackage, UsageError
from ..lut import Lut
from ..space import Space
from ..spaces.coding import Numeric
from .labels import arch_of_choices, candidate_choices, depth_choices

try:
    from syne_tune.blackbox_repository.blackbox import Blackbox
    from syne_tune.config_space import choice, randint
except ImportError as error:
    raise MissingPackage(
        f"Syne Tune is needed for its blackboxes: {error}",
        remedy="pip install syne-tune fastparquet huggingface_hub",
    ) from error

#: As in the written folder.
LATENCY = "metric_latency_ms"
#: Simulated seconds since a trial began.
ELAPSED = "metric_elapsed_time"
FIDELITY = "hp_epoch"

Objectives = Callable[[Numeric, int], Mapping[str, float]]


class LutBlackbox(Blackbox):  # type: ignore[misc]  # Syne Tune ships no types
    """Corrected latency in ms as an objective, beside whatever else is given, at each epoch of a simulated training.

    Configurations have a value for each label: ``stage2[0]`` the name of a candidate, ``stage2 depth`` a number. What
    is chosen beyond a stage's depth has no part in it.

    Args:
        others: from an architecture, int16 (positions,), and an epoch from 1 to further objectives by name.
        names: of the further objectives.
        epochs: of every trial.
        epoch_s: simulated seconds that an epoch takes.
        space: needed only where the table's space is not a built-in one.

    Raises:
        GateError: the table lacks cells of the space; they are listed.
    """

    def __init__(
        self,
        lut: Lut,
        others: Objectives | None = None,
        names: tuple[str, ...] = (),
        *,
        epochs: int = 1,
        epoch_s: float = 1.0,
        space: Space | None = None,
    ) -> None:
        self.lut, self.space, self.epochs, self.epoch_s = lut, space or lut.space, epochs, epoch_s
        if (others is None) == bool(names):
            raise UsageError("further objectives need both a function and names", remedy="Give others and names.")
        self._others = others
        lut.require(self.space)
        choices = [*depth_choices(self.space).values(), *candidate_choices(self.space)]
        super().__init__(
            configuration_space={one.label: choice(list(one.values)) for one in choices},
            fidelity_space={FIDELITY: randint(1, epochs)},
            objectives_names=[LATENCY, *names, ELAPSED],
        )

    @property
    def fidelity_values(self) -> npt.NDArray[np.int64]:
        """1 to the last epoch."""
        return np.arange(1, self.epochs + 1)

    def arch(self, configuration: Mapping[str, object]) -> Numeric:
        """The architecture of a configuration, int16 (positions,)."""
        return arch_of_choices(self.space, configuration)

    def _objective_function(
        self,
        configuration: Mapping[str, object],
        fidelity: Mapping[str, int] | None = None,
        seed: int | None = None,
    ) -> dict[str, float] | npt.NDArray[np.float64]:
        """At one epoch by name, or (epochs, objectives); a table has no seeds."""
        arch = self.arch(configuration)
        latency_ms = float(self.lut.price(arch[None, :], space=self.space)[0])
        if fidelity is not None:
            return self._at(arch, latency_ms, int(fidelity[FIDELITY]))
        rows = [self._at(arch, latency_ms, int(epoch)) for epoch in self.fidelity_values]
        return np.array([[row[name] for name in self.objectives_names] for row in rows], dtype=np.float64)

    def _at(self, arch: Numeric, latency_ms: float, epoch: int) -> dict[str, float]:
        further = self._others(arch, epoch) if self._others else {}
        return {LATENCY: latency_ms, **further, ELAPSED: epoch * self.epoch_s}

    def hyperparameter_objectives_values(self, predict_curves: bool = False) -> None:
        """What a surrogate would be fitted on; there is none, because nothing is left to be estimated.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "a table answers for every architecture and needs no surrogate",
            remedy="Ask it directly, or write a sample: edgecost lut export-archs --format syne-tune.",
        )
