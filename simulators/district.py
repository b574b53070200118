"""A running district: cameras, repeaters with radios, Zello servers with phones, a timeline."""

import asyncio
import contextlib
import logging
import random
from types import TracebackType
from typing import Any, Self

from simulators.homebrew_repeater import Radio, Repeater
from simulators.mmdvm_host import MmdvmHost
from simulators.mqtt_publisher import BrokerPlace
from simulators.onvif_camera import EventKind, OnvifCamera, OnvifFleet
from simulators.rtsp_camera import RtspCamera, RtspFleet
from simulators.scenario import Feeds, RepeaterPart, Scenario, Step, Traffic, ZelloPart
from simulators.traffic import Peak, presses
from simulators.trunk_recorder import TrunkRecorder
from simulators.zello_server import Phone, ZelloServer

log = logging.getLogger(__name__)


class District:
    """Everything of a scenario; use as an async context manager. pressed, found_busy: how often
    the traffic at random pressed, and in vain.

    Raises on entering: OSError for an address that cannot be used.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.onvif: dict[str, OnvifCamera] = {}
        self.rtsp: dict[str, RtspCamera] = {}
        self.repeaters: dict[int, Repeater] = {}
        self.radios: dict[int, Radio] = {}
        self.zello: list[ZelloServer] = []
        self.phones: dict[str, Phone] = {}
        self.feeds: dict[str, TrunkRecorder | MmdvmHost] = {}
        self.pressed = 0
        self.found_busy = 0
        self._talkgroups: dict[int, tuple[int, ...]] = {}
        self._channels: dict[str, tuple[str, ...]] = {}
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await self._start_cameras(stack)
            for zello in self.scenario.zello:
                await self._start_zello(stack, zello)
            for repeater in self.scenario.homebrew.repeaters:
                await self._start_repeater(stack, repeater)
            await self._start_feeds(stack, self.scenario.feeds)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def addresses(self) -> dict[str, Any]:
        """Where everything is, for the line that says the district is ready."""
        return {
            "onvif": [camera.device_url for camera in self.onvif.values()],
            "rtsp": [camera.url("main") for camera in self.rtsp.values()],
            "homebrew": [
                {"repeater": repeater.id, "radios": list(repeater.radios)}
                for repeater in self.repeaters.values()
            ],
            "zello": [server.url for server in self.zello],
            **({"feeds": list(self.feeds)} if self.feeds else {}),
        }

    def cameras(self) -> dict[str, OnvifCamera | RtspCamera]:
        return {**self.onvif, **self.rtsp}

    def zello_of(self, channel: str) -> ZelloServer:
        """The server that has a channel. Raises: KeyError."""
        for server in self.zello:
            if channel in server.channels:
                return server
        raise KeyError(channel)

    # --- timeline -------------------------------------------------------------------------------

    async def run_timeline(self) -> None:
        """Do each step at its time; returns when none is left."""
        async with asyncio.TaskGroup() as group:
            for step in self.scenario.timeline:
                group.create_task(self._repeat(step))
            if self.scenario.traffic is not None:
                group.create_task(self._press_at_random(self.scenario.traffic))

    async def _press_at_random(self, wanted: Traffic) -> None:
        """Whoever talks already, or finds the channel busy, is counted and does not press."""
        loop = asyncio.get_running_loop()
        began_s, chance = loop.time(), random.Random(wanted.seed)
        people: list[int | str] = [*self.radios, *self.phones]
        peaks = [Peak(**part.model_dump()) for part in wanted.peaks]
        for press in presses(
            people=len(people),
            presses_s=wanted.presses_s,
            talk_s=wanted.talk_s,
            peaks=peaks,
            seed=wanted.seed,
        ):
            await asyncio.sleep(began_s + press.at_s - loop.time())
            self.pressed += 1
            if not self._presses(people[press.who], wanted, chance, press.seconds):
                self.found_busy += 1

    def _presses(
        self, who: int | str, wanted: Traffic, chance: random.Random, seconds: float
    ) -> bool:
        if isinstance(who, str):
            return self.phones[who].press(chance.choice(self._channels[who]), limit_s=seconds)
        groups = self._talkgroups[who] or wanted.talkgroups or (1,)
        group, slot = chance.choice(groups), chance.choice((1, 2))
        return self.radios[who].press(group, slot, limit_s=seconds)

    async def _repeat(self, step: Step) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + step.at_s
        while True:
            await asyncio.sleep(due_s - loop.time())
            try:
                await self._do(step)
            except OSError as error:
                log.warning("timeline: %s failed: %s", step.action, error)
            if step.every_s is None:
                return
            due_s = max(due_s, loop.time() - step.every_s) + step.every_s

    async def _do(self, step: Step) -> None:
        """One action. The scenario has been checked: what an action needs is there."""
        log.info("timeline: %s", step.model_dump(exclude_unset=True, exclude={"at_s", "every_s"}))
        match step.action:
            case "press" | "talk":
                self._press(step)
            case "release" if step.feed is not None:
                self.feeds[step.feed].radio(step.unit or 0).release()
            case "release" if step.radio is not None:
                self.radios[step.radio].release()
            case "release":
                self.phones[step.phone or ""].release()
            case "vanish":
                self.radios[step.radio or 0].vanish()
            case "text":
                self.phones[step.phone or ""].text(step.channel or "", step.text or "")
            case "power_on" | "power_off":
                await self.cameras()[step.camera or ""].power(step.action == "power_on")
            case "event":
                camera = self.onvif[step.camera or ""]
                camera.notify(EventKind(step.kind or ""), bool(step.active))
            case "unplug":
                self.repeaters[step.repeater or 0].unplug()
            case "plug":
                self.repeaters[step.repeater or 0].plug()
            case "loss" if step.feed is not None:
                self.feeds[step.feed].feed.loss = step.ratio or 0.0
            case "loss":
                self.repeaters[step.repeater or 0].network.loss = step.ratio or 0.0
            case "reorder":
                self.repeaters[step.repeater or 0].network.reorder = step.ratio or 0.0
            case "duplicate" if step.repeater is not None:
                self.repeaters[step.repeater].network.duplicate = step.ratio or 0.0
            case "delay" if step.repeater is not None:
                self.repeaters[step.repeater].network.delay_s = step.seconds or 0.0
            case "delay" if step.channel is not None:
                self.zello_of(step.channel).delay_s = step.seconds or 0.0
            case "lose_ends" if step.channel is not None:
                self.zello_of(step.channel).channels[step.channel].lose_ends = bool(step.active)
            case "end_stream":
                self.zello_of(step.channel or "").end_stream(step.channel or "")
            case "drop_connections":
                for server in self.zello:
                    server.drop_connections()
            case "silence":
                self.feeds[step.feed or ""].feed.silent = bool(step.active)
            case "drop_feed":
                self.feeds[step.feed or ""].feed.drop()
            case "lose_ends":
                self.feeds[step.feed or ""].no_ends = bool(step.active)
            case "duplicate":
                self.feeds[step.feed or ""].feed.duplicate = bool(step.active)
            case "delay":
                self.feeds[step.feed or ""].feed.delay_s = step.seconds or 0.0
            case "clock":
                self.feeds[step.feed or ""].clock_offset_s = step.offset_s or 0.0

    def _press(self, step: Step) -> None:
        if step.feed is not None:
            pressed = self._press_unit(self.feeds[step.feed], step)
        elif step.radio is not None:
            radio = self.radios[step.radio]
            pressed = radio.press(
                step.talkgroup or 0, step.slot, emergency=step.emergency, limit_s=step.seconds
            )
        else:
            phone = self.phones[step.phone or ""]
            pressed = phone.press(step.channel or "", limit_s=step.seconds)
        if not pressed:
            who = step.radio or step.phone or step.unit
            log.info("timeline: %s found the channel busy", who)

    @staticmethod
    def _press_unit(feed: TrunkRecorder | MmdvmHost, step: Step) -> bool:
        unit, group = step.unit or 0, step.talkgroup or 0
        if isinstance(feed, MmdvmHost):
            return feed.radio(unit).press(group, step.slot, limit_s=step.seconds)
        radio = feed.radio(unit)
        return radio.press(group, emergency=step.emergency, limit_s=step.seconds)

    # --- starting -------------------------------------------------------------------------------

    async def _start_cameras(self, stack: contextlib.AsyncExitStack) -> None:
        cameras = self.scenario.cameras
        if cameras.onvif:
            discovery = cameras.discovery
            onvif = OnvifFleet(
                cameras.onvif,
                clip_cache=cameras.clip_cache,
                discovery_port=discovery.port if discovery else None,
                discovery_interfaces=discovery.interfaces if discovery else (),
            )
            self.onvif.update((await stack.enter_async_context(onvif)).cameras)
        if cameras.rtsp:
            rtsp = RtspFleet(cameras.rtsp, clip_cache=cameras.clip_cache)
            self.rtsp.update((await stack.enter_async_context(rtsp)).cameras)

    async def _start_zello(self, stack: contextlib.AsyncExitStack, part: ZelloPart) -> None:
        server = await stack.enter_async_context(ZelloServer(**part.model_dump(exclude={"phones"})))
        self.zello.append(server)
        for phone in part.phones:
            self.phones[phone.name] = server.phone(phone.name, phone.channels)
            self._channels[phone.name] = phone.channels or part.channels

    async def _start_repeater(self, stack: contextlib.AsyncExitStack, part: RepeaterPart) -> None:
        master = self.scenario.homebrew.master
        repeater = await stack.enter_async_context(
            Repeater(
                id=part.id,
                passphrase=part.passphrase,
                master=(master.host, master.port),
                callsign=part.callsign,
                station=part.station,
                options=part.options,
                ping_interval_s=part.ping_interval_s,
                max_missed_pings=part.max_missed_pings,
                loss=part.loss,
                seed=part.seed,
            )
        )
        self.repeaters[part.id] = repeater
        for radio in part.radios:
            self._talkgroups[radio.id] = radio.talkgroups or ()
            self.radios[radio.id] = repeater.radio(
                radio.id, radio.alias, talkgroups=radio.talkgroups
            )

    async def _start_feeds(self, stack: contextlib.AsyncExitStack, feeds: Feeds) -> None:
        place = BrokerPlace(**feeds.broker.model_dump())
        for part in feeds.trunk_recorders:
            recorder = TrunkRecorder(
                place,
                topic=part.topic,
                unit_topic=part.unit_topic,
                message_topic=part.message_topic,
                instance_id=part.name,
                sites=part.sites,
                typing=part.typing,
            )
            self.feeds[part.name] = await stack.enter_async_context(recorder)
            for unit in part.units:
                recorder.radio(unit.id, unit.alias, site=unit.site)
        for spec in feeds.mmdvm_hosts:
            host = MmdvmHost(place, name=spec.name, dialect=spec.dialect, client_id=spec.client_id)
            self.feeds[spec.name] = await stack.enter_async_context(host)
            for unit in spec.units:
                host.radio(unit.id, unit.alias)
