import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from harness import relay


@contextmanager
def upstream(path, answer):
    """A Unix socket that hands every connection to `answer`."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def run():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                answer(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@contextmanager
def connected(path):
    """A connection to a relay for `path`."""
    server = relay.listen(0)
    thread = threading.Thread(target=relay.serve, args=(server, str(path)))
    thread.start()
    try:
        with socket.create_connection(server.getsockname()) as client:
            yield client
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def echo(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def read(connection):
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def test_what_is_sent_comes_back_whole(tmp_path):
    sent = os.urandom(3 << 20)
    with upstream(tmp_path / "s", echo), connected(tmp_path / "s") as client:
        writing = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
        writing.start()
        assert read(client) == sent
        writing.join()


def test_an_upstream_that_ends_ends_the_connection(tmp_path):
    with upstream(tmp_path / "s", lambda one: one.sendall(b"bye")), connected(tmp_path / "s") as client:
        assert read(client) == b"bye"


def test_without_an_upstream_the_connection_is_closed(tmp_path):
    with connected(tmp_path / "nobody") as client:
        assert read(client) == b""


def test_it_listens_on_loopback_only():
    with relay.listen(0) as server:
        assert server.getsockname()[0] == "127.0.0.1"


def program(path, *command):
    with relay.listen(0) as probe:
        port = probe.getsockname()[1]
    arguments = [sys.executable, "-I", relay.__file__, str(port), str(path), *command]
    return port, subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    s.sendall(b"hello")
    s.shutdown(socket.SHUT_WR)
    print(s.recv(100).decode(), flush=True)
sys.exit(7)
"""


@pytest.mark.usefixtures("nothing_left")
def test_as_a_program_it_runs_a_command_beside_it_and_ends_with_its_status(tmp_path):
    with upstream(tmp_path / "s", echo):
        with relay.listen(0) as probe:
            port = probe.getsockname()[1]
        command = [sys.executable, "-I", relay.__file__, str(port), str(tmp_path / "s")]
        ran = subprocess.run([*command, sys.executable, "-c", CLIENT, str(port)], capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("hello\n", 7)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(tmp_path, number):
    _, process = program(tmp_path / "s", "/bin/sh", "-c", "echo begun; exec sleep 60")
    with process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(10) == 128 + number
