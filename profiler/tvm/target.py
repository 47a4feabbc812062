"""TVM targets: this host as LLVM sees it, the checks of a target, and the compiler that links for it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping

import tvm
import tvm_ffi
from tvm.support import cc

from .outcomes import Refused


def host_target(threads: int) -> dict[str, object]:
    """The TVM target of this machine.

    ``mattr`` takes away what LLVM would assume of a CPU of that name and this machine does not offer: hypervisors hide
    features, and code that uses them ends in SIGILL.
    """
    cpu = str(tvm_ffi.get_global_func("target.llvm_get_system_cpu")())
    target: dict[str, object] = {"kind": "llvm", "mcpu": cpu, "num-cores": threads}
    offered = tvm_ffi.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
    implied = tvm_ffi.get_global_func("target.llvm_get_cpu_features")(tvm.target.Target(target))
    hidden = sorted(str(name) for name in implied if name in offered and not bool(offered[name]))
    if hidden:
        target["mattr"] = [f"-{name}" for name in hidden]
    return target


def make_target(description: Mapping[str, object]) -> tvm.target.Target:
    """A target from its description.

    Raises:
        Refused: ``invalid_target`` for an unknown kind, option or CPU.
    """
    try:
        target = tvm.target.Target(dict(description))
    except (ValueError, TypeError) as error:
        raise Refused("invalid_target", f"TVM refuses the target: {error}") from error
    if target.kind.name != "llvm":
        raise Refused("invalid_target", f"only CPU targets of kind llvm are compiled, not {target.kind.name}")
    cpu = str(description.get("mcpu", ""))
    triple = _triple(description) or str(tvm_ffi.get_global_func("target.llvm_get_system_triple")())
    # LLVM itself would say so on stderr and compile for the oldest CPU of the family.
    if cpu and not tvm_ffi.get_global_func("target.llvm_is_valid_cpu")(cpu, triple):
        raise Refused("invalid_target", f"LLVM knows no CPU {cpu} for {triple}")
    return target


def is_foreign(description: Mapping[str, object]) -> bool:
    """Whether code for this target cannot run on this machine."""
    triple = _triple(description)
    return bool(triple) and triple.partition("-")[0] not in (platform.machine(), "native")


def linker(description: Mapping[str, object]) -> cc.cross_compiler:
    """What links a library for the target.

    Raises:
        Refused: ``missing_tool``, with the Debian package that has it.
    """
    if not is_foreign(description):
        if not (shutil.which("g++") or shutil.which("clang++")):
            raise Refused("missing_tool", "no C++ compiler to link the library: apt-get install g++")
        return cc.create_shared
    triple = _triple(description)
    tool = f"{triple}-gcc"
    if shutil.which(tool) is None:
        raise Refused("missing_tool", f"{tool} is missing: apt-get install gcc-{triple}")
    return cc.cross_compiler(tool)


def _triple(description: Mapping[str, object]) -> str:
    return str(description.get("mtriple", ""))
