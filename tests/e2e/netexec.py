"""A server for network tests, run in Pods by the host's own Python: says who it is and who asks, over HTTP (port 8080)
and UDP (8081), and calls others when told to; or keeps a guestbook: a primary, its replicas, frontends that ask them.
`netexec` and `guestbook` of upstream's test images are the model of its paths."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAME = os.environ.get("NAME") or socket.gethostname()
HTTP, UDP = int(os.environ.get("HTTP", "8080")), int(os.environ.get("UDP", "8081"))
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
BOOK: dict[str, str] = {}
REPLICAS: list[str] = []


def call(protocol: str, host: str, port: int, request: str) -> str:
    try:
        if protocol == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
                out.settimeout(1)
                out.sendto(request.encode(), (host, port))
                return out.recv(65536).decode()
        with DIRECT.open(f"http://{host}:{port}/{request}", timeout=2) as answer:
            return str(answer.read().decode())
    except OSError as failed:
        return f"error: {failed}"


def resolve(name: str, kind: str) -> list[str]:
    """What the Pod's resolver says; search domains count."""
    if kind == "hosts":
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, socket.AF_INET)})
    import dns.resolver
    import dns.reversename

    target = dns.reversename.from_address(name) if kind == "PTR" else name
    return sorted(record.to_text() for record in dns.resolver.Resolver().resolve(target, kind, search=kind != "PTR"))


def guestbook(path: str, query: dict[str, str]) -> str:
    """What a page of the guestbook says: a primary hands what is set on to the replicas that registered with it."""
    key, value = query.get("key", ""), query.get("value", "")
    if path == "/guestbook":
        host = "agnhost-primary" if query["cmd"] == "set" else "agnhost-replica"
        return call("http", host, 6379, f"{query['cmd']}?key={key}&value={value}")
    if path == "/set":
        BOOK[key] = value
        for replica in REPLICAS:
            call("http", replica, 6379, f"set?key={key}&value={value}")
        return json.dumps({"message": "Updated"})
    if path == "/register":
        REPLICAS.append(query["host"])
        return json.dumps({"data": BOOK})
    return json.dumps({"data": BOOK.get(key, "")})


def register(primary: str) -> None:
    """Until the primary has an address and answers."""
    while (told := call("http", primary, 6379, f"register?host={socket.gethostbyname(NAME)}")).startswith("error"):
        time.sleep(0.2)
    BOOK.update(json.loads(told)["data"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.answer(self.outcome(url.path, query, body))

    def outcome(self, path: str, query: dict[str, str], body: str) -> str:
        if path == "/hostName":
            return NAME
        if path == "/clientip":
            return str(self.client_address[0])
        if path == "/dial":
            tries = range(int(query.get("tries", "1")))
            where = query.get("protocol", "http"), query["host"], int(query["port"]), query.get("request", "hostName")
            return json.dumps([call(*where) for _ in tries])
        if path == "/resolve":
            try:
                return json.dumps(resolve(query["name"], query["kind"]))
            except Exception as failed:
                return json.dumps([f"error: {failed}"])
        if path in ("/guestbook", "/get", "/set", "/register"):
            return guestbook(path, query)
        if path == "/shell":
            return subprocess.run(["sh", "-c", query["cmd"]], capture_output=True, text=True, check=False).stdout
        return json.dumps({"method": self.command, "path": path, "query": query, "body": body})

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", UDP))
        while True:
            asked, client = server.recvfrom(65536)
            server.sendto((client[0] if asked == b"clientip" else NAME).encode(), client)


if __name__ == "__main__":
    # The first process of a container gets no signal that it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Thread(target=serve_udp, daemon=True).start()
    if "REPLICA_OF" in os.environ:
        register(os.environ["REPLICA_OF"])
    ThreadingHTTPServer(("", HTTP), Handler).serve_forever()
