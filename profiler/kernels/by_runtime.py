"""The kernels of a workload under any runtime profile: ONNX Runtime's optimiser says, or TVM's compiler; a simulator
runs the graph as it is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import (
    BrokenModel,
    DynamicShape,
    EdgecostError,
    MissingPackage,
    RunnerError,
    UnsupportedOperator,
    UsageError,
)
from ..loading import LoadRefused
from ..records import SIMULATOR, VIRTUAL, Json, RuntimeProfile, Status
from ..tvm.client import COMPILE_TIMEOUT_S, TvmCompiler, compile_request, model_path
from ..workload import Workload
from .graph import Kernel, KernelGraph, kernel_graph
from .written import written_graph

#: They fuse nothing.
_AS_WRITTEN = (SIMULATOR, VIRTUAL)


def runtime_kernels(workload: Workload, profile: RuntimeProfile) -> KernelGraph:
    """The kernels in execution order, each with the nodes it came from. Nothing is run.

    Raises:
        UnsupportedOperator: the runtime knows no kernel for an operator.
        BrokenModel: the runtime refuses the graph.
        UsageError: the runtime is another interpreter's, and optimises as only that one knows; or TVM makes no code for
            the profile's target.
        MissingPackage: TVM is not installed.
    """
    if profile.runtime in _AS_WRITTEN:
        return written_graph(workload)
    if profile.interpreter:
        raise UsageError(
            f"the kernels of {profile.label} are known only to {profile.interpreter}",
            remedy="leave out the runtime's interpreter, or look at the shares of `edgecost profile`",
        )
    return _tvm_kernels(workload, profile) if profile.runtime == "tvm" else kernel_graph(workload, profile)


def priced_kernels(workload: Workload, profile: RuntimeProfile) -> KernelGraph:
    """The kernels that predictors learn and price: as the ONNX Runtime of this interpreter has them, whichever one the
    profile names; or, for a simulator, as they are written. Raises what ``kernel_graph`` raises.
    """
    return written_graph(workload) if profile.runtime in _AS_WRITTEN else kernel_graph(workload, profile)


def _tvm_kernels(workload: Workload, profile: RuntimeProfile) -> KernelGraph:
    compiler = TvmCompiler(profile)
    try:
        with model_path(workload) as path:
            request = {**compile_request(profile), "verb": "kernels", "id": workload.name, "model_path": str(path)}
            answer = compiler.ask(request, COMPILE_TIMEOUT_S)
    except LoadRefused as refusal:
        raise refusal_error(refusal, profile) from refusal
    finally:
        compiler.close()
    kernels, folded = answer["kernels"], answer["folded"]
    if not isinstance(kernels, list) or not isinstance(folded, list):
        raise RunnerError("the TVM compiler sent no kernels")
    return KernelGraph(
        kernels=tuple(kernel_from_tvm(document) for document in kernels if isinstance(document, dict)),
        folded=tuple(node for node in folded if isinstance(node, int)),
    )


def refusal_error(refusal: LoadRefused, profile: RuntimeProfile) -> EdgecostError:
    """The error that names why a workload cannot be made ready."""
    if refusal.status is Status.UNSUPPORTED_OPERATOR:
        return UnsupportedOperator(f"{profile.label} has no kernel for this graph: {refusal.message}")
    if refusal.status is Status.INVALID_MODEL:
        return BrokenModel(f"{profile.label} refuses this graph: {refusal.message}")
    if refusal.status is Status.DYNAMIC_SHAPE:
        return DynamicShape(
            f"{profile.label} needs fixed shapes: {refusal.message}",
            remedy="give each input of the model its shape: --shape NAME=1,3,224,224",
        )
    if refusal.status is Status.INVALID_TARGET:
        return UsageError(f"{profile.label} makes no code for this target: {refusal.message}")
    if refusal.status is Status.MISSING_TOOL:
        cause, _, command = refusal.message.partition(": ")
        return MissingPackage(cause, remedy=f"install it: {command}")
    return RunnerError(f"{profile.label}: {refusal.status.value}: {refusal.message}")


def kernel_from_tvm(document: dict[str, Json]) -> Kernel:
    """A kernel as the TVM compiler describes it."""
    dtype, outputs = _tensors(document["outputs"])
    return Kernel(
        op=f"tvm.{document['op']}",
        inputs=_tensors(document["inputs"])[1],
        weights=_tensors(document["weights"])[1],
        outputs=outputs,
        attributes=tuple(sorted((key, str(value)) for key, value in _dict(document.get("attributes")).items())),
        dtype=dtype,
        nodes=tuple(node for node in _list(document["nodes"]) if isinstance(node, int)),
        name=str(document["name"]),
    )


def _tensors(value: Json) -> tuple[str, tuple[tuple[int, ...], ...]]:
    """``[["float32", [1, 3]], …]`` as the first type and all shapes."""
    pairs = [pair for pair in _list(value) if isinstance(pair, list)]
    shapes = tuple(tuple(dim for dim in _list(shape) if isinstance(dim, int)) for _, shape in pairs)
    return (str(pairs[0][0]) if pairs else "float32"), shapes


def _dict(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else []
