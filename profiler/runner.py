"""The runner: a separate process that loads ONNX graphs and times them, one JSON line per request and per answer.

It needs the standard library, numpy and the runtime, and keeps to Python 3.6 syntax, so that any interpreter that can
import the runtime can run this file. It decides nothing: which visits count, when to stop and what a number means is
settled by the process that asks (``measure.py``). It may crash, hang or be killed; the asking side records that.

Requests: ``open``, ``load``, ``unload``, ``round``, ``profile``, ``copies``, ``memory``, ``close``. Answers carry
``event``. All times are integer nanoseconds. ``--describe`` in place of requests prints which runtimes this interpreter
has, with a name after it what became of importing that one.
"""

import base64
import contextlib
import functools
import gc
import importlib
import json
import os
import resource
import shutil
import socket
import sys
import tempfile
import time

#: ONNX TensorProto.DataType numbers of the types that weights may have.
ONNX_TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
    "bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip
#: Runtimes align what they allocate to a cache line. numpy aligns to 16 bytes; where a vector of 64 then lies across
#: two lines a kernel takes up to a quarter longer: in some processes, by where the array happened to fall.
ALIGNMENT = 64
#: Providers whose inputs and outputs stay in the GPU's memory; copies are measured apart.
ON_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
#: Types of outputs that can hold a NaN, and that numpy can look at.
FLOATS = ("tensor(float16)", "tensor(float)", "tensor(double)")
#: A tracker that listens answers at once.
RPC_CONNECT_S = 5.0
#: A tracker says nothing while no board is free. Three waits of this length outlast the visit of another user; the
#: asking side allows two minutes for all of it.
RPC_REQUEST_S = 8.0
RPC_REQUESTS = 3
#: A board whose user vanished without a word is free again after this. Longer than any group is measured: 10 minutes
#: under the protocol's ``careful``, with the time to load it before that.
RPC_SESSION_S = 3600
#: A server answers when the runs that it was asked for are over; none takes longer in a visit.
RPC_LEAVE_S = 120.0
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


def _numbers(shape, dtype, spread, pool, offset, fed=False, positive=False):
    """An array of the given type: normal for floats, zeros and ones for everything else.

    Weights of 8 bits are the exception: they are quantised numbers over the whole range of their type, since the power
    that a multiplier draws depends on its bits. What is fed to an input may be used as an index and stays small.

    ``positive`` asks for the absolute values of floats, and for ones instead of zeros.
    """
    import numpy as np

    size = 1
    for dim in shape:
        size *= dim
    flat = np.resize(np.roll(pool, offset), size) if size else np.zeros(0, np.float32)
    if positive:
        flat = np.abs(flat)
    if dtype.startswith("float"):
        return (flat * np.float32(spread)).astype(dtype, copy=False).reshape(shape)
    if dtype in ("int8", "uint8") and not fed:
        # The lowest byte of a normal number's mantissa is uniform.
        return flat.view(np.uint32).astype(np.uint8).view(dtype).reshape(shape)
    return (flat > 0).astype(dtype).reshape(shape)


def _aligned(array):
    """A copy that begins at a cache line."""
    import numpy as np

    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


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
        length = sum(len(piece) for piece in raw)
        dims = b"".join(b"\x08" + _varint(dim) for dim in weight["shape"])
        head = dims + b"\x10" + _varint(ONNX_TYPES[weight["dtype"]]) + _field(8, weight["name"].encode())
        head += _key(9) + _varint(length)
        parts.extend([_key(5) + _varint(len(head) + length) + head] + raw)
    return b"".join([skeleton, _key(7), _varint(sum(len(part) for part in parts))] + parts)


def _completed(request):
    """The model of a request with its weights."""
    return append_weights(base64.b64decode(request["model"]), request["weights"], request["seed"])


def _write_apart(request, path):
    """Write a model to a file from a process of its own, so that making it leaves no trace in this one's memory."""
    child = os.fork()
    if not child:
        code = 1
        try:
            with open(path, "wb") as target:
                target.write(_completed(request))
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise Refused("crashed", "the model could not be written to %s: is there space left?" % path)


