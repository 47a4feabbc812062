"""Which wheels of ONNX Runtime and TVM pip would take on a board, by its glibc and Python; no index is asked.

The tags are those that pip listed in November 2026, the same for aarch64 and x86_64: to 1.16.3 manylinux_2_17, from
1.17.0 manylinux_2_27, from 1.29.0 manylinux_2_28; of TVM 0.25 to 0.27 manylinux_2_27.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from .board import BoardIdentity

_MACHINES = frozenset({"aarch64", "x86_64"})
_NEWEST = "the newest"
#: First and last version with wheels for a Python; None where there is no last one yet.
_ORT_PYTHONS: dict[tuple[int, int], tuple[str, str | None]] = {
    (3, 8): ("1.7.0", "1.19.2"),
    (3, 9): ("1.7.0", "1.19.2"),
    (3, 10): ("1.12.0", "1.23.2"),
    (3, 11): ("1.15.0", None),
    (3, 12): ("1.17.0", None),
    (3, 13): ("1.20.0", None),
    (3, 14): ("1.24.1", None),
}
#: glibc from which wheels up to a version fit, the newest first.
_ORT_GLIBCS: tuple[tuple[tuple[int, ...], str | None], ...] = (
    ((2, 28), None),
    ((2, 27), "1.28.0"),
    ((2, 17), "1.16.3"),
)
_TVM_GLIBC, _TVM_PYTHON = (2, 27), (3, 10)
#: What NVIDIA built for the GPUs of a release of L4T, since PyPI's wheels with CUDA are for servers.
_GPU_BUILDS = {
    "32": "onnxruntime-gpu 1.11.0 at most, for Python 3.6 (NVIDIA's Jetson Zoo)",
    "35": "onnxruntime-gpu 1.12.1 for Python 3.8 (NVIDIA's Jetson Zoo)",
    "36": "onnxruntime-gpu from 1.16.1 for Python 3.10 (NVIDIA's Jetson Zoo, Jetson AI Lab)",
}


@dataclass(frozen=True)
class Wheels:
    """What pip would take.

    Attributes:
        first, last: versions, ``last`` None for the newest there is; both None where nothing fits.
    """

    first: str | None
    last: str | None

    @property
    def fits(self) -> bool:
        return self.first is not None

    def words(self) -> str:
        """Such as ``1.15.0 to 1.28.0``."""
        return f"{self.first} to {self.last or _NEWEST}" if self.fits else "none"


def onnxruntime_wheels(glibc: str, python: tuple[int, int]) -> Wheels | None:
    """Those of ONNX Runtime; None for a Python that nothing is known of here."""
    if python not in _ORT_PYTHONS:
        return None
    have = _numbers(glibc)
    first, of_python = _ORT_PYTHONS[python]
    of_glibc = next((last for least, last in _ORT_GLIBCS if have >= least), "0")
    lasts = [last for last in (of_python, of_glibc) if last is not None]
    last = min(lasts, key=_numbers) if lasts else None
    return Wheels(None, None) if last is not None and _numbers(last) < _numbers(first) else Wheels(first, last)


def is_of_glibc() -> bool:
    """Whether this interpreter was made for glibc: uv has been seen to bring one for musl to a Jetson Nano."""
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False


def wheel_lines(
    board: BoardIdentity, machine: str, python: tuple[int, int] | None, *, is_glibc: bool = True
) -> list[str]:
    """For people.

    Args:
        python: the interpreter's; None, of a recording, for each that may be there.
        is_glibc: whether the interpreter was made for it, whatever the board has.
    """
    if machine not in _MACHINES:
        return [f"wheels: none are known of for {machine}"]
    if not is_glibc:
        return [
            "! wheels: none fit, since this Python was not made for glibc (perhaps for musl)",
            f"    → one that was: uv python install cpython-3.12-linux-{machine}-gnu",
        ]
    if board.glibc is None:
        return ["wheels: which ones fit is not known, since glibc is not"]
    words = _of_each(board.glibc) if python is None else [_of_one(board.glibc, python)]
    lines = [f"wheels of onnxruntime for glibc {board.glibc}: {'; '.join(words)}", _tvm(board.glibc, python)]
    if board.kind == "jetson" and (board.l4t or "").startswith("32."):
        lines.append(
            "JetPack 4 brings Python 3.6, with onnxruntime 1.10.0 at most; another one:"
            " uv python install cpython-3.12-linux-aarch64-gnu"
        )
    gpu = _on_gpu(board)
    return [*lines, f"on the GPU: {gpu}"] if gpu else lines


def _of_one(glibc: str, python: tuple[int, int]) -> str:
    wheels = onnxruntime_wheels(glibc, python)
    return f"{'not known' if wheels is None else wheels.words()} for Python {_dotted(python)}"


def _of_each(glibc: str) -> list[str]:
    """Pythons that have the same last version together, the newest first."""
    lasts = {python: wheels for python in _ORT_PYTHONS if (wheels := onnxruntime_wheels(glibc, python)) is not None}
    found = []
    for fits, last in dict.fromkeys((one.fits, one.last) for one in reversed(lasts.values())):
        same = [python for python, one in lasts.items() if (one.fits, one.last) == (fits, last)]
        span = _dotted(same[0]) if len(same) == 1 else f"{_dotted(same[0])} to {_dotted(same[-1])}"
        found.append(f"{f'up to {last or _NEWEST}' if fits else 'none'} for Python {span}")
    return found


def _tvm(glibc: str, python: tuple[int, int] | None) -> str:
    if _numbers(glibc) < _TVM_GLIBC:
        return "wheels of apache-tvm: none, they need glibc 2.27"
    if python is not None and python < _TVM_PYTHON:
        return "wheels of apache-tvm: none, they need Python 3.10"
    return "wheels of apache-tvm: 0.25.0 to 0.27.0.post1" + ("" if python else " for Python 3.10 and later")


def _on_gpu(board: BoardIdentity) -> str:
    """Where a runtime for the board's GPU comes from; empty for a board without one that a runtime can use."""
    if board.kind != "jetson":
        return "onnxruntime-gpu, in an interpreter of its own: edgecost runtime add" if board.gpus else ""
    build = _GPU_BUILDS.get((board.l4t or "").partition(".")[0])
    if build is None:
        return "which build of onnxruntime has it is not known for this release of L4T"
    return f"{build}, in an interpreter of its own: edgecost runtime add"


def _dotted(python: tuple[int, int]) -> str:
    return ".".join(map(str, python))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
