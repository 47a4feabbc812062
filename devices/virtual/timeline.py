"""What a virtual machine took, moment by moment: power in steps, and the energy until any moment. The truth of a meter.

A sensor looks up here what it should have read; nothing here errs.
"""

from __future__ import annotations

from bisect import bisect_left

_NS_PER_S = 1e9


class Timeline:
    """Power that is constant between two moments; the moments only go forwards."""

    def __init__(self, begin_ns: int) -> None:
        self._ends_ns = [begin_ns]
        self._powers_mw = [0.0]
        self._energies_mj = [0.0]

    @property
    def begin_ns(self) -> int:
        return self._ends_ns[0]

    @property
    def end_ns(self) -> int:
        return self._ends_ns[-1]

    def add(self, length_ns: int, power_mw: float) -> None:
        """The machine takes this power for a time from now on."""
        self._ends_ns.append(self._ends_ns[-1] + length_ns)
        self._powers_mw.append(power_mw)
        self._energies_mj.append(self._energies_mj[-1] + power_mw * length_ns / _NS_PER_S)

    def power_mw(self, moment_ns: int) -> float:
        """At a moment; of the step that ends there where two meet."""
        return self._powers_mw[self._place(moment_ns)]

    def energy_mj(self, moment_ns: int) -> float:
        """From the beginning until a moment."""
        place = self._place(moment_ns)
        missing_ns = self._ends_ns[place] - moment_ns
        return self._energies_mj[place] - self._powers_mw[place] * missing_ns / _NS_PER_S

    def mean_mw(self, begin_ns: int, end_ns: int) -> float:
        """Over a time that is not empty."""
        return (self.energy_mj(end_ns) - self.energy_mj(begin_ns)) / ((end_ns - begin_ns) / _NS_PER_S)

    def _place(self, moment_ns: int) -> int:
        if not self.begin_ns < moment_ns <= self.end_ns:
            raise ValueError(f"{moment_ns} ns lies not in {self.begin_ns} … {self.end_ns}")
        return bisect_left(self._ends_ns, moment_ns)
