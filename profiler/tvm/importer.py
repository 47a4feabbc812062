"""Read an ONNX file into TVM's Relax, with the result of every ONNX node under a name that says which node made it.

TVM's importer sets neither spans nor names, so it is subclassed: it takes one node at a time, what that node returns is
bound at once, and the variable is renamed to ``onnx_<position>_``. Passes keep the names of variables;
``origin.py`` reads them. Only the TVM compiler process (``compiler.py``) imports this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import onnx
import tvm
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from onnx import checker, helper, shape_inference
from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from .outcomes import Refused, naming_causes

#: Domains whose operators TVM's importer knows; it looks at the name alone and would take a namesake of another one.
_KNOWN_DOMAINS = ("", "ai.onnx", "com.microsoft")


@dataclass(frozen=True)
class Imported:
    """A model in Relax.

    Attributes:
        module: the IRModule, with a function ``main``; weights are constants inside it.
        model: the ONNX model that it came from.
        inputs: name, shape and type of what ``main`` takes, in order.
    """

    module: tvm.IRModule
    model: onnx.ModelProto
    inputs: tuple[tuple[str, tuple[int, ...], str], ...]


def import_model(path: Path) -> Imported:
    """Read, check and import a complete model.

    Raises:
        Refused: ``invalid_model`` where ONNX itself objects, ``dynamic_shape`` where an input has no concrete shape,
            ``unsupported_operator`` where TVM's importer does not know an operator, or not this use of it.
    """
    model = _read(path)
    inputs = _inputs(model.graph)
    foreign = sorted({node.domain for node in model.graph.node} - set(_KNOWN_DOMAINS))
    if foreign:
        raise Refused("unsupported_operator", f"TVM's importer knows no operators of {', '.join(foreign)}")
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    importer = _NodeImporter()
    with naming_causes("import the model"):
        module = _with_names(importer.from_onnx(model.graph, opset), importer.origins)
    return Imported(module, model, inputs)


def _read(path: Path) -> onnx.ModelProto:
    try:
        # By path, so that models of more than 2 GB and with external weights are checked as well.
        checker.check_model(path, full_check=True)
        return onnx.load(path)
    except (checker.ValidationError, shape_inference.InferenceError, DecodeError, OSError, ValueError) as error:
        raise Refused("invalid_model", f"ONNX refuses the model: {error}") from error


def _inputs(graph: onnx.GraphProto) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    constants = {tensor.name for tensor in graph.initializer}
    found = []
    for slot in graph.input:
        if slot.name in constants:
            continue
        kind = slot.type.tensor_type
        dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
        if not kind.HasField("shape") or any(dim < 0 for dim in dims):
            raise Refused("dynamic_shape", f"input {slot.name} has no concrete shape")
        found.append((slot.name, tuple(dims), str(helper.tensor_dtype_to_np_dtype(kind.elem_type))))
    return tuple(found)


class _NodeImporter(ONNXGraphImporter):  # type: ignore[misc]
    """The importer of TVM, stopped after every node to note what it made."""

    def __init__(self) -> None:
        super().__init__({}, "float32")
        self.origins: dict[relax.Var, int] = {}

    def _construct_nodes(self, graph: onnx.GraphProto) -> None:
        inputs = {value for value in self._inputs.values() if isinstance(value, relax.Var)}
        for index, node in enumerate(graph.node):
            super()._construct_nodes(SimpleNamespace(node=[node]))
            for name in node.output:
                made = self._nodes.get(name)
                # A call that stands alone would be bound by the first node that reads it, or by each of them.
                if isinstance(made, relax.Call):
                    made = self._nodes[name] = self.bb.emit(made)
                # What passes a value on, as Identity does, has made nothing.
                if isinstance(made, relax.Var) and made not in inputs:
                    self.origins.setdefault(made, index)


@relax.expr_functor.mutator
class _Renamer(relax.PyExprMutator):  # type: ignore[misc]
    """Gives the variables that hold results of ONNX nodes their names."""

    def __init__(self, module: tvm.IRModule, origins: dict[relax.Var, int]) -> None:
        super().__init__(module)
        self.origins = origins

    def visit_var_def_(self, var: relax.Var) -> relax.Var:
        return self._renamed(var, relax.Var)

    def visit_dataflow_var_def_(self, var: relax.DataflowVar) -> relax.Var:
        return self._renamed(var, relax.DataflowVar)

    def _renamed(self, var: relax.Var, kind: type[relax.Var]) -> relax.Var:
        if var not in self.origins:
            return var
        fresh = kind(f"onnx_{self.origins[var]}_", var.ty)
        self.set_var_remap(var, fresh)
        return fresh


def _with_names(module: tvm.IRModule, origins: dict[relax.Var, int]) -> tvm.IRModule:
    renamer = _Renamer(module, origins)
    renamed = renamer.visit_expr(module["main"]).with_attrs(module["main"].attrs)
    fresh = tvm.IRModule(dict(module.functions.items()))
    fresh[module.get_global_var("main")] = renamed
    return fresh
