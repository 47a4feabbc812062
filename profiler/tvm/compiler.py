"""The TVM compiler: a process of its own that turns ONNX files into libraries, one JSON line per request and answer.

Start it with ``python -m edgecost.profiler.tvm.compiler``. TVM takes seconds to import and may crash, hang or eat the
memory; the asking side (``client.py``) records that. Nothing is timed here but the stages of compilation.

Requests, and what answers them (a request that fails with a named cause is answered by ``failed``)::

    open       opened      versions, enabled targets, this host's target, why tuning would be refused
    compile    compiled    folder/lib.so and folder/artefact.json, nanoseconds by stage
    kernels    kernels     the kernels of the graph and the folded nodes, without code generation
    tune       progress …, tuned
    close

All times are integer nanoseconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..records import Json
from .outcomes import Refused

if TYPE_CHECKING:
    from .table import KernelTable

#: Version of the artefact document. 1: first.
ARTEFACT_FORMAT = 1
#: Versions of apache-tvm-ffi with which tuning works, by version of TVM. With 0.1.15.post1 and .post2, which pip picks
#: for TVM 0.27, MetaSchedule's space generator ends in a segmentation fault on every target tried; compiling works.
TUNING_VERSIONS = {"0.27.0.post1": ("0.1.14.post1",)}
_TARGET_KINDS = ("llvm", "cuda", "opencl", "vulkan", "metal")

Request = Mapping[str, Json]
Answer = Callable[[Mapping[str, object]], None]


def tuning_refusal(tvm_version: str, ffi_version: str) -> str:
    """Why this pair of versions cannot tune; empty where it can."""
    known = TUNING_VERSIONS.get(tvm_version, ())
    if ffi_version in known:
        return ""
    pin = f"pip install 'apache-tvm-ffi=={known[0]}'" if known else f"pip install 'apache-tvm=={max(TUNING_VERSIONS)}'"
    return f"tuning is not known to work with TVM {tvm_version} and apache-tvm-ffi {ffi_version}: {pin}"


class Compiler:
    """Answers one request after another; every verb is a method."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._tuning = ""

    def open(self, request: Request) -> None:
        """Import TVM and say what is there."""
        started = time.perf_counter_ns()
        import tvm

        from .target import host_target

        imported = time.perf_counter_ns()
        ffi_version = metadata.version("apache-tvm-ffi")
        self._tuning = tuning_refusal(tvm.__version__, ffi_version)
        self._answer(
            {
                "event": "opened",
                "pid": os.getpid(),
                "runtime_version": tvm.__version__,
                "ffi_version": ffi_version,
                "import_ns": imported - started,
                "targets": [kind for kind in _TARGET_KINDS if tvm.runtime.enabled(kind)],
                "host_target": host_target(1),
                "tuning": self._tuning,
            }
        )

    def compile(self, request: Request) -> None:
        """Compile a model into ``folder``."""
        from .build import compile_model

        compile_ns, artefact = compile_model(
            Path(str(request["model_path"])),
            _target(request),
            str(request.get("pipeline") or "default"),
            _database(request),
            Path(str(request["folder"])),
        )
        document = {"format": ARTEFACT_FORMAT, **artefact}
        Path(str(request["folder"]), "artefact.json").write_text(json.dumps(document, indent=1))
        self._answer({"event": "compiled", "id": request["id"], "compile_ns": compile_ns, "artefact": document})

    def kernels(self, request: Request) -> None:
        """The kernels of a model, without generating code for them."""
        from .build import kernel_table

        table = kernel_table(
            Path(str(request["model_path"])),
            _target(request),
            str(request.get("pipeline") or "default"),
            _database(request),
        )
        self._answer({"event": "kernels", "id": request["id"], **table_document(table)})

    def tune(self, request: Request) -> None:
        """Search schedules for the kernels of a model; one ``progress`` per batch of trials."""
        if self._tuning:
            raise Refused("missing_tool", self._tuning)
        from .tuning import TuningOrder, tune_model

        order = TuningOrder(
            model_path=Path(str(request["model_path"])),
            target=_target(request),
            trials=_integer(request, "trials"),
            database=Path(str(request["database"])),
            timeout_s=_number(request, "timeout_s"),
            seed=_integer(request, "seed"),
        )
        result = tune_model(order, lambda report: self._answer({"event": "progress", "id": request["id"], **report}))
        self._answer({"event": "tuned", "id": request["id"], **result})

    def serve(self, verb: str, request: Request) -> None:
        """Answer one request, with ``failed`` where its failure has a name.

        Other exceptions end the process: they are faults of this program, and the asking side shows their text.
        """
        verbs = {"compile": self.compile, "kernels": self.kernels, "tune": self.tune}
        if verb == "open":
            self.open(request)
            return
        try:
            verbs[verb](request)
        except Refused as refusal:
            self._failed(request, refusal.outcome, refusal)
        except MemoryError as error:
            self._failed(request, "out_of_memory", error)

    def _failed(self, request: Request, outcome: str, error: Exception) -> None:
        self._answer({"event": "failed", "id": request.get("id"), "outcome": outcome, "message": str(error)[:2000]})


def table_document(table: KernelTable) -> dict[str, object]:
    """A kernel table as it is written and sent."""
    return {"kernels": [kernel.document() for kernel in table.kernels], "folded": list(table.folded)}


def _target(request: Request) -> dict[str, object]:
    target = request["target"]
    if not isinstance(target, dict):
        raise Refused("invalid_target", "a target is a table with the key kind")
    return dict(target)


def _database(request: Request) -> Path | None:
    return Path(str(request["database"])) if request.get("database") else None


def _integer(request: Request, name: str) -> int:
    return int(_number(request, name))


def _number(request: Request, name: str) -> float:
    value = request[name]
    if not isinstance(value, int | float):
        raise Refused("invalid_request", f"{name} is a number, not {value!r}")
    return float(value)


def serve(requests: TextIO, answers: TextIO) -> None:
    """Read requests from one stream, write answers to another, until ``close`` or the end of the input."""

    def answer(record: Mapping[str, object]) -> None:
        answers.write(json.dumps(record) + "\n")
        answers.flush()

    compiler = Compiler(answer)
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        if request["verb"] == "close":
            break
        compiler.serve(request["verb"], request)


def _offer_to_oom_killer() -> None:
    """When memory runs out the kernel should end this process, not the one that keeps the results."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def main() -> None:
    """Run until the input ends."""
    _offer_to_oom_killer()
    # TVM and the linkers it starts print to standard output when they feel like it: the answers get a descriptor of
    # their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
