"""How many threads readers may have."""

import contextlib
from collections.abc import Iterator

from adapters.errors import Busy


class ThreadSlots:
    """How many PyAV threads may run at once; shared by all who open streams."""

    def __init__(self, limit: int = 32) -> None:
        self._free = limit

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Raises: Busy when none is free."""
        if self._free <= 0:
            raise Busy("too many streams need the PyAV reader at once")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
