"""Watches that running views keep their right; when nobody can be asked, for a minute more."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable

import structlog

from gateway.live.errors import RightLost, RightsUnknown
from gateway.live.settings import LiveSettings

_AT_ONCE = 16

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Somebody looks at a point. clear: at its picture as it is, with nothing masked. token_id: of
    the access token by which a program does, empty for a person."""

    user_id: str
    point_id: str
    clear: bool
    token_id: str = ""


Allowed = Callable[[View], Awaitable[bool]]
"""Whether a user may look so now; raises when nobody can say."""


class RightsWatch:
    """Asks every `rights_interval_s` for each `View` that runs.

    views: gives them. close(view, reason): ends all views of one.
    """

    def __init__(
        self,
        allowed: Allowed,
        *,
        views: Callable[[], Iterable[View]],
        close: Callable[[View, str], None],
        settings: LiveSettings,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._allowed = allowed
        self._views = views
        self._close = close
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._confirmed_s: dict[View, float] = {}
        self._away = False

    async def admit(self, view: View) -> None:
        """Let a new view in. Raises: RightLost; RightsUnknown while nobody can say."""
        answer = await self._ask(view)
        if answer is None:
            raise RightsUnknown("whether you may look cannot be checked now")
        if not answer:
            raise RightLost("you may not see this point")
        self._confirmed_s[view] = self._clock()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._sleep(self._settings.rights_interval_s)
            await self.check()

    async def check(self) -> None:
        """Ask once for every view that runs."""
        views = set(self._views())
        self._confirmed_s = {v: t for v, t in self._confirmed_s.items() if v in views}
        gate = asyncio.Semaphore(_AT_ONCE)

        async def check_one(view: View) -> bool:
            async with gate:
                return self._judge(view, await self._ask(view))

        answered = await asyncio.gather(*(check_one(view) for view in views))
        if views and self._away == any(answered):
            self._away = not any(answered)
            log.warning("live.rights_away" if self._away else "live.rights_returned")

    def _judge(self, view: View, answer: bool | None) -> bool:
        """Act on an answer; tells whether there was one."""
        now_s = self._clock()
        if answer:
            self._confirmed_s[view] = now_s
        elif answer is not None:
            self._close(view, "the right to see this point has ended")
        elif now_s - self._confirmed_s.setdefault(view, now_s) >= self._settings.rights_grace_s:
            self._close(view, "the right to see this point could not be confirmed")
        return answer is not None

    async def _ask(self, view: View) -> bool | None:
        try:
            async with asyncio.timeout(self._settings.rights_answer_s):
                return await self._allowed(view)
        except Exception:
            # Whatever keeps the registry from answering: the last known right counts.
            return None
