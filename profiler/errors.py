"""The error tree: one class per remedy, each with the exit code that the command line gives for it.

::

    EdgecostError                 1   anything that failed
    ├── UsageError                2   a request that makes no sense
    ├── UnstableMeasurement       3   measured, but the interval stayed too wide
    ├── RunnerError               4   the runner could not be started or spoke nonsense
    │   └── SimulatorError
    ├── GateError                 5   a check that was asked for is not met (``--strict``, an incomplete LUT)
    ├── ModelError                6   the ONNX file cannot be used
    │   ├── BrokenModel
    │   ├── DynamicShape
    │   ├── ExternalDataMissing
    │   ├── UnsafeModel
    │   ├── UnsupportedOperator
    │   └── UnsupportedPrecision
    ├── StoreError                7   the database cannot be used
    │   ├── NotADatabase
    │   ├── StoreUnwritable
    │   ├── StoreBusy
    │   ├── RowRefused
    │   └── SchemaMismatch
    ├── ArtefactError             8   a predictor file, LUT file or export is refused
    ├── MissingPackage            9   an optional package is not installed
    ├── OutputError              10   a file or folder cannot be written
    ├── HubError                 11   the hub cannot be used
    │   ├── HubUnreachable
    │   ├── HubRefused
    │   └── BadDocument
    ├── ClusterError             12   workers that were to compute cannot be used
    │   ├── ClusterUnreachable
    │   ├── ClusterMismatch
    │   └── WorkerLost
    └── MeterError               13   a power meter cannot be used
        └── NoMeter
"""

from __future__ import annotations


class EdgecostError(Exception):
    """Something failed."""

    exit_code = 1

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").splitlines()[0]
        self.remedy = remedy
        super().__init__(f"{self.message}\n{remedy}" if remedy else self.message)


class UsageError(EdgecostError):
    """The request makes no sense."""

    exit_code = 2


class UnstableMeasurement(EdgecostError):
    """The measurement did not settle within its limits."""

    exit_code = 3


class RunnerError(EdgecostError):
    """The runner process could not be started."""

    exit_code = 4


class SimulatorError(RunnerError):
    """The simulator failed, or said something that is no cost."""


class GateError(EdgecostError):
    """A check that was asked for is not met."""

    exit_code = 5


class ModelError(EdgecostError):
    """The ONNX model cannot be used."""

    exit_code = 6


class BrokenModel(ModelError):
    """The file is not a complete ONNX model."""


class DynamicShape(ModelError):
    """The model has inputs without a concrete shape."""


class ExternalDataMissing(ModelError):
    """The model keeps weights in a file that is not there."""


class UnsafeModel(ModelError):
    """The model is not one that a runtime may be handed."""


class UnsupportedOperator(ModelError):
    """The runtime has no kernel for an operator of the model."""


class UnsupportedPrecision(ModelError):
    """The model does not exist in the precision that was asked for."""


class StoreError(EdgecostError):
    """The database cannot be used."""

    exit_code = 7


class NotADatabase(StoreError):
    """The file is not an edgecost database."""


class StoreUnwritable(StoreError):
    """The database cannot be written."""


class StoreBusy(StoreError):
    """Another process holds the database."""


class RowRefused(StoreError):
    """The database does not take this row, however often it is tried."""


class SchemaMismatch(StoreError):
    """The database was written by another version of edgecost."""


class ArtefactError(EdgecostError):
    """A predictor file, LUT file or export is refused."""

    exit_code = 8


class MissingPackage(EdgecostError):
    """An optional package is not installed."""

    exit_code = 9


class OutputError(EdgecostError):
    """A file or folder cannot be written."""

    exit_code = 10


class HubError(EdgecostError):
    """The hub cannot be used."""

    exit_code = 11


class HubUnreachable(HubError):
    """The hub does not answer, or not now.

    ``retry_after_s`` is how long it asks to be left alone; None where it does not say.
    """

    def __init__(self, message: str = "", *, remedy: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class HubRefused(HubError):
    """The hub does not let this agent or person do that.

    ``status`` is HTTP's number for it; 0 where no HTTP was spoken.
    """

    def __init__(self, message: str = "", *, remedy: str = "", status: int = 0) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


class BadDocument(HubError):
    """What was sent is not what the protocol says."""


class ClusterError(EdgecostError):
    """Workers that were to compute cannot be used."""

    exit_code = 12


class ClusterUnreachable(ClusterError):
    """No scheduler answers, or it has no worker."""


class ClusterMismatch(ClusterError):
    """The workers would not compute what this machine does."""


class WorkerLost(ClusterError):
    """A worker died, and its work with it."""


class MeterError(EdgecostError):
    """A power meter is there and may not be read, stopped, or says what cannot be."""

    exit_code = 13


class NoMeter(MeterError):
    """There is nothing here to measure power with."""
