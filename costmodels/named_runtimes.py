"""Runtimes by name: looked up among the built-in ones and those in a store, made from others, added and removed.

Built-in names need no database, and looking for one does not make it.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..profiler.client import describe_interpreter
from ..profiler.errors import EdgecostError, MissingPackage, RunnerError, UsageError
from ..profiler.records import SIMULATOR, VIRTUAL, Json, RuntimeProfile
from ..profiler.runtimes import (
    BUILT_IN,
    CPU_PROVIDER,
    NO_FALLBACK,
    PIPELINES,
    VIRTUAL_VERSION,
    NamedRuntime,
    check_cpus,
    described_version,
    resolve,
)
from ..profiler.variables import variables_of

_NAME = re.compile(r"[a-z0-9._-]+")
#: Names in ``onnxruntime.GraphOptimizationLevel``, which cannot be asked where another interpreter has the runtime.
_ORT_LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_LAYOUT", "ORT_ENABLE_ALL")


@dataclass(frozen=True)
class Availability:
    """A named runtime and whether it can be used on this machine.

    Attributes:
        version: of the runtime that its interpreter has; None where there is none, or the interpreter is broken.
        problem: why it cannot be used here; empty when it can.
    """

    named: NamedRuntime
    is_built_in: bool
    version: str | None
    problem: str


@dataclass(frozen=True)
class Changes:
    """What a runtime has otherwise than the one that it is made from; None and empty leave what that one has."""

    summary: str | None = None
    provider: str | None = None
    threads: int | None = None
    precision: str | None = None
    graph_level: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    interpreter: str | None = None
    affinity: tuple[int, ...] = ()

    def applied(self, base: NamedRuntime, name: str) -> NamedRuntime:
        """The runtime that ``base`` becomes under a new name. Options are added to the base's, a key replaces its own.

        Raises:
            UsageError: the name, the precision or the graph level is none, or the interpreter is not there.
        """
        provider = self.provider or base.provider
        options = {**dict(base.options), **dict(self.options)}
        if base.runtime == "onnxruntime" and provider not in (base.provider, CPU_PROVIDER):
            options = {**dict(NO_FALLBACK), **options}
        made = replace(
            base,
            name=name,
            summary=f"made from {base.name}" if self.summary is None else self.summary,
            provider=provider,
            threads=self.threads or base.threads,
            precision=self.precision or base.precision,
            graph_level=self.graph_level or base.graph_level,
            # Sorted: the order in which somebody typed them is no part of what is measured.
            options=tuple(sorted(options.items())),
            interpreter=_absolute(self.interpreter) if self.interpreter else base.interpreter,
            affinity=self.affinity or base.affinity,
        )
        _check_words(made)
        return made


def find_runtime(name: str, store_url: str | None = None) -> NamedRuntime:
    """The runtime of this name.

    Args:
        store_url: where other names than the built-in ones are looked up, as ``Store`` takes it.

    Raises:
        UsageError: nothing has this name, or a simulator has it.
        StoreError: the database cannot be read.
    """
    if name.partition(":")[0] == SIMULATOR:
        raise UsageError(
            "this command asks a machine, not a simulator",
            remedy="`train`, `predict` and `lut build` take one; ask it itself: edgecost simulate, edgecost proxy fit",
        )
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name.partition(":")[0] == VIRTUAL:
        return NamedRuntime(name, "played around a simulator", runtime=VIRTUAL, provider=name, graph_level="as written")
    own = own_runtimes(store_url)
    for named in own:
        if named.name == name:
            return named
    known = [*BUILT_IN, *(named.name for named in own)]
    raise UsageError(
        f"there is no runtime {name!r}; there are {', '.join(known)}",
        remedy="add one: edgecost runtime add NAME --base ort …, or name the database that has it: --db URL",
    )


def own_runtimes(store_url: str | None = None) -> list[NamedRuntime]:
    """The runtimes in a store, by name; none where there is no database.

    Raises:
        StoreError: the database cannot be read.
    """
    from ..db import Store  # SQLAlchemy comes with it, which whoever names a built-in runtime goes without

    if not Store.exists(store_url):
        return []
    with Store(store_url) as store:
        return store.named_runtimes()


def chosen_profile(
    name: str, threads: int | None = None, store_url: str | None = None, precision: str | None = None
) -> RuntimeProfile:
    """The profile that the runtime of this name is on this machine.

    Args:
        threads, precision: None for the runtime's own.

    Raises:
        UsageError: nothing has this name, or as ``resolve``.
        MissingPackage, RunnerError: as ``resolve``.
        StoreError: the database cannot be read.
    """
    return resolve(find_runtime(name, store_url), threads=threads, precision=precision)


def present_profile(profile: RuntimeProfile) -> RuntimeProfile:
    """The profile that the same configuration is on this machine now: its runtime may have another version.

    Raises:
        UsageError, MissingPackage, RunnerError: as ``resolve``.
    """
    named = NamedRuntime(
        name="",
        summary="",
        runtime=profile.runtime,
        provider=profile.provider,
        threads=profile.threads,
        precision=profile.precision,
        graph_level=profile.graph_level,
        options=profile.options,
        interpreter=profile.interpreter,
        affinity=profile.affinity,
    )
    return resolve(named)


def list_runtimes(store_url: str | None = None) -> list[Availability]:
    """All named runtimes, the built-in ones first; each distinct interpreter is asked once what it has.

    Raises:
        StoreError: the database cannot be read.
    """
    everything = [*BUILT_IN.values(), *own_runtimes(store_url)]
    described = {asked: _describe(*asked) for asked in {_asked(named) for named in everything}}
    return [_available(named, described[_asked(named)]) for named in everything]


def add_runtime(named: NamedRuntime, store_url: str | None = None, *, checked: bool = True) -> RuntimeProfile | None:
    """Store a runtime under its name.

    Args:
        checked: refuse it when it cannot be used on this machine.

    Returns:
        The profile that it is here; None when it was not checked.

    Raises:
        UsageError: the name is taken, or the threads, CPUs or provider are not there.
        RunnerError: the interpreter cannot be started, or has no such runtime.
        StoreError: the database cannot be written.
    """
    from ..db import Store

    profile = _checked(named) if checked else None
    with Store(store_url) as store:
        if not store.put_named_runtime(named):
            raise UsageError(
                f"there is a runtime {named.name!r} already",
                remedy=f"remove it first: edgecost runtime remove {named.name}",
            )
    return profile


def remove_runtime(name: str, store_url: str | None = None) -> None:
    """Forget a name. Measurements stay: they refer to the profile that was found, not to the name.

    Raises:
        UsageError: it is built in, or nothing has this name.
        StoreError: the database cannot be written.
    """
    if name in BUILT_IN:
        raise UsageError(f"{name} is built in: it cannot be removed")
    from ..db import Store

    find_runtime(name, store_url)
    with Store(store_url) as store:
        store.remove_named_runtime(name)


def _asked(named: NamedRuntime) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Which interpreter has to be asked, and in which environment."""
    return named.interpreter, tuple(variables_of(named.options).items())


