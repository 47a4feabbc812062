"""Price a population: ``Lut.price`` beside two readers in plain Python, in turn, in one process, on one core.

The first reader knows each candidate's cell and adds what a dictionary says. The second does what search code does with
the exported YAML: for each architecture it puts the key of every block together anew and looks it up.

Run it:  python benchmarks/pricing.py edgecost-quickstart/ofa-mobilenetv3-w1-224.lut.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from edgecost import Lut
from edgecost.costmodels.lut_formats import lut_format

#: Once-for-All at width 1.0: channels, strides, squeeze-and-excitation and hard swish of its five stages.
_STAGES = ((24, 2, 0, 0), (40, 2, 1, 0), (80, 2, 0, 1), (112, 1, 1, 1), (160, 2, 1, 1))
_RATIOS, _KERNELS = (3, 4, 6), (3, 5, 7)
#: Drawing that many distinct architectures takes less time than pricing them; more are these again.
_DRAWN = 100_000


def by_cells(lut: Lut) -> Callable[[list[list[int]]], list[float]]:
    """A loop over a dictionary of cells."""
    cost = {key: one * lut.scale for key, one in zip(lut.keys, lut.latency_ms.tolist(), strict=True)}
    names = [[cell.key for cell in position.cells] for position in lut.space.positions]
    fixed = sum(cost[cell.key] for cell in lut.space.fixed) + lut.offset_ms

    def price(archs: list[list[int]]) -> list[float]:
        totals = []
        for arch in archs:
            total = fixed
            for place, index in enumerate(arch):
                if index >= 0:
                    total += cost[names[place][index]]
            totals.append(total)
        return totals

    return price


def by_keys(lut: Lut) -> Callable[[list[list[int]]], list[float]]:
    """A reader of the exported YAML that puts keys of text together."""
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder:
        table = lut_format("ofa").write(lut, lut.space, Path(folder))[0]
        cost = {key: row["mean"] for key, row in yaml.safe_load(table.read_text()).items()}
    fixed = [key for key in cost if not key.startswith("expanded_conv") or "-expand:16-" in key]

    def price(archs: list[list[int]]) -> list[float]:
        totals = []
        for arch in archs:
            total = sum(cost[key] for key in fixed)
            side, before = 112, 16
            for stage, (width, down, squeeze, swish) in enumerate(_STAGES):
                for place in range(4):
                    index = arch[4 * stage + place]
                    if index < 0:
                        break
                    stride = down if place == 0 else 1
                    after = (side - 1) // stride + 1
                    total += cost[
                        f"expanded_conv-input:{side}x{side}x{before}-output:{after}x{after}x{width}"
                        f"-expand:{before * _RATIOS[index % 3]}-kernel:{_KERNELS[index // 3]}-stride:{stride}"
                        f"-idskip:{int(stride == 1 and before == width)}-se:{squeeze}-hs:{swish}"
                    ]
                    side, before = after, width
            totals.append(total)
        return totals

    return price


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="a native LUT file of ofa-mobilenetv3, 224 pixels, width 1")
    parser.add_argument("--networks", type=int, default=1_000_000, help="size of the population [default: 1000000]")
    parser.add_argument("--repeats", type=int, default=3, help="rounds, each contestant once in each [default: 3]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    lut = Lut.load(arguments.table)
    drawn = lut.space.sample(min(_DRAWN, arguments.networks), seed=0)
    archs = np.resize(drawn, (arguments.networks, drawn.shape[1]))
    rows = archs.tolist()
    readers = {"a dictionary of cells": by_cells(lut), "keys of text": by_keys(lut)}
    priced = lut.price(drawn)
    largest = max(float(np.abs(np.array(read(drawn.tolist())) / priced - 1).max()) for read in readers.values())
    contestants = {"Lut.price": lambda: lut.price(archs)}
    contestants |= {name: lambda read=read: read(rows) for name, read in readers.items()}
    rounds = [{name: seconds(run) for name, run in contestants.items()} for _ in range(arguments.repeats)]
    result = {
        "networks": arguments.networks,
        "per_second": {
            name: arguments.networks / statistics.median(one[name] for one in rounds) for name in contestants
        },
        "ratio": {name: statistics.median(one[name] / one["Lut.price"] for one in rounds) for name in readers},
        "largest_relative_difference": largest,
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{arguments.networks:,} networks on one core, medians of {arguments.repeats} rounds")
    for name, rate in result["per_second"].items():
        ratio = f", ratio {result['ratio'][name]:.1f}" if name in readers else ""
        print(f"  {name:22} {rate:12,.0f} networks/s{ratio}")
    print(f"  largest difference of a price: {largest:.1e} of it")


if __name__ == "__main__":
    main()
