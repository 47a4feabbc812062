"""Optuna with two objectives: the latency of the table, to be small, beside an accuracy, to be large.

``suggest_arch`` makes an architecture of a trial's parameters, one for each depth and block; the table prices it.
**The accuracy is a stand-in** that grows with depth, kernels and expansions: train the network of
``lut.space.build(arch)`` in its place, or ask your super-net.

    pip install optuna
    python examples/optuna_two_objectives.py edgecost-quickstart/ofa-mobilenetv3-w1-224.lut.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import optuna

from edgecost import Lut
from edgecost.costmodels.adapters.optuna_trials import suggest_arch


def stand_in_accuracy(arch: np.ndarray) -> float:
    """NOT an accuracy: each block counts, and a little more the further its choice stands in the list."""
    active = arch[arch >= 0]
    return float(len(active) + 0.1 * np.sqrt(active).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a native LUT file")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lut = Lut.load(arguments.table)

    def objectives(trial: optuna.Trial) -> tuple[float, float]:
        arch = suggest_arch(trial, lut.space)
        return float(lut.price(arch[None])[0]), stand_in_accuracy(arch)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.NSGAIISampler(population_size=20, seed=arguments.seed)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    study.optimize(objectives, n_trials=arguments.trials)

    # A trial's parameters are an architecture again: a fixed trial suggests what it was given.
    front = {trial.values[0]: trial for trial in study.best_trials}  # of equals one
    print(f"{len(study.trials)} trials, {len(front)} that none of the others beats; the accuracy is a stand-in:")
    for latency_ms, trial in sorted(front.items()):
        arch = suggest_arch(optuna.trial.FixedTrial(trial.params), lut.space)
        native = json.dumps(lut.space.decode(arch[None])[0], separators=(",", ":"))
        print(f"{latency_ms:10.3f} ms  {trial.values[1]:7.3f}  {native}")


if __name__ == "__main__":
    main()
