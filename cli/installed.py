"""
Whether what the program needs is installed.

Imports nothing but the standard library, and older Pythons can read it: a fresh clone may meet any of them.
"""

import importlib.util
import os
import sys
from pathlib import Path

_PACKAGES = ("boto3", "botocore", "numpy", "orjson", "rich", "xxhash")
_OLDEST = (3, 11)
_ROOT = Path(__file__).resolve().parent.parent
_ENVIRONMENT = _ROOT / ".venv"
_STARTED_ANEW = "ddbload_anew"
"""A -X option that tells the second attempt from the first."""


class NotInstalled(Exception):
    """The message says what to run."""


def require() -> None:
    """Raises NotInstalled where packages are missing."""
    lacking = missing()
    if lacking:
        names = " and ".join([", ".join(lacking[:-1])] * (len(lacking) > 1) + lacking[-1:])
        verb = "is" if len(lacking) == 1 else "are"
        raise NotInstalled(f"{names} {verb} not installed for {sys.executable}: {_remedy()}.")


def missing() -> list[str]:
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def start_anew() -> None:
    """For a script of the clone: run it with the clone's own environment if this Python lacks something."""
    python = _ENVIRONMENT / "bin" / "python"
    lacking = tuple(sys.version_info) < _OLDEST or missing()
    if lacking and _STARTED_ANEW not in sys._xoptions and os.access(python, os.X_OK):
        os.execv(python, [str(python), "-X", _STARTED_ANEW, *sys.argv])


def _remedy() -> str:
    if not (_ROOT / "pyproject.toml").exists():
        return "run pip install ddbload"
    python = _ENVIRONMENT / "bin" / "python"
    if os.access(python, os.X_OK) and Path(sys.prefix).resolve() != _ENVIRONMENT.resolve():
        return f"run it with {python}"
    return f"run {_ROOT / 'scripts' / 'demo'} once, which sets up {_ENVIRONMENT}, or pip install {_ROOT}"
