"""What stands below the pictures of ``docs/explain``: where and when it was measured, and the numbers that are seen."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

import numpy as np

DOCS = Path(__file__).parent
#: A file of measurements, as in ``make_explain_pictures.py``.
Document: TypeAlias = dict
#: On which page each picture is.
PAGE = {
    "protocol-visits": "protocol",
    "protocol-sessions": "protocol",
    "energy": "energy",
    "transfer": "spaces-and-few-samples",
    "additivity": "from-parts-to-whole",
}
_WIDTH = 120
#: Why a visit was rejected, for people.
_CAUSE = {
    "canary": "by the canary",
    "preempted": "whose runs were all interrupted",
    "context_switch": "of few and short runs that were interrupted",
}


def captioned(name: str) -> str:
    """The page of a picture with the caption that the picture's file asks for.

    Raises:
        ValueError: the page does not show the picture, with a caption below it.
    """
    page = page_of(name).read_text(encoding="utf-8")
    below = re.compile(rf"(?<=\(\.\./pictures/explain-{name}\.svg\)\n\n)\*[^*]+\*$", re.MULTILINE)
    if len(below.findall(page)) != 1:
        raise ValueError(f"{page_of(name).name} shows no explain-{name}.svg with a line in *asterisks* below it")
    return below.sub(lambda _: caption(name), page)


def page_of(name: str) -> Path:
    """Where a picture is shown."""
    return DOCS / "explain" / f"{PAGE[name]}.md"


def caption(name: str) -> str:
    """Markdown, in italics."""
    document = json.loads((DOCS / "pictures" / f"explain-{name}.json").read_text(encoding="utf-8"))
    text = f"{_SAID[name](document)} {_origin(name, document)}"
    return textwrap.fill(f"*{text}*", _WIDTH, break_long_words=False, break_on_hyphens=False)


def _origin(name: str, document: Document) -> str:
    told = [document["device"]]
    if name != "energy":
        told += [document["runtime"], f"protocol {document['protocol']}", f"load {document['load_before']} before it"]
    return f"{'; '.join([*told, document['date']])}."


def _visits(document: Document) -> str:
    rows, latencies = document["visits"], [graph["median_us"] for graph in document["graphs"]]
    out = [row for row in rows if row[6]]
    (first, last, _), (begin, end, _) = document["busy"]
    disturbed = [row for row in rows if first <= row[0] <= last and not row[6]]
    mean, middle = (max(_percent(row[column], latencies[row[2]]) for row in disturbed) for column in (4, 3))
    causes = Counter(_CAUSE[row[6]] for row in out)
    told = ", ".join(f"{count} {cause}" for cause, count in causes.most_common())
    between = sum(begin <= row[0] <= end for row in out)
    return (
        "One session of three cells, beside which a program of ours runs on the same CPU: in rounds"
        f" {first} to {last} one that computes, in rounds {begin} to {end} one that wakes again and again for a moment."
        f" Of {len(rows)} visits {len(out)} count nowhere: {told}; {between} of them beside the second program. Beside"
        f" the first the mean of a valid visit's runs is up to {mean:.0f} % above the latency, its median at most"
        f" {middle:.0f} %."
    )


def _sessions(document: Document) -> str:
    made = document["sessions"]
    halves = [(one["hi_us"] - one["lo_us"]) / 2 / one["median_us"] * 100 for session in made for one in session]
    pairs = [pair for a, b in combinations(made, 2) for pair in zip(a, b, strict=True)]
    apart = [abs(_percent(one["median_us"], other["median_us"])) for one, other in pairs]
    held = [one["lo_us"] <= other["median_us"] <= one["hi_us"] for one, other in pairs]
    return (
        f"{len(made[0])} cells in {len(made)} processes, one after the other. Half the interval within a process is"
        f" {np.median(halves):.1f} % in the median; two processes differ by {np.median(apart):.1f} % in the median and"
        f" by {np.max(apart):.1f} % at most. What one process says is in another's interval for"
        f" {np.mean(held) * 100:.0f} % of the pairs."
    )


def _energy(document: Document) -> str:
    found = document["energy"]
    gross, net = (
        f"{found[f'{name}_median_mj']:.1f} mJ {name} ({found[f'{name}_lo_mj']:.1f} to {found[f'{name}_hi_mj']:.1f};"
        f" the truth is {document[f'true_{name}_mj']:.1f})"
        for name in ("gross", "net")
    )
    return (
        f"{len(document['runs'])} windows of a network on a virtual board: played by a law, measured on no board."
        f" A run of {document['run_ms']:.0f} ms takes {gross} and {net}. The first half of a run takes more power than"
        " the second, so readings lie at two heights."
    )


def _transfer(document: Document) -> str:
    sizes = document["samples"]
    alone, helped = (
        np.median(np.array(document["error_percent"][which]), axis=1) for which in ("alone", "with the other")
    )
    place = sizes.index(10)
    as_near = [size for size, error in zip(sizes, alone, strict=True) if error <= helped[place]]
    needed = f"it takes {as_near[0]} samples" if as_near else f"{sizes[-1]} samples are too few"
    return (
        f"{len(document['networks'])} networks of NAS-Bench-201, measured with one thread and with two; two threads are"
        f" the new device. Error on {document['judged']} networks that took no part: median and middle half of"
        f" {document['draws']} draws of the samples. After ten samples it is {alone[place]:.1f} % alone, and"
        f" {helped[place]:.1f} % with what one thread taught; alone {needed} to come as near."
    )


def _additivity(document: Document) -> str:
    networks = document["networks"]
    judged = [row for row in networks if row[0] == "judge"]
    plain, corrected = ([abs(_percent(row[column], row[3])) for row in judged] for column in (1, 2))
    return (
        f"{len(networks)} networks of {document['space']} in {document['processes']} processes each, which differ by"
        f" {document['session_spread_percent']:.1f} % in the median, against sums of {document['cells']} cells."
        f" Networks that took no part in the fit are off by {np.mean(plain):.1f} % in the mean as plain sums, and times"
        f" the factor, {document['scale']:.3f}, by {np.mean(corrected):.1f} % in the mean and {max(corrected):.1f} % at"
        " most."
    )


def _percent(said: float, measured: float) -> float:
    return (said / measured - 1) * 100


_SAID: Mapping[str, Callable[[Document], str]] = {
    "protocol-visits": _visits,
    "protocol-sessions": _sessions,
    "energy": _energy,
    "transfer": _transfer,
    "additivity": _additivity,
}
