"""Price a population: ``Lut.price`` beside a plain Python loop over a dictionary, in one process, on one table.

Run it:  python benchmarks/pricing.py edgecost-quickstart/ofa-mobilenetv3-w1-224.lut.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgecost import Lut


def loop_over_a_dictionary(lut: Lut, archs: np.ndarray) -> list[float]:
    """What a search does without vectorisation: decode nothing, look up each active cell, add."""
    cost = dict(zip(lut.keys, lut.latency_ms.tolist(), strict=True))
    names = [[cell.key for cell in position.cells] for position in lut.space.positions]
    fixed = sum(cost[cell.key] for cell in lut.space.fixed)
    totals = []
    for row in archs.tolist():
        total = fixed
        for place, index in enumerate(row):
            if index >= 0:
                total += cost.get(names[place][index], 0.0)
        totals.append(total * lut.scale)
    return totals


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="a native LUT file")
    parser.add_argument("--networks", type=int, default=10_000, help="size of the population [default: 10000]")
    parser.add_argument("--repeats", type=int, default=15, help="pairs of runs, alternating [default: 15]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    lut = Lut.load(arguments.table)
    archs = lut.space.sample(arguments.networks, seed=0)
    largest_difference_ms = float(np.abs(lut.price(archs) - np.array(loop_over_a_dictionary(lut, archs))).max())
    pairs = [
        (seconds(lambda: lut.price(archs)), seconds(lambda: loop_over_a_dictionary(lut, archs)))
        for _ in range(arguments.repeats)
    ]
    price_s, loop_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    result = {
        "networks": arguments.networks,
        "price_ms": price_s * 1e3,
        "loop_ms": loop_s * 1e3,
        "ratio": statistics.median(loop / price for price, loop in pairs),
        "largest_difference_ms": largest_difference_ms,
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{arguments.networks:,} networks, medians of {arguments.repeats} alternating runs")
    print(f"  Lut.price          {result['price_ms']:8.2f} ms")
    print(f"  loop over a dict   {result['loop_ms']:8.2f} ms")
    print(f"  ratio              {result['ratio']:8.1f}")
    print(f"  largest difference {largest_difference_ms:8.1e} ms")


if __name__ == "__main__":
    main()
