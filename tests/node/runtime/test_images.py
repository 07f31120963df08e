"""Images: archives, layers on disk, names, pulls, garbage."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import io
import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
import zstandard

from podwright.cluster.layout import ARCHIVES
from podwright.runtime.build import IMAGES
from podwright.runtime.images.layouts import architecture
from podwright.runtime.images.store import ImageStore
from podwright.runtime.protocol import ImagePullFailure, Mount, RegistryAuth, RuntimeFailure

Entry = tuple[str, dict[str, Any], bytes]


def entry(name: str, data: bytes = b"", **fields: Any) -> Entry:
    return name, fields, data


def tar(entries: list[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, fields, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def oci_archive(
    path: Path, layers: list[bytes], *, reference: str = "docker.io/library/test:1",
    pack: Callable[[bytes], bytes] = lambda b: b, media: str = "tar", index: bool = False, damage: bool = False,
) -> None:
    packed = [pack(layer) for layer in layers]
    config = orjson.dumps(
        {"architecture": architecture(), "os": "linux", "config": {"Cmd": ["/x"]},
         "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]}}
    )
    prefix = "application/vnd.oci.image"
    manifest = orjson.dumps({
        "schemaVersion": 2, "mediaType": f"{prefix}.manifest.v1+json",
        "config": {"mediaType": f"{prefix}.config.v1+json", "digest": sha(config), "size": len(config)},
        "layers": [{"mediaType": f"{prefix}.layer.v1.{media}", "digest": sha(p), "size": len(p)} for p in packed],
    })
    top, top_media = manifest, f"{prefix}.manifest.v1+json"
    if index:
        other = {"mediaType": top_media, "digest": sha(b"other"), "size": 5,
                 "platform": {"os": "linux", "architecture": "s390x" if architecture() != "s390x" else "amd64"}}
        ours = {"mediaType": top_media, "digest": sha(manifest), "size": len(manifest),
                "platform": {"os": "linux", "architecture": architecture()}}
        top_media = f"{prefix}.index.v1+json"
        top = orjson.dumps({"schemaVersion": 2, "mediaType": top_media, "manifests": [other, ours]})
    blobs = {sha(b): b for b in [config, manifest, top, *packed]}
    if damage:
        blobs[sha(packed[0])] = packed[0][:-1024] + b"\1" * 1024
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": orjson.dumps({
        "schemaVersion": 2, "manifests": [{"mediaType": top_media, "digest": sha(top), "size": len(top),
                                           "annotations": {"io.containerd.image.name": reference}}]})}
    files |= {f"blobs/sha256/{d.removeprefix('sha256:')}": b for d, b in blobs.items()}
    path.write_bytes(tar([entry(name, data) for name, data in files.items()]))


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images", tmp_path / "one" / "references.json")


def layer_of(store: ImageStore, image_id: str, position: int = -1) -> Path:
    image = store.content.image(image_id)
    assert image is not None
    return store.content.layers / image.layers[position]


async def load(store: ImageStore, tmp_path: Path, layers: list[bytes], **options: Any) -> str:
    archive = tmp_path / "archive.tar"
    oci_archive(archive, layers, **options)
    (reference,) = await store.load_archive(archive)
    image = await store.image_status(reference)
    assert image is not None
    return image.id


@pytest.mark.parametrize(
    ("pack", "media"),
    [
        (lambda b: b, "tar"), (lambda b: gzip.compress(b, mtime=0), "tar+gzip"),
        (lambda b: zstandard.ZstdCompressor().compress(b), "tar+zstd"),
    ],
    ids=["tar", "gzip", "zstd"],
)
async def test_layers_in_every_compression(
    store: ImageStore, tmp_path: Path, pack: Callable[[bytes], bytes], media: str
) -> None:
    content = tar([entry("dir", type=tarfile.DIRTYPE, mode=0o750, uid=7, gid=8), entry("dir/f", b"data", mode=0o4755)])
    image = await load(store, tmp_path, [content], pack=pack, media=media, index=True)
    layer = layer_of(store, image)
    assert (layer / "dir/f").read_bytes() == b"data"
    assert stat.S_IMODE((layer / "dir/f").stat().st_mode) == 0o4755
    assert ((layer / "dir").stat().st_uid, (layer / "dir").stat().st_gid) == (7, 8)


async def test_deletions_become_overlay_marks(store: ImageStore, tmp_path: Path) -> None:
    lower = tar([entry("a", b"1"), entry("d", type=tarfile.DIRTYPE, mode=0o755), entry("d/old", b"2")])
    upper = tar([entry(".wh.a"), entry("d", type=tarfile.DIRTYPE, mode=0o755), entry("d/.wh..wh..opq"),
                 entry("d/new", b"3")])
    image = await load(store, tmp_path, [lower, upper])
    layer = layer_of(store, image)
    info = (layer / "a").lstat()
    assert stat.S_ISCHR(info.st_mode) and info.st_rdev == 0
    assert os.getxattr(layer / "d", "trusted.overlay.opaque") == b"y"
    assert not list(layer.rglob(".wh*"))


async def test_links_devices_and_attributes(store: ImageStore, tmp_path: Path) -> None:
    content = tar([
        entry("f", b"x"),
        entry("hard", type=tarfile.LNKTYPE, linkname="f"),
        entry("soft", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        entry("pipe", type=tarfile.FIFOTYPE, mode=0o600),
        entry("capable", b"y", pax_headers={"SCHILY.xattr.user.note": "hello"}),
    ])
    layer = layer_of(store, await load(store, tmp_path, [content]))
    assert (layer / "hard").samefile(layer / "f")
    assert os.readlink(layer / "soft") == "/etc/passwd"
    assert (layer / "null").stat().st_rdev == os.makedev(1, 3)
    assert (layer / "pipe").is_fifo()
    assert os.getxattr(layer / "capable", "user.note") == b"hello"


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../outside", b"x")],
        [entry("a/../../outside", b"x")],
        [entry("link", type=tarfile.SYMTYPE, linkname="../../.."), entry("link/outside", b"x")],
        [entry("link", type=tarfile.SYMTYPE, linkname="/"), entry("link/outside", b"x")],
        [entry("hard", type=tarfile.LNKTYPE, linkname="../../../outside")],
        [entry("hard", type=tarfile.LNKTYPE, linkname="/etc/shadow")],
        [entry("link", type=tarfile.SYMTYPE, linkname="../outside"), entry("link", b"x")],
        [entry("d/.wh...", b"")],
        [entry("fake", type=tarfile.CHRTYPE, devmajor=0, devminor=0)],
    ],
)
async def test_nothing_leaves_a_layer(store: ImageStore, tmp_path: Path, entries: list[Entry]) -> None:
    archive = tmp_path / "archive.tar"
    oci_archive(archive, [tar(entries)])
    before = set(tmp_path.iterdir())
    try:
        await store.load_archive(archive)
    except RuntimeFailure:
        assert not list((store.content.root / "tmp").iterdir())
    assert not list(tmp_path.rglob("outside")) or all("layers" in str(p) for p in tmp_path.rglob("outside"))
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "one", tmp_path / "images"}
    assert not Path("/outside").exists()


async def test_damage_is_noticed(store: ImageStore, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    oci_archive(archive, [tar([entry("f", b"x" * 5000)])], damage=True)
    with pytest.raises(RuntimeFailure, match=r"digest|layer"):
        await store.load_archive(archive)
    assert await store.list_images() == []
    archive.write_bytes(b"no archive at all")
    with pytest.raises(RuntimeFailure, match="cannot load"):
        await store.load_archive(archive)
    with pytest.raises(RuntimeFailure, match="cannot load"):
        await store.load_archive(tmp_path / "missing.tar")


async def test_docker_archive(store: ImageStore, tmp_path: Path) -> None:
    layer = tar([entry("f", b"x")])
    config = orjson.dumps({"config": {"Env": ["A=b"]}, "rootfs": {"type": "layers", "diff_ids": [sha(layer)]}})
    manifest = [{"Config": "c.json", "RepoTags": ["registry.example:5000/team/app:v1"], "Layers": ["l/layer.tar"]}]
    archive = tmp_path / "docker.tar"
    archive.write_bytes(
        gzip.compress(tar([entry("manifest.json", orjson.dumps(manifest)), entry("c.json", config),
                           entry("l/layer.tar", layer)]))
    )
    assert await store.load_archive(archive) == ["registry.example:5000/team/app:v1"]
    image = await store.image_status("registry.example:5000/team/app:v1")
    assert image is not None and image.id == sha(config) and image.config == {"Env": ["A=b"]}
    assert (await store.image_status(image.id)) == image
    assert (await store.image_status(image.id.removeprefix("sha256:")[:12])) == image


async def test_names_and_garbage(store: ImageStore, tmp_path: Path) -> None:
    common = tar([entry("common", b"x" * 1000)])
    first = await load(store, tmp_path, [common, tar([entry("a", b"a")])], reference="docker.io/library/one:1")
    second = await load(store, tmp_path, [common, tar([entry("b", b"b")])], reference="docker.io/library/two:1")
    other = ImageStore(store.content.root, tmp_path / "two" / "references.json")
    assert await other.list_images() == []
    await other.load_archive(tmp_path / "archive.tar")
    await store.tag("one:1", "example.com/renamed:2")
    assert {t for i in await store.list_images() for t in i.repo_tags} == {
        "docker.io/library/one:1", "docker.io/library/two:1", "example.com/renamed:2",
    }
    shared, own = layer_of(store, first, 0), layer_of(store, first, 1)
    await store.remove_image("one:1")
    assert own.exists()
    await store.remove_image("example.com/renamed:2")
    assert not own.exists() and shared.exists()
    await store.remove_image(second)
    assert await store.list_images() == []
    assert shared.exists() and layer_of(other, second, 1).exists()
    shutil.rmtree(tmp_path / "two")
    assert await store.collect() > 0
    assert not shared.exists()


async def test_a_running_container_keeps_its_layers(crun_node: Any) -> None:
    node = crun_node
    _, (container,) = await node.run_pod(node.container())
    await node.images.remove_image("busybox:1.36")
    await node.images.collect()
    assert await node.sh(container, "echo still here") == "still here\n"


async def test_the_built_images(crun_node: Any) -> None:
    """Those that ``make setup`` built."""
    node = crun_node
    for image in IMAGES:
        assert await node.images.load_archive(ARCHIVES / image.file_name) == [image.reference]
    sandbox, (container,) = await node.run_pod(node.container(image="nginx:1.22", command=None, name="web"))
    address = (await node.runtime.pod_sandbox_status(sandbox)).ips[0]
    async with asyncio.timeout(60):
        while True:
            try:
                reader, writer = await asyncio.open_connection(address, 80)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200") and b"Welcome to nginx" in answer
    assert (await node.runtime.container_status(container)).stop_signal == "SIGQUIT"
    await node.runtime.stop_container(container, 5.0)
    assert (await node.runtime.container_status(container)).exit_code == 0


async def test_image_volume(crun_node: Any) -> None:
    node = crun_node
    _, (container,) = await node.run_pod(
        node.container(mounts=[Mount("/image", image="busybox:1.36"),
                               Mount("/etc-of-it", image="busybox:1.36", image_sub_path="etc")])
    )
    assert "root:x:0:0" in await node.sh(container, "cat /image/etc/passwd")
    assert "root:x:0:0" in await node.sh(container, "cat /etc-of-it/passwd")
    assert "Read-only" in await node.sh(container, "touch /image/x")


@contextlib.asynccontextmanager
async def serving(tmp_path: Path, address: str = "127.0.0.1", tls: str = "", auth: str = "") -> AsyncIterator[str]:
    """Debian's registry over the directory of the test: host and port."""
    binary = shutil.which("docker-registry")
    if binary is None or shutil.which("skopeo") is None:
        pytest.fail("docker-registry or skopeo is not installed: make setup does it")
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    configuration = tmp_path / f"registry-{port}.yml"
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '{address}:{port}'{tls}}}\n{auth}"
    )
    process = await asyncio.create_subprocess_exec(
        binary, "serve", str(configuration), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection(address, port)
                    writer.close()
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
        yield f"{address}:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[str]:
    async with serving(tmp_path) as address:
        yield address


async def push(tmp_path: Path, name: str, content: bytes = b"pulled") -> None:
    archive = tmp_path / "archive.tar"
    oci_archive(archive, [tar([entry("f", content)])])
    pushing = await asyncio.create_subprocess_exec(
        "skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}", f"docker://{name}"
    )
    assert await pushing.wait() == 0


async def test_pull(store: ImageStore, tmp_path: Path, registry: str) -> None:
    await push(tmp_path, f"{registry}/team/app:v1")
    image_id = await store.pull_image(f"{registry}/team/app:v1")
    image = await store.image_status(f"{registry}/team/app:v1")
    assert image is not None and image.id == image_id
    assert (layer_of(store, image_id) / "f").read_bytes() == b"pulled"
    (digest,) = image.repo_digests
    assert digest.startswith(f"{registry}/team/app@sha256:")
    assert (await store.image_status(digest)) is not None
    again = await store.pull_image(f"{registry}/team/app:v1")
    assert again == image_id
    await push(tmp_path, f"{registry}/team/app:v1", b"newer")
    newer = await store.pull_image(f"{registry}/team/app:v1")
    assert (layer_of(store, newer) / "f").read_bytes() == b"newer"
    await store.remove_image(image_id), await store.remove_image(newer)
    ids = await asyncio.gather(store.pull_image(digest), store.pull_image(digest), store.pull_image(digest))
    assert set(ids) == {image_id}
    with pytest.raises(ImagePullFailure, match=r"unknown|not found") as failure:
        await store.pull_image(f"{registry}/team/app:none")
    assert failure.value.reason == "ErrImagePull"
    assert not list((store.content.root / "tmp").iterdir())


def certificate(directory: Path, address: str) -> tuple[Path, Path]:
    """(certificate that signs itself, key)"""
    cert, key = directory / f"{address}.crt", directory / f"{address}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", f"/CN={address}", "-addext", f"subjectAltName=IP:{address}", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@contextlib.contextmanager
def tokens(cert: Path, key: Path) -> Iterator[str]:
    """A server of tokens for user u with password secret: its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != "Basic " + base64.b64encode(b"u:secret").decode():
                self.send_error(401)
                return
            der = base64.b64encode(ssl.PEM_cert_to_DER_cert(cert.read_text())).decode()
            now, access = int(time.time()), [{"type": "repository", "name": "team/app", "actions": ["pull"]}]
            claims = {"iss": "us", "aud": "registry", "sub": "u", "nbf": now - 60, "iat": now - 60, "exp": now + 300,
                      "jti": "1", "access": access}  # fmt: skip
            token = jwt.encode(claims, key.read_text(), "ES256", headers={"x5c": [der]})
            body = orjson.dumps({"token": token})
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/token"
        finally:
            server.shutdown()


@pytest.mark.parametrize("kind", ["basic", "token"])
async def test_pull_with_credentials(store: ImageStore, tmp_path: Path, registry: str, kind: str) -> None:
    await push(tmp_path, f"{registry}/team/app:v1")
    users = tmp_path / "users"
    users.write_text("u:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n")  # secret
    async with contextlib.AsyncExitStack() as stack:
        auth = f"auth: {{htpasswd: {{realm: r, path: {users}}}}}\n"
        if kind == "token":
            pair = certificate(tmp_path, "192.0.2.9")
            realm = stack.enter_context(tokens(*pair))
            auth = f"auth: {{token: {{realm: '{realm}', service: registry, issuer: us, rootcertbundle: {pair[0]}}}}}\n"
        name = f"{await stack.enter_async_context(serving(tmp_path, auth=auth))}/team/app:v1"
        image_id = await store.pull_image(name, RegistryAuth("u", "secret"))
        assert (layer_of(store, image_id) / "f").read_bytes() == b"pulled"
        for stranger in (None, RegistryAuth("u", "guessed")):
            # It is here; that is no leave to have it.
            with pytest.raises(ImagePullFailure, match=r"unauthorized|authentication required|invalid username"):
                await store.pull_image(name, stranger)


async def test_pull_over_tls_and_from_a_mirror(store: ImageStore, tmp_path: Path, registry: str) -> None:
    """As the host's configuration of containers says: /etc/containers/certs.d and registries.conf.d."""
    await push(tmp_path, f"{registry}/team/app:v1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect(("192.0.2.1", 9))  # Nothing is sent: it tells which address is not loopback.
        address = str(route.getsockname()[0])
    cert, key = certificate(tmp_path, address)
    async with serving(tmp_path, address, f", tls: {{certificate: {cert}, key: {key}}}") as secure:
        trusted = Path("/etc/containers/certs.d") / secure
        with pytest.raises(ImagePullFailure, match="certificate signed by unknown authority"):
            await store.pull_image(f"{secure}/team/app:v1")
        made = [p for p in (trusted, *trusted.parents) if not p.exists()]
        trusted.mkdir(parents=True)
        try:
            shutil.copy(cert, trusted / "ca.crt")
            image_id = await store.pull_image(f"{secure}/team/app:v1")
        finally:
            (trusted / "ca.crt").unlink(missing_ok=True)
            for directory in made:
                directory.rmdir()
    name = f"{secure.replace('.', '-').replace(':', '-')}.example.com"
    mirrors = Path("/etc/containers/registries.conf.d") / f"{name}.conf"
    try:
        mirrors.write_text(
            f'[[registry]]\nlocation = "{name}"\n[[registry.mirror]]\nlocation = "{registry}"\ninsecure = true\n'
        )
        assert await store.pull_image(f"{name}/team/app:v1") == image_id
    finally:
        mirrors.unlink(missing_ok=True)


_PULLER = """
import asyncio, sys
from pathlib import Path
from podwright.runtime.images.store import ImageStore
store = ImageStore(Path(sys.argv[1]), Path(sys.argv[2]))
print("pulling", flush=True)
asyncio.run(store.pull_image(sys.argv[3]))
print("pulled", flush=True)
"""


async def test_a_pull_that_is_killed_leaves_nothing_corrupt(store: ImageStore, tmp_path: Path, registry: str) -> None:
    archive, big = tmp_path / "archive.tar", os.urandom(24 << 20)
    oci_archive(archive, [tar([entry("small", b"s")]), tar([entry("big", big)])])
    name = f"{registry}/team/big:v1"
    push = await asyncio.create_subprocess_exec(
        "skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}", f"docker://{name}"
    )
    assert await push.wait() == 0

    async def pull(root: Path, until: float) -> float:
        """Seconds that it took; killed after `until` of them."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PULLER, root, root / "references.json", name, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.stdout.readline(), until)
        if process.returncode is None:
            process.kill()
        await process.wait()
        return time.monotonic() - began

    whole = await pull(tmp_path / "measured", 120)
    root = tmp_path / "killed"
    for part in (0.3, 0.6, 0.8, 0.95):
        await pull(root, whole * part)
        killed = ImageStore(root, root / "references.json")
        image = await killed.image_status(name)
        if image is not None:
            assert (layer_of(killed, image.id) / "big").read_bytes() == big
        async with asyncio.timeout(60):  # skopeo does not outlive the process that started it
            while any(str(root).encode() in _command_line(p) for p in Path("/proc").glob("[0-9]*")):
                await asyncio.sleep(0.01)
    image_id = await killed.pull_image(name)
    assert (layer_of(killed, image_id) / "big").read_bytes() == big
    assert not list((root / "tmp").iterdir())


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


async def test_pull_from_nowhere_or_by_nonsense(store: ImageStore) -> None:
    with pytest.raises(ImagePullFailure) as failure:
        await store.pull_image("127.0.0.1:1/x/y:z")
    assert failure.value.reason == "RegistryUnavailable"
    with pytest.raises(ImagePullFailure) as failure:
        await store.pull_image("Not A Name")
    assert failure.value.reason == "InvalidImageName"
