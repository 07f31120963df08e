"""What setting up a volume gives, and what it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from podwright.api.objects import Object
from podwright.kubelet.containers.downward import DownwardFacts
from podwright.kubelet.referenced_objects import ReferencedObjects
from podwright.kubelet.volumes.tokens import ServiceAccountTokens
from podwright.runtime.protocol import ImageService


class VolumeFailure(Exception):
    """The volume cannot be set up now. The message goes into a FailedMount event; it is tried again."""


class VolumePending(VolumeFailure):
    """It is under way elsewhere, and the Pod is woken when that is done: no event."""


@dataclass(frozen=True, slots=True)
class MountedVolume:
    """A directory (or file) on the host, or an image (its id in `image`, its reference in `image_ref`). `block`: a
    device, for volumeDevices."""

    name: str
    path: Path = Path()
    read_only: bool = False
    image: str = ""
    image_ref: str = ""
    block: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key and the certificates that go with it, the leaf first, as PEM."""

    key: bytes
    chain: bytes


class Certificates(Protocol):
    """Where podCertificate sources get their credentials from."""

    async def get(self, pod: Object, place: tuple[str, int], source: Object) -> Credential: ...


PullImage = Callable[[Object, str, str], Awaitable[str]]
"""(pod, reference, pull policy) → image id."""


@dataclass(frozen=True, slots=True)
class VolumeContext:
    """What a volume is set up with. `volume` is its name in the Pod, `directory` its own (it may not exist yet);
    `fs_group` the Pod's fsGroup, None if it has none."""

    pod: Object
    volume: str
    directory: Path
    objects: ReferencedObjects
    tokens: ServiceAccountTokens
    images: ImageService
    facts: DownwardFacts
    fs_group: int | None = None
    host_node_labels: Mapping[str, str] = field(default_factory=dict)
    pull_image: PullImage | None = None
    certificates: Certificates | None = None
