"""The pytest plugin, loaded by its entry point wherever Podwright is installed.

Every pytest run imports this module: what the fixtures need is imported when one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from podwright.testing.api import LocalApi
    from podwright.testing.cluster import LocalCluster

_SCOPES = ("session", "package", "module", "class", "function")


def pytest_addoption(parser: pytest.Parser) -> None:
    scopes = ", ".join(_SCOPES)
    parser.addini("podwright_cluster_scope", f"how long podwright_cluster lives: {scopes}", default="session")
    parser.addini("podwright_nodes", "how many real nodes podwright_cluster has", default="1")


def pytest_configure(config: pytest.Config) -> None:
    if (scope := str(config.getini("podwright_cluster_scope"))) not in _SCOPES:
        raise pytest.UsageError(f"podwright_cluster_scope: {scope!r} is none of {', '.join(_SCOPES)}")
    if not (nodes := str(config.getini("podwright_nodes"))).isdecimal() or not int(nodes):
        raise pytest.UsageError(f"podwright_nodes: {nodes!r} is no number of nodes")
    config.addinivalue_line(
        "markers",
        "podwright(controllers=False, scheduler=False, simulated_nodes=0): what runs beside podwright_api's API server",
    )


@pytest.fixture
def podwright_api(request: pytest.FixtureRequest) -> Iterator[LocalApi]:
    """An empty API server of the test's own: in this process, in memory, without root."""
    from podwright.testing.api import api_server

    marker = request.node.get_closest_marker("podwright")
    with api_server(**(marker.kwargs if marker else {})) as api:
        yield api


def _cluster_scope(fixture_name: str, config: pytest.Config) -> str:
    return str(config.getini("podwright_cluster_scope"))


@pytest.fixture(scope=_cluster_scope)  # type: ignore[arg-type]
def podwright_cluster(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """A cluster with real Pods (needs root), purged at the end whatever the tests did. It lives for the session unless
    the ini option podwright_cluster_scope says otherwise."""
    from podwright.cluster.up import require_root
    from podwright.testing.cluster import cluster

    try:
        require_root()
    except PermissionError as refused:
        pytest.fail(f"podwright_cluster: {refused}, or use podwright_api", pytrace=False)
    with cluster(nodes=int(request.config.getini("podwright_nodes"))) as running:
        yield running
