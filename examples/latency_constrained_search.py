"""A small evolutionary search under a latency budget. Only the latencies are real: accuracy is a toy.

``toy_accuracy`` rewards deep networks with large kernels and expansions. It knows nothing about images; put your own
predictor or super-net in its place.

Run it:  python examples/latency_constrained_search.py edgecost-quickstart/ofa-mobilenetv3-w1-224.lut.json --budget-ms 7
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from edgecost import Lut


def toy_accuracy(archs: np.ndarray) -> np.ndarray:
    """NOT an accuracy: grows with the number of active blocks and with the index of each choice."""
    active = archs >= 0
    return active.sum(axis=1) + 0.1 * np.sqrt(np.where(active, archs, 0)).sum(axis=1)


def children(parents: np.ndarray, strangers: np.ndarray, layers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each parent takes over some layers of a stranger, whole, so that depths and choices stay together."""
    partner = strangers[rng.integers(len(strangers), size=len(parents))]
    taken = rng.random((len(parents), layers.max() + 1)) < 0.3
    return np.where(taken[:, layers], partner, parents)


def search(lut: Lut, budget_ms: float, *, generations: int, population: int, seed: int) -> tuple[np.ndarray, float]:
    """The best architecture found within the budget, and its latency in ms.

    Raises:
        SystemExit: no architecture of the first population fits the budget.
    """
    rng = np.random.default_rng(seed)
    space = lut.space
    names = list(dict.fromkeys(position.layer for position in space.positions))
    layers = np.array([names.index(position.layer) for position in space.positions])
    pool = space.sample(4 * population, seed)
    for generation in range(generations):
        latency_ms = lut.price(pool)
        fitting = pool[latency_ms <= budget_ms]
        if not len(fitting):
            raise SystemExit(f"no network within {budget_ms:g} ms; the cheapest found has {latency_ms.min():.3f} ms")
        best = fitting[np.argsort(-toy_accuracy(fitting), kind="stable")[:population]]
        pool = np.vstack([best, children(best, space.sample(population, seed + generation + 1), layers, rng)])
    return best[0], float(lut.price(best[:1])[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a native LUT file")
    parser.add_argument("--budget-ms", type=float, help="latency budget [default: the median of 1000 random networks]")
    parser.add_argument("--generations", type=int, default=30)
    parser.add_argument("--population", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lut = Lut.load(arguments.table)
    budget_ms = arguments.budget_ms
    if budget_ms is None:
        budget_ms = float(np.median(lut.price(lut.space.sample(1000, arguments.seed))))
    arch, latency_ms = search(
        lut, budget_ms, generations=arguments.generations, population=arguments.population, seed=arguments.seed
    )
    print(f"budget {budget_ms:.3f} ms, found {latency_ms:.3f} ms, toy accuracy {toy_accuracy(arch[None])[0]:.2f}")
    print(json.dumps(lut.space.decode(arch[None])[0], separators=(",", ":")))


if __name__ == "__main__":
    main()
