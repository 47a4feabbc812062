"""What operators cost: asked of a predictor, through the kernels that the runtime makes of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal, Protocol

from ...profiler.errors import ModelError
from ...profiler.kernels.by_runtime import priced_kernels
from ...profiler.kernels.graph import Kernel
from ...profiler.precision.convert import convert
from ...profiler.records import Json, RuntimeProfile
from ...profiler.workload import Workload
from ..arch_formats.costs import About
from ..coverage import unpriced_operators
from ..planned_campaign import Narrator
from ..predictor import LatencyPredictor
from ..prices import GraphPrice
from .operators import Operator

#: As ``KernelPrice.source``; of several kernels the one that says least counts.
Source = Literal["measured", "interpolated", "predicted", "unsupported"]
_WORST: tuple[Source, ...] = ("unsupported", "predicted", "interpolated", "measured")
#: Changes of layout and of precision. In a network they stand where neighbours differ, and not around each operator:
#: a table that is added up must not count them with each.
_BORDERS = frozenset({"nchwc.ReorderInput", "nchwc.ReorderOutput", "QuantizeLinear", "DequantizeLinear"})
_LAYOUTS = frozenset({"0x2x3x1", "0x3x1x2"})
BORDERS_LEFT_OUT = "changes of layout and precision at the borders of an operator are not counted"


@dataclass(frozen=True)
class OpPrice:
    """What an operator costs.

    Attributes:
        latency_ms: None when ``source`` is ``unsupported``.
        lo_ms, hi_ms: the predictor's 90 % interval; None where it gives none.
        why: what has no price, and why; empty where there is one.
    """

    latency_ms: float | None
    source: Source
    lo_ms: float | None = None
    hi_ms: float | None = None
    why: str = ""


class Prices(Protocol):
    """What formats ask. The fake that ships is ``contract.ChecksumPrices``."""

    @property
    def about(self) -> About:
        """Where the numbers come from."""

    def price(self, operators: Sequence[Operator], narrator: Narrator) -> list[OpPrice]:
        """Of each operator; the narrator is told of a step for each."""

    def fuses(self, pair: Operator) -> bool:
        """Whether the runtime makes one kernel of what is two operators."""


@dataclass(frozen=True)
class PredictorPrices:
    """Prices of a trained predictor, for the runtime that it was trained for.

    Attributes:
        profile: whose kernels; its precision is that of the numbers.
    """

    predictor: LatencyPredictor
    profile: RuntimeProfile
    about: About

    def price(self, operators: Sequence[Operator], narrator: Narrator) -> list[OpPrice]:
        """See ``Prices``."""
        found: list[OpPrice | None] = []
        graphs = []
        for operator in operators:
            asked = self._kernels(operator)
            if isinstance(asked, OpPrice):
                found.append(asked)
            else:
                found.append(None)
                graphs.append(asked)
            narrator.step(operator.key)
        prices: Iterator[GraphPrice] = iter(self.predictor.price(graphs))
        return [one or _of_graph(next(prices)) for one in found]

    def fuses(self, pair: Operator) -> bool:
        """See ``Prices``."""
        found = self._kernels(pair)
        return not isinstance(found, OpPrice) and len(found) == 1

    def _kernels(self, operator: Operator) -> tuple[Kernel, ...] | OpPrice:
        """Those that count; or why there are none."""
        try:
            made = self._made(operator.workload())
        except ModelError as error:
            return OpPrice(None, "unsupported", why=error.message)
        kept = tuple(one for one in made if not is_border(one) and not operator.is_helper(one))
        return kept or OpPrice(None, "unsupported", why="the runtime executes nothing for it")

    def _made(self, workload: Workload) -> tuple[Kernel, ...]:
        return priced_kernels(convert(workload, self.profile.precision), self.profile).kernels


def is_border(kernel: Kernel) -> bool:
    """Whether a kernel changes layout or precision and nothing else."""
    is_layout = kernel.op == "Transpose" and kernel.attribute.get("perm") in _LAYOUTS
    return is_layout or kernel.op in _BORDERS


def _of_graph(price: GraphPrice) -> OpPrice:
    sources = {kernel.source for kernel in price.kernels}
    worst = next(source for source in _WORST if source in sources)
    if worst == "unsupported":
        why = "; ".join(f"{name}: {reason}" for name, reason in unpriced_operators(price.kernels).items())
        return OpPrice(None, worst, why=why)
    return OpPrice(price.total_ms, worst, price.lo_ms, price.hi_ms)


def predictor_about(provenance: Mapping[str, Json], profile: RuntimeProfile, name: str | None = None) -> About:
    """Where a predictor's numbers come from.

    Args:
        provenance: as ``load_predictor`` gives it.
        name: what the device shall be called; None for the predictor's own word.
    """
    described = provenance.get("device_description")
    return About(
        device=name or str(provenance.get("device") or "device"),
        source="a predictor of kernels, asked about each operator by itself",
        device_description=described if isinstance(described, str) else None,
        precision=profile.precision,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        correction=BORDERS_LEFT_OUT,
        provenance={**provenance, "profile": profile.label, "profile_hash": profile.profile_hash},
    )
