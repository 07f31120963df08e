"""``podwright node join``: this machine becomes a node of a cluster that runs elsewhere.

A bootstrap token proves the machine to the cluster, the hash of the CA's key the cluster to the machine: the token is
sent only over a connection that the pinned CA vouches for. What comes of it is a cluster on this machine with one
process, a node, which ``podwright up``, ``down`` and ``status`` start, stop and show like any other.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS, NODES
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.https import HttpsTransport
from podwright.client.transport import ServerUnreachable
from podwright.cluster import node_certificates, renewal
from podwright.cluster.files import locked, write_atomically
from podwright.cluster.host import address_towards, hostname
from podwright.cluster.joining import NAMESPACE, NODE_CONFIG
from podwright.cluster.layout import Layout
from podwright.cluster.pki import KeyPair, Pki
from podwright.cluster.registry import Registry
from podwright.cluster.servers import SERVERS_FILE, known
from podwright.cluster.spec import ClusterSpec
from podwright.cluster.up import free_port, start_missing
from podwright.kubelet import config_file

log = logging.getLogger(__name__)

_TIMEOUT = 10.0
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")

Progress = Callable[[str, str], None]
T = TypeVar("T")


class CannotJoin(Exception):
    """The message says at which step, and why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What stood on the command line; "" is "find out"."""

    server: str
    token: str
    ca_hash: str
    name: str = ""
    node: str = ""
    address: str = ""
    data_dir: str = ""
    runtime: str = "auto"
    kubelet_config: str = ""


def join(asked: Asked, progress: Progress) -> ClusterSpec:
    """Returns when the node is Ready.

    Raises:
        CannotJoin, BadClusterName, CannotAdd, StartFailed, BadConfiguration.
    """
    node = asked.node or hostname()
    if not _NODE_NAME.fullmatch(node):
        raise CannotJoin(f"invalid node name {node!r}: give another with --node")
    place = urlsplit(asked.server)
    if place.scheme != "https" or not place.hostname:
        raise CannotJoin(f"--server {asked.server}: it must be an https:// URL")
    ca = pinned_ca(place.hostname, place.port or 443, asked.ca_hash)
    progress(node, "the cluster is the one that the hash names")
    address = asked.address or address_towards(place.hostname)
    if asked.data_dir:
        asked = replace(asked, data_dir=str(Path(asked.data_dir).absolute()))
    if asked.kubelet_config:
        asked = replace(asked, kubelet_config=str(Path(asked.kubelet_config).absolute()))
        config_file.read(Path(asked.kubelet_config))
    return asyncio.run(_join(asked, node, address, ca, progress))


async def _join(asked: Asked, node: str, address: str, ca: bytes, progress: Progress) -> ClusterSpec:
    tls = ssl.create_default_context(cadata=ca.decode())
    bootstrap = Client(HttpsTransport([asked.server], tls=tls, token=asked.token, user_agent="podwright node join"))
    try:
        try:
            config = await bootstrap.get(CONFIGMAPS, NODE_CONFIG, namespace=NAMESPACE)
        except ApiError as refused:
            raise CannotJoin(
                "the token is not valid (any more): make one with podwright token create"
                if refused.code == 401
                else f"cannot read the cluster's configuration: {refused}"
            ) from refused
        told: Object = config["data"]
        name = asked.name or str(told["cluster"])
        layout = Registry().add(name, Path(asked.data_dir) if asked.data_dir else None, index=int(told["index"]))
        with locked(layout.run / "lock"):
            if ClusterSpec.load(layout) is not None:
                raise CannotJoin(f"there is a cluster {name!r} on this machine already: join as another with --name")
            try:
                spec = ClusterSpec(
                    name=name, data_dir=asked.data_dir, runtime=asked.runtime, server=asked.server,
                    joined_node=node, address=address, kubelet_port=free_port(10250),
                    node_grace=float(told["nodeGrace"]), kubelet_config=asked.kubelet_config,
                )  # fmt: skip
                spec = await _become(spec, layout, bootstrap, ca, progress)
            except BaseException:
                Registry().remove(name)
                raise
            start_missing(spec, layout, Registry().ranges(name), progress)
            return spec
    finally:
        await bootstrap.aclose()


async def _become(spec: ClusterSpec, layout: Layout, bootstrap: Client, ca: bytes, progress: Progress) -> ClusterSpec:
    """Certificates and the Node object; the spec with the node's Pod range, saved."""
    pki, node = Pki(layout.pki), spec.joined_node
    write_atomically(pki.ca.certificate, ca)
    await _step(
        "certificate",
        node_certificates.obtain(bootstrap, node, node_certificates.CLIENT_SIGNER, node_pair(pki, node)),
    )
    progress(node, "has its certificate")
    own = node_client(spec, pki)
    try:
        spec = await _step("registration", _register(own, spec))
        progress(node, f"is registered, its Pods are {spec.pod_cidr}")
        await _step("serving certificate", _serving(own, pki, spec))
    finally:
        await own.aclose()
    spec.save(layout)
    return spec


