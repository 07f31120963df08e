"""Who the API server is to admission webhooks: the users of a kubeconfig, by the hosts they are for (Kubernetes
documentation, "Dynamic Admission Control", "Authenticate API servers")."""

from __future__ import annotations

from pathlib import Path

from podwright.api.objects import Object
from podwright.apiserver import config_files
from podwright.apiserver.admission.configuration import Settings

_KINDS = {"WebhookAdmissionConfiguration": ("apiserver.config.k8s.io/v1",), "WebhookAdmission": (
    "apiserver.config.k8s.io/v1alpha1",
)}  # fmt: skip


class WebhookUsers:
    """`base` is the directory that paths in users start from."""

    def __init__(self, users: Object, default: str, base: Path) -> None:
        self._users = users
        self._default = default
        self.base = base

    @classmethod
    def of(cls, settings: Settings, plugin: str) -> WebhookUsers | None:
        """None if the plugin's configuration names no kubeconfig. Raises OSError, ValueError."""
        file = (settings.of(plugin, _KINDS, {"kubeConfigFile": str}) or {}).get("kubeConfigFile")
        if not file:
            return None
        if not Path(file).is_absolute():
            raise ValueError(f'{settings.path}: kubeConfigFile: Invalid value: "{file}": must be an absolute file path')
        config = config_files.load(Path(file))
        contexts = {entry["name"]: entry.get("context") or {} for entry in config.get("contexts") or ()}
        users = {entry["name"]: entry.get("user") or {} for entry in config.get("users") or ()}
        current = contexts.get(config.get("current-context"), {})
        return cls(users, str(current.get("user") or ""), Path(file).parent)

    def find(self, host: str, port: int) -> Object:
        """The user for a host: by its name with the port, by a wider one ("*.example.com"), the same without the port
        443, "*", or the current context's. Empty for nobody."""
        targets = [f"{host}:{port}", *([host] if port == 443 else [])]
        for target in targets:
            steps = target.split(".")
            for name in (target, *(".".join(("*", *steps[i:])) for i in range(1, len(steps)))):
                if name in self._users:
                    return self._found(name)
        return self._found("*") or self._found(self._default)

    def _found(self, name: str) -> Object:
        user: Object = self._users.get(name) or {}
        return user
