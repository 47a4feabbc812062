"""Writes what ``edgecost doctor --recorded`` says of each recorded board into tests/golden/boards, and of three of them
into docs/boards.md.

Read every line of what changed against what is known of the board before it is committed; tests fail when one is stale.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from edgecost.devices.boards.recording import load
from edgecost.devices.boards.report import report_board
from edgecost.devices.boards.report_lines import report_lines

ROOT = Path(__file__).resolve().parent.parent
PAGE, GOLDEN, BOARDS = ROOT / "docs" / "boards.md", ROOT / "tests" / "golden" / "boards", ROOT / "tests" / "boards"
#: A command, and the block of text under it.
SHOWN = re.compile(
    r"(edgecost doctor --recorded tests/boards/([\w.+-]+)\.json\n```\n\n```text\n)(.*?)(^```$)", re.M | re.S
)
_NOBODY = 65534


def text(name: str) -> str:
    """What the command prints of a board, for a user who may not read everything."""
    recording = load(BOARDS / f"{name}.json")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        recording.unpack(root)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(_NOBODY)
        try:
            lines = report_lines(report_board(root, recording.recorded_commands(), recording.machine))
        finally:
            if is_root:
                os.seteuid(0)
    return "\n".join([f"{recording.name}, recorded on Linux {recording.kernel_release}\n", *lines]) + "\n"


def page() -> str:
    """The page with its blocks anew."""
    return SHOWN.sub(lambda found: f"{found[1]}{text(found[2])}{found[4]}", PAGE.read_text(encoding="utf-8"))


def main() -> None:
    """Write all of them."""
    for path in sorted(BOARDS.glob("*.json")):
        (GOLDEN / f"{path.stem}.txt").write_text(text(path.stem), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