async def _serving(own: Client, pki: Pki, spec: ClusterSpec) -> None:
    await node_certificates.obtain(
        own, spec.joined_node, node_certificates.SERVING_SIGNER, serving_pair(pki, spec.joined_node),
        hosts=[spec.joined_node, spec.address],
    )  # fmt: skip


async def _step(what: str, doing: Awaitable[T]) -> T:
    """Raises CannotJoin, which names the step."""
    try:
        return await doing
    except (ApiError, ServerUnreachable, node_certificates.NoCertificate, TimeoutError) as failed:
        raise CannotJoin(f"{what}: {failed or type(failed).__name__}") from failed


async def _register(own: Client, spec: ClusterSpec) -> ClusterSpec:
    """Makes the Node, with the address that the serving certificate will name, and waits for its Pod range."""
    node: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": spec.joined_node, "labels": {"kubernetes.io/hostname": spec.joined_node}},
        "spec": {},
        "status": {"addresses": [{"type": "InternalIP", "address": spec.address}]},
    }
    try:
        await own.create(NODES, node)
    except ApiError as refused:
        if refused.code != 409:
            raise
        raise CannotJoin(
            f"the cluster has a node {spec.joined_node!r} already: choose another name with --node, or delete that one"
        ) from refused
    async with asyncio.timeout(_TIMEOUT):
        watch = own.watch(NODES, field_selector=f"metadata.name={spec.joined_node}")
        async with aclosing(watch) as events:  # type: ignore[type-var]
            async for _, seen in events:
                if seen["spec"].get("podCIDR"):
                    return replace(spec, pod_cidr=seen["spec"]["podCIDR"])
    raise CannotJoin("the cluster gave the node no range for its Pods")


async def renew_certificates(spec: ClusterSpec, layout: Layout, now: float) -> None:
    """Asks for new certificates, with the old one, once most of their time is over at `now` (seconds since the epoch).

    Raises:
        NoCertificate, ApiError, ServerUnreachable.
    """
    pki = Pki(layout.pki)
    if _renewal(spec, pki) > now:
        return
    own = node_client(spec, pki)
    try:
        pair = node_pair(pki, spec.joined_node)
        await node_certificates.obtain(own, spec.joined_node, node_certificates.CLIENT_SIGNER, pair)
        await _serving(own, pki, spec)
    finally:
        await own.aclose()


def _renewal(spec: ClusterSpec, pki: Pki) -> float:
    return min(make(pki, spec.joined_node).renewal for make in (node_pair, serving_pair))


async def keep_certificates(spec: ClusterSpec, layout: Layout, clock: Clock) -> None:
    """Renews them in time, until cancelled. If the cluster does not answer or approve, it is asked again a minute
    later."""
    await renewal.keep(
        spec.joined_node, lambda: _renewal(spec, Pki(layout.pki)),
        lambda: renew_certificates(spec, layout, clock.now()), clock,
        ApiError, ServerUnreachable, node_certificates.NoCertificate,
    )  # fmt: skip


def node_client(spec: ClusterSpec, pki: Pki) -> Client:
    """The joined node's own client."""
    pair = node_pair(pki, spec.joined_node)
    return Client(
        HttpsTransport(
            known(spec.server, pki.directory.parent / SERVERS_FILE), ca_file=pki.ca.certificate,
            certificate=(pair.certificate, pair.key),
            user_agent="kubelet",
        )
    )  # fmt: skip


def pinned_ca(host: str, port: int, ca_hash: str) -> bytes:
    """The CA certificate (PEM) that the server shows and whose public key has the hash. Nothing else that it says is
    believed, and nothing is sent.

    Raises:
        CannotJoin: it cannot be reached, or shows no such CA.
    """
    if not _HASH.fullmatch(ca_hash):
        raise CannotJoin("--ca-hash: it must be sha256: and 64 hexadecimal digits, as podwright token create prints it")
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout=_TIMEOUT) as plain:
            with unverified.wrap_socket(plain, server_hostname=host) as connection:
                chain = _presented(connection)
    except OSError as failed:
        raise CannotJoin(f"cannot reach https://{host}:{port}: {failed}") from failed
    for der in chain:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if f"sha256:{hashlib.sha256(key).hexdigest()}" == ca_hash:
            return certificate.public_bytes(Encoding.PEM)
    raise CannotJoin(f"https://{host}:{port} is not of the cluster that --ca-hash names: do not trust it")


def _presented(connection: ssl.SSLSocket) -> list[bytes]:
    """The certificates that the server sent, in DER. Python has a public call for it from 3.13 on."""
    if hasattr(connection, "get_unverified_chain"):
        return list(connection.get_unverified_chain())
    sent = connection._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in sent]


def node_pair(pki: Pki, node: str) -> KeyPair:
    return KeyPair(pki.directory / f"node-{node}.crt", pki.directory / f"node-{node}.key")


def serving_pair(pki: Pki, node: str) -> KeyPair:
    return KeyPair(pki.directory / f"kubelet-{node}.crt", pki.directory / f"kubelet-{node}.key")
