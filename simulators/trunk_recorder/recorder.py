"""A trunk-recorder with its plugin: radios press, the feed tells of it as the real one does."""

import asyncio
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

from simulators.mqtt_publisher import BrokerPlace, Publisher
from simulators.trunk_recorder import documents
from simulators.trunk_recorder.documents import Call, Site, Transmission

OPCODES = {"queued": ("21", "QUE_RSP"), "denied": ("27", "DENY_RSP")}


class Radio:
    """A unit of a trunked system. Made by `TrunkRecorder.radio`."""

    def __init__(self, recorder: "TrunkRecorder", unit: int, alias: str, site: Site) -> None:
        self.unit, self.alias, self.site = unit, alias, site
        self._recorder = recorder
        self._call: Call | None = None

    @property
    def pressing(self) -> bool:
        return self._call is not None and self._call.talking

    def press(
        self,
        talkgroup: int,
        *,
        emergency: bool = False,
        encrypted: bool = False,
        limit_s: float | None = None,
    ) -> bool:
        """Ask for the talkgroup; False when somebody talks there (the system says no).

        limit_s: it is released after that.
        """
        call = self._recorder._grant(self, talkgroup, emergency, encrypted)
        if call is None:
            return False
        self._call = call
        if limit_s is not None:
            self._recorder._later(limit_s, self.release)
        return True

    def release(self) -> None:
        if self._call is not None:
            self._recorder._released(self._call, self.unit)
            self._call = None

    def power(self, *, on: bool) -> None:
        """Registers, or signs off."""
        self._recorder._unit(self, "on" if on else "off")

    def affiliate(self, talkgroup: int) -> None:
        self._recorder._unit(self, "join", talkgroup)

    def roam(self, talkgroup: int = 0) -> None:
        """Registers its place at the site anew."""
        self._recorder._unit(self, "location", talkgroup)

    def send_data(self) -> None:
        """Is granted a data channel: no talk."""
        self._recorder._unit(self, "data")


