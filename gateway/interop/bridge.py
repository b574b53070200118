"""The bridge: hears channel events, steps the floors, and publishes decisions and commands.

It is useless without the broker and useful without the database: what it needs of the registry
comes as `Definitions`. Only the node that holds the bridge lease lets effects out.
"""

import asyncio
import collections
import dataclasses
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

from gateway.bus.client import Bus
from gateway.bus.messages import (
    CloudEvent,
    Repeats,
    decode,
    rfc3339,
)
from gateway.bus.presence import Presence
from gateway.bus.topics import OrgTopic
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
from gateway.interop.hearing import heard, writer_of
from gateway.interop.lease import BridgeLease
from gateway.interop.machines import AgentOf, BridgeCounters, Machine
from gateway.interop.patch_test import LEASE_S, PatchTest, listening_s
from gateway.interop.presses import input_of, standing_of, worst
from gateway.interop.showing import (
    emergencies_in,
    floor_shown,
    look_alike,
    member_shown,
    suspended_in,
)
from gateway.interop.speaking import Speaker
from gateway.interop.telling import Teller
from gateway.interop.voice import VoiceRelay

log = structlog.get_logger("bridge")

LONGEST_LOOK_AHEAD_S = 3600.0
MOST_UNTOLD_EACH = 16
"""Of so many decisions that wait, one more is told in a turn of the loop."""


