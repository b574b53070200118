"""The bridge: hears channel events, steps the floors, and publishes decisions and commands.

It is useless without the broker and useful without the database: what it needs of the registry
comes as `Definitions`. Only the node that holds the bridge lease lets effects out.
"""

import asyncio
import dataclasses
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import structlog

from gateway.bus.client import Bus
from gateway.bus.messages import (
    CloudEvent,
    Repeats,
    decode,
    decode_event,
    encode,
    encode_event,
    rfc3339,
)
from gateway.bus.presence import Presence
from gateway.interop import floor as control
from gateway.interop import model
from gateway.interop.definitions import (
    ChannelDefinition,
    Definitions,
    PatchDefinition,
    rules_alone,
    rules_of,
)
from gateway.interop.directory import Directory
from gateway.interop.lease import BridgeLease
from gateway.interop.presses import capped, input_of, standing_of, worst

log = structlog.get_logger("bridge")

COMMAND_LIFE_MS = 1000
"""A command is worth nothing when it is older than this, on the agent's own clock."""
LONGEST_HOLD_S = 30.0
LONGEST_LOOK_AHEAD_S = 3600.0


@dataclasses.dataclass(slots=True)
class _Machine:
    """One floor: of a patch, or of a channel alone."""

    id: str
    org: str
    patch: PatchDefinition | None
    floor: model.Floor
    sequence: int = 0
    shown: dict[str, Any] | None = None
    since: datetime | None = None
    timer: asyncio.TimerHandle | None = None


@dataclasses.dataclass(slots=True)
class _Agent:
    """Who speaks for a channel, as its retained state says. org: the topic that says so."""

    org: str
    node: str
    epoch: str
    health: str


@dataclasses.dataclass(slots=True)
class BridgeCounters:
    events: int = 0
    repeats: int = 0
    foreign: int = 0
    commands: int = 0
    decisions: int = 0
    unreadable: int = 0


