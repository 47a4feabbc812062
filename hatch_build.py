"""Lay the package out as links under build/dev for ``pip install -e .``, so that every tool sees ``edgecost.*``."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LinkPackage(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            return
        package = Path(self.root, "build", "dev", "edgecost")
        package.mkdir(parents=True, exist_ok=True)
        for name in self.build_config.target_config["only-include"]:
            link = package / name
            link.unlink(missing_ok=True)
            link.symlink_to(Path(self.root, name))
