"""``edgecost config show``: what commands go by when nothing is said, and where each value comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from .options import DEFAULT_RUNTIME, json_option
from .output import print_json, print_table

_DEFAULT = "default"
_RUNTIME = "EDGECOST_RUNTIME"


@dataclass(frozen=True)
class Setting:
    """One value that commands go by.

    Attributes:
        source: the variable that sets it, or ``default``.
        how: what sets it otherwise.
        is_there: whether a file or folder of this name exists; None for what is none.
    """

    name: str
    value: str
    source: str
    how: str
    is_there: bool | None = None


@click.group()
def config() -> None:
    """What edgecost goes by when nothing is said."""


@config.command(epilog="Example:  edgecost config show")
@json_option
def show(as_json: bool) -> None:
    """Database, folders and runtime, each with where it comes from. An option of a command goes before all of them."""
    found = settings(os.environ)
    if as_json:
        print_json({"settings": [asdict(one) for one in found]})
        return
    words = {None: "", True: "", False: "not there yet"}
    rows = [[one.name, one.value, one.source, one.how, words[one.is_there]] for one in found]
    print_table("Settings", ["setting", "value", "from", "set it by", ""], rows, left=5)


def settings(environment: Mapping[str, str]) -> list[Setting]:
    """All of them, as the environment has it."""
    from platformdirs import user_data_path, user_state_path

    from ..costmodels.predictor_folder import predictors_root
    from ..db.connect import ENVIRONMENT_VARIABLE, resolve_url

    data = user_data_path("edgecost")
    url = resolve_url(None)
    database = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    home = environment.get("EDGECOST_AGENT_HOME")
    agent = Path(home) if home else user_state_path("edgecost") / "agent"
    return [
        Setting(
            "database", url.render_as_string() if database is None else str(database),
            _from(environment, ENVIRONMENT_VARIABLE), f"--db, {ENVIRONMENT_VARIABLE}",
            None if database is None else database.exists(),
        ),
        Setting(
            "runtime", environment.get(_RUNTIME) or DEFAULT_RUNTIME, _from(environment, _RUNTIME),
            f"--runtime, {_RUNTIME}",
        ),
        Setting("data folder", str(data), _from(environment, "XDG_DATA_HOME"), "XDG_DATA_HOME", data.exists()),
        Setting(
            "predictors", str(predictors_root()), _from(environment, "XDG_DATA_HOME"), "--predictor, XDG_DATA_HOME",
            predictors_root().exists(),
        ),
        Setting(
            "agent's folder", str(agent), _from(environment, "EDGECOST_AGENT_HOME", "XDG_STATE_HOME"),
            "--home, EDGECOST_AGENT_HOME, XDG_STATE_HOME", agent.exists(),
        ),
    ]  # fmt: skip


def _from(environment: Mapping[str, str], *variables: str) -> str:
    """The first variable that is set."""
    return next((name for name in variables if environment.get(name)), _DEFAULT)
