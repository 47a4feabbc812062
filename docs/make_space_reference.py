"""Write docs/reference/spaces.md from the built-in search spaces. A test fails when the page is stale.

Run it:  .venv/bin/python docs/make_space_reference.py
"""

from __future__ import annotations

from pathlib import Path

from edgecost.cli.spaces import input_of
from edgecost.costmodels.arch_formats import arch_format, arch_format_names
from edgecost.costmodels.lut_formats import built_in_formats
from edgecost.costmodels.space import Space
from edgecost.costmodels.space_file import load_space, space_names

PAGE = Path(__file__).parent / "reference" / "spaces.md"
_LEAD = """\
# The search spaces

`edgecost space list` lists them with those of other packages, `edgecost space show NAME` shows the cells of one,
`edgecost space check NAME` tries it out. *Cells* are what a complete table holds: distinct blocks at one input shape,
at the space's own resolution and width. Formats that hold any space (csv, json, parquet, numpy, sqlite, native,
syne-tune and the like) are left out here. Yours is [one TOML file](../how-to/add-a-search-space.md).
A space with * has cells that depend on several choices: tables are built, priced, audited, searched and exported as of
any other, while advice, recognition of a file and few-shot transfer look at one choice at a time and do not take it.
This page is generated (`docs/make_space_reference.py`).

| space | networks | cells | choices | input | formats of its own |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    spaces = [load_space(name) for name in space_names()]
    rows = "\n".join(_row(space) for space in spaces)
    sources = "\n".join(f"- `{space.name}`: {space.title}. {space.citation}" for space in spaces)
    return f"{_LEAD}{rows}\n\n## Where they are from\n\n{sources}\n"


def _row(space: Space) -> str:
    size = f"{space.size:,}" if space.size < 10**6 else f"{space.size:.1e}"
    kind = "" if space.is_chain else " *"
    cells = f"{len(space.measurable):,}"
    return (
        f"| `{space.name}`{kind} | {size} | {cells} | {len(space.positions)} | {input_of(space)} | {_formats(space)} |"
    )


def _formats(space: Space) -> str:
    cards = {made.name: made.card for made in built_in_formats()}
    cards |= {name: arch_format(name).card for name in arch_format_names()}
    held = [f"`{name}`" for name, card in cards.items() if space.name in card.spaces]
    return ", ".join(held) or "–"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
