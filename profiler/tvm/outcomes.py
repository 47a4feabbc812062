"""Name the cause of what TVM raises: its importer and passes have no common base class and few types of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: What TVM 0.27 raises for models it cannot take. Its C++ side maps onto Python's own classes (``ValueError``,
#: ``TypeError``, ``RuntimeError`` with ``tvm.error.InternalError`` below it, ...); the converters of its importer,
#: plain Python, fail with any of these on a use of an operator that nobody thought of.
TVM_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError)


class Refused(Exception):
    """A request that failed in a way that has a name."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


@contextmanager
def naming_causes(stage: str) -> Iterator[None]:
    """Turn what TVM raises inside into ``Refused``. Only TVM's own calls belong inside: a fault of ours is no outcome.

    TVM tells hardly more than that it failed: a model that ONNX's own checker has passed, and TVM does not take, is one
    that TVM does not support.
    """
    try:
        yield
    except TVM_ERRORS as error:
        text = str(error)
        out_of_memory = "bad_alloc" in text or "Cannot allocate memory" in text
        outcome = "out_of_memory" if out_of_memory else "unsupported_operator"
        raise Refused(outcome, f"TVM fails to {stage}: {type(error).__name__}: {text}") from error
