"""The evolutionary search of Once-for-All on a table: mutation and crossover below a limit, against random search.

Latencies are the table's. There is no super-net here, so **the accuracy is a stand-in**: the logarithm of the network's
multiply-accumulates. It says nothing about images; in its place stands your own predictor of accuracy.

The search has the form of Once-for-All's (Cai et al., arXiv:1908.09791): a quarter of the population are parents, half
of the children are mutations of one and half are crossings of two; children above the limit do not live.

Run it:  python examples/ofa_evolutionary_search.py edgecost-quickstart/ofa-mobilenetv3-w1-224.lut.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecost import Lut
from edgecost.costmodels.cell_macs import cell_macs
from edgecost.costmodels.cost_table import CostTable

PARENTS = 0.25
MUTATION = 0.1
Score = Callable[[np.ndarray], np.ndarray]


@dataclass
class Search:
    """One run below one limit; ``priced`` counts the architectures that the table was asked for."""

    lut: Lut
    score: Score
    limit_ms: float
    rng: np.random.Generator
    priced: int = 0

    def below(self, archs: np.ndarray) -> np.ndarray:
        self.priced += len(archs)
        return archs[self.lut.price(archs) <= self.limit_ms]

    def strangers(self, count: int) -> np.ndarray:
        return self.lut.space.sample(count, int(self.rng.integers(2**31)))

    def best(self, archs: np.ndarray, count: int) -> np.ndarray:
        return archs[np.argsort(-self.score(archs), kind="stable")[:count]]

    def mutated(self, parents: np.ndarray, layers: np.ndarray) -> np.ndarray:
        """Some layers become a stranger's, depth and all; of the others some blocks do."""
        strangers = self.strangers(len(parents))
        whole = (self.rng.random((len(parents), layers.max() + 1)) < MUTATION)[:, layers]
        single = (self.rng.random(parents.shape) < MUTATION) & (parents >= 0) & (strangers >= 0)
        return np.where(whole | single, strangers, parents)

    def crossed(self, first: np.ndarray, second: np.ndarray, layers: np.ndarray) -> np.ndarray:
        """Each layer is one parent's whole, so that depths and choices stay together."""
        taken = (self.rng.random((len(first), layers.max() + 1)) < 0.5)[:, layers]
        return np.where(taken, second, first)

    def evolve(self, population: int, generations: int) -> np.ndarray:
        names = list(dict.fromkeys(position.layer for position in self.lut.space.positions))
        layers = np.array([names.index(position.layer) for position in self.lut.space.positions])
        alive = self.below(self.strangers(4 * population))
        if not len(alive):
            raise SystemExit(f"no network of {self.priced} takes {self.limit_ms:.3f} ms or less: raise the limit")
        for _ in range(generations):
            parents = self.best(alive, max(2, int(PARENTS * population)))
            drawn = parents[self.rng.integers(len(parents), size=(2, population))]
            half = population // 2
            children = [self.mutated(drawn[0, :half], layers), self.crossed(drawn[0, half:], drawn[1, half:], layers)]
            alive = np.vstack([parents, self.below(np.vstack(children))])
        return self.best(alive, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a native LUT file")
    parser.add_argument("--limits", type=int, default=5, help="points of the front [default: 5]")
    parser.add_argument("--population", type=int, default=100)
    parser.add_argument("--generations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lut = Lut.load(arguments.table)
    work = CostTable.from_costs(lut.space, cell_macs(lut.space))

    def stand_in_accuracy(archs: np.ndarray) -> np.ndarray:
        """NOT an accuracy: log10 of the multiply-accumulates."""
        return np.log10(work.price(archs))

    usual_ms = lut.price(lut.space.sample(1000, arguments.seed))
    print("The accuracy is a stand-in: log10 of the multiply-accumulates.")
    print(f"{'limit':>11} {'evolved':>11} {'stand-in':>9}   {'random':>11} {'stand-in':>9}   {'priced':>6}")
    front = []
    for place, limit_ms in enumerate(np.quantile(usual_ms, np.linspace(0.05, 0.75, arguments.limits))):
        search = Search(lut, stand_in_accuracy, limit_ms, np.random.default_rng(arguments.seed + place))
        found = search.evolve(arguments.population, arguments.generations)
        drawn = search.strangers(search.priced)  # random search may ask the table as often
        rival = search.best(drawn[lut.price(drawn) <= limit_ms], 1)
        told = [f"{lut.price(one)[0]:8.3f} ms {stand_in_accuracy(one)[0]:9.4f}" for one in (found, rival)]
        print(f"{limit_ms:8.3f} ms {told[0]}   {told[1]}   {len(drawn):6d}")
        front.append(found[0])
    for native in lut.space.decode(np.array(front)):
        print(json.dumps(native, separators=(",", ":")))


if __name__ == "__main__":
    main()
