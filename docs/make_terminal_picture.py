"""Draw ``pictures/quickstart.svg`` from ``pictures/quickstart.txt``, the kept output of a real quickstart.

Run it:  .venv/bin/python docs/make_terminal_picture.py
"""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 100
COMMAND = "edgecost quickstart"
#: The picture ends before this line of the output; below it stand stages, files and next commands.
END = "Stages"
#: rich's own frame without its web font: a picture in a repository loads nothing from elsewhere.
FRAME = """<svg viewBox="0 0 {terminal_width} {terminal_height}" xmlns="http://www.w3.org/2000/svg" role="img"
  xml:space="preserve">
<title>Output of edgecost quickstart</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px Menlo, Consolas, "DejaVu Sans Mono", monospace;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
<rect fill="#1b1f24" width="{terminal_width}" height="{terminal_height}" rx="8"/>
<g transform="translate(8, 8)" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
_BOLD = ("96 cells of ", "16 whole networks", "Measured on")
_GREEN = ("predicted, held out", "judge networks, corrected")
_DIM = (" measured again", " FLOPs only", " ─")


def shown_lines(output: str) -> list[str]:
    """The part of the output that the picture shows."""
    lines = [line.rstrip() for line in output.splitlines()]
    chosen = lines[: lines.index(END)]
    # An empty line above and below a table is for terminals; the picture has no room to waste.
    return [line for before, line in zip(["", *chosen], chosen, strict=False) if line or before]


def draw(output: str) -> str:
    """The picture as SVG text."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    console.print(Text.assemble(("$ ", "#9aa4ad"), (COMMAND, "bold")))
    for line in shown_lines(output):
        console.print(Text(line, style=_style(line)), soft_wrap=True)
    return console.export_svg(theme=MONOKAI, code_format=FRAME, unique_id="edgecost")


def _style(line: str) -> str:
    if line.startswith(_BOLD):
        return "bold"
    if line.strip().startswith(_GREEN):
        return "green"
    return "#9aa4ad" if line.startswith(_DIM) else ""


if __name__ == "__main__":
    text = (PICTURES / "quickstart.txt").read_text(encoding="utf-8")
    (PICTURES / "quickstart.svg").write_text(draw(text), encoding="utf-8")