class _Untold(NamedTuple):
    """What a floor decided and nobody was told yet. transmission: the floor's own then."""

    machine: Machine
    told: list[model.Told]
    transmission: str


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
        self._machines: dict[str, Machine] = {}
        self._of_channel: dict[str, list[Machine]] = {}
        self._agents: dict[str, AgentOf] = {}
        self._writers: dict[str, Repeats] = {}
        self._speaker = Speaker(bus, presence, lease, self._agents, self.counters)
        self._teller = Teller(self._speaker)
        self.voice = VoiceRelay(
            bus, lease, self._speaker, lambda c: self._of_channel.get(c, ()), self._loop.time
        )
        self._ourselves: frozenset[str] = frozenset()
        self._untold: collections.deque[_Untold] = collections.deque()
        self._next_change: asyncio.TimerHandle | None = None
        self._others: dict[str, dict[str, Any]] = {}
        topics = bus.topics
        bus.subscribe_events("channels", "event", self._on_event)
        bus.subscribe(topics.org_all("channels", "state"), self._on_state, kept=True)
        bus.subscribe(topics.org_all("channels", "request"), self._on_request)
        shown = topics.org_all("patches", "state")
        bus.subscribe(shown, self._on_patch_state, later=True, kept=True)
        presence.on_change(self._on_presence)
        lease.on_won(self._on_lease_won)
        lease.on_lost(self._disown_states)
        lease.on_lost(self.voice.lost)
        bus.on_lost(self._on_bus_lost)

    # --- definitions ----------------------------------------------------------------------------

    def define(self, definitions: Definitions) -> None:
        """Take what the registry says; floors that stay keep their talk, others are shut."""
        channels = {c.id: c for c in definitions.channels}
        # What goes away must still be unkeyed.
        self._channels = self._speaker.channels = {**self._channels, **channels}
        self._directory.replace(definitions.units)
        patches = self._on_now(definitions)
        patched = {m.channel for p in patches for m in p.members}
        alone = {f"channel/{c.id}": c for c in definitions.channels if c.id not in patched}
        wanted: dict[str, tuple[str, PatchDefinition | None, model.Rules]] = {
            p.id: (p.org, p, rules_of(p, channels)) for p in patches
        }
        wanted |= {name: (c.org, None, rules_alone(c)) for name, c in alone.items()}
        emergencies = self._all_emergencies()
        for name in [n for n in self._machines if n not in wanted]:
            self._shut(self._machines.pop(name))
        for name, (_, _, rules) in wanted.items():
            self._let_go_of_leavers(name, rules)
        for name, (org, patch, rules) in wanted.items():
            self._define(name, org, patch, rules)
        self._channels = self._speaker.channels = channels
        self._ourselves = frozenset(c.ourselves for c in channels.values() if c.ourselves)
        self._of_channel = {}
        for machine in self._machines.values():
            for channel_id in machine.floor.rules.members:
                self._of_channel.setdefault(channel_id, []).append(machine)
        self.voice.define(self.floors())
        for channel_id in self._channels:
            self._note_present(channel_id)
        self._restore(emergencies)

    def _all_emergencies(self) -> list[model.EmergencyRaised]:
        return [
            model.EmergencyRaised(channel=e.channel, talker=e.talker, talker_alias=e.talker_alias)
            for machine in self._machines.values()
            for e in machine.floor.emergencies.values()
        ]

    def _restore(self, emergencies: Iterable[model.EmergencyRaised]) -> None:
        """A channel that is in another patch now takes its emergency with it."""
        for raised in emergencies:
            for machine in self._of_channel.get(raised.channel, ()):
                if (raised.channel, raised.talker) not in machine.floor.emergencies:
                    self._step(machine, raised)

    def _let_go_of_leavers(self, name: str, rules: model.Rules) -> None:
        """First every patch lets go of what leaves it, then others take it: never keyed twice."""
        machine = self._machines.get(name)
        if machine is None:
            return
        members = machine.floor.rules.members
        stay = {c: m for c, m in members.items() if c in rules.members}
        if len(stay) < len(members):
            if machine.test is not None:
                machine.test.stop("the patch changed")
            before = machine.floor.rules
            self._step(machine, model.RulesChanged(rules=dataclasses.replace(before, members=stay)))

    def _on_now(self, definitions: Definitions) -> list[PatchDefinition]:
        """The patches that are on by their `until` and schedule; looked at again when the next one
        goes on or off, whether the database is there then or not."""
        if self._next_change is not None:
            self._next_change.cancel()
            self._next_change = None
        now = datetime.now(UTC)
        found = [p.next_change(now) for p in definitions.patches]
        changes = [(at - now).total_seconds() for at in found if at is not None]
        if changes:
            in_s = min(*changes, LONGEST_LOOK_AHEAD_S)
            self._next_change = self._loop.call_later(in_s + 0.01, self.define, definitions)
        return [p for p in definitions.patches if p.is_on(now)]

    def _define(
        self, name: str, org: str, patch: PatchDefinition | None, rules: model.Rules
    ) -> None:
        machine = self._machines.get(name)
        if machine is None:
            tag = f"{self._bus.epoch[:6]}{uuid.uuid4().hex[:6]}"
            machine = Machine(
                id=name, org=org, patch=patch, floor=model.Floor(tag=tag, rules=rules)
            )
            self._machines[name] = machine
            self._recall(machine)
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

    def _shut(self, machine: Machine) -> None:
        if machine.timer is not None:
            machine.timer.cancel()
        if machine.test is not None:
            machine.test.stop("the patch ends")
        self.voice.forget(machine)
        told = self._carry_out(machine, control.shut(machine.floor, "the patch ends"))
        if told:
            self._tell_later(machine, told)
        if machine.patch is not None:
            self._clear(self._patch_topic(machine))

    def _clear(self, topic: str) -> None:
        """Only who bridges writes, and clears, what a patch's state says."""
        if self._lease.held:
            self._bus.clear_state(topic)

    # --- what is heard --------------------------------------------------------------------------

    def _on_event(self, parts: OrgTopic, event: CloudEvent) -> None:
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
        if parts.id != event.subject:
            raise ValueError(f"subject {event.subject!r} is not the channel of its topic")
        self._presence.note_uptime(node, event.epoch, event.uptime_ms)
        if event.data.get("talker") in self._ourselves and not event.data.get("caused_by"):
            self.counters.echoes += 1
            return
        happened = heard(event, self._directory)
        if happened is None:
            return
        for machine in list(self._of_channel.get(event.subject, ())):
            if machine.test is None or not self._is_of_test(machine.test, event, happened):
                self._step(machine, happened)

    def _is_of_test(self, test: PatchTest, event: CloudEvent, happened: model.Input) -> bool:
        """A registered unit, or an emergency, is a real talk: the test gives way."""
        if not isinstance(happened, model.TalkHeard) or happened.caused_by is not None:
            return test.hears(event)
        if happened.unit or happened.emergency:
            test.stop("somebody talks")
            return False
        return test.hears(event)

    def _writer_of(self, event: CloudEvent) -> str | None:
        """The node that wrote it, None when it is not the one that speaks for the channel, or
        when it wrote it in an earlier life."""
        node, agent = writer_of(event), self._agents.get(event.subject)
        if self._presence.epoch(node) not in (None, event.epoch):
            return None
        if agent is None or agent.node == node:
            return node
        return None if self._presence.believes(agent.node, agent.epoch) else node

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
        known, sequence = self._agents.get(parts.id), state.get("sequence")
        sequence = sequence if isinstance(sequence, int) else 0
        if known is not None and known.epoch == epoch and sequence < known.sequence:
            return  # what is kept may be told after what happened since
        health = str(state.get("health") or "unknown")
        self._agents[parts.id] = AgentOf(
            org=parts.org, node=node, epoch=epoch, health=health, sequence=sequence
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
        if parts is None:
            return
        machines = list(self._of_channel.get(parts.id, ()))
        if "patch" in request:
            machines = [each for each in machines if each.id == request["patch"]]
            if not machines:
                self._answer(parts.id, request, {"state": "off"})
                return
        if request.get("action") == "test":
            self._begin_test(machines, parts.id, request)
            return
        happened = input_of(parts.id, request)
        cleared = self._cleared_by(happened, machines)
        for machine in machines:
            talks = f"user/{request['user']}" in machine.floor.talks
            # A refresh that comes after the release must not key anything again.
            if talks or request["action"] != "refresh":
                self._step(machine, happened)
        if isinstance(happened, model.EmergencyCleared) and machines:
            self._command(machines[0], parts.id, "emergency.clear", by=request["user"])
        if machines:
            self._answer_request(machines, parts.id, request, cleared)

    def _cleared_by(self, happened: model.Input, machines: list[Machine]) -> list[dict[str, Any]]:
        """Whose talk or emergency a dispatcher is about to end."""
        match happened:
            case model.Cleared():
                talks = [machine.floor.talk for machine in machines]
                return [{"channel": t.channel, "talker": t.talker} for t in talks if t]
            case model.EmergencyCleared():
                found = {k for m in machines for k in m.floor.emergencies}
                return [
                    {"channel": channel, "talker": talker}
                    for channel, talker in sorted(found)
                    if channel == happened.channel
                ]
            case _:
                return []

    def _begin_test(
        self, machines: list[Machine], channel_id: str, request: dict[str, Any]
    ) -> None:
        if not machines or not self._lease.held:
            return
        (machine,) = machines[:1]
        floor = machine.floor
        if floor.talks or machine.test is not None:
            self._answer(channel_id, request, {"state": "busy"})
            return

        def done(found: list[dict[str, Any]]) -> None:
            machine.test = None
            self._answer(channel_id, request, {"state": "done", "members": found})

        members = [c for c in floor.rules.members if floor.rules.keyable(c) and c in floor.present]
        machine.test = PatchTest(
            members,
            uuid.uuid4().hex[:8],
            listen_s=listening_s(each.echo_s for each in floor.rules.members.values()),
            key=lambda channel, transmission: self._command(
                machine,
                channel,
                "floor.request",
                transmission=transmission,
                lease_ms=int(LEASE_S * 1000),
                talker="",
                talker_alias=str(request.get("alias") or ""),
                priority=0,
                caused_by="test",
            ),
            unkey=lambda channel, transmission: self._command(
                machine, channel, "floor.release", transmission=transmission, reason="test"
            ),
            done=done,
        )
        machine.test.begin()

    def _on_patch_state(self, topic: str, payload: bytes) -> None:
        """What the bridge before us, or beside us, knows and we may have missed."""
        parts = self._bus.topics.parse_org(topic)
        if parts is None or self._lease.held:
            return
        if not payload:
            self._others.pop(parts.id, None)
            return
        self._others[parts.id] = decode(payload)
        if (machine := self._machines.get(parts.id)) is not None:
            self._recall(machine)

    def _recall(self, machine: Machine) -> None:
        """What another bridge said last of this patch: a suspended member stays suspended."""
        state = self._others.get(machine.id)
        if state is None:
            return
        floor = machine.floor
        suspended = suspended_in(state) & floor.rules.members.keys()
        machine.floor = dataclasses.replace(floor, suspended=suspended)
        for raised in emergencies_in(state):
            if (raised.channel, raised.talker) not in machine.floor.emergencies:
                self._step(machine, raised)

    def _answer_request(
        self,
        machines: list[Machine],
        channel_id: str,
        request: dict[str, Any],
        cleared: list[dict[str, Any]],
    ) -> None:
        """Tell the API where a press stands. A channel that talks into several patches gets the
        worst of their answers: nobody is to believe that they are heard where they are not."""
        user = str(request["user"])
        standing = worst(standing_of(machine.floor, user) for machine in machines)
        self._answer(channel_id, request, {**standing, "cleared": cleared})

    def _answer(self, channel_id: str, request: dict[str, Any], answer: Mapping[str, Any]) -> None:
        data = {"request": request.get("id"), **answer}
        self._speaker.decision(channel_id, "request.result", data)

    # --- what follows ---------------------------------------------------------------------------

    def _step(self, machine: Machine, happened: model.Input) -> None:
        before = machine.floor
        if machine.test is not None and isinstance(happened, model.Pressed):
            machine.test.stop("a dispatcher talks")
        machine.floor, effects = control.step(before, happened, self._loop.time())
        if machine.floor.holder != before.holder:
            machine.since = datetime.now(UTC)
        told = self._carry_out(machine, effects)
        self.voice.stepped(machine)
        self._reschedule(machine)
        if told or not look_alike(before, machine.floor):
            self._tell_later(machine, told)

    def _tell_later(self, machine: Machine, told: list[model.Told]) -> None:
        if not self._untold:
            self._loop.call_soon(self._tell_next)
        self._untold.append(_Untold(machine, told, machine.floor.transmission))

    def _tell_next(self) -> None:
        """A few at a time, so that what comes in meanwhile is heard, and keyed for, in between;
        more where more waits, or it would wait ever longer."""
        now = min(1 + len(self._untold) // MOST_UNTOLD_EACH, len(self._untold))
        try:
            for _ in range(now):
                machine, told, transmission = self._untold.popleft()
                self._teller.tell(machine, told, transmission)
                if self._machines.get(machine.id) is machine:
                    self._publish_patch(machine)
        finally:
            if self._untold:
                self._loop.call_soon(self._tell_next)

    def _reschedule(self, machine: Machine) -> None:
        """A timer that comes too early looks again: most steps only put the time off."""
        at_s = control.deadline_s(machine.floor)
        timer = machine.timer
        if timer is not None:
            if timer.when() <= at_s:
                return
            timer.cancel()
            machine.timer = None
        if at_s != float("inf"):
            machine.timer = self._loop.call_at(at_s, self._ran_out, machine)

    def _ran_out(self, machine: Machine) -> None:
        machine.timer = None
        if self._loop.time() >= control.deadline_s(machine.floor):
            self._step(machine, model.Tick())
        else:
            self._reschedule(machine)

    def _carry_out(self, machine: Machine, effects: Iterable[model.Effect]) -> list[model.Told]:
        """Key and unkey. Gives what is to be told, later: this is the way from a press to the
        air."""
        told: list[model.Told] = []
        for effect in effects:
            match effect:
                case model.Key():
                    self._key(machine, effect)
                case model.Unkey():
                    self._unkey(machine, effect)
                case _:
                    told.append(effect)
        return told

    def _unkey(self, machine: Machine, unkey: model.Unkey) -> None:
        self._command(
            machine,
            unkey.channel,
            "floor.release",
            transmission=unkey.transmission,
            reason=unkey.reason,
            drain=unkey.reason == "released",
        )

    def _key(self, machine: Machine, key: model.Key) -> None:
        talk = key.talk
        target = self._channels[key.channel].system_id if key.channel in self._channels else ""
        self._command(
            machine,
            key.channel,
            "floor.request",
            transmission=key.transmission,
            lease_ms=int(machine.floor.rules.lease_of(key.channel) * 1000),
            talker=self._directory.on_system(talk.talker, target),
            talker_alias=talk.talker_alias or talk.talker,
            priority=talk.priority,
            caused_by=talk.stream,
        )
        self.voice.keyed(machine, key)

    def _command(self, machine: Machine, channel_id: str, action: str, **fields: Any) -> None:
        self._speaker.command(machine.patch_id, channel_id, action, **fields)

    def _patch_topic(self, machine: Machine) -> str:
        return self._bus.topics.org("patches", "state", machine.org, machine.id)

    def _publish_patch(self, machine: Machine) -> None:
        """Publish the patch's state when it says something new."""
        if machine.patch is None or not self._lease.held:
            return
        shown = {
            "bridge_epoch": self._lease.bridge_epoch,
            "since": rfc3339(machine.since) if machine.since else None,
            **floor_shown(machine.floor),
            "members": [
                member_shown(machine.floor, channel_id, self._health(channel_id), voice)
                for channel_id, voice in machine.voices().items()
            ],
        }
        if shown != machine.shown:
            machine.shown = shown
            machine.sequence += 1
            payload = {**shown, "sequence": machine.sequence}
            self._bus.set_state(self._patch_topic(machine), payload)

    def _health(self, channel_id: str) -> str | None:
        agent = self._agents.get(channel_id)
        return agent.health if agent is not None else None

    # --- presence of the bridge itself ----------------------------------------------------------

    def _on_lease_won(self) -> None:
        self._others.clear()  # from here on it is we who say
        for machine in self._machines.values():
            self._publish_patch(machine)

    def _on_bus_lost(self) -> None:
        """What we keyed unkeys by itself; nothing that was heard is still true. What was decided
        of a stream, or of a talker, is."""
        self.voice.lost()
        for machine in self._machines.values():
            if machine.timer is not None:
                machine.timer.cancel()
                machine.timer = None
            if machine.test is not None:
                machine.test.stop("the broker is gone")
            machine.floor = model.Floor(
                tag=machine.floor.tag,
                rules=machine.floor.rules,
                count=machine.floor.count,
                suspended=machine.floor.suspended,
                emergencies=machine.floor.emergencies,
                barred=machine.floor.barred,
                quieted=machine.floor.quieted,
                offences=machine.floor.offences,
            )
        self._agents.clear()
        self._disown_states()

    def _disown_states(self) -> None:
        """Another bridge may write the patches' states now: none of ours is sent again."""
        for machine in self._machines.values():
            machine.shown = None
            if machine.patch is not None:
                self._bus.disown(self._patch_topic(machine))

    def gaps(self) -> int:
        """How many events of agents never came."""
        return sum(writer.gaps for writer in self._writers.values())

    def floors(self) -> Iterable[model.Floor]:
        return (machine.floor for machine in self._machines.values())
