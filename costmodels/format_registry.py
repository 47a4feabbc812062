"""Finding a format by its name: those that edgecost brings, and those of an entry-point group of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, Protocol, TypeGuard, TypeVar

from ..profiler.errors import UsageError


class Named(Protocol):
    """What can be found."""

    @property
    def name(self) -> str:
        """What people type."""


F = TypeVar("F", bound=Named)


@dataclass(frozen=True)
class FormatRegistry(Generic[F]):
    """The formats of one kind.

    Attributes:
        group: of the entry points; one names a format, or a class that makes it without arguments.
        built_in: these win over plugins of their names.
        is_format: whether an object has what a format must have.
        members: what that is, for people.
    """

    group: str
    built_in: tuple[F, ...]
    is_format: Callable[[object], TypeGuard[F]]
    members: str

    def names(self) -> list[str]:
        """Of all formats, sorted. No plugin is imported for it."""
        return sorted({*(made.name for made in self.built_in), *(point.name for point in self._plugins())})

    def find(self, name: str) -> F:
        """The format with this name.

        Raises:
            UsageError: there is none, or the plugin cannot be imported or is no format.
        """
        for made in self.built_in:
            if made.name == name:
                return made
        for plugin in self._plugins():
            if plugin.name == name:
                return self._loaded(plugin)
        near = get_close_matches(name, self.names(), n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"there is no format {name!r}", remedy=f"{hint}Formats: {', '.join(self.names())}.")

    def _loaded(self, plugin: EntryPoint) -> F:
        what = f"format {plugin.name!r} ({plugin.value})"
        try:
            loaded = plugin.load()
        except (ImportError, AttributeError) as error:
            raise UsageError(f"{what} cannot be imported: {error}") from error
        made = loaded() if isinstance(loaded, type) else loaded
        if not self.is_format(made):
            raise UsageError(f"{what} has not the members {self.members}")
        return made

    def _plugins(self) -> Iterable[EntryPoint]:
        return entry_points(group=self.group)
