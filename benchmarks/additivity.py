"""From parts to whole: Σ kernels and Σ blocks beside networks measured end to end, reference networks and found files.

Run it:  python benchmarks/additivity.py
With an installed package's files:  python benchmarks/additivity.py --package rapidocr-onnxruntime --package magika
With files in a folder:  python benchmarks/additivity.py --folder models
With random networks of the built-in spaces:  python benchmarks/additivity.py --sampled 6
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
from measuring import Silent, head, print_head, print_json

from edgecost import Store
from edgecost.costmodels.additivity import AdditivityAudit, audit_additivity
from edgecost.costmodels.campaign import Planned
from edgecost.costmodels.composition import held_out
from edgecost.costmodels.control_flow import ControlFlow
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.planned_campaign import measure_planned
from edgecost.costmodels.space_file import load_space, space_names
from edgecost.profiler.errors import EdgecostError
from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS, ReferenceNetwork, reference_network
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.model_file import read_model
from edgecost.profiler.protocol import PRESETS, Settings
from edgecost.profiler.workload import Workload

#: Of the issue that this shows; any other of ``profiler.networks`` can be named.
NETWORKS = ("mobilenet_v2", "mobilenet_v3_large", "resnet50", "efficientnet_b0", "vit_tiny")
ERRORS = ("sum_of_kernels_error", "sum_of_blocks_error", "composed_error", "composed_error_other_families")
Shapes = Mapping[str, tuple[int, ...]]
#: What to feed to files with dynamic inputs, by the file's name or its folder's and its own. Sizes are those that the
#: packages themselves feed, or common ones.
SHAPES: Mapping[str, Shapes] = {
    # basic-pitch: two seconds of sound
    "nmp.onnx": {"serving_default_input_2:0": (1, 43844, 1)},
    # ddddocr: a line of text, 64 pixels high
    "common.onnx": {"input1": (1, 1, 64, 128)},
    "common_old.onnx": {"input1": (1, 1, 64, 128)},
    # magika: the beginning, middle and end of a file
    "standard_v3_3/model.onnx": {"bytes": (1, 2048)},
    # nudenet: 320 pixels wide and high
    "320n.onnx": {"images": (1, 3, 320, 320)},
    # rapidocr-onnxruntime: a page, a line of text, a line to be turned
    "ch_PP-OCRv4_det_infer.onnx": {"x": (1, 3, 640, 640)},
    "ch_PP-OCRv4_rec_infer.onnx": {"x": (1, 3, 48, 320)},
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": {"x": (1, 3, 48, 192)},
    # silero-vad: 32 ms of sound at 16 kHz and what came before them
    "silero_vad.onnx": {"input": (1, 576), "state": (2, 1, 128)},
    "silero_vad_half.onnx": {"input": (1, 576), "state": (2, 1, 128)},
    "silero_vad_16k_op15.onnx": {"input": (1, 576), "state": (2, 1, 128)},
    "silero_vad_op18_ifless.onnx": {"input": (1, 576), "state": (2, 1, 128)},
    "silero_vad_16k_sequence.onnx": {"input": (32, 576)},
}

#: Which branches are taken, by file and node: both files of silero-vad ask whether the sound comes at 16 kHz.
BRANCHES: Mapping[str, Mapping[str, float]] = {
    "silero_vad.onnx": {"If_0": 1.0},
    "silero_vad_op18_ifless.onnx": {"node_cond__1": 1.0},
}


def model_files(packages: Sequence[str], folders: Sequence[Path]) -> list[Path]:
    """ONNX files of installed distributions and in folders.

    Raises:
        metadata.PackageNotFoundError: a distribution is not installed.
    """
    found = [path for folder in folders for path in sorted(folder.rglob("*.onnx"))]
    for package in packages:
        listed = metadata.distribution(package).files or []
        found += sorted(Path(str(one.locate())) for one in listed if one.suffix == ".onnx")
    return list(dict.fromkeys(found))


def read_files(
    paths: Sequence[Path], setting: LocalSetting, scratch: Path
) -> tuple[list[Workload], dict[str, str]]:  # fmt: skip
    """The files as workloads, and for those that cannot be measured or taken apart, why."""
    found: list[Workload] = []
    refused: dict[str, str] = {}
    for place, path in enumerate(paths):
        name = f"{path.parent.name}/{path.name}"
        shapes = SHAPES.get(path.name) or SHAPES.get(name)
        folder = scratch / str(place)
        folder.mkdir()
        try:
            workload = read_model(path, shapes, folder)
            for way in ControlFlow(BRANCHES.get(path.name, {})).ways(workload, folder):
                kernels(way.workload, setting.profile)
        except EdgecostError as error:
            refused[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        # Many a file is called model.onnx.
        found.append(replace(workload, name=name))
    return found, refused


def sampled(count: int) -> dict[str, list[Workload]]:
    """Random networks of every built-in space, by the space's name."""
    spaces = {name: load_space(name) for name in space_names()}
    return {name: [space.build(arch) for arch in space.sample(count, 0)] for name, space in spaces.items()}


def of_other_families(audit: AdditivityAudit, families: Mapping[str, str]) -> dict[str, float]:
    """Each network's error by a correction that was fitted on no network of its family."""
    known = [one for one in audit.networks if not one.missing]
    numbers = {name: place for place, name in enumerate(sorted(set(families.values())))}
    composed = held_out(
        np.array([one.sum_ms for one in known]),
        np.array([one.own_bytes for one in known], np.float64),
        np.array([one.latency_ms for one in known]),
        [numbers[families[one.model]] for one in known],
        np.array([one.kernels for one in known], np.float64),
    )
    if composed is None:
        return {}
    return {one.name: value / one.latency_ms - 1 for one, value in zip(known, composed.tolist(), strict=True)}


