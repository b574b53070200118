"""What the server saw, in order."""

import dataclasses
import enum
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from simulators.waiting import Changes

MAX_RECORDS = 20_000


class Kind(enum.StrEnum):
    CONNECT = "connect"
    LOGON = "logon"
    LOGON_REFUSED = "logon_refused"
    START = "start"
    START_REFUSED = "start_refused"
    STOP = "stop"
    TEXT = "text"
    LOCATION = "location"
    PACKET = "packet"
    INVALID = "invalid"
    DISCONNECT = "disconnect"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """at_s: monotonic clock. stream: the sender's id of it, 0 if none. detail: the text of a
    message or an error, why a stream stopped, the size of a packet."""

    at_s: float
    kind: Kind
    username: str = ""
    channel: str = ""
    stream: int = 0
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Log(Sequence[Record]):
    """A list of records that can be waited on; keeps the last 20,000 and counts the rest."""

    def __init__(self) -> None:
        self.dropped = 0
        self._records: list[Record] = []
        self._changes = Changes()

    def add(self, kind: Kind, **fields: Any) -> None:
        self._records.append(Record(at_s=time.monotonic(), kind=kind, **fields))
        if len(self._records) > MAX_RECORDS:
            self.dropped += MAX_RECORDS // 10
            del self._records[: MAX_RECORDS // 10]
        self._changes.notify()

    def of(self, kind: Kind | str, username: str | None = None) -> list[Record]:
        """The records of a kind, of everybody or of one user."""
        return [
            record
            for record in self._records
            if record.kind == kind and username in (None, record.username)
        ]

    async def until(self, condition: Callable[["Log"], bool], timeout_s: float = 30.0) -> None:
        """Return when the condition holds for this log. Raises: TimeoutError."""
        await self._changes.until(lambda: condition(self), timeout_s)

    async def wait(
        self,
        kind: Kind | str,
        username: str | None = None,
        *,
        count: int = 1,
        timeout_s: float = 30.0,
    ) -> Record:
        """Wait for the count-th record of a kind and give it. Raises: TimeoutError."""
        await self.until(lambda log: len(log.of(kind, username)) >= count, timeout_s)
        return self.of(kind, username)[count - 1]

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)
