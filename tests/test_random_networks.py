"""Random whole networks, and the campaign that measures some beside its kernels."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice

import numpy as np
import onnxruntime
import pytest

from edgecost.cli.campaigns import kernels as kernels_command
from edgecost.costmodels.kernel_campaign import NETWORKS, measure_random_kernels, plan_networks
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.random_networks import random_networks
from edgecost.costmodels.training import train
from edgecost.db import Store
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import RuntimeProfile
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import Workload
from tests.probe_machine import Silent

#: Enough to see that it was measured, on a machine where others are busy.
ROUGH = Settings(target=0.3)


def weight_count(network: Workload) -> int:
    return sum(math.prod(weight.shape) for weight in network.weights)


@pytest.fixture(scope="module")
def drawn() -> list[Workload]:
    return list(islice(random_networks(0), 18))


def test_the_same_seed_draws_the_same_networks_and_another_one_others(drawn: list[Workload]) -> None:
    hashes = [network.graph_hash for network in drawn]
    assert len(set(hashes)) == len(hashes)
    assert hashes == [network.graph_hash for network in islice(random_networks(0), 18)]
    assert not set(hashes) & {network.graph_hash for network in islice(random_networks(1), 18)}


def test_every_network_runs_and_computes_numbers(drawn: list[Workload]) -> None:
    for network in drawn:
        session = onnxruntime.InferenceSession(complete(network.skeleton, network.weights))
        (fed,) = session.get_inputs()
        (answer,) = session.run(None, {fed.name: np.ones(fed.shape, np.float32)})
        assert np.isfinite(answer).all(), network.name


def test_networks_of_images_tokens_and_signals_are_long_and_of_unlike_sizes(
    drawn: list[Workload], profile: RuntimeProfile
) -> None:
    graphs = [kernels(network, profile) for network in drawn]
    assert min(map(len, graphs)) >= 7
    weights = [weight_count(network) for network in drawn]
    assert max(weights) > 20 * min(weights)
    found = Counter(kernel.op.rpartition(".")[2] for graph in graphs for kernel in set(graph))
    assert {"Conv", "Gemm", "Softmax", "ReduceSum"} <= set(found)


def test_the_plan_begins_with_the_networks_that_everybody_knows() -> None:
    names = [network.name for network in plan_networks(NETWORKS)]
    assert len(set(names)) == NETWORKS
    assert names[:2] == ["mobilenet_v2", "mobilenet_v3_large"]
    assert plan_networks(0) == []
    assert [network.name for network in plan_networks(3)] == names[:3]


def test_the_command_measures_as_many_networks_as_the_benchmarks_learn_from() -> None:
    (option,) = (one for one in kernels_command.params if one.name == "networks")
    assert option.default == NETWORKS


def test_a_campaign_measures_networks_twice_around_the_kernels_and_they_are_learned_from(
    file_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [network for network in islice(random_networks(0), 30) if weight_count(network) < 3e5][:4]
    monkeypatch.setattr("edgecost.costmodels.kernel_campaign.plan_networks", lambda count, seed: small[:count])
    setting = LocalSetting.here()
    found = measure_random_kernels(file_store, setting, Silent(), count=30, networks=4, settings=ROUGH)
    assert (found.networks_chosen, found.networks_measured) == (4, 4)
    measured = file_store.measurements(purposes=("network",))
    sessions = {(one.graph_hash, one.session) for one in measured}
    assert len(sessions) == 8
    kernel_times = [one.started_at for one in file_store.measurements(purposes=("kernel",))]
    assert min(one.started_at for one in measured) < min(kernel_times)
    assert max(one.started_at for one in measured) > max(kernel_times)
    report = train(file_store, setting.device.identity, setting.profile)
    assert report.card.data.networks == 4