def _raw_numbers(shape, dtype, spread, pool, offset):
    """The bytes of a weight in pieces. Large ones repeat the pool: copying is what counts, tens of megabytes a network.

    The pieces are one object over and over, which is copied once, into the model.
    """
    size = 1
    for dim in shape:
        size *= dim
    block = _numbers([min(size, POOL_SIZE)], dtype, spread, pool, offset)
    raw = block.tobytes()
    if size <= POOL_SIZE:
        return [raw]
    whole, rest = divmod(size * block.itemsize, len(raw))
    return [raw] * whole + [raw[:rest]]


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


class BoardLost(SystemExit):
    """The board behind TVM's tracker cannot be had, or is gone: the last words of a runner that has nothing to run on.

    No workload is at fault. The asking side starts another runner, which asks the tracker for another board.
    """


class Runtime(object):
    """What the runner asks of a runtime: its version, what it raises, sessions, and times by kernel."""

    def __init__(self, version, providers, errors):
        self.version = version
        self.providers = providers
        self.errors = errors
        #: A session to time in place of the runner's own canary, where the work is done elsewhere.
        self.canary = None

    def opened(self, request, trace=""):
        """A session that has no inputs yet."""
        raise NotImplementedError

    def session(self, request, trace=""):
        session = self.opened(request, trace)
        session.feed()
        return session

    def kernel_times(self, request, warmups):
        raise NotImplementedError

    def outcome(self, error):
        """The name of what an exception of this runtime's means for the graph."""
        return name_outcome(error)


class OrtRuntime(Runtime):
    """ONNX Runtime as this interpreter has it."""

    def __init__(self, profile):
        import onnxruntime

        Runtime.__init__(
            self, onnxruntime.__version__, onnxruntime.get_available_providers(), _runtime_errors(onnxruntime)
        )
        self.module = onnxruntime
        self.profile = profile

    def opened(self, request, trace=""):
        return OrtSession(self.module, request.get("path") or _completed(request), self.profile, request, trace)

    def kernel_times(self, request, warmups):
        """Times of each kernel under the runtime's own profiler, in the order in which the kernels first ran."""
        folder = tempfile.mkdtemp(prefix="edgecost-profile-")
        try:
            session = self.session(request, os.path.join(folder, "trace"))
            for _ in range(warmups + request["runs"]):
                session.run()
            with open(session.session.end_profiling()) as trace:
                return _kernel_times(json.load(trace), request["runs"])
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class OrtSession(object):
    """One graph in ONNX Runtime, with inputs and outputs bound to preallocated buffers."""

    def __init__(self, runtime, model, profile, request, trace):
        self.runtime = runtime
        self.request = request
        options = runtime.SessionOptions()
        options.intra_op_num_threads = profile["threads"]
        options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, profile["graph_level"])
        options.log_severity_level = 4
        of_provider = {}
        for key, value in sorted(profile["options"].items()):
            if key.startswith("provider."):
                of_provider[key[len("provider.") :]] = value
            else:
                options.add_session_config_entry(key, value)
        if trace:
            options.enable_profiling = True
            options.profile_file_prefix = trace
        self.session = runtime.InferenceSession(
            model, options, providers=[profile["provider"]], provider_options=[of_provider]
        )
        used = self.session.get_providers()[0]
        if used != profile["provider"]:
            raise Refused("provider_fallback", "asked for %s, the runtime took %s" % (profile["provider"], used))
        self.memory = "cuda" if used in ON_GPU else "cpu"
        self.binding = self.session.io_binding()
        self.fed = []
        self.keep = []

    def feed(self):
        """Bind inputs of made-up numbers, and outputs into memory of the runtime's own."""
        pool, positive = _pool(self.request["seed"]), self.request.get("positive", ())
        for index, slot in enumerate(self.session.get_inputs()):
            numbers = _numbers(
                _concrete(slot), _numpy_type(slot), 1.0, pool, index * 104729, fed=True, positive=slot.name in positive
            )
            # The value stands on the array's memory.
            array = _aligned(numbers)
            value = self.runtime.OrtValue.ortvalue_from_numpy(array, self.memory, 0)
            self.fed.append((value, array))
            self.binding.bind_ortvalue_input(slot.name, value)
        for slot in self.session.get_outputs():
            self.binding.bind_output(slot.name, self.memory)

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def timed(self, count, wall, cpu):
        """Wall and thread-CPU time of each of ``count`` runs."""
        run = self.run
        wall_ns, cpu_ns = [0] * count, [0] * count
        for index in range(count):
            cpu_begin = cpu()
            begin = wall()
            run()
            end = wall()
            cpu_ns[index] = cpu() - cpu_begin
            wall_ns[index] = end - begin
        return wall_ns, cpu_ns

    def fresh(self):
        """The memory of each input, and numbers of one's own to copy into it."""
        return [(value, array.copy()) for value, array in self.fed]

    def copy_in(self, fresh):
        """Copy fresh numbers into the memory that the inputs are bound to."""
        for value, array in fresh:
            value.update_inplace(array)

    def copy_out(self):
        """Copy the outputs into arrays of one's own."""
        import numpy as np

        return [np.array(value.numpy()) for value in self.binding.get_outputs() if value.is_tensor()]

    def run_first(self):
        """Run once into memory of the runtime's own, refuse NaN, and keep that memory for all further runs."""
        import numpy as np

        self.run()
        for value in self.keep_outputs():
            if value.data_type() in FLOATS and bool(np.isnan(value.numpy()).any()):
                raise Refused("invalid_output", "the graph computes NaN from finite inputs")

    def keep_outputs(self):
        """Let all further runs write where the last one did; its outputs.

        The shapes that a graph declares for its outputs may be wrong or missing; those that came out are right.
        """
        outputs = self.binding.get_outputs()
        for slot, value in zip(self.session.get_outputs(), outputs):
            if value.is_tensor():
                self.keep.append(value)
                self.binding.bind_ortvalue_output(slot.name, value)
        return outputs


