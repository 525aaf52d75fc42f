"""Servers and files that are not ours: moto, dynalite (npm), and the CSV files inside packages.

What comes from npm is fetched once into `.cache/` of the clone, under a lock, since the workers of
pytest-xdist all want it at once.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
DYNALITE = "dynalite@4.0.0"
VEGA_DATASETS = "vega-datasets@3.2.1"
NODE_NEEDED = 20
START_SECONDS = 60.0
STOP_SECONDS = 5.0

# A pytest that is killed runs no clean-up: the server asks the kernel to die with it, then becomes itself.
# (Not a preexec_fn: Python 3.12 warns of those in a process with threads.)
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without one AWS setting."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


@contextmanager
def moto_server(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """Runs a moto server of its own process on a free port and yields its URL."""
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with _server(lambda: argv, r"Running on (http://\S+)", environment, log) as url:
        yield url


@contextmanager
def dynalite_server(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """Runs dynalite on a free port and yields its URL; skips the test, or fails it in CI, without node."""
    node = need_node(environment)
    program = _dynalite_program(environment)

    def argv() -> list[str]:
        waits = ["--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0"]
        return [node, str(program), "--host", "127.0.0.1", "--port", str(_free_port()), *waits]

    with _server(argv, r"listening at: (http://\S+)", environment, log) as url:
        yield url


def need_node(environment: Mapping[str, str]) -> str:
    """The path of node. Where node or npm is missing: a skip, or a failure if DDBLOAD_REQUIRE_NODE is set."""
    path = environment.get("PATH")
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if node is None or npm is None:
        _do_without("node and npm are not installed, and dynalite and vega-datasets come from npm")
    version = subprocess.run(
        [node, "--version"], capture_output=True, text=True, check=True, env=dict(environment)
    ).stdout
    if int(version.lstrip("v").split(".")[0]) < NODE_NEEDED:
        _do_without(f"node is {version.strip()}, and {DYNALITE} needs {NODE_NEEDED} or newer")
    return node


def zipcodes_csv(environment: Mapping[str, str]) -> Path:
    """zipcodes.csv of npm's vega-datasets, fetched at the first call."""
    target = CACHE / VEGA_DATASETS / "zipcodes.csv"
    with _lock("npm"):
        if not target.exists():
            need_node(environment)
            part = _fresh_folder(target.parent)
            _npm(["pack", VEGA_DATASETS, "--silent"], part, environment)
            (packed,) = part.glob("*.tgz")
            with tarfile.open(packed) as archive:
                member = archive.extractfile("package/data/zipcodes.csv")
                assert member is not None
                (part / "zipcodes.csv").write_bytes(member.read())
            packed.unlink()
            _put_in_place(part, target.parent)
    return target


def packaged_csv(package: str, name: str, into: Path) -> Path:
    """A CSV file inside an installed package, found without importing it; a zipped one is unpacked `into`."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations, f"{package} is not installed"
    path = Path(spec.submodule_search_locations[0], name)
    if path.suffix != ".zip":
        return path
    with zipfile.ZipFile(path) as archive:
        return Path(archive.extract(path.stem, into))


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("DDBLOAD_REQUIRE_NODE"):
        pytest.fail(f"{reason} (DDBLOAD_REQUIRE_NODE is set)")
    pytest.skip(reason)


def _dynalite_program(environment: Mapping[str, str]) -> Path:
    folder = CACHE / DYNALITE
    program = folder / "node_modules/dynalite/cli.js"
    with _lock("npm"):
        if not program.exists():
            part = _fresh_folder(folder)
            # Makes this folder the place of the install; --prefix would hide the npm settings of the machine.
            (part / "package.json").write_text('{"private": true}')
            _npm(
                ["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", DYNALITE],
                part,
                environment,
            )
            _put_in_place(part, folder)
    return program


def _npm(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    argv = ["npm", *arguments]
    done = subprocess.run(
        argv,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        pytest.fail(f"`{' '.join(argv)}` failed:\n{done.stderr.strip() or done.stdout.strip()}")


@contextmanager
def _lock(name: str) -> Iterator[None]:
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fresh_folder(beside: Path) -> Path:
    part = beside.with_name(f"{beside.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    return part


def _put_in_place(part: Path, folder: Path) -> None:
    # In one step, so that what an interrupted run left is never taken for the whole.
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _server(
    argv: Callable[[], Sequence[str]], announces: str, environment: Mapping[str, str], log: Path
) -> Iterator[str]:
    """Starts `argv()` in a group of its own, waits for its URL in the log and an answer, stops the group."""
    # Between choosing a port and listening on it another process may take it: then once more.
    for _ in range(3):
        process = _start(argv(), environment, log)
        try:
            url = _wait_until_ready(process, announces, log)
            if url is not None:
                yield url
                return
        finally:
            _stop_group(process)
    pytest.fail(f"`{' '.join(argv())}` does not start:\n{log.read_text(errors='replace')[-2000:]}")


def _start(argv: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with open(log, "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )


def _wait_until_ready(process: subprocess.Popen[bytes], announces: str, log: Path) -> str | None:
    """The URL once the server answers on it; None when the process ended instead."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return None
        announced = re.search(announces, log.read_text(errors="replace"))
        if announced:
            try:
                direct.open(announced[1], timeout=5).close()
            except urllib.error.HTTPError as answer:
                answer.close()
            except OSError:
                time.sleep(0.02)
                continue
            return announced[1]
        time.sleep(0.02)
    return None


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
