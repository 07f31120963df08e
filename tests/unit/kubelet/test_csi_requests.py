"""What a CSI driver is told: names that other components must find again, access modes, the group."""

from __future__ import annotations

import hashlib

import pytest

from podwright.api.objects import Object
from podwright.kubelet.volumes.csi import requests
from podwright.kubelet.volumes.csi.drivers import SINGLE_NODE_MULTI_WRITER, VOLUME_MOUNT_GROUP

VOLUME: Object = {
    "metadata": {"name": "pv"},
    "spec": {
        "accessModes": ["ReadWriteOnce"], "mountOptions": ["noatime"], "capacity": {"storage": "1Gi"},
        "csi": {"driver": "d", "volumeHandle": "h", "fsType": "xfs",
                "nodeStageSecretRef": {"name": "s", "namespace": "ns"}},
    },
}  # fmt: skip


def test_names() -> None:
    digest = hashlib.sha256(b"hdn").hexdigest()
    assert requests.attachment_name("d", "h", "n") == f"csi-{digest}"
    assert requests.unique_name("d", "h") == "kubernetes.io/csi/d^h"
    pod = {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}}
    inline = requests.of_inline(pod, {"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}})
    assert inline.handle == f"csi-{hashlib.sha256(b'uv').hexdigest()}"
    assert inline.secret_refs == {"nodePublishSecretRef": ("ns", "s")}


@pytest.mark.parametrize(
    ("mode", "plain", "finer"),
    [("ReadWriteOnce", 1, 7), ("ReadOnlyMany", 3, 3), ("ReadWriteMany", 5, 5), ("ReadWriteOncePod", 1, 6)],
)
def test_access_modes(mode: str, plain: int, finer: int) -> None:
    volume = requests.of_persistent_volume(
        {**VOLUME, "spec": {**VOLUME["spec"], "accessModes": [mode]}}, read_only=False
    )
    assert requests.capability(volume, frozenset(), None)["access_mode"] == {"mode": plain}
    both = frozenset({SINGLE_NODE_MULTI_WRITER})
    assert requests.capability(volume, both, None)["access_mode"] == {"mode": finer}


def test_mount_and_its_group() -> None:
    volume = requests.of_persistent_volume(VOLUME, read_only=True)
    assert volume.read_only and volume.secret_refs == {"nodeStageSecretRef": ("ns", "s")}
    assert requests.capability(volume, frozenset({VOLUME_MOUNT_GROUP}), 42)["mount"] == {
        "fs_type": "xfs", "mount_flags": ["noatime"], "volume_mount_group": "42"
    }  # fmt: skip
