"""The report of a saved model: its card, laid out. Nothing is predicted for it: the card knows what was held out."""

from __future__ import annotations

from collections.abc import Mapping

from ...profiler.documents import encode
from ...profiler.errors import UsageError
from ..cards.card_file import card_document, model_digests
from ..cards.card_pictures import ACCURACY_HEADS, accuracy_cells, device_of, judged, panels
from ..cards.model_card import IntervalCoverage, ModelCard
from ..cards.model_folder import ModelFolder
from ..pictures import plain_text
from .page import Picture, Report, Section, Table
from .texts import DASH, counted, listed, moment, number, percent

_PANELS = {
    "parity": "Predicted against measured: each graph by a model that had not seen it, with the band of ±10 %",
    "residuals": "Predicted over measured, by measured size",
    "kinds": "Share of the held-out graphs within ±10 %, by what takes most of a graph",
    "coverage": "What the intervals held of what was held out, beside what they promise",
}


def model_report(found: ModelFolder) -> Report:
    """Lay a model's card out.

    Raises:
        UsageError: it has none.
        ArtefactError: it cannot be read.
    """
    card = found.card
    if card is None:
        raise UsageError(
            f"{found.folder} has no card to report: it was made before there were cards",
            remedy="train it again: edgecost train",
        )
    digests = model_digests(found.folder)
    data = encode({"model_sha256": digests, **card_document(card)})
    assert isinstance(data, dict)
    what = "Predictor" if card.model == "predictor" else "Model of a space"
    return Report(
        kind="model",
        subject=found.folder.resolve().name,
        title=f"{what} of {card.metric}: {device_of(card)}",
        lead=_lead(card),
        facts=_facts(card, digests),
        sections=[_accuracy(card), _kinds(card), _coverage(card), _limits(card), *_growth(card), _made_of(card)],
        data=data,
    )


def _lead(card: ModelCard) -> str:
    told = card.held_out
    if told is None:
        return "Nothing was held out when it was trained: what it is worth is not known."
    unseen = f"Of {counted(told.n, 'graph')} that the predicting model had not seen"
    if card.floor is None:
        again = "nothing was measured twice, so that the best there could be is not known."
    else:
        again = f"of graphs measured again, {percent(card.floor.within_10)} are, and no predictor does better."
    return f"{unseen}, {percent(told.within_10)} were predicted within ±10 %; {again}"


def _facts(card: ModelCard, digests: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        ("Profile", card.profile_label or DASH),
        ("Predicts", f"{card.metric}, {card.unit}"),
        ("Made", moment(card.made_at)),
        ("With", ", ".join(f"{name} {version}" for name, version in card.versions.items()) or DASH),
        *((f"sha256 of {name}", digest) for name, digest in digests.items()),
    ]


def _pictures(card: ModelCard, *names: str) -> list[Picture]:
    return [Picture(name, _PANELS[name], draw) for name, _, draw in panels(card) if name in names]


def _accuracy(card: ModelCard) -> Section:
    rows = [accuracy_cells(name, one) for name, one in judged(card)]
    return Section(
        "What it is worth",
        pictures=_pictures(card, "parity", "residuals"),
        tables=[Table("Share of graphs within, and mean error", ACCURACY_HEADS, rows)],
    )


def _kinds(card: ModelCard) -> Section:
    tables = [
        Table(caption, ACCURACY_HEADS, [accuracy_cells(one.name, one.accuracy) for one in groups])
        for caption, groups in (("By what takes most of a graph", card.by_kind), ("By measured size", card.by_size))
        if groups
    ]
    lead = "" if tables else "The card does not tell errors by operator or size."
    return Section("Error by operator", lead, _pictures(card, "kinds") if tables else (), tables)


def _coverage(card: ModelCard) -> Section:
    networks = {one.nominal: one for one in card.network_coverage}
    rows = [
        [f"{one.nominal * 100:.0f} %", *_held(one), *_held(networks.get(one.nominal))]
        for one in card.coverage
    ]  # fmt: skip
    if not rows:
        return Section("What its intervals hold", "It has no intervals.")
    heads = ("promised", "held of graphs, %", "graphs", "held of networks, %", "networks")
    table = Table("Intervals, on what took no part in making them", heads, rows)
    return Section("What its intervals hold", pictures=_pictures(card, "coverage"), tables=[table])


def _held(one: IntervalCoverage | None) -> tuple[str, str]:
    return (DASH, DASH) if one is None else (percent(one.held), f"{one.n:,}")


def _limits(card: ModelCard) -> Section:
    return Section("What it cannot do", "" if card.limits else "The card names no limits.", notes=card.limits)


def _growth(card: ModelCard) -> list[Section]:
    """What more measurements bring; nothing where the card does not tell."""
    found = []
    if card.next:
        rows = [
            [plain_text(one.subject), one.target, f"{one.reason}: {one.why}", number(one.latency_ms), percent(one.gain)]
            for one in card.next
        ]
        heads = ("what", "for the prices of", "why", f"priced now, {card.unit}", "takes off the squared error")
        found.append(Section("What to measure next", tables=[Table("The best first of each", heads, rows, left=3)]))
    if card.curve:
        points = [
            [f"{one.graphs:,}", f"{one.accuracy.n:,}", f"{one.unpriced:,}", percent(one.accuracy.within_10)]
            for one in card.curve
        ]
        columns = ("graphs that trained", "judged", "without a price", "within ±10 %")
        lead = "How the error falls with the number of measured graphs, drawn by chance, and judged on others."
        found.append(Section("Sample-efficiency", lead, tables=[Table("By how many graphs", columns, points)]))
    return found


def _made_of(card: ModelCard) -> Section:
    data = card.data
    rows = [
        ["measurements", f"{data.rows:,} ({listed(data.purposes)})" if data.purposes else f"{data.rows:,}"],
        ["graphs", number(data.graphs)],
        ["kernels", number(data.kernels)],
        ["whole networks", number(data.networks)],
        ["sessions", number(data.sessions)],
        ["measured from", moment(data.measured_from)],
        ["measured until", moment(data.measured_until)],
        ["protocols", listed(data.protocols) or DASH],
        ["environments", number(data.environments)],
        ["seed", str(data.seed)],
        ["canary", DASH if card.canary_us is None else f"{number(card.canary_us)} µs"],
        ["repeatability", f"9 of 10 within {percent(card.floor_radius)}" if card.floor_radius is not None else DASH],
    ]
    tables = [Table("Data", ("", ""), rows, left=2)]
    if data.left_out:
        left_out = [[reason, f"{n:,}"] for reason, n in data.left_out.items()]
        tables.append(Table("Measurements that took no part", ("reason", "measurements"), left_out))
    if card.anchors:
        anchors = [[plain_text(one.name), one.kind, number(one.latency_ms)] for one in card.anchors]
        tables.append(
            Table("Anchors: measured again by edgecost models check", ("graph", "kind", "ms"), anchors, left=2)
        )
    if card.environment:
        document = [[name, _told(value)] for name, value in sorted(card.environment.items())]
        tables.append(Table("Environment", ("", ""), document, left=2))
    return Section("What it was made of", tables=tables)


def _told(value: object) -> str:
    if value is None or value == []:
        return DASH
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