class TvmRuntime(Runtime):
    """TVM's virtual machine: libraries that were compiled elsewhere, on this machine or on a board over RPC."""

    def __init__(self, profile):
        # Without its compiler TVM takes a third of the time to import, and a third of the memory.
        os.environ.setdefault("TVM_USE_RUNTIME_LIB", "1")
        import tvm
        from tvm.runtime.vm import VirtualMachine

        errors = (RuntimeError, ValueError, TypeError, KeyError, AttributeError)
        Runtime.__init__(self, tvm.__version__, ["llvm"], errors)
        self.module = tvm
        self.machine = VirtualMachine
        self.remote = self._connect(profile["options"])
        if self.remote is not None:
            # 1 is its word for the fast cores. A server takes all cores, whatever the library was made for.
            self.remote.get_function("runtime.config_threadpool")(1, profile["threads"])
        self.device = tvm.cpu(0) if self.remote is None else self.remote.cpu(0)

    def _connect(self, options):
        if "rpc_tracker" not in options:
            return None
        from tvm import rpc

        address, key = options["rpc_tracker"], options["rpc_key"]
        host, _, port = address.rpartition(":")
        try:
            # TVM itself would try for a minute.
            socket.create_connection((host, int(port)), RPC_CONNECT_S).close()
        except OSError as error:
            raise BoardLost("no TVM tracker answers at %s: %s" % (address, error)) from error
        # TVM waits for the tracker for ever, and offers no other way to say how long.
        socket.setdefaulttimeout(RPC_REQUEST_S)
        try:
            tracker = rpc.connect_tracker(host, int(port))
            known = sorted(one["key"][len("server:") :] for one in tracker.summary()["server_info"])
            if key not in known:
                raise BoardLost("the tracker at %s knows no board %r, but %s" % (address, key, known or "none at all"))
            before = set(_open_files().values())
            board = tracker.request(key, session_timeout=RPC_SESSION_S, max_retry=RPC_REQUESTS)
            tracker.close()
            opened = {number: name for number, name in _open_files().items() if name not in before}
            _see_out([number for number, name in opened.items() if name.startswith("socket:")])
            return board
        except self.errors + (OSError,) as error:
            raise BoardLost("the tracker at %s gave no board %r: %s" % (address, key, error)) from error
        finally:
            socket.setdefaulttimeout(None)

    def outcome(self, error):
        """As for any runtime, where the board still answers.

        Raises:
            BoardLost: it does not, and the error says nothing of the graph.
        """
        if self.remote is not None:
            try:
                self.remote.get_function("tvm.rpc.server.upload")
            except self.errors:
                raise BoardLost("the board behind RPC is gone: %s" % error) from error
        return name_outcome(error)

    def load(self, path):
        if self.remote is None:
            return self.module.runtime.load_module(path)
        # All libraries have one name; under it, the board would find the one that it loaded first.
        name = "%s-%s" % (os.path.basename(os.path.dirname(path)), os.path.basename(path))
        self.remote.upload(path, name)
        return self.remote.load_module(name)

    def opened(self, request, trace=""):
        return TvmSession(self, request)

    def kernel_times(self, request, warmups):
        """Times of each call that the virtual machine makes, in its order; its own book-keeping calls are left out."""
        session = self.session(request)
        for _ in range(warmups):
            session.run()
        traces = [session.trace() for _ in range(request["runs"])]
        return [
            {"name": name, "op": name, "provider": "", "inputs": [], "outputs": [],
             "times_ns": [trace[place][1] for trace in traces]}
            for place, (name, _) in enumerate(traces[0])
        ]  # fmt: skip