class TrunkRecorder:
    """One instance. Use as an async context manager.

    sites: its systems, in the order of its configuration. typing: ``numbers``, or ``strings`` as
    before November 2023. period_s: between two lists of active calls; the rest goes by it.
    call_timeout_s: how long a call outlives its last talk. conclude_s: from there to `end` and
    `call_end`.

    Faults, to be set at any time: those of `feed` (a `Publisher`); no_ends leaves `end` and
    `call_end` out; stuck lists every call as recording, for ever; start_shift_s moves the start
    of a call that ends; clock_offset_s is the error of its clock; signal is 999.0 for unknown.
    """

    def __init__(
        self,
        place: BrokerPlace,
        *,
        topic: str = "feeds",
        unit_topic: str = "units",
        message_topic: str = "messages",
        instance_id: str = "east-antenna",
        sites: Sequence[Site] = (Site(sys_num=0, sys_name="p25trunk"),),
        typing: Literal["numbers", "strings"] = "numbers",
        period_s: float = 1.0,
        call_timeout_s: float = 3.0,
        conclude_s: float = 1.0,
        seed: int | None = None,
    ) -> None:
        self.topic, self.unit_topic, self.message_topic = topic, unit_topic, message_topic
        self.instance_id = instance_id
        self.sites = {site.sys_name: site for site in sites}
        self.typing = typing
        self.period_s, self.call_timeout_s = period_s, call_timeout_s
        self.conclude_s = conclude_s
        self.no_ends = False
        self.stuck = False
        self.start_shift_s = 0
        self.clock_offset_s = 0.0
        self.signal = 999.0
        self.decode_rate = 39.67
        self.radios: dict[int, Radio] = {}
        self._patches: list[tuple[int, ...]] = []
        self._calls: list[Call] = []
        self._numbers = itertools.count(1)
        self._timers: set[asyncio.TimerHandle] = set()
        self._telling: asyncio.Task[None] | None = None
        self.feed = Publisher(
            place,
            f"tr-status-{instance_id}",
            will=(self._status_topic, self._status("disconnected")),
            seed=seed,
        )

    async def __aenter__(self) -> Self:
        await self.feed.__aenter__()
        # Said once in a life: after a lost connection "disconnected" stays.
        self.feed.publish_raw(self._status_topic, self._status("connected"), retain=True)
        self._say("config", "config", {"systems": [], "instance_id": self.instance_id}, kept=True)
        self.tell_systems()
        self._telling = asyncio.create_task(self._tell())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
        for waiting in self._timers:
            waiting.cancel()
        await self.feed.__aexit__(*exc_info)

    # --- radios ---------------------------------------------------------------------------------

    def radio(self, unit: int, alias: str = "", *, site: str | None = None) -> Radio:
        """The radio of this id, on a site (the first one), made at the first call."""
        if unit not in self.radios:
            where = self.sites[site] if site else next(iter(self.sites.values()))
            self.radios[unit] = Radio(self, unit, alias, where)
        return self.radios[unit]

    def patch(self, *talkgroups: int) -> None:
        """The system joins talkgroups; the feed names each of them, itself too."""
        self._patches.append(talkgroups)

    def unpatch(self) -> None:
        self._patches.clear()

    def refuse(self, how: Literal["queued", "denied"], *, site: str | None = None) -> None:
        """The system lets a unit wait, or refuses it: the feed says neither whom nor what for."""
        opcode, kind = OPCODES[how]
        where = self.sites[site] if site else next(iter(self.sites.values()))
        self.tell_trunking([(99, opcode, kind, where)])

    def tell_trunking(self, batch: Sequence[tuple[int, str, str, Site]]) -> None:
        """A batch of control messages, of which the plugin sends the first alone."""
        for message, opcode, kind, site in batch[:1]:
            body = {
                "sys_num": site.sys_num,
                "sys_name": site.sys_name,
                "trunk_msg": message,
                "trunk_msg_type": "UNKNOWN",
                "opcode": opcode,
                "opcode_type": kind,
                "opcode_desc": kind,
                "meta": "",
            }
            self._say("message", "message", body, f"{self.message_topic}/{site.sys_name}/messages")

    def tell_systems(self) -> None:
        bodies = [site.document() for site in self.sites.values()]
        self._say("systems", "systems", bodies, kept=True)

    def leave_retained(self, unit: int, talkgroup: int) -> None:
        """A call of some other day that a broker has kept, which the plugin itself never asks."""
        site = next(iter(self.sites.values()))
        call = Call(
            call_num=0,
            site=site,
            talkgroup=talkgroup,
            start_s=self.clock_s() - 86_400,
            encrypted=False,
            mon_state=0,
            patches=(),
            transmissions=[
                Transmission(unit=unit, alias="", emergency=True, start_s=self.clock_s() - 86_400)
            ],
        )
        where = f"{self.unit_topic}/{site.sys_name}/call"
        self._say("call", "call", call.granted(), where, kept=True)
        bodies = documents.active([call], self.clock_s())
        self._say("calls_active", "calls", bodies, kept=True)

    def clock_s(self) -> int:
        return documents.wall_s(self.clock_offset_s)

    # --- calls ----------------------------------------------------------------------------------

    def _grant(self, radio: Radio, talkgroup: int, emergency: bool, encrypted: bool) -> Call | None:
        call = self._call_on(radio.site, talkgroup)
        transmission = Transmission(
            unit=radio.unit, alias=radio.alias, emergency=emergency, start_s=self.clock_s()
        )
        if call is not None and call.talking:
            return None
        if call is not None:
            same = call.transmissions[-1].unit == radio.unit
            call.talking = True
            call.transmissions.append(transmission)
            if not same:  # the plugin is told of another source only
                self._tell_grant(call)
            return call
        call = Call(
            call_num=next(self._numbers),
            site=radio.site,
            talkgroup=talkgroup,
            start_s=transmission.start_s,
            encrypted=encrypted,
            mon_state=self._mon_state(radio, talkgroup, encrypted),
            patches=next((p for p in self._patches if talkgroup in p), ()),
            transmissions=[transmission],
        )
        self._calls.append(call)
        self._tell_grant(call)
        self._tell_active()
        return call

    def _call_on(self, site: Site, talkgroup: int) -> Call | None:
        found = (c for c in self._calls if c.site is site and c.talkgroup == talkgroup)
        return next(found, None)

    def _mon_state(self, radio: Radio, talkgroup: int, encrypted: bool) -> int:
        """Recorded, unless it is encrypted or another site records it already."""
        twin = any(
            (call.site.wacn, call.site.sysid, call.talkgroup)
            == (radio.site.wacn, radio.site.sysid, talkgroup)
            for call in self._calls
            if not call.site.conventional
        )
        return 5 if encrypted else 6 if twin else 0

    def _released(self, call: Call, unit: int) -> None:
        if call.talking and call.transmissions[-1].unit == unit:
            call.talking = self.stuck
            call.idle_since_s = time.monotonic()
            call.transmissions[-1].stop_s = self.clock_s()

    def _conclude_over(self) -> None:
        now_s = time.monotonic()
        over = [
            call
            for call in self._calls
            if not call.talking and now_s - call.idle_since_s >= self.call_timeout_s
        ]
        for call in over:
            self._calls.remove(call)
            self._later(self.conclude_s, functools.partial(self._tell_end, call))
        if over:
            self._tell_active()

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(handle)
            act()

        handle = asyncio.get_running_loop().call_later(delay_s, due)
        self._timers.add(handle)

    # --- the feed -------------------------------------------------------------------------------

    async def _tell(self) -> None:
        for turn in itertools.count():
            self._conclude_over()
            self._tell_active()
            if turn % 3 == 0:
                self._tell_rates()
                self._say("recorders", "recorders", [])
            await asyncio.sleep(self.period_s)

    def _tell_grant(self, call: Call) -> None:
        where = f"{self.unit_topic}/{call.site.sys_name}/call"
        if self.unit_topic:
            self._say("call", "call", call.granted(), where)
        self._say("call_start", "call", call.document(self.clock_s()))

    def _tell_active(self) -> None:
        self._say("calls_active", "calls", documents.active(self._calls, self.clock_s()))

    def _tell_end(self, call: Call) -> None:
        if self.no_ends:
            return
        where = f"{self.unit_topic}/{call.site.sys_name}/end"
        for transmission in call.transmissions if self.unit_topic else ():
            body = call.transmitted(transmission, self.start_shift_s)
            self._say("end", "end", body, where)
        body = call.ended(self.clock_s(), start_shift_s=self.start_shift_s, signal=self.signal)
        self._say("call_end", "call", body)

    def _tell_rates(self) -> None:
        bodies = [
            {
                "sys_num": site.sys_num,
                "sys_name": site.sys_name,
                "decoderate": self.decode_rate,
                "decoderate_interval": 3,
                "control_channel": 774_581_250,
            }
            for site in self.sites.values()
            if not site.conventional
        ]
        self._say("rates", "rates", bodies or None)

    def _unit(self, radio: Radio, action: str, talkgroup: int | None = None) -> None:
        body: dict[str, Any] = {
            "sys_num": radio.site.sys_num,
            "sys_name": radio.site.sys_name,
            "unit": radio.unit,
            "unit_alpha_tag": radio.alias,
        }
        if talkgroup is not None:
            patches = next((p for p in self._patches if talkgroup in p), ())
            body |= {
                "talkgroup": talkgroup,
                "talkgroup_alpha_tag": f"TG {talkgroup}",
                "talkgroup_patches": ",".join(str(number) for number in patches),
            }
        self._say(action, action, body, f"{self.unit_topic}/{radio.site.sys_name}/{action}")

    def _say(
        self,
        kind: str,
        name: str,
        body: object,
        topic: str | None = None,
        *,
        kept: bool = False,
    ) -> None:
        document = {
            "type": kind,
            name: body,
            "timestamp": self.clock_s(),
            "instance_id": self.instance_id,
        }
        if self.typing == "strings":
            document = documents.as_strings(document)
        self.feed.publish(topic or f"{self.topic}/{kind}", document, retain=kept)

    @property
    def _status_topic(self) -> str:
        return f"{self.topic}/trunk_recorder/status"

    def _status(self, status: str) -> bytes:
        client = f"tr-status-{self.instance_id}"
        text = f'{{"client_id":"{client}","instance_id":"{self.instance_id}","status":"{status}"}}'
        return text.encode()
