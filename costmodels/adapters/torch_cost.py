"""Expected latency or energy as a torch module, differentiable in the probabilities of the candidates.

For searches that relax the choice of a candidate: Gumbel-softmax weights (FBNet, arXiv:1812.03443, equation 7), path
probabilities (ProxylessNAS, arXiv:1812.00332, equation 2), softmax of the alphas (DARTS, arXiv:1806.09055).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...profiler.errors import MissingPackage, UsageError
from ..cost_table import CostTable, Metric
from ..lut import Lut
from ..space import Space

try:
    import torch
except ImportError as error:
    raise MissingPackage("torch is needed for a differentiable cost", remedy="pip install torch") from error


class ExpectedCost(torch.nn.Module):  # type: ignore[misc]  # torch is optional, and its types with it
    """Σ over the space's factors of Σ over their combinations of probability times cost, and the constant.

    Choices are drawn independently. For one-hot probabilities this is ``Lut.price``; where a position chooses its own
    cell, the gradient of a probability is the cost of its candidate. It has
    no parameters: its buffers move with the model it is part of.

    Args:
        lut: its correction is applied to latencies.
        space: needed only where the table's space is not a built-in one.
        metric: ``latency`` (ms) or ``energy`` (mJ).

    Raises:
        GateError: the table lacks cells of the space, or their energy.
    """

    def __init__(self, lut: Lut, space: Space | None = None, metric: Metric = "latency") -> None:
        super().__init__()
        table = CostTable.of(lut, space, metric)
        self.space, self.metric = table.space, metric
        self._elastic = [stage for stage in table.space.stages if stage.elastic]
        self._candidates = [len(position.names) for position in table.space.positions]
        self._widest = max(self._candidates, default=0)
        self._factors = table.space.factors
        for number, costs in enumerate(table.tables):
            self.register_buffer(f"costs{number}", torch.from_numpy(costs))
        self.register_buffer("constant", torch.tensor(table.constant, dtype=torch.float64))

    def forward(
        self,
        probabilities: torch.Tensor | Sequence[torch.Tensor],
        depths: Sequence[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Expected cost, of the shape of the leading dimensions.

        Args:
            probabilities: (..., positions, most candidates), anything behind a position's last candidate; or for each
                position a tensor (..., candidates).
            depths: for each elastic stage, in order, the probabilities of its depths (..., depths), ascending.

        Raises:
            UsageError: the shapes do not fit the space, or depths are missing where stages are elastic.
        """
        chances = self._chances(probabilities, depths)
        total = self.constant.to(chances[0].dtype) if chances else self.constant
        for number, factor in enumerate(self._factors):
            expected = getattr(self, f"costs{number}").to(total.dtype)
            for place in factor.scope:  # one choice after the other: choices are drawn independently
                chance = chances[place]
                table = expected.reshape(*expected.shape[:-1], chance.shape[-1], -1)
                expected = (chance.unsqueeze(-2) @ table).squeeze(-2)
            total = total + expected[..., 0]
        return total

    def _chances(
        self, probabilities: torch.Tensor | Sequence[torch.Tensor], depths: Sequence[torch.Tensor] | None
    ) -> list[torch.Tensor]:
        """For each position the probabilities of its candidates, and behind them that it is not active."""
        given = self._given(probabilities)
        if not self._elastic:
            return [torch.nn.functional.pad(one, (0, 1)) for one in given]
        active = self._active(depths, given[0])
        return [
            torch.cat([one * chance.unsqueeze(-1), (1 - chance).unsqueeze(-1)], dim=-1)
            for one, chance in zip(given, active, strict=True)
        ]

    def _given(self, probabilities: torch.Tensor | Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Without what stands behind the last candidate of a position, which may be infinite."""
        shape = (len(self._candidates), self._widest)
        if isinstance(probabilities, torch.Tensor):
            if tuple(probabilities.shape[-2:]) != shape:
                raise UsageError(
                    f"probabilities have shape {tuple(probabilities.shape)}, not (..., {shape[0]}, {shape[1]})"
                )
            rows = probabilities.unbind(dim=-2)
            return [row[..., :count] for row, count in zip(rows, self._candidates, strict=True)]
        given = [one.shape[-1] for one in probabilities]
        if given != self._candidates:
            raise UsageError(
                f"probabilities are given for {given} candidates", remedy=f"The space has {self._candidates}."
            )
        return list(probabilities)

    def _active(self, depths: Sequence[torch.Tensor] | None, like: torch.Tensor) -> list[torch.Tensor]:
        """The probability that each position is active, (...)."""
        if depths is None or [one.shape[-1] for one in depths] != [len(stage.depths) for stage in self._elastic]:
            wanted = [list(stage.depths) for stage in self._elastic]
            raise UsageError("the probabilities of depths do not fit", remedy=f"Give them for the depths {wanted}.")
        active = [torch.ones_like(like[..., 0])] * len(self._candidates)
        for stage, chances in zip(self._elastic, depths, strict=True):
            for offset in range(stage.stop - stage.start):
                deeper = [place for place, depth in enumerate(stage.depths) if depth > offset]
                active[stage.start + offset] = chances[..., deeper].sum(dim=-1)
        return list(torch.broadcast_tensors(*active))
