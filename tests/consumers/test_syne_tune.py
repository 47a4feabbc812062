"""Syne Tune's simulated backend and tuner ask a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecost.costmodels.arch_formats import arch_format
from edgecost.costmodels.arch_formats.costs import About, Costs
from edgecost.costmodels.arch_formats.networks import chain_networks
from edgecost.costmodels.lut_formats.contract import without
from edgecost.costmodels.space_file import load_space
from edgecost.profiler.errors import GateError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore")  # Syne Tune's own, of its dependencies


@pytest.fixture(autouse=True)
def _syne_tune(consumer) -> None:
    consumer("syne_tune.blackbox_repository")


@pytest.mark.parametrize("name", ["fbnet", "ofa-mobilenetv3", "nasbench201"])
def test_every_configuration_that_syne_tune_draws_has_the_table_s_price(corrected, name: str) -> None:
    from edgecost.costmodels.adapters.syne_tune_blackbox import ELAPSED, LATENCY, LutBlackbox

    space = load_space(name)
    lut = corrected(space)
    blackbox = LutBlackbox(lut, epochs=3, epoch_s=20.0)
    state = np.random.RandomState(0)
    archs = []
    for _ in range(50):
        drawn = {label: domain.sample(random_state=state) for label, domain in blackbox.configuration_space.items()}
        archs.append(space.check_arch(blackbox.arch(drawn))[0])
        price = lut.price(archs[-1][None, :])[0]
        assert blackbox(drawn, fidelity=2) == {LATENCY: price, ELAPSED: 40.0}
        assert blackbox(drawn).tolist() == [[price, 20.0], [price, 40.0], [price, 60.0]]
    assert len({arch.tobytes() for arch in archs}) > 45


def test_the_live_blackbox_says_what_the_written_folder_says(consumer, corrected, tmp_path: Path) -> None:
    consumer("fastparquet")
    from syne_tune.blackbox_repository.blackbox_tabular import deserialize

    from edgecost.costmodels.adapters.syne_tune_blackbox import LATENCY, LutBlackbox

    space = load_space("fbnet")
    lut = corrected(space)
    archs = space.sample(200, 0)
    networks = chain_networks([space], archs, [0] * len(archs), "a sample")
    about = About(device="box", source="a test", created="2026-01-01T00:00:00+00:00")
    arch_format("syne-tune").write(networks, [Costs("latency", "ms", lut.price(archs))], tmp_path, about)
    written, live = deserialize(tmp_path / "fbnet-box")["box"], LutBlackbox(lut)
    for arch in archs[::10]:
        chosen = [position.names[index] for position, index in zip(space.positions, arch, strict=True)]
        there = written({f"hp_x{place}": name for place, name in enumerate(chosen)}, fidelity=1)
        here = live(dict(zip(live.configuration_space, chosen, strict=True)), fidelity=1)
        assert there[LATENCY] == np.float32(here[LATENCY])  # the folder holds single precision


def test_a_tuner_searches_with_latency_as_an_objective(corrected, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
    from syne_tune.blackbox_repository.simulated_tabular_backend import UserBlackboxBackend
    from syne_tune.optimizer.schedulers.multiobjective.multi_objective_regularized_evolution import (
        MultiObjectiveRegularizedEvolution,
    )
    from syne_tune.optimizer.schedulers.single_fidelity_scheduler import SingleFidelityScheduler

    from edgecost.costmodels.adapters.syne_tune_blackbox import ELAPSED, LATENCY, LutBlackbox

    space = load_space("ofa-mobilenetv3")
    lut = corrected(space)
    blackbox = LutBlackbox(
        lut, lambda arch, epoch: {"metric_shallow": float((arch < 0).sum())}, ("metric_shallow",), epochs=2
    )
    searcher = MultiObjectiveRegularizedEvolution(blackbox.configuration_space, population_size=10, random_seed=0)
    scheduler = SingleFidelityScheduler(
        blackbox.configuration_space, [LATENCY, "metric_shallow"], searcher=searcher, random_seed=0
    )
    seen: list[dict[str, object]] = []

    class Kept(SimulatorCallback):
        def on_trial_result(self, trial, status, result, decision):
            seen.append({**trial.config, **result})
            super().on_trial_result(trial, status, result, decision)

    Tuner(
        trial_backend=UserBlackboxBackend(blackbox, elapsed_time_attr=ELAPSED),
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_completed=40),
        n_workers=2,
        sleep_time=0,
        callbacks=[Kept()],
        save_tuner=False,
        suffix_tuner_name=False,
        tuner_name="edgecost",
    ).run()
    assert len(seen) >= 80
    for one in seen:
        arch = blackbox.arch(one)
        assert one[LATENCY] == lut.price(arch[None, :])[0]
        assert one["metric_shallow"] == (arch < 0).sum()


def test_what_cannot_be_answered_is_refused(corrected) -> None:
    from edgecost.costmodels.adapters.syne_tune_blackbox import LutBlackbox

    space = load_space("ofa-mobilenetv3")
    lut = corrected(space)
    lost = space.measurable[5].key
    with pytest.raises(GateError, match=lost):
        LutBlackbox(without(lut, lost))
    blackbox = LutBlackbox(lut)
    whole = {label: domain.categories[0] for label, domain in blackbox.configuration_space.items()}
    unneeded = "stage1[3]"  # the least depth is 2
    assert blackbox({k: v for k, v in whole.items() if k != unneeded}, 1) == blackbox(whole, 1)
    with pytest.raises(UsageError, match=r"nothing was chosen for 'stage1 depth'"):
        blackbox({k: v for k, v in whole.items() if k != "stage1 depth"})
    with pytest.raises(UsageError, match=r"'kernel9' was chosen for 'stage2\[0\]'"):
        blackbox({**whole, "stage2[0]": "kernel9"})
    with pytest.raises(UsageError, match="surrogate"):
        blackbox.hyperparameter_objectives_values()
    with pytest.raises(UsageError, match="names"):
        LutBlackbox(lut, lambda arch, epoch: {})


def test_the_example_of_the_page_runs(corrected, run_example, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    names = run_example("Syne Tune", corrected(load_space("ofa-mobilenetv3")))
    assert names["tuner"].tuning_status.num_trials_finished >= 20
