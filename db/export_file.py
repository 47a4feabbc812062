"""An export as files: one Parquet file for each table, and a manifest that says what they must be. The format only.

History of the format: 1 – first. Row group n of ``measurement`` and of the tables of its parts belong together. A
column that a later schema adds is read as NULL from files without it; one that is not known is refused.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ..profiler.errors import ArtefactError, MissingPackage, SchemaMismatch
from ..profiler.records import content_hash
from .portable import ALL, Kind, Portable
from .schema import HEAD, REVISIONS

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "edgecost-export"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_ANOTHER = "Name the folder that `edgecost db export` wrote."
_REMEDY = "Copy the folder again from where it was exported, or export anew."


@dataclass(frozen=True)
class TableFile:
    """One file of an export, as the manifest says it must be."""

    file: str
    rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an export holds.

    Attributes:
        devices: identities that it was narrowed to; None is everything.
        tables: by name.
    """

    schema_revision: str
    edgecost_version: str
    exported_at: str
    devices: list[str] | None
    tables: dict[str, TableFile]


def parquet() -> ModuleType:
    """pyarrow.parquet.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingPackage("Parquet files need pyarrow.", remedy="pip install pyarrow") from error


def arrow_schema(portable: Portable, edgecost_version: str) -> pa.Schema:
    """Columns and metadata of a table's file."""
    import pyarrow as pa

    types = {
        Kind.TEXT: pa.string(),
        Kind.JSON: pa.string(),
        Kind.REAL: pa.float64(),
        Kind.INTEGER: pa.int64(),
        Kind.BYTES: pa.binary(),
    }
    told = {
        "edgecost.format": f"{FORMAT}-{FORMAT_VERSION}",
        "edgecost.table": portable.name,
        "edgecost.schema_revision": HEAD,
        "edgecost.version": edgecost_version,
    }
    fields = [pa.field(field.name, types[field.kind], nullable=field.nullable) for field in portable.fields]
    return pa.schema(fields, metadata=told)


def describe(file: Path, rows: int) -> TableFile:
    """A file as the manifest has it."""
    return TableFile(file.name, rows, file.stat().st_size, _sha256(file))


def manifest_text(manifest: Manifest) -> str:
    """The manifest with the hash of its own contents."""
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(manifest)}
    return json.dumps({**content, "sha256": content_hash(content)}, indent=2) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an export, checked for itself.

    Raises:
        ArtefactError: there is none, it is damaged, or not ours.
        SchemaMismatch: a newer edgecost wrote it.
    """
    place = folder / MANIFEST
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtefactError(
            f"{place} cannot be read: {error.strerror or error}.",
            remedy=_ANOTHER,
        ) from error
    except ValueError as error:
        raise ArtefactError(f"{place} is damaged: {error}.", remedy=_REMEDY) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtefactError(f"{place} is no export of edgecost's.", remedy=_ANOTHER)
    said = content.pop("sha256", None)
    if said != content_hash(content):
        raise ArtefactError(f"{place} was altered: it does not have the hash that stands in it.", remedy=_REMEDY)
    if content["format_version"] != FORMAT_VERSION or content["schema_revision"] not in REVISIONS:
        raise SchemaMismatch(
            f"{folder} has format {content['format_version']} and schema {content['schema_revision']}; this edgecost"
            f" reads format {FORMAT_VERSION} and schemas up to {HEAD}: written by a newer edgecost.",
            remedy="pip install --upgrade edgecost",
        )
    tables = {name: TableFile(**told) for name, told in content["tables"].items()}
    return Manifest(
        content["schema_revision"], content["edgecost_version"], content["exported_at"], content["devices"], tables
    )


def check_files(folder: Path, manifest: Manifest) -> None:
    """Every file is there, whole and unaltered, before anything is taken from any of them.

    Raises:
        ArtefactError: one is not.
    """
    if lost := sorted({portable.name for portable in ALL} - set(manifest.tables)):
        raise ArtefactError(f"{folder} has no table {', '.join(lost)}.", remedy=_REMEDY)
    for told in manifest.tables.values():
        file = folder / told.file
        try:
            size_bytes = file.stat().st_size
            if size_bytes != told.size_bytes:
                raise ArtefactError(
                    f"{file} is damaged: it has {size_bytes:,} bytes and must have {told.size_bytes:,}.", remedy=_REMEDY
                )
            if _sha256(file) != told.sha256:
                raise ArtefactError(f"{file} was altered or is damaged: its hash is another.", remedy=_REMEDY)
        except OSError as error:
            raise ArtefactError(f"{file} cannot be read: {error.strerror or error}.", remedy=_REMEDY) from error


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
