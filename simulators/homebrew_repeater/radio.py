"""A radio on a repeater: it presses, releases, and hears."""

import asyncio
from collections.abc import Callable, Iterable

from simulators.homebrew_repeater.burst import LinkControl
from simulators.homebrew_repeater.reception import Heard
from simulators.homebrew_repeater.slot import Talk, Voice
from simulators.waiting import Changes

MAX_HEARD = 1000

BeginTalk = Callable[["Radio", LinkControl, int, bool, Voice | None], Talk | None]
"""Radio, link control, slot, whether it is polite, what it says."""


class Radio:
    """One radio; `Repeater.radio` makes it.

    talkgroups: the only ones it hears, None for all. Private calls to its id it always hears.
    heard: the talks it heard, oldest first, its own not among them; the last 1,000. position:
    longitude and latitude in degrees, which it sends with its voice; None for a radio without GPS.
    """

    def __init__(
        self,
        *,
        id: int,  # noqa: A002 - the protocol's own word
        alias: str,
        talkgroups: Iterable[int] | None,
        begin: BeginTalk,
        changes: Changes,
    ) -> None:
        self.id = id
        self.alias = alias
        self.talkgroups = None if talkgroups is None else frozenset(talkgroups)
        self.heard: list[Heard] = []
        self.refused = 0
        self.last_talk: Talk | None = None
        self.position: tuple[float, float] | None = None
        self._begin = begin
        self._changes = changes

    @property
    def pressing(self) -> bool:
        """The key is held, or the terminator of the last talk is still to go."""
        return self.last_talk is not None and not self.last_talk.ended.done()

    def press(
        self,
        talkgroup: int,
        slot: int = 1,
        *,
        private: bool = False,
        emergency: bool = False,
        encrypted: bool = False,
        polite: bool = True,
        limit_s: float | None = None,
        voice: Voice | None = None,
    ) -> bool:
        """Key up. True if the radio transmits; the voice header has then been sent.

        False as by busy channel lockout: somebody talks on the slot, this radio still does, or
        the repeater is off. An impolite radio talks over what the master sends. limit_s: the
        radio's time-out timer, which lets go by itself. voice: what it says, silence if None.
        """
        if self.pressing:
            self.refused += 1
            return False
        control = LinkControl(
            source=self.id,
            destination=talkgroup,
            private=private,
            emergency=emergency,
            encrypted=encrypted,
        )
        talk = self._begin(self, control, slot, polite, voice)
        if talk is None:
            self.refused += 1
            return False
        self.last_talk = talk
        if limit_s is not None:
            asyncio.get_running_loop().call_later(limit_s, talk.release)
        self._changes.notify()
        return True

    def release(self) -> asyncio.Future[None]:
        """Let go. The terminator goes with the next burst; the future is done when it has gone."""
        if self.last_talk is not None and self.pressing:
            return self.last_talk.release()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def vanish(self) -> None:
        """Stop talking without a terminator."""
        if self.last_talk is not None:
            self.last_talk.vanish()

    async def talk(self, talkgroup: int, slot: int = 1, *, seconds: float) -> bool:
        """Press, hold, release; True if the radio could talk. Cancelling it releases."""
        if not self.press(talkgroup, slot):
            return False
        talk = self.last_talk
        try:
            await asyncio.sleep(seconds)
        finally:
            if talk is not None and talk is self.last_talk:
                talk.release()
        await self.release()
        return True

    def hears(self, heard: Heard) -> bool:
        if heard.source == self.id:
            return False
        if heard.private:
            return heard.talkgroup == self.id
        return self.talkgroups is None or heard.talkgroup in self.talkgroups

    def hear(self, heard: Heard) -> None:
        self.heard.append(heard)
        del self.heard[:-MAX_HEARD]
        self._changes.notify()

    async def wait_heard(
        self, count: int = 1, *, ended: bool = False, timeout_s: float = 30.0
    ) -> Heard:
        """Wait until count talks were heard (and the last of them ended); gives that one.

        Raises: TimeoutError.
        """
        await self._changes.until(
            lambda: (
                len(self.heard) >= count and (not ended or bool(self.heard[count - 1].ended_by))
            ),
            timeout_s,
        )
        return self.heard[count - 1]
