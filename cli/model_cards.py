"""``edgecost models``: the models there are, what each is worth, and whether it is still true of its device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..costmodels.predictor_folder import predictors_root
from ..profiler.errors import EdgecostError, GateError, UsageError
from .controls import control_option_beside
from .model_card_text import print_card
from .options import db_option, json_option, runtime_options
from .output import Talk, change, milliseconds, percent, print_json, print_table

if TYPE_CHECKING:
    from ..costmodels.cards.model_card import ModelCard
    from ..costmodels.cards.model_check import ModelCheck
    from ..costmodels.cards.model_folder import ModelFolder
    from ..costmodels.local_setting import LocalSetting
    from ..profiler.records import Json, RuntimeProfile


@click.group()
def models() -> None:
    """Predictors: list them, look at one, check whether it is still true."""


@models.command("list", epilog="Example:  edgecost models list")
@json_option
def list_models(as_json: bool) -> None:
    """All predictors in your data directory, a line each."""
    from ..costmodels.cards.model_folder import Refused, list_folders

    root = predictors_root()
    found = list_folders(root)
    if as_json:
        print_json({"folder": str(root), "models": [_list_document(one) for one in found]})
        return
    if not found:
        click.echo(f"No predictors in {root}.\nNext: edgecost campaign kernels, then edgecost train")
        return
    rows, notes = [], []
    for one in found:
        if isinstance(one, Refused):
            rows.append([one.folder.name, "–", "–", "–", "–", "–", "–", "refused"])
            notes.append(f"! {one.folder.name}: {one.why}")
            continue
        state, reason = _state(one)
        rows.append([*_line(one), state])
        if reason:
            notes.append(f"! {one.folder.name}: {reason}")
    heads = ["name", "device", "profile", "predicts", "made", "held out ±10 %", "floor ±10 %", "state"]
    print_table(f"Predictors in {root}", heads, rows, left=5)
    for note in notes:
        click.echo(note)


@models.command(epilog="Example:  edgecost models show --picture card.html")
@click.argument("model", metavar="[FOLDER|NAME]", required=False)
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw it: a file .svg or .html.")
@runtime_options
@db_option
@json_option
def show(
    model: str | None, picture: Path | None, runtime_name: str, threads: int | None, db_url: str | None, as_json: bool
) -> None:
    """The card of a model: what it was made of, what it is worth, what it cannot do.

    FOLDER is where the model lies, NAME its name in `edgecost models list`; without either it is the predictor that
    `edgecost train` wrote for this machine and runtime.
    """
    from ..costmodels.cards.card_file import card_document, model_digests
    from ..costmodels.cards.model_folder import open_folder

    if picture is not None and picture.suffix.lower() not in (".svg", ".html"):
        raise UsageError(f"{picture}: a picture is an .svg or .html file", remedy="name it like card.svg")
    found = open_folder(_folder(model, runtime_name, threads, db_url))
    if found.card is None:
        if picture is not None:
            raise UsageError(f"{found.folder} has no card to draw", remedy="train it again: edgecost train")
        _show_without_card(found, as_json)
        return
    if picture is not None:
        _draw(found.card, picture)
    digests = model_digests(found.folder)
    if as_json:
        drawn = None if picture is None else str(picture)
        print_json({"folder": str(found.folder), "picture": drawn, "sha256": digests, **card_document(found.card)})
        return
    state, reason = _state(found)
    print_card(found.card, digests, f"{state}: {reason}" if reason else state)
    if picture is not None:
        click.echo(f"\nPicture: {picture}")


@models.command(epilog="Example:  edgecost models check --measure")
@click.argument("model", metavar="[FOLDER|NAME]", required=False)
@click.option("--measure", is_flag=True, help="Measure its anchors again: some seconds.")
@control_option_beside("measure", "--measure")
@runtime_options
@db_option
@json_option
def check(
    model: str | None, measure: bool, runtime_name: str, threads: int | None, db_url: str | None, as_json: bool
) -> None:
    """Whether a predictor is still true of this machine. Exit code 5 when it is not.

    Compared are the environment (runtime, kernel, governor, CPUs), the machine's own speed in the sessions since, the
    device's probe, and newer measurements, each predicted first. --measure takes the anchors again: a few of the graphs
    that it was trained on, chosen then.
    """
    from ..costmodels.cards.model_check import check_model
    from ..costmodels.cards.model_folder import open_folder
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile, present_profile
    from ..costmodels.predictor_file import load_predictor
    from ..db import Store

    found = open_folder(_folder(model, runtime_name, threads, db_url))
    if found.model != "predictor":
        raise UsageError(
            f"{found.folder} holds a {found.model}; only predictors of kernels can be checked",
            remedy="measure some networks again and compare: edgecost models show says how good it was",
        )
    predictor, provenance = load_predictor(found.folder)
    trained = _profile(found)
    setting = LocalSetting.here(
        chosen_profile(runtime_name, threads, db_url) if trained is None else present_profile(trained)
    )
    with Store(db_url) as store, Talk(quiet=as_json) as talk:
        result = check_model(store, setting, predictor, provenance, found.card, talk, measure=measure)
    if as_json:
        print_json({"folder": str(found.folder), **result.document()})
    else:
        _print_check(found, result)
    if result.is_stale:
        raise GateError(f"{found.folder} is stale: {result.verdict}", remedy=result.findings[0].remedy)


def _folder(model: str | None, runtime_name: str, threads: int | None, db_url: str | None) -> Path:
    if model is not None:
        from ..costmodels.cards.model_folder import named_folder

        return named_folder(predictors_root(), model)
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import chosen_profile
    from ..costmodels.predictor_folder import default_predictor

    setting = LocalSetting.here(chosen_profile(runtime_name, threads, db_url))
    return default_predictor(setting.device.identity, setting.profile)


def _profile(found: ModelFolder) -> RuntimeProfile | None:
    from ..profiler.records import RuntimeProfile

    document = None if found.card is None else found.card.profile
    return None if document is None else RuntimeProfile.from_document(document)


def _setting(found: ModelFolder) -> LocalSetting | None:
    """This machine as the model would find it; None where it does not say its runtime, or that is not here."""
    from ..costmodels.local_setting import LocalSetting
    from ..costmodels.named_runtimes import present_profile

    try:
        profile = _profile(found)
        return None if profile is None else LocalSetting.here(present_profile(profile))
    except (EdgecostError, ValueError):  # another machine's runtime, or a later version's profile
        return None


def _state(found: ModelFolder) -> tuple[str, str]:
    """One word, and why."""
    from ..costmodels.cards.staleness import cheap_findings

    if found.card is None:
        return "no card", "it was made before there were cards: train it again to have one"
    if found.model != "predictor":
        return "not checked", ""
    setting = _setting(found)
    if setting is None:
        return "unknown", "its runtime is not on this machine"
    if found.provenance.get("device_identity") not in (None, setting.device.identity):
        return "elsewhere", ""
    findings = cheap_findings(found.provenance, setting)
    reasons = "; ".join(one.what for one in findings)
    return ("stale", f"{reasons} → {findings[0].remedy}") if findings else ("fresh", "")


def _line(found: ModelFolder) -> list[str]:
    """Name, device, profile, metric, date, accuracy and floor."""
    card, told = found.card, found.provenance
    if card is None:
        report = told.get("report")
        shares = [_within_10(report, name) for name in ("held_out", "repeatability_floor")]
        device, profile = (str(told.get(name, "–")) for name in ("device", "profile"))
        return [found.folder.name, device, profile, "latency", str(told.get("trained_at", "–"))[:10], *shares]
    floor = None if card.floor is None else card.floor.within_10
    held_out = None if card.held_out is None else card.held_out.within_10
    device = card.device.get("name", "–")
    made = card.made_at[:16].replace("T", " ")
    return [found.folder.name, device, card.profile_label or "–", card.metric, made, percent(held_out), percent(floor)]


def _within_10(report: Json, name: str) -> str:
    table = report.get(name) if isinstance(report, dict) else None
    share = table.get("within_10") if isinstance(table, dict) else None
    return percent(share) if isinstance(share, float) else "–"


def _list_document(one: object) -> dict[str, object]:
    from ..costmodels.cards.model_folder import ModelFolder

    if not isinstance(one, ModelFolder):
        return {"folder": str(one.folder), "state": "refused", "reason": one.why}  # type: ignore[attr-defined]
    state, reason = _state(one)
    card = one.card
    return {
        "folder": str(one.folder),
        "model": one.model,
        "device": one.provenance.get("device"),
        "profile": one.provenance.get("profile"),
        "metric": one.provenance.get("metric", "latency"),
        "made_at": one.provenance.get("trained_at"),
        "held_out_within_10": None if card is None or card.held_out is None else card.held_out.within_10,
        "floor_within_10": None if card is None or card.floor is None else card.floor.within_10,
        "state": state,
        "reason": reason,
    }


def _draw(card: ModelCard, picture: Path) -> None:
    from ..costmodels.cards.card_pictures import card_html, card_svg
    from ..costmodels.files import write_atomically

    draw = card_svg if picture.suffix.lower() == ".svg" else card_html
    write_atomically(picture, draw(card))


def _show_without_card(found: ModelFolder, as_json: bool) -> None:
    """A predictor from before there were cards says what its provenance does."""
    if as_json:
        print_json({"folder": str(found.folder), "card": None, "provenance": dict(found.provenance)})
        return
    told = found.provenance
    click.echo(f"{told.get('device_description', 'a device')}; {told.get('profile', 'a runtime')}")
    click.echo(f"trained at {told.get('trained_at', 'a time that is not known')}")
    line = _line(found)
    click.echo(f"held out ±10 %: {line[5]}, floor ±10 %: {line[6]}")
    click.echo("It has no card: it was made before there were cards. Train it again to have one: edgecost train")


def _print_check(found: ModelFolder, result: ModelCheck) -> None:
    card = found.card
    made = f", made {card.made_at}" if card is not None else ""
    click.echo(f"{found.folder}{made}: {result.verdict}")
    for finding in result.findings:
        click.echo(f"! {finding.what}\n    → {finding.remedy}")
    for note in result.notes:
        click.echo(f"  {note}")
    if result.anchors:
        click.echo()
        rows = [
            [
                one.anchor.kind,
                _short(one.anchor.name),
                milliseconds(one.anchor.latency_ms),
                milliseconds(one.latency_ms),
                change(None if one.latency_ms is None else one.latency_ms / one.anchor.latency_ms - 1),
            ]
            for one in result.anchors
        ]
        print_table("Anchors", ["kind", "graph", "at training", "now", "change"], rows, left=2)


def _short(name: str) -> str:
    """The shapes of a kernel's name, without its attributes."""
    return name if len(name) <= 52 else f"{name[:51]}…"
