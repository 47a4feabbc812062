"""DyNAS-T: the results file that its search starts from, and an object that answers in place of its predictor."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ...profiler.errors import UsageError
from ..lut import Lut
from ..lut_formats.card import FormatCard
from ..space import Space
from ..spaces.coding import NativeArch
from .base import ArchFileFormat
from .costs import About, Costs, Floats
from .networks import Networks

_SPACE = "ofa-mobilenetv3"
#: Replaced by position when the file is read; the metrics are those of the Once-for-All super-network, in its order.
_HEADER = ("sub-network", "date", "params", "latency", "macs", "accuracy_top1")


class DynasFormat(ArchFileFormat):
    """CSV with the architecture as a Python dictionary. What is not known is empty: pandas reads NaN."""

    name = "dynas-t"
    card = FormatCard(
        title="DyNAS-T, OFA MobileNetV3",
        reader="dynast.search.encoding.EncodingBase.import_csv; results_path of a search",
        spaces=(_SPACE,),
        note="Parameters, MACs and accuracy are empty. Energies stand in the column latency.",
    )

    def render(self, networks: Networks, costs: Sequence[Costs], about: About) -> dict[str, bytes]:
        """One row for each network."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_HEADER)
        for arch, value in zip(networks.native, costs[0].floats, strict=True):
            assert isinstance(arch, dict), "the space's own form is a dictionary"
            table.writerow([repr({**arch, "wid": None}), about.created or "", "", repr(value), "", ""])
        return {f"{networks.space}-{about.slug}-{costs[0].metric}.csv": text.getvalue().encode()}


class DynasPredictor:
    """What DyNAS-T asks of a predictor: ``predict(one-hot) -> ms``, backed by a table instead of trained.

    The columns are those of its generic one-hot vector: every kernel, every expansion, every depth in turn, each a
    group with one column for each choice in ascending order; 135 for ofa-mobilenetv3.
    """

    def __init__(self, lut: Lut, space: Space | None = None) -> None:
        """Take a table.

        Args:
            space: needed only where the table's space is not a built-in one.

        Raises:
            UsageError: the space is not Once-for-All's MobileNetV3.
            GateError: the table does not cover it.
        """
        self.lut, self.space = lut, space or lut.space
        if self.space.name != _SPACE:
            raise UsageError(f"DyNAS-T's one-hot vector is of {_SPACE}, not of {self.space.name}")
        lut.require(self.space)
        self._groups = _groups(self.space)

    @property
    def columns(self) -> int:
        """Of the one-hot array."""
        return sum(len(choices) for _, choices in self._groups)

    def predict(self, one_hot: ArrayLike) -> Floats:
        """Corrected latency of each network, ms, float64 (networks,).

        Args:
            one_hot: (networks, columns), exactly one 1 in every group.

        Raises:
            UsageError: another shape, or a group in which not exactly one choice is made.
        """
        array = np.asarray(one_hot, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] != self.columns:
            raise UsageError(f"the one-hot array has shape {array.shape}", remedy=f"give (networks, {self.columns})")
        lists: list[tuple[str, Floats]] = []
        start = 0
        for name, choices in self._groups:
            group = array[:, start : start + len(choices)]
            if not (np.isin(group, (0.0, 1.0)).all() and (group.sum(axis=1) == 1).all()):
                raise UsageError(
                    f"columns {start} to {start + len(choices) - 1} ({name}) do not make exactly one choice everywhere"
                )
            lists.append((name, np.array(choices, dtype=np.float64)[group.argmax(axis=1)]))
            start += len(choices)
        return self.lut.price(self._native(lists, len(array)), space=self.space)

    @staticmethod
    def _native(lists: Sequence[tuple[str, Floats]], count: int) -> list[NativeArch]:
        archs: list[dict[str, list[float]]] = [{} for _ in range(count)]
        for name, values in lists:
            for arch, value in zip(archs, values.tolist(), strict=True):
                arch.setdefault(name, []).append(value)
        return list(archs)


def _groups(space: Space) -> list[tuple[str, tuple[float, ...]]]:
    """Each choice of the vector: the list that it is in, and what can be chosen, in ascending order."""
    groups: list[tuple[str, tuple[float, ...]]] = []
    for key, parameters in space.native.fields:
        for parameter in parameters:
            offered = [values for position in space.positions if (values := position.values(parameter)) is not None]
            groups.extend((key, tuple(sorted({float(value) for value in values}))) for values in offered)
    return [*groups, *((space.native.depth, tuple(map(float, s.depths))) for s in space.stages if s.elastic)]
