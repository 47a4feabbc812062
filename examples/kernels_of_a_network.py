"""The cheapest of some random networks of a LUT's space, and the kernels that ONNX Runtime makes of it.

A LUT knows blocks; what runs are kernels. Nothing is measured here: the table gives the price, the runtime's own
optimiser says what the network becomes.

Run it:  python examples/kernels_of_a_network.py edgecost-quickstart/ofa-mobilenetv3-w1-224.lut.json
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from edgecost import Lut
from edgecost.profiler.kernels.graph import kernel_graph
from edgecost.profiler.runtimes import host_profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a native LUT file")
    parser.add_argument("--networks", type=int, default=100, help="random networks to choose from [default: 100]")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lut = Lut.load(arguments.table)
    archs = lut.space.sample(min(arguments.networks, lut.space.size), arguments.seed)
    cheapest = lut.price(archs).argmin()
    network = lut.space.build(archs[cheapest])
    found = kernel_graph(network, host_profile())
    print(json.dumps(lut.space.decode(archs[[cheapest]])[0], separators=(",", ":")))
    nodes = len({node for kernel in found.kernels for node in kernel.nodes}) + len(found.folded)
    distinct = len({kernel.kernel_hash for kernel in found.kernels})
    print(f"{lut.price(archs[[cheapest]])[0]:.3f} ms; {nodes} ONNX nodes become {len(found.kernels)} kernels", end="")
    print(f", {distinct} distinct:")
    for op, count in Counter(kernel.op for kernel in found.kernels).most_common():
        fused = max(len(kernel.nodes) for kernel in found.kernels if kernel.op == op)
        print(f"{count:5d}  {op:<28} of up to {fused} node{'s' * (fused > 1)} each")


if __name__ == "__main__":
    main()
