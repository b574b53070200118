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

log = structlog.get_logger("bridge")

COMMAND_LIFE_MS = 1000
"""A command is worth nothing when it is older than this, on the agent's own clock."""


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
    """Who speaks for a channel, as its retained state says."""

    node: str
    epoch: str
    health: str


@dataclasses.dataclass(slots=True)
class BridgeCounters:
    events: int = 0
    repeats: int = 0
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
        topics = bus.topics
        bus.subscribe(topics.org_all("channels", "event"), self._on_event)
        bus.subscribe(topics.org_all("channels", "state"), self._on_state, qos=0)
        bus.subscribe(topics.org_all("channels", "request"), self._on_request)
        presence.on_change(self._on_presence)
        lease.on_won(self._on_lease_won)
        bus.on_lost(self._on_bus_lost)

    # --- definitions ----------------------------------------------------------------------------

    def define(self, definitions: Definitions) -> None:
        """Take what the registry says; floors that stay keep their talk, others are shut."""
        self._channels = {c.id: c for c in definitions.channels}
        self._directory.replace(definitions.units)
        wanted = {p.id: p for p in definitions.patches}
        patched = {m.channel for p in definitions.patches for m in p.members}
        alone = {f"channel/{c.id}": c for c in definitions.channels if c.id not in patched}
        for name in [n for n in self._machines if n not in wanted and n not in alone]:
            self._shut(self._machines.pop(name))
        for patch in definitions.patches:
            self._define(patch.id, patch.org, patch, rules_of(patch, self._channels))
        for name, channel in alone.items():
            self._define(name, channel.org, None, rules_alone(channel))
        self._of_channel = {}
        for machine in self._machines.values():
            for channel_id in machine.floor.rules.members:
                self._of_channel.setdefault(channel_id, []).append(machine)
        for channel_id in self._channels:
            self._note_present(channel_id)

    def _define(self, name: str, org: str, patch: PatchDefinition | None, rules: Any) -> None:
        machine = self._machines.get(name)
        if machine is None:
            tag = f"{self._bus.epoch[:6]}{uuid.uuid4().hex[:6]}"
            machine = _Machine(
                id=name, org=org, patch=patch, floor=model.Floor(tag=tag, rules=rules)
            )
            self._machines[name] = machine
            self._publish_patch(machine)
            return
        if machine.org != org and machine.patch is not None:
            self._bus.clear_state(self._patch_topic(machine))
        machine.org, machine.patch = org, patch
        if machine.floor.rules != rules:
            self._step(machine, model.RulesChanged(rules=rules))
        self._publish_patch(machine)

    def _shut(self, machine: _Machine) -> None:
        if machine.timer is not None:
            machine.timer.cancel()
        for effect in control.shut(machine.floor, "the patch ends"):
            self._carry_out(machine, effect)
        if machine.patch is not None:
            self._bus.clear_state(self._patch_topic(machine))

    # --- what is heard --------------------------------------------------------------------------

    def _on_event(self, topic: str, payload: bytes) -> None:
        event = decode_event(payload)
        self.counters.events += 1
        if not self._writers.setdefault(event.source, Repeats()).passes(
            event.epoch, event.sequence
        ):
            self.counters.repeats += 1
            return
        parts = self._bus.topics.parse_org(topic)
        if parts is None or parts.id != event.subject:
            raise ValueError(f"subject {event.subject!r} is not the channel of its topic")
        self._presence.note_uptime(event.source.split("/")[1], event.epoch, event.uptime_ms)
        happened = self._input_of(event)
        if happened is not None:
            for machine in list(self._of_channel.get(event.subject, ())):
                self._step(machine, happened)

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
                    outcome=str(data.get("outcome")),
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
            priority=max(
                priority if isinstance(priority, int) else 0, self._directory.priority(talker)
            ),
            emergency=bool(data.get("emergency")),
            encrypted=bool(data.get("encrypted")),
            hold_s=float(hold_s) if isinstance(hold_s, int | float) and hold_s > 0 else 3.0,
            caused_by=data.get("caused_by") or None,
        )

    def _on_state(self, topic: str, payload: bytes) -> None:
        parts = self._bus.topics.parse_org(topic)
        if parts is None:
            return
        if not payload:
            self._agents.pop(parts.id, None)
            self._note_present(parts.id)
            return
        state = decode(payload)
        node, epoch = state.get("node"), state.get("epoch")
        if not isinstance(node, str) or not isinstance(epoch, str):
            raise ValueError("a channel state without node or epoch")
        self._agents[parts.id] = _Agent(
            node=node, epoch=epoch, health=str(state.get("health") or "unknown")
        )
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
        user, action = request.get("user"), request.get("action")
        if parts is None or not isinstance(user, str) or not isinstance(action, str):
            raise ValueError("a request without user or action")
        priority = request.get("priority")
        for machine in list(self._of_channel.get(parts.id, ())):
            match action:
                case "press" | "refresh":
                    happened: model.Input = model.Pressed(
                        user=user,
                        alias=str(request.get("alias") or user),
                        priority=priority if isinstance(priority, int) else 0,
                    )
                case "release":
                    happened = model.Released(user=user)
                case "clear":
                    happened = model.Cleared(user=user)
                case _:
                    raise ValueError(f"unknown action {action!r}")
            self._step(machine, happened)
            self._answer_request(machine, parts.id, request)

    def _answer_request(self, machine: _Machine, channel_id: str, request: dict[str, Any]) -> None:
        """Tell the API where the press stands: granted, queued, denied or released."""
        talk = machine.floor.talks.get(f"user/{request['user']}")
        if talk is None:
            standing, position = "released", 0
        elif talk.standing is model.Standing.HOLDER:
            standing, position = "granted", 0
        elif talk.standing is model.Standing.BARRED:
            standing, position = "denied", 0
        else:
            waiting = control.queue_of(machine.floor)
            position = next(n for n, t in enumerate(waiting, start=1) if t.talker == talk.talker)
            standing = "queued"
        holder = machine.floor.talk
        reason = "" if holder is None or holder is talk else holder.talker_alias or holder.talker
        data = {
            "request": request.get("id"),
            "state": standing,
            "position": position,
            "transmission": machine.floor.transmission if standing == "granted" else None,
            "reason": reason,
        }
        decision = "denied" if standing == "denied" else standing
        kind = "floor.granted" if decision == "granted" else f"floor.{decision}"
        self._publish_decision(channel_id, kind, data)

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
            case model.Decided():
                self._decided(machine, effect, machine.floor.transmission)

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
        channels = [talk.channel] if talk.channel else list(machine.floor.rules.members)[:1]
        for channel_id in channels:
            self._publish_decision(channel_id, f"floor.{decided.decision}", data)
            if decided.decision != "granted" and talk.channel is not None:
                self._tell(machine, channel_id, decided)

    def _tell(self, machine: _Machine, channel_id: str, decided: model.Decided) -> None:
        """A text to who was refused, where their system can carry one."""
        if not machine.floor.rules.members[channel_id].can_tell:
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
