"""Write reference/commands-in-the-docs.md: how many blocks of commands each page has, which are not run, and why.

Run it:  PYTHONPATH=. .venv/bin/python docs/make_command_table.py
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.shown_commands import PAGES, ROOT, Step, blocks_of

PAGE = Path(__file__).parent / "reference" / "commands-in-the-docs.md"
_LEAD = """\
# Which commands of the documentation are run

Each page's blocks of shell are run by `make test`, in their order and in a folder with what the page speaks of, and
what they print is held against what the page shows. Where a command measures and names no runtime, it is
[virtual-nano](../how-to/try-without-a-board.md) that is measured, except on pages about this machine. What cannot be
run says why, in a comment before the block; its commands are parsed all the same, and so are those in running text and
in `--help`, so that an option that is gone is found. This page is generated (`docs/make_command_table.py`).

"""


def page() -> str:
    """The whole page."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
    found = {name: [block for block in blocks_of(text) if block.language == "sh"] for name, text in texts.items()}
    shown = {name: blocks for name, blocks in found.items() if blocks}
    blocks = [block for some in shown.values() for block in some]
    left_out = sum(bool(block.why_not) for block in blocks)
    lines = [f"{len(blocks)} blocks on {len(shown)} pages: {len(blocks) - left_out} are run, {left_out} are not.\n"]
    lines += ["| page | blocks | run | with something else in place of what is shown |", "|---|---|---|---|"]
    lines += [_row(name, some) for name, some in shown.items()]
    lines += ["\n## Not run\n", "| page | block | because |", "|---|---|---|"]
    for name, some in shown.items():
        lines += [f"| {_link(name)} | {_code(_first(one))} | {_cell(one.why_not)} |" for one in some if one.why_not]
    return _LEAD + "\n".join(lines) + "\n"


def _row(name: str, blocks: list[Step]) -> str:
    others = [f"{_code(run)} for {_code(shown)}" for block in blocks for shown, run in block.stand_ins]
    return f"| {_link(name)} | {len(blocks)} | {sum(not block.why_not for block in blocks)} | {'; '.join(others)} |"


def _link(name: str) -> str:
    return f"[{name.removeprefix('docs/')}]({os.path.relpath(ROOT / name, PAGE.parent)})"


def _first(block: Step) -> str:
    return block.body.splitlines()[0].partition("  ")[0].rstrip(" \\")


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
