"""A Pod's host name and domain: hostname, subdomain, setHostnameAsFQDN, hostnameOverride."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object

_LONGEST = 63
_LONGEST_FQDN = 64


def hostname_and_domain(pod: Object, cluster_domain: str) -> tuple[str, str]:
    """The short host name (63 characters at most) and the domain "" or "subdomain.namespace.svc.cluster.local"."""
    spec = pod["spec"]
    if spec.get("hostnameOverride"):
        return str(spec["hostnameOverride"]), ""
    name = str(spec.get("hostname") or objects.name(pod))[:_LONGEST].rstrip("-.")
    if not spec.get("subdomain"):
        return name, ""
    return name, f"{spec['subdomain']}.{objects.namespace(pod)}.svc.{cluster_domain}"


def kernel_hostname(pod: Object, cluster_domain: str) -> str:
    """What uname -n gives in the Pod.

    Raises:
        ValueError: the full name that was asked for is too long for the kernel.
    """
    name, domain = hostname_and_domain(pod, cluster_domain)
    if pod["spec"].get("hostnameOverride") or not pod["spec"].get("setHostnameAsFQDN") or not domain:
        return name
    full = f"{name}.{domain}"
    if len(full) > _LONGEST_FQDN:
        raise ValueError(
            f'failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long '
            f"({_LONGEST_FQDN} characters is the max, {len(full)} characters requested)"
        )
    return full
