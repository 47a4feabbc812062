"""A real agent as a process of its own whose measuring is a law: the same graph always takes the same time.

python chaos_agent.py HOME LOG SEED — LOG gets a line for each result before anything is done with it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edgecost.devices import agent_loop, outbox
from edgecost.devices.agent import JobSource, WorkReport
from edgecost.devices.agent_home import AgentHome
from edgecost.devices.agent_loop import Manner
from edgecost.devices.backoff import Backoff
from edgecost.devices.service import AgentService
from edgecost.profiler.bench import Bench
from edgecost.profiler.conclusion import conclude
from edgecost.profiler.protocol import Settings
from edgecost.profiler.records import RuntimeProfile, Status, Visit
from edgecost.profiler.tasks import Stage, Task

VISITS = 7


def true_ns(graph_hash: str) -> int:
    """What a graph takes by the law, in nanoseconds: a whole number, so that sums are exact."""
    return 1_000_000 + int(graph_hash[:4], 16)


def measure(log: Path, dice: random.Random) -> Callable[..., WorkReport]:
    """What measures by the law, and takes its time."""

    def work(
        source: JobSource, set_stage: Callable[[], Stage], settings: Settings, *, profile: RuntimeProfile, bench: Bench
    ) -> WorkReport:
        while jobs := source.lease(settings.group_size):
            stage = set_stage()
            for job in jobs:
                wall = true_ns(job.workload.graph_hash)
                visits = [Visit(at, "session", (wall,), (), (1, 1), 0, "", float(wall)) for at in range(1, VISITS + 1)]
                for visit in visits:
                    source.visited([(job, job.measurement_id, visit)])
                    time.sleep(dice.uniform(0, 0.1))
                if stage.is_unwanted is not None and stage.is_unwanted(job.measurement_id):
                    continue
                task = Task(job.workload, job.purpose, job.measurement_id)
                made = conclude(task, stage, visits, Status.OK, "", overhead=0.0, started_at=None, session="session")
                with log.open("a") as lines:
                    lines.write(f"{made.measurement_id} {job.job_id}\n")
                source.record(job, made)
        return WorkReport()

    return work


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main(home: str, log: str, seed: str) -> None:
    dice = random.Random(int(seed))
    for module in (agent_loop, outbox):
        # A board waits for minutes when a hub is away; here a hub is away every few seconds.
        module.Backoff = lambda sleep: Backoff(lambda seconds: sleep(min(seconds, 0.2)))  # type: ignore[attr-defined]
    manner = Manner(rest_s=0.2, measure=measure(Path(log), dice))
    service = AgentService(AgentHome(Path(home)), lambda _, text: say(text), manner)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=service.stop).start())
    service.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)
