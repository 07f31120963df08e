"""A process of its own with connections that say nothing: ``idle_clients.py PORT CA COUNT``. A third of them is silent
from the first byte, a third after half a greeting, a third has had one answer and is kept alive. Says "open", then how
many the server has closed for each line that it reads; ends with its input."""

from __future__ import annotations

import select
import socket
import ssl
import sys

GREETING = bytes.fromhex("16030100c8010000c40303")
REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def kept_alive(port: int, tls: ssl.SSLContext) -> ssl.SSLSocket:
    connection = tls.wrap_socket(connect(port), server_hostname="localhost")
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\nok"):
        part = connection.recv(4096)
        assert part, answer
        answer += part
    return connection


def closed(connections: list[socket.socket]) -> int:
    """How many have something to read, which can only be their end."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN | select.POLLRDHUP)
    return len(poll.poll(0))


def main(port: int, ca: str, count: int) -> None:
    tls = ssl.create_default_context(cafile=ca)
    silent = [connect(port) for _ in range(count // 3)]
    half = [connect(port) for _ in range(count // 3)]
    for connection in half:
        connection.sendall(GREETING)
    alive: list[socket.socket] = [kept_alive(port, tls) for _ in range(count - len(silent) - len(half))]
    print("open", flush=True)
    for _ in sys.stdin:
        print(closed(silent + half), closed(alive), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
