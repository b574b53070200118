"""One connection's feed: messages of the broker in, events out; who is silent.

The recorder's own `status` is not read: it is retained, and set to "disconnected" by a will that
nobody takes back when the recorder connects again. A recorder that is there tells of its calls
each second and of its decoding every three, so silence is what says that it is away.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_never

from adapters.base import Emit
from adapters.errors import Unreachable
from adapters.events import (
    ChannelHealth,
    Event,
    Malformed,
    Online,
    TalkRefused,
    UnitAffiliated,
    UnitDeregistered,
    UnitLocation,
    UnitRegistered,
)
from adapters.mqtt.reader import Message
from adapters.trunk_recorder import wire
from adapters.trunk_recorder.calls import Calls, unit_address
from adapters.trunk_recorder.identity import Identities, Site
from adapters.trunk_recorder.settings import TrunkRecorderSettings
from adapters.trunk_recorder.wire import UnitAction

DEAF_S = 10.0
"""A control channel of which nothing was decoded for so long is lost."""
MOST_INSTANCES = 64


class Feed:
    """now_s: a monotonic clock at the beginning. leftovers: retained messages that tell of
    something that happened, of whatever age, and are not believed."""

    def __init__(
        self,
        settings: TrunkRecorderSettings,
        channels: Sequence[str],
        emit: Emit,
        *,
        now_s: float,
        tag: str,
    ) -> None:
        self.leftovers = 0
        self._settings = settings
        self._emit = emit
        self._identities = Identities(settings.systems)
        self._calls = Calls(self._identities, hold_s=settings.hold_s, tag=tag)
        self._began_s = now_s
        self._heard_s: dict[str, float] = {}
        self._silent: set[str] = set()
        self._decoded_s: dict[Site, float] = {}
        self._health = dict.fromkeys(channels, ("ok", ""))
        self._met = False

    @property
    def late(self) -> int:
        """Messages about what was over already."""
        return self._calls.late

    # --- messages -------------------------------------------------------------------------------

    def receive(self, message: Message, now_s: float) -> None:
        """Take a message of the broker. Raises nothing."""
        at = datetime.now(UTC)
        try:
            document = wire.decode(message.payload)
        except wire.MalformedDocumentError as error:
            self._emit(Malformed(at=at, reason=str(error), peer=message.topic))
            return
        if message.retained:
            self._kept(document)
            return
        if not isinstance(document, wire.PluginStatus):
            self._alive(document.instance_id, now_s, at)
        for event in self._events(document, now_s, at):
            self._emit(event)

    def _kept(self, document: wire.Message) -> None:
        """Retained: who the systems are still holds; what happened may be of yesterday."""
        if isinstance(document, wire.Systems):
            for system in document.systems:
                self._identities.learn(document.instance_id, system)
        elif not isinstance(document, wire.PluginStatus | wire.Other):
            self.leftovers += 1

    def _alive(self, instance_id: str, now_s: float, at: datetime) -> None:
        if instance_id in self._heard_s or len(self._heard_s) < MOST_INSTANCES:
            self._heard_s[instance_id] = now_s
        if not self._met:
            self._met = True
            self._emit(Online(at=at))
        if instance_id in self._silent:
            self._silent.discard(instance_id)
            self._judge(now_s, at)

    def _events(self, document: wire.Message, now_s: float, at: datetime) -> list[Event]:
        match document:
            case wire.Granted():
                return self._calls.granted(document, now_s, at)
            case wire.CallsActive():
                return [
                    *(Malformed(at=at, reason=fault) for fault in document.faults),
                    *self._calls.active(document, now_s, at),
                ]
            case wire.Transmitted():
                return self._calls.transmitted(document, now_s, at)
            case wire.Concluded():
                return self._calls.concluded(document, now_s, at, at.timestamp())
            case wire.Systems():
                for system in document.systems:
                    self._identities.learn(document.instance_id, system)
            case wire.Rates():
                self._rated(document, now_s)
            case wire.UnitDid():
                return self._unit_did(document, now_s, at)
            case wire.TrunkingMessage():
                return self._refused(document, at)
            case wire.PluginStatus() | wire.Other():
                pass
            case _:
                assert_never(document)
        return []

    def _rated(self, rates: wire.Rates, now_s: float) -> None:
        for sys_name, per_s in rates.per_s:
            site = (rates.instance_id, sys_name)
            self._identities.name(site, now_s)
            if per_s > 0 or site not in self._decoded_s:
                self._decoded_s[site] = now_s

    def _unit_did(self, did: wire.UnitDid, now_s: float, at: datetime) -> list[Event]:
        site = (did.instance_id, did.sys_name)
        name = self._identities.name(site, now_s)
        if name is None or not did.unit:
            return []
        unit = unit_address(name, did.unit)
        match did.action:
            case UnitAction.ON:
                return [UnitRegistered(at=at, unit=unit, alias=did.unit_alias)]
            case UnitAction.OFF:
                return [UnitDeregistered(at=at, unit=unit)]
            case UnitAction.JOIN if did.talkgroup:
                address = f"{name}/{did.talkgroup}"
                return [UnitAffiliated(at=at, address=address, unit=unit, alias=did.unit_alias)]
            case UnitAction.LOCATION:
                shown = self._identities.site_shown(site)
                return [UnitLocation(at=at, unit=unit, unit_alias=did.unit_alias, site=shown)]
        return []  # a data grant is no talk, and an acknowledgement nobody's news

    def _refused(self, message: wire.TrunkingMessage, at: datetime) -> list[Event]:
        """The plugin says that somebody had to wait, but neither who nor for which talkgroup."""
        if message.means is wire.Trunking.OTHER:
            return []
        shown = self._identities.site_shown((message.instance_id, message.sys_name))
        queued = message.means is wire.Trunking.QUEUED
        return [TalkRefused(at=at, queued=queued, reason=f"{message.description} ({shown})")]

    # --- silence --------------------------------------------------------------------------------

    def tick(self, now_s: float) -> Unreachable | None:
        """Once a second, and when `next_expiry_s` says: what is over, who is silent.

        Gives what ends the connection: every recorder is silent.
        """
        at = datetime.now(UTC)
        for event in self._calls.expire(now_s, at):
            self._emit(event)
        silent_s = self._settings.silent_s
        for instance_id, heard_s in self._heard_s.items():
            if now_s >= heard_s + silent_s and instance_id not in self._silent:
                self._silent.add(instance_id)
                for event in self._calls.instance_lost(instance_id, at):
                    self._emit(event)
        self._judge(now_s, at)
        if now_s >= max(self._heard_s.values(), default=self._began_s) + silent_s:
            message = (
                f"the broker answers, but no trunk-recorder has said a word for {silent_s:g} s; "
                "see that it runs, and that topic is the one of its plugin"
            )
            return Unreachable(message, device=self._settings.address.shown)
        return None

    def next_expiry_s(self) -> float | None:
        return self._calls.next_expiry_s()

    def _judge(self, now_s: float, at: datetime) -> None:
        """Tell the health of each registered channel where it has changed."""
        if not self._met:
            return
        for address, told in self._health.items():
            found = self._health_of(address.rpartition("/")[0], now_s)
            if found != told:
                self._health[address] = found
                health, reason = found
                self._emit(ChannelHealth(at=at, address=address, health=health, reason=reason))

    def _health_of(self, system: str, now_s: float) -> tuple[str, str]:
        sites = self._identities.sites_of(system)
        if now_s < self._began_s + self._settings.silent_s and not (
            sites and all(site[0] in self._silent for site in sites)
        ):
            return "ok", ""
        heard = [s for s in sites if s[0] in self._heard_s and s[0] not in self._silent]
        if not sites:
            reason = f"the feed does not tell of a radio system {system!r}; see `systems`"
            return "degraded", reason
        if not heard:
            return "down", "its trunk-recorder is silent"
        deaf = [s for s in heard if now_s >= self._decoded_s.get(s, now_s) + DEAF_S]
        if len(deaf) == len(heard):
            return "degraded", "its control channel is not decoded"
        return "ok", ""
