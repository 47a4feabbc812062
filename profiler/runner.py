"""The runner: a separate process that loads ONNX graphs and times them, one JSON line per request and per answer.

It needs the standard library, numpy and the runtime, and keeps to Python 3.6 syntax, so that any interpreter that can
import the runtime can run this file. It decides nothing: which visits count, when to stop and what a number means is
settled by the process that asks (``measure.py``). It may crash, hang or be killed; the asking side records that.

Requests: ``open``, ``load``, ``round``, ``profile``, ``close``. Answers carry ``event``. All times are
integer nanoseconds.
"""

import base64
import functools
import json
import os
import resource
import shutil
import sys
import tempfile
import time

#: ONNX TensorProto.DataType numbers of the types that weights may have.
ONNX_TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
    "bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip
#: Types of outputs that can hold a NaN, and that numpy can look at.
FLOATS = ("tensor(float16)", "tensor(float)", "tensor(double)")
#: A prime number of random values, repeated to fill weights: drawing millions of normals would take longer than
#: measuring.
POOL_SIZE = 65521


def _varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _key(number):
    """The key of a length-delimited protobuf field."""
    return _varint(number << 3 | 2)


def _field(number, payload):
    """A length-delimited protobuf field."""
    return _key(number) + _varint(len(payload)) + payload


def _numbers(shape, dtype, spread, pool, offset):
    """An array of the given type: normal for floats, zeros and ones for everything else."""
    import numpy as np

    size = 1
    for dim in shape:
        size *= dim
    flat = np.resize(np.roll(pool, offset), size) if size else np.zeros(0, np.float32)
    if dtype.startswith("float"):
        return (flat * spread).astype(dtype).reshape(shape)
    return (flat > 0).astype(dtype).reshape(shape)


@functools.lru_cache(maxsize=2)
def _pool(seed):
    import numpy as np

    return np.random.RandomState(seed).standard_normal(POOL_SIZE).astype(np.float32)


def append_weights(skeleton, weights, seed):
    """Append the weights as initialisers to a serialised ModelProto.

    Protobuf merges a message field that occurs twice (Protocol Buffers encoding, "Last One Wins": embedded messages are
    merged), so a second ``graph`` field that holds only initialisers completes the first one, without the onnx package.
    """
    if not weights:
        return skeleton
    pool = _pool(seed)
    parts = []
    for index, weight in enumerate(weights):
        # raw_data is little-endian by definition, and so is every machine that ONNX Runtime is built for.
        raw = _raw_numbers(weight["shape"], weight["dtype"], weight["spread"], pool, index * 7919)
        dims = b"".join(b"\x08" + _varint(dim) for dim in weight["shape"])
        head = dims + b"\x10" + _varint(ONNX_TYPES[weight["dtype"]]) + _field(8, weight["name"].encode())
        head += _key(9) + _varint(len(raw))
        parts.extend([_key(5) + _varint(len(head) + len(raw)) + head, raw])
    return b"".join([skeleton, _key(7), _varint(sum(len(part) for part in parts))] + parts)


