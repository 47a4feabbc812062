"""Peak memory predicted: networks of one family by a predictor that has seen only the others, and by ten folds.

The networks are edgecost's reference networks and random ones of five families, measured twice, and whatever else the
database holds the peak of (``edgecost campaign memory FILE.onnx``). A family is what stands in a network's name before
the last dash; networks without a dash are one family, files another. Beside it stand the analytic estimate alone, that
estimate times one factor, and a second measurement.

Run it:  python benchmarks/peak_memory.py --db peak-memory.sqlite --networks 16
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
from measuring import Silent, head, print_head, print_json
from random_networks import random_networks

from edgecost import Store
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.metrics.memory_campaign import measure_networks
from edgecost.costmodels.metrics.memory_training import MemorySample, load_peaks
from edgecost.costmodels.metrics.peak_memory import NETWORKS_MIN, MemoryShape, PeakMemoryPredictor, memory_shape
from edgecost.costmodels.validation import Accuracy, accuracy, repeatability_of
from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS, reference_network
from edgecost.profiler.kernels.graph import optimise

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def family(sample: MemorySample) -> str:
    """``fbnet`` of ``fbnet-1.6.5…``; ``file`` of a path; ``reference`` of a name alone."""
    name = sample.workload.name
    if "/" in name:
        return "file"
    return name.rsplit("-", 1)[0] if "-" in name else "reference"


def measure(store: Store, setting: LocalSetting, count: int) -> None:
    """Two measurements of every network; what the store has counts."""
    wanted = [reference_network(name).workload() for name in REFERENCE_NETWORKS]
    wanted += [network for networks in random_networks(count, 0).values() for network in networks]
    measure_networks(wanted, store, setting, Silent())
    samples, _ = load_peaks(store, setting.device.identity, setting.profile)
    once = {one.workload.graph_hash for one in samples if len(one.sessions_bytes) < 2}
    again = [network for network in wanted if network.graph_hash in once]
    measure_networks(again, store, setting, Silent(), again=True)


def by_family(shapes: Sequence[MemoryShape], measured: Floats, kin: Sequence[str], overhead: int) -> dict[str, Floats]:
    """Of each network, what is said of it by those who have not seen its family, in bytes."""
    total = np.array([shape.live.total_bytes for shape in shapes], dtype=np.float64)
    names = ("edgecost", "its physics without trees", "analytic estimate, one factor")
    found = {name: np.full(len(shapes), np.nan) for name in names}
    for one in dict.fromkeys(kin):
        inside = np.array([other != one for other in kin])
        if inside.sum() < NETWORKS_MIN:
            continue
        known = [shape for shape, other in zip(shapes, inside, strict=True) if other]
        strangers = [shape for shape, other in zip(shapes, inside, strict=True) if not other]
        predictor = PeakMemoryPredictor().fit(known, measured[inside], overhead)
        found["edgecost"][~inside] = [price.peak_bytes for price in predictor.price(strangers)]
        found["its physics without trees"][~inside] = [1e6 * predictor.costs_ @ shape.terms() for shape in strangers]
        factor = np.median((measured[inside] - overhead) / total[inside])
        found["analytic estimate, one factor"][~inside] = overhead + factor * total[~inside]
    return found


def _shown(rows: Mapping[str, Accuracy | None]) -> str:
    told = []
    for name, value in rows.items():
        if value is not None:
            bands = "  ".join(f"{100 * share:5.1f}" for share in (value.within_2, value.within_5, value.within_10))
            told.append(f"{name:48}  {bands}  {value.mape_percent:6.2f}  {value.worst_percent:6.1f}")
    return "\n".join([f"{'':48}   ±2 %   ±5 %  ±10 %    mean   worst  (%)", *told])


def main() -> None:
    """Judge, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", required=True, help="Where the peaks are kept; what it holds is not measured again.")
    parser.add_argument("--networks", type=int, default=0, help="Of each family; 0 measures nothing.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    setting = LocalSetting.here()
    with Store(options.db) as store:
        if options.networks:
            measure(store, setting, options.networks)
        samples, left_out = load_peaks(store, setting.device.identity, setting.profile)
    shapes = [memory_shape(optimise(replace(one.workload, path=""), setting.profile)) for one in samples]
    measured = np.array([one.peak_bytes for one in samples])
    overhead = round(float(np.median([one.overhead_bytes for one in samples])))
    kin = [family(one) for one in samples]
    folded = PeakMemoryPredictor().fit(shapes, measured, overhead)
    least = np.array([overhead + shape.live.total_bytes for shape in shapes], dtype=np.float64)
    unseen = by_family(shapes, measured, kin, overhead)
    rows = {
        "measured again in another process": repeatability_of([one.sessions_bytes for one in samples]),
        "analytic estimate": accuracy(least, measured),
        **{f"{name}, family not seen": accuracy(values, measured) for name, values in unseen.items()},
        "edgecost, ten folds": accuracy(folded.held_out_bytes_, measured),
    }
    families = np.array(kin)
    by_kin = {
        f"  {one}, family not seen": accuracy(unseen["edgecost"][families == one], measured[families == one])
        for one in dict.fromkeys(kin)
    }
    if options.json:
        judged = {name: None if one is None else asdict(one) for name, one in {**rows, **by_kin}.items()}
        print_json({**head(setting), "meaning": __doc__.splitlines()[0], "left_out": left_out, "rows": judged})
        return
    print_head(head(setting))
    print(f"{len(samples)} networks; {overhead / 1e6:.1f} MB of each peak are the runtime's own\n")
    print(_shown({**rows, **by_kin}))


if __name__ == "__main__":
    main()
