"""``edgecost onboard --kernels``: a predictor for any network, from few kernels and a device that is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import Talk, few, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.cards.model_card import ModelCard
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.onboarding.kernel_sources import KernelSource
    from ..costmodels.onboarding.kernel_transfer import KernelPlan, Transferred
    from ..profiler.records import Json, RuntimeProfile

#: What each of the models that are compared is called.
_NAMES = {
    "as it is": "the known device's predictor as it is",
    "one factor": "with one factor for all kernels",
    "shift": "with factors by family, kind and size (this one)",
}


def onboard_kernels(
    profile: RuntimeProfile,
    *,
    budget: int,
    folder: Path | None,
    dry_run: bool,
    seed: int,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Plan kernels, measure them, translate what a known device measured, and write the predictor."""
    from ..costmodels.dataset import NETWORK_PURPOSES, load_samples
    from ..costmodels.kernel_times import measure_kernels
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.onboarding.kernel_sources import PURPOSES, kernel_sources
    from ..costmodels.onboarding.kernel_transfer import plan_transfer, transfer
    from ..costmodels.onboarding.transfer_card import transfer_card
    from ..db import Store
    from ..profiler.protocol import Settings

    setting = LocalSetting.here(profile)
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        talk.stage("reading the kernels of known devices")
        sources, notes = kernel_sources(store, setting.device, profile)
        for note in notes:
            talk.note(note)
        plan = plan_transfer(sources, budget)
        if dry_run:
            _show_plan(plan, sources, as_json)
            return
        name = f"onboard-kernels-{profile.profile_hash[:8]}"
        measure_kernels(plan.workloads, store, setting, talk, Settings(seed=seed), name)
        identity = setting.device.identity
        measured = load_samples(store, identity, profile, purposes=PURPOSES)
        networks = load_samples(store, identity, profile, purposes=NETWORK_PURPOSES)
        talk.stage("translating and training")
        made = transfer(sources, measured, networks, profile, core_cache_bytes=setting.core_cache_bytes, seed=seed)
        card = transfer_card(made, store, setting.device, profile, seed=seed)
    where = folder or _default_folder(setting)
    _save(made, card, setting, where)
    if as_json:
        print_json(
            {"device": setting.device.name, "profile": profile.label, **made.document(), "predictor": str(where)}
        )
        return
    _print(made, setting)
    click.echo(f"Written to {where}. Next: edgecost predict MODEL.onnx --predictor {where}")


def _default_folder(setting: LocalSetting) -> Path:
    """Beside the predictor of `train`, never in its place."""
    from ..costmodels.predictor_folder import default_predictor

    trained = default_predictor(setting.device.identity, setting.profile)
    return trained.with_name(f"{trained.name}-onboarded")


def _save(made: Transferred, card: ModelCard, setting: LocalSetting, folder: Path) -> None:
    from ..costmodels.cards.card_file import plain_json, write_card
    from ..costmodels.predictor_file import FILES, save_predictor
    from ..costmodels.quickstart import training_provenance

    origin: dict[str, Json] = {
        **training_provenance(setting),
        "metric": "latency",
        "trained_at": card.made_at,
        "environment": plain_json(dict(setting.stage.environment.document)),
        "transfer": made.document(),
    }
    save_predictor(made.predictor, folder, origin)
    write_card(card, folder, FILES)


def _show_plan(plan: KernelPlan, sources: list[KernelSource], as_json: bool) -> None:
    if as_json:
        known = [{"name": source.name, "kernels": len(source.samples)} for source in sources]
        kernels = [{"name": one.name, "graph_hash": one.graph_hash} for one in plan.workloads]
        print_json({"known_devices": known, "kinds": dict(plan.kinds), "plan": kernels})
        return
    for source in sources:
        click.echo(f"Known: {source.name}, {len(source.samples)} kernels")
    rows = sorted(plan.kinds.items(), key=lambda item: -item[1])
    print_table(f"{len(plan.workloads)} kernels to measure", ["kind", "kernels"], [[k, str(n)] for k, n in rows])
    click.echo("Nothing was measured: leave out --dry-run to do it.")


def _print(made: Transferred, setting: LocalSetting) -> None:
    shares = [f"{name} {percent(weight, 0)}" for name, weight in made.weights.items()]
    click.echo(f"{setting.device.description}, {setting.profile.label}: {made.kernels} kernels measured here")
    click.echo(f"  translated from  {few(shares)}")
    click.echo(f"  common factor    {made.factor:.2f} × the known device's latency")
    print_table(
        f"On these {made.kernels} kernels, each unknown to the model that prices it",
        ["predictor", "mean error", "within ±10 %"],
        [
            [told, f"{made.errors_percent[name]:.1f} %", percent(made.within_10[name], 0)]
            for name, told in _NAMES.items()
        ],
    )
    click.echo("\n".join(made.efficiency.lines()))
    if made.networks:
        click.echo(f"What a network takes beyond its kernels: from {made.networks} networks measured here.")
    elif made.predictor.composition_ is not None:
        click.echo(
            "What a network takes beyond its kernels: as on the known device, so whole networks get no interval."
        )
        click.echo("Measure some here (edgecost profile MODEL.onnx), then run this again.")
    else:
        click.echo("No correction for whole networks, and no interval: none was measured here or there.")
