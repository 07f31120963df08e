"""Namespaces that go, and what every new one gets."""

from __future__ import annotations

from controller_harness import Harness, make_pod

from podwright.api import objects
from podwright.api.resources import (
    APISERVICES,
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    Resource,
)
from podwright.controllers.config import ControllerConfig
from podwright.controllers.namespaces import NamespaceController
from podwright.controllers.root_ca_publisher import RootCAPublisher
from podwright.controllers.service_accounts import ServiceAccountController


def add_namespace(h: Harness, name: str) -> None:
    h.api.add(NAMESPACES, {"metadata": {"name": name}})


async def test_an_empty_namespace_goes_at_once() -> None:
    async with Harness().running(NamespaceController) as h:
        add_namespace(h, "a")
        h.api.remove(NAMESPACES, "a")
        await h.settle()
        assert h.api.find(NAMESPACES, "a") is None


async def test_content_goes_pods_first() -> None:
    async with Harness().running(NamespaceController) as h:
        add_namespace(h, "a")
        h.api.add(PODS, make_pod("p", namespace="a", node="n"))
        h.api.add(SECRETS, {"metadata": {"name": "s", "namespace": "a"}})
        h.api.add(SECRETS, {"metadata": {"name": "s", "namespace": "other"}})
        h.api.remove(NAMESPACES, "a")
        await h.settle()
        assert objects.is_deleting(h.api.read(PODS, "p", "a"))
        assert h.api.find(SECRETS, "s", "a") is not None
        remaining = objects.condition(h.api.read(NAMESPACES, "a"), "NamespaceContentRemaining")
        assert remaining is not None and remaining["message"] == (
            "Some resources are remaining: pods. has 1 resource instances"
        )
        h.api.finish_deletions(PODS)
        await h.settle()
        assert h.api.find(SECRETS, "s", "a") is None
        assert h.api.find(SECRETS, "s", "other") is not None
        assert h.api.find(NAMESPACES, "a") is None


async def test_content_held_by_a_finalizer_is_named() -> None:
    async with Harness().running(NamespaceController) as h:
        add_namespace(h, "a")
        h.api.add(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "a", "finalizers": ["x/y"]}})
        h.api.remove(NAMESPACES, "a")
        await h.settle()
        held = objects.condition(h.api.read(NAMESPACES, "a"), "NamespaceFinalizersRemaining")
        assert held is not None and held["status"] == "True" and "x/y in 1 resource instances" in held["message"]
        before = h.api.total
        await h.advance(600)
        assert h.api.total - before < 3000
        h.api.change(CONFIGMAPS, "c", {"metadata": {"finalizers": None}}, "a")
        await h.advance(120)
        assert h.api.find(NAMESPACES, "a") is None


async def test_custom_resources_go_too() -> None:
    widgets = Resource("ex.io", "v1", "widgets", "Widget", custom=True)
    h = Harness()
    h.api.table.add(widgets)
    async with h.running(NamespaceController):
        h.api.add(
            CUSTOMRESOURCEDEFINITIONS,
            {
                "metadata": {"name": "widgets.ex.io"},
                "spec": {
                    "group": "ex.io",
                    "scope": "Namespaced",
                    "names": {"plural": "widgets", "kind": "Widget"},
                    "versions": [{"name": "v1", "served": True, "storage": True}],
                },
                "status": {"conditions": [{"type": "Established", "status": "True"}]},
            },
        )
        add_namespace(h, "a")
        h.api.add(widgets, {"metadata": {"name": "w", "namespace": "a"}})
        await h.settle()
        h.api.remove(NAMESPACES, "a")
        await h.settle()
        assert h.api.find(widgets, "w", "a") is None
        assert h.api.find(NAMESPACES, "a") is None


async def test_what_other_api_servers_hold_goes_too() -> None:
    flunders = Resource("ex.io", "v1", "flunders", "Flunder", custom=True)
    h = Harness()
    h.api.table.add(flunders)
    async with h.running(NamespaceController):
        for version, priority in (("v1", 20), ("v1beta1", 10)):
            h.api.add(APISERVICES, {
                "metadata": {"name": f"{version}.ex.io"},
                "spec": {"group": "ex.io", "version": version, "versionPriority": priority, "service": {"name": "s"}},
            })
        add_namespace(h, "a")
        h.api.add(flunders, {"metadata": {"name": "f", "namespace": "a"}})
        h.api.remove(NAMESPACES, "a")
        await h.settle()
        # A server that cannot be asked may hold something.
        failed = objects.condition(h.api.read(NAMESPACES, "a"), "NamespaceDeletionDiscoveryFailure")
        assert failed is not None and (failed["status"], failed["reason"]) == ("True", "DiscoveryFailed")
        assert "2 failing" in failed["message"] and "ex.io/v1: " in failed["message"]
        for version in ("v1", "v1beta1"):
            h.api.answers[f"/apis/ex.io/{version}"] = {"resources": [
                {"name": "flunders", "kind": "Flunder", "namespaced": True, "verbs": ["list", "delete"]},
                {"name": "flunders/status", "kind": "Flunder", "namespaced": True, "verbs": ["get"]},
            ]}
        await h.advance(60)
        assert h.api.find(flunders, "f", "a") is None
        assert h.api.find(NAMESPACES, "a") is None


async def test_each_namespace_has_a_default_service_account_again_when_deleted() -> None:
    async with Harness().running(ServiceAccountController) as h:
        add_namespace(h, "a")
        await h.settle()
        h.api.remove(SERVICEACCOUNTS, "default", "a")
        await h.settle()
        assert h.api.find(SERVICEACCOUNTS, "default", "a") is not None
        h.api.add(NAMESPACES, {"metadata": {"name": "b", "deletionTimestamp": "2025-01-01T00:00:00Z"}})
        await h.settle()
        assert h.api.find(SERVICEACCOUNTS, "default", "b") is None


async def test_the_root_ca_is_published_and_mended() -> None:
    async with Harness(ControllerConfig(root_ca="PEM")).running(RootCAPublisher) as h:
        add_namespace(h, "a")
        await h.settle()
        assert h.api.read(CONFIGMAPS, "kube-root-ca.crt", "a")["data"] == {"ca.crt": "PEM"}
        h.api.change(CONFIGMAPS, "kube-root-ca.crt", {"data": {"ca.crt": "other"}}, "a")
        await h.settle()
        assert h.api.read(CONFIGMAPS, "kube-root-ca.crt", "a")["data"] == {"ca.crt": "PEM"}
        h.api.remove(CONFIGMAPS, "kube-root-ca.crt", "a")
        await h.settle()
        assert h.api.find(CONFIGMAPS, "kube-root-ca.crt", "a") is not None
