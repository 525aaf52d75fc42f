"""Where senders whose credentials were refused wait for what the coordinator has to say."""

import threading
from collections.abc import Callable

PATIENCE_SECONDS = 30.0
"""For so long a sender waits for a word; the coordinator runs helpers meanwhile, which take their time."""


class Denial:
    """
    Shared by the senders of a worker. `ask` tells the coordinator which credentials were refused, by their
    number; the first ones have `serial`.
    """

    def __init__(self, serial: int, ask: Callable[[int], None]) -> None:
        self._serial = serial
        self._ask = ask
        self._changed = threading.Condition()
        self._words = 0
        self._stopped = False

    @property
    def serial(self) -> int:
        """Of the credentials that a try begun now is signed with."""
        return self._serial

    def heard(self, serial: int) -> None:
        """The coordinator's word: from now on these are the credentials, which may be the old ones."""
        with self._changed:
            self._serial = serial
            self._words += 1
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait(self, serial: int) -> None:
        """After a try that was refused with the credentials of this number: until there is a word on them."""
        with self._changed:
            words = self._words
            if serial != self._serial or self._stopped:
                return
        self._ask(serial)
        with self._changed:
            self._changed.wait_for(lambda: self._words != words or self._stopped, PATIENCE_SECONDS)
