"""Carries TCP connections on loopback to a Unix socket, so that a sandbox without network reaches one thing only.

As a program: `python -I relay.py PORT SOCKET COMMAND...` listens on 127.0.0.1:PORT, then runs COMMAND beside it and
exits with its status. Standard library only: it runs with the interpreter that is inside the sandbox.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

CHUNK = 1 << 16


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("127.0.0.1", port))
        server.listen(128)
    except OSError:
        server.close()
        raise
    return server


def serve(server: socket.socket, path: str) -> None:
    """Relay every connection of `server` to the Unix socket at `path`, until `server` is closed."""
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_relay, args=(client, path), daemon=True).start()


def _relay(client: socket.socket, path: str) -> None:
    upstream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with client, upstream:
        try:
            upstream.connect(path)
        except OSError:
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_copy, args=(upstream, client), daemon=True)
        back.start()
        _copy(client, upstream)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    # A reset by either side ends this direction; the other one ends with it.
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def main(arguments: list[str]) -> int:
    port, path, *command = arguments
    server = listen(int(port))
    threading.Thread(target=serve, args=(server, path), daemon=True).start()
    child = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: child.send_signal(received))
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    # os._exit: threads that still copy must not hold the status back.
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)
