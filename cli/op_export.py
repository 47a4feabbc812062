"""``edgecost lut export-ops``: what operators cost, in the libraries and tables that search code looks them up in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..costmodels.predictor_folder import default_predictor
from ..profiler.errors import ArtefactError, UsageError
from .format_cards import of_operators, show_cards
from .options import INPUT_FILE, OUTPUT_FOLDER, db_option, json_option, runtime_options, shape_option
from .output import Talk, print_json

if TYPE_CHECKING:
    from ..costmodels.lut_formats.card import Metric
    from ..costmodels.op_formats.prices import PredictorPrices
    from ..costmodels.op_formats.request import Request
    from ..profiler.records import RuntimeProfile

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class NumbersType(click.ParamType[tuple[int, ...]]):
    """``7,14,28`` → (7, 14, 28)."""

    name = "N,N,…"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        parts = str(value).split(",")
        if not all(part.isascii() and part.isdigit() and int(part) for part in parts) or len(set(parts)) < len(parts):
            self.fail(f"{value!r} is no list of distinct numbers above 0; write it like 7,14,28", param, ctx)
        return tuple(int(part) for part in parts)


@click.command("export-ops", epilog="Example:  edgecost lut export-ops --format tinynas --out tinynas/my-board")
@click.argument("model_files", metavar="[MODELS]...", nargs=-1, type=INPUT_FILE)
@click.option("--format", "formats", multiple=True, metavar="NAME", help="Repeat for several; --list names them.")
@click.option(
    "--predictor",
    "predictors",
    multiple=True,
    metavar="[BITS=]FOLDER",
    help="Folder of the predictor; W8A8=FOLDER is another for this precision (haq).  [default: the one of `train`]",
)
@shape_option
@click.option("--resolutions", type=NumbersType(), help="Sides of the maps of a grid (tinynas).")
@click.option("--channels", type=NumbersType(), help="Output channels of a grid (tinynas).")
@click.option("--kernels", type=NumbersType(), help="Kernel sizes of a grid (tinynas).")
@click.option("--batches", type=NumbersType(), help="Batches of a grid (tinynas, densenas).")
@click.option(
    "--steps",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Sizes of a layer's channels (netadapt).",
)
@click.option(
    "--samples",
    type=click.IntRange(min=50),
    default=4000,
    show_default=True,
    help="Random kernels that each model is distilled from (nn-meter).",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of --samples.")
@click.option("--allow-missing", is_flag=True, help="Leave kinds of kernels out that have no price (nn-meter).")
@click.option(
    "--metric",
    type=click.Choice(["latency", "energy"]),
    default="latency",
    show_default=True,
    help="Which numbers, and whose predictor: `train --metric energy` makes one of millijoules.",
)
@click.option("--device", "device_name", metavar="NAME", help="What the device is called in the files.")
@click.option("--out", "folder", type=OUTPUT_FOLDER, default=Path("."), show_default=True, help="Folder for the files.")
@click.option("--list", "wants_list", is_flag=True, help="List the formats.")
@runtime_options
@db_option
@json_option
def export_ops(
    model_files: tuple[Path, ...],
    formats: tuple[str, ...],
    predictors: tuple[str, ...],
    shapes: Shapes,
    resolutions: tuple[int, ...] | None,
    channels: tuple[int, ...] | None,
    kernels: tuple[int, ...] | None,
    batches: tuple[int, ...] | None,
    steps: int,
    samples: int,
    seed: int,
    allow_missing: bool,
    metric: Metric,
    device_name: str | None,
    folder: Path,
    wants_list: bool,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    as_json: bool,
) -> None:
    """Price single operators with a predictor and write them for code that looks operators up.

    MODELS are the ONNX files whose layers get rows; formats that are a grid of shapes need none. Nothing is run: each
    operator is priced as `edgecost predict` prices a model that holds nothing else, less the changes of layout and
    precision at its borders. A table with gaps is not written: what has no price is listed, and the exit code is 5.
    """
    from ..costmodels.files import make_folder
    from ..costmodels.op_formats import op_format
    from ..costmodels.op_formats.model_layers import read_layers
    from ..costmodels.op_formats.request import Grid, Request

    if wants_list:
        show_cards([of_operators()], as_json)
        return
    if not formats:
        raise UsageError("which format?", remedy="--format NAME; edgecost lut export-ops --list names them")
    writers = [op_format(name) for name in formats]
    own, others = _split(predictors)
    models = tuple(read_layers(path, dict(shapes)) for path in model_files)
    with Talk(quiet=as_json) as talk:
        request = Request(
            prices=_prices(own, metric, runtime_name, threads, db_url, device_name),
            models=models,
            by_bits={bits: _other_prices(path, metric, runtime_name, threads, db_url) for bits, path in others.items()},
            grid=Grid(resolutions or (), channels or (), batches or (), kernels or (), steps),
            samples=samples,
            seed=seed,
            metric=metric,
            allow_missing=allow_missing,
            narrator=talk,
        )
        make_folder(folder)
        written = {writer.name: [str(path) for path in writer.write(request, folder)] for writer in writers}
    _print_written(request, written, as_json)


def _print_written(request: Request, written: dict[str, list[str]], as_json: bool) -> None:
    about = request.prices.about
    if as_json:
        print_json({"device": about.device, "precision": about.precision, "metric": request.metric, "files": written})
        return
    for name, files in written.items():
        named = ", ".join(files[:3])
        more = f", and {len(files) - 3} more" if len(files) > 3 else ""
        click.echo(f"{name}: {named}{more}")


def _split(predictors: tuple[str, ...]) -> tuple[Path | None, dict[tuple[int, int], Path]]:
    """The predictor of the runtime, and those of other precisions."""
    from ..costmodels.op_formats.haq import parse_bits

    own: Path | None = None
    others: dict[tuple[int, int], Path] = {}
    for text in predictors:
        bits, equals, path = text.partition("=")
        if equals:
            others[parse_bits(bits)] = Path(path)
        elif own is not None:
            raise UsageError("two predictors for one runtime", remedy="name those of other precisions: W8A8=FOLDER")
        else:
            own = Path(text)
    return own, others


def _prices(
    folder: Path | None,
    metric: Metric,
    runtime_name: str,
    threads: int | None,
    db_url: str | None,
    device_name: str | None,
) -> PredictorPrices:
    from ..costmodels.cards.staleness import cheap_warnings
    from ..costmodels.op_formats.prices import PredictorPrices, predictor_about
    from ..costmodels.predictor_file import load_predictor
    from ..costmodels.simulated.simulation import chosen_setting

    setting = chosen_setting(runtime_name, threads, db_url)
    place = folder or default_predictor(setting.device.identity, setting.profile, metric)
    predictor, provenance = load_predictor(place, metric=metric)
    if provenance.get("profile_hash") not in (None, setting.profile.profile_hash):
        raise ArtefactError(
            f"the predictor was trained for {provenance.get('profile')}; this machine has {setting.profile.label}",
            remedy="name that runtime: --runtime; or train for this one: edgecost campaign run …, then edgecost train",
        )
    for warning in cheap_warnings(provenance, setting):
        click.echo(warning, err=True)
    return PredictorPrices(predictor, setting.profile, predictor_about(provenance, setting.profile, device_name))


def _other_prices(
    folder: Path, metric: Metric, runtime_name: str, threads: int | None, db_url: str | None
) -> PredictorPrices:
    """Of the runtime in the precision that the predictor was trained for."""
    from ..costmodels.op_formats.prices import PredictorPrices, predictor_about
    from ..costmodels.predictor_file import load_predictor

    predictor, provenance = load_predictor(folder, metric=metric)
    profile = _trained_for(provenance.get("profile_hash"), runtime_name, threads, db_url)
    if profile is None:
        raise ArtefactError(
            f"{folder} was trained for {provenance.get('profile')}, which is '{runtime_name}' in no precision",
            remedy="name the runtime that it was trained for: --runtime",
        )
    return PredictorPrices(predictor, profile, predictor_about(provenance, profile))


def _trained_for(
    profile_hash: object, runtime_name: str, threads: int | None, db_url: str | None
) -> RuntimeProfile | None:
    from ..costmodels.named_runtimes import chosen_profile
    from ..profiler.precision.convert import PRECISIONS

    profiles = (chosen_profile(runtime_name, threads, db_url, precision) for precision in PRECISIONS)
    return next((profile for profile in profiles if profile.profile_hash == profile_hash), None)
