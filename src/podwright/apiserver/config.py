"""What an API server is told when it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerConfig:
    """Names and meanings are those of kube-apiserver's flags where there is one. Times in seconds, sizes in bytes."""

    store_url: str
    store_exclusive: bool = True
    """No other process writes to the store: reads need not ask it how far it is."""
    certificate: Path
    key: Path
    client_ca: Path | None = None
    host: str = "0.0.0.0"
    port: int = 6443
    """0 takes any free port; see :attr:`ApiServer.port`."""
    advertise_address: str = "127.0.0.1"
    external_hostname: str = ""
    service_cidr: str = "10.96.0.0/12"
    node_ports: tuple[int, int] = (30000, 32767)
    """First and last port that Services get."""
    legacy_versions: bool = False
    """--serve-legacy: beta versions that 1.37 no longer serves."""

    # Authentication
    service_account_issuer: str = "https://kubernetes.default.svc.cluster.local"
    service_account_signing_key: Path | None = None
    service_account_keys: Sequence[Path] = ()
    """Public (or private) keys that verify tokens; the signing key's always does."""
    api_audiences: Sequence[str] = ()
    """Empty: the issuer."""
    service_account_max_token_seconds: int = 0
    token_file: Path | None = None
    bootstrap_tokens: bool = True
    authentication_config: Path | None = None
    """An AuthenticationConfiguration: its `jwt` are issuers of tokens, its `anonymous` says which paths are open."""
    requestheader_client_ca: Path | None = None
    requestheader_allowed_names: Sequence[str] = ()

    proxy_client_certificate: Path | None = None
    proxy_client_key: Path | None = None
    """Shown to extension API servers, which believe who shows it about who asks."""

    # Authorization
    authorization_modes: Sequence[str] = ("Node", "RBAC")
    authorization_config: Path | None = None
    """An AuthorizationConfiguration, in place of modes and webhook."""
    authorization_webhook: Path | None = None
    """A kubeconfig file."""

    # Admission
    enabled_admission_plugins: Sequence[str] = ()
    disabled_admission_plugins: Sequence[str] = ()
    admission_config: Path | None = None
    default_not_ready_toleration_seconds: int = 300
    default_unreachable_toleration_seconds: int = 300

    # To kubelets
    kubelet_client_certificate: Path | None = None
    kubelet_client_key: Path | None = None
    kubelet_ca: Path | None = None

    # Data
    encryption_config: Path | None = None
    encryption_config_automatic_reload: bool = False
    audit_policy: Path | None = None
    audit_log: Path | None = None
    event_ttl: float = 3600.0
    compaction_interval: float = 300.0

    # Load
    max_body: int = 3 * 1024 * 1024
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    request_timeout: float = 60.0
    min_watch_seconds: float = 1800.0
    shutdown_seconds: float = 10.0
