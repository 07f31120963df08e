"""The documentation's Pod manifests, made runnable where no registry can be reached.

What a manifest says stays as it is, apart from three things: images (and the commands that only the original image
has), the namespace (each file gets its own, so that all run side by side in one cluster), and host directories.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import yaml
from tests.e2e.harness import MANIFESTS

BUSYBOX = "docker.io/library/busybox:1.36"
NGINX = "docker.io/library/nginx:1.22"

# Ends at once on SIGTERM, as the pause image does and a bare sleep as process 1 does not.
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]
# Answers /healthz for four seconds, as the original does for ten, and then no more.
LIVENESS = ["sh", "-c", "trap 'exit 0' TERM; mkdir /w; echo ok > /w/healthz; httpd -p 8080 -h /w; sleep 4 & wait; "
            "rm /w/healthz; sleep 3600 & wait"]  # fmt: skip

# The local busybox has no printenv.
PRINTENV = 'printenv() { for n; do env | sed -n "s/^$n=//p"; done; }; '

# Image (by its beginning) → the command that does in a shell what the image's own does.
COMMANDS: dict[str, list[str]] = {
    "redis": ["sh", "-c", "httpd -f -p 6379"],
    "gcr.io/google-samples/": ["httpd", "-f", "-p", "8080"],
    "registry.k8s.io/goproxy": ["httpd", "-f", "-p", "8080"],
    "registry.k8s.io/e2e-test-images/agnhost": LIVENESS,
    "docker.io/alpine/socat": ["httpd", "-f", "-p", "5432"],
}


def names() -> list[str]:
    """Every file, relative to the directory of manifests."""
    return sorted(str(p.relative_to(MANIFESTS)) for p in MANIFESTS.rglob("*") if p.is_file())


def documents(name: str) -> list[dict[str, Any]]:
    # YAML has no \' in double quotes; kubectl's parser takes it for a plain quote, PyYAML refuses it.
    text = (MANIFESTS / name).read_text().replace("\\'", "'")
    return [d for d in yaml.safe_load_all(text) if d]


def namespace(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.removesuffix(".yaml").lower())[:63].strip("-")


def placed(obj: dict[str, Any], space: str) -> dict[str, Any]:
    """The object in its file's namespace, with images that are there."""
    obj = copy.deepcopy(obj)
    if obj["kind"] != "PersistentVolume":
        obj["metadata"]["namespace"] = space
    if obj["kind"] == "Pod":
        for container in _containers(obj):
            _with_local_image(container)
        for volume in obj["spec"].get("volumes", ()):
            if "image" in volume:
                volume["image"]["reference"] = BUSYBOX
    return obj


def _containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in ("initContainers", "containers"):
        yield from pod["spec"].get(kind, ())


def _with_local_image(container: dict[str, Any]) -> None:
    image = container["image"]
    if image.startswith("<"):
        return  # a placeholder that is no image name: what comes of it is the point of the test
    container["imagePullPolicy"] = "IfNotPresent"
    stressed = container.get("command", [""])[0] == "stress" or "stress" in image
    if not stressed and image.removeprefix("registry.k8s.io/").partition(":")[0] == "nginx":
        container["image"] = NGINX
        return
    container["image"] = BUSYBOX
    if stressed:
        container["command"] = _stress(container.pop("args"))
    elif "command" not in container:
        container["command"] = next((c for i, c in COMMANDS.items() if image.startswith(i)), SLEEP)
        container.pop("args", None)
    elif any("printenv" in a for a in container.get("args", ())):
        container["args"] = [PRINTENV + a for a in container["args"]]


def _stress(arguments: list[str]) -> list[str]:
    """Hold the memory that --vm-bytes says; burn as many CPUs as -cpus says, for a moment only."""
    if "-cpus" in arguments:
        burn = "timeout 1 sh -c 'while :; do :; done' & " * int(arguments[arguments.index("-cpus") + 1])
        return ["sh", "-c", f"{burn} sleep 3600"]
    size = arguments[arguments.index("--vm-bytes") + 1]
    return ["sh", "-c", f"dd if=/dev/zero of=/dev/null bs={size} count=1 && sleep 3600"]
