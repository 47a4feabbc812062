"""The published splits of few-shot latency prediction: devices and figures, as data for ``few_shot.py``.

HELP: Lee et al., NeurIPS 2021, the tables of its repository. NASFlat: Akhauri & Abdelfattah, MLSys 2024, the lists of
devices and the table of its repository, which has HELP and MultiPredict under its protocol, too. FD is HELP's split, as
in the paper. LatBench's devices other than the desktop CPU, written in short here, are not in the shared data.
"""

from __future__ import annotations

from dataclasses import dataclass

CELLS, CHAINS = "nasbench201", "fbnet"


@dataclass(frozen=True)
class Task:
    """One published split.

    Attributes:
        protocol: ``help`` or ``nasflat``.
        published: Spearman's ρ by method; by target where a method's figures are given so, otherwise under ``mean``.
    """

    name: str
    protocol: str
    space: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    published: dict[str, dict[str, float]]


_CELLS_SOURCES = "1080ti_1 1080ti_32 1080ti_256 silver_4114 silver_4210r samsung_a50 pixel3 essential_ph_1 samsung_s7"
_CHAINS_SOURCES = _CELLS_SOURCES.replace("1080ti_256", "1080ti_64")
_CELLS_TARGETS = "titan_rtx_256 gold_6226 fpga pixel2 raspi4 eyeriss"
_GPUS = " ".join(
    f"{name}_{batch}" for name in "1080ti 2080ti titan_rtx titanx titanxp".split() for batch in (1, 32, 64)
)
_HELP = {
    CELLS: {
        "HELP (10 + 10)": (0.987, 0.989, 0.985, 0.802, 0.890, 0.940),
        "BRP-NAS (900)": (0.814, 0.796, 0.801, 0.666, 0.847, 0.811),
    },
    CHAINS: {"HELP (10 + 10)": (0.892, 0.887, 0.943)},
}
#: Name, space, sources, targets, and ρ of NASFlat, HELP and MultiPredict, means over all targets of the task.
_NASFLAT = (
    ("ND", CELLS, _CELLS_SOURCES, _CELLS_TARGETS, (0.959, 0.948, 0.930)),
    (
        "N1",
        CELLS,
        "edge_tpu eyeriss adreno_612 adreno_640 pixel3",
        "1080ti_1 titan_rtx_32 titanxp_1 2080ti_32 titan_rtx_1",
        (0.967, 0.604, 0.907),
    ),
    (
        "N2",
        CELLS,
        "1080ti_1 1080ti_32 titanx_32 titanxp_1 titanxp_32",
        "jetson_nano_fp16 edge_tpu hexagon_685 hexagon_690 pixel3",
        (0.857, 0.509, 0.757),
    ),
    (
        "N3",
        CELLS,
        "gtx_1080ti_fp32 jetson_nano_fp16 eyeriss hexagon_685 adreno_640",
        "1080ti_1 2080ti_1 titanxp_1 2080ti_32 titanxp_32",
        (0.962, 0.729, 0.947),
    ),
    (
        "N4",
        CELLS,
        "desktop_cpu_core_i7_7820x_fp32 jetson_nano_fp32 edge_tpu eyeriss kryo_485 hexagon_685 hexagon_690 adreno_612 "
        "adreno_640 pixel2",
        "1080ti_1 2080ti_1 titan_rtx_1",
        (0.959, 0.746, 0.952),
    ),
    (
        "NA",
        CELLS,
        "titan_rtx_1 titan_rtx_32 titanxp_1 2080ti_1 titanx_1 1080ti_1 titanx_32 titanxp_32 2080ti_32 1080ti_32 "
        "gold_6226 samsung_s7 silver_4114 gold_6240 silver_4210r samsung_a50 pixel2",
        "eyeriss gtx_1080ti_fp32 edge_tpu",
        (0.893, 0.410, 0.820),
    ),
    ("FD", CHAINS, _CHAINS_SOURCES, "fpga raspi4 eyeriss", (0.961, 0.910, 0.960)),
    (
        "F1",
        CHAINS,
        "2080ti_1 essential_ph_1 silver_4114 titan_rtx_1 titan_rtx_32",
        "eyeriss fpga raspi4 samsung_a50 samsung_s7",
        (0.809, 0.793, 0.756),
    ),
    (
        "F2",
        CHAINS,
        "essential_ph_1 gold_6226 gold_6240 pixel3 raspi4",
        "1080ti_1 1080ti_32 2080ti_32 titan_rtx_1 titanxp_1",
        (0.871, 0.543, 0.567),
    ),
    (
        "F3",
        CHAINS,
        "essential_ph_1 pixel2 pixel3 raspi4 samsung_s7",
        "1080ti_1 1080ti_32 2080ti_1 titan_rtx_1 titan_rtx_32",
        (0.814, 0.413, 0.434),
    ),
    (
        "F4",
        CHAINS,
        "1080ti_64 2080ti_1 eyeriss gold_6226 gold_6240 raspi4 samsung_s7 silver_4210r titan_rtx_1 titan_rtx_32",
        "1080ti_1 pixel2 essential_ph_1",
        (0.734, 0.799, 0.763),
    ),
    ("FA", CHAINS, _GPUS, "gold_6226 essential_ph_1 samsung_s7 pixel2", (0.577, 0.370, 0.450)),
)


def _help_task(name: str, space: str, sources: str, targets: str) -> Task:
    names = tuple(targets.split())
    figures = {method: dict(zip(names, values, strict=True)) for method, values in _HELP[space].items()}
    return Task(name, "help", space, tuple(sources.split()), names, figures)


def _nasflat_task(name: str, space: str, sources: str, targets: str, figures: tuple[float, ...]) -> Task:
    methods = ("NASFlat", "HELP", "MultiPredict")
    published = {method: {"mean": figure} for method, figure in zip(methods, figures, strict=True)}
    return Task(name, "nasflat", space, tuple(sources.split()), tuple(targets.split()), published)


TASKS = (
    _help_task("HELP cells", CELLS, _CELLS_SOURCES, _CELLS_TARGETS),
    _help_task("HELP chains", CHAINS, _CHAINS_SOURCES, "fpga raspi4 eyeriss"),
    *(_nasflat_task(*row) for row in _NASFLAT),
)
