"""docker.io/library/nginx:1.22, a small web server, from Debian's nginx packages and the libraries of this host."""

from __future__ import annotations

from pathlib import Path

from podwright.runtime.build import packages
from podwright.runtime.build.accounts import add_base
from podwright.runtime.build.archive import Layer, write_archive
from podwright.runtime.build.busybox import add_busybox

REFERENCE = "docker.io/library/nginx:1.22"
FILE_NAME = "nginx-1.22.tar"
_PACKAGES = ("nginx", "nginx-common")

_CONFIGURATION = """\
worker_processes 1;
error_log /dev/stderr notice;
pid /tmp/nginx.pid;
events { worker_connections 512; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /dev/stdout;
    sendfile on;
    keepalive_timeout 65;
    client_body_temp_path /tmp/nginx-client-body;
    proxy_temp_path /tmp/nginx-proxy;
    fastcgi_temp_path /tmp/nginx-fastcgi;
    uwsgi_temp_path /tmp/nginx-uwsgi;
    scgi_temp_path /tmp/nginx-scgi;
    include /etc/nginx/conf.d/*.conf;
}
"""
_DEFAULT_SITE = """\
server {
    listen 80;
    server_name localhost;
    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }
}
"""
_PAGE = """\
<!DOCTYPE html>
<html>
<head><title>Welcome to nginx!</title></head>
<body>
<h1>Welcome to nginx!</h1>
<p>This page comes from a container that Podwright runs.</p>
</body>
</html>
"""
_MAIN_PACKAGE_FILES = ("etc/nginx/mime.types", "etc/nginx/fastcgi_params", "etc/nginx/proxy_params")


def build_web(target: Path) -> None:
    """Writes the OCI archive. Everything it writes at run time goes to /tmp and to its standard streams, so it also
    runs as an ordinary user. Raises CannotBuild."""
    layer = Layer()
    add_base(layer, passwd="nginx:x:101:101:nginx:/nonexistent:/bin/false\n", group="nginx:x:101:\n")
    with packages.unpacked(_PACKAGES) as root:
        binary = root / "usr/sbin/nginx"
        layer.file("usr/sbin/nginx", binary.read_bytes(), mode=0o755)
        for path, source in packages.shared_libraries(binary).items():
            layer.host_file(path, source)
        for path in _MAIN_PACKAGE_FILES:
            layer.file(path, (root / path).read_bytes())
    layer.file("etc/nginx/nginx.conf", _CONFIGURATION.encode())
    layer.file("etc/nginx/conf.d/default.conf", _DEFAULT_SITE.encode())
    layer.file("usr/share/nginx/html/index.html", _PAGE.encode())
    layer.directory("var/log/nginx")
    # Compiled in: opened before the configuration is read.
    layer.symlink("var/log/nginx/error.log", "/dev/stderr")
    layer.symlink("var/log/nginx/access.log", "/dev/stdout")
    layer.directory("var/lib/nginx", mode=0o1777)
    add_busybox(layer)
    write_archive(
        target,
        REFERENCE,
        layer,
        {
            "Entrypoint": ["nginx"],
            "Cmd": ["-g", "daemon off;"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NGINX_VERSION=1.22.1"],
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGQUIT",
        },
    )
