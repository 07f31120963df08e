"""What is written down beside each CSI volume before its driver is called, so that a kubelet that starts anew, in the
middle of anything, can take the volume down again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

_FILE = "vol_data.json"
PLUGIN = "kubernetes.io~csi"
_VOLUMES, _DEVICES = f"volumes/{PLUGIN}", f"volumeDevices/{PLUGIN}"


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """`target` and `staging` ("" if the driver does not stage) are paths on the node."""

    driver: str
    handle: str
    name: str
    target: str
    staging: str = ""
    ephemeral: bool = False

    def write(self, directory: Path) -> None:
        """Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        fresh = directory / f".{_FILE}"
        fresh.write_bytes(orjson.dumps(asdict(self)))
        fresh.replace(directory / _FILE)


def directory_of(pod_dir: Path, name: str, *, block: bool) -> Path:
    """Where the record of a volume of a Pod lies; `name` is the PersistentVolume's, or the inline volume's."""
    return pod_dir / (_DEVICES if block else _VOLUMES) / name


def target_of(pod_dir: Path, root: Path, name: str, *, block: bool) -> Path:
    if block:
        return root / "volumeDevices" / "publish" / name / pod_dir.name
    return pod_dir / _VOLUMES / name / "mount"


def staging_of(root: Path, driver: str, handle: str, name: str, *, block: bool) -> Path:
    if block:
        return root / "volumeDevices" / "staging" / name
    return root / driver / hashlib.sha256(handle.encode()).hexdigest() / "globalmount"


def of_pod(pod_dir: Path) -> Iterator[tuple[Path, VolumeRecord]]:
    """Every record below a Pod's directory, with the directory that it lies in."""
    for kind in (_VOLUMES, _DEVICES):
        for path in (pod_dir / kind).glob(f"*/{_FILE}"):
            with contextlib.suppress(FileNotFoundError):
                yield path.parent, VolumeRecord(**orjson.loads(path.read_bytes()))


def others_use(pods_dir: Path, uid: str, driver: str, handle: str) -> bool:
    """Whether another Pod on this node has the volume."""
    for entry in os.scandir(pods_dir):
        if entry.name != uid:
            for _, record in of_pod(Path(entry.path)):
                if (record.driver, record.handle) == (driver, handle):
                    return True
    return False


def forget(directory: Path) -> None:
    """The volume is down: its record goes, then the directory if it is empty."""
    (directory / _FILE).unlink(missing_ok=True)
    (directory / f".{_FILE}").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()
