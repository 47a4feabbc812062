"""What is stated about the control flow of models, and the ways through a model by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from ..profiler.graphs.control_flow import Path, check_stated, control_flow, paths
from ..profiler.workload import Workload


@dataclass(frozen=True)
class ControlFlow:
    """What a graph does not say: how often a branch is taken, and how often a loop runs, by the node's name."""

    probabilities: Mapping[str, float] = field(default_factory=dict)
    trips: Mapping[str, int] = field(default_factory=dict)

    def ways(self, workload: Workload, scratch: FilePath) -> tuple[Path, ...]:
        """Every way through one model, the likeliest first; ``scratch`` is the folder for their graphs.

        Raises:
            UsageError: a statement is missing, contradicts a constant, or is about a node that the model has not got.
        """
        return paths(workload, self.probabilities, self.trips, scratch)

    def check(self, workloads: Sequence[Workload]) -> None:
        """Refuse statements about nodes that none of several models has.

        Raises:
            UsageError: there is one.
        """
        if not (self.probabilities or self.trips):
            return
        nodes = [item for workload in workloads for item in control_flow(workload).items()]
        # One at a time: what is an If in one model may be a Loop in another.
        check_stated({name: op for name, op in nodes if op == "If"}, self.probabilities, {})
        check_stated({name: op for name, op in nodes if op == "Loop"}, {}, self.trips)

    def about(self, workload: Workload) -> ControlFlow:
        """The part that is about one of several models."""
        if not (self.probabilities or self.trips):
            return self
        kinds = control_flow(workload)
        return ControlFlow(
            {name: likely for name, likely in self.probabilities.items() if kinds.get(name) == "If"},
            {name: count for name, count in self.trips.items() if kinds.get(name) == "Loop"},
        )
