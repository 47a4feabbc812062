"""What a virtual device's law says of a graph, kernel by kernel: a price where nobody has trained a predictor yet."""

from __future__ import annotations

from ...devices.simulators import checked_cost
from ...devices.virtual.catalogue import of_profile, virtual_names
from ...profiler.errors import UnsupportedOperator
from ...profiler.kernels.written import written_graph
from ...profiler.records import VIRTUAL, RuntimeProfile
from ...profiler.workload import Workload
from ..prices import GraphPrice, KernelPrice


def has_own_law(profile: RuntimeProfile) -> bool:
    """Whether a profile's device is one of those that edgecost brings.

    The law of any other is a program or a file that the profile names: it is opened for who measures, not for who asks.
    """
    return profile.runtime == VIRTUAL and profile.provider in virtual_names()


def law_price(workload: Workload, profile: RuntimeProfile) -> GraphPrice:
    """The law's own number, the call of a run included; it has no interval, and says nothing of noise.

    Raises:
        UnsupportedOperator: the law does not know an operator.
        SimulatorError: it fails.
    """
    cost = checked_cost(of_profile(profile).law, workload)
    if cost.latency_ms is None:
        raise UnsupportedOperator(f"the law of {profile.provider} lacks {'; '.join(cost.unsupported)}")
    kernels = written_graph(workload).kernels if cost.kernels_ms else ()
    prices = (KernelPrice(kernel, ms, "simulated") for kernel, ms in zip(kernels, cost.kernels_ms, strict=True))
    return GraphPrice(cost.latency_ms, None, None, False, tuple(prices))
