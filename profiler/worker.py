"""A process that is asked in JSON lines and may crash, hang or be killed: start it, talk to it, and say how it ended.

The runner and the TVM compiler are such processes. No rule of measuring stands here.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from .errors import RunnerError
from .records import Json, Status

#: A request is read at once by a process that waits for one; this long means that it hangs, or is stopped.
SEND_TIMEOUT_S = 60.0
#: A process that has closed its output is about to end; a core file of some gigabytes takes a while to write.
DEATH_TIMEOUT_S = 30.0
#: The runtime has its own threads; numpy's would only disturb the canary.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_CHUNK_BYTES = 1 << 16
_POLL_S = 0.005

Answer = dict[str, Json]


class RunnerDied(Exception):
    """The process ended or hung in the middle of a request; ``status`` is the recorded outcome."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Spawned:
    """A process that was started and not yet spoken to.

    Attributes:
        talk: the file of what it says on standard error.
        scratch: its own folder for temporary files; whoever is killed cleans nothing up.
    """

    process: subprocess.Popen[bytes]
    talk: IO[bytes]
    scratch: tempfile.TemporaryDirectory[str]

    @classmethod
    def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> Spawned:
        """Start a process with unbuffered pipes.

        Raises:
            RunnerError: the interpreter cannot be started.
        """
        talk: IO[bytes] = tempfile.TemporaryFile(prefix="edgecost-worker-")  # noqa: SIM115  # outlives this function
        scratch = tempfile.TemporaryDirectory(prefix="edgecost-worker-", ignore_cleanup_errors=True)
        try:
            # A new session keeps Ctrl-C for the asking side, which still wants to store what was measured.
            process = subprocess.Popen(
                list(command),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=talk,
                env={**os.environ, **_ONE_THREAD, "TMPDIR": scratch.name, **environment},
                start_new_session=True,
            )
        except OSError as error:
            talk.close()
            scratch.cleanup()
            raise RunnerError(f"cannot start the interpreter {command[0]}: {error.strerror}") from error
        return cls(process, talk, scratch)

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def end(self) -> None:
        """Kill the process, and what it started, free its pipes and delete its temporary files."""
        self.kill()
        for stream in (self.process.stdin, self.process.stdout, self.talk):
            if stream is not None:
                stream.close()
        self.scratch.cleanup()

    def kill(self) -> int:
        """Kill the process and its children; its exit code."""
        if self.process.returncode is None:
            # The process leads a group of its own; once it is waited for, its number may be another's.
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    def ends_by_itself(self, within_s: float) -> bool:
        """Wait for the end of the process without asking how it ended: until then its children can be found."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self._is_dead():
                return True
            time.sleep(_POLL_S)
        return False

    def _is_dead(self) -> bool:
        """Whether it has ended; where the system can say so, it stays to be waited for."""
        if self.process.returncode is not None or not hasattr(os, "waitid"):
            return self.has_ended
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class Worker:
    """The asking side of one process, as a context manager: leaving the context ends it, whatever it is doing."""

    def __init__(self, spawned: Spawned, *, name: str = "runner") -> None:
        self._spawned = spawned
        self._name = name
        self._pending = b""
        process = spawned.process
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._stdin, False)
        self._readable = selectors.DefaultSelector()
        self._readable.register(self._stdout, selectors.EVENT_READ)
        self._writable = selectors.DefaultSelector()
        self._writable.register(self._stdin, selectors.EVENT_WRITE)

    @property
    def pid(self) -> int:
        return self._spawned.process.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process and free its pipes; safe to call twice."""
        self._readable.close()
        self._writable.close()
        self._spawned.end()

    def send(self, request: Mapping[str, Json], timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Send one request.

        Raises:
            RunnerDied: the process has ended, or does not read; then it was killed.
        """
        line = memoryview(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + timeout_s
        while line:
            left = deadline - time.monotonic()
            if left <= 0 or not self._writable.select(left):
                self._spawned.kill()
                raise RunnerDied(Status.TIMEOUT, f"took no request within {timeout_s:g} s; the {self._name} was killed")
            try:
                line = line[os.write(self._stdin, line[:_CHUNK_BYTES]) :]
            except BlockingIOError:
                # Room in the pipe that another write took in between.
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise self._death() from None

    def receive(self, timeout_s: float) -> Answer:
        """The next answer.

        Raises:
            RunnerDied: the process ended, or gave no answer within ``timeout_s`` and was killed.
            RunnerError: what came is no answer; the interpreter does not run the program.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not self._readable.select(left):
                self._spawned.kill()
                raise RunnerDied(Status.TIMEOUT, f"no answer within {timeout_s:g} s; the {self._name} was killed")
            chunk = os.read(self._stdout, _CHUNK_BYTES)
            if not chunk:
                raise self._death()
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return _parse(line)

    def _death(self) -> RunnerDied:
        ended = self._spawned.ends_by_itself(DEATH_TIMEOUT_S)
        code = self._spawned.kill()
        if not ended:
            return RunnerDied(Status.TIMEOUT, f"closed its output and did not end; the {self._name} was killed")
        talk = self._spawned.talk
        talk.seek(0)
        last_words = talk.read()[-2000:].decode(errors="replace").strip()
        status = {
            -signal.SIGSEGV: Status.SEGFAULT,
            -signal.SIGBUS: Status.SEGFAULT,
            -signal.SIGILL: Status.SIGILL,
        }.get(code, Status.CRASHED)
        if "MemoryError" in last_words or "bad_alloc" in last_words:
            status = Status.OUT_OF_MEMORY
        cause = f"ended by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        return RunnerDied(status, f"the {self._name} {cause}{': ' + last_words if last_words else ''}")


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
