"""The asking side of the runner: the right interpreter for a profile, started ahead, and what it opened.

How any such process is talked to stands in ``worker.py``; no rule of measuring stands in either.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from .errors import RunnerError
from .records import Json, RuntimeProfile
from .variables import variables_of, without_variables
from .worker import Answer, RunnerDied, Spawned, Worker

RUNNER = Path(__file__).with_name("runner.py")
#: Importing the runtime from a cold disk on a slow board takes tens of seconds; longer means that it hangs.
START_TIMEOUT_S = 120.0
#: Which extra brings a runtime.
EXTRAS = {"onnxruntime": "host", "tvm": "tvm"}


class RunnerSupply:
    """Starts runner processes, one ahead: the next one imports its runtime while the current one still measures.

    As a context manager it ends the spare process.
    """

    def __init__(
        self,
        interpreter: str = sys.executable,
        *,
        runtime: str = "onnxruntime",
        threads: int = 1,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [interpreter, str(RUNNER), runtime]
        # TVM reads these once, when its library is loaded; its own pinning would undo the runner's.
        for_tvm = {"TVM_NUM_THREADS": str(threads), "TVM_BIND_THREADS": "0", "TVM_USE_RUNTIME_LIB": "1"}
        self._environment = {**for_tvm, **(variables or {})}
        self._spare: Spawned | None = None

    @classmethod
    def for_profile(cls, profile: RuntimeProfile) -> RunnerSupply:
        """Runners of the interpreter that a profile names; raises as ``variables_of``."""
        return cls(
            profile.interpreter or sys.executable,
            runtime=profile.runtime,
            threads=profile.threads,
            variables=variables_of(profile.options),
        )

    def __enter__(self) -> RunnerSupply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.end()

    def prepare(self) -> None:
        """Start a spare process if there is none."""
        if self._spare is None:
            self._spare = Spawned.start(self._command, self._environment)

    def take(self) -> Spawned:
        """A process that nobody has spoken to; the caller ends it.

        Raises:
            RunnerError: the interpreter cannot be started.
        """
        spare, self._spare = self._spare, None
        if spare is not None and spare.has_ended:
            # The kernel ends runners first when memory runs out, and the spare is one.
            spare.end()
            spare = None
        return spare or Spawned.start(self._command, self._environment)


class RunnerClient(Worker):
    """One runner process with its runtime opened, as a context manager.

    Raises:
        RunnerError: the interpreter cannot be started, cannot import the runtime, or lacks the profile's provider.
    """

    def __init__(
        self,
        supply: RunnerSupply,
        profile: RuntimeProfile,
        rules: Mapping[str, int],
        *,
        cpus: Sequence[int] = (),
        memory_limit_bytes: int | None = None,
        canary: Answer | None = None,
    ) -> None:
        super().__init__(supply.take())
        with ExitStack() as undo:
            # Ctrl-C while the runtime is imported would leave the process behind.
            undo.callback(self.close)
            self.opened = self._open(profile, rules, cpus, memory_limit_bytes, canary)
            undo.pop_all()

    def __enter__(self) -> RunnerClient:
        return self

    def _open(
        self,
        profile: RuntimeProfile,
        rules: Mapping[str, int],
        cpus: Sequence[int],
        memory_limit_bytes: int | None,
        canary: Answer | None,
    ) -> Answer:
        request: Answer = {
            "verb": "open",
            "profile": {
                "runtime": profile.runtime,
                "threads": profile.threads,
                "provider": profile.provider,
                "graph_level": profile.graph_level,
                "options": {**without_variables(profile.options)},
                "cpus": list(cpus),
            },
            "rules": dict(rules),
            "memory_limit_bytes": memory_limit_bytes,
            "canary": canary,
        }
        try:
            self.send(request)
            answer = self.receive(START_TIMEOUT_S)
        except RunnerDied as died:
            raise RunnerError(
                f"the runner could not open {profile.runtime}: {died.message}", remedy=_opening_remedy(profile)
            ) from died
        if answer["event"] != "opened":
            raise RunnerError(f"the runner answered {answer['event']!r} where it should have opened {profile.runtime}")
        if answer["runtime_version"] != profile.version:
            raise RunnerError(
                f"the profile says {profile.runtime} {profile.version}, the runner has {answer['runtime_version']}",
                remedy="measure with the runtime that the profile names: a number belongs to one version",
            )
        return answer


def _opening_remedy(profile: RuntimeProfile) -> str:
    options = dict(profile.options)
    if "rpc_tracker" in options:
        return f"is a board free under the key {options.get('rpc_key')!r} at the tracker {options['rpc_tracker']}?"
    extra = EXTRAS.get(profile.runtime, "host")
    return f"check with `edgecost doctor`; `pip install 'edgecost[{extra}]'` installs the runtime"


def describe_interpreter(
    interpreter: str = sys.executable, variables: Mapping[str, str] | None = None
) -> Mapping[str, Json]:
    """What an interpreter can run: ``python_version``, and in ``runtimes`` each one's version and providers, or None.

    Args:
        variables: of its environment, which its libraries may not be loaded without.

    Raises:
        RunnerError: it cannot be started, or does not answer like a Python.
    """
    try:
        ended = subprocess.run(
            [interpreter, str(RUNNER), "--describe"],
            env={**os.environ, **(variables or {})},
            capture_output=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunnerError(f"{interpreter} did not say within {START_TIMEOUT_S:g} s which runtimes it has") from None
    except OSError as error:
        raise RunnerError(f"cannot start the interpreter {interpreter}: {error.strerror}") from error
    with suppress(ValueError, IndexError):
        document = json.loads(ended.stdout.splitlines()[-1])
        if isinstance(document, dict) and "python_version" in document:
            return document
    last_words = ended.stderr[-500:].decode(errors="replace").strip()
    raise RunnerError(
        f"{interpreter} could not say which runtimes it has: {last_words or f'exit code {ended.returncode}'}",
        remedy="the interpreter must be a Python of version 3.6 or newer",
    )
