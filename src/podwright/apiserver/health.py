"""/healthz, /livez, /readyz, /version."""

from __future__ import annotations

import platform
from collections.abc import Callable

from podwright.api import status
from podwright.api.objects import Object
from podwright.apiserver.exchange import Bytes, Request
from podwright.apiserver.handlers import Handlers, Page

Check = Callable[[], bool]

VERSION: Object = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.1",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-10-15T00:00:00Z",
    "goVersion": f"python{platform.python_version()}",
    "compiler": platform.python_implementation(),
    "platform": f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(platform.machine(), platform.machine()) }",
}

_TEXT = "text/plain; charset=utf-8"


class Health:
    """Checks by name, in order. A failing one answers 500, as upstream's do."""

    def __init__(self) -> None:
        self.live: dict[str, Check] = {"ping": lambda: True, "log": lambda: True}
        self.ready: dict[str, Check] = {}

    def install(self, handlers: Handlers) -> None:
        for name, checks in (("healthz", self.all), ("livez", lambda: self.live), ("readyz", self.all)):
            page = self._page(name, checks)
            handlers.pages[f"/{name}"] = page
            handlers.page_trees.append((f"/{name}/", page))

    def all(self) -> dict[str, Check]:
        return {**self.live, **self.ready}

    def _page(self, title: str, checks: Callable[[], dict[str, Check]]) -> Page:
        async def page(request: Request) -> Bytes:
            path = request.info.path.rstrip("/")
            found = checks()
            single = path.removeprefix(f"/{title}").strip("/")
            if single:
                if single not in found:
                    raise status.path_not_found()
                return Bytes(b"ok", _TEXT) if found[single]() else _failed(f"internal server error: {single} failed")
            excluded = request.query.get_all("exclude")
            lines, failed = [], []
            for name, check in found.items():
                if name in excluded:
                    lines.append(f"[+]{name} excluded: ok")
                elif check():
                    lines.append(f"[+]{name} ok")
                else:
                    lines.append(f"[-]{name} failed: reason withheld")
                    failed.append(name)
            if failed:
                lines.append(f"{title} check failed")
                return _failed("\n".join(lines) + "\n")
            if request.query.has("verbose"):
                return Bytes(("\n".join([*lines, f"{title} check passed"]) + "\n").encode(), _TEXT)
            return Bytes(b"ok", _TEXT)

        return page


def _failed(text: str) -> Bytes:
    return Bytes(text.encode(), _TEXT, 500)
