"""What a folder of ONNX files costs by a predictor: a table with intervals, coverage, and what has no price.

Nothing is run. A network with an operator of a kind that was never measured gets a lower bound, called so, with the
operators named; a file that cannot be read gets a line that says why. So a folder is looked through at once.

Run it:  python examples/price_a_folder.py models --predictor edgecost-quickstart/predictor
(without a board: edgecost campaign run --space mnasnet-a1 --runtime virtual-nano, then
edgecost train --runtime virtual-nano --out nano, then with --predictor nano --runtime virtual-nano)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgecost.costmodels.coverage import unpriced_operators
from edgecost.costmodels.named_runtimes import chosen_profile
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.costmodels.predictor_file import load_predictor
from edgecost.costmodels.prices import GraphPrice
from edgecost.profiler.errors import EdgecostError
from edgecost.profiler.kernels.by_runtime import priced_kernels
from edgecost.profiler.model_file import read_graph
from edgecost.profiler.records import RuntimeProfile


def price_files(
    files: list[Path], predictor: LatencyPredictor, profile: RuntimeProfile
) -> dict[Path, GraphPrice | EdgecostError]:
    """By file, a price or why there is none. The predictor is asked once, for all of them."""
    graphs, refused = {}, {}
    for file in files:
        try:
            graphs[file] = priced_kernels(read_graph(file), profile).kernels
        except EdgecostError as error:
            refused[file] = error
    prices = dict(zip(graphs, predictor.price(list(graphs.values()), network=True), strict=True)) if graphs else {}
    return {file: prices.get(file) or refused[file] for file in files}


def told(price: GraphPrice) -> tuple[str, str, str]:
    """Latency, interval and coverage. The shares are of the latency that has a price."""
    missing = unpriced_operators(price.kernels)
    priced = [kernel for kernel in price.kernels if kernel.latency_ms is not None]
    shares = [
        f"{source} {share:.0%}"
        for source, share in price.coverage().items()
        if share >= 0.005 and source != "unsupported"
    ]
    if missing:
        count = len(price.kernels) - len(priced)
        shares.append(f"unsupported {count} of {len(price.kernels)} kernels: {', '.join(missing)}")
    latency = f"{'>= ' if price.is_lower_bound else ''}{price.total_ms:.3f} ms" if priced or not missing else "no price"
    interval = "none" if price.lo_ms is None else f"{price.lo_ms:.3f} ... {price.hi_ms:.3f}"
    return latency, interval, "; ".join(shares) or "nothing is executed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with .onnx files")
    parser.add_argument("--predictor", type=Path, required=True, help="what edgecost train or quickstart wrote")
    parser.add_argument("--runtime", default="ort", help="that the predictor was trained for [default: ort]")
    arguments = parser.parse_args()
    files = sorted(arguments.folder.glob("*.onnx"))
    if not files:
        sys.exit(f"no .onnx files in {arguments.folder}")
    try:
        predictor, origin = load_predictor(arguments.predictor)
        profile = chosen_profile(arguments.runtime)
        if origin.get("profile_hash") not in (None, profile.profile_hash):
            sys.exit(f"the predictor was trained for {origin['profile']}, not {profile.label}: name it with --runtime")
        found = price_files(files, predictor, profile)
    except EdgecostError as error:
        sys.exit(str(error))
    print(f"{len(files)} files on {origin.get('device_description')}, {profile.label}; 90 % intervals")
    priced = {file: price for file, price in found.items() if isinstance(price, GraphPrice)}
    width = max(len(file.name) for file in files)
    for file, price in sorted(priced.items(), key=lambda item: item[1].total_ms):
        latency, interval, coverage = told(price)
        print(f"{file.name:<{width}}  {latency:>14}  {interval:>22}  {coverage}")
    for file, refusal in found.items():
        if isinstance(refusal, EdgecostError):
            print(f"{file.name:<{width}}  {'no price':>14}  {'none':>22}  {refusal.message}")


if __name__ == "__main__":
    main()
