"""Runtime versions that are known to fail on some boards, each with its source; nothing is installed or removed."""

from __future__ import annotations

from dataclasses import dataclass

from .board import BoardIdentity


@dataclass(frozen=True)
class KnownBad:
    """A version, or versions, of a package that do not work on a board like this one.

    Attributes:
        versions: one of pip's specifiers: ``==`` or ``>=`` and a version.
    """

    package: str
    versions: str
    consequence: str
    remedy: str
    source: str

    def is_of(self, package: str, version: str) -> bool:
        """Whether this version of this package is one of them."""
        operator, wanted = self.versions[:2], _numbers(self.versions[2:])
        have = _numbers(version)
        return package == self.package and (have == wanted if operator == "==" else have >= wanted)


_SIGILL_ON_IMPORT = KnownBad(
    "onnxruntime", "==1.21.0", "the import ends in an illegal instruction (SIGILL) on ARMv8.0",
    "take 1.20.1, or 1.22.1 and later", "microsoft/onnxruntime #23957, #24112, #24512; mended by #23978",
)  # fmt: skip
_NEEDS_GLIBC_2_28 = KnownBad(
    "onnxruntime", ">=1.29.0", "its wheels are of manylinux_2_28: pip refuses them below glibc 2.28",
    "take 1.28.0, the last one for glibc 2.27", "tags of the wheels on PyPI, read in November 2026",
)  # fmt: skip
_NUMPY_ON_A57 = KnownBad(
    "numpy", "==1.19.5", "the import ends in an illegal instruction (SIGILL) on Cortex-A57",
    "edgecost runtime add NAME --interpreter PATH --option env.OPENBLAS_CORETYPE=ARMV8", "microsoft/onnxruntime #9189",
)  # fmt: skip
#: Jetson Nano, TX1 and TX2.
_WITH_A57 = frozenset({"tegra210", "tegra186"})


def known_bad(board: BoardIdentity, machine: str) -> tuple[KnownBad, ...]:
    """What does not work on such a board; ``machine`` as ``uname -m`` says it. What is not known excludes nothing."""
    found = []
    if machine == "aarch64" and board.armv8_0:
        found.append(_SIGILL_ON_IMPORT)
    if machine == "aarch64" and board.soc in _WITH_A57:
        found.append(_NUMPY_ON_A57)
    if machine in ("aarch64", "x86_64") and board.glibc is not None and _numbers(board.glibc) < (2, 28):
        found.append(_NEEDS_GLIBC_2_28)
    return tuple(found)


def no_runtime(machine: str) -> str | None:
    """Why no runtime can be had at all: there are no 32-bit Arm wheels of onnxruntime."""
    if machine in ("armv6l", "armv7l"):
        return "onnxruntime has no wheels for 32-bit systems: install a 64-bit one (Raspberry Pi OS, 64-bit)"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    """Of ``1.21.0`` and of ``1.21.0+cu12``; what is no number ends it."""
    return tuple(int(part) for part in version.partition("+")[0].split(".") if part.isdecimal())
