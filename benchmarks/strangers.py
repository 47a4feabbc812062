"""Networks that nobody has measured: a predictor that knows only random kernels, judged on five unlike families.

Kernels of random blocks are measured and trained on; reference networks fit what a network takes beyond its kernels;
then random networks of five families, none of which took any part, are measured and compared. Beside it stand what two
measurements differ by, a line through FLOPs, the plain sum of kernels, and random forests per kind of kernel, as
nn-Meter has them.

Run it:  python benchmarks/strangers.py --kernels 1400 --networks 16
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from measuring import Silent, head, print_head, print_json
from random_networks import FAMILIES, random_networks
from sklearn.ensemble import RandomForestRegressor

from edgecost import Store
from edgecost.costmodels.campaign import Planned
from edgecost.costmodels.composition import bytes_moved, fit_composition
from edgecost.costmodels.dataset import load_samples, sample_kernels
from edgecost.costmodels.features import feature_matrix
from edgecost.costmodels.kernel_campaign import measure_random_kernels
from edgecost.costmodels.kernel_work import kind_of, work_of
from edgecost.costmodels.local_setting import LocalSetting
from edgecost.costmodels.predictor import Graph, LatencyPredictor
from edgecost.costmodels.space_campaign import measure_planned
from edgecost.costmodels.training import train
from edgecost.costmodels.validation import Accuracy, accuracy
from edgecost.profiler.graphs.networks import REFERENCE_NETWORKS, reference_network
from edgecost.profiler.kernels.graph import kernels
from edgecost.profiler.protocol import PRESETS, Settings
from edgecost.profiler.workload import Workload

#: Processes that each network is measured in.
SESSIONS = 2
#: They fit the correction; BERT-base alone would take as long as all others.
REFERENCES = tuple(name for name in REFERENCE_NETWORKS if name != "bert_base")
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Forests:
    """A random forest per kind of kernel on its features, summed: the method of nn-Meter (Zhang et al., MobiSys 2021).

    A kind that was never measured costs nothing, as there.
    """

    def __init__(self, graphs: Sequence[Graph], latency_ms: Floats, seed: int) -> None:
        single = [(graph[0], value) for graph, value in zip(graphs, latency_ms, strict=True) if len(graph) == 1]
        self.forests = {}
        for kind in {kind_of(kernel) for kernel, _ in single}:
            rows = [(kernel, value) for kernel, value in single if kind_of(kernel) == kind]
            forest = RandomForestRegressor(n_estimators=100, random_state=seed, n_jobs=1)
            self.forests[kind] = forest.fit(
                feature_matrix([kernel for kernel, _ in rows]), [value for _, value in rows]
            )

    def sums_ms(self, graphs: Sequence[Graph]) -> Floats:
        """Σ of each graph's kernels."""
        flat = [kernel for graph in graphs for kernel in graph]
        prices = np.zeros(len(flat))
        kinds = [kind_of(kernel) for kernel in flat]
        for kind, forest in self.forests.items():
            rows = [place for place, one in enumerate(kinds) if one == kind]
            if rows:
                prices[rows] = forest.predict(feature_matrix([flat[place] for place in rows]))
        return np.add.reduceat(prices, np.cumsum([0, *(len(graph) for graph in graphs)][:-1]))


def measure_networks(
    networks: Sequence[Workload], store: Store, setting: LocalSetting, settings: Settings, name: str
) -> dict[str, tuple[float, ...]]:
    """Net latency in ms of each network in each session, by graph hash."""
    wanted = [
        Planned(network, "network", network.name, priority=-1 - session, round=session)
        for session in range(SESSIONS)
        for network in networks
    ]
    measure_planned(store, setting, name, name, wanted, Silent(), "measuring networks", settings=settings)
    samples = load_samples(store, setting.device.identity, setting.profile, purposes=("network",))
    return {sample.workload.graph_hash: sample.sessions_ms for sample in samples}


