"""A Pod's /etc/hosts (documentation page "Adding entries to Pod /etc/hosts with HostAliases")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from podwright.api import pods
from podwright.api.objects import Object

_HEADER = "# Kubernetes-managed hosts file.\n"
_HEADER_HOST = "# Kubernetes-managed hosts file (host network).\n"
_FIXED = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def content(pod: Object, ips: Sequence[str], hostname: str, domain: str, host_file: Path = Path("/etc/hosts")) -> str:
    aliases = pod["spec"].get("hostAliases") or ()
    if pods.host_network(pod):
        text = _HEADER_HOST + host_file.read_text(errors="replace")
        return text + _aliases(aliases)
    text = _HEADER + _FIXED
    for ip in ips:
        text += f"{ip}\t{hostname}.{domain}\t{hostname}\n" if domain else f"{ip}\t{hostname}\n"
    return text + _aliases(aliases)


def _aliases(aliases: Sequence[Object]) -> str:
    if not aliases:
        return ""
    text = "\n# Entries added by HostAliases.\n"
    for alias in aliases:
        names = "\t".join(alias.get("hostnames") or ())
        text += f"{alias['ip']}\t{names}\n"
    return text


def write(path: Path, text: str) -> None:
    """In place, so that running containers, which have it mounted, see the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
