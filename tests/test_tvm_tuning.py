"""Tuning with MetaSchedule: records that survive, are used and are not made twice."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecost.profiler.worker import Answer, Spawned, Worker

if importlib.util.find_spec("tvm") is None or importlib.util.find_spec("xgboost") is None:
    pytest.skip("TVM cannot tune here: pip install 'edgecost[tvm]'", allow_module_level=True)

COMMAND = [sys.executable, "-m", "edgecost.profiler.tvm.compiler"]
TIMEOUT_S = 300.0


class Tuner:
    """A compiler process that tunes one small graph, two products with a fused sum, into one database."""

    def __init__(self, worker: Worker, folder: Path) -> None:
        self.worker = worker
        worker.send({"verb": "open"})
        opened = worker.receive(TIMEOUT_S)
        if opened["tuning"]:
            pytest.skip(str(opened["tuning"]))
        self.folder = folder
        self.database = folder / "database"
        self.common = {"id": "it", "model_path": str(folder / "model.onnx"), "target": opened["host_target"]}
        self.common["database"] = str(self.database)
        (folder / "model.onnx").write_bytes(two_products())

    def start(self, trials: int, **changes) -> None:
        self.worker.send(self.common | {"verb": "tune", "trials": trials, "timeout_s": 200.0, "seed": 0} | changes)

    def finish(self) -> tuple[Answer, list[Answer]]:
        """The last answer, and the progress before it."""
        progress = []
        while (answer := self.worker.receive(TIMEOUT_S))["event"] == "progress":
            progress.append(answer)
        return answer, progress

    def tune(self, trials: int, **changes) -> tuple[Answer, list[Answer]]:
        self.start(trials, **changes)
        return self.finish()

    def records(self) -> list[bytes]:
        return (self.database / "database_tuning_record.json").read_bytes().splitlines(keepends=True)

    def compile_tuned(self) -> Answer:
        self.worker.send(self.common | {"verb": "compile", "pipeline": "tuned", "folder": str(self.folder)})
        return self.worker.receive(TIMEOUT_S)


def two_products() -> bytes:
    rng = np.random.default_rng(0)
    weights = {"a": (16, 24), "b": (24,), "c": (24, 8)}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["p"]),
            helper.make_node("Add", ["p", "b"], ["q"]),
            helper.make_node("MatMul", ["q", "c"], ["y"]),
        ],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])],
        [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_what_was_tuned_is_used_and_not_tuned_again(tmp_path: Path) -> None:
    with Worker(Spawned.start(COMMAND, {})) as worker:
        tuner = Tuner(worker, tmp_path)
        answer, progress = tuner.tune(4)
        assert [line["trials_done"] for line in progress] == [1, 2, 3, 4]
        assert [(task["trials"], task["best_ns"] > 0) for task in answer["tasks"]] == [(2, True), (2, True)]
        assert (answer["reused"], len(tuner.records())) == (0, 4)
        # A line that a power cut tore costs itself only.
        torn = tuner.database / "database_tuning_record.json"
        torn.write_bytes(torn.read_bytes() + tuner.records()[0][:50])
        again, progress = tuner.tune(4)
        assert (again["reused"], progress, again["tasks"]) == (2, [], answer["tasks"])
        artefact = tuner.compile_tuned()["artefact"]
        assert (artefact["tuned_kernels"], len(artefact["kernels"])) == (2, 2)
        more, progress = tuner.tune(6)
        assert [task["trials"] for task in more["tasks"]] == [3, 3]
        assert (more["reused"], len(progress)) == (0, 2)


def test_a_killed_tuning_keeps_every_trial_it_reported(tmp_path: Path) -> None:
    with Worker(Spawned.start(COMMAND, {})) as worker:
        tuner = Tuner(worker, tmp_path)
        tuner.start(64)
        reported = [worker.receive(TIMEOUT_S) for _ in range(3)]
        assert [line["event"] for line in reported] == ["progress"] * 3
    # Leaving the context has killed it with SIGKILL.
    kept = [json.loads(line) for line in tuner.records() if line.endswith(b"\n")]
    assert len(kept) >= 3
    with Worker(Spawned.start(COMMAND, {})) as worker:
        answer, progress = Tuner(worker, tmp_path).tune(64, timeout_s=0.0)
    assert progress == []
    assert sum(task["trials"] for task in answer["tasks"]) == len(kept)


def test_a_target_that_cannot_run_here_is_not_tuned(tmp_path: Path) -> None:
    with Worker(Spawned.start(COMMAND, {})) as worker:
        board = {"kind": "llvm", "mtriple": "riscv64-linux-gnu", "num-cores": 1}
        answer, _ = Tuner(worker, tmp_path).tune(4, target=board)
    assert (answer["event"], answer["outcome"]) == ("failed", "invalid_target")
