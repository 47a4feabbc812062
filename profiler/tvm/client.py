"""The asking side of the TVM compiler: libraries for the runner, kernels without running, tuning.

The compiler is a process of its own (``compiler.py``): it takes seconds to import, and may crash, hang or eat the
memory like any runtime.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import MissingPackage, RunnerError, UsageError
from ..graphs.operators import GraphBuilder
from ..loading import LoadRefused
from ..records import Json, RuntimeProfile, Status
from ..weights import complete
from ..worker import Answer, RunnerDied, Spawned, Worker
from ..workload import Workload, workload_from_model

#: Importing TVM's compiler takes 2 s on a desktop and 20 s on a busy machine; longer means that it hangs.
START_TIMEOUT_S = 300.0
#: Most graphs compile within seconds; a large network with many distinct kernels takes minutes on two cores.
COMPILE_TIMEOUT_S = 900.0
#: TVM's own name for the file of records in a database's folder.
RECORDS_FILE = "database_tuning_record.json"
#: The script that times a library with TVM's runtime alone; it is copied, never imported.
RUN_SCRIPT = Path(__file__).with_name("run_library.py")
#: Parts of a TVM target, as they stand in a profile's options.
_TARGET_TEXTS = ("mtriple", "mcpu")

Progress = Callable[[Mapping[str, Json]], None]


class TvmCompiler:
    """One compiler process, started when it is first asked and again when it has died."""

    def __init__(self, profile: RuntimeProfile) -> None:
        self._profile = profile
        self._worker: Worker | None = None
        self._opened: Answer = {}

    def close(self) -> None:
        """End the process; safe to call twice."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def opened(self) -> Mapping[str, Json]:
        """What the compiler said of itself when it was opened: versions, and why it would not tune.

        Raises:
            MissingPackage: TVM is not installed beside edgecost.
            RunnerError: it cannot be opened, or is of another version than the profile.
        """
        self._open()
        return self._opened

    def ask(self, request: Mapping[str, Json], timeout_s: float, progress: Progress | None = None) -> Answer:
        """The answer to one request; ``progress`` is called with the lines that come before it.

        Raises:
            LoadRefused: TVM cannot take the model, or the compiler died of it.
            MissingPackage, RunnerError: as ``opened``.
        """
        worker = self._open()
        try:
            worker.send(request)
            answer = worker.receive(timeout_s)
            while answer["event"] == "progress":
                if progress is not None:
                    progress(answer)
                answer = worker.receive(timeout_s)
        except RunnerDied as died:
            self.close()
            raise LoadRefused(died.status, f"while TVM compiled it: {died.message}") from died
        if answer["event"] == "failed":
            raise _refusal(answer)
        return answer

    def _open(self) -> Worker:
        if self._worker is not None:
            return self._worker
        command = [sys.executable, "-m", f"{__package__}.compiler"]
        worker = Worker(Spawned.start(command, {}), name="TVM compiler")
        try:
            worker.send({"verb": "open"})
            answer = worker.receive(START_TIMEOUT_S)
        except RunnerDied as died:
            worker.close()
            if "ModuleNotFoundError" in died.message:
                raise MissingPackage("TVM is not installed", remedy="pip install 'edgecost[tvm]'") from died
            raise RunnerError(f"the TVM compiler could not be opened: {died.message}") from died
        if answer.get("runtime_version") != self._profile.version:
            worker.close()
            raise RunnerError(
                f"the profile says TVM {self._profile.version}, the compiler is {answer.get('runtime_version')}",
                remedy="a library runs only with the TVM that compiled it: install that version beside edgecost",
            )
        self._worker, self._opened = worker, answer
        return worker


def _refusal(answer: Answer) -> LoadRefused | RunnerError:
    try:
        return LoadRefused(Status(answer["outcome"]), str(answer["message"]))
    except ValueError:
        return RunnerError(f"the TVM compiler refused what it was asked: {answer['message']}")