def _open_files():
    """What each descriptor of this process is open on; nothing where the system has no list of them."""
    found = {}
    with contextlib.suppress(OSError):
        for number in os.listdir("/proc/self/fd"):
            # The list itself was open while it was read.
            with contextlib.suppress(OSError):
                found[int(number)] = os.readlink("/proc/self/fd/" + number)
    return found


def _see_out(sockets):
    """Leave a process that takes leave of the board behind RPC when this process is gone, however it ended.

    Killing a process resets its connection if an answer is still on its way, and a TVM server whose connection is reset
    stops to listen for good: nobody could use the board until somebody starts its server again.
    """
    ended, _alive = os.pipe()
    if not sockets or os.fork():
        # What is left open here closes with this process, and the other one hears it.
        os.close(ended)
        return
    try:
        os.setsid()
        # Also the ends of the pipes on which the asking side waits for the end of this process.
        for number in set(_open_files()) - set(sockets) - {ended}:
            os.close(number)
        os.read(ended, 1)
        for number in sockets:
            _take_leave(socket.socket(fileno=number))
    finally:
        os._exit(0)


def _take_leave(connection):
    """Say that nothing more will come, and hear out what is still coming."""
    connection.settimeout(RPC_LEAVE_S)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(1 << 16):
        pass


class TvmSession(object):
    """One compiled graph in TVM's virtual machine; runs are timed on the side of the device, without Python."""

    def __init__(self, runtime, request):
        self.runtime = runtime
        self.request = request
        self.machine = runtime.machine(runtime.load(request["library"]), runtime.device)
        self.evaluators = {}

    def feed(self):
        """Make inputs of made-up numbers the arguments of every call."""
        runtime, pool = self.runtime, _pool(self.request["seed"])
        arrays = [
            _numbers(slot["shape"], slot["dtype"], 1.0, pool, place * 104729, fed=True)
            for place, slot in enumerate(self.request["inputs"])
        ]
        arguments = [runtime.module.runtime.tensor(array, runtime.device) for array in arrays]
        self.fed = list(zip(arguments, arrays))
        # Saved with its arguments, a call looks up nothing by name.
        self.machine.save_function("main", "edgecost_main", *arguments, include_return=False)
        self.machine.set_input("main", *arguments)
        self.run = self.machine["edgecost_main"]

    def timed(self, count, wall, cpu):
        """Wall time of each of ``count`` runs, and one CPU time for all of them (None over RPC)."""
        if count not in self.evaluators:
            self.evaluators[count] = self.machine.time_evaluator(
                "edgecost_main", self.runtime.device, number=1, repeat=count
            )
        cpu_begin, begin = cpu(), wall()
        results = self.evaluators[count]().results
        outer, cpu_ns = wall() - begin, cpu() - cpu_begin
        wall_ns = [int(seconds * 1e9) for seconds in results]
        if self.runtime.remote is not None:
            return wall_ns, []
        # The evaluator's own first run and book-keeping are in both clocks; what they differ by was spent off the CPU.
        return wall_ns, [max(0, cpu_ns - (outer - sum(wall_ns)))]

    def run_first(self):
        """Run once and refuse NaN."""
        import numpy as np

        self.machine.invoke_stateful("main")
        for array in self.copy_out():
            if array.dtype.kind == "f" and bool(np.isnan(array).any()):
                raise Refused("invalid_output", "the graph computes NaN from finite inputs")

    def keep_outputs(self):
        """Its outputs are its own from the start."""

    def fresh(self):
        """The memory of each input, and numbers to copy into it."""
        return self.fed

    def copy_in(self, fresh):
        """Copy fresh numbers into the memory of the inputs."""
        for value, array in fresh:
            value.copyfrom(array)

    def copy_out(self):
        """Copy the outputs of the last stateful run into arrays of one's own."""
        found = self.machine.get_outputs("main")
        return [output.numpy() for output in (found if isinstance(found, (list, tuple)) else [found])]

    def trace(self):
        """Names and nanoseconds of the calls of one run."""
        calls, wall, open_calls = [], _wall_clock(), []

        def watch(_function, name, before, _value, *_arguments):
            if before:
                open_calls.append(wall())
            else:
                taken = wall() - open_calls.pop()
                if not name.startswith("vm.builtin."):
                    calls.append((name, taken))
            return 0

        self.machine.set_instrument(watch)
        self.machine.invoke_stateful("main")
        return calls


