"""Signs the kubeconfig in ConfigMap kube-public/cluster-info with every token that may sign: a node that has the token
can trust what it reads there over a connection that it cannot verify yet."""

from __future__ import annotations

import base64
import hashlib
import hmac

import orjson

from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, SECRETS
from podwright.controllers.bootstrap import tokens
from podwright.controllers.frame import Context, Controller

_KEY = "kube-public/cluster-info"
_PREFIX = "jws-kubeconfig-"


class BootstrapSigner(Controller):
    name = "bootstrap-signer-controller"
    account = "bootstrap-signer"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.secrets = self.own_informer(
            SECRETS, self._changed, namespace=tokens.NAMESPACE, field_selector=tokens.FIELD_SELECTOR
        )
        self.maps = self.own_informer(
            CONFIGMAPS, self._changed, namespace="kube-public", field_selector="metadata.name=cluster-info"
        )

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self.queue.add(_KEY)

    async def reconcile(self, key: str) -> None:
        info = self.maps.get(key)
        kubeconfig = ((info or {}).get("data") or {}).get("kubeconfig")
        if info is None or not kubeconfig:
            return
        wanted = {k: v for k, v in info["data"].items() if not k.startswith(_PREFIX)}
        for secret in self.secrets.items():
            found = tokens.signing_key(secret, self.clock.now())
            if found is not None:
                wanted[_PREFIX + found[0]] = signature(kubeconfig, *found)
        if wanted != info["data"]:
            await self.client.update(CONFIGMAPS, {**info, "data": wanted})


def signature(content: str, token_id: str, token: str) -> str:
    """A detached JWS: header and signature, with the content left out between them."""
    header = _base64url(orjson.dumps({"alg": "HS256", "kid": token_id}))
    signed = f"{header}.{_base64url(content.encode())}".encode()
    return f"{header}..{_base64url(hmac.digest(token.encode(), signed, hashlib.sha256))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
