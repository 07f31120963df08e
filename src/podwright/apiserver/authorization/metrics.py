"""What upstream counts about authorizers."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram

_WHICH = ("type", "name")
_RESULT = ("name", "result")
_CONDITION_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25)

Counted = tuple[Counter, Counter]
"""What an authorizer allowed, and what it denied."""
Asked = Callable[[str, float], None]
"""What came of asking a webhook (success, timeout, error) and the seconds it took."""


class AuthorizationMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, said: str, labels: tuple[str, ...]) -> Counter:
            return Counter(f"apiserver_authorization_{name}", said, labels, registry=registry)

        self.decisions = counter("decisions", "What authorizers decided.", (*_WHICH, "decision"))
        self.evaluations = counter("webhook_evaluations", "Times that webhooks were asked.", _RESULT)
        self.fail_open = counter(
            "webhook_evaluations_fail_open", "Times that others were left to decide what a webhook could not.", _RESULT
        )
        self.seconds = Histogram(
            "apiserver_authorization_webhook_duration_seconds", "Seconds until webhooks answered.", _RESULT,
            registry=registry,
        )
        self.condition_errors = counter(
            "match_condition_evaluation_errors", "Times that conditions could not be evaluated.", _WHICH
        )
        self.exclusions = counter(
            "match_condition_exclusions", "Times that webhooks were not asked, for their conditions.", _WHICH
        )
        self.condition_seconds = Histogram(
            "apiserver_authorization_match_condition_evaluation_seconds", "Seconds that conditions took.", _WHICH,
            buckets=_CONDITION_SECONDS, registry=registry,
        )

    def counted(self, kind: str, name: str) -> Counted:
        return self.decisions.labels(kind, name, "allowed"), self.decisions.labels(kind, name, "denied")

    def asked(self, name: str, *, fails_open: bool) -> Asked:
        def tell(result: str, seconds: float) -> None:
            self.evaluations.labels(name, result).inc()
            self.seconds.labels(name, result).observe(seconds)
            if fails_open and result != "success":
                self.fail_open.labels(name, result).inc()

        return tell
