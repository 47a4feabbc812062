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
    """Σ over positions of Σ over candidates of probability times cost, and what every architecture costs.

    For one-hot probabilities this is ``Lut.price``; the gradient of a probability is the cost of its candidate. It has
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
        self._candidates = [len(position.cells) for position in table.space.positions]
        costs = torch.from_numpy(table.costs)
        self.register_buffer("costs", torch.nan_to_num(costs))
        self.register_buffer("is_candidate", ~torch.isnan(costs))
        self.register_buffer("fixed", torch.tensor(table.fixed, dtype=torch.float64))

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
        padded = self._padded(probabilities)
        # Not multiplied by 0: padding may be infinite, as behind a mask, and 0 times that is no number.
        chances = torch.where(self.is_candidate, padded, torch.zeros_like(padded))
        of_position = (chances * self.costs.to(padded.dtype)).sum(dim=-1)
        if self._elastic:
            of_position = of_position * self._active(depths, of_position)
        return of_position.sum(dim=-1) + self.fixed.to(padded.dtype)

    def _padded(self, probabilities: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
        shape = tuple(self.costs.shape)
        if isinstance(probabilities, torch.Tensor):
            if tuple(probabilities.shape[-2:]) != shape:
                raise UsageError(
                    f"probabilities have shape {tuple(probabilities.shape)}, not (..., {shape[0]}, {shape[1]})"
                )
            return probabilities
        given = [one.shape[-1] for one in probabilities]
        if given != self._candidates:
            raise UsageError(
                f"probabilities are given for {given} candidates", remedy=f"The space has {self._candidates}."
            )
        pad = torch.nn.functional.pad
        return torch.stack([pad(one, (0, shape[1] - one.shape[-1])) for one in probabilities], dim=-2)

    def _active(self, depths: Sequence[torch.Tensor] | None, of_position: torch.Tensor) -> torch.Tensor:
        """The probability that each position is active, (..., positions)."""
        if depths is None or [one.shape[-1] for one in depths] != [len(stage.depths) for stage in self._elastic]:
            wanted = [list(stage.depths) for stage in self._elastic]
            raise UsageError("the probabilities of depths do not fit", remedy=f"Give them for the depths {wanted}.")
        columns = list(torch.ones_like(of_position).unbind(dim=-1))
        for stage, chances in zip(self._elastic, depths, strict=True):
            for offset in range(stage.stop - stage.start):
                deeper = [place for place, depth in enumerate(stage.depths) if depth > offset]
                columns[stage.start + offset] = chances[..., deeper].sum(dim=-1)
        return torch.stack(torch.broadcast_tensors(*columns), dim=-1)
