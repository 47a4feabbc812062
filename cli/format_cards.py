"""Formats as a table for people or as JSON: who reads each, what it holds, what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from .output import print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.lut_formats.card import FormatCard


def show_cards(title: str, cards: Mapping[str, FormatCard], as_json: bool) -> None:
    """Print the cards by the formats' names."""
    if as_json:
        print_json({"formats": [{"name": name, **_document(card)} for name, card in cards.items()]})
        return
    print_table(
        title,
        ["format", "for", "spaces", "holds", "needs"],
        [
            [
                name,
                card.title,
                ", ".join(card.spaces) or "any",
                ", ".join(f"{metric} ({unit})" for metric, unit in card.units),
                ", ".join(card.needs) or "–",
            ]
            for name, card in cards.items()
        ],
        left=5,
    )
    for name, card in cards.items():
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
