"""The asking side of the runner: start it, speak JSON lines with it, and say how it ended.

No rule of measuring stands here (``measure.py``); this file only knows processes, time limits and causes of death.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from .errors import RunnerError
from .records import Json, RuntimeProfile, Status

RUNNER = Path(__file__).with_name("runner.py")
#: Importing the runtime from a cold disk on a slow board takes tens of seconds; longer means that it hangs.
START_TIMEOUT_S = 120.0
#: The runtime has its own threads; numpy's would only disturb the canary.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

Answer = dict[str, Json]


class RunnerDied(Exception):
    """The runner ended or hung in the middle of a request; ``status`` is the recorded outcome."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class RunnerSupply:
    """Starts runner processes, one ahead: the next one imports its runtime while the current one still measures.

    As a context manager it ends the spare process.
    """

    def __init__(self, interpreter: str = sys.executable) -> None:
        self._interpreter = interpreter
        self._spare: tuple[subprocess.Popen[bytes], IO[bytes]] | None = None

    def __enter__(self) -> RunnerSupply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spare is not None:
            process, talk = self._spare
            self._spare = None
            _end(process, talk)

    def prepare(self) -> None:
        """Start a spare process if there is none."""
        if self._spare is None:
            self._spare = self._start()

    def take(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        """A process and the file of what it says on standard error; the caller ends both.

        Raises:
            RunnerError: the interpreter cannot be started.
        """
        spare, self._spare = self._spare, None
        if spare is not None and spare[0].poll() is not None:
            # The kernel ends runners first when memory runs out, and the spare is one.
            _end(*spare)
            spare = None
        return spare or self._start()

    def _start(self) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        talk: IO[bytes] = tempfile.TemporaryFile(prefix="edgecost-runner-")  # noqa: SIM115  # outlives this function
        try:
            # A new session keeps Ctrl-C for the asking side, which still wants to store what was measured.
            process = subprocess.Popen(
                [self._interpreter, str(RUNNER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=talk,
                env={**os.environ, **_ONE_THREAD},
                start_new_session=True,
            )
        except OSError as error:
            talk.close()
            raise RunnerError(f"cannot start the interpreter {self._interpreter}: {error.strerror}") from error
        return process, talk


class RunnerClient:
    """One runner process, as a context manager: leaving the context ends the process, whatever it is doing.

    Raises:
        RunnerError: the interpreter cannot be started, or cannot import the runtime.
    """

    def __init__(
        self,
        supply: RunnerSupply,
        profile: RuntimeProfile,
        rules: Mapping[str, int],
        *,
        cpus: Sequence[int] = (),
        memory_limit_bytes: int | None = None,
    ) -> None:
        self._process, self._talk = supply.take()
        self._pending = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        with ExitStack() as undo:
            # Ctrl-C while the runtime is imported would leave the process behind.
            undo.callback(self.close)
            self.opened = self._open(profile, rules, cpus, memory_limit_bytes)
            undo.pop_all()

    def _open(
        self, profile: RuntimeProfile, rules: Mapping[str, int], cpus: Sequence[int], memory_limit_bytes: int | None
    ) -> Answer:
        request: Answer = {
            "verb": "open",
            "profile": {
                "threads": profile.threads,
                "provider": profile.provider,
                "graph_level": profile.graph_level,
                "options": dict(profile.options),
                "cpus": list(cpus),
            },
            "rules": dict(rules),
            "memory_limit_bytes": memory_limit_bytes,
        }
        try:
            self.send(request)
            answer = self.receive(START_TIMEOUT_S)
        except RunnerDied as died:
            raise RunnerError(
                f"the runner could not open {profile.runtime}: {died.message}",
                remedy="check with `edgecost doctor`; `pip install 'edgecost[host]'` installs the runtime",
            ) from died
        if answer["event"] != "opened":
            raise RunnerError(f"the runner answered {answer['event']!r} where it should have opened {profile.runtime}")
        if answer["runtime_version"] != profile.version:
            raise RunnerError(
                f"the profile says {profile.runtime} {profile.version}, the runner has {answer['runtime_version']}",
                remedy="measure with the runtime that the profile names: a number belongs to one version",
            )
        return answer

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> RunnerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, request: Mapping[str, Json]) -> None:
        """Send one request.

        Raises:
            RunnerDied: the runner has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def receive(self, timeout_s: float) -> Answer:
        """The next answer.

        Raises:
            RunnerDied: the runner ended, or gave no answer within ``timeout_s`` and was killed.
            RunnerError: what came is no answer; the interpreter does not run the runner.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                self._process.kill()
                self._process.wait()
                raise RunnerDied(Status.TIMEOUT, f"no answer within {timeout_s:g} s; the runner was killed")
            chunk = self._stdout.read1(1 << 16)  # type: ignore[attr-defined]  # a buffered pipe, typed as IO
            if not chunk:
                raise self._death()
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return _parse(line)

    def _death(self) -> RunnerDied:
        code = self._process.wait()
        self._talk.seek(0)
        last_words = self._talk.read()[-2000:].decode(errors="replace").strip()
        status = {
            -signal.SIGSEGV: Status.SEGFAULT,
            -signal.SIGBUS: Status.SEGFAULT,
            -signal.SIGILL: Status.SIGILL,
        }.get(code, Status.CRASHED)
        if "MemoryError" in last_words or "bad_alloc" in last_words:
            status = Status.OUT_OF_MEMORY
        cause = f"ended by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        return RunnerDied(status, f"the runner {cause}{': ' + last_words if last_words else ''}")

    def close(self) -> None:
        """End the process and free its pipes; safe to call twice."""
        self._selector.close()
        _end(self._process, self._talk)


def _parse(line: bytes) -> Answer:
    with suppress(ValueError):
        answer = json.loads(line)
        if isinstance(answer, dict) and "event" in answer:
            return answer
    raise RunnerError(
        f"the runner sent {line[:200].decode(errors='replace')!r}, which is no answer",
        remedy="the interpreter must be a Python that can import numpy and the runtime",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _end(process: subprocess.Popen[bytes], talk: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, talk):
        if stream is not None:
            # What was still buffered for a runner that no longer reads is of no use to anybody.
            with suppress(BrokenPipeError):
                stream.close()
