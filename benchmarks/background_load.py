"""Load generators: processes that run ONNX Runtime in bursts, as neighbours on a shared machine do."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Semaphore

from edgecost.profiler.graphs.operators import GraphBuilder
from edgecost.profiler.weights import complete
from edgecost.profiler.workload import workload_from_model

#: Seconds of a burst and of the rest after it, drawn anew each time.
BURST_S = (0.05, 0.5)
#: Importing the runtime takes a second or so; longer means that a generator has died.
START_TIMEOUT_S = 60.0


def _work_in_bursts(model: bytes, seed: int, ready: Semaphore) -> None:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    fed = {slot.name: np.ones(slot.shape, np.float32) for slot in session.get_inputs()}
    drawn = random.Random(seed)
    ready.release()
    while True:
        end = time.monotonic() + drawn.uniform(*BURST_S)
        while time.monotonic() < end:
            session.run(None, fed)
        time.sleep(drawn.uniform(*BURST_S))


@contextmanager
def bursts(count: int) -> Iterator[None]:
    """Run load generators for as long as the context lasts; none when ``count`` is 0. They may use any CPU."""
    graph = GraphBuilder("load")
    output = graph.conv(graph.input((1, 64, 56, 56)), 64, kernel=3, activation="relu")
    workload = workload_from_model("load", "operator", graph.model(output), tuple(graph.weights))
    model = complete(workload.skeleton, workload.weights)
    # A fork would copy a parent that has threads.
    context = multiprocessing.get_context("spawn")
    ready = context.Semaphore(0)
    started = [context.Process(target=_work_in_bursts, args=(model, seed, ready), daemon=True) for seed in range(count)]
    try:
        for process in started:
            process.start()
        if not all(ready.acquire(timeout=START_TIMEOUT_S) for _ in started):
            raise SystemExit("a load generator did not start")
        yield
    finally:
        for process in started:
            if process.is_alive():
                process.terminate()
                process.join()
