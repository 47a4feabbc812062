"""Where the predictor of a device and profile lies unless a folder is named."""

from __future__ import annotations

from pathlib import Path

from ..profiler.records import RuntimeProfile


def predictors_root() -> Path:
    """The folder of all predictors that were not put elsewhere."""
    from platformdirs import user_data_path

    return user_data_path("edgecost") / "predictors"


def default_predictor(device_identity: str, profile: RuntimeProfile, metric: str = "latency") -> Path:
    """The folder, which may not be there."""
    return predictor_folder(device_identity, profile.profile_hash, metric)


def predictor_folder(device_identity: str, profile_hash: str, metric: str = "latency") -> Path:
    """The same for who knows the profile by its hash."""
    name = f"{device_identity[:12]}-{profile_hash[:12]}"
    return predictors_root() / (name if metric == "latency" else f"{name}-{metric}")
