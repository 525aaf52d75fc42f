"""
Bulk loader of CSV files into DynamoDB tables.

    from loader import DynamoDBLoader
    result = DynamoDBLoader(table_name="t", region="us-east-1").load_csv("data.csv")
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loader.api import AsyncDynamoDBLoader, DynamoDBLoader, LoadResult, ThreadedDynamoDBLoader
    from loader.config import ConnectionConfig, LoadConfig, RejectLimit
    from loader.edges.generate import GenerateSpec, generate
    from loader.engines.coordinator import Stop, run_load
    from loader.engines.verify import VerifyResult, verify

__version__ = "0.1.0"

__all__ = [
    "AsyncDynamoDBLoader",
    "ConnectionConfig",
    "DynamoDBLoader",
    "GenerateSpec",
    "LoadConfig",
    "LoadResult",
    "RejectLimit",
    "Stop",
    "ThreadedDynamoDBLoader",
    "VerifyResult",
    "generate",
    "run_load",
    "verify",
]

# Every worker process imports this package, and the man page is built where numpy is not installed: a name
# is looked up when it is first asked for.
_HOMES = {
    "api": ("AsyncDynamoDBLoader", "DynamoDBLoader", "LoadResult", "ThreadedDynamoDBLoader"),
    "config": ("ConnectionConfig", "LoadConfig", "RejectLimit"),
    "engines.coordinator": ("Stop", "run_load"),
    "edges.generate": ("GenerateSpec", "generate"),
    "engines.verify": ("VerifyResult", "verify"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"loader.{home}"), name)
    raise AttributeError(f"module 'loader' has no attribute {name!r}")
