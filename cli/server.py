"""A DynamoDB-compatible server on this machine, as a child process that surely ends with this one."""

import http.client
import importlib.util
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from loader.errors import BadConnection, BadOption

HOST = "127.0.0.1"
_START_SECONDS = 60.0
_END_SECONDS = 3.0
_TRIES = 3

# Ends when its standard input does: so it does even where this process is killed and can stop nothing.
_CHILD = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
sys.argv = ["moto.server", *sys.argv[1:]]
runpy.run_module("moto.server", run_name="__main__", alter_sys=True)
"""


class LocalServer:
    """A running moto server. `url` is where it answers."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self._process = process
        self.url = url

    def kill(self) -> None:
        """At once, from a signal handler too; the whole process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()
            self._process.wait()


def require_moto() -> None:
    """Raises BadOption where the server is not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("moto", "flask", "flask_cors")):
        raise BadOption(
            "The demo needs a local server, which is not installed. Install it: pip install 'ddbload[demo]'"
        )


def require_loopback(url: str) -> None:
    """Raises BadOption for an endpoint that is not on this machine, or that could be read in two ways."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        plain = parts.scheme in ("http", "https") and parts.username is None and "\\" not in url
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
        _ = parts.port  # ValueError for one that is none
    except ValueError:
        plain = local = False
    if not (plain and local):
        raise BadOption(
            f"--endpoint-url {url}: the demo only talks to this machine. Give an address such as "
            "http://127.0.0.1:8000, or leave it out."
        )


@contextmanager
def started(directory: Path) -> Iterator[LocalServer]:
    """
    A server with nothing in it, which keeps its log in `directory`; it is stopped when this is left.

    Raises BadOption where it is not installed, BadConnection where it does not come up.
    """
    require_moto()
    server = _start(directory / "server.log")
    try:
        yield server
    finally:
        server.stop()


def _start(log: Path) -> LocalServer:
    tries = _TRIES
    while True:
        try:
            return _start_at(_free_port(), log)
        except _Ended as error:
            # Another program may have taken the port since.
            tries -= 1
            if not tries:
                raise BadConnection(f"The local server did not start. The end of its log: {error}") from error


class _Ended(Exception):
    """The server came to its end before it answered; the message is the end of its log."""


def _start_at(port: int, log: Path) -> LocalServer:
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, "-H", HOST, "-p", str(port)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,  # a folder called moto where the command is given is not the one meant
            start_new_session=True,  # Ctrl-C is for this process, which stops the server when it is done
        )
    server = LocalServer(process, f"http://{HOST}:{port}")
    try:
        _wait_until_it_answers(process, port, log)
    except BaseException:
        server.stop()
        raise
    return server


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _Ended(_end_of(log))
        connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
        try:
            connection.request("GET", "/moto-api/data.json")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    raise BadConnection(f"The local server did not answer within {_START_SECONDS:.0f} seconds.")


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-3:]) or "it is empty."


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