#: By the name that a profile gives.
RUNTIMES = {"onnxruntime": OrtRuntime, "tvm": TvmRuntime}


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
    if "fallback to CPU EP has been explicitly disabled" in text:
        return "provider_fallback"
    if "NOT_IMPLEMENTED" in text or "not a registered function/op" in text or "No Op registered" in text:
        return "unsupported_operator"
    if "bad allocation" in text or "Failed to allocate" in text or "bad_alloc" in text:
        return "out_of_memory"
    return "invalid_model"


def _kernel_times(events, runs):
    """The last ``runs`` times of each kernel, in nanoseconds, in the order in which the kernels first ran.

    The runtime counts whole microseconds and adds its own cost to each kernel: good for shares, not for times. Kernels
    of one name are told apart by their order within a run; of what runs inside an If, Loop or Scan, each node is one
    line, however often it ran.
    """
    # CPython keeps the order of insertion since 3.6.
    found = {}
    for block in _traced_runs(events):
        _file_block(block, (), found)
    return [_kernel_record(found[key][-runs:]) for key in found]


def _traced_runs(events):
    """The kernels of each run: pairs of a kernel's line and the blocks of kernels that ran inside it.

    A line is written when what it tells of has ended: kernels first, then the executor that ran them, then the kernel
    that this executor was started for, or the end of the run.
    """
    runs, kernels, blocks = [], [], []
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            kernels.append((event, [block for _, block in _since(event, blocks)]))
        elif name.endswith("Executor::Execute"):
            blocks.append((event, _since(event, kernels)))
        elif name == "model_run":
            runs.extend(block for _, block in blocks)
            del kernels[:], blocks[:]
    return runs


def _since(event, lines):
    """Take from the end of ``lines`` those that began after an event did: they ran inside it."""
    first = len(lines)
    while first and lines[first - 1][0]["ts"] >= event["ts"]:
        first -= 1
    taken = lines[first:]
    del lines[first:]
    return taken


def _file_block(block, path, found):
    """Append each line of a block to those of the same kernel in earlier runs."""
    seen = {}
    for event, inside in block:
        name = event["name"]
        seen[name] = seen.get(name, 0) + 1
        key = path + (name, seen[name])
        for inner in inside:
            _file_block(inner, key, found)
        found.setdefault(key, []).append(event)


