"""GET /logs/: the node's /var/log, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from podwright.kubelet.server import server


def test_directories_files_and_what_lies_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "log"
    (logs / "pods").mkdir(parents=True)
    (logs / "a<b.log").write_text("x")
    (tmp_path / "secret").write_text("no")
    (logs / "out").symlink_to(tmp_path / "secret")
    monkeypatch.setattr(server, "_SYSTEM_LOGS", logs)
    listing = server._system_log("")
    assert isinstance(listing, web.Response) and listing.text is not None
    assert '<a href="pods/">pods/</a>' in listing.text and "a&lt;b.log" in listing.text
    assert isinstance(server._system_log("a<b.log"), web.FileResponse)
    for path in ("../secret", "out", "none"):
        assert server._system_log(path).status == 404
