"""``podwright server --store etcd://…``: this machine becomes one of the control planes of a cluster whose objects are
in an etcd that all of them share.

The first one makes the cluster's authority and keys; the others are given them by hand, as with kubeadm. What else must
be the same everywhere, they read from the store.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import orjson

from podwright.api.objects import Object
from podwright.cluster import host, kubeconfig
from podwright.cluster.files import locked
from podwright.cluster.joining import NAMESPACE, NODE_CONFIG
from podwright.cluster.layout import Layout
from podwright.cluster.pki import Pki
from podwright.cluster.registry import Registry
from podwright.cluster.spec import ClusterSpec
from podwright.store.protocol import StoreUnavailable
from podwright.store.urls import open_store

SHARED_FILES = ("ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy/ca.crt", "front-proxy/ca.key")
"""Below the pki directory: what every control plane of a cluster has in common."""

_CONFIG_MAPS = f"/registry/configmaps/{NAMESPACE}"
_AUTHENTICATION = "extension-apiserver-authentication"


class CannotServe(Exception):
    """The message says what stands against it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What stood on the command line; "" and 0 are "find out". `address` is where nodes and the other control planes
    reach this one."""

    store: str
    address: str = ""
    port: int = 0
    data_dir: str = ""
    fast_failover: bool = False


def ensure(name: str, asked: Asked) -> None:
    """Makes the cluster known on this machine, unless it is.

    Raises:
        CannotServe, BadClusterName, TooManyClusters.
    """
    registry = Registry()
    layout = registry.layout(name)
    spec = ClusterSpec.load(layout) if layout is not None else None
    if spec is not None:
        _same(spec, asked)
        return
    told = _told(asked.store)
    data_dir = Path(asked.data_dir).absolute() if asked.data_dir else None
    layout = registry.add(name, data_dir, index=int(told["index"]) if told else None)
    with locked(layout.run / "lock"):
        grace = 4.0 if asked.fast_failover else ClusterSpec(name).node_grace
        try:
            if told:
                _of_this_cluster(layout, told, grace)
            spec = ClusterSpec(
                name=name, nodes=0, data_dir=str(data_dir or ""), store=asked.store, port=asked.port or 6443,
                address=asked.address or host.primary_address(), fast_failover=asked.fast_failover,
                node_grace=grace, toleration=0 if asked.fast_failover else 300,
            )  # fmt: skip
        except BaseException:
            registry.remove(name)
            raise
        spec.save(layout)


def write_admin_kubeconfig(spec: ClusterSpec, layout: Layout) -> None:
    """For kubectl on this machine, and to be copied from it."""
    pki = Pki(layout.pki)
    admin = pki.client("admin", "kubernetes-admin", ["system:masters"])
    url = f"https://{spec.address}:{spec.port}"
    kubeconfig.write(
        layout.admin_kubeconfig, kubeconfig.document(Layout.context(spec.name), url, pki.ca.certificate, admin)
    )


def _same(spec: ClusterSpec, asked: Asked) -> None:
    differences = [
        f"{flag}: the cluster has {has!r}, asked was {wants!r}"
        for flag, has, wants in (
            ("--store", spec.store, asked.store),
            ("--advertise-address", spec.address, asked.address),
            ("--port", spec.port, asked.port),
        )
        if wants and wants != has
    ]
    if differences:
        raise CannotServe("; ".join(differences))


def _of_this_cluster(layout: Layout, told: Object, grace: float) -> None:
    """Raises CannotServe."""
    missing = [f for f in SHARED_FILES if not (layout.pki / f).exists()]
    if missing:
        raise CannotServe(
            f"the store has a cluster already: copy {', '.join(missing)} from the pki directory of one of its control "
            f"planes to {layout.pki}"
        )
    if told["ca"].strip() != (layout.pki / "ca.crt").read_text().strip():
        raise CannotServe(f"the cluster in the store has another authority than {layout.pki / 'ca.crt'}")
    if float(told["nodeGrace"]) != grace:
        raise CannotServe("--fast-failover: the other control planes say otherwise")


def _told(store_url: str) -> Object:
    """What a cluster that lies in the store says of itself; empty if there is none. Raises CannotServe."""
    try:
        return asyncio.run(_read(store_url))
    except (ValueError, StoreUnavailable) as failed:
        raise CannotServe(f"--store {store_url}: {failed}") from failed


async def _read(store_url: str) -> Object:
    store = open_store(store_url)
    await store.open()
    try:
        config = await store.get(f"{_CONFIG_MAPS}/{NODE_CONFIG}")
        authentication = await store.get(f"{_CONFIG_MAPS}/{_AUTHENTICATION}")
    finally:
        await store.close()
    if config is None or authentication is None:
        return {}
    told: Object = orjson.loads(config.value)["data"]
    return {**told, "ca": orjson.loads(authentication.value)["data"]["client-ca-file"]}
