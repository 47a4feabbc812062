"""edgecost: what a neural network costs on the device in your hand, in milliseconds, millijoules and megabytes.

This is the face of the package. It only points at the rooms behind it and imports them when a name is first used, so
that ``import edgecost`` is cheap and works where nothing but the standard library and click is installed. No module of
the package imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .costmodels.lut import Lut
    from .costmodels.predictor import LatencyPredictor
    from .costmodels.profile_model import profile
    from .db import Store

__version__ = "0.1.0"

__all__ = ["LatencyPredictor", "Lut", "Store", "profile"]

#: Where each public name lives.
_HOMES = {
    "LatencyPredictor": ".costmodels.predictor",
    "Lut": ".costmodels.lut",
    "Store": ".db",
    "profile": ".costmodels.profile_model",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(_HOMES[name], __name__)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package == __name__:
            raise
        message = f"edgecost.{name} needs the package {package}: pip install 'edgecost[host]'"
        raise ImportError(message, name=missing.name) from missing
    value: object = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
