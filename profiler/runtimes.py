"""Named runtimes: configurations that people speak of, turned into profiles by looking at what is installed.

A ``NamedRuntime`` says what is wanted; a ``RuntimeProfile`` says what was found, version included, and numbers belong
to that.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace

from .client import EXTRAS, describe_interpreter
from .errors import MissingPackage, RunnerError, UsageError
from .records import VIRTUAL, Json, RuntimeProfile
from .variables import variables_of

#: Distributions that bring the module ``onnxruntime``; two of them beside each other are one broken installation.
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
#: Of what plays a virtual device; its law has a version of its own.
VIRTUAL_VERSION = "1"
CPU_PROVIDER = "CPUExecutionProvider"
#: An accelerator's session must not run half of the graph on the CPU and be called by the accelerator's name.
NO_FALLBACK = (("session.disable_cpu_ep_fallback", "1"),)
#: Providers with threads of their own, and the option that says how many.
PROVIDER_THREADS = {
    "OpenVINOExecutionProvider": "provider.num_of_threads",
    "XnnpackExecutionProvider": "provider.intra_op_num_threads",
}
#: What TVM 0.27 offers, by what it does to a graph; ``tvm/lower.py`` knows how.
PIPELINES = ("default", "zero", "schedules", "tuned")


@dataclass(frozen=True)
class NamedRuntime:
    """What somebody wants to measure with; fields as in ``RuntimeProfile``, without a version."""

    name: str
    summary: str
    runtime: str = "onnxruntime"
    provider: str = CPU_PROVIDER
    threads: int = 1
    precision: str = "fp32"
    graph_level: str = "ORT_ENABLE_ALL"
    options: tuple[tuple[str, str], ...] = ()
    interpreter: str = ""
    affinity: tuple[int, ...] = ()

    def document(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)


def _accelerator(name: str, provider: str, summary: str) -> NamedRuntime:
    return NamedRuntime(name, summary, provider=provider, options=NO_FALLBACK)


def _tvm(name: str, pipeline: str, summary: str) -> NamedRuntime:
    return NamedRuntime(name, summary, runtime="tvm", provider="llvm", graph_level=pipeline)


def _virtual(name: str, summary: str) -> NamedRuntime:
    return NamedRuntime(name, summary, runtime=VIRTUAL, provider=name, graph_level="as written")


BUILT_IN: Mapping[str, NamedRuntime] = {
    named.name: named
    for named in (
        NamedRuntime("ort", "ONNX Runtime on the CPU, all optimisations"),
        NamedRuntime("ort-basic", "ONNX Runtime on the CPU, folding constants only", graph_level="ORT_ENABLE_BASIC"),
        _accelerator("ort-xnnpack", "XnnpackExecutionProvider", "ONNX Runtime with XNNPACK, where its build has it"),
        _accelerator("ort-acl", "ACLExecutionProvider", "ONNX Runtime with Arm's Compute Library, where built with it"),
        _accelerator("ort-cuda", "CUDAExecutionProvider", "ONNX Runtime on an NVIDIA GPU"),
        _accelerator("ort-tensorrt", "TensorrtExecutionProvider", "ONNX Runtime with TensorRT on an NVIDIA GPU"),
        _accelerator("ort-openvino", "OpenVINOExecutionProvider", "ONNX Runtime with OpenVINO"),
        _tvm("tvm", "default", "TVM, not tuned: its default pipeline for CPUs"),
        _tvm("tvm-zero", "zero", "TVM, not tuned: fusion only"),
        _tvm("tvm-schedules", "schedules", "TVM, not tuned: its hand-written CPU schedules"),
        _tvm("tvm-tuned", "tuned", "TVM with the records of `edgecost tune`"),
        _virtual("virtual-nano", "no board: plays a core like a Jetson Nano's, its noise, heat and power sensor"),
        _virtual("virtual-pi4", "no board: plays a core like a Raspberry Pi 4's, its noise, heat and power sensor"),
    )
}


def host_profile(*, threads: int = 1) -> RuntimeProfile:
    """ONNX Runtime on this machine's CPU, as it is installed beside edgecost.

    Raises:
        MissingPackage: ONNX Runtime is not installed.
        UsageError: fewer than one thread, or more than this process may use.
    """
    return resolve(BUILT_IN["ort"], threads=threads)


def resolve(
    named: NamedRuntime, *, threads: int | None = None, precision: str | None = None, needs_records: bool = True
) -> RuntimeProfile:
    """The profile that a named runtime is on this machine.

    Args:
        threads, precision: None for the runtime's own.
        needs_records: False for the tuning that makes the records of a tuned TVM.

    Raises:
        MissingPackage: the runtime is not installed.
        RunnerError: the runtime's interpreter cannot be asked.
        UsageError: the threads or CPUs are not there, the installed runtime lacks the provider, or nothing was tuned.
    """
    named = replace(named, threads=threads or named.threads, precision=precision or named.precision)
    check_cpus(named)
    _check_variables(named)
    found = RuntimeProfile(
        runtime=named.runtime,
        version=_version(named),
        provider=named.provider,
        threads=named.threads,
        precision=named.precision,
        graph_level=named.graph_level,
        options=_with_provider_threads(named),
        interpreter=named.interpreter,
        affinity=named.affinity,
    )
    if named.runtime != "tvm":
        return found
    _check_trust(named)
    targeted = _with_host_target(found)
    return _with_tuning(targeted) if named.graph_level == "tuned" and needs_records else targeted


def _with_provider_threads(named: NamedRuntime) -> tuple[tuple[str, str], ...]:
    """The options, and among them the threads of a provider that has its own and would take all CPUs."""
    option = PROVIDER_THREADS.get(named.provider)
    if option is None or option in dict(named.options):
        return named.options
    return tuple(sorted({**dict(named.options), option: str(named.threads)}.items()))


def runs_elsewhere(options: Sequence[tuple[str, str]]) -> bool:
    """Whether a TVM runtime's options name another machine: a board behind a tracker, or code for another processor."""
    found = dict(options)
    return "rpc_tracker" in found or found.get("mtriple", "").partition("-")[0] not in ("", platform.machine())


