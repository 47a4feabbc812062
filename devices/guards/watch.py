"""Watches a board while it measures: a look at the beginning, one every so often in a thread, one at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ...profiler.records import Json
from ...profiler.watching import Fault
from ..commands import Commands, HostCommands
from .cooling import Baseline, wait_until_cool
from .coverage import coverage
from .found import Sources, find_sources
from .judging import FOREIGN_MAX, Manner, judge, mean_clocks
from .meanwhile import meanwhile
from .nvidia import find_gpus
from .quiet import Patience
from .snapshot import Snapshot, foreign_busy_s, look, temperatures

#: A program that is asked takes milliseconds of the board: no more often than this, whatever is wished.
_ASKED_PERIOD_S = 1.0


def board_watch(root: Path = Path("/"), commands: Commands | None = None) -> BoardWatch | None:
    """A watch over this device; None where nothing tells whether it was slowed down.

    One for as long as the process lives: it learns how cool the board can be.
    """
    asked = commands or HostCommands()
    sources = find_sources(root, asked, find_gpus() if root == Path("/") else None)
    return BoardWatch(sources, asked) if sources.can_tell else None


class BoardWatch:
    """As ``profiler.watching.Watch``."""

    def __init__(
        self,
        sources: Sources,
        commands: Commands,
        manner: Manner | None = None,
        baseline: Baseline | None = None,
        patience: Patience | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._sources = sources
        self._commands = commands
        self._manner = manner or Manner(cpu_clocks=sources.cpu_clocks)
        #: A GPU that nothing is measured on may sleep, and being asked would wake it.
        self._seen = sources if self._manner.is_on_gpu else replace(sources, gpus=None)
        self._baseline = baseline or Baseline()
        self._baseline.learn(temperatures(sources))
        self._patience = patience or Patience()
        self._check = check

    def on(self, cpus: Sequence[int], *, gpu: bool = False) -> BoardWatch:
        """The same watch over measurements on these CPUs, or on an NVIDIA GPU; both learn the same baseline."""
        manner = replace(self._manner, cpus=frozenset(cpus), is_on_gpu=gpu)
        return BoardWatch(self._sources, self._commands, manner, self._baseline, self._patience, self._check)

    def checking(self, check: Callable[[], None]) -> BoardWatch:
        """The same watch, that while it waits asks again and again whether to: ``check`` raises where it should not."""
        return BoardWatch(self._sources, self._commands, self._manner, self._baseline, self._patience, check)

    def wait(self) -> Mapping[str, Json]:
        """As ``Watch.wait``. A machine that is no board is not waited for: its heat is not its measurements' alone, and
        on a host that others use they never stop.
        """
        unseen: dict[str, Json] = {"unwatched": [*names]} if (names := self._unwatched()) else {}
        if not self._sources.is_board:
            return unseen
        return {**unseen, **self._until_quiet(), **self._until_cool()}

    def _unwatched(self) -> list[str]:
        """What could spoil a measurement here and nothing tells of, as ``edgecost doctor`` calls it."""
        guards = coverage(self._seen, self._seen.kind, self.glance(), has_gpu=self._manner.is_on_gpu)
        return [guard.what for guard in guards if guard.missing]

    def _until_quiet(self) -> dict[str, Json]:
        def busy_s() -> float | None:
            self._check()
            return foreign_busy_s(self._sources.root)

        waited = self._patience.wait(busy_s, FOREIGN_MAX)
        if waited.share is None:
            return {}  # it stands among what is not watched
        found: dict[str, Json] = {"quiet_s": round(waited.waited_s, 1)}
        return {**found, "foreign_load": round(waited.share, 3)} if waited.in_vain else found

    def _until_cool(self) -> dict[str, Json]:
        if not self._sources.temperatures:
            return {}

        def read() -> Mapping[str, float | None]:
            self._check()
            return temperatures(self._sources)

        waited = wait_until_cool(read, self._baseline)
        found: dict[str, Json] = {"cooldown_s": round(waited.waited_s, 1)}
        return {**found, "hot_start": waited.hot} if waited.hot else found

    def begin(self) -> Snapshot:
        """A look at everything, as the beginning of a time."""
        return look(self._seen, self._commands)

    def judge(self, begin: Snapshot, end: Snapshot, between: Sequence[Snapshot] = ()) -> tuple[Fault, ...]:
        """What was wrong between two looks."""
        return judge(begin, end, between, self._manner)

    @contextmanager
    def watching(self, period_s: float) -> Iterator[Looks]:
        """As ``Watch.watching``."""
        asks = self._sources.asks_bits or self._sources.asks_clock
        looks = Looks(self, self._manner, max(period_s, _ASKED_PERIOD_S) if asks else period_s)
        looks.start()
        try:
            yield looks
        finally:
            looks.stop()

    def glance(self) -> Snapshot:
        """A look that takes the board no time to speak of."""
        return look(self._seen, self._commands, in_full=False)


class Looks:
    """As ``profiler.watching.Watched``: looks from the beginning of a time until now."""

    def __init__(self, watch: BoardWatch, manner: Manner, period_s: float) -> None:
        self._watch = watch
        self._manner = manner
        self._period_s = period_s
        self._looks = [watch.begin()]
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="edgecost-guards", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def faults(self) -> tuple[Fault, ...]:
        """What was wrong from the beginning until now, whether or not a workload ran."""
        with self._lock:
            begin, *between = self._looks
            end = self._watch.begin()
        return judge(begin, end, between, self._manner)

    def faults_between(self, begin_ns: int, end_ns: int, *, is_busy: bool) -> tuple[Fault, ...]:
        """As ``Watched.faults_between``: from the last look before it to the first one after it."""
        with self._lock:
            if not (self._looks[-1].is_full and self._looks[-1].begin_ns >= end_ns):
                self._looks.append(self._watch.begin())
            looks = list(self._looks)
        before = max((place for place, one in enumerate(looks) if one.at_ns <= begin_ns), default=0)
        after = min((place for place, one in enumerate(looks) if one.begin_ns >= end_ns), default=len(looks) - 1)
        inside = looks[before + 1 : after]
        if is_busy and inside and not self._manner.first_clocks:
            self._manner = replace(self._manner, first_clocks=mean_clocks(inside))
        manner = replace(self._manner, is_busy=is_busy, is_rest=not is_busy)
        # Most looks leave the log out: the last one before that read it, and the first one after.
        begin = next(one for one in reversed(looks[: before + 1]) if one.is_full)
        end = next(one for one in looks[after:] if one.is_full)
        return judge(_with_log(looks[before], begin), _with_log(looks[after], end), inside, manner)

    def seen(self) -> Mapping[str, Json]:
        """As ``Watched.seen``; the first look is left out where there are others, since nothing ran yet."""
        with self._lock:
            looks = list(self._looks)
        return meanwhile(looks[1:] or looks, self._manner)

    def looks_made(self) -> int:
        """How often the device has been looked at so far."""
        with self._lock:
            return len(self._looks)

    def _look_on(self) -> None:
        while not self._end.wait(self._period_s):
            # One look at a time: of two at once the one that began first need not have read first.
            with self._lock:
                self._looks.append(self._watch.glance())


def _with_log(look: Snapshot, full: Snapshot) -> Snapshot:
    return replace(look, has_log=full.has_log, alarm_lines=full.alarm_lines)
