"""A differentiable latency loss as in FBNet: expected latency of Gumbel-softmax weights over the cells of a table.

The choice of a block is relaxed to weights p = softmax((θ + g) / τ), g Gumbel noise; the expected latency Σ p·cost is
differentiable in θ, so gradient descent moves the choices (Wu et al., arXiv:1812.03443). The loss has FBNet's form:
task · log(1 + expected_ms)^β. **The task loss is a stand-in** that falls with the multiply-accumulates of the
candidates; in its place stands the cross-entropy of your super-net.

With torch the gradient is autograd's, through our ``ExpectedCost``. Without it the same loss is computed with NumPy and
the gradient written out. Both take the same noise and give the same numbers.

Run it:  python examples/differentiable_latency_loss.py tables/fbnet-w1-224.lut.json
(the table, without a board: edgecost campaign run --space fbnet --runtime virtual-nano, then
edgecost lut build --space fbnet --runtime virtual-nano --out tables)
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from edgecost import Lut
from edgecost.costmodels.cell_macs import cell_macs
from edgecost.costmodels.cost_table import CostTable

Pair = tuple[float, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """What is descended; arrays have a row for each position and a column for each candidate."""

    lut: Lut
    beta: float

    @cached_property
    def table(self) -> CostTable:
        return CostTable.of(self.lut)

    @cached_property
    def real(self) -> np.ndarray:
        """Whether there is such a candidate: positions have different numbers of them."""
        return ~np.isnan(self.table.costs)

    @cached_property
    def stand_in_error(self) -> np.ndarray:
        """NOT the loss of a training: 1 for what computes nothing, falling to 0 for the candidate with most work."""
        work = np.log1p(CostTable.from_costs(self.lut.space, cell_macs(self.lut.space)).costs)
        return np.where(self.real, 1 - work / np.nanmax(work, axis=1, keepdims=True), 0.0)

    def by_numpy(self, theta: np.ndarray, noise: np.ndarray, tau: float) -> Pair:
        """The loss and its gradient in θ, written out."""
        logits = np.where(self.real, (theta + noise) / tau, -np.inf)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        costs = np.where(self.real, self.table.costs, 0.0)
        expected_ms = self.table.fixed + (p * costs).sum()
        task, log_ms = 1 + (p * self.stand_in_error).mean(axis=0).sum(), np.log1p(expected_ms)
        by_p = self.stand_in_error / len(p) * log_ms**self.beta
        by_p = by_p + task * self.beta * log_ms ** (self.beta - 1) * costs / (1 + expected_ms)
        # The softmax: dp_j/dθ_i = p_j (δ_ij - p_i) / τ.
        return float(task * log_ms**self.beta), p * (by_p - (p * by_p).sum(axis=1, keepdims=True)) / tau

    def by_torch(self, theta: np.ndarray, noise: np.ndarray, tau: float) -> Pair:
        """The same by autograd."""
        import torch

        from edgecost.costmodels.adapters.torch_cost import ExpectedCost

        alphas = torch.tensor(theta, requires_grad=True)
        hidden = torch.from_numpy(np.where(self.real, 0.0, -np.inf))
        p = torch.softmax((alphas + torch.from_numpy(noise)) / tau + hidden, dim=-1)
        task = 1 + (p * torch.from_numpy(self.stand_in_error)).mean(dim=0).sum()
        loss = task * torch.log1p(ExpectedCost(self.lut)(p)) ** self.beta
        loss.backward()
        return loss.item(), alphas.grad.numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a native LUT file of a space without elastic depths, such as fbnet")
    parser.add_argument("--beta", type=float, action="append", help="weight of latency [default: 0.1, 0.3, 0.6]")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-torch", action="store_true")
    arguments = parser.parse_args()
    lut = Lut.load(arguments.table)
    torch_is_there = importlib.util.find_spec("torch") is not None and not arguments.without_torch
    print(f"gradients by {'torch' if torch_is_there else 'NumPy'}; the task loss is a stand-in")
    for beta in arguments.beta or [0.1, 0.3, 0.6]:
        problem, rng = Problem(lut, beta), np.random.default_rng(arguments.seed)
        theta, step = np.zeros(problem.real.shape), problem.by_torch if torch_is_there else problem.by_numpy
        for tau in np.geomspace(5.0, 0.5, arguments.steps):  # hard choices in the end, as in FBNet
            loss, gradient = step(theta, rng.gumbel(size=theta.shape), tau)
            theta = theta - 20.0 * gradient
        arch = np.where(problem.real, theta, -np.inf).argmax(axis=1).astype(np.int16)[None]
        print(f"beta {beta:g}: last loss {loss:.4f}, the likeliest network takes {lut.price(arch)[0]:.3f} ms")
        print(json.dumps(lut.space.decode(arch)[0], separators=(",", ":")))


if __name__ == "__main__":
    main()
