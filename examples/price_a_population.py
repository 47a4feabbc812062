"""Price many architectures of a LUT's space at once, and list the cheapest ones for their size.

The "size" is the number of active blocks, a stand-in for whatever your search wants more of: an architecture is listed
when none of the others has as many blocks for less latency.

Run it:  python examples/price_a_population.py edgecost-quickstart/ofa-mobilenetv3-w1-224.lut.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from edgecost import Lut


def pareto(size: np.ndarray, latency_ms: np.ndarray) -> np.ndarray:
    """Indices of the architectures that no other one beats in both, cheapest first."""
    chosen: list[int] = []
    largest = -np.inf
    # Equal latencies: the larger one first, so that the smaller one is beaten.
    for i in np.lexsort((-size, latency_ms)):
        if size[i] > largest:
            chosen.append(int(i))
            largest = size[i]
    return np.array(chosen, dtype=np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a native LUT file")
    parser.add_argument("--networks", type=int, default=10_000, help="size of the population [default: 10000]")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lut = Lut.load(arguments.table)
    archs = lut.space.sample(min(arguments.networks, lut.space.size), arguments.seed)
    latency_ms = lut.price(archs)
    size = (archs >= 0).sum(axis=1)
    best = pareto(size, latency_ms)[:10]
    print(f"{len(archs):,} networks: {latency_ms.min():.3f} ms … {latency_ms.max():.3f} ms; Pareto-cheapest:")
    for i, native in zip(best, lut.space.decode(archs[best]), strict=True):
        print(f"{latency_ms[i]:10.3f} ms  {size[i]:3d} blocks  {json.dumps(native, separators=(',', ':'))}")


if __name__ == "__main__":
    main()