def _kernel_record(events):
    args = events[-1].get("args", {})
    return {
        "name": events[-1]["name"][: -len("_kernel_time")],
        "op": args.get("op_name", ""),
        "provider": args.get("provider", ""),
        "inputs": _trace_shapes(args.get("input_type_shape", [])),
        "outputs": _trace_shapes(args.get("output_type_shape", [])),
        "times_ns": [int(event["dur"]) * 1000 for event in events],
    }


def _trace_shapes(entries):
    """[{"float": [1, 3, 8, 8]}, ...] -> [["float", [1, 3, 8, 8]], ...]"""
    return [[kind, shape] for entry in entries for kind, shape in entry.items()]


class Resident(object):
    """How much of this process is in memory, as Linux tells it.

    Raises OSError where it does not: no /proc, or a kernel that does not let the peak be forgotten (before 4.0).
    """

    def __init__(self):
        self.forget_peak()
        self.read("VmHWM")

    def settle(self):
        """Give back what was freed; bytes that are left. Where the library is not glibc, some of it stays."""
        import ctypes

        gc.collect()
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        self.forget_peak()
        return self.read("VmRSS")

    def forget_peak(self):
        # 5 sets the peak to what is held now (proc(5)).
        with open("/proc/self/clear_refs", "w") as knob:
            knob.write("5")

    def read(self, name):
        with open("/proc/self/status") as lines:
            for line in lines:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
        raise OSError("/proc/self/status has no %s" % name)


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

        self.runtime = RUNTIMES[self.runtime_profile["runtime"]](self.runtime_profile)
        self.errors = self.runtime.errors
        if request.get("canary"):
            try:
                self.runtime.canary = self.runtime.session(request["canary"])
            except self.errors as error:
                raise BoardLost("the board cannot load what was compiled for it: %s" % error) from error
        rows = _pool(1)[: 256 * 256 // 2]
        self.canary_left = np.ascontiguousarray(rows[:256].reshape(1, 256))
        self.canary_right = np.resize(rows, (256, 256))
        self.np = np
        self.answer(
            {
                "event": "opened",
                "pid": os.getpid(),
                "runtime_version": self.runtime.version,
                "providers": self.runtime.providers,
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
            self._failed(request, self.runtime.outcome(error), error)
        else:
            self.sessions[request["id"]] = session

    def _session(self, request):
        started = self.wall()
        session = self.runtime.session(request)
        loaded = self.wall()
        session.run_first()
        first = self.wall()
        runs = []
        while len(runs) < self.rules["warmup_runs_max"]:
            if len(runs) >= self.rules["warmup_runs_min"] and sum(runs) >= self.rules["warmup_ns"]:
                break
            runs.extend(session.timed(1, self.wall, self.cpu)[0])
        self.typical_ns[request["id"]] = min(runs)
        self.answer(
            {
                "event": "loaded",
                "id": request["id"],
                "load_ns": loaded - started,
                "first_run_ns": first - loaded,
                "warmup_ns": self.wall() - loaded,
                "typical_ns": min(runs),
            }
        )
        return session

    def _failed(self, request, outcome, error):
        self.answer({"event": "failed", "id": request["id"], "outcome": outcome, "message": str(error)[:2000]})

    def _give_up(self, name, outcome, error):
        del self.sessions[name]
        self._failed({"id": name}, outcome, error)

    def round(self, request):
        """Stay once with every session of ``order``; a canary stands between any two stays."""
        started = self.wall()
        before = self.canary()
        for name in request["order"]:
            self.answer({"event": "begin", "id": name})
            try:
                visits = self.stay(name)
            except MemoryError as error:
                self._give_up(name, "out_of_memory", error)
                continue
            except self.errors as error:
                self._give_up(name, self.runtime.outcome(error), error)
                continue
            after = self.canary()
            for visit in visits:
                visit.update(event="visit", id=name, canary_ns=[before, after])
                self.answer(visit)
            before = after
        self.answer({"event": "round_done", "round_ns": self.wall() - started})

    def stay(self, name):
        """Settle with one session, then time it in one visit after another: what a visit says, of each."""
        session, rules = self.sessions[name], self.rules
        typical = self.typical_ns[name] = self._settle(session, self.typical_ns[name])
        count = max(rules["runs_min"], min(rules["runs_max"], int(rules["visit_ns"] / max(1, typical))))
        return [self._visit(name, session, count) for _ in range(rules["visits_per_stay"])]

    def _visit(self, name, session, count):
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        wall_ns, cpu_ns = session.timed(count, self.wall, self.cpu)
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
        self.typical_ns[name] = min([self.typical_ns[name]] + wall_ns)
        return {"wall_ns": wall_ns, "cpu_ns": cpu_ns, "switches": switches}

    def copies(self, request):
        """Times of copying a loaded session's inputs in and its outputs out, between host and runtime."""
        session = self.sessions[request["id"]]
        times, fresh = {"in_ns": [], "out_ns": []}, session.fresh()
        for _ in range(request["runs"]):
            begin = self.wall()
            session.copy_in(fresh)
            middle = self.wall()
            session.copy_out()
            times["in_ns"].append(middle - begin)
            times["out_ns"].append(self.wall() - middle)
        self.answer(dict(times, event="copied", id=request["id"]))

    def burn(self, request):
        """Run a loaded session without a pause, for a meter that reads elsewhere by the same clock: a lead, a window
        that begins and ends between two runs, and a lead again. The window and its runs."""
        session = self.sessions[request["id"]]
        try:
            self._run_until(session, self.wall() + request["lead_ns"])
            begin = self.wall()
            end, runs = self._run_until(session, begin + request["window_ns"])
            self._run_until(session, end + request["lead_ns"])
        except MemoryError as error:
            self._give_up(request["id"], "out_of_memory", error)
        except self.errors as error:
            self._give_up(request["id"], self.runtime.outcome(error), error)
        else:
            self.answer({"event": "burnt", "id": request["id"], "begin_ns": begin, "end_ns": end, "runs": runs})

    def _run_until(self, session, moment_ns):
        """Run once at the least; when the last run ended, and how many there were."""
        runs, now = 0, self.wall()
        while runs == 0 or now < moment_ns:
            session.run()
            runs, now = runs + 1, self.wall()
        return now, runs

    def memory(self, request):
        """Resident memory at its highest while a graph is loaded from a file, and while it runs.

        Loading is the first thing that this process does for a session: what an earlier one freed would be used again,
        and not be seen. Between loading and running what was freed is given back: how much of it an allocator keeps
        hangs on where its heap happened to be, and says nothing of the graph. It is told apart.
        """
        try:
            resident = Resident()
        except OSError as error:
            self.answer({"event": "memory", "id": request["id"], "unsupported": str(error)})
            return
        folder = tempfile.mkdtemp(prefix="edgecost-memory-")
        try:
            if "model" in request:
                path = os.path.join(folder, "model.onnx")
                _write_apart(request, path)
                request = dict(request, path=path)
            self.answer(self._memory(request, resident))
        except Refused as refusal:
            self._failed(request, refusal.outcome, refusal)
        except MemoryError as error:
            self._failed(request, "out_of_memory", error)
        except self.errors as error:
            self._failed(request, self.runtime.outcome(error), error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _memory(self, request, resident):
        baseline = resident.settle()
        session = self.runtime.opened(request)
        loading = resident.read("VmHWM")
        kept = resident.read("VmRSS")
        kept -= resident.settle()
        session.feed()
        resident.forget_peak()
        running = []
        for _ in range(request["runs"]):
            session.run()
            running.append(resident.read("VmHWM"))
            if len(running) == 1:
                session.keep_outputs()
        # Whoever asked may want to see what it holds in a memory that is not this process's.
        self.sessions[request["id"]] = session
        return {
            "event": "memory",
            "id": request["id"],
            "baseline_bytes": baseline,
            "loading_bytes": loading,
            "kept_bytes": kept,
            "running_bytes": running,
        }

    def unload(self, request):
        """Forget a session and free its memory."""
        self.sessions.pop(request["id"], None)
        self.answer({"event": "unloaded", "id": request["id"]})

    def _settle(self, session, typical):
        """Run without timing until the caches hold what this session needs; the shortest time of a run so far."""
        rules, wall = self.rules, self.wall
        made, spent, taken, is_settling = 0, 0, 0, False
        while (
            made < rules["discards"]
            or (spent < rules["discard_ns"] and made < rules["discards_max"])
            or (is_settling and made < rules["settle_max"])
        ):
            before = taken
            begin = wall()
            session.run()
            taken = wall() - begin
            made, spent = made + 1, spent + taken
            typical = min(typical, taken)
            is_settling = 100 * taken > rules["settled_percent"] * typical and (
                made == 1 or 100 * taken < rules["faster_percent"] * before
            )
        return typical

    def profile(self, request):
        """Run a graph under the runtime's own profiler: shares of the time by kernel, in order of execution."""
        try:
            kernels = self.runtime.kernel_times(request, self.rules["warmup_runs_max"])
        except MemoryError as error:
            self._failed(request, "out_of_memory", error)
        except self.errors as error:
            self._failed(request, self.runtime.outcome(error), error)
        else:
            self.answer({"event": "profiled", "id": request["id"], "kernels": kernels})

    def canary(self):
        """Nanoseconds of a fixed 1×256 by 256×256 product: the smallest of a few, as the first find cold caches."""
        if self.runtime.canary is not None:
            return self._canary_on_board(self.runtime.canary)
        best = None
        for _ in range(self.rules["canary_runs"]):
            begin = self.wall()
            self.np.dot(self.canary_left, self.canary_right)
            taken = self.wall() - begin
            best = taken if best is None else min(best, taken)
        return best

    def _canary_on_board(self, session):
        try:
            return min(session.timed(self.rules["canary_runs"], self.wall, self.cpu)[0])
        except self.errors as error:
            raise BoardLost("the board no longer runs its canary: %s" % error) from error


def serve(requests, answers, make=Runner):
    """Read requests from one stream, write answers to another, until ``close`` or the end of the input.

    ``make`` is what answers them; a virtual device brings its own.
    """

    def answer(record):
        answers.write(json.dumps(record) + "\n")
        answers.flush()

    runner = make(answer)
    verbs = {"open": runner.open, "load": runner.load, "round": runner.round}
    verbs.update(
        profile=runner.profile, copies=runner.copies, unload=runner.unload, memory=runner.memory, burn=runner.burn
    )
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        if request["verb"] == "close":
            break
        verbs[request["verb"]](request)


def _import_early(runtime):
    """Import the runtime before the first request, which may come much later; ``open`` reports what went wrong."""
    try:
        importlib.import_module(runtime)
    except ImportError:
        return


def _describe_runtime(name):
    try:
        runtime = RUNTIMES[name]({"options": {}})
    except (ImportError, OSError, RuntimeError, AttributeError):
        # Missing, or there but without a library that it needs.
        return None
    return {"version": runtime.version, "providers": runtime.providers}


def describe():
    """Which runtimes this interpreter has: version and providers of each, None where it cannot be imported."""
    found = {name: _describe_runtime(name) for name in sorted(RUNTIMES)}
    return {"python_version": "%d.%d.%d" % sys.version_info[:3], "runtimes": found}


def describe_one(name):
    """One runtime: version and providers, or why it cannot be imported. An import that crashes ends this process."""
    try:
        runtime = RUNTIMES[name]({"options": {}})
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return {"problem": "%s: %s" % (type(error).__name__, error)}
    return {"version": runtime.version, "providers": runtime.providers}


def _offer_to_oom_killer():
    """When memory runs out the kernel should end this process, not the one that keeps the results."""
    try:
        with open("/proc/self/oom_score_adj", "w") as knob:
            knob.write("1000")
    except OSError:
        return


def main():
    """Serve standard input, or say which runtimes there are."""
    _offer_to_oom_killer()
    # The folder of this script would come first, links in its path resolved: its tvm is not the one that is meant.
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.realpath(place) != here]
    # Runtimes print to standard output when they feel like it, some on import; the answers get a descriptor of their
    # own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if sys.argv[1:2] == ["--describe"]:
        answers.write(json.dumps(describe_one(sys.argv[2]) if len(sys.argv) > 2 else describe()) + "\n")
        answers.close()
        return
    _import_early(sys.argv[1] if len(sys.argv) > 1 else "onnxruntime")
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