def _describe(interpreter: str, variables: tuple[tuple[str, str], ...]) -> Mapping[str, Json] | RunnerError:
    try:
        return describe_interpreter(interpreter or sys.executable, dict(variables))
    except RunnerError as error:
        return error


def _available(named: NamedRuntime, described: Mapping[str, Json] | RunnerError) -> Availability:
    is_built_in = named.name in BUILT_IN
    if named.runtime == VIRTUAL:
        return Availability(named, is_built_in, VIRTUAL_VERSION, "")
    if isinstance(described, RunnerError):
        return Availability(named, is_built_in, None, described.message)
    runtimes = described["runtimes"]
    found = runtimes.get(named.runtime) if isinstance(runtimes, dict) else None
    version = str(found["version"]) if isinstance(found, dict) else None
    try:
        described_version(named, described)
        check_cpus(named)
    except EdgecostError as error:
        return Availability(named, is_built_in, version, error.message)
    return Availability(named, is_built_in, version, "")


def _checked(named: NamedRuntime) -> RuntimeProfile:
    try:
        return resolve(named)
    except UsageError as error:
        raise UsageError(error.message, remedy=_or_unchecked(error)) from error
    except (MissingPackage, RunnerError) as error:
        raise RunnerError(error.message, remedy=_or_unchecked(error)) from error


def _or_unchecked(error: EdgecostError) -> str:
    return "; ".join(filter(None, [error.remedy, "to store it all the same: --unchecked"]))


def _absolute(interpreter: str) -> str:
    """A path that means the same from every folder.

    Links are kept: the Python of a virtual environment is a link to another one, which lacks its packages.
    """
    found = shutil.which(interpreter) if Path(interpreter).name == interpreter else None
    return str(Path(found or interpreter).expanduser().absolute())


def _check_words(named: NamedRuntime) -> None:
    variables_of(named.options)
    from ..profiler.precision.convert import (
        PRECISIONS,  # onnx comes with it, which whoever looks a name up goes without
    )

    if _NAME.fullmatch(named.name) is None:
        raise UsageError(f"{named.name!r} is no name of a runtime", remedy="use small letters, digits and . _ -")
    if named.name in BUILT_IN:
        raise UsageError(f"{named.name} is built in; give yours another name")
    if named.precision not in PRECISIONS:
        raise UsageError(f"there is no precision {named.precision!r}", remedy=f"one of {', '.join(PRECISIONS)}")
    levels = PIPELINES if named.runtime == "tvm" else _ORT_LEVELS
    if named.graph_level not in levels:
        raise UsageError(
            f"{named.runtime} has no graph level {named.graph_level!r}", remedy=f"one of {', '.join(levels)}"
        )
