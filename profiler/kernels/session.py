"""An ONNX Runtime session that is opened to look at a graph, not to run it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BrokenModel, ModelError, UnsupportedOperator, UsageError
from ..records import RuntimeProfile, Status
from ..runner import name_outcome
from ..variables import without_variables

if TYPE_CHECKING:
    import onnxruntime

#: Options with this prefix are the execution provider's, not the session's (as in ``runner.py``).
_OF_PROVIDER = "provider."
#: Protocol buffers count their bytes in 31 bits.
_SERIALISED_MAX = 2**31 - 1


def open_session(
    model: bytes, profile: RuntimeProfile, *, graph_level: str, target: Path | None = None
) -> onnxruntime.InferenceSession:
    """Load a model with the options of a profile, on one thread; ``target`` receives the optimised graph.

    Raises:
        UnsupportedOperator: the runtime knows no kernel for an operator.
        BrokenModel: the runtime refuses the graph.
        ModelError: the model is larger than what a serialised one may be.
        UsageError: the runtime here lacks the profile's execution provider; another one has other kernels.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if len(model) > _SERIALISED_MAX:
        raise ModelError(
            f"a model of {len(model) / 2**30:.1f} GiB cannot be handed to ONNX Runtime: 2 GiB is the most of one file",
            remedy="price its blocks one by one: edgecost lut build",
        )
    if profile.provider not in onnxruntime.get_available_providers():
        raise UsageError(f"the ONNX Runtime of this interpreter has no {profile.provider}: its kernels are not known")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, graph_level)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    # Nothing is run: weights need not be laid out for it. What is optimised is settled before.
    options.add_session_config_entry("session.disable_prepacking", "1")
    of_provider = {}
    for key, value in without_variables(profile.options).items():
        if key.startswith(_OF_PROVIDER):
            of_provider[key.removeprefix(_OF_PROVIDER)] = value
        else:
            options.add_session_config_entry(key, value)
    if target is not None:
        options.optimized_model_filepath = str(target)
    try:
        return onnxruntime.InferenceSession(
            model, options, providers=[profile.provider], provider_options=[of_provider]
        )
    except (
        state.NotImplemented, state.InvalidGraph, state.Fail, state.InvalidArgument, state.InvalidProtobuf,
        state.RuntimeException,
    ) as error:  # fmt: skip
        if name_outcome(error) == Status.UNSUPPORTED_OPERATOR.value:
            raise UnsupportedOperator(f"{profile.label} has no kernel for this graph: {error}") from error
        raise BrokenModel(f"{profile.label} refuses this graph: {error}", remedy=_remedy(str(error))) from error


def _remedy(refusal: str) -> str:
    """The runtime infers the shapes of all branches, also of one that is made for other inputs and never taken here."""
    if "Op (If)" not in refusal:
        return ""
    return "if a branch is for inputs of other shapes, say that it is not taken: edgecost profile --branch NODE=1"