def block_sums(
    networks: Sequence[ReferenceNetwork], store: Store, setting: LocalSetting, settings: Settings
) -> dict[str, float | None]:
    """Σ of a network's blocks measured alone, each less the overhead of a call, in ms; None where one is missing."""
    parts = {network.name: [part for _, part in network.part_workloads()] for network in networks}
    distinct = {part.graph_hash: part for of_one in parts.values() for part in of_one}
    wanted = [Planned(part, "cell", part.name) for part in distinct.values()]
    measure_planned(store, setting, "blocks", "blocks", wanted, Silent(), "measuring blocks", settings=settings)
    made: dict[str, list[float]] = defaultdict(list)
    for measurement in store.measurements(
        device_identity=setting.device.identity, profile_hash=setting.profile.profile_hash, purposes=("cell",)
    ):
        if measurement.latency is not None:
            # Below the overhead of a call a block cannot be told from nothing.
            made[measurement.graph_hash].append(max(0.0, measurement.net_ms or 0.0))
    return {
        name: sum(statistics.median(made[part.graph_hash]) for part in of_one)
        if all(made[part.graph_hash] for part in of_one)
        else None
        for name, of_one in parts.items()
    }


def rows(
    audit: AdditivityAudit, blocks: Mapping[str, float | None], families: Mapping[str, str]
) -> list[dict[str, object]]:
    made = []
    apart = of_other_families(audit, families)
    for one in audit.networks:
        of_blocks = blocks.get(one.name)
        made.append(
            {
                "network": one.name,
                "family": families[one.model],
                "kernels": one.kernels,
                "missing_kernels": one.missing,
                "latency_ms": one.latency_ms,
                "sum_of_kernels_ms": one.sum_ms,
                "sum_of_kernels_error": one.sum_error,
                "sum_of_blocks_ms": of_blocks,
                "sum_of_blocks_error": None if of_blocks is None else of_blocks / one.latency_ms - 1,
                "composed_ms": one.composed_ms,
                "composed_error": one.composed_error,
                "composed_error_other_families": apart.get(one.name),
            }
        )
    return made


def sentence(found: Sequence[Mapping[str, object]]) -> str:
    """What the result means."""
    complete = [row for row in found if not row["missing_kernels"]]
    if not complete:
        return "Nothing can be said: no network has all of its kernels."
    plain = statistics.median(abs(row["sum_of_kernels_error"]) for row in complete)
    text = f"The sum of its kernels is off by {plain:.1%} in the middle network"
    for name, told in (("composed_error", "networks"), ("composed_error_other_families", "families")):
        composed = [abs(row[name]) for row in complete if row[name] is not None]
        if composed:
            within = sum(error <= 0.05 for error in composed)
            text += f"; with a correction fitted on the other {told}, {within} of {len(composed)} are within 5 %"
    return f"{text}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="*", choices=REFERENCE_NETWORKS, default=NETWORKS, metavar="NAME")
    parser.add_argument("--package", action="append", default=[], help="and this installed package's files; repeatable")
    parser.add_argument("--folder", action="append", default=[], type=Path, help="and this folder's files; repeatable")
    parser.add_argument("--sampled", type=int, default=0, help="and so many networks of each built-in space")
    parser.add_argument("--preset", choices=PRESETS, default="standard", help="settings [default: standard]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    setting, settings = LocalSetting.here(), PRESETS[arguments.preset]
    about = head(setting)
    references = [reference_network(name) for name in arguments.networks]
    with tempfile.TemporaryDirectory(prefix="edgecost-") as name, Store(Path(name, "fresh.sqlite")) as store:
        files, refused = read_files(model_files(arguments.package, arguments.folder), setting, Path(name))
        random = sampled(arguments.sampled)
        workloads = [
            *(one.workload() for one in references),
            *files,
            *(one for made in random.values() for one in made),
        ]
        families = {one.name: space for space, made in random.items() for one in made}
        families |= {one.name: one.name.partition("/")[0] for one in [*references, *files]}
        stated = {node: share for file in files for node, share in BRANCHES.get(Path(file.name).name, {}).items()}
        flow = ControlFlow(stated)
        audit = audit_additivity(workloads, store, setting, Silent(), settings=settings, control_flow=flow)
        blocks = block_sums(references, store, setting, settings) if references else {}
        found = rows(audit, blocks, families)
    statuses = Counter("measured" if row["missing_kernels"] == 0 else "kernels missing" for row in found)
    unmeasured = sorted({one.name for one in workloads} - {str(row["network"]) for row in found})
    meaning = sentence(found)
    if arguments.json:
        result = {"networks": found, "refused": refused, "without_end_to_end": unmeasured, "statuses": statuses}
        print_json({**about, **result, "audit": audit.document(), "meaning": meaning})
        return
    print_head(about)
    titles = ("end to end ms", "Σ kernels", "Σ blocks", "composed", "by others")
    print(f"{'network':46s} {'kernels':>8s}", *(f"{title:>14s}" for title in titles))
    for row in found:
        errors = [_percent(row[name]) for name in ERRORS]
        mark = f" ({row['missing_kernels']} kernels cannot be measured alone)" if row["missing_kernels"] else ""
        print(f"{row['network']:46s} {row['kernels']:8d} {row['latency_ms']:14.3f}", *errors, mark)
    for name, cause in refused.items():
        print(f"{name:46s} {cause[:90]}")
    for name in unmeasured:
        print(f"{name:46s} not measured end to end")
    print(f"\n{meaning}")


def _percent(value: float | None) -> str:
    return f"{'–' if value is None else format(value * 100, '+.2f') + ' %':>14s}"


if __name__ == "__main__":
    main()
