"""Images of containers: present, pulled, or why not, with upstream's events and reasons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import SECRETS
from podwright.api.status import ApiError
from podwright.client.clock import Clock
from podwright.client.events import NORMAL, WARNING, EventRecorder
from podwright.client.transport import ServerUnreachable
from podwright.kubelet import pull_secrets
from podwright.kubelet.containers.failures import ContainerFailure
from podwright.kubelet.image_access import Credential, ImageAccess
from podwright.kubelet.referenced_objects import ReferencedObjects
from podwright.kubelet.sync.backoff import RestartBackoff, go_duration
from podwright.runtime.images import reference as image_names
from podwright.runtime.protocol import Image, ImagePullFailure, ImageService, RuntimeFailure

ERR_PULL = "ErrImagePull"
ERR_NEVER = "ErrImageNeverPull"
BACK_OFF = "ImagePullBackOff"
INSPECT_ERROR = "ImageInspectError"
INVALID_NAME = "InvalidImageName"
UNAVAILABLE = "RegistryUnavailable"


class ImageManager:
    """At most `parallel` pulls run at the same time; two Pods that want the same image share one pull."""

    def __init__(
        self,
        images: ImageService,
        referenced: ReferencedObjects,
        recorder: EventRecorder,
        clock: Clock,
        backoff: RestartBackoff,
        access: ImageAccess,
        *,
        parallel: int,
    ) -> None:
        self._images = images
        self._objects = referenced
        self._recorder = recorder
        self._clock = clock
        self._backoff = backoff
        self.access = access
        self._slots = asyncio.Semaphore(parallel)
        self._failed_at: dict[str, float] = {}
        self._failures: dict[str, str] = {}
        self._used: dict[str, float] = {}

    async def ensure(
        self,
        pod: Object,
        reference: str,
        policy: str,
        *,
        field_path: str = "",
        pulling: Callable[[], None] | None = None,
        present: Callable[[], None] | None = None,
    ) -> Image:
        """The image, pulled if it has to be. `pulling` is called before a pull begins, `present` instead of
        :meth:`tell_present` if it is there already.

        Raises:
            ContainerFailure: with reason ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName, …
        """
        try:
            image_names.parse(reference)
        except image_names.InvalidReference as invalid:
            raise self._not_inspected(
                pod, INVALID_NAME, f'Failed to apply default image tag "{reference}": {invalid}', field_path
            ) from invalid
        found = None if policy == "Always" else await self._status(pod, reference, field_path)
        if found is not None and await self._may_use(pod, reference, found):
            self._used[found.id] = self._clock.now()
            if present is not None:
                present()
            else:
                self.tell_present(pod, reference, field_path)
            return found
        if policy == "Never":
            message = f'Container image "{reference}" is not present with pull policy of Never'
            self._event(pod, WARNING, ERR_NEVER, message, field_path)
            raise ContainerFailure(ERR_NEVER, message)
        return await self._pull(pod, reference, field_path, pulling)

    def tell_present(self, pod: Object, reference: str, field_path: str = "") -> None:
        message = f'Container image "{reference}" already present on machine and can be accessed by the pod'
        self._event(pod, NORMAL, "Pulled", message, field_path)

    async def _may_use(self, pod: Object, reference: str, image: Image) -> bool:
        if self.access.is_open(reference, image.id):
            return True
        return self.access.is_opened(reference, image.id, await self._credentials(pod, reference))

    def retry_after(self, pod: Object, reference: str) -> float:
        """Seconds until a pull that failed may be tried again."""
        key = _key(pod, reference)
        return self._backoff.remaining(key, self._failed_at[key]) if key in self._failed_at else 0.0

    def last_used(self, image_id: str) -> float:
        """Seconds since the epoch at which a container last asked for the image here, 0.0 if never."""
        return self._used.get(image_id, 0.0)

    def forget(self, uid: str) -> None:
        """The Pod is gone."""
        self._backoff.forget(f"{uid}/")
        for kept in (self._failed_at, self._failures):
            for key in [k for k in kept if k.startswith(f"{uid}/")]:
                del kept[key]

    def _event(self, pod: Object, kind: str, reason: str, message: str, field_path: str) -> None:
        self._recorder.event(pod, kind, reason, message, field_path=field_path)

    async def _status(self, pod: Object, reference: str, field_path: str) -> Image | None:
        try:
            return await self._images.image_status(reference)
        except RuntimeFailure as failed:
            reason = failed.reason or INSPECT_ERROR
            what = "apply default image tag" if reason == INVALID_NAME else "inspect image"
            raise self._not_inspected(
                pod, reason, f'Failed to {what} "{reference}": {failed}', field_path
            ) from failed

    def _not_inspected(self, pod: Object, reason: str, message: str, field_path: str) -> ContainerFailure:
        self._event(pod, WARNING, "InspectFailed", message, field_path)
        return ContainerFailure(reason, message)

    async def _pull(
        self, pod: Object, reference: str, field_path: str, pulling: Callable[[], None] | None
    ) -> Image:
        key = _key(pod, reference)
        failed_at = self._failed_at.get(key)
        if failed_at is not None and self._backoff.remaining(key, failed_at) > 0:
            message = f'Back-off pulling image "{reference}"'
            self._event(pod, NORMAL, "BackOff", message, field_path)
            raise ContainerFailure(BACK_OFF, f"{message}: {self._failures.get(key, ERR_PULL)}")
        if pulling is not None:
            pulling()
        asked = self._clock.monotonic()
        self._event(pod, NORMAL, "Pulling", f'Pulling image "{reference}"', field_path)
        try:
            async with self._slots:
                began = self._clock.monotonic()
                image = await self._pull_with_secrets(pod, reference)
        except ContainerFailure as failed:
            now = self._clock.now()
            # The first delay is counted from the first failure, not only from the second.
            self._backoff.tried(key, now)
            self._failed_at[key] = now
            self._failures[key] = f"{failed.reason}: {failed}"
            self._event(pod, WARNING, "Failed", f'Failed to pull image "{reference}": {failed}', field_path)
            raise
        self._failed_at.pop(key, None)
        self._backoff.forget(key)
        self._used[image.id] = self._clock.now()
        now = self._clock.monotonic()
        self._event(
            pod, NORMAL, "Pulled",
            f'Successfully pulled image "{reference}" in {go_duration(round(now - began, 3))} '
            f"({go_duration(round(now - asked, 3))} including waiting). Image size: {image.size} bytes.",
            field_path,
        )  # fmt: skip
        return image

    async def _pull_with_secrets(self, pod: Object, reference: str) -> Image:
        try:
            self.access.pulling(reference)
            try:
                image, credential = await self._first_that_works(reference, await self._credentials(pod, reference))
            except BaseException:
                self.access.over(reference)
                raise
            self.access.pulled(reference, image.id, credential)
        except OSError as failed:
            raise ContainerFailure(ERR_PULL, f'the pull of "{reference}" cannot be recorded: {failed}') from failed
        return image

    async def _first_that_works(
        self, reference: str, credentials: Sequence[Credential]
    ) -> tuple[Image, Credential | None]:
        last = ImagePullFailure("", ERR_PULL)
        for credential in credentials or (None,):
            try:
                image_id = await self._images.pull_image(reference, credential.auth if credential else None)
                found = await self._images.image_status(image_id)
                if found is not None:
                    return found, credential
                last = ImagePullFailure(f"image {image_id} is gone", ERR_PULL)
            except ImagePullFailure as failed:
                last = failed
        why = str(last)
        if last.reason == UNAVAILABLE:
            why = f"image pull failed for {reference} because the registry is unavailable: {why}"
        raise ContainerFailure(last.reason or ERR_PULL, why)

    async def _credentials(self, pod: Object, reference: str) -> list[Credential]:
        return pull_secrets.matching(await self._secrets(pod), reference)

    async def _secrets(self, pod: Object) -> list[Object]:
        found = []
        for ref in pod["spec"].get("imagePullSecrets") or ():
            name = ref.get("name") or ""
            try:
                secret = await self._objects.find(SECRETS, objects.namespace(pod), name)
            except (ApiError, ServerUnreachable):
                secret = None
            if secret is None:
                self._recorder.event(
                    pod, WARNING, "FailedToRetrieveImagePullSecret",
                    f"Unable to retrieve some image pull secrets ({name}); "
                    "attempting to pull the image may not succeed.",
                )  # fmt: skip
            else:
                found.append(secret)
        return found


def _key(pod: Object, reference: str) -> str:
    return f"{objects.uid(pod)}/{reference}"
