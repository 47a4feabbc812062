"""Write docs/reference/lut-formats.md from the cards of the formats. A test fails when the page is stale.

Run it:  .venv/bin/python docs/make_format_reference.py
"""

from __future__ import annotations

from pathlib import Path

from edgecost.costmodels.lut_formats import built_in_formats
from edgecost.costmodels.lut_formats.card import FormatCard
from edgecost.costmodels.op_formats import built_in_op_formats

PAGE = Path(__file__).parent / "reference" / "lut-formats.md"
_LEAD = """\
# The formats of lookup tables

`edgecost lut export TABLE --format NAME` writes them, `edgecost lut formats` lists them with those of plugins. Every
reader that adds numbers takes energies (mJ) as it takes latencies: `--metric energy`. Beside each file stands
`<file>.edgecost.json` with device, runtime, precision, batch, metric, unit, correction, date, the hash of the file,
what the reader does not add, and for each row the cell, visits, source and interval. A table that lacks rows is not
written.
This page is generated (`docs/make_format_reference.py`).

"""
_OPERATORS = """
# The formats of operators

`edgecost lut export-ops [MODELS] --format NAME` writes them from a predictor, `--list` lists them with those of plugins
(entry points `edgecost.op_formats`). Beside the files stands `<first file>.edgecost.json` with device, runtime,
precision, batch, metric, unit, date, the hash of every file, and for each row the operator, source and interval. What
has gaps is not written.

"""


def page() -> str:
    """The whole page."""
    tables = "\n".join(_section(name, card) for name, card in _cards().items())
    return (
        _LEAD + tables + _OPERATORS + "\n".join(_short_section(made.name, made.card) for made in built_in_op_formats())
    )


def _cards() -> dict[str, FormatCard]:
    return {made.name: made.card for made in built_in_formats()}


def _section(name: str, card: FormatCard) -> str:
    return _listed(
        name,
        card,
        f"- Spaces: {', '.join(f'`{space}`' for space in card.spaces) or 'any'}",
        _holds(card),
        f"- Constant of the correction: {_constant(name, card)}",
    )


def _short_section(name: str, card: FormatCard) -> str:
    """Of a format that knows no space and no correction."""
    return _listed(name, card, _holds(card))


def _listed(name: str, card: FormatCard, *own: str) -> str:
    lines = [f"## {name}", "", f"- For: {card.title}", f"- Reader: `{card.reader}`", *own]
    if card.needs:
        lines.append(f"- Needs: {', '.join(card.needs)}")
    if card.note:
        lines.append(f"- Note: {card.note}")
    return "\n".join([*lines, ""])


def _holds(card: FormatCard) -> str:
    return f"- Holds: {', '.join(f'{metric} in {unit}' for metric, unit in card.units)}"


def _constant(name: str, card: FormatCard) -> str:
    if card.offset_in:
        return f"in the row of the layer `{card.offset_in}`"
    if len(card.units) == 3:
        return "beside the rows, which are not corrected"
    return "in the side file alone: no row is in every network exactly once"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
