"""Price a million architectures: ``Lut.price`` beside a reader of the exported YAML that looks up keys of text.

The reader is what search code does with such a file: for each architecture it puts the key of every block together and
adds what the dictionary says. Both price the same architectures by the same table, in one process on one core, in turn.

Run it:  python benchmarks/lut_pricing.py edgecost-quickstart/ofa-mobilenetv3-w1-224.lut.json
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


def read_yaml(table: Path) -> dict[str, float]:
    """Key to milliseconds."""
    return {key: row["mean"] for key, row in yaml.safe_load(table.read_text()).items()}


def add_by_keys(cost: dict[str, float], archs: list[list[int]]) -> list[float]:
    """The sum of each architecture, from keys that are put together anew for each, as search code does."""
    fixed = [key for key in cost if not key.startswith("expanded_conv")]
    first = next(key for key in cost if "-expand:16-" in key)
    totals = []
    for arch in archs:
        total = sum(cost[key] for key in fixed) + cost[first]
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


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="a native LUT file of ofa-mobilenetv3, 224 pixels, width 1")
    parser.add_argument("--networks", type=int, default=1_000_000, help="architectures [default: 1000000]")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs, in turn [default: 3]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    lut = Lut.load(arguments.table)
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder:
        cost = read_yaml(lut_format("ofa").write(lut, lut.space, Path(folder))[0])
    # A tenth of them, ten times: drawing a million distinct ones takes longer than pricing them.
    drawn = lut.space.sample(max(1, arguments.networks // 10), seed=0)
    archs = np.resize(drawn, (arguments.networks, drawn.shape[1]))
    rows = archs.tolist()
    largest = float(np.abs(lut.price(archs[:1000]) / np.array(add_by_keys(cost, rows[:1000])) - 1).max())
    pairs = [
        (seconds(lambda: lut.price(archs)), seconds(lambda: add_by_keys(cost, rows))) for _ in range(arguments.repeats)
    ]
    result = {
        "networks": arguments.networks,
        "price_per_second": arguments.networks / statistics.median(price for price, _ in pairs),
        "keys_per_second": arguments.networks / statistics.median(keys for _, keys in pairs),
        "ratio": statistics.median(keys / price for price, keys in pairs),
        "largest_relative_difference": largest,
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{arguments.networks:,} networks on one core, medians of {arguments.repeats} pairs")
    print(f"  Lut.price               {result['price_per_second']:12,.0f} networks/s")
    print(f"  keys of text in a dict  {result['keys_per_second']:12,.0f} networks/s")
    print(f"  ratio                   {result['ratio']:12.0f}")
    print(f"  largest difference      {largest:12.1e} of a price")


if __name__ == "__main__":
    main()
