"""A workload on a virtual machine, as something that runs and rests by the machine's clock."""

from __future__ import annotations

from dataclasses import dataclass

from ...profiler.energy.windows import Span
from .machine import Machine

_NS_PER_S = 1e9


@dataclass(frozen=True)
class VirtualLoad:
    """As ``profiler.energy.session.Load``.

    Attributes:
        latency_ms, active_mw: of a run, as the law has them.
        grain_s: runs that are shorter are played several at a time; no sensor tells them apart.
    """

    machine: Machine
    latency_ms: float
    active_mw: float
    grain_s: float = 0.005

    @property
    def gross_mj(self) -> float:
        """What a run takes on average, where the machine neither drifts nor warms up."""
        return self.active_mw * self.latency_ms / 1e3 * self.machine.character.mean_stretch

    @property
    def net_mj(self) -> float:
        """The same above what the machine takes at rest."""
        return self.gross_mj * (1.0 - self.machine.character.idle_mw / self.active_mw)

    def run(self, lead_s: float, window_s: float) -> Span:
        """As ``Load.run``."""
        self._run_for(lead_s)
        begin_ns = self.machine.now_ns()
        runs = self._run_for(window_s)
        end_ns = self.machine.now_ns()
        self._run_for(lead_s)
        return Span(begin_ns, end_ns, runs)

    def rest(self, seconds: float) -> Span:
        """As ``Load.rest``."""
        begin_ns = self.machine.now_ns()
        self.machine.rest(seconds, self.grain_s)
        return Span(begin_ns, self.machine.now_ns())

    def _run_for(self, seconds: float) -> int:
        until_ns, runs = self.machine.now_ns() + round(seconds * _NS_PER_S), 0
        at_once = max(1, round(self.grain_s * 1e3 / self.latency_ms))
        while runs == 0 or self.machine.now_ns() < until_ns:
            self.machine.run(self.latency_ms, self.active_mw, at_once)
            runs += at_once
        return runs

    def guard(self, span: Span) -> str:
        """As ``profiler.energy.windows.Guard``: what the machine itself says was wrong."""
        return self.machine.trouble(span.begin_ns, span.end_ns)
