"""Connects what is created and answered but never stored: reviews, ServiceAccount tokens, bindings."""

from __future__ import annotations

from collections.abc import Callable

from podwright.api import schema
from podwright.api.resources import Resource
from podwright.apiserver import authentication, authorization, reviews, tokens
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.exchange import Bytes, One, Reply, Request
from podwright.apiserver.handlers import Handlers, Page
from podwright.apiserver.registry import pods
from podwright.apiserver.registry.bodies import body_object, checked
from podwright.apiserver.registry.creating import admit_create
from podwright.apiserver.registry.options import write_options
from podwright.apiserver.registry.registry import Registry
from podwright.apiserver.requests import Objects

_TOKEN_REQUEST = "io.k8s.api.authentication.v1.TokenRequest"
_AUTHENTICATION = "authentication.k8s.io/v1"


def install_reviews(
    handlers: Handlers, config: ApiServerConfig, objects: Objects, authenticator: authentication.Union,
    authorizer: authorization.Union, now: Callable[[], float],
) -> None:
    audiences = tuple(config.api_audiences) or (config.service_account_issuer,)
    answering = reviews.Reviews(authenticator, authorizer, audiences)

    async def review(registry: Registry, request: Request, row: Resource) -> Reply:
        options = write_options(request, "CreateOptions")
        obj = await body_object(request, row)
        obj = checked(registry.schema(row), request, row.kind, row.version, obj, options)
        name = str((obj.get("metadata") or {}).get("name") or "")
        obj = await admit_create(registry, request, row, "", name, obj, options)
        answer = await answering.create(row, request.user, request.info.namespace, obj)
        return One(row, object=answer, status=201)

    for group, plural in (
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    ):
        handlers.creates[group, plural] = review
    handlers.creates["", "bindings"] = pods.bind
    if config.service_account_signing_key is None:
        return
    issuer = tokens.TokenIssuer(config, objects, clock=now)

    async def token(registry: Registry, request: Request, row: Resource) -> Reply:
        info = request.info
        options = write_options(request, "CreateOptions")
        body = await body_object(request, row, "TokenRequest", _AUTHENTICATION)
        body = checked(schema.definition(_TOKEN_REQUEST), request, "TokenRequest", "v1", body, options)
        body = await admit_create(registry, request, row, "token", info.name, body, options)
        answer = issuer.create(info.namespace, info.name, body)
        return One(None, object=answer, status=201)

    handlers.subresources["serviceaccounts", "token"] = token
    for path, page in issuer_pages(issuer, config).items():
        handlers.pages[path] = page


def issuer_pages(issuer: tokens.TokenIssuer, config: ApiServerConfig) -> dict[str, Page]:
    """OIDC discovery of the ServiceAccount issuer."""
    address = config.external_hostname or config.advertise_address

    async def configuration(request: Request) -> Bytes:
        return Bytes(issuer.openid_configuration(f"{address}:{config.port}"))

    async def keys(request: Request) -> Bytes:
        return Bytes(issuer.jwks(), "application/jwk-set+json")

    return {"/.well-known/openid-configuration": configuration, tokens.JWKS_PATH: keys}
