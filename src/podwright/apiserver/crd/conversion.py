"""Conversion webhooks: a custom resource from one version into another by ConversionReview (Kubernetes documentation,
"Versions in CustomResourceDefinitions", "Webhook conversion")."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from podwright.api import status
from podwright.api.objects import Object, deepcopy
from podwright.api.validation import metadata as metadata_rules
from podwright.apiserver.admission.webhook_client import CallFailed, WebhookClient, gvk

TIMEOUT = 30
"""Seconds until the webhook must have answered."""
_REVIEW_VERSIONS = ("v1", "v1beta1")
_GO_TYPES = {dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool", int: "int64",
             float: "float64", type(None): "<nil>"}


class WebhookConverter:
    """``spec.conversion.webhook`` of one definition."""

    def __init__(self, client: WebhookClient, conversion: Object) -> None:
        webhook = conversion.get("webhook") or {}
        self._client = client
        self._config: Object = webhook.get("clientConfig") or {}
        self._versions: Sequence[str] = webhook.get("conversionReviewVersions") or ()

    async def convert(self, objs: Sequence[Object], api_version: str) -> list[Object]:
        """The objects, none of which is in `api_version`, in that version: one call for all. Metadata stays as it was,
        but for labels and annotations. Raises ApiError (500) if the webhook fails or answers nonsense."""
        review = next((v for v in self._versions if v in _REVIEW_VERSIONS), None)
        if review is None:
            raise _failure("no supported conversion review versions")
        about = f"conversion webhook for {gvk(objs[0])}"
        identifier = str(uuid.uuid4())
        body: Object = {
            "kind": "ConversionReview",
            "apiVersion": f"apiextensions.k8s.io/{review}",
            "request": {"uid": identifier, "desiredAPIVersion": api_version, "objects": list(objs)},
        }
        try:
            answer = await self._client.post(self._config, orjson.dumps(body), TIMEOUT)
            found = _converted(answer, identifier, review)
        except CallFailed as error:
            raise _failure(f"{about} failed: {str(error).removeprefix('failed to call webhook: ')}") from None
        if len(found) != len(objs):
            raise _failure(f"{about} returned {len(found)} objects, expected {len(objs)}")
        if len(objs) == 1:
            return [_checked(objs[0], found[0], api_version, "object at index 0", "object", "metadata")]
        return [
            _checked(before, after, api_version, f"converted object at index {i}", f"converted object at index {i}",
                     f"metadata in object at index {i}")
            for i, (before, after) in enumerate(zip(objs, found, strict=True))
        ]


def _failure(message: str) -> status.ApiError:
    return status.failure(500, "", message)


def _converted(answer: Any, identifier: str, review: str) -> list[Any]:
    """Raises CallFailed."""
    if not isinstance(answer, dict):
        raise CallFailed("the answer is no object")
    wanted = {"apiVersion": f"apiextensions.k8s.io/{review}", "kind": "ConversionReview"}
    if review == "v1" and any(answer.get(field) != value for field, value in wanted.items()):
        raise CallFailed(f"expected webhook response of {gvk(wanted)}, got {gvk(answer)}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise CallFailed("no response provided")
    if review == "v1" and response.get("uid") != identifier:
        raise CallFailed(f'expected response.uid="{identifier}", got "{response.get("uid") or ""}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        told = result.get("message")
        raise CallFailed(told or f"response.result.status was '{result.get('status') or ''}', not 'Success'")
    return list(response.get("convertedObjects") or ())


def _checked(before: Object, after: Any, api_version: str, version: str, whole: str, part: str) -> Object:
    """Raises ApiError (500) unless `after` is the same object in the wanted version. The other arguments say how
    messages name it: where its version is wrong, where it is another object, and where its metadata is wrong."""
    about = f"conversion webhook for {gvk(before)} returned invalid"
    if not isinstance(after, dict):
        raise _failure(f"{about} {version}: not an object")
    if after.get("apiVersion") != api_version:
        said = f"(expected {api_version}, received {after.get('apiVersion') or ''})"
        raise _failure(f"{about} {version}: invalid groupVersion {said}")
    if after.get("kind") != before.get("kind"):
        said = f"(expected {before.get('kind')}, received {after.get('kind') or ''})"
        raise _failure(f"{about} {version}: invalid kind {said}")
    metadata = after.get("metadata")
    for field, called in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        had = before["metadata"].get(field) or ""
        has = (metadata.get(field) or "") if isinstance(metadata, dict) else ""
        if had != has:
            raise _failure(f"{about} {whole}: must have the same {called}: {had} != {has}")
    if not isinstance(metadata, dict):
        missing = "missing metadata" if metadata is None else f"invalid metadata of type {_go_type(metadata)}"
        raise _failure(f"{about} {part}: {missing} in converted object")
    kept = deepcopy(before["metadata"])
    for field in ("labels", "annotations"):
        problem = _take_over(kept, metadata, field)
        if problem:
            raise _failure(f"{about} {part}: {problem}")
    return {**after, "metadata": kept}


def _take_over(kept: Object, metadata: Object, field: str) -> str:
    """Labels or annotations as the webhook gave them; what is wrong with them, or ""."""
    given = metadata.get(field)
    if given is None:
        kept.pop(field, None)
        return ""
    if not isinstance(given, dict):
        return f"invalid metadata.{field} of type {_go_type(given)} in converted object"
    for key, value in given.items():
        if not isinstance(value, str):
            return f"metadata.{field}[{key}] must be a string, but is {_go_type(value)} in converted object"
    if given != kept.get(field):
        errors: list[status.FieldError] = []
        check = metadata_rules.labels if field == "labels" else metadata_rules.annotation_values
        check(errors, given, f"metadata.{field}")
        if errors:
            texts = [f"{error.field}: {error.message}" for error in errors]
            return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kept[field] = given
    return ""


def _go_type(value: Any) -> str:
    return _GO_TYPES[type(value)]