def estimates(predictor: LatencyPredictor, forests: Forests, known: Sequence[Graph], known_ms: Floats,
              strangers: Sequence[Graph], cache: int | None) -> dict[str, Floats]:  # fmt: skip
    """What each method says of the strangers, in ms, having seen only the reference networks whole."""
    flops_known, flops = (_gigaflops(graphs) for graphs in (known, strangers))
    line, *_ = np.linalg.lstsq(
        np.column_stack([np.ones(len(known)), flops_known]) / known_ms[:, None], np.ones(len(known)), rcond=None
    )
    moved_known, moved = (np.array([bytes_moved(graph, cache) for graph in graphs]) for graphs in (known, strangers))
    corrected = fit_composition(forests.sums_ms(known), moved_known, known_ms)
    return {
        "edgecost": _totals(predictor, strangers, network=True),
        "edgecost, plain sum": _totals(predictor, strangers, network=False),
        "forests, corrected like edgecost": corrected.compose(forests.sums_ms(strangers), moved),
        "forests, plain sum": forests.sums_ms(strangers),
        "line through FLOPs": np.column_stack([np.ones(len(flops)), flops]) @ line,
    }


def _totals(predictor: LatencyPredictor, graphs: Sequence[Graph], *, network: bool) -> Floats:
    """Lower bounds count as what they are: too low."""
    return np.array([price.total_ms for price in predictor.price(graphs, network=network)])


def _gigaflops(graphs: Sequence[Graph]) -> Floats:
    return np.array([sum(work_of(kernel).mega_flops for kernel in graph) / 1e3 for graph in graphs])


def with_factor(guess: Floats, truth: Floats, count: int) -> tuple[Floats, Floats]:
    """Guesses times the factor that a family's first networks ask for, and the truth, of its other networks."""
    factor = float(np.median(truth[:count] / guess[:count]))
    return factor * guess[count:], truth[count:]


def judge(
    guesses: Mapping[str, Floats], truth: Floats, family: Sequence[str], factor_networks: int
) -> dict[str, object]:
    """Accuracy of each method, over all strangers and by family; then with a factor from some of each family."""
    families = np.array(family)
    found: dict[str, object] = {}
    for method, guess in guesses.items():
        by_family = {one: accuracy(guess[families == one], truth[families == one]) for one in FAMILIES}
        parts = [with_factor(guess[families == one], truth[families == one], factor_networks) for one in FAMILIES]
        fitted = accuracy(*(np.concatenate(side) for side in zip(*parts, strict=True)))
        found[method] = {
            "all": _table(accuracy(guess, truth)),
            "by_family": {one: _table(value) for one, value in by_family.items()},
            "with_factor": _table(fitted),
        }
    return found


