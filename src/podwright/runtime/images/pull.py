"""Pulls by skopeo, the maintained transport: TLS, token authentication, mirrors, retries are its business."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import os
import shutil
import tempfile
from pathlib import Path

import orjson

from podwright.runtime.images.reference import Reference
from podwright.runtime.protocol import ImagePullFailure, RegistryAuth

_UNREACHABLE = ("connection refused", "no such host", "i/o timeout", "network is unreachable", "no route to host")


async def resolve(reference: Reference, auth: RegistryAuth | None, timeout: float) -> str:
    """The digest of what the registry has under the name now: a manifest, or an index of them. Raises
    ImagePullFailure."""
    raw = await _skopeo(reference, auth, timeout, ["inspect", "--raw"])
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


async def fetch(reference: Reference, directory: Path, auth: RegistryAuth | None, timeout: float) -> None:
    """Copies the image to the OCI layout `directory`, digests checked by skopeo. Raises ImagePullFailure."""
    arguments = ["copy", "--quiet", "--multi-arch", "system"]
    await _skopeo(reference, auth, timeout, arguments, f"oci:{directory}:pulled")


async def _skopeo(
    reference: Reference, auth: RegistryAuth | None, timeout: float, command: list[str], target: str = ""
) -> bytes:
    """What skopeo says of the reference, or copies to `target`."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        raise ImagePullFailure(f'failed to pull image "{reference}": skopeo is not installed', "ErrImagePull")
    # It must not outlive us: what it writes then is cleared away by the next process.
    setpriv = shutil.which("setpriv")
    guard = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    source = "src-" if target else ""
    arguments = [*guard, skopeo, *command, "--retry-times", "1"]
    if _is_loopback(reference.domain):
        arguments.append(f"--{source}tls-verify=false")
    with tempfile.TemporaryDirectory(prefix="podwright-auth-") as private:
        authfile = Path(private) / "auth.json"
        authfile.write_bytes(orjson.dumps(_auth_document(reference.domain, auth)))
        arguments += [f"--{source}authfile", str(authfile)]
        if auth is not None and auth.registry_token:
            arguments += [f"--{source}registry-token", auth.registry_token]
        process = await asyncio.create_subprocess_exec(
            *arguments,
            f"docker://{reference}",
            *([target] if target else []),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(Path(target.split(":")[1]).parent) if target else private},
        )
        try:
            async with asyncio.timeout(timeout):
                stdout, stderr = await process.communicate()
        except TimeoutError:
            raise ImagePullFailure(
                f'failed to pull image "{reference}": no answer within {timeout:g} s', "ErrImagePull"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode != 0:
        message = _last_message(stderr.decode(errors="replace"))
        reason = "RegistryUnavailable" if any(word in message for word in _UNREACHABLE) else "ErrImagePull"
        raise ImagePullFailure(f'failed to pull and unpack image "{reference}": {message}', reason)
    return stdout


def _is_loopback(domain: str) -> bool:
    """As docker has it: registries on this host may speak plain HTTP."""
    host = domain.rpartition(":")[0] if ":" in domain.rpartition("]")[2] else domain
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _auth_document(domain: str, auth: RegistryAuth | None) -> dict[str, object]:
    if auth is None or not (auth.username or auth.identity_token):
        return {"auths": {}}
    entry = {"auth": base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()}
    if auth.identity_token:
        entry["identitytoken"] = auth.identity_token
    return {"auths": {domain: entry}}


def _last_message(stderr: str) -> str:
    """The text of skopeo's last log line (logfmt: ... level=fatal msg="..." )."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "skopeo failed without a word"
    _, found, text = last.partition('msg="')
    return text.removesuffix('"').replace('\\"', '"') if found else last