def _check_variables(named: NamedRuntime) -> None:
    if variables_of(named.options) and named.runtime != "onnxruntime":
        raise UsageError(
            f"only the process of ONNX Runtime is given environment variables, and {named.name} is {named.runtime}",
            remedy="set them where edgecost is started",
        )


def _check_trust(named: NamedRuntime) -> None:
    options = dict(named.options)
    if "rpc_tracker" not in options:
        return
    if options.get("rpc_trusted") != "yes":
        raise UsageError(
            "TVM's RPC lets whoever reaches the tracker or the board run code on it, without a password",
            remedy="only for boards of your own inside a private network: --option rpc_trusted=yes",
        )
    missing = sorted({"rpc_key", "mcpu", "mtriple"} - set(options))
    if missing:
        raise UsageError(
            f"to measure over RPC the runtime needs the option {missing[0]}",
            remedy="rpc_key names the board to its tracker; mcpu and mtriple say what to compile for",
        )
    host, _, port = options["rpc_tracker"].rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"{options['rpc_tracker']!r} is no tracker; write it like rpc_tracker=192.168.1.5:9190")


def check_cpus(named: NamedRuntime) -> None:
    """Refuse threads and CPUs that this process may not use; what runs on another machine may have more.

    Raises:
        UsageError: some are not there.
    """
    if runs_elsewhere(named.options):
        return
    allowed = allowed_cpus()
    if not 1 <= named.threads <= len(allowed):
        raise UsageError(f"{named.threads} threads were asked for; this process may use 1 to {len(allowed)}")
    missing = sorted(set(named.affinity) - set(allowed))
    if missing:
        raise UsageError(f"CPU {', '.join(map(str, missing))} is not among those that this process may use: {allowed}")


def _version(named: NamedRuntime) -> str:
    if named.runtime == VIRTUAL:
        return VIRTUAL_VERSION
    if named.runtime == "onnxruntime" and not named.interpreter and named.provider == CPU_PROVIDER:
        # Every ONNX Runtime has it: nothing needs to be imported to know.
        return _installed_version()
    return described_version(
        named, describe_interpreter(named.interpreter or sys.executable, variables_of(named.options))
    )


