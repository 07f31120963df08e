"""Secrets with tokens that older clusters made for each ServiceAccount: one that nobody uses is marked as invalid, and
later deleted (Kubernetes documentation, "Managing Service Accounts", "Auto-generated legacy ServiceAccount token clean
up")."""

from __future__ import annotations

import logging

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.pod_references import used_by
from podwright.api.resources import CONFIGMAPS, PODS, SECRETS, SERVICEACCOUNTS
from podwright.api.status import ApiError
from podwright.controllers import refs
from podwright.controllers.frame import Context, Controller, ignore_not_found
from podwright.controllers.service_account_tokens import NAME, TYPE, UID

log = logging.getLogger(__name__)

LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
_DAY = 86400.0


class LegacyTokenCleaner(Controller):
    """Looks once a day. A Secret that a ServiceAccount does not list was made by somebody, who may count on it."""

    name = "legacy-serviceaccount-token-cleaner-controller"
    account = "legacy-service-account-token-cleaner"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.accounts = self.informer(SERVICEACCOUNTS)
        self.pods = self.informer(PODS, namespace=refs.by_namespace)
        self.queue.add("tokens")

    async def reconcile(self, key: str) -> None:
        now, period = self.clock.now(), self.config.legacy_token_clean_up_period
        tracking = await ignore_not_found(self.client.get(CONFIGMAPS, TRACKING, namespace="kube-system"))
        since = _seconds((tracking or {}).get("data", {}).get("since"))
        # Uses are noted by the day: the day on which that began does not count.
        if since is not None and now >= since + _DAY + period:
            listed = await self.context.informers_client.list(SECRETS, field_selector=f"type={TYPE}")
            for secret in listed["items"]:
                await self._judge(secret, now, now - period)
        self.queue.add_after(key, _DAY)

    async def _judge(self, secret: Object, now: float, before: float) -> None:
        last_day = _date(before)
        last_used = objects.labels(secret).get(LAST_USED)
        if objects.parse_time(secret["metadata"]["creationTimestamp"]) >= before or objects.is_deleting(secret):
            return
        if last_used is not None and (_seconds(last_used) is None or last_used >= last_day):
            return
        if not self._made_by_the_cluster(secret) or self._is_mounted(secret):
            return
        invalid_since = objects.labels(secret).get(INVALID_SINCE)
        name, namespace = objects.name(secret), objects.namespace(secret)
        if _seconds(invalid_since) is None:
            log.info("the token in %s has not been used for long: it counts no more", objects.key(secret))
            meta = {"uid": objects.uid(secret), "labels": {INVALID_SINCE: _date(now)}}
            await ignore_not_found(self.client.patch(SECRETS, name, {"metadata": meta}, namespace=namespace))
        elif str(invalid_since) < last_day:
            log.info("the token in %s has not counted since %s: deleted", objects.key(secret), invalid_since)
            try:
                await self.client.delete(
                    SECRETS, name, namespace=namespace, resource_version=secret["metadata"]["resourceVersion"]
                )
            except ApiError as refused:
                if refused.code not in (404, 409):
                    raise

    def _made_by_the_cluster(self, secret: Object) -> bool:
        marks = objects.annotations(secret)
        account = self.accounts.get(f"{objects.namespace(secret)}/{marks.get(NAME)}")
        if account is None or marks.get(UID) not in (None, "", objects.uid(account)):
            return False
        return any(ref.get("name") == objects.name(secret) for ref in account.get("secrets") or ())

    def _is_mounted(self, secret: Object) -> bool:
        wanted = ("secrets", objects.namespace(secret), objects.name(secret))
        return any(wanted in used_by(pod) for pod in self.pods.by_index("namespace", objects.namespace(secret)))


def _date(seconds: float) -> str:
    return objects.format_time(seconds)[:10]


def _seconds(date: object) -> float | None:
    """Of a day's beginning; None if it is none."""
    try:
        return objects.parse_time(f"{date}T00:00:00Z")
    except ValueError:
        return None
