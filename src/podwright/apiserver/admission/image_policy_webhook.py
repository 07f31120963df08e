"""ImagePolicyWebhook: an outside service says which images may be run (Kubernetes documentation, "Admission Control in
Kubernetes", "ImagePolicyWebhook")."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from podwright.api.objects import Object
from podwright.api.pods import EPHEMERAL, all_containers
from podwright.api.status import ApiError
from podwright.apiserver.admission.chain import PodPlugin
from podwright.apiserver.admission.configuration import Settings
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.kubeconfigs import endpoint_of
from podwright.apiserver.requests import AdmissionRequest

_log = logging.getLogger(__name__)

_SHAPE = {
    "imagePolicy": {"kubeConfigFile": str, "allowTTL": int, "denyTTL": int, "retryBackoff": int, "defaultAllow": bool}
}
_VERSIONS = {"ImagePolicyWebhookConfiguration": ("imagepolicy.admission.k8s.io/v1alpha1",)}
_AUDIT = "imagepolicywebhook.image-policy.k8s.io/"
_ANNOTATION = ".image-policy.k8s.io/"
_TIMEOUT = 30.0
_TRIES = 5
_FACTOR = 1.5
_REMEMBERED = 1024
_LIMITS = {"allowTTL": (1.0, 300.0, 1800.0, 1.0), "denyTTL": (1.0, 30.0, 1800.0, 1.0), "retryBackoff": (
    1e-9, 0.5, 300.0, 1e-3
)}  # fmt: skip
"""Seconds: more than, by default, at most; and what one of the file's is."""


def _seconds(given: Object, field: str) -> float:
    least, default, most, unit = _LIMITS[field]
    value = given.get(field) or 0
    if value in (-1, 0):
        return 0.0 if value else default
    if not least < value * unit <= most:
        raise ValueError(f"{field}: valid value is between {least}s and {most}s, got {value * unit}s")
    return value * unit


class ImagePolicyWebhook(PodPlugin):
    name = "ImagePolicyWebhook"
    subresources = ("", "ephemeralcontainers")

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError; ValueError for a configuration that is refused, and for none."""
        document = settings.of(self.name, _VERSIONS, _SHAPE, unversioned=True)
        if document is None:
            raise ValueError("ImagePolicyWebhook: no config specified")
        given = document.get("imagePolicy") or {}
        self._ttl = {True: _seconds(given, "allowTTL"), False: _seconds(given, "denyTTL")}
        self._backoff = _seconds(given, "retryBackoff")
        self._default_allow = bool(given.get("defaultAllow"))
        self._endpoint = endpoint_of(settings.path.parent / Path(given.get("kubeConfigFile") or ""))
        self._monotonic = monotonic
        self._session: aiohttp.ClientSession | None = None
        self._answers: dict[bytes, tuple[float, Object]] = {}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None:
            return
        ephemeral = request.subresource == "ephemeralcontainers"
        images = [
            {"image": container.get("image") or ""}
            for kind, container in all_containers(pod)
            if (kind == EPHEMERAL) == ephemeral
        ]
        own = (pod.get("metadata") or {}).get("annotations") or {}
        spec = {
            "containers": images, "annotations": {k: v for k, v in own.items() if _ANNOTATION in k},
            "namespace": request.namespace,
        }  # fmt: skip
        key = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)
        until, status = self._answers.get(key, (0.0, {}))
        if until <= self._monotonic():
            try:
                status = await self._ask(spec)
            except (aiohttp.ClientError, TimeoutError, ValueError) as failed:
                if not self._default_allow:
                    raise self._unasked(request, failed) from None
                _log.info("images of a Pod are allowed, for nobody could be asked: %s", failed)
                request.audit[f"{_AUDIT}failed-open"] = "true"
                return
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[key] = (self._monotonic() + self._ttl[bool(status.get("allowed"))], status)
        request.audit.update({_AUDIT + k: str(v) for k, v in (status.get("auditAnnotations") or {}).items()})
        if not status.get("allowed"):
            why = status.get("reason")
            said = f"image policy webhook backend denied one or more images: {why}" if why else (
                "one or more images rejected by webhook backend"
            )
            raise forbidden(request, said)

    @staticmethod
    def _unasked(request: AdmissionRequest, failed: Exception) -> ApiError:
        return forbidden(request, str(failed) or type(failed).__name__)

    async def _ask(self, spec: Object) -> Object:
        """What the service says; one that is not well is asked again a few times."""
        review = {"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "spec": spec}
        wait = self._backoff
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._once(orjson.dumps(review))
            except aiohttp.ClientResponseError as refused:
                if attempt == _TRIES or (refused.status != 429 and refused.status < 500):
                    raise
            except aiohttp.ServerDisconnectedError:
                if attempt == _TRIES:
                    raise
            await asyncio.sleep(wait)
            wait *= _FACTOR
        raise AssertionError

    async def _once(self, body: bytes) -> Object:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))
        endpoint = self._endpoint
        headers = {"Content-Type": "application/json", **endpoint.headers}
        async with self._session.post(endpoint.url, data=body, headers=headers, ssl=endpoint.tls or True) as response:
            response.raise_for_status()
            answer: Any = orjson.loads(await response.read())
        if not isinstance(answer, dict) or not isinstance(answer.get("status"), dict):
            raise ValueError("the answer is no ImageReview")
        status: Object = answer["status"]
        return status
