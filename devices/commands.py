"""Programs of a board that are asked for facts (``vcgencmd``, ``nvpmodel``): run, or answered by a recording."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """What a program said before it ended."""

    stdout: str
    stderr: str
    returncode: int


class Commands(Protocol):
    """Runs programs that only tell something."""

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        """The answer; None where there is no such program, it may not be run, or it did not end in time."""


#: Where boards keep them: a service has a shorter path than a person.
_PLACES = "/usr/sbin:/usr/bin:/sbin:/bin:/opt/vc/bin"


class HostCommands:
    """The programs of this machine, without a shell and with an environment that keeps their words English.

    They are looked for on the user's path, and then where boards keep them.
    """

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        """As ``Commands.run``."""
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
                env={"PATH": os.pathsep.join(filter(None, (os.environ.get("PATH"), _PLACES))), "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return Answer(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.returncode)


@dataclass(frozen=True)
class RecordedCommands:
    """Answers of a recorded board, by what was asked."""

    answers: Mapping[tuple[str, ...], Answer]

    def run(self, argv: Sequence[str], timeout_s: float = 5.0) -> Answer | None:
        """As ``Commands.run``; what was not recorded is a program that is not there."""
        del timeout_s
        return self.answers.get(tuple(argv))
