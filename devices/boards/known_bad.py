"""Runtime versions that are known to fail on some boards, each with its source; nothing is installed or removed."""

from __future__ import annotations

from dataclasses import dataclass

from .board import BoardIdentity


@dataclass(frozen=True)
class KnownBad:
    """A version, or versions, of a package that do not work on a board like this one.

    Attributes:
        versions: in words, as pip's specifiers write them.
    """

    package: str
    versions: str
    consequence: str
    remedy: str
    source: str


_SIGILL_ON_IMPORT = KnownBad(
    "onnxruntime", "==1.21.0", "the import ends in an illegal instruction (SIGILL) on ARMv8.0",
    "take 1.20.1, or 1.22.1 and later", "microsoft/onnxruntime #23957, #24112, #24512; mended by #23978",
)  # fmt: skip
_NEEDS_GLIBC_2_28 = KnownBad(
    "onnxruntime", ">=1.29.0", "wheels for this processor are of manylinux_2_28: pip refuses them below glibc 2.28",
    "take 1.28.0, the last one for glibc 2.27", "tags of the wheels on PyPI, read in November 2026",
)  # fmt: skip
_NUMPY_ON_A57 = KnownBad(
    "numpy", "==1.19.5", "the import ends in an illegal instruction (SIGILL) on Cortex-A57",
    "set OPENBLAS_CORETYPE=ARMV8 in the runtime's environment", "microsoft/onnxruntime #9189",
)  # fmt: skip
#: Jetson Nano, TX1 and TX2.
_WITH_A57 = frozenset({"tegra210", "tegra186"})


def known_bad(board: BoardIdentity, machine: str) -> tuple[KnownBad, ...]:
    """What does not work on such a board; ``machine`` as ``uname -m`` says it. What is not known excludes nothing."""
    if machine != "aarch64":
        return ()
    found = []
    if board.armv8_0:
        found.append(_SIGILL_ON_IMPORT)
    if board.soc in _WITH_A57:
        found.append(_NUMPY_ON_A57)
    if board.glibc is not None and tuple(int(part) for part in board.glibc.split(".")) < (2, 28):
        found.append(_NEEDS_GLIBC_2_28)
    return tuple(found)


def no_runtime(machine: str) -> str | None:
    """Why no runtime can be had at all: there are no 32-bit Arm wheels of onnxruntime."""
    if machine in ("armv6l", "armv7l"):
        return "onnxruntime has no wheels for 32-bit systems: install a 64-bit one (Raspberry Pi OS, 64-bit)"
    return None
