"""NVIDIA's management library through the package ``nvidia-ml-py``, which nobody need install."""

from __future__ import annotations

import importlib


def nvml_library() -> object | None:
    """The module ``pynvml``, where its package is installed."""
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None