def described_version(named: NamedRuntime, document: Mapping[str, Json]) -> str:
    """The version of a runtime, where ``document`` is what ``describe_interpreter`` says of its interpreter.

    Raises:
        MissingPackage: the runtime is not installed there.
        UsageError: the installed runtime lacks the provider.
    """
    found = _mapping(_mapping(document["runtimes"]).get(named.runtime))
    if not found:
        raise MissingPackage(
            f"{named.interpreter or 'this Python'} (version {document['python_version']}) has no {named.runtime}",
            remedy=f"install it there: pip install 'edgecost[{EXTRAS.get(named.runtime, 'host')}]'",
        )
    providers = found["providers"]
    if isinstance(providers, list) and named.provider not in providers:
        raise UsageError(
            f"{named.runtime} {found['version']} has no {named.provider}; it has {', '.join(map(str, providers))}",
            remedy="install a build of the runtime that has it, or name its interpreter: edgecost runtime add",
        )
    return str(found["version"])


def _installed_version() -> str:
    # It brings the whole package email along: 2 MB that a board's agent holds only if it asks.
    from importlib.metadata import PackageNotFoundError, version

    for distribution in _DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            return version(distribution)
    raise MissingPackage("onnxruntime is not installed", remedy="pip install 'edgecost[host]'")


def _with_host_target(profile: RuntimeProfile) -> RuntimeProfile:
    """A TVM profile with the CPU that it compiles for; one that names a CPU stays as it is."""
    if "mcpu" in dict(profile.options):
        return profile
    from .tvm.client import TvmCompiler

    compiler = TvmCompiler(profile)
    try:
        target = _mapping(compiler.opened().get("host_target"))
    finally:
        compiler.close()
    if "mcpu" not in target:
        raise RunnerError("TVM's compiler could not say which CPU this is", remedy="give it: --option mcpu=NAME")
    features = target.get("mattr")
    options = {**dict(profile.options), "mcpu": str(target["mcpu"])}
    if isinstance(features, list) and features:
        options["mattr"] = ",".join(str(feature) for feature in features)
    return replace(profile, options=tuple(sorted(options.items())))


def _with_tuning(profile: RuntimeProfile) -> RuntimeProfile:
    """A tuned profile with what its records are now: other records make other kernels, and so another profile."""
    from .tvm.client import tuning_state

    found = tuning_state(profile)
    if found is None:
        raise UsageError(
            f"nothing was tuned for {dict(profile.options)['mcpu']} with TVM {profile.version} yet",
            remedy="only the machine that runs the code can tune it; here there is `--runtime tvm-schedules`"
            if runs_elsewhere(profile.options)
            else "tune a model first: edgecost tune MODEL.onnx",
        )
    options = {**dict(profile.options), "tuning": found.digest, "trials": str(found.trials)}
    return replace(profile, options=tuple(sorted(options.items())))


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def allowed_cpus() -> tuple[int, ...]:
    """The CPUs this process may run on, ascending; container limits included."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def timing_cpus(threads: int) -> tuple[int, ...]:
    """The CPUs to pin a runner to: the last ones, since the first serves most interrupts."""
    return allowed_cpus()[-threads:]


def named_from_document(document: Mapping[str, object]) -> NamedRuntime:
    """The inverse of ``NamedRuntime.document``.

    Raises:
        UsageError: the document does not describe a runtime.
    """
    options, affinity, threads = document.get("options", ()), document.get("affinity", ()), document.get("threads", 1)
    texts = ("name", "summary", "runtime", "provider", "precision", "graph_level", "interpreter")
    # A field of a later version changes what is measured: it is an error, not left out.
    is_known = set(texts) <= set(document) <= {one.name for one in fields(NamedRuntime)}
    if (
        not is_known
        or not isinstance(options, Sequence)
        or not isinstance(affinity, Sequence)
        or not isinstance(threads, int)
    ):
        raise UsageError(f"the runtime {document.get('name')!r} is not described as edgecost describes one")
    name, summary, runtime, provider, precision, graph_level, interpreter = (str(document[key]) for key in texts)
    return NamedRuntime(
        name=name,
        summary=summary,
        runtime=runtime,
        provider=provider,
        threads=threads,
        precision=precision,
        graph_level=graph_level,
        options=tuple((str(key), str(value)) for key, value in options),
        interpreter=interpreter,
        affinity=tuple(int(cpu) for cpu in affinity),
    )
