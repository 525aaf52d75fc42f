"""Waiting for something that the server does by and by."""

import time
from collections.abc import Callable


def until(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    """Ask again and again; TimeoutError where it has not happened after so many seconds."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it has not happened within {seconds:g} s")
        time.sleep(0.01)
