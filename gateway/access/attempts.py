"""Back-off of sign-in: who fails again and again waits longer and longer."""

import contextlib
import dataclasses
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping

from gateway.access.errors import TooManyAttempts


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """free: failures that cost nothing. longest_s: the longest wait; it doubles from 1 s."""

    free: int
    longest_s: float


# A name alone is slowed down gently: otherwise anybody could lock out a dispatcher by name.
ALLOWANCES = {
    "name and address": Allowance(free=4, longest_s=300.0),
    "address": Allowance(free=20, longest_s=300.0),
    "name": Allowance(free=20, longest_s=30.0),
}
AT_ONCE = 4
FORGET_AFTER_S = 900.0

_Key = tuple[str, str]


@dataclasses.dataclass(slots=True)
class _Failures:
    count: int
    last_s: float
    until_s: float


class Attempts:
    """Failed sign-ins of the last quarter of an hour, by name and by address.

    clock: monotonic seconds. allowances: for the keys that count. room: how many of them are
    remembered; the oldest go first.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        allowances: Mapping[str, Allowance] = ALLOWANCES,
        room: int = 20_000,
    ) -> None:
        self._clock = clock
        self._allowances = allowances
        self._room = room
        self._failures: OrderedDict[_Key, _Failures] = OrderedDict()
        self._running: Counter[_Key] = Counter()

    @contextlib.contextmanager
    def attempt(self, name: str, address: str) -> Iterator[None]:
        """Around one check of a password.

        Raises: TooManyAttempts while this name or address has to wait, or when more than four
        guesses at one name run at once, which would otherwise all slip past the count.
        """
        self.check(name, address)
        pair = _keys(name, address)[0]
        if self._running[pair] >= AT_ONCE:
            raise TooManyAttempts(1)
        self._running[pair] += 1
        try:
            yield
        finally:
            self._running[pair] -= 1
            if not self._running[pair]:
                del self._running[pair]

    def check(self, name: str, address: str) -> None:
        """Raises: TooManyAttempts while this name or address has to wait."""
        now_s = self._clock()
        waits = [
            failures.until_s - now_s
            for key in _keys(name, address)
            if (failures := self._failures.get(key)) is not None
        ]
        if waits and max(waits) > 0:
            raise TooManyAttempts(math.ceil(max(waits)))

    def failed(self, name: str, address: str) -> None:
        """Note a failure."""
        now_s = self._clock()
        for key in _keys(name, address):
            allowance = self._allowances.get(key[0])
            if allowance is None:
                continue
            failures = self._failures.pop(key, None)
            if failures is None or now_s - failures.last_s > FORGET_AFTER_S:
                failures = _Failures(count=0, last_s=now_s, until_s=now_s)
            failures.count += 1
            failures.last_s = now_s
            over = failures.count - allowance.free
            if over > 0:
                failures.until_s = now_s + min(2.0 ** min(over - 1, 30), allowance.longest_s)
            self._failures[key] = failures
            if len(self._failures) > self._room:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of this name at this address. Those of the address alone stay: it
        may have guessed at other names."""
        self._failures.pop(_keys(name, address)[0], None)


def _keys(name: str, address: str) -> tuple[_Key, _Key, _Key]:
    folded = name.strip().casefold()[:100]
    return (("name and address", f"{folded}\n{address}"), ("address", address), ("name", folded))
