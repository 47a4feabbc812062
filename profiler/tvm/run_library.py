"""Load the library beside this file with TVM's runtime and time it. Needs numpy, and the TVM that artefact.json names.

``edgecost compile`` copies this file into every folder that it writes; it imports nothing of edgecost::

    pip install numpy apache-tvm==VERSION apache-tvm-ffi==VERSION
    python run.py --runs 100
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
    Slot = dict[str, Any]  # name, shape and dtype, as artefact.json has them

HERE = Path(__file__).resolve().parent


def read_arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description="Time the library in this folder; times are those of single runs.")
    parser.add_argument("--runs", type=int, default=100, help="timed runs (default: 100)")
    parser.add_argument("--warm-up", type=int, default=10, help="runs before them (default: 10)")
    parser.add_argument("--threads", type=int, help="threads (default: those it was compiled for)")
    parser.add_argument("--inputs", metavar="FILE.npz", help="arrays by input name (default: random ones)")
    parser.add_argument("--outputs", metavar="FILE.npz", help="write the outputs here: output0, output1, ...")
    return parser.parse_args()


def main() -> None:
    """Run it, and print one JSON object: times in milliseconds."""
    asked = read_arguments()
    artefact = json.loads((HERE / "artefact.json").read_text())
    threads = asked.threads or artefact["target"].get("num-cores", 1)
    # TVM reads these when it is imported. Its compiler is not needed, and may not even be installed.
    os.environ["TVM_USE_RUNTIME_LIB"] = "1"
    os.environ["TVM_NUM_THREADS"] = str(threads)
    import numpy as np
    import tvm
    from tvm.runtime.vm import VirtualMachine

    if tvm.__version__ != artefact["tvm_version"]:
        sys.exit(f"compiled with TVM {artefact['tvm_version']}, here is {tvm.__version__}: install that version")
    given = dict(np.load(asked.inputs)) if asked.inputs else random_inputs(artefact["inputs"])
    device = tvm.cpu()
    machine = VirtualMachine(tvm.runtime.load_module(str(HERE / "lib.so")), device)
    machine.set_input("main", *(tvm.runtime.tensor(given[slot["name"]], device) for slot in artefact["inputs"]))
    machine.invoke_stateful("main")
    made = machine.get_outputs("main")
    outputs = [value.numpy() for value in (made if isinstance(made, (list, tuple)) else [made])]
    if asked.outputs:
        np.savez(asked.outputs, **{f"output{place}": value for place, value in enumerate(outputs)})
    for _ in range(asked.warm_up):
        machine.invoke_stateful("main")
    timed = machine.time_evaluator("invoke_stateful", device, number=1, repeat=asked.runs)
    ordered = sorted(1e3 * seconds for seconds in timed("main").results)
    report = {
        "model": artefact.get("model"),
        "tvm_version": tvm.__version__,
        "target": artefact["target"],
        "threads": threads,
        "runs": len(ordered),
        "median_ms": statistics.median(ordered),
        "min_ms": ordered[0],
        "p90_ms": ordered[int(0.9 * (len(ordered) - 1))],
        "outputs": [{"shape": list(value.shape), "dtype": str(value.dtype)} for value in outputs],
        "has_nan": any(value.dtype.kind == "f" and bool(np.isnan(value).any()) for value in outputs),
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")


def random_inputs(slots: list[Slot]) -> dict[str, Array]:
    """Normal numbers for floats, zeros and ones for everything else, by input name."""
    import numpy as np

    random = np.random.RandomState(0)
    drawn = {slot["name"]: random.standard_normal(slot["shape"]) for slot in slots}
    return {
        slot["name"]: np.asarray(
            drawn[slot["name"]] if slot["dtype"].startswith("float") else drawn[slot["name"]] > 0, slot["dtype"]
        )
        for slot in slots
    }


if __name__ == "__main__":
    main()
