"""Files are written whole or not at all, and a failure names the file and what helps."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecost.costmodels.files import make_folder, write_atomically
from edgecost.profiler.errors import OutputError


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_text_and_bytes_are_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_atomically(tmp_path / "below" / "a.txt", "µs")
    write_atomically(tmp_path / "below" / "a.txt", b"new")
    assert {path.name: path.read_bytes() for path in (tmp_path / "below").iterdir()} == {"a.txt": b"new"}


def test_a_full_disk_is_an_error_and_leaves_the_old_file_as_it_was(small_disk: Path) -> None:
    table = write_atomically(small_disk / "table.json", "old")
    with pytest.raises(OutputError, match=r"table\.json cannot be written: No space left") as caught:
        write_atomically(table, b"x" * 1_000_000)
    assert caught.value.remedy
    assert {path.name: path.read_text() for path in small_disk.iterdir()} == {"table.json": "old"}


def test_a_folder_that_cannot_be_made_or_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot be written"):
            make_folder(folder)
    assert make_folder(tmp_path / "new" / "below").is_dir()
    assert list((tmp_path / "new" / "below").iterdir()) == []
