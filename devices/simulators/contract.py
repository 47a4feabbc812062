"""What every simulator must do, as tests: subclass ``SimulatedDeviceContract`` in pytest and say how yours is made.

Nothing here imports pytest.
"""

from __future__ import annotations

import re
from dataclasses import replace

from onnx import TensorProto, helper

from ...profiler.graphs.operators import GraphBuilder
from ...profiler.kernels.written import written_graph
from ...profiler.workload import Workload, workload_from_model
from .role import MARK, SimulatedDevice, checked_cost

_SHAPE = (1, 16, 14, 14)


class SimulatedDeviceContract:
    """Override ``make_simulator``; ``make_workload`` where the simulator cannot compute a small convolution."""

    def make_simulator(self) -> SimulatedDevice:
        """The simulator under test, made anew."""
        raise NotImplementedError

    def make_workload(self, channels: int) -> Workload:
        """A graph that the simulator computes, and that costs more with more channels."""
        graph = GraphBuilder(f"contract-{channels}")
        return workload_from_model(
            graph.name, "block", graph.model(graph.conv(graph.input(_SHAPE), channels)), tuple(graph.weights)
        )

    def test_it_is_a_simulated_device(self) -> None:
        made = self.make_simulator()
        assert isinstance(made, SimulatedDevice)
        assert made.version

    def test_its_device_is_marked_and_stays_the_same(self) -> None:
        device, again = self.make_simulator().device(), self.make_simulator().device()
        assert device == again
        assert device.description.startswith(MARK)
        assert device.name
        assert re.fullmatch("[0-9a-f]{64}", device.identity)

    def test_a_cost_is_a_number_that_can_be_one(self) -> None:
        cost = checked_cost(self.make_simulator(), self.make_workload(16))
        assert not cost.unsupported
        assert cost.latency_ms is not None

    def test_kernels_that_it_tells_of_are_those_of_the_graph_and_no_more_than_the_whole(self) -> None:
        workload = self.make_workload(16)
        cost = checked_cost(self.make_simulator(), workload)
        assert cost.latency_ms is not None
        assert len(cost.kernels_ms) in (0, len(written_graph(workload).kernels))

    def test_the_same_graph_costs_the_same_in_any_order_and_in_any_instance(self) -> None:
        made, small, large = self.make_simulator(), self.make_workload(16), self.make_workload(64)
        first = [checked_cost(made, workload) for workload in (small, large, small)]
        assert first[0] == first[2]
        assert first[:2] == [checked_cost(self.make_simulator(), workload) for workload in (small, large)]

    def test_the_name_of_a_graph_does_not_count(self) -> None:
        made, workload = self.make_simulator(), self.make_workload(16)
        assert checked_cost(made, workload) == checked_cost(made, replace(workload, name="another"))

    def test_more_work_costs_more(self) -> None:
        made = self.make_simulator()
        small, large = (checked_cost(made, self.make_workload(channels)).latency_ms for channels in (16, 256))
        assert small is not None
        assert large is not None
        assert small < large

    def test_an_unknown_operator_is_named_and_costs_no_number(self) -> None:
        cost = checked_cost(self.make_simulator(), unknown_operator())
        assert cost.latency_ms is None
        assert any("EdgecostContract" in one for one in cost.unsupported)


def unknown_operator() -> Workload:
    """A graph with an operator that nobody has."""
    node = helper.make_node("EdgecostContract", ["x"], ["y"], domain="edgecost.contract")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, _SHAPE) for name in "xy")
    model = helper.make_model(
        helper.make_graph([node], "unknown", [x], [y]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("edgecost.contract", 1)],
    )
    return workload_from_model("unknown-operator", "operator", model)
