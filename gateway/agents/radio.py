"""The radio agent: runs one system's adapter and speaks for it on the bus.

What the air did goes out as events and retained channel state; commands of the bridge come in,
are checked (its epoch, ours, their deadline) and carried out under a lease.
"""

import asyncio
import contextlib
import dataclasses
import functools
import uuid
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any

import structlog

from adapters import events as seam
from adapters.base import Adapter, Capability, RadioTraits
from adapters.errors import AdapterError
from gateway.agents import system_events
from gateway.agents.channel_state import Channel, ChannelState, figures, told
from gateway.agents.lease import Leases
from gateway.agents.outbox import Outbox, is_kept
from gateway.agents.supervisor import Budget, Failure, Supervised
from gateway.agents.system_health import SystemHealth
from gateway.agents.voice import AgentVoice
from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, decode, encode, encode_event, rfc3339

__all__ = ["Channel", "RadioAgent"]

log = structlog.get_logger("radio")

DEFAULT_LEASE_S = 2.0
MAX_LEASE_S = 10.0
MAX_UNREGISTERED = 1000
TOO_LATE = "it came too late"


def _now() -> datetime:
    return datetime.now(UTC)


class RadioAgent:
    """One system. make: builds its adapter for a set of channel addresses.

    org: slug path of the system's organisation. outbox: keeps occurrences until they are stored;
    without one they are lost with the broker.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        system_id: str,
        org: str,
        make: Callable[[tuple[str, ...]], Adapter],
        traits: RadioTraits,
        channels: tuple[Channel, ...],
        budget: Budget,
        outbox: Outbox | None = None,
    ) -> None:
        self.system_id = system_id
        self.outbox = outbox
        self.unregistered: dict[str, int] = {}
        self.malformed = 0
        self._bus = bus
        self._org = org
        self._traits = traits
        self._loop = asyncio.get_running_loop()
        self.health = SystemHealth(
            bus,
            system_id=system_id,
            org=org,
            outbox=outbox,
            say=self._say_of_system,
            habit_file=outbox.path.with_suffix(".habit.json") if outbox is not None else None,
            unregistered=self.unregistered,
        )
        self._leases = Leases()
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._states = {c.id: ChannelState(channel=c) for c in channels}
        self._by_address = {c.address: self._states[c.id] for c in channels}
        addresses = tuple(c.address for c in channels)
        self._supervised = Supervised(
            system_id,
            lambda: make(addresses),
            budget=budget,
            on_event=self._on_event,
            on_failure=self._on_failure,
        )
        self.voice = AgentVoice(
            bus,
            system_id=system_id,
            codecs=traits.voice,
            channels=tuple(self._states),
            adapter=lambda: self._supervised.adapter,
        )

    @property
    def online(self) -> bool:
        return self._supervised.adapter is not None

    def retime(self, channels: Iterable[Channel]) -> None:
        """How late our own keys come back was measured, or set: nothing is begun anew for that."""
        for channel in channels:
            state = self._states.get(channel.id)
            if state is not None:
                state.channel = dataclasses.replace(state.channel, echo_s=channel.echo_s)

    async def run(self) -> None:
        """Until cancelled; then everything is unkeyed, and its states are said to be idle."""
        async with self.outbox or contextlib.nullcontext(), self.voice.listening():
            await self._run()

    async def _run(self) -> None:
        topics = self._bus.topics
        for state in self._states.values():
            channel = state.channel
            self._bus.subscribe(
                topics.org("channels", "command", channel.org, channel.id),
                functools.partial(self._on_command, state),
            )
            self._publish_state(state)
        self._bus.on_lost(self._on_bus_lost)
        watching = self._loop.create_task(self.health.run())
        try:
            await self._supervised.run()
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            self._bus.off_lost(self._on_bus_lost)
            for state in self._states.values():
                channel = state.channel
                self._bus.unsubscribe(topics.org("channels", "command", channel.org, channel.id))
                self._forget(state, "the agent stops")
            self._leases.drop_all()
            if self._expiry is not None:
                self._expiry.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def retire(self, kept: set[tuple[str, str]]) -> None:
        """Clear the retained state of channels that went or moved. kept: (id, org) that stay."""
        for state in self._states.values():
            if (state.channel.id, state.channel.org) not in kept:
                self._bus.clear_state(self._state_topic(state.channel))

    def retire_system(self, kept: str | None) -> None:
        """Clear the retained state of a system that went or moved. kept: the slug path where its
        state stays."""
        if kept != self._org:
            self._bus.clear_state(self.health.topic)

    def hand_over(self) -> None:
        """An agent elsewhere says the states of this system and its channels from here on; how we
        leave them is said at once."""
        self.health.hand_over()
        for state in self._states.values():
            topic = self._state_topic(state.channel)
            self._bus.publish_retained(topic, encode(self._told_state(state)))
            self._bus.disown(topic)

    # --- the air, outwards ----------------------------------------------------------------------

    def _on_event(self, event: seam.Event) -> None:
        self.health.heard(event)
        if isinstance(event, seam.ChannelEvent):
            state = self._by_address.get(event.address)
            if state is None:
                heard = self.unregistered.get(event.address, 0)
                if heard or len(self.unregistered) < MAX_UNREGISTERED:
                    self.unregistered[event.address] = heard + 1
                return
            self._on_channel_event(state, event)
        elif isinstance(event, seam.Online):
            self._on_online()
        elif isinstance(event, seam.Malformed):
            self.malformed += 1
            if str(self.malformed).rstrip("0") == "1":  # the first, the tenth, the hundredth
                log.warning(
                    "malformed packets",
                    system=self.system_id,
                    count=self.malformed,
                    peer=event.peer,
                    reason=event.reason,
                )
        elif isinstance(event, seam.SystemEvent):
            self._publish_system_event(event)

    def _on_online(self) -> None:
        self.health.online()
        for state in self._states.values():
            if state.health in ("unknown", "down"):
                state.health, state.health_reason = "ok", ""
                self._publish_state(state)

    def _on_failure(self, failure: Failure) -> None:
        self.health.offline(str(failure.error))
        self._leases.drop_all()
        self.voice.drop_all()
        for state in self._states.values():
            state.health, state.health_reason = "down", str(failure.error)
            self._forget(state, "the system is away")

    def _forget(self, state: ChannelState, reason: str) -> None:
        """The adapter is gone: whatever talked or was keyed there is over."""
        talk, state.talk = state.talk, None
        state.transmission = None
        if talk is not None:
            idle = seam.FloorIdle(
                at=_now(), address=state.channel.address, stream=talk.stream, reason="lost"
            )
            self._publish_event(state, "floor.idle", idle.at, self._idle_data(idle, reason))
        self._publish_state(state)

    def _on_channel_event(self, state: ChannelState, event: seam.ChannelEvent) -> None:
        match event:
            case seam.VoiceHeard():
                self.voice.heard(state.channel.id, event.frame)
            case seam.FloorTaken():
                self._on_talk(state, event)
            case seam.FloorIdle():
                self._on_idle(state, event)
            case seam.ChannelHealth():
                state.health, state.health_reason = event.health, event.reason
                self._publish_state(state)
            case seam.ChannelMeasured():
                state.measured |= figures(event)
                self._publish_state(state)
            case seam.EmergencyRaised():
                state.emergency = True
                data = {"talker": self._talker(event.unit), "talker_alias": event.unit_alias}
                self._publish_event(state, "emergency.raised", event.at, data)
                self._publish_state(state)
            case seam.EmergencyCleared():
                state.emergency = False
                data = {"talker": self._talker(event.unit)}
                self._publish_event(state, "emergency.cleared", event.at, data)
                self._publish_state(state)
            case seam.UnitAffiliated():
                data = {"talker": self._talker(event.unit), "talker_alias": event.alias}
                self._publish_event(state, "unit.affiliated", event.at, data)
            case seam.TextMessage():
                data = {
                    "talker": self._talker(event.unit),
                    "talker_alias": event.unit_alias,
                    "text": event.text,
                }
                self._publish_event(state, "text.message", event.at, data)

    def _on_talk(self, state: ChannelState, event: seam.FloorTaken) -> None:
        known = state.talk if state.talk and state.talk.stream == event.stream else None
        if known is not None and event.stream == state.quieted:
            event = dataclasses.replace(event, emergency=False)
        caused_by = event.caused_by or (None if known else self._echo_of(state, event))
        refreshed = isinstance(event, seam.FloorRefreshed)
        if caused_by is None:
            state.talk = event
            state.talk_since = state.talk_since if known else event.at
            self.voice.began(state.channel.id, event.stream)
        kind = "floor.refreshed" if refreshed and known else "floor.taken"
        if caused_by is not None and refreshed:
            return
        hold_s = state.channel.hold_s or event.hold_s
        data = {
            "stream": event.stream,
            "talker": self._talker(event.talker),
            "talker_alias": event.talker_alias,
            "priority": event.priority,
            "emergency": event.emergency,
            "encrypted": event.encrypted,
            "late_entry": event.late_entry or (refreshed and not known),
            "hold_s": hold_s,
            "caused_by": caused_by,
            "reason": None,
        }
        self._publish_event(state, kind, event.at, data)
        if caused_by is None and (known is None or told(known) != told(event)):
            self._publish_state(state)

    def _echo_of(self, state: ChannelState, event: seam.FloorTaken) -> str | None:
        """Where a system gives no identity, a start while we key, or just after, is ours."""
        if self._traits.identifies_talker and event.talker:
            return None
        if state.transmission is not None:
            return state.transmission
        return state.last_keyed if self._loop.time() < state.echo_until_s else None

    def _on_idle(self, state: ChannelState, event: seam.FloorIdle) -> None:
        if event.caused_by is not None and event.caused_by == state.transmission:
            self._leases.release(state.channel.id, event.caused_by)
            self._unkey(state, event.caused_by)
        elif state.talk is not None and state.talk.stream == event.stream:
            state.talk = None
            self.voice.began(state.channel.id, "")
        self._publish_event(state, "floor.idle", event.at, self._idle_data(event, event.reason))
        self._publish_state(state)

    def _idle_data(self, event: seam.FloorIdle, reason: str) -> dict[str, Any]:
        return {"stream": event.stream, "caused_by": event.caused_by, "reason": reason}

    def _talker(self, unit: str) -> str:
        return f"{self.system_id}/{unit}" if unit else ""

    # --- the bridge, inwards --------------------------------------------------------------------

    def _on_command(self, state: ChannelState, _topic: str, payload: bytes) -> None:
        command = decode(payload)
        identity, action = command.get("id"), command.get("action")
        if not isinstance(identity, str) or not isinstance(action, str):
            raise ValueError("a command without id or action")
        if (refusal := self._refusal(command)) is not None:
            log.warning("command dropped", system=self.system_id, action=action, reason=refusal)
            self._answer(state, command, "refused", refusal)
            return
        match action:
            case "floor.request":
                self._request(state, command)
            case "floor.release":
                self._release(state, command)
            case "voice.forward":
                reason, renewed = self.voice.forward(state.channel.id, command)
                if not renewed:
                    self._answer(state, command, "refused" if reason else "done", reason)
            case "text.send":
                self._send_text(state, command)
            case "emergency.clear":
                self._clear_emergency(state, command)
            case _:
                self._answer(state, command, "refused", f"unknown action {action}")

    def _refusal(self, command: dict[str, Any]) -> str | None:
        """Why a command must not be obeyed: a stale press never keys a radio."""
        bridge_epoch, not_after = command.get("bridge_epoch"), command.get("not_after_ms")
        if not isinstance(bridge_epoch, int) or not isinstance(not_after, int):
            return "it has no bridge_epoch or not_after_ms"
        if command.get("agent_epoch") != self._bus.epoch:
            return "it is for another life of this agent"
        if not self._bus.obeys_bridge(bridge_epoch):
            return f"bridge epoch {bridge_epoch} is over, {self._bus.bridge_epoch} is obeyed"
        if self._bus.uptime_ms() > not_after:
            return TOO_LATE
        return None

    def _request(self, state: ChannelState, command: dict[str, Any]) -> None:
        transmission = command.get("transmission")
        if not isinstance(transmission, str) or not transmission:
            raise ValueError("a floor.request without transmission")
        renewal = self._leases.transmission(state.channel.id) == transmission
        adapter = self._supervised.adapter
        if not renewal and (adapter is None or Capability.KEY not in type(adapter).capabilities):
            if adapter is None:  # it may be back before the talk is over
                self._answer(state, command, "busy", "the system is away")
            else:
                self._answer(state, command, "refused", "the system cannot be keyed")
            return
        lease_ms = command.get("lease_ms")
        lease_s = lease_ms / 1000 if isinstance(lease_ms, int | float) else DEFAULT_LEASE_S
        other = self._leases.request(
            state.channel.id,
            transmission,
            min(max(lease_s, 0.1), MAX_LEASE_S),
            self._loop.time(),
        )
        self._schedule_expiry()
        if renewal:
            return
        if other is not None:
            self._unkey(state, other)
        self.voice.requested(state.channel.id, transmission)
        self._spawn(self._key(state, command, transmission))

    async def _key(self, state: ChannelState, command: dict[str, Any], transmission: str) -> None:
        if not self._keeps(state, transmission):
            self._answer(state, command, "refused", "released meanwhile")
            return
        talker, alias = str(command.get("talker") or ""), str(command.get("talker_alias") or "")
        state.transmission, state.keyed_talker, state.keyed_alias = transmission, talker, alias
        state.keyed_since = _now()
        priority = command.get("priority")
        own = talker.removeprefix(f"{self.system_id}/")
        source = own if own != talker else state.channel.gateway_unit_id
        unnamed = not self._traits.carries_alias and state.named != transmission
        if unnamed and (alias or talker):
            state.named = transmission  # once, however often a busy channel is tried
            text = seam.SendText(address=state.channel.address, text=alias or talker)
            await self._execute(text)
            if not self._keeps(state, transmission):
                self._answer(state, command, "refused", "released meanwhile")
                return
        outcome = await self._execute(
            seam.KeyChannel(
                address=state.channel.address,
                transmission=transmission,
                talker_alias=alias or talker,
                talker_source=source,
                priority=priority if isinstance(priority, int) else 0,
            )
        )
        if outcome.result is not seam.Result.DONE:
            self._leases.release(state.channel.id, transmission)
            if state.transmission == transmission:
                self._unkeyed(state)
            if outcome.result is seam.Result.REFUSED:  # or keyed, and its answer was lost
                self._unkey(state, transmission)
        elif not self._keeps(state, transmission):
            # Its lease ended while the system was still keying; the unkey may have come first.
            self._unkey(state, transmission)
            outcome = seam.Outcome(result=seam.Result.REFUSED, reason="released meanwhile")
        else:
            self.voice.keyed(state.channel.id, transmission)
        self._answer(state, command, outcome.result.value, outcome.reason)
        self._publish_state(state)

    def _keeps(self, state: ChannelState, transmission: str) -> bool:
        """Is this transmission still to be on the air?"""
        return self._leases.transmission(state.channel.id) == transmission

    def _release(self, state: ChannelState, command: dict[str, Any]) -> None:
        transmission = str(command.get("transmission") or "")
        self._answer(state, command, "done", "")
        if self._leases.release(state.channel.id, transmission):
            self._unkey(state, transmission, drain=command.get("drain") is True)

    def _clear_emergency(self, state: ChannelState, command: dict[str, Any]) -> None:
        """A dispatcher ended it: what we say of the channel follows, whatever its radios think."""
        state.emergency = False
        if state.talk is not None:
            state.quieted = state.talk.stream
            state.talk = dataclasses.replace(state.talk, emergency=False)
        self._answer(state, command, "done", "")
        self._publish_state(state)

    def _send_text(self, state: ChannelState, command: dict[str, Any]) -> None:
        text = command.get("text")
        if not isinstance(text, str):
            raise ValueError("a text.send without text")

        async def send() -> None:
            outcome = await self._execute(seam.SendText(address=state.channel.address, text=text))
            self._answer(state, command, outcome.result.value, outcome.reason)

        self._spawn(send())

    async def _execute(self, command: seam.Command) -> seam.Outcome:
        adapter = self._supervised.adapter
        if adapter is None:
            return seam.Outcome(result=seam.Result.REFUSED, reason="the system is away")
        try:
            return await adapter.execute(command)
        except AdapterError as error:
            return seam.Outcome(result=seam.Result.REFUSED, reason=error.message)
        except Exception:  # an adapter's own mistake must not leave a command unanswered
            log.exception("command failed", system=self.system_id)
            return seam.Outcome(result=seam.Result.REFUSED, reason="the adapter failed")

    # --- leases ---------------------------------------------------------------------------------

    def _schedule_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        next_s = self._leases.next_s()
        if next_s is not None:
            self._expiry = self._loop.call_at(next_s, self._expire)

    def _expire(self) -> None:
        for channel_id, transmission in self._leases.expire(self._loop.time()):
            log.warning("lease ran out, unkeyed", channel=channel_id, transmission=transmission)
            self._unkey(self._states[channel_id], transmission)
        self._schedule_expiry()

    def _on_bus_lost(self) -> None:
        for channel_id, transmission in self._leases.drop_all():
            log.warning("broker lost, unkeyed", channel=channel_id, transmission=transmission)
            self._unkey(self._states[channel_id], transmission)
        self.voice.drop_all()

    def _unkey(self, state: ChannelState, transmission: str, *, drain: bool = False) -> None:
        if state.transmission == transmission:
            self._unkeyed(state)
            self._publish_state(state)
        unkey = seam.UnkeyChannel(
            address=state.channel.address, transmission=transmission, drain=drain
        )
        self._spawn(self._execute_after_voice(state, unkey))

    async def _execute_after_voice(self, state: ChannelState, unkey: seam.UnkeyChannel) -> None:
        await self.voice.end(state.channel.id, unkey.transmission, drain=unkey.drain)
        await self._execute(unkey)

    def _unkeyed(self, state: ChannelState) -> None:
        echo_s = state.channel.echo_s if state.channel.echo_s is not None else self._traits.echo_s
        state.last_keyed, state.transmission = state.transmission, None
        state.echo_until_s = self._loop.time() + echo_s

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- the wire -------------------------------------------------------------------------------

    def _answer(
        self, state: ChannelState, command: dict[str, Any], outcome: str, reason: str
    ) -> None:
        data = {
            "command": command.get("id"),
            "transmission": command.get("transmission"),
            "outcome": outcome,
            "reason": reason,
            "late": reason == TOO_LATE,
        }
        self._publish_event(state, "command.result", _now(), data)

    def _cloud_event(
        self, kind: str, subject: str, at: datetime, data: dict[str, Any]
    ) -> CloudEvent:
        return CloudEvent(
            id=uuid.uuid4().hex,
            source=f"hutong/{self._bus.node}/{self.system_id}",
            type=kind,
            subject=subject,
            time=rfc3339(at),
            epoch=self._bus.epoch,
            sequence=0,
            uptime_ms=self._bus.uptime_ms(),
            data=data,
        )

    def _say(self, topic: str, event: CloudEvent) -> None:
        """An occurrence sooner or later, anything else now or never. What is not sent takes no
        number: the journal would wait for it."""
        if self.outbox is not None and is_kept(event):
            self.outbox.say(topic, event)
        elif self._bus.connected.is_set():
            sequence = self._bus.next_sequence(self.system_id)
            self._bus.publish(topic, encode_event(dataclasses.replace(event, sequence=sequence)))
        else:
            self._bus.counters.dropped += 1

    def _publish_event(
        self, state: ChannelState, kind: str, at: datetime, data: dict[str, Any]
    ) -> None:
        channel = state.channel
        event = self._cloud_event(kind, channel.id, at, data)
        topic = self._bus.topics.org("channels", "event", channel.org, channel.id)
        self._say(topic, event)

    def _publish_system_event(self, event: seam.SystemEvent) -> None:
        described = system_events.told(event, self._talker)
        if described is None:
            return
        kind, data = described
        self._say_of_system(kind, data, event.at)

    def _say_of_system(self, kind: str, data: dict[str, Any], at: datetime | None = None) -> None:
        cloud = self._cloud_event(kind, self.system_id, at or _now(), data)
        topic = self._bus.topics.org("systems", "event", self._org, self.system_id)
        self._say(topic, cloud)

    def _state_topic(self, channel: Channel) -> str:
        return self._bus.topics.org("channels", "state", channel.org, channel.id)

    def _publish_state(self, state: ChannelState) -> None:
        self._bus.set_state(self._state_topic(state.channel), self._told_state(state))

    def _told_state(self, state: ChannelState) -> dict[str, Any]:
        talk, keyed = state.talk, state.transmission is not None
        since = state.talk_since if talk else state.keyed_since if keyed else None
        return {
            "node": self._bus.node,
            "epoch": self._bus.epoch,
            "sequence": self._bus.next_sequence(self._state_topic(state.channel)),
            "floor": "taken" if talk or keyed else "idle",
            "talker": self._talker(talk.talker) if talk else state.keyed_talker if keyed else "",
            "talker_alias": talk.talker_alias if talk else state.keyed_alias if keyed else "",
            "stream": talk.stream if talk else None,
            "since": rfc3339(since) if since else None,
            "emergency": state.emergency or bool(talk and talk.emergency),
            "transmission": state.transmission,
            "health": state.health,
            "health_reason": state.health_reason,
            "measured": state.measured,
        }
