"""What measures under one runtime profile: runner processes, and what makes workloads ready for them."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from .client import RunnerSupply
from .errors import UsageError
from .loading import Loader, OrtLoader
from .records import SIMULATOR, RuntimeProfile


@dataclass(frozen=True)
class Bench:
    """As a context manager it ends every process that it stands on."""

    supply: RunnerSupply
    loader: Loader

    @classmethod
    def for_profile(cls, profile: RuntimeProfile) -> Bench:
        """The bench of the profile's runtime. No process is started yet.

        Raises:
            UsageError: the profile's runtime is a simulator or none that edgecost knows, or lacks an option it needs.
        """
        if profile.runtime == SIMULATOR:
            raise UsageError(
                f"nothing can be run on {profile.label}",
                remedy="ask the simulator: edgecost simulate, edgecost proxy fit",
            )
        return cls(RunnerSupply.for_profile(profile), _loader(profile))

    def __enter__(self) -> Bench:
        self.supply.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loader.close()
        self.supply.__exit__(kind, error, trace)


def _loader(profile: RuntimeProfile) -> Loader:
    if profile.runtime == "tvm":
        from .tvm.client import TvmLoader

        return TvmLoader(profile)
    return OrtLoader()
