"""Formats as a table for people or as JSON: who reads each, what it holds, what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .output import print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.lut_formats.card import FormatCard


@dataclass(frozen=True)
class Family:
    """Formats that one command writes."""

    title: str
    command: str
    cards: Mapping[str, FormatCard]


def of_tables() -> Family:
    """A row is a cell of a space."""
    from ..costmodels.lut_formats import format_names, lut_format

    cards = {name: lut_format(name).card for name in format_names()}
    return Family("Formats of lookup tables", "lut export", cards)


def of_networks() -> Family:
    """A row is a whole network."""
    from ..costmodels.arch_formats import arch_format, arch_format_names

    cards = {name: arch_format(name).card for name in arch_format_names()}
    return Family("Formats of whole networks", "lut export-archs", cards)


def of_operators() -> Family:
    """A row is an operator at one shape."""
    from ..costmodels.op_formats import op_format, op_format_names

    return Family("Formats of operators", "lut export-ops", {name: op_format(name).card for name in op_format_names()})


def show_cards(families: Sequence[Family], as_json: bool) -> None:
    """Print the cards by the formats' names."""
    if as_json:
        rows = [
            {"name": name, "written_by": family.command, **_document(card)}
            for family in families
            for name, card in family.cards.items()
        ]
        print_json({"formats": rows})
        return
    for family in families:
        _print(family)


def _print(family: Family) -> None:
    print_table(
        f"{family.title}: edgecost {family.command}",
        ["format", "for", "spaces", "holds", "needs"],
        [
            [
                name,
                card.title,
                ", ".join(card.spaces) or "any",
                ", ".join(f"{metric} ({unit})" for metric, unit in card.units),
                ", ".join(card.needs) or "–",
            ]
            for name, card in family.cards.items()
        ],
        left=5,
    )
    for name, card in family.cards.items():
        if card.note:
            click.echo(f"{name}: {card.note}")


def _document(card: FormatCard) -> dict[str, object]:
    return {
        "title": card.title,
        "reader": card.reader,
        "spaces": list(card.spaces),
        "units": dict(card.units),
        "offset_in": card.offset_in or None,
        "needs": list(card.needs),
        "note": card.note or None,
    }
