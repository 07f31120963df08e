"""Directories made inside a root filesystem."""

from __future__ import annotations

from pathlib import Path

import pytest

from podwright.runtime.oci.rootfs import make_directory


def test_a_working_directory_is_made(tmp_path: Path) -> None:
    make_directory(tmp_path, "/new/place")
    make_directory(tmp_path, "/new/place")
    assert (tmp_path / "new" / "place").is_dir()


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/passwd/", "/etc/passwd/below/it", "/etc/link"])
def test_a_working_directory_that_is_a_file_is_refused_by_its_name(tmp_path: Path, path: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").touch()
    (tmp_path / "etc" / "link").symlink_to("/etc/passwd")
    with pytest.raises(NotADirectoryError) as failed:
        make_directory(tmp_path, path)
    assert failed.value.filename == ("/etc/link" if path == "/etc/link" else "/etc/passwd")
