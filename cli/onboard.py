"""``edgecost onboard`` and ``price``: learn a device from few measurements, then price networks of the space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..profiler.errors import UsageError
from .controls import control_option
from .options import INPUT_FILE, OUTPUT_FOLDER, ShareType, db_option, json_option, runtime_options
from .output import Talk, interval, milliseconds, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.onboarding.arch_space import Archs, ArchSpace
    from ..costmodels.onboarding.known import Floats, KnownDevice, StoredPair
    from ..costmodels.onboarding.onboard import Onboarding, Prospect
    from ..costmodels.onboarding.portable_file import SpaceId
    from ..costmodels.onboarding.target import Target
    from ..costmodels.planned_campaign import CampaignOutcome
    from ..db import Store
    from ..profiler.records import Json


@click.command(epilog="Example:  edgecost onboard --space nasbench201 --budget 20 --known nasbench201_latency.npz")
@click.argument("device", required=False)
@click.option("--space", "space_name", metavar="NAME|FILE", help="nasbench201, or see `edgecost space list`.")
@click.option("--kernels", is_flag=True, help="Learn kernels instead of a space: then any network can be priced.")
@click.option("--resolution", type=int, metavar="PX", help="Input size.  [default: the space's own]")
@click.option("--width", type=float, help="Width multiplier.  [default: the space's own]")
@click.option(
    "--budget", type=click.IntRange(min=5), default=20, show_default=True, help="Networks or kernels to measure."
)
@click.option(
    "--known",
    "files",
    multiple=True,
    type=INPUT_FILE,
    help="Measurements of other devices: .npz or .csv. Repeat for more.",
)
@click.option("--from", "only", multiple=True, metavar="NAME", help="Borrow only from this known device. Repeatable.")
@click.option("--alone", is_flag=True, help="Borrow from no device.")
@click.option("--profile", "profile_hash", metavar="HASH", default="", help="Of a DEVICE elsewhere: which profile.")
@click.option("--out", "folder", type=OUTPUT_FOLDER, help="Folder for the model.  [default: your data directory]")
@click.option("--picture", type=INPUT_FILE, help="Draw the sample-efficiency report into this SVG file.")
@click.option("--dry-run", is_flag=True, help="Show the plan; measure and write nothing.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of pool, plan and predictors.")
@control_option
@runtime_options
@db_option
@json_option
def onboard(
    device: str | None,
    space_name: str | None,
    kernels: bool,
    resolution: int | None,
    width: float | None,
    budget: int,
    files: tuple[Path, ...],
    only: tuple[str, ...],
    alone: bool,
    profile_hash: str,
    folder: Path | None,
    picture: Path | None,
    dry_run: bool,
    seed: int,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> int:
    """Learn what networks of a space cost on this machine, from few of them and from devices that are known.

    Plans which networks to measure, measures them whole, fits, and says how far the result may be believed. Known are
    the other devices and runtime profiles of the database, and those of --known. DEVICE is this machine unless it names
    one that the database has enough networks of: that one is fitted without measuring. Run again, it goes on.
    """
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..costmodels.onboarding.onboard import learn, measure_plan
    from ..costmodels.onboarding.portable_file import SpaceId
    from ..db import Store
    from .onboard_kernels import onboard_kernels
    from .onboard_output import show_plan

    profile = chosen_profile(runtime_name, threads, db_url)
    if kernels:
        _refuse_beside_kernels(device, space_name, files, only, alone, picture)
        onboard_kernels(
            profile, budget=budget, folder=folder, dry_run=dry_run, seed=seed, db_url=db_url, as_json=as_json
        )
        return 0
    if space_name is None:
        raise UsageError(
            "what shall be learnt?", remedy="--space NAME (nasbench201, or see `edgecost space list`), or --kernels"
        )
    space = _open(space_name, resolution, width, seed)
    setting = LocalSetting.here(profile)
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        target, known = _target_and_known(store, talk, space, setting, device, profile_hash, files, only, alone)
        samples, latency_ms = _samples(store, target, space)
        prospect = _look_ahead(space, known, samples, talk, budget if target.is_here else 0, seed)
        if dry_run:
            show_plan(prospect, target, known, samples, as_json=as_json)
            return 0
        outcome = None
        if target.is_here:
            outcome = measure_plan(store, setting, prospect, talk, seed=seed)
            samples, latency_ms = _samples(store, target, space)
        found = learn(prospect, samples, latency_ms, talk, seed=seed)
    where = folder or _default_folder(space, target)
    _save(found, target, known, SpaceId(_place_of(space_name), resolution, width), where)
    if picture is not None:
        _draw(found, target, picture)
    _tell(found, target, known, where, outcome, as_json=as_json)
    return 1 if outcome is not None and outcome.failed else 0


def _refuse_beside_kernels(device: str | None, *others: object) -> None:
    if device is not None:
        raise UsageError("--kernels learns this machine; DEVICE cannot be named", remedy="run it on that machine")
    if any(others):
        raise UsageError(
            "--kernels goes with --budget, --out, --dry-run, --seed, --runtime, --threads, --db and --json only",
            remedy="leave out what belongs to a space",
        )


def _place_of(space_name: str) -> str:
    """A file by where it is, not by where one stood when it was named."""
    return str(Path(space_name).resolve()) if space_name.endswith(".toml") else space_name


def _open(space_name: str, resolution: int | None, width: float | None, seed: int) -> ArchSpace:
    from ..costmodels.onboarding.arch_space import open_arch_space

    return open_arch_space(space_name, resolution=resolution, width=width, seed=seed)


def _default_folder(space: ArchSpace, target: Target) -> Path:
    from platformdirs import user_data_path

    name = f"{space.name}-{target.device.identity[:12]}-{target.profile.profile_hash[:12]}"
    return user_data_path("edgecost") / "onboarded" / name


def _known(
    space: ArchSpace,
    pairs: list[StoredPair],
    target: Target,
    files: tuple[Path, ...],
    only: tuple[str, ...],
    alone: bool,
) -> tuple[list[KnownDevice], list[str]]:
    from ..costmodels.onboarding.known import usable
    from ..costmodels.onboarding.known_file import read_known

    if alone:
        if files or only:
            raise UsageError("--alone borrows from nobody, --known and --from name devices; leave one out")
        return [], []
    known = [pair.known for pair in pairs if not target.is_pair(pair)]
    for file in files:
        known += read_known(file, space)
    return usable(known, only)


def _target_and_known(
    store: Store,
    talk: Talk,
    space: ArchSpace,
    setting: LocalSetting,
    device: str | None,
    profile_hash: str,
    files: tuple[Path, ...],
    only: tuple[str, ...],
    alone: bool,
) -> tuple[Target, list[KnownDevice]]:
    """What shall be learnt, and the devices to borrow from; says which of those cannot be used."""
    from ..costmodels.onboarding.known import stored_pairs
    from ..costmodels.onboarding.target import find_target

    pairs = stored_pairs(store, space)
    target = find_target(store, pairs, device, setting, profile_hash)
    known, notes = _known(space, pairs, target, files, only, alone)
    for note in notes:
        talk.note(note)
    return target, known


def _look_ahead(
    space: ArchSpace, known: list[KnownDevice], samples: Archs, talk: Talk, budget: int, seed: int
) -> Prospect:
    from platformdirs import user_cache_path

    from ..costmodels.onboarding.onboard import look_ahead

    cache = user_cache_path("edgecost") / "sources"
    return look_ahead(space, known, samples, talk, budget=budget, cache=cache, seed=seed)


def _samples(store: Store, target: Target, space: ArchSpace) -> tuple[Archs, Floats]:
    """What the device has measured of the space so far."""
    from ..costmodels.onboarding.known import measured_networks, network_names

    return measured_networks(store, target.device.identity, target.profile, network_names(space))


def _save(found: Onboarding, target: Target, known: list[KnownDevice], space_id: SpaceId, folder: Path) -> None:
    from datetime import datetime, timezone

    from ..costmodels.onboarding.arch_space import arch_text
    from ..costmodels.onboarding.portable import portable
    from ..costmodels.onboarding.portable_file import OnboardedDevice, save_onboarded

    provenance: dict[str, Json] = {
        "space": found.prospect.space.name,
        "device": target.device.name,
        "device_identity": target.device.identity,
        "device_description": target.device.description,
        "profile": target.profile.label,
        "profile_hash": target.profile.profile_hash,
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "samples": [arch_text(arch) for arch in found.samples],
        "known_devices": {device.name: device.origin for device in known},
        "loo_error_percent": found.loo_error_percent,
        "verdict": found.verdict.word,
    }
    models = found.prospect.models
    save_onboarded(OnboardedDevice(space_id, portable(found.model), models, provenance), folder)


def _draw(found: Onboarding, target: Target, picture: Path) -> None:
    from ..costmodels.files import write_atomically
    from ..costmodels.onboarding.picture import efficiency_svg

    title = f"{found.prospect.space.name} on {target.device.name}, {target.profile.label}"
    write_atomically(picture, efficiency_svg(found, title))


def _tell(
    found: Onboarding,
    target: Target,
    known: list[KnownDevice],
    where: Path,
    outcome: CampaignOutcome | None,
    *,
    as_json: bool,
) -> None:
    from .onboard_output import document, print_onboarding

    if as_json:
        print_json(document(found, target, known, where, outcome))
        return
    print_onboarding(found, target, known)
    missing = len(found.prospect.plan) - found.planned_measured
    if missing:
        click.echo(
            f"{missing} of {len(found.prospect.plan)} planned networks have no latency: edgecost db info --failures"
            "\nOn a quieter machine another --seed, or a larger --budget, plans others."
        )
    click.echo(f"Written to {where}. Next: edgecost price {where} --random 5")


@click.command(epilog="Example:  edgecost price edgecost-onboarded --random 5")
@click.argument("folder", type=OUTPUT_FOLDER)
@click.argument("archs", nargs=-1)
@click.option("--random", "count", type=click.IntRange(min=1), help="Price this many random architectures.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --random.")
@click.option("--cover", type=ShareType(), default="90%", show_default=True, help="Share that intervals shall hold.")
@json_option
def price(folder: Path, archs: tuple[str, ...], count: int | None, seed: int, cover: float, as_json: bool) -> None:
    """Price ARCHS, architectures of a space, with what `edgecost onboard` wrote into FOLDER.

    An architecture is written as in the names of networks (3.0.1._), or in the space's own form: JSON, for
    nasbench201 also six digits, an index or the string with bars.
    """
    import numpy as np

    from ..costmodels.onboarding.arch_space import arch_text
    from ..costmodels.onboarding.portable_file import load_onboarded, open_space_of

    if bool(archs) == bool(count):
        raise UsageError("name architectures, or ask for random ones: --random 5")
    if not 0 < cover < 1:
        raise UsageError("--cover must lie between 0 and 1", remedy="write it like 90%")
    device = load_onboarded(folder)
    space = open_space_of(device, folder, pool=count or 1, seed=seed)
    if count:
        chosen = np.random.default_rng(seed).choice(len(space.pool), min(count, len(space.pool)), replace=False)
        population = space.pool[np.sort(chosen)]
    else:
        population = np.array([space.parse(text) for text in archs], dtype=np.int16)
    prices = device.price(population, alpha=1.0 - cover, space=space)
    told = device.provenance
    rows = list(zip(population, prices.latency_ms.tolist(), prices.lo_ms.tolist(), prices.hi_ms.tolist(), strict=True))
    if as_json:
        networks = [
            {"arch": arch_text(arch), "choices": arch.tolist(), "latency_ms": middle, "lo_ms": low, "hi_ms": high}
            for arch, middle, low, high in rows
        ]
        print_json({"provenance": dict(told), "interval_coverage": cover, "networks": networks})
        return
    print_table(
        f"{told['space']} on {told['device_description']}, {told['profile']}",
        ["architecture", "latency", f"{percent(cover, 0)} interval"],
        [
            [arch_text(arch), milliseconds(middle), "–" if odd else interval(low, high)]
            for (arch, middle, low, high), odd in zip(rows, prices.degenerate.tolist(), strict=True)
        ],
    )
    if prices.degenerate.any():
        click.echo("A dash: the network hands nothing of its input on, and what it costs depends on the runtime alone.")
    error = told.get("loo_error_percent")
    if isinstance(error, float):
        click.echo(f"Mean leave-one-out error {error:.1f} %: {told['verdict']}.")
