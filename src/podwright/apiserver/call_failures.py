"""Why a call of a webhook or of another API server failed, in the words that clients know: those of Go's net and TLS
packages, and of client-go for answers that are no success."""

from __future__ import annotations

import os
import ssl

import aiohttp
import orjson

_HOSTNAME, _ADDRESS = 62, 64
_NOT_YET, _EXPIRED = 9, 10
_ANSWERS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}
_ITS_OWN = frozenset((403, 406, 415))
_MAX_SAID = 2048


def told(error: Exception) -> str:
    """Of a call that got no answer. `error` is one of aiohttp's, or TimeoutError."""
    if isinstance(error, TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: x509: {_untrusted(error.certificate_error, error.host)}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = getattr(error.os_error, "reason", "") or ""
        if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return "http: server gave HTTP response to HTTPS client"
        return f"remote error: tls: {reason.lower().replace('_', ' ')}"
    if isinstance(error, aiohttp.ClientConnectorError):
        host = f"[{error.host}]" if ":" in error.host else error.host
        return f"dial tcp {host}:{error.port}: connect: {_system(error.os_error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return "EOF"
    if isinstance(error, OSError) and error.errno:
        return f"read: {_system(error)}"
    return str(error)


def _system(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)


def _untrusted(error: Exception, host: str) -> str:
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    if code in (_HOSTNAME, _ADDRESS):
        wanted = str(error).partition("is not valid for '")[2].partition("'")[0] or host
        return f"certificate is not valid for any names, but wanted to match {wanted}"
    if code in (_EXPIRED, _NOT_YET):
        return "certificate has expired or is not yet valid"
    return "certificate signed by unknown authority"


def answered(code: int, body: bytes, content_type: str) -> str:
    """Of an answer whose code is none of success: the message of the Status that it carries, or client-go's own."""
    try:
        carried = orjson.loads(body)
    except ValueError:
        carried = None
    if isinstance(carried, dict) and carried.get("kind") == "Status" and carried.get("status") != "Success":
        return str(carried.get("message") or "unknown")
    text = content_type.startswith("text/") or not content_type
    said = body[:_MAX_SAID].decode(errors="replace").strip() if text else "unknown"
    if code in _ITS_OWN:
        return said
    if code in _ANSWERS:
        return _ANSWERS[code]
    if code >= 500:
        return f"an error on the server ({orjson.dumps(said).decode()}) has prevented the request from succeeding"
    return f"the server responded with the status code {code} but did not return more information"
