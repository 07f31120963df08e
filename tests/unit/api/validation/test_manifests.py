"""The manifests of the Kubernetes documentation are right, once defaulted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from podwright.api import defaulting, validation
from podwright.api.objects import Object
from podwright.api.resources import BUILTIN

ROOT = Path(__file__).resolve().parents[4].parent / "shared" / "manifests" / "pods"
NOT_RIGHT = {
    "inject/envars-file-container.yaml": "is no YAML: an escaped quote that YAML does not know",
    "pod-with-node-affinity.yaml": "has a list where the required node affinity is an object (the type check's to say)",
    "security/seccomp/fields.yaml": "shows the place of ephemeral containers, which a new Pod may not have",
    "security/seccomp/kind.yaml": "is a configuration of kind, no API object",
}


def documents() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.yaml")):
        name = path.relative_to(ROOT).as_posix()
        if name not in NOT_RIGHT:
            yield name, path


@pytest.mark.parametrize(("name", "path"), list(documents()))
def test_manifest(name: str, path: Path) -> None:
    for obj in filter(None, yaml.safe_load_all(path.read_text())):
        row = BUILTIN.by_kind(obj["apiVersion"], obj["kind"])
        assert row is not None, name
        prepared: Object = obj
        if row.namespaced:
            prepared.setdefault("metadata", {}).setdefault("namespace", "default")
        defaulting.apply(row, prepared)
        validation.prepare_for_create(row, prepared)
        if obj["kind"] == "Pod":
            prepared["spec"].setdefault("serviceAccountName", "default")
        assert validation.validate_create(row, prepared) == []
