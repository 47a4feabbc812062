"""Networks that nobody has measured: a predictor that knows only random kernels, judged on five unlike families.

Kernels of random blocks are measured and trained on, as ``edgecost campaign kernels`` does it; reference networks and
random ones fit what a network takes beyond its kernels. Random networks of five families and the .onnx files of
``--package`` and ``--folder``, none of which took any part, are measured before and after, and compared. Beside it
stand what two measurements differ by, a line through FLOPs, the plain sum of kernels, a plain table of kernels, and
random forests per kind of kernel, as nn-Meter has them.

Run it:  python benchmarks/strangers.py --kernels 1400 --networks 16 --db strangers.sqlite

With ``--db`` what was measured stays, and a run that was stopped goes on; ``--offline`` measures nothing and judges
what is there, in several databases if ``--db`` is repeated.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from additivity import model_files, read_files
from baselines import Floats, flops_line, forests, gigaflops, plain_table
from measuring import Silent, head, print_head, print_json
from random_networks import random_networks

from edgecost import Store
from edgecost.costmodels.campaign import Planned
from edgecost.costmodels.composition import fit_composition, network_bytes
from edgecost.costmodels.conformal import cross_coverage
from edgecost.costmodels.dataset import NETWORK_PURPOSES, Sample, load_samples, sample_kernels
from edgecost.costmodels.kernel_campaign import NETWORKS, measure_random_kernels, plan_networks
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.planned_campaign import measure_planned
from edgecost.costmodels.predictor import Graph, LatencyPredictor
from edgecost.costmodels.validation import Accuracy, accuracy
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.protocol import PRESETS, Settings, preset
from edgecost.profiler.workload import Workload

FILES = "files"
ALPHAS = (0.2, 0.1, 0.05)
OURS = "edgecost"


@dataclass(frozen=True)
class Strangers:
    """The networks that judge, in one order: family, graph, sessions."""

    families: tuple[str, ...]
    names: tuple[str, ...]
    graphs: tuple[Graph, ...]
    sessions_ms: tuple[tuple[float, ...], ...]

    @property
    def latency_ms(self) -> Floats:
        return np.array([np.median(sessions) for sessions in self.sessions_ms])


@dataclass(frozen=True)
class Learnt:
    """What the methods may learn from: blocks and kernels, and reference networks; the sessions of all of them."""

    blocks: tuple[Graph, ...]
    blocks_ms: Floats
    networks: tuple[Graph, ...]
    networks_ms: Floats
    sessions_ms: tuple[tuple[float, ...], ...]


def measure_networks(
    networks: Sequence[Workload], store: Store, setting: LocalSetting, settings: Settings, session: int
) -> None:
    """Once more, where the store has not got that many sessions of them."""
    wanted = [Planned(network, "network", network.name, round=session) for network in networks]
    measure_planned(store, setting, "strangers", "strangers", wanted, Silent(), "measuring", settings=settings)


def samples_of(stores: Sequence[Store], setting: LocalSetting, *, networks: bool) -> list[Sample]:
    """Of all stores, each graph once."""
    found: dict[str, Sample] = {}
    for store in stores:
        options = {"purposes": NETWORK_PURPOSES} if networks else {}
        for sample in load_samples(store, setting.device.identity, setting.profile, **options):
            found.setdefault(sample.workload.graph_hash, sample)
    return list(found.values())


def learnt(stores: Sequence[Store], setting: LocalSetting, references: Sequence[Workload]) -> Learnt:
    """Not the strangers, though the store has them as well: only reference networks teach what a network takes."""
    blocks = samples_of(stores, setting, networks=False)
    known = {sample.workload.graph_hash: sample for sample in samples_of(stores, setting, networks=True)}
    there = [known[one.graph_hash] for one in references if one.graph_hash in known]
    return Learnt(
        tuple(sample_kernels(blocks, setting.profile)),
        np.array([sample.latency_ms for sample in blocks]),
        tuple(sample_kernels(there, setting.profile)),
        np.array([sample.latency_ms for sample in there]),
        tuple(sample.sessions_ms for sample in (*blocks, *there)),
    )


def strangers(stores: Sequence[Store], setting: LocalSetting, drawn: Mapping[str, Sequence[Workload]]) -> Strangers:
    """Those of the drawn networks that were measured."""
    known = {sample.workload.graph_hash: sample for sample in samples_of(stores, setting, networks=True)}
    there = [(family, one) for family, made in drawn.items() for one in made if one.graph_hash in known]
    return Strangers(
        tuple(family for family, _ in there),
        tuple(one.name for _, one in there),
        tuple(kernels(one, setting.profile) for _, one in there),
        tuple(known[one.graph_hash].sessions_ms for _, one in there),
    )


def estimates(
    predictor: LatencyPredictor, known: Learnt, asked: Sequence[Graph], cache: int | None, seed: int
) -> dict[str, Floats]:
    """What each method says of the strangers, in ms, having seen only the reference networks whole."""
    own_known, own = (np.array([network_bytes(graph, cache) for graph in graphs]) for graphs in (known.networks, asked))
    found = {
        OURS: _totals(predictor, asked, network=True),
        "edgecost, plain sum": _totals(predictor, asked, network=False),
    }
    others = {
        "forests": forests(known.blocks, known.blocks_ms, seed),
        "plain table": plain_table(known.blocks, known.blocks_ms),
    }
    for name, model in others.items():
        corrected = fit_composition(model.sums_ms(known.networks), own_known, known.networks_ms)
        found[f"{name}, corrected like edgecost"] = corrected.compose(model.sums_ms(asked), own)
        found[f"{name}, plain sum"] = model.sums_ms(asked)
    found["line through FLOPs"] = flops_line(gigaflops(known.networks), known.networks_ms, gigaflops(asked))
    return found


def _totals(predictor: LatencyPredictor, graphs: Sequence[Graph], *, network: bool) -> Floats:
    """Lower bounds count as what they are: too low."""
    return np.array([price.total_ms for price in predictor.price(graphs, network=network)])


def judge(guesses: Mapping[str, Floats], of: Strangers, factor_networks: int) -> dict[str, dict[str, object]]:
    """Accuracy of each method over all strangers and by family; then with a factor from some of each family."""
    families, truth, flops = np.array(of.families), of.latency_ms, gigaflops(of.graphs)
    found: dict[str, dict[str, object]] = {}
    for method, guess in guesses.items():
        parts = {}
        for one in dict.fromkeys(of.families):
            rows = np.flatnonzero(families == one)
            if one == FILES or len(rows) <= factor_networks:
                continue  # files are no family: one factor says nothing about another
            fitted, judged = rows[:factor_networks], rows[factor_networks:]
            if method == "line through FLOPs":  # a line of its own for each family, from the same networks
                better = flops_line(flops[fitted], truth[fitted], flops[judged])
            else:
                better = guess[judged] * float(np.median(truth[fitted] / guess[fitted]))
            parts[one] = (better, truth[judged])
        whole = [np.concatenate(side) for side in zip(*parts.values(), strict=True)] if parts else None
        found[method] = {
            "all": _table(accuracy(guess, truth)),
            "by_family": {
                one: _table(accuracy(guess[families == one], truth[families == one]))
                for one in dict.fromkeys(of.families)
            },
            "with_factor": _table(accuracy(*whole)) if whole else None,
            "with_factor_by_family": {one: _table(accuracy(*pair)) for one, pair in parts.items()},
        }
    return found


def coverage(predictor: LatencyPredictor, known: Learnt, of: Strangers) -> dict[str, dict[str, float | None]]:
    """Share inside the intervals by nominal coverage: held-out blocks and kernels, and strangers, by family too."""
    errors = np.abs(np.log(predictor.held_out_ms_ / known.blocks_ms))
    sure = np.isfinite(errors)
    families, found = np.array(of.families), {}
    for alpha in ALPHAS:
        bounds = predictor.predict_interval(of.graphs, alpha=alpha, network=True)
        inside = (bounds[:, 0] <= of.latency_ms) & (of.latency_ms <= bounds[:, 1])
        there = np.isfinite(bounds[:, 0])
        row: dict[str, float | None] = {
            "held-out kernels and blocks": cross_coverage(errors[sure], predictor.fold_[sure], alpha),
            "networks": float(inside[there].mean()) if there.any() else None,
        }
        for one in dict.fromkeys(of.families):
            rows = there & (families == one)
            row[one] = float(inside[rows].mean()) if rows.any() else None
        found[f"{1 - alpha:.0%}"] = row
    return found


def _table(value: Accuracy | None) -> dict[str, object] | None:
    if value is None:
        return None
    names = ("n", "mape_percent", "within_2", "within_5", "within_10", "worst_percent", "spearman")
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def run(arguments: argparse.Namespace, setting: LocalSetting) -> dict[str, object]:
    """The whole comparison."""
    seed, cache = arguments.seed, setting.core_cache_bytes
    settings = preset(arguments.preset, target=arguments.target)
    references = plan_networks(arguments.references, seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgecost-")))
        stores = [stack.enter_context(Store(path)) for path in arguments.db or [folder / "fresh.sqlite"]]
        drawn: dict[str, list[Workload]] = dict(random_networks(arguments.networks, seed))
        files, refused = read_files(model_files(arguments.package, arguments.folder), setting, folder)
        if files:
            drawn[FILES] = files
        begin = time.monotonic()
        if not arguments.offline:
            # In random order: else a machine that drifts would look like families that differ.
            everyone = [one for made in drawn.values() for one in made]
            random.Random(seed).shuffle(everyone)
            measure_networks(everyone, stores[0], setting, settings, 0)
            plan = {"count": arguments.kernels, "networks": arguments.references, "seed": seed}
            usual = preset("standard", target=arguments.target)
            measure_random_kernels(stores[0], setting, Silent(), **plan, settings=usual)
            measure_networks(everyone, stores[0], setting, settings, 1)
        measuring_s = time.monotonic() - begin
        known, of = learnt(stores, setting, references), strangers(stores, setting, drawn)
    begin = time.monotonic()
    predictor = LatencyPredictor(random_state=seed).fit(
        [*known.blocks, *known.networks],
        [*known.blocks_ms, *known.networks_ms],
        is_network=[False] * len(known.blocks) + [True] * len(known.networks),
        sessions_ms=known.sessions_ms,
        core_cache_bytes=cache,
    )
    training_s = time.monotonic() - begin
    guesses = estimates(predictor, known, of.graphs, cache, seed)
    twice = np.array([sessions[:2] for sessions in of.sessions_ms if len(sessions) > 1])
    return {
        "kernels": len(known.blocks),
        "references": len(known.networks),
        "measuring_s": measuring_s,
        "training_s": training_s,
        "kernels_held_out": _table(accuracy(predictor.held_out_ms_, known.blocks_ms)),
        "strangers": len(of.graphs),
        "refused_files": refused,
        "floor": _table(accuracy(twice[:, 1], twice[:, 0])) if len(twice) else None,
        "methods": judge(guesses, of, arguments.factor),
        "coverage": coverage(predictor, known, of),
        "networks": [
            {"family": family, "name": name, "latency_ms": float(value), **{m: float(g[k]) for m, g in guesses.items()}}
            for k, (family, name, value) in enumerate(zip(of.families, of.names, of.latency_ms, strict=True))
        ],
    }


def sentence(result: Mapping[str, object]) -> str:
    """What the result means."""
    methods, floor = result["methods"], result["floor"]
    ours, flops = methods[OURS]["all"], methods["line through FLOPs"]["all"]
    told = (
        f"Of {result['strangers']} networks that had no part in anything, {ours['within_10']:.0%} are predicted within"
        f" 10 % and {ours['within_5']:.0%} within 5 % (FLOPs: {flops['within_10']:.0%}, {flops['within_5']:.0%})"
    )
    return told + (f"; two measurements of one network agree within 5 % for {floor['within_5']:.0%}." if floor else ".")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that ``accuracy.py`` has as well."""
    parser.add_argument("--kernels", type=int, default=1400, help="kernels to learn from [default: 1400]")
    parser.add_argument(
        "--references", type=int, default=NETWORKS, help=f"whole networks to learn from [default: {NETWORKS}]"
    )
    parser.add_argument("--networks", type=int, default=16, help="networks of each family [default: 16]")
    parser.add_argument("--factor", type=int, default=8, help="of these, networks that fit a factor [default: 8]")
    parser.add_argument("--package", action="append", default=[], help="and this installed package's files; repeatable")
    parser.add_argument("--folder", action="append", default=[], type=Path, help="and this folder's files; repeatable")
    parser.add_argument("--db", action="append", type=Path, help="database in which what is measured stays; repeatable")
    parser.add_argument("--offline", action="store_true", help="measure nothing: judge what the databases hold")
    parser.add_argument("--preset", choices=PRESETS, default="standard", help="for networks [default: standard]")
    parser.add_argument("--target", type=float, help="half the interval wanted [default: the preset's]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--seed", type=int, default=0, help="of kernels, networks and trees [default: 0]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not 0 < arguments.factor < arguments.networks:
        parser.error("--factor must lie between 0 and --networks: the other networks of a family judge it")
    if arguments.offline and not arguments.db:
        parser.error("--offline needs the databases: --db FILE")
    setting = LocalSetting.here()
    about = head(setting)
    result = run(arguments, setting)
    meaning = sentence(result)
    if arguments.json:
        print_json({**about, **result, "meaning": meaning})
        return
    print_head(about)
    print("\n".join(lines(result, arguments.factor)))
    print(f"\n{meaning}")


def lines(result: Mapping[str, object], factor_networks: int) -> list[str]:
    """Markdown tables."""
    told = [
        f"{result['kernels']} kernels and blocks, {result['references']} reference networks, measured in"
        f" {result['measuring_s']:.0f} s, trained in {result['training_s']:.1f} s",
        "",
        f"| {result['strangers']} networks | n | mean error | ±2 % | ±5 % | ±10 % | ρ |",
        "|---" * 7 + "|",
        _line("measured again in another process (the floor)", result["floor"]),
    ]
    for method, tables in result["methods"].items():
        told.append(_line(f"**{method}**" if method == OURS else method, tables["all"]))
        if method in (OURS, "line through FLOPs"):
            told += [_line(f"— {family}", table) for family, table in tables["by_family"].items()]
        title = "its own line" if method == "line through FLOPs" else "a factor"
        told.append(_line(f"— with {title} from {factor_networks} of each family", tables["with_factor"]))
        if method in (OURS, "line through FLOPs"):
            told += [_line(f"— — {family}", table) for family, table in tables["with_factor_by_family"].items()]
    told += [_line("kernels and blocks, held out", result["kernels_held_out"])]
    told += [f"not measured: {name}: {cause[:90]}" for name, cause in result["refused_files"].items()]
    return told


def _line(title: str, table: Mapping[str, object] | None) -> str:
    if table is None:
        return f"| {title} | 0 | – | – | – | – | – |"
    within = " | ".join(f"{table[f'within_{limit}']:.1%}" for limit in (2, 5, 10))
    rho = "–" if table.get("spearman") is None else f"{table['spearman']:.4f}"
    return f"| {title} | {table['n']} | {table['mape_percent']:.2f} % | {within} | {rho} |"


if __name__ == "__main__":
    main()
