"""What a runner is asked to load: a model and the recipe of its weights, or a library that TVM has compiled."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Protocol

from .errors import BrokenModel
from .kernels.domain import positive_inputs
from .records import Json, Status
from .worker import Answer
from .workload import Workload


class LoadRefused(Exception):
    """A workload that cannot be made ready for the runner; ``status`` is the recorded outcome."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Loader(Protocol):
    """Makes workloads ready for the runners of one runtime profile."""

    def request(self, name: str, workload: Workload, seed: int) -> Answer:
        """The ``load`` request for a workload.

        Raises:
            LoadRefused: the runtime cannot take this workload.
        """

    def canary(self) -> Answer | None:
        """A ``load`` request for what the runner times in place of its own canary; None where that tells enough."""

    def close(self) -> None:
        """End whatever process stands behind the loader; safe to call twice."""


class OrtLoader:
    """ONNX Runtime takes the model itself."""

    def request(self, name: str, workload: Workload, seed: int) -> Answer:
        try:
            return load_request(name, workload, seed)
        except BrokenModel as error:
            # Whoever sent it: one bad graph must not end the group that it came in.
            raise LoadRefused(Status.INVALID_MODEL, error.message) from error

    def canary(self) -> Answer | None:
        return None

    def close(self) -> None:
        """Nothing stands behind it."""


def load_request(name: str, workload: Workload, seed: int) -> Answer:
    """What the runner needs to load a workload: the file with its own weights, or the skeleton and its recipe.

    ``positive`` in it names the inputs of a kernel to be fed with positive numbers: what stands before it in its
    network gives it those, and of others it would make NaN.

    Raises:
        BrokenModel: a kernel's skeleton is no model.
    """
    request: Answer = {"verb": "load", "id": name, "seed": seed}
    if workload.path:
        return {**request, "path": workload.path}
    weights: list[Json] = [{**asdict(weight), "shape": list(weight.shape)} for weight in workload.weights]
    if workload.kind == "kernel":
        request["positive"] = list(positive_inputs(workload.skeleton))
    return {**request, "model": base64.b64encode(workload.skeleton).decode(), "weights": weights}
