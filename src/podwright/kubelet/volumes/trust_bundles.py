"""clusterTrustBundle in projected volumes: the trust anchors of one bundle, or of all of a signer's that have certain
labels (documentation page "Certificates and Certificate Signing Requests", "Cluster trust bundles")."""

from __future__ import annotations

import re

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CLUSTERTRUSTBUNDLES
from podwright.api.selectors import labels as label_selectors
from podwright.api.status import ApiError
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.volumes.atomic_writer import FileContent
from podwright.kubelet.volumes.mounted import VolumeContext, VolumeFailure

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\r?\n(?:.*?:.*\r?\n)*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


async def payload(context: VolumeContext, source: Object, mode: int) -> dict[str, FileContent]:
    """The file that the source asks for, kept up to date from now on.

    Raises:
        VolumeFailure: there is nothing to be had, and it is not optional.
    """
    try:
        bundles = await (_named(context, source) if source.get("name") else _signed(context, source))
    except (ApiError, ServerUnreachable) as refused:
        raise VolumeFailure(f"unable to get trust bundles: {refused}") from refused
    if not bundles and not source.get("optional"):
        if source.get("name"):
            raise VolumeFailure(f'clustertrustbundle "{source["name"]}" not found')
        raise VolumeFailure("combination of signerName and labelSelector matched zero ClusterTrustBundles")
    return {source["path"]: FileContent(anchors(bundles).encode(), mode)}


async def _named(context: VolumeContext, source: Object) -> list[Object]:
    found = await context.objects.find(CLUSTERTRUSTBUNDLES, "", source["name"])
    context.objects.follow(objects.uid(context.pod), CLUSTERTRUSTBUNDLES, "", source["name"])
    return [found] if found is not None else []


async def _signed(context: VolumeContext, source: Object) -> list[Object]:
    """A selector that is left out matches nothing, an empty one everything."""
    everything = await context.objects.all_of(CLUSTERTRUSTBUNDLES)
    context.objects.follow(objects.uid(context.pod), CLUSTERTRUSTBUNDLES, "", "")
    if source.get("labelSelector") is None:
        return []
    selector = label_selectors.from_label_selector(source["labelSelector"])
    return [
        bundle for bundle in everything
        if (bundle.get("spec") or {}).get("signerName") == source.get("signerName")
        and selector.matches(objects.labels(bundle))
    ]  # fmt: skip


def anchors(bundles: list[Object]) -> str:
    """Their certificates, each once, without what stands between them, in an order that says nothing."""
    found = set()
    for bundle in bundles:
        for block in _BLOCK.findall(str((bundle.get("spec") or {}).get("trustBundle") or "")):
            body = "".join(block.split())
            lines = [body[start : start + 64] for start in range(0, len(body), 64)]
            found.add("\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", "")))
    return "".join(sorted(found))
