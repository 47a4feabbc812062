"""A new device from 20, 50 or 100 kernels: translated from another device, beside training on these kernels alone.

Needs a database in which two devices, or two runtime profiles of one, measured the same kernels (`edgecost campaign
kernels`, once for each). A fifth of the common kernels is held out: neither device's model has seen them. Run it:

    python benchmarks/kernel_transfer.py --db kernels.sqlite --known 8c357036 --new 51cf0d25
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgecost.costmodels.dataset import Sample, load_samples, sample_kernels
from edgecost.costmodels.onboarding.kernel_sources import PURPOSES, KernelSource, kernel_sources
from edgecost.costmodels.onboarding.kernel_transfer import plan_transfer, transfer
from edgecost.costmodels.predictor import LatencyPredictor
from edgecost.db import Store
from edgecost.profiler.kernels.graph import Kernel
from edgecost.profiler.records import Device, RuntimeProfile

BUDGETS = (20, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", required=True, help="database with the kernels of both")
    parser.add_argument("--known", required=True, help="beginning of the known profile's hash")
    parser.add_argument("--new", required=True, help="beginning of the new profile's hash")
    parser.add_argument("--seeds", type=int, default=3, help="draws of the held-out kernels [default: 3]")
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    arguments = parser.parse_args()
    with Store(arguments.db) as store:
        device, known, new = pair(store, arguments.known, arguments.new)
        sources, _ = kernel_sources(store, device, new)
        (source,) = [one for one in sources if known.profile_hash[:6] in one.name]
        samples = load_samples(store, device.identity, new, purposes=PURPOSES)
    rows = [row for seed in range(arguments.seeds) for row in judge(source, samples, new, seed)]
    table = summary(rows)
    if arguments.json:
        print(json.dumps({"schema_version": 1, "known": known.label, "new": new.label, "rows": table}, indent=1))
        return
    print(f"known: {known.label}; new: {new.label}; {device.description}; {arguments.seeds} draws")
    for name, samples_used, error, median, within in table:
        print(f"{name:45} {samples_used:4}  mean {error:6.1f} %  median {median:5.1f} %  ±10 % {within:5.1%}")


def pair(store: Store, known: str, new: str) -> tuple[Device, RuntimeProfile, RuntimeProfile]:
    measured = store.measurements(purposes=PURPOSES)
    hashes = dict.fromkeys(measurement.profile_hash for measurement in measured)
    found = [store.profile(one) for start in (known, new) for one in hashes if one.startswith(start)]
    profiles = [profile for profile in found if profile is not None]
    if len(profiles) != 2:
        raise SystemExit(f"one profile for each is needed; there are {', '.join(hashes)}")
    identity = next(m.device_identity for m in measured if m.profile_hash == profiles[1].profile_hash)
    return next(device for device in store.devices() if device.identity == identity), profiles[0], profiles[1]


def judge(
    source: KernelSource, samples: Sequence[Sample], profile: RuntimeProfile, seed: int
) -> list[tuple[str, int, np.ndarray]]:
    """(model, kernels of the new device, absolute errors in per cent on the held-out kernels)."""
    common = sorted(set(source.hashes) & {sample.workload.graph_hash for sample in samples})
    held = set(np.random.default_rng(seed).choice(common, len(common) // 5, replace=False).tolist())
    kept = [place for place, one in enumerate(source.hashes) if one not in held]
    shown = replace(
        source, samples=tuple(source.samples[k] for k in kept), graphs=tuple(source.graphs[k] for k in kept)
    )
    by_hash = {sample.workload.graph_hash: sample for sample in samples}
    test = [by_hash[one] for one in sorted(held)]
    graphs = sample_kernels(test, profile)
    truth = np.array([sample.latency_ms for sample in test])
    trained = [one for one in common if one not in held]
    # Only what the new device measured, too, may be planned: the rest has no number to be shown.
    offered = replace(
        shown,
        samples=tuple(s for s in shown.samples if s.workload.graph_hash in by_hash),
        graphs=tuple(g for s, g in zip(shown.samples, shown.graphs, strict=True) if s.workload.graph_hash in by_hash),
    )
    known = LatencyPredictor().fit(shown.graphs, [sample.latency_ms for sample in shown.samples])
    rows = [("the known device's predictor as it is", 0, errors(known, graphs, truth))]
    for budget in BUDGETS:
        planned = [by_hash[one.graph_hash] for one in plan_transfer([offered], budget).workloads]
        drawn = [by_hash[one] for one in np.random.default_rng(seed).choice(trained, budget, replace=False)]
        for how, chosen in (("planned", planned), ("random", drawn)):
            made = transfer([shown], chosen, [], profile, core_cache_bytes=None)
            rows.append((f"translated, {how}", len(chosen), errors(made.predictor, graphs, truth)))
        alone = LatencyPredictor().fit(sample_kernels(planned, profile), [sample.latency_ms for sample in planned])
        rows.append(("trained on these kernels alone, planned", len(planned), errors(alone, graphs, truth)))
    every = LatencyPredictor().fit(
        sample_kernels([by_hash[one] for one in trained], profile), [by_hash[one].latency_ms for one in trained]
    )
    rows.append(("trained on all kernels of the new device", len(trained), errors(every, graphs, truth)))
    return rows


def errors(predictor: LatencyPredictor, graphs: Sequence[Sequence[Kernel]], truth: np.ndarray) -> np.ndarray:
    """Absolute errors in per cent; a kernel without a price counts as wholly wrong."""
    prices = predictor.price(graphs)
    guess = np.array([0.0 if price.is_lower_bound else price.total_ms for price in prices])
    return np.abs(guess / truth - 1.0) * 100


def summary(rows: Sequence[tuple[str, int, np.ndarray]]) -> list[tuple[str, int, float, float, float]]:
    table = []
    for key in dict.fromkeys((name, count) for name, count, _ in rows):
        every = np.concatenate([error for name, count, error in rows if (name, count) == key])
        table.append((*key, float(every.mean()), float(np.median(every)), float((every <= 10).mean())))
    return table


if __name__ == "__main__":
    main()
