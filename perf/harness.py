"""What all measurements share: a sink to load into, contenders, and a check that nothing was lost."""

import json
import os
import platform
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from perf.inputs import Input, cache
from perf.processes import ROOT, Run, environment, run
from tests.certificates import Authority

TABLE = "t"
TIMEOUT = 900.0
"""Seconds that one load may take."""


@dataclass(frozen=True, slots=True)
class Contender:
    """
    `command` has {path}, {endpoint}, {table} and {folder} for the file, the sink, and a place to keep things.
    `share`: it is so dear that it gets this part of the rows only.
    """

    name: str
    told: str
    command: tuple[str, ...]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """
    One load: CPU seconds of all its processes, start-up included; rows a second between first and last write;
    CPU seconds of the sink; seconds from the command to the first write.
    """

    rows: int
    cpu: float
    rate: float
    run: Run
    sink_cpu: float
    to_first_write: float


class Sink:
    """`ca_file` holds the certificate to trust where it speaks TLS."""

    def __init__(self, port: int, latency_ms: float, ca_file: str | None) -> None:
        self._port = port
        self._latency = latency_ms
        self._ca_file = ca_file

    @property
    def tls(self) -> bool:
        return self._ca_file is not None

    @property
    def trusted(self) -> dict[str, str]:
        """The environment in which AWS's libraries, and ours, trust it."""
        return {} if self._ca_file is None else {"AWS_CA_BUNDLE": self._ca_file}

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}"

    def reset(self) -> None:
        self._ask("POST", f"/reset?latency_ms={self._latency}")

    def stats(self) -> dict[str, Any]:
        return self._ask("GET", "/stats")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        request = urllib.request.Request(self.endpoint + path, method=method)
        context = ssl.create_default_context(cafile=self._ca_file) if self.tls else None
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=10) as response:
            told: dict[str, Any] = json.load(response)
        return told


@contextmanager
def sink(latency_ms: float, *, tls: bool = False) -> Iterator[Sink]:
    command = [sys.executable, "-m", "perf.sink"]
    ca_file = None
    with ExitStack() as stack:
        if tls:
            authority = Authority(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            ca_file = str(authority.path)
            command += ["--tls", str(authority.server_file("127.0.0.1"))]
        process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        stack.callback(process.kill)
        assert process.stdout is not None
        yield Sink(int(process.stdout.readline()), latency_ms, ca_file)


def loader(name: str, told: str, *options: str, share: float = 1.0) -> Contender:
    """This loader, with these options."""
    command = [sys.executable, "-m", "loader", "load", "{path}", "--table", "{table}", "--json"]
    command += ["--endpoint-url", "{endpoint}", "--progress", "none", "--state-dir", "{folder}/state"]
    return Contender(name, told, (*command, "--rejects", "{folder}/rejects.csv", *options), share)


def program(
    name: str, told: str, share: float = 1.0, *, python: str = sys.executable, more: Sequence[str] = ()
) -> Contender:
    """One of perf/contenders; `more` are arguments of its own."""
    script = str(ROOT / "perf" / "contenders" / f"{name}.py")
    return Contender(name, told, (python, script, "{path}", "{endpoint}", "{table}", *more), share)


def aiobotocore(share: float) -> Contender | None:
    """In an environment of its own, since it wants another botocore; None where that cannot be made."""
    place = cache() / "aiobotocore"
    python = place / "bin" / "python"
    if not python.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, capture_output=True)
            install = [str(python), "-m", "pip", "install", "--quiet", "aiobotocore", "uvloop"]
            subprocess.run(install, check=True, capture_output=True, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(place, ignore_errors=True)
            print(f"aiobotocore is left out: it cannot be installed ({error}).", file=sys.stderr)
            return None
    told = "aiobotocore, 100 requests at a time, no validation"
    return replace(program("aiobotocore_loader", told, share, python=str(python)), name="aiobotocore")


def load(contender: Contender, data: Input, into: Sink, *, memory: bool = True) -> Measured:
    """One load, checked against the file. Raises SystemExit where the sink did not get exactly its items."""
    into.reset()
    with tempfile.TemporaryDirectory() as folder:
        places = {"path": data.path, "endpoint": into.endpoint, "table": TABLE, "folder": folder}
        command = [part.format(**places) for part in contender.command]
        found = run(command, environment(**into.trusted), TIMEOUT, memory=memory)
    stats = into.stats()
    check(contender.name, stats, data)
    span = stats["last"] - stats["first"]
    return Measured(
        rows=data.rows,
        cpu=found.cpu - _before(found),
        rate=data.rows / span if span else 0.0,
        run=found,
        sink_cpu=stats["cpu"],
        to_first_write=stats["first"] - found.began,
    )


def check(name: str, stats: Mapping[str, Any], data: Input) -> None:
    """Raises SystemExit where what a sink got is not what the file holds."""
    if (stats["items"], stats["checksum"]) != (data.rows, data.checksum):
        raise SystemExit(
            f"{name} did not write the file: {stats['items']:,} items for {data.rows:,} rows,"
            f" checksum {stats['checksum']} for {data.checksum}"
        )


def _before(found: Run) -> float:
    """CPU seconds that a contender says are not to be counted."""
    last = found.output.strip().splitlines()[-1:]
    told: Mapping[str, Any] = json.loads(last[0]) if last and last[0].startswith('{"before"') else {}
    return float(told.get("before", 0.0))


def facts() -> str:
    """Of the machine and what runs on it."""
    cpu = "unknown CPU"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    packages = ", ".join(f"{name} {version(name)}" for name in ("boto3", "numpy", "orjson"))
    return f"{os.cpu_count()} cores ({cpu}), Linux, Python {platform.python_version()}, {packages}"


def command_line(module: str, argv: Sequence[str] | None) -> str:
    """What was called, to stand above its results; None are the arguments of this process."""
    return shlex.join(["python", "-m", module, *(sys.argv[1:] if argv is None else argv)])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
