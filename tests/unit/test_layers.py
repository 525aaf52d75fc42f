"""The layers of loader/README.md, held: imports go down, never round, and each outside thing has one door.

A folder of loader/ is a layer; a module outside them that is not in the table fails: it is placed on purpose.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LAYER_OF = {
    # words
    **dict.fromkeys(("errors", "config", "capacity", "model"), 0),
    # pure
    "decisions": 1,
    # each owns one kind of outside thing
    "edges": 2,
    # start processes, threads, a loop
    "engines": 3,
    # the public API
    **dict.fromkeys(("__init__", "api"), 4),
}
"""Of the modules at the top of loader/, and of its folders."""

DOORS: Mapping[str, str] = {
    "boto3": "loader.edges.clients",
    "botocore": "loader.edges.clients",
    "argparse": "cli",
    "rich": "cli",
}
# The one way from `python -m loader` to the command line.
FRONT_DOOR = "loader.__main__"

# What a decision has no use for: files, sockets, clocks, threads, processes, chance, the machine.
IMPURE = frozenset(
    {
        *("asyncio", "concurrent", "multiprocessing", "queue", "sched", "signal", "subprocess", "threading"),
        *("fcntl", "glob", "io", "logging", "mmap", "os", "pathlib", "shutil", "sqlite3", "sys", "tempfile"),
        *("http", "select", "selectors", "socket", "socketserver", "ssl", "urllib"),
        *("ctypes", "getpass", "importlib", "locale", "platform", "resource", "termios", "warnings"),
        *("random", "secrets", "time", "uuid"),
    }
)
IMPURE_FOREIGN = frozenset({"aiohttp", "boto3", "botocore", "httpx", "requests", "urllib3", "uvloop"})
# A type, for randomness that is handed in; the module's functions share a hidden state.
PURE_NAMES = {"random": {"Random"}}
IMPURE_CALLS = frozenset({"open", "print", "input", "breakpoint"})


class Source:
    """The modules under `root`/loader and `root`/cli, parsed."""

    def __init__(self, root: Path) -> None:
        self.trees = {
            _dotted(path.relative_to(root)): ast.parse(path.read_bytes(), str(path))
            for package in ("loader", "cli")
            for path in sorted((root / package).rglob("*.py"))
        }
        self.packages = {
            _dotted(path.relative_to(root)) for path in root.rglob("__init__.py") if path.parent != root
        }

    def imports(self, module: str) -> Iterator[tuple[str, str | None, int]]:
        """(module, name taken from it or None, line) of each import, those inside functions included."""
        for node in ast.walk(self.trees[module]):
            match node:
                case ast.Import(names=names):
                    for alias in names:
                        yield alias.name, None, node.lineno
                case ast.ImportFrom(names=names):
                    base = self._base(module, node)
                    for alias in names:
                        inner = f"{base}.{alias.name}"
                        # `from loader import plan` means the module, not what loader/__init__.py holds.
                        if inner in self.trees:
                            yield inner, None, node.lineno
                        else:
                            yield base, alias.name, node.lineno
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if (
                    name in ("import_module", "__import__")
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                ):
                    target = str(node.args[0].value)
                    yield (
                        (f"{self._package(module)}{target}" if target[0] == "." else target),
                        None,
                        node.lineno,
                    )

    def _package(self, module: str) -> str:
        return module if module in self.packages else module.rpartition(".")[0]

    def _base(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self._package(module).split(".")
        parts = parts[: len(parts) - (node.level - 1)]
        return ".".join([*parts, *([node.module] if node.module else [])])


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _layer(module: str) -> int | None:
    """Of a module of loader; that of the folder for a module inside one."""
    return LAYER_OF.get(module.split(".")[1] if "." in module else "__init__")


def broken_rules(root: Path) -> list[str]:
    """One line for each rule that a module under `root` breaks."""
    source = Source(root)
    found: list[str] = []
    for module in source.trees:
        found += _misplaced(module)
        found += [f"{module}:{line}: {what}" for what, line in _broken_imports(source, module)]
        if _layer(module) == 1 and module.startswith("loader."):
            found += [f"{module}:{line}: {what}" for what, line in _impure(source, module)]
    return found + [f"imports go round: {' -> '.join(circle)}" for circle in _circles(source)]


def _misplaced(module: str) -> Iterator[str]:
    if module.startswith("loader.") and module != FRONT_DOOR and _layer(module) is None:
        yield f"{module} has no layer: place it in the table of tests/unit/test_layers.py"


def _broken_imports(source: Source, module: str) -> Iterator[tuple[str, int]]:
    package = module.split(".")[0]
    for target, _, line in source.imports(module):
        outermost = target.split(".")[0]
        door = DOORS.get(outermost)
        if door is not None and module != door and not module.startswith(f"{door}."):
            yield f"only {door} imports {outermost}", line
        if module == FRONT_DOOR:
            if outermost == "loader":
                yield f"the front door leads to cli only, not to {target}", line
        elif package == "loader" and outermost == "cli":
            yield "loader never imports cli", line
        elif package == "loader" and outermost == "loader":
            mine, its = _layer(module), _layer(target)
            if target == FRONT_DOOR:
                yield "nothing imports the front door", line
            elif mine is not None and its is not None and its > mine:
                yield f"layer {mine} imports {target} of layer {its}", line


def _impure(source: Source, module: str) -> Iterator[tuple[str, int]]:
    for target, name, line in source.imports(module):
        outermost = target.split(".")[0]
        if outermost in IMPURE | IMPURE_FOREIGN and name not in PURE_NAMES.get(outermost, ()):
            yield f"a decision imports {outermost}", line
    for node in ast.walk(source.trees[module]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield f"a decision calls {node.func.id}()", node.lineno


def _circles(source: Source) -> Iterator[list[str]]:
    """Each circle of imports once, from the first module met on it."""
    edges = {
        module: sorted({target for target, _, _ in source.imports(module)} & source.trees.keys())
        for module in source.trees
    }
    done: set[str] = set()

    def follow(module: str, path: list[str]) -> Iterator[list[str]]:
        if module in path:
            yield [*path[path.index(module) :], module]
        elif module not in done:
            for target in edges[module]:
                yield from follow(target, [*path, module])
            done.add(module)

    for module in edges:
        yield from follow(module, [])


def test_the_code_keeps_the_layers() -> None:
    assert not broken_rules(ROOT), "\n" + "\n".join(broken_rules(ROOT))


def test_the_modules_are_found() -> None:
    assert {"loader", "loader.errors", "loader.model", "loader.config"} <= Source(ROOT).trees.keys()


def test_every_standard_module_named_impure_exists() -> None:
    assert sys.stdlib_module_names >= IMPURE


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (
            {"loader/decisions/plan.py": "import loader.edges.table"},
            "loader.decisions.plan:1: layer 1 imports loader.edges.table of layer 2",
        ),
        (
            {"loader/decisions/plan.py": "from loader.edges import table"},
            "loader.decisions.plan:1: layer 1 imports loader.edges.table of layer 2",
        ),
        (
            {"loader/decisions/plan.py": "from ..edges import table"},
            "loader.decisions.plan:1: layer 1 imports loader.edges.table of layer 2",
        ),
        (
            {"loader/decisions/plan.py": "from ..edges.table import T"},
            "loader.decisions.plan:1: layer 1 imports loader.edges.table of layer 2",
        ),
        (
            {"loader/decisions/plan.py": "def f():\n    from ..edges.table import T"},
            "loader.decisions.plan:2: layer 1 imports loader.edges.table",
        ),
        (
            {"loader/decisions/plan.py": "from loader import load"},
            "loader.decisions.plan:1: layer 1 imports loader of layer 4",
        ),
        (
            {"loader/engines/worker.py": "import cli.view"},
            "loader.engines.worker:1: loader never imports cli",
        ),
        (
            {
                "loader/decisions/plan.py": "from importlib import import_module\n"
                "import_module('loader.edges.table')"
            },
            "loader.decisions.plan:2: layer 1 imports loader.edges.table of layer 2",
        ),
        (
            {
                "loader/edges/events/__init__.py": "",
                "loader/edges/events/sink.py": "from ...engines import worker",
                "loader/engines/worker.py": "",
            },
            "loader.edges.events.sink:1: layer 2 imports loader.engines.worker of layer 3",
        ),
        (
            {
                "loader/edges/events/__init__.py": "",
                "loader/edges/events/sink.py": "from ...engines.worker.loop import x",
            },
            "loader.edges.events.sink:1: layer 2 imports loader.engines.worker.loop of layer 3",
        ),
        ({"loader/surprise.py": ""}, "loader.surprise has no layer"),
        (
            {"loader/__main__.py": "from loader.edges.table import T"},
            "loader.__main__:1: the front door leads to cli only",
        ),
        (
            {"loader/engines/worker.py": "import loader.__main__"},
            "loader.engines.worker:1: nothing imports the front door",
        ),
        (
            {"loader/edges/table.py": "import boto3"},
            "loader.edges.table:1: only loader.edges.clients imports boto3",
        ),
        (
            {"loader/edges/table.py": "from botocore.config import Config"},
            "loader.edges.table:1: only loader.edges.clients imports",
        ),
        ({"cli/main.py": "import boto3"}, "cli.main:1: only loader.edges.clients imports boto3"),
        ({"loader/config.py": "import argparse"}, "loader.config:1: only cli imports argparse"),
        (
            {"loader/edges/report.py": "from rich.table import Table"},
            "loader.edges.report:1: only cli imports rich",
        ),
        ({"loader/decisions/retry.py": "import time"}, "loader.decisions.retry:1: a decision imports time"),
        ({"loader/decisions/retry.py": "import os.path"}, "loader.decisions.retry:1: a decision imports os"),
        (
            {"loader/decisions/retry.py": "from random import random"},
            "loader.decisions.retry:1: a decision imports random",
        ),
        ({"loader/decisions/retry.py": "open('x')"}, "loader.decisions.retry:1: a decision calls open()"),
        (
            {
                "loader/decisions/rows.py": "import loader.decisions.plan",
                "loader/decisions/plan.py": "def f():\n    from loader.decisions.rows import x",
            },
            "imports go round: loader.decisions.plan -> loader.decisions.rows -> loader.decisions.plan",
        ),
        (
            {"cli/a.py": "import cli.b", "cli/b.py": "import cli.c", "cli/c.py": "import cli.b"},
            "imports go round: cli.b -> cli.c -> cli.b",
        ),
    ],
)
def test_a_broken_rule_is_named(files: Mapping[str, str], complaint: str, tmp_path: Path) -> None:
    _write(tmp_path, files)
    assert [line for line in broken_rules(tmp_path) if line.startswith(complaint)]


def test_what_is_allowed_is_not_complained_of(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "loader/__init__.py": "from loader.engines.worker import work",
            "loader/__main__.py": "from cli.main import main",
            "loader/engines/worker.py": "import os\nfrom loader.decisions import plan\n"
            "from loader.edges import clients\nfrom loader.errors import E",
            "loader/edges/clients.py": "import boto3\nfrom botocore.config import Config",
            "loader/decisions/plan.py": "import csv\nfrom random import Random\n"
            "from loader.decisions import rows",
            "loader/decisions/rows.py": "from ..errors import LoadError",
            "cli/main.py": "import argparse\nimport rich.console\nimport loader\n"
            "from loader.decisions.plan import x",
        },
    )
    assert broken_rules(tmp_path) == []


def _write(root: Path, files: Mapping[str, str]) -> None:
    defaults = {
        "loader/__init__.py": "",
        "loader/edges/table.py": "",
        "loader/errors.py": "",
        "cli/__init__.py": "",
    }
    for name, text in {**defaults, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
