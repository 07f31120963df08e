"""Roles of Podwright's own components, in new clusters and in those of earlier versions."""

from __future__ import annotations

from podwright.api.resources import CLUSTERROLES
from podwright.cluster import roles
from podwright.testing.api import api_server


def test_a_role_that_an_earlier_version_made_gets_the_rules_of_this_one() -> None:
    user = roles.NODE_NETWORK_USER
    with api_server() as api:
        api.run(roles.ensure(api.server, user))
        made = api.run(api.client.get(CLUSTERROLES, user))
        api.run(roles.ensure(api.server, user))
        again = api.run(api.client.get(CLUSTERROLES, user))
        assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        api.run(api.client.update(CLUSTERROLES, {**again, "rules": again["rules"][:1]}))
        api.run(roles.ensure(api.server, user))
        assert api.run(api.client.get(CLUSTERROLES, user))["rules"] == made["rules"]