def _table(value: Accuracy | None) -> dict[str, object] | None:
    if value is None:
        return None
    names = ("n", "mape_percent", "within_2", "within_5", "within_10", "worst_percent", "spearman")
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def run(kernel_count: int, count: int, factor_networks: int, seed: int, settings: Settings) -> dict[str, object]:
    """The whole comparison in a fresh database."""
    setting = LocalSetting.here()
    identity, profile, cache = setting.device.identity, setting.profile, setting.core_cache_bytes
    with tempfile.TemporaryDirectory(prefix="edgecost-") as folder, Store(Path(folder, "fresh.sqlite")) as store:
        begin = time.monotonic()
        measured = measure_random_kernels(store, setting, Silent(), count=kernel_count, seed=seed)
        kernels_s = time.monotonic() - begin
        references = [reference_network(name).workload() for name in REFERENCES]
        known_ms = measure_networks(references, store, setting, settings, "references")
        begin = time.monotonic()
        report = train(store, identity, profile, core_cache_bytes=cache, random_state=seed)
        training_s = time.monotonic() - begin
        samples = load_samples(store, identity, profile)
        forests = Forests(sample_kernels(samples, profile), np.array([one.latency_ms for one in samples]), seed)
        families = random_networks(count, seed)
        drawn = [(family, one) for family, made in families.items() for one in made]
        strangers_ms = measure_networks([one for _, one in drawn], store, setting, settings, "strangers")
    references = [one for one in references if one.graph_hash in known_ms]
    drawn = [(family, one) for family, one in drawn if one.graph_hash in strangers_ms]
    known = [kernels(one, profile) for one in references]
    truth = np.array([np.median(strangers_ms[one.graph_hash]) for _, one in drawn])
    guesses = estimates(
        report.predictor, forests, known, np.array([np.median(known_ms[one.graph_hash]) for one in references]),
        [kernels(one, profile) for _, one in drawn], cache,
    )  # fmt: skip
    sessions = np.array([strangers_ms[one.graph_hash][:2] for _, one in drawn if len(strangers_ms[one.graph_hash]) > 1])
    return {
        "kernels": measured.measured,
        "kernels_s": kernels_s,
        "training_s": training_s,
        "kernels_held_out": _table(report.held_out),
        "composition": report.document()["composition"],
        "strangers": len(drawn),
        "floor": _table(accuracy(sessions[:, 1], sessions[:, 0])) if len(sessions) else None,
        "methods": judge(guesses, truth, [family for family, _ in drawn], factor_networks),
        "networks": [
            {"family": family, "latency_ms": float(value), **{name: float(one[place]) for name, one in guesses.items()}}
            for place, ((family, _), value) in enumerate(zip(drawn, truth, strict=True))
        ],
    }


def sentence(result: Mapping[str, object]) -> str:
    """What the result means."""
    methods, floor = result["methods"], result["floor"]
    ours, flops = methods["edgecost"]["all"], methods["line through FLOPs"]["all"]
    return (
        f"Of {result['strangers']} networks that had no part in anything, {ours['within_10']:.0%} are predicted within"
        f" 10 % and {ours['within_5']:.0%} within 5 % (FLOPs: {flops['within_10']:.0%}, {flops['within_5']:.0%}); two"
        f" measurements of one network agree within 5 % for {floor['within_5']:.0%}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=int, default=1400, help="kernels to learn from [default: 1400]")
    parser.add_argument("--networks", type=int, default=16, help="networks of each family [default: 16]")
    parser.add_argument("--factor", type=int, default=8, help="of these, networks that fit a factor [default: 8]")
    parser.add_argument("--seed", type=int, default=0, help="of kernels, networks and trees [default: 0]")
    parser.add_argument("--preset", choices=PRESETS, default="standard", help="for networks [default: standard]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not 0 < arguments.factor < arguments.networks:
        parser.error("--factor must lie between 0 and --networks: the other networks of a family judge it")
    about = head(LocalSetting.here())
    result = run(arguments.kernels, arguments.networks, arguments.factor, arguments.seed, PRESETS[arguments.preset])
    meaning = sentence(result)
    if arguments.json:
        print_json({**about, **result, "meaning": meaning})
        return
    print_head(about)
    print(f"{result['kernels']} kernels in {result['kernels_s']:.0f} s, trained in {result['training_s']:.1f} s")
    print(f"{'two measurements':34s} {_line(result['floor'])}")
    for method, tables in result["methods"].items():
        print(f"\n{method:34s} {_line(tables['all'])}")
        for family, table in tables["by_family"].items():
            print(f"  {family:32s} {_line(table)}")
        print(f"  {f'with a factor from {arguments.factor} of its family':32s} {_line(tables['with_factor'])}")
    print(f"\n{meaning}")


def _line(table: Mapping[str, object] | None) -> str:
    if table is None:
        return "–"
    within = "  ".join(f"≤ {limit} %: {table[f'within_{limit}']:6.1%}" for limit in (2, 5, 10))
    return f"mean {table['mape_percent']:6.2f} %  {within}  ρ {table.get('spearman') or float('nan'):.3f}"


if __name__ == "__main__":
    main()
