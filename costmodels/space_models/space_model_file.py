"""Models of a space on disk: a folder with LightGBM's own text and a JSON that holds the rest. Never a pickle.

``space-model.json`` carries the sha256 of each text and of its own content, so that a changed byte is found before
anything is predicted from it. It is also the export of the table: a constant and a cost per column, in milliseconds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args

import numpy as np

from ...profiler.errors import ArtefactError
from ...profiler.records import Json
from ..files import write_atomically
from ..sealed_file import read_sealed, read_text, sealed_text
from .intervals import Band
from .residual import Correction, Expert
from .ridge import Table
from .space_model import IntervalMethod, SpaceModel, SpaceReport

if TYPE_CHECKING:
    import lightgbm as lgb

FORMAT = "edgecost-space-model"
#: 1: first. A change in the meaning of a field or of an encoding's column raises it.
SCHEMA_VERSION = 1
NAME = "space-model.json"
#: The texts a model may have: nothing outside its folder is read.
_TEXT = re.compile(r"trees\.txt|band-\d+-(low|high)\.txt")
_REMEDY = "fit it again from the measurements"
_Choice = TypeVar("_Choice", bound=str)


def save_space_model(model: SpaceModel, folder: Path, provenance: Mapping[str, Json] | None = None) -> None:
    """Write a fitted model; the JSON is written last, so a broken write is never taken for a model. Then its card.

    A model that was loaded has no held-out predictions and so no card; one that lies beside the same files stays.

    Args:
        provenance: what it was trained on (space, device, date), for people; ``space_card`` says what it may name.

    Raises:
        UsageError: ``fit`` was not called.
        OutputError: the folder cannot be written.
    """
    # Who loads a model needs neither; they bring the whole of the predictor along.
    from ..cards.card_file import write_card
    from .space_card import space_card

    model.report()
    texts = {name: booster.model_to_string() for name, booster in _boosters(model).items()}
    content: dict[str, Json] = {
        **_described(model),
        "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()},
        "provenance": dict(provenance or {}),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text)
    write_atomically(folder / NAME, sealed_text(content))
    card = space_card(model, provenance or {})
    if card is not None:
        write_card(card, folder, (NAME, *texts))


def load_space_model(folder: Path) -> tuple[SpaceModel, dict[str, Json]]:
    """Read a model and its provenance.

    The model predicts as it did; held-out predictions of its training rows are not kept.

    Raises:
        ArtefactError: missing, truncated, changed, or written with a newer schema.
    """
    content = _read_content(folder)
    try:
        model = _model(content, _read_boosters(folder, content))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{folder / NAME} lacks a field or has a wrong one: {error}", remedy=_REMEDY) from error
    provenance = content["provenance"]
    return model, provenance if isinstance(provenance, dict) else {}


def read_provenance(folder: Path) -> dict[str, Json]:
    """What a model was fitted on, without its trees.

    Raises:
        ArtefactError: as ``load_space_model``.
    """
    provenance = _read_content(folder).get("provenance")
    return provenance if isinstance(provenance, dict) else {}


def _read_content(folder: Path) -> dict[str, Json]:
    return read_sealed(folder / NAME, "a space model", FORMAT, range(1, SCHEMA_VERSION + 1), _REMEDY)


def _described(model: SpaceModel) -> dict[str, Json]:
    table, correction = model.table_, model.correction_
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "parameters": {"folds": model.folds, "interval": model.interval, "random_state": model.random_state},
        "columns": list(model.columns_),
        "low": model.low_.tolist(),
        "high": model.high_.tolist(),
        "table": {
            "blocks": list(table.blocks),
            "constant_ms": table.constant_ms,
            "cost_ms": dict(zip(_qualified(model), table.cost_ms.tolist(), strict=True)),
            "floor_ms": table.floor_ms,
        },
        "correction": {
            "expert": correction.expert,
            "blocks": list(correction.blocks),
            "shrinkage": correction.shrinkage,
        },
        "held_out_log_errors": model.scores_.tolist(),
        "bands": [{"alpha": band.alpha, "margin": band.margin} for band in model.bands_],
        "degenerate_seen": model.degenerate_seen_,
        "degenerate_ms": model.degenerate_ms_,
        "degenerate_log_errors": model.degenerate_scores_.tolist(),
        "report": asdict(model.report()),
    }


def _boosters(model: SpaceModel) -> dict[str, lgb.Booster]:
    found = {} if model.correction_.booster is None else {"trees.txt": model.correction_.booster}
    for place, band in enumerate(model.bands_):
        found[f"band-{place}-low.txt"] = band.low
        found[f"band-{place}-high.txt"] = band.high
    return found


def _qualified(model: SpaceModel) -> list[str]:
    """Columns of the table as ``block.column``."""
    return [column for block in model.table_.blocks for column in model.columns_ if column.startswith(f"{block}.")]


def _model(content: Mapping[str, Json], boosters: Mapping[str, lgb.Booster]) -> SpaceModel:
    parameters = _object(content["parameters"])
    model = SpaceModel(
        folds=_int(parameters["folds"]),
        interval=_one_of(parameters["interval"], get_args(IntervalMethod)),
        random_state=_int(parameters["random_state"]),
    )
    model.report_ = _report(_object(content["report"]))
    model.table_ = _table(_object(content["table"]))
    correction = _object(content["correction"])
    model.correction_ = Correction(
        expert=_one_of(correction["expert"], get_args(Expert)),
        blocks=tuple(_strings(correction["blocks"])),
        shrinkage=_float(correction["shrinkage"]),
        booster=boosters.get("trees.txt"),
        held_out_ms=np.zeros(0),
        errors_percent=model.report_.candidates_percent,
    )
    model.columns_ = tuple(_strings(content["columns"]))
    model.low_, model.high_ = _floats(content["low"]), _floats(content["high"])
    model.scores_ = _floats(content["held_out_log_errors"])
    model.degenerate_scores_ = _floats(content["degenerate_log_errors"])
    model.degenerate_seen_ = bool(content["degenerate_seen"])
    model.degenerate_ms_ = None if content["degenerate_ms"] is None else _float(content["degenerate_ms"])
    model.bands_ = tuple(_bands(content["bands"], boosters))
    return model


def _table(table: Mapping[str, Json]) -> Table:
    costs = _object(table["cost_ms"])
    return Table(
        blocks=tuple(_strings(table["blocks"])),
        columns=tuple(name.partition(".")[2] for name in costs),
        constant_ms=_float(table["constant_ms"]),
        cost_ms=_floats(list(costs.values())),
        floor_ms=_float(table["floor_ms"]),
    )


def _bands(bands: Json, boosters: Mapping[str, lgb.Booster]) -> Iterator[Band]:
    for place, entry in enumerate(bands if isinstance(bands, list) else []):
        band = _object(entry)
        low, high = (boosters[f"band-{place}-{side}.txt"] for side in ("low", "high"))
        yield Band(alpha=_float(band["alpha"]), low=low, high=high, margin=_float(band["margin"]))


def _report(report: Mapping[str, Json]) -> SpaceReport:
    return SpaceReport(
        rows=_int(report["rows"]),
        degenerate_rows=_int(report["degenerate_rows"]),
        expert=_one_of(report["expert"], get_args(Expert)),
        table_error_percent=_float(report["table_error_percent"]),
        table_leave_one_out_percent=_float(report["table_leave_one_out_percent"]),
        model_error_percent=_float(report["model_error_percent"]),
        candidates_percent={name: _float(error) for name, error in _object(report["candidates_percent"]).items()},
        scales={name: _float(scale) for name, scale in _object(report["scales"]).items()},
        penalty=_float(report["penalty"]),
        shrinkage=_float(report["shrinkage"]),
        degenerate_ms=None if report["degenerate_ms"] is None else _float(report["degenerate_ms"]),
        intervals=str(report["intervals"]),
    )


def _read_boosters(folder: Path, content: Mapping[str, Json]) -> dict[str, lgb.Booster]:
    found = {}
    for name, digest in _object(content["sha256"]).items():
        if _TEXT.fullmatch(name) is None:
            raise ArtefactError(f"{folder / NAME} names a file {name!r} that no model has", remedy=_REMEDY)
        text = read_text(folder / name, _REMEDY)
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            raise ArtefactError(f"{folder / name} was changed after it was written", remedy=_REMEDY)
        import lightgbm as lgb  # a table alone is priced without it

        found[name] = lgb.Booster(model_str=text)
    return found


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value


def _strings(value: Json) -> list[str]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return [str(item) for item in value]


def _one_of(value: Json, offered: tuple[_Choice, ...]) -> _Choice:
    for name in offered:
        if name == value:
            return name
    raise ValueError(f"{value!r} is none of {', '.join(offered)}")


def _floats(value: Json) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(value, dtype=np.float64)


def _float(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _int(value: Json) -> int:
    return int(_float(value))