def _raw_numbers(shape, dtype, spread, pool, offset):
    """The bytes of a weight. Large ones repeat the pool: copying is what counts, tens of megabytes a network."""
    size = 1
    for dim in shape:
        size *= dim
    block = _numbers([min(size, POOL_SIZE)], dtype, spread, pool, offset)
    length = size * block.itemsize
    raw = block.tobytes()
    return raw if len(raw) == length else (raw * (length // len(raw) + 1))[:length]


def _wall_clock():
    if hasattr(time, "perf_counter_ns"):
        return time.perf_counter_ns
    return lambda: int(time.perf_counter() * 1e9)  # Python 3.6


def _cpu_clock():
    if hasattr(time, "thread_time_ns"):
        return time.thread_time_ns
    return lambda: int(time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) * 1e9)  # Python 3.6


class Refused(Exception):
    """A load that failed in a way that has a name."""

    def __init__(self, outcome, message):
        Exception.__init__(self, message)
        self.outcome = outcome


class OrtSession(object):
    """One graph in ONNX Runtime, with inputs and outputs bound to preallocated buffers."""

    def __init__(self, runtime, model, profile, seed, trace):
        options = runtime.SessionOptions()
        options.intra_op_num_threads = profile["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, profile["graph_level"])
        options.log_severity_level = 4
        for key, value in sorted(profile["options"].items()):
            options.add_session_config_entry(key, value)
        if trace:
            options.enable_profiling = True
            options.profile_file_prefix = trace
        self.session = runtime.InferenceSession(model, options, providers=[profile["provider"]])
        used = self.session.get_providers()[0]
        if used != profile["provider"]:
            raise Refused("provider_fallback", "asked for %s, the runtime took %s" % (profile["provider"], used))
        self.binding = self.session.io_binding()
        self.keep = []
        pool = _pool(seed)
        for place, slot in enumerate(self.session.get_inputs()):
            array = _numbers(_concrete(slot), _numpy_type(slot), 1.0, pool, place * 104729)
            value = runtime.OrtValue.ortvalue_from_numpy(array)
            self.keep.extend([array, value])
            self.binding.bind_ortvalue_input(slot.name, value)
        for slot in self.session.get_outputs():
            self.binding.bind_output(slot.name)

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def run_first(self):
        """Run once into memory of the runtime's own, refuse NaN, and keep that memory for all further runs.

        The shapes that a graph declares for its outputs may be wrong or missing; those that came out are right.
        """
        import numpy as np

        self.run()
        names = [slot.name for slot in self.session.get_outputs()]
        for name, value in zip(names, self.binding.get_outputs()):
            if value.data_type() in FLOATS and bool(np.isnan(value.numpy()).any()):
                raise Refused("invalid_output", "the graph computes NaN from finite inputs")
            if value.is_tensor():
                self.keep.append(value)
                self.binding.bind_ortvalue_output(name, value)


def _concrete(slot):
    shape = [dim if isinstance(dim, int) else -1 for dim in slot.shape]
    if any(dim <= 0 for dim in shape):
        raise Refused("invalid_model", "input %s has the shape %s: not concrete" % (slot.name, slot.shape))
    return shape


def _numpy_type(slot):
    """tensor(float) -> float32"""
    inner = slot.type[len("tensor(") : -1]
    dtype = {"float": "float32", "double": "float64"}.get(inner, inner)
    if dtype not in ONNX_TYPES:
        raise Refused("invalid_model", "input %s is a %s: no numbers can be made up for it" % (slot.name, slot.type))
    return dtype


def _runtime_errors(runtime):
    """The exception classes of ONNX Runtime: they share no base below Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return tuple(found) + (RuntimeError, ValueError)


def name_outcome(error):
    """Name the cause of a runtime's exception from its text: ONNX Runtime gives no finer type."""
    text = str(error)
    if "NOT_IMPLEMENTED" in text or "not a registered function/op" in text or "No Op registered" in text:
        return "unsupported_operator"
    if "bad allocation" in text or "Failed to allocate" in text or "bad_alloc" in text:
        return "out_of_memory"
    return "invalid_model"


def _kernel_times(events, runs):
    """The last ``runs`` times of each kernel, in nanoseconds, in the order in which the kernels first ran.

    The runtime counts whole microseconds and adds its own cost to each kernel: good for shares, not for times.
    """
    found = {}
    order = []
    for event in events:
        name = event.get("name", "")
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        if name not in found:
            order.append(name)
            found[name] = []
        found[name].append(event)
    return [_kernel_record(name, found[name][-runs:]) for name in order]


def _kernel_record(name, events):
    args = events[-1].get("args", {})
    return {
        "name": name[: -len("_kernel_time")],
        "op": args.get("op_name", ""),
        "provider": args.get("provider", ""),
        "inputs": _trace_shapes(args.get("input_type_shape", [])),
        "outputs": _trace_shapes(args.get("output_type_shape", [])),
        "times_ns": [int(event["dur"]) * 1000 for event in events],
    }


def _trace_shapes(entries):
    """[{"float": [1, 3, 8, 8]}, ...] -> [["float", [1, 3, 8, 8]], ...]"""
    return [[kind, shape] for entry in entries for kind, shape in entry.items()]


class Runner(object):
    """Answers one request after another until its input ends."""

    def __init__(self, answer):
        self.answer = answer
        self.sessions = {}
        self.typical_ns = {}
        self.wall = _wall_clock()
        self.cpu = _cpu_clock()

    def open(self, request):
        self.runtime_profile = request["profile"]
        self.rules = request["rules"]
        if request.get("memory_limit_bytes"):
            resource.setrlimit(resource.RLIMIT_AS, (request["memory_limit_bytes"],) * 2)
        cpus = self.runtime_profile.get("cpus") or []
        if cpus and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cpus)
        import numpy as np
        import onnxruntime

        self.runtime = onnxruntime
        self.errors = _runtime_errors(onnxruntime)
        rows = _pool(1)[: 256 * 256 // 2]
        self.canary_left = np.ascontiguousarray(rows[:256].reshape(1, 256))
        self.canary_right = np.resize(rows, (256, 256))
        self.np = np
        self.answer(
            {
                "event": "opened",
                "pid": os.getpid(),
                "runtime_version": onnxruntime.__version__,
                "providers": onnxruntime.get_available_providers(),
                "numpy_version": np.__version__,
                "python_version": "%d.%d.%d" % sys.version_info[:3],
                "cpus": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
            }
        )

    def load(self, request):
        try:
            session = self._session(request)
        except Refused as refusal:
            self._failed(request, refusal.outcome, refusal)
        except MemoryError as error:
            self._failed(request, "out_of_memory", error)
        except self.errors as error:
            self._failed(request, name_outcome(error), error)
        else:
            self.sessions[request["id"]] = session

    def _session(self, request):
        started = self.wall()
        session = self._make_session(request)
        loaded = self.wall()
        session.run_first()
        runs = []
        while len(runs) < self.rules["warmup_runs_max"]:
            if len(runs) >= self.rules["warmup_runs_min"] and sum(runs) >= self.rules["warmup_ns"]:
                break
            begin = self.wall()
            session.run()
            runs.append(self.wall() - begin)
        self.typical_ns[request["id"]] = min(runs)
        self.answer(
            {
                "event": "loaded",
                "id": request["id"],
                "load_ns": loaded - started,
                "warmup_ns": self.wall() - loaded,
                "typical_ns": min(runs),
            }
        )
        return session

    def _make_session(self, request, trace=""):
        if "path" in request:
            model = request["path"]
        else:
            model = append_weights(base64.b64decode(request["model"]), request["weights"], request["seed"])
        return OrtSession(self.runtime, model, self.runtime_profile, request["seed"], trace)

    def _failed(self, request, outcome, error):
        self.answer({"event": "failed", "id": request["id"], "outcome": outcome, "message": str(error)[:2000]})

    def _give_up(self, name, outcome, error):
        del self.sessions[name]
        self._failed({"id": name}, outcome, error)

    def round(self, request):
        """Visit every session of ``order`` once; a canary stands between any two visits."""
        started = self.wall()
        before = self.canary()
        for name in request["order"]:
            self.answer({"event": "begin", "id": name})
            try:
                visit = self.visit(name)
            except MemoryError as error:
                self._give_up(name, "out_of_memory", error)
                continue
            except self.errors as error:
                self._give_up(name, name_outcome(error), error)
                continue
            after = self.canary()
            visit.update(event="visit", id=name, canary_ns=[before, after])
            self.answer(visit)
            before = after
        self.answer({"event": "round_done", "round_ns": self.wall() - started})

    def visit(self, name):
        session, wall, cpu = self.sessions[name], self.wall, self.cpu
        run = session.run
        started = wall()
        for _ in range(self.rules["discards"]):
            begin = wall()
            run()
            typical = wall() - begin
        count = int(self.rules["visit_ns"] / max(1, min(typical, self.typical_ns[name])))
        count = max(self.rules["runs_min"], min(self.rules["runs_max"], count))
        wall_ns, cpu_ns = [0] * count, [0] * count
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        for index in range(count):
            cpu_begin = cpu()
            begin = wall()
            run()
            end = wall()
            cpu_ns[index] = cpu() - cpu_begin
            wall_ns[index] = end - begin
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
        return {"wall_ns": wall_ns, "cpu_ns": cpu_ns, "switches": switches, "visit_ns": wall() - started}

    def profile(self, request):
        """Run a loaded graph under the runtime's own profiler: shares of the time by kernel, in order of execution."""
        try:
            events = self._profiled(request)
        except MemoryError as error:
            self._failed(request, "out_of_memory", error)
        except self.errors as error:
            self._failed(request, name_outcome(error), error)
        else:
            self.answer({"event": "profiled", "id": request["id"], "kernels": events})

    def _profiled(self, request):
        folder = tempfile.mkdtemp(prefix="edgecost-profile-")
        try:
            session = self._make_session(request, os.path.join(folder, "trace"))
            for _ in range(self.rules["warmup_runs_max"] + request["runs"]):
                session.run()
            with open(session.session.end_profiling()) as trace:
                return _kernel_times(json.load(trace), request["runs"])
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def canary(self):
        """Nanoseconds of a fixed 1×256 by 256×256 product: the smallest of a few, as the first find cold caches."""
        best = None
        for _ in range(self.rules["canary_runs"]):
            begin = self.wall()
            self.np.dot(self.canary_left, self.canary_right)
            taken = self.wall() - begin
            best = taken if best is None else min(best, taken)
        return best


def serve(requests, answers):
    """Read requests from one stream, write answers to another, until ``close`` or the end of the input."""

    def answer(record):
        answers.write(json.dumps(record) + "\n")
        answers.flush()

    runner = Runner(answer)
    verbs = {"open": runner.open, "load": runner.load, "round": runner.round}
    verbs["profile"] = runner.profile
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        if request["verb"] == "close":
            break
        verbs[request["verb"]](request)


def _import_early():
    """Import the runtime before the first request, which may come much later; ``open`` reports what went wrong."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return


def _offer_to_oom_killer():
    """When memory runs out the kernel should end this process, not the one that keeps the results."""
    try:
        with open("/proc/self/oom_score_adj", "w") as knob:
            knob.write("1000")
    except OSError:
        return


def main():
    _offer_to_oom_killer()
    # The folder of this script would come first: its statistics.py is not the one that a runtime may want.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != here]
    # Runtimes print to standard output when they feel like it, some on import; the answers get a descriptor of their
    # own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _import_early()
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
