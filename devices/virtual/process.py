"""The runner of a virtual device: the real runner, with its rounds, canaries and warm-ups, by a clock that is played.

Started as a process like any runner: ``python -m … NAME SESSION``. What a graph costs comes with the request, from the
law; what is timed is what the machine makes of it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from ...profiler import runner as real
from ...profiler.runtimes import VIRTUAL_VERSION
from .catalogue import open_virtual
from .machine import Machine

#: Runs that find the caches full of another graph's data take so much longer: the first one, the second.
_COLD = (1.3, 1.05)
#: The machine's own canary: a product of a 256-vector by a matrix.
_CANARY_MS, _CANARY_MW = 0.02, 3000.0
_PROCESS_BYTES = 60 << 20

Clock = Callable[[], int]
#: A request or answer of the runner's, which knows no types (it keeps to Python 3.6).
Message = dict[str, Any]


class _Session:
    """One graph of the virtual runtime."""

    def __init__(self, runtime: VirtualRuntime, latency_ms: float, active_mw: float) -> None:
        self.runtime = runtime
        self.latency_ms = latency_ms
        self.active_mw = active_mw

    def feed(self) -> None:
        """The law needs no numbers."""

    def run_first(self) -> None:
        """The first run makes room, and takes three times as long."""
        self.runtime.machine.run(3 * self.latency_ms, self.active_mw)

    def keep_outputs(self) -> list[object]:
        """There are none."""
        return []

    def run(self) -> None:
        """One run, by the machine's clock."""
        machine = self.runtime.machine
        if machine.hangs():
            time.sleep(3600.0)
        machine.run(self.latency_ms * self.runtime.coldness(self), self.active_mw)

    def timed(self, count: int, wall: Clock, cpu: Clock) -> tuple[list[int], list[int]]:
        """As a real session: wall and CPU time of each run."""
        wall_ns = []
        for _ in range(count):
            begin = wall()
            self.run()
            wall_ns.append(wall() - begin)
        return wall_ns, list(wall_ns)

    def fresh(self) -> list[object]:
        """Nothing is copied."""
        return []

    def copy_in(self, fresh: object) -> None:
        """Nothing is copied."""

    def copy_out(self) -> None:
        """Nothing is copied."""


class VirtualRuntime(real.Runtime):
    """What the runner asks of a runtime, answered by the machine."""

    def __init__(self, machine: Machine, name: str) -> None:
        real.Runtime.__init__(self, VIRTUAL_VERSION, [name], (real.Refused,))
        self.machine = machine
        self.canary = _Session(self, _CANARY_MS, _CANARY_MW)
        self._last: _Session | None = None
        self._runs = 0

    def opened(self, request: Message, trace: str = "") -> _Session:
        """Refuses what needs more memory than there is, as the system would."""
        wanted = request.get("memory_bytes") or 0
        if wanted + _PROCESS_BYTES > self.machine.character.memory_bytes:
            raise MemoryError(f"{wanted / 1e6:.0f} MB wanted, and the virtual machine has no more")
        return _Session(self, float(request["latency_ms"]), float(request["active_mw"]))

    def kernel_times(self, request: Message, warmups: int) -> list[object]:
        """The kernels of the law, in its order, each for as long as the machine makes of it; which they are it is not
        told. None of a law that says the whole and no more.
        """
        session = self.opened(request)
        for _ in range(warmups):
            session.run()
        kernels_ms = [float(one) for one in request["kernels_ms"]]
        times_ns: list[list[int]] = [[] for _ in kernels_ms]
        for _ in range(request["runs"]):
            for latency_ms, taken_ns in zip(kernels_ms, times_ns, strict=True):
                taken_ns.append(self.machine.run(latency_ms, session.active_mw))
        return [{"name": "", "op": "", "outputs": [], "times_ns": one} for one in times_ns]

    def coldness(self, session: _Session) -> float:
        """How much longer this run takes for what ran before it."""
        self._runs = self._runs + 1 if session is self._last else 0
        self._last = session
        return _COLD[self._runs] if self._runs < len(_COLD) else 1.0


class VirtualRunner(real.Runner):
    """The runner by the machine's clock; what it asks its own process for, it asks the machine."""

    def __init__(self, answer: Callable[[Message], None], machine: Machine, name: str) -> None:
        real.Runner.__init__(self, answer)
        self.wall = self.cpu = machine.now_ns
        self.machine = machine
        self.runtime = VirtualRuntime(machine, name)

    def open(self, request: Message) -> None:
        """As the real one, without numpy and without a limit of memory: there is nothing to limit."""
        self.rules = request["rules"]
        self.errors = self.runtime.errors
        self.answer(
            {
                "event": "opened",
                "pid": os.getpid(),
                "runtime_version": self.runtime.version,
                "providers": self.runtime.providers,
                "numpy_version": "",
                "python_version": "{}.{}.{}".format(*sys.version_info[:3]),
                "cpus": [],
            }
        )

    def _visit(self, name: str, session: _Session, count: int) -> Message:
        wall_ns, cpu_ns = session.timed(count, self.wall, self.cpu)
        self.typical_ns[name] = min([self.typical_ns[name], *wall_ns])
        return {"wall_ns": wall_ns, "cpu_ns": cpu_ns, "switches": 0}

    def memory(self, request: Message) -> None:
        """The peak that the law says; a law without one has none."""
        peak = request.get("memory_bytes")
        if peak is None:
            self.answer({"event": "memory", "id": request["id"], "unsupported": "the law says nothing of memory"})
            return
        try:
            self.runtime.opened(request)
        except MemoryError as error:
            self._failed(request, "out_of_memory", error)  # type: ignore[no-untyped-call]  # the runner has no annotations
            return
        self.answer(
            {
                "event": "memory",
                "id": request["id"],
                "baseline_bytes": _PROCESS_BYTES,
                "loading_bytes": _PROCESS_BYTES + peak,
                "kept_bytes": 0,
                "running_bytes": [_PROCESS_BYTES + peak] * request["runs"],
            }
        )


def main() -> None:
    """Serve standard input for one session."""
    name, session = sys.argv[1], int(sys.argv[2])
    device = open_virtual(name)
    machine = Machine(device.character, session)
    real.serve(sys.stdin, sys.stdout, lambda answer: VirtualRunner(answer, machine, name))


if __name__ == "__main__":
    main()