class Bridge:
    """One for each node with the role. now_s: the loop's monotonic clock."""

    def __init__(
        self, bus: Bus, presence: Presence, lease: BridgeLease, directory: Directory
    ) -> None:
        self.counters = BridgeCounters()
        self._bus = bus
        self._presence = presence
        self._lease = lease
        self._loop = asyncio.get_running_loop()
        self._channels: dict[str, ChannelDefinition] = {}
        self._directory = directory
        self._machines: dict[str, _Machine] = {}
        self._of_channel: dict[str, list[_Machine]] = {}
        self._agents: dict[str, _Agent] = {}
        self._writers: dict[str, Repeats] = {}
        self._sequence = 0
        self._next_end: asyncio.TimerHandle | None = None
        topics = bus.topics
        bus.subscribe(topics.org_all("channels", "event"), self._on_event)
        bus.subscribe(topics.org_all("channels", "state"), self._on_state, qos=0)
        bus.subscribe(topics.org_all("channels", "request"), self._on_request)
        presence.on_change(self._on_presence)
        lease.on_won(self._on_lease_won)
        lease.on_lost(self._disown_states)
        bus.on_lost(self._on_bus_lost)

    # --- definitions ----------------------------------------------------------------------------

    def define(self, definitions: Definitions) -> None:
        """Take what the registry says; floors that stay keep their talk, others are shut."""
        channels = {c.id: c for c in definitions.channels}
        # What goes away must still be unkeyed.
        self._channels = {**self._channels, **channels}
        self._directory.replace(definitions.units)
        patches = self._not_over(definitions)
        patched = {m.channel for p in patches for m in p.members}
        alone = {f"channel/{c.id}": c for c in definitions.channels if c.id not in patched}
        wanted = {p.id for p in patches} | alone.keys()
        for name in [n for n in self._machines if n not in wanted]:
            self._shut(self._machines.pop(name))
        for patch in patches:
            self._define(patch.id, patch.org, patch, rules_of(patch, channels))
        for name, channel in alone.items():
            self._define(name, channel.org, None, rules_alone(channel))
        self._channels = channels
        self._of_channel = {}
        for machine in self._machines.values():
            for channel_id in machine.floor.rules.members:
                self._of_channel.setdefault(channel_id, []).append(machine)
        for channel_id in self._channels:
            self._note_present(channel_id)

    def _not_over(self, definitions: Definitions) -> list[PatchDefinition]:
        """The patches whose `until` is still to come; looked at again when the next one is over,
        whether the database is there then or not."""
        if self._next_end is not None:
            self._next_end.cancel()
            self._next_end = None
        now = datetime.now(UTC)
        on = [p for p in definitions.patches if p.until is None or p.until > now]
        ends = [(p.until - now).total_seconds() for p in on if p.until is not None]
        if ends:
            in_s = min(*ends, LONGEST_LOOK_AHEAD_S)
            self._next_end = self._loop.call_later(in_s + 0.01, self.define, definitions)
        return on

    def _define(
        self, name: str, org: str, patch: PatchDefinition | None, rules: model.Rules
    ) -> None:
        machine = self._machines.get(name)
        if machine is None:
            tag = f"{self._bus.epoch[:6]}{uuid.uuid4().hex[:6]}"
            machine = _Machine(
                id=name, org=org, patch=patch, floor=model.Floor(tag=tag, rules=rules)
            )
            self._machines[name] = machine
            self._publish_patch(machine)
            return
        moved = machine.org != org and machine.patch is not None
        before = self._patch_topic(machine) if moved else None
        machine.org, machine.patch = org, patch
        if machine.floor.rules != rules:
            self._step(machine, model.RulesChanged(rules=rules))
        if before is not None:
            machine.shown = None
        self._publish_patch(machine)
        if before is not None:
            self._clear(before)

    def _shut(self, machine: _Machine) -> None:
        if machine.timer is not None:
            machine.timer.cancel()
        for effect in control.shut(machine.floor, "the patch ends"):
            self._carry_out(machine, effect)
        if machine.patch is not None:
            self._clear(self._patch_topic(machine))

    def _clear(self, topic: str) -> None:
        """Only who bridges writes, and clears, what a patch's state says."""
        if self._lease.held:
            self._bus.clear_state(topic)

    # --- what is heard --------------------------------------------------------------------------

    def _on_event(self, topic: str, payload: bytes) -> None:
        event = decode_event(payload)
        self.counters.events += 1
        node = self._writer_of(event)
        if node is None:
            self.counters.foreign += 1
            return
        if not self._writers.setdefault(event.source, Repeats()).passes(
            event.epoch, event.sequence
        ):
            self.counters.repeats += 1
            return
        parts = self._bus.topics.parse_org(topic)
        if parts is None or parts.id != event.subject:
            raise ValueError(f"subject {event.subject!r} is not the channel of its topic")
        self._presence.note_uptime(node, event.epoch, event.uptime_ms)
        happened = self._input_of(event)
        if happened is not None:
            for machine in list(self._of_channel.get(event.subject, ())):
                self._step(machine, happened)

    def _writer_of(self, event: CloudEvent) -> str | None:
        """The node that wrote it, None when it is not the one that speaks for the channel."""
        parts = event.source.split("/")
        if len(parts) != 3:
            raise ValueError(f"source {event.source!r} is not hutong/node/system")
        agent = self._agents.get(event.subject)
        if agent is None or agent.node == parts[1]:
            return parts[1]
        return None if self._presence.believes(agent.node, agent.epoch) else parts[1]

    def _input_of(self, event: CloudEvent) -> model.Input | None:
        data = event.data
        match event.type:
            case "floor.taken" | "floor.refreshed":
                return self._talk_heard(event)
            case "floor.idle":
                return model.TalkEnded(
                    channel=event.subject,
                    stream=str(data.get("stream") or ""),
                    reason=str(data.get("reason") or "released"),
                    caused_by=data.get("caused_by") or None,
                )
            case "command.result" if data.get("transmission"):
                return model.KeyAnswered(
                    channel=event.subject,
                    transmission=str(data["transmission"]),
                    # Our idea of its clock was old; with this answer it is fresh.
                    outcome="busy" if data.get("late") is True else str(data.get("outcome")),
                    reason=str(data.get("reason") or ""),
                )
            case _:
                return None

    def _talk_heard(self, event: CloudEvent) -> model.TalkHeard:
        data = event.data
        talker = str(data.get("talker") or "")
        hold_s, priority = data.get("hold_s"), data.get("priority")
        return model.TalkHeard(
            channel=event.subject,
            stream=str(data.get("stream") or ""),
            talker=talker,
            talker_alias=self._directory.alias(talker, str(data.get("talker_alias") or "")),
            priority=max(capped(priority), self._directory.priority(talker)),
            emergency=bool(data.get("emergency")),
            encrypted=bool(data.get("encrypted")),
            hold_s=min(float(hold_s), LONGEST_HOLD_S)
            if isinstance(hold_s, int | float) and hold_s > 0
            else 3.0,
            caused_by=data.get("caused_by") or None,
        )

    def _on_state(self, topic: str, payload: bytes) -> None:
        parts = self._bus.topics.parse_org(topic)
        if parts is None:
            return
        if not payload:
            agent = self._agents.get(parts.id)
            if agent is not None and agent.org == parts.org:  # not when it moved elsewhere
                del self._agents[parts.id]
                self._note_present(parts.id)
            return
        state = decode(payload)
        node, epoch = state.get("node"), state.get("epoch")
        if not isinstance(node, str) or not isinstance(epoch, str):
            raise ValueError("a channel state without node or epoch")
        health = str(state.get("health") or "unknown")
        self._agents[parts.id] = _Agent(org=parts.org, node=node, epoch=epoch, health=health)
        self._note_present(parts.id)

    def _on_presence(self, node: str) -> None:
        for channel_id, agent in self._agents.items():
            if agent.node == node:
                self._note_present(channel_id)

    def _note_present(self, channel_id: str) -> None:
        agent = self._agents.get(channel_id)
        present = (
            agent is not None
            and agent.health != "down"
            and self._presence.believes(agent.node, agent.epoch)
        )
        for machine in self._of_channel.get(channel_id, ()):
            if (channel_id in machine.floor.present) != present:
                self._step(machine, model.MemberPresent(channel=channel_id, present=present))
            else:
                self._publish_patch(machine)

    def _on_request(self, topic: str, payload: bytes) -> None:
        """A dispatcher's own press, refresh or release, or a clear, from the API."""
        parts = self._bus.topics.parse_org(topic)
        request = decode(payload)
        if parts is None:
            return
        happened = input_of(parts.id, request)
        machines = list(self._of_channel.get(parts.id, ()))
        for machine in machines:
            talks = f"user/{request['user']}" in machine.floor.talks
            # A refresh that comes after the release must not key anything again.
            if talks or request["action"] != "refresh":
                self._step(machine, happened)
        if machines:
            self._answer_request(machines, parts.id, request)

    def _answer_request(
        self, machines: list[_Machine], channel_id: str, request: dict[str, Any]
    ) -> None:
        """Tell the API where a press stands. A channel that talks into several patches gets the
        worst of their answers: nobody is to believe that they are heard where they are not."""
        user = str(request["user"])
        answer = worst(standing_of(machine.floor, user) for machine in machines)
        data = {"request": request.get("id"), **answer}
        self._publish_decision(channel_id, "request.result", data)

    # --- what follows ---------------------------------------------------------------------------

    def _step(self, machine: _Machine, happened: model.Input) -> None:
        before = machine.floor
        machine.floor, effects = control.step(before, happened, self._loop.time())
        if machine.floor.holder != before.holder:
            machine.since = datetime.now(UTC)
        # Keys go out before anything is told: this is the way from a press to the air.
        told = [effect for effect in effects if isinstance(effect, model.Decided)]
        for effect in effects:
            if not isinstance(effect, model.Decided):
                self._carry_out(machine, effect)
        self._reschedule(machine)
        self._loop.call_soon(self._tell_all, machine, told, machine.floor.transmission)

    def _tell_all(self, machine: _Machine, told: list[model.Decided], transmission: str) -> None:
        for decided in told:
            self._decided(machine, decided, transmission)
        if self._machines.get(machine.id) is machine:
            self._publish_patch(machine)

    def _reschedule(self, machine: _Machine) -> None:
        if machine.timer is not None:
            machine.timer.cancel()
            machine.timer = None
        at_s = control.deadline_s(machine.floor)
        if at_s != float("inf"):
            machine.timer = self._loop.call_at(at_s, self._step, machine, model.Tick())

    def _carry_out(self, machine: _Machine, effect: model.Effect) -> None:
        match effect:
            case model.Key():
                self._key(machine, effect)
            case model.Unkey():
                self._command(
                    machine,
                    effect.channel,
                    "floor.release",
                    transmission=effect.transmission,
                    reason=effect.reason,
                )

    def _key(self, machine: _Machine, key: model.Key) -> None:
        talk = key.talk
        target = self._channels[key.channel].system_id if key.channel in self._channels else ""
        self._command(
            machine,
            key.channel,
            "floor.request",
            transmission=key.transmission,
            lease_ms=int(machine.floor.rules.lease_s * 1000),
            talker=self._directory.on_system(talk.talker, target),
            talker_alias=talk.talker_alias or talk.talker,
            priority=talk.priority,
            caused_by=talk.stream,
        )

    def _decided(self, machine: _Machine, decided: model.Decided, transmission: str) -> None:
        talk = decided.talk
        data = {
            "stream": talk.stream,
            "talker": talk.talker,
            "talker_alias": talk.talker_alias,
            "priority": talk.priority,
            "emergency": talk.emergency,
            "late_entry": decided.late_entry,
            "position": decided.position,
            "transmission": transmission if decided.decision == "granted" else None,
            "patch": machine.patch.id if machine.patch else None,
            "reason": decided.reason,
        }
        channel_id = talk.channel or talk.pressed_on
        if channel_id is None:
            return
        self._publish_decision(channel_id, f"floor.{decided.decision}", data)
        if decided.decision != "granted" and talk.channel is not None:
            self._tell(machine, channel_id, decided)

    def _tell(self, machine: _Machine, channel_id: str, decided: model.Decided) -> None:
        """A text to who was refused, where their system can carry one."""
        member = machine.floor.rules.members.get(channel_id)
        if member is None or not member.can_tell:
            return
        who = decided.talk.talker_alias or decided.talk.talker
        words = {
            "denied": "未接通 not bridged",
            "queued": "排队中 queued",
            "revoked": "已中断 cut off",
        }
        text = f"{who}: {words[decided.decision]} ({decided.reason})"
        self._command(machine, channel_id, "text.send", text=text, caused_by=decided.talk.stream)

    def _command(self, machine: _Machine, channel_id: str, action: str, **fields: Any) -> None:
        channel, agent = self._channels.get(channel_id), self._agents.get(channel_id)
        if channel is None or agent is None or not self._lease.held:
            return
        clock_ms = self._presence.clock_ms(agent.node)
        if clock_ms is None:
            return
        command = {
            "id": uuid.uuid4().hex,
            "bridge_epoch": self._lease.bridge_epoch,
            "agent_epoch": agent.epoch,
            "not_after_ms": clock_ms + COMMAND_LIFE_MS,
            "action": action,
            "patch": machine.patch.id if machine.patch else None,
            **fields,
        }
        self.counters.commands += 1
        topic = self._bus.topics.org("channels", "command", channel.org, channel.id)
        self._bus.publish(topic, encode(command))

    def _publish_decision(self, channel_id: str, kind: str, data: dict[str, Any]) -> None:
        channel = self._channels.get(channel_id)
        if channel is None or not self._lease.held:
            return
        self._sequence += 1
        self.counters.decisions += 1
        event = CloudEvent(
            id=uuid.uuid4().hex,
            source=f"hutong/{self._bus.node}/bridge",
            type=kind,
            subject=channel_id,
            time=rfc3339(datetime.now(UTC)),
            epoch=self._bus.epoch,
            sequence=self._sequence,
            uptime_ms=self._bus.uptime_ms(),
            data=data,
        )
        topic = self._bus.topics.org("channels", "decision", channel.org, channel_id)
        self._bus.publish(topic, encode_event(event))

    def _patch_topic(self, machine: _Machine) -> str:
        return self._bus.topics.org("patches", "state", machine.org, machine.id)

    def _publish_patch(self, machine: _Machine) -> None:
        """Publish the patch's state when it says something new."""
        if machine.patch is None or not self._lease.held:
            return
        shown = {
            "bridge_epoch": self._lease.bridge_epoch,
            "since": rfc3339(machine.since) if machine.since else None,
            **_shown(machine.floor),
            "members": [
                self._member_shown(machine.floor, channel_id)
                for channel_id in machine.floor.rules.members
            ],
        }
        if shown != machine.shown:
            machine.shown = shown
            machine.sequence += 1
            payload = {**shown, "sequence": machine.sequence}
            self._bus.set_state(self._patch_topic(machine), payload)

    def _member_shown(self, floor: model.Floor, channel_id: str) -> dict[str, Any]:
        missed, agent = floor.missed.get(channel_id), self._agents.get(channel_id)
        return {
            "channel": channel_id,
            "keyed": channel_id in floor.keyed,
            "missed": missed.reason if missed else None,
            "suspended": False,
            "health": agent.health if agent and channel_id in floor.present else "unknown",
        }

    # --- presence of the bridge itself ----------------------------------------------------------

    def _on_lease_won(self) -> None:
        for machine in self._machines.values():
            self._publish_patch(machine)

    def _on_bus_lost(self) -> None:
        """What we keyed unkeys by itself; nothing that was heard is still true."""
        for machine in self._machines.values():
            if machine.timer is not None:
                machine.timer.cancel()
                machine.timer = None
            machine.floor = model.Floor(
                tag=machine.floor.tag, rules=machine.floor.rules, count=machine.floor.count
            )
        self._agents.clear()
        self._disown_states()

    def _disown_states(self) -> None:
        """Another bridge may write the patches' states now: none of ours is sent again."""
        for machine in self._machines.values():
            machine.shown = None
            if machine.patch is not None:
                self._bus.disown(self._patch_topic(machine))

    def floors(self) -> Iterable[model.Floor]:
        return (machine.floor for machine in self._machines.values())


def _shown(floor: model.Floor) -> dict[str, Any]:
    """What a patch state says of the floor itself."""
    talk = floor.talk
    return {
        "floor": "taken" if talk else "idle",
        "holder": {
            "channel": talk.channel,
            "talker": talk.talker,
            "talker_alias": talk.talker_alias,
        }
        if talk
        else None,
        "queue": [
            {"channel": t.channel, "talker": t.talker, "talker_alias": t.talker_alias}
            for t in (control.queue_of(floor) if floor.rules.queue else ())
        ],
        "emergency": bool(talk and talk.emergency),
    }