class TvmLoader:
    """Compiles each workload once; the libraries live as long as the loader."""

    def __init__(self, profile: RuntimeProfile) -> None:
        self._profile = profile
        self._compiler = TvmCompiler(profile)
        self._folder = tempfile.TemporaryDirectory(prefix="edgecost-tvm-")
        self._compiled: dict[str, Answer] = {}

    def request(self, name: str, workload: Workload, seed: int) -> Answer:
        key = hashlib.sha256(f"{workload.graph_hash} {seed}".encode()).hexdigest()
        if key not in self._compiled:
            self._compiled[key] = self.compile(workload, Path(self._folder.name, key), seed)
        return {**self._compiled[key], "verb": "load", "id": name, "seed": seed}

    def canary(self) -> Answer | None:
        """Over RPC a fixed product on the board itself: this machine's canary would say nothing of it."""
        if not is_remote(self._profile):
            return None
        return self.request("canary", _fixed_product(), 1)

    def compile(self, workload: Workload, folder: Path, seed: int = 0) -> Answer:
        """Compile a workload into ``folder`` and say what a runner needs to load it.

        Raises:
            LoadRefused: TVM cannot take it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with model_path(workload, seed) as path:
            answer = self._compiler.ask(
                {**compile_request(self._profile), "id": workload.name, "model_path": str(path), "folder": str(folder)},
                COMPILE_TIMEOUT_S,
            )
        artefact, stages = answer["artefact"], answer["compile_ns"]
        assert isinstance(artefact, dict)
        assert isinstance(stages, dict)
        return {
            "library": str(folder / "lib.so"),
            "inputs": artefact["inputs"],
            "compile_ms": {stage: ns / 1e6 for stage, ns in stages.items() if isinstance(ns, int)},
        }

    def close(self) -> None:
        self._compiler.close()
        self._folder.cleanup()


def is_remote(profile: RuntimeProfile) -> bool:
    """Whether the profile measures on a board behind a TVM RPC tracker."""
    return "rpc_tracker" in dict(profile.options)


def _fixed_product() -> Workload:
    graph = GraphBuilder("canary")
    made = graph.linear(graph.input((1, 256)), 256)
    return workload_from_model("canary", "operator", graph.model(made), tuple(graph.weights))


def target_of(profile: RuntimeProfile) -> dict[str, Json]:
    """The TVM target that a profile's options spell out.

    Raises:
        UsageError: it names no CPU.
    """
    options = dict(profile.options)
    if "mcpu" not in options:
        raise UsageError("a TVM profile names the CPU that it compiles for: option mcpu")
    target: dict[str, Json] = {"kind": profile.provider, "num-cores": profile.threads}
    target.update({name: options[name] for name in _TARGET_TEXTS if name in options})
    if "mattr" in options:
        target["mattr"] = list(options["mattr"].split(","))
    return target


def tuning_database(profile: RuntimeProfile) -> Path:
    """Where the tuning records for a profile's target lie: one folder per TVM version and target, for all graphs."""
    from platformdirs import user_data_path

    text = json.dumps([profile.version, target_of(profile)], sort_keys=True)
    return user_data_path("edgecost") / "tvm-tuning" / hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TuningState:
    """The tuning records of a target: how many trials they hold, and a digest that changes with them."""

    trials: int
    digest: str


def tuning_state(profile: RuntimeProfile) -> TuningState | None:
    """The records for a profile's target as they are now; None when there are none."""
    try:
        content = (tuning_database(profile) / RECORDS_FILE).read_bytes()
    except OSError:
        return None
    lines = content.count(b"\n")
    return TuningState(lines, hashlib.sha256(content).hexdigest()[:12]) if lines else None


def compile_request(profile: RuntimeProfile) -> dict[str, Json]:
    """The part of a ``compile`` or ``kernels`` request that the profile decides."""
    tuned = profile.graph_level == "tuned"
    return {
        "verb": "compile",
        "target": target_of(profile),
        "pipeline": profile.graph_level,
        "database": str(tuning_database(profile)) if tuned else "",
    }


@contextmanager
def model_path(workload: Workload, seed: int = 0) -> Iterator[Path]:
    """A file with the complete model: the workload's own, or one written for as long as the context lasts."""
    if workload.path:
        yield Path(workload.path)
        return
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(complete(workload.skeleton, workload.weights, seed))
        yield path
