"""The process of ``edgecost agent run``: the agent alone, without the rest of the command line.

The command replaces itself by this one: a board's memory is for networks, and click with all commands takes 5 MB of
it. So nothing but the standard library is imported here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from ..devices.agent_home import AgentHome
from ..devices.agent_loop import Manner
from ..devices.service import AgentService
from ..devices.told import Weight
from ..profiler.errors import EdgecostError

#: glibc gives each thread an arena of its own to allocate from; an agent has three threads and does little in any.
_ARENAS = "MALLOC_ARENA_MAX"
#: That the limit is the agent's own: runners get the environment as it was, since it is part of what is measured.
_OWN_ARENAS = "EDGECOST_AGENT_ARENAS"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def command(home: Path, manner: Manner) -> list[str]:
    """The command line that runs an agent by this file."""
    options = {
        "home": str(home),
        "until_idle_s": manner.until_idle_s,
        "cpus": list(manner.cpus),
        "meter": manner.meter,
        "control": manner.control,
    }
    return [sys.executable, "-m", __name__, json.dumps(options)]


def with_one_arena(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for the process of an agent: it is read once, when a process begins, and saves megabytes."""
    return {**environment} if _ARENAS in environment else {**environment, _ARENAS: "1", _OWN_ARENAS: "1"}


def main(options: str) -> int:
    """Run an agent to its end, and return the exit code of ``edgecost``."""
    if os.environ.pop(_OWN_ARENAS, ""):
        del os.environ[_ARENAS]
    found = json.loads(options)
    manner = Manner(found["until_idle_s"], tuple(found["cpus"]), meter=found["meter"], control=found["control"])
    told = line_writer()
    try:
        run_until_told(AgentService(AgentHome(Path(found["home"])), told, manner))
    except EdgecostError as error:
        told(Weight.ERROR, f"Error: {error.message}")
        if error.remedy:
            told(Weight.ERROR, f"  {error.remedy}")
        return error.exit_code
    return 0


def run_until_told(service: AgentService) -> None:
    """Run an agent in a thread of its own, and stop it at the first signal that asks for it.

    A signal handler may run in the midst of anything, so it only writes into a pipe. What somebody chose to ignore
    stays so: ``nohup`` ignores SIGHUP. What ends the agent is raised.
    """
    failures: list[BaseException] = []
    read_end, write_end = os.pipe()

    def work() -> None:
        try:
            service.run()
        except BaseException as error:  # noqa: BLE001  # carried to the thread that was asked
            failures.append(error)
        finally:
            os.write(write_end, b"\n")

    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    old = {number: signal.signal(number, lambda *_: os.write(write_end, b".") and None) for number in heard}
    thread = threading.Thread(target=work, name="agent")
    thread.start()
    try:
        if os.read(read_end, 1) != b"\n":
            service.stop()
        thread.join()
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)
    if failures:
        raise failures[0]


def line_writer() -> Callable[[Weight, str], None]:
    """Lines on standard error; where that is the journal, with their weight as it reads it."""
    with_weight = "JOURNAL_STREAM" in os.environ

    def told(weight: Weight, text: str) -> None:
        print(f"<{weight.value}>{text}" if with_weight else text, file=sys.stderr, flush=True)

    return told


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
