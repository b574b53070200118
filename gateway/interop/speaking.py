"""What the bridge puts on the bus: commands to agents, decisions for everybody.

Only the holder of the lease speaks; whoever else steps the same floors does so in silence.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, encode, encode_event, rfc3339
from gateway.bus.presence import Presence
from gateway.interop.definitions import ChannelDefinition
from gateway.interop.lease import BridgeLease
from gateway.interop.machines import AgentOf, BridgeCounters

COMMAND_LIFE_MS = 1000
"""A command is worth nothing when it is older than this, on the agent's own clock."""


class Speaker:
    """agents: who speaks for each channel, as the bridge keeps it."""

    def __init__(
        self,
        bus: Bus,
        presence: Presence,
        lease: BridgeLease,
        agents: Mapping[str, AgentOf],
        counters: BridgeCounters,
    ) -> None:
        self.channels: dict[str, ChannelDefinition] = {}
        self._bus, self._presence, self._lease = bus, presence, lease
        self._agents, self._counters = agents, counters
        self._sequence = 0

    def clock_ms(self, channel_id: str) -> int | None:
        """What the clock of the agent that speaks for a channel shows, at the earliest."""
        agent = self._agents.get(channel_id)
        return self._presence.clock_ms(agent.node) if agent is not None else None

    def command(self, patch: str | None, channel_id: str, action: str, **fields: Any) -> None:
        """To the agent that speaks for a channel, if there is one whose clock we know; past what is
        said to everybody, which a broker stores message by message."""
        channel, agent = self.channels.get(channel_id), self._agents.get(channel_id)
        if channel is None or agent is None or not self._lease.held:
            return
        clock_ms = self.clock_ms(channel_id)
        if clock_ms is None:
            return
        command = {
            "id": uuid.uuid4().hex,
            "bridge_epoch": self._lease.bridge_epoch,
            "agent_epoch": agent.epoch,
            "not_after_ms": clock_ms + COMMAND_LIFE_MS,
            "action": action,
            "patch": patch,
            **fields,
        }
        self._counters.commands += 1
        topic = self._bus.topics.org("channels", "command", channel.org, channel.id)
        self._bus.publish(topic, encode(command), apart=True)

    def decision(self, channel_id: str, kind: str, data: dict[str, Any]) -> None:
        """kind: the event's type, without ``hutong.``."""
        channel = self.channels.get(channel_id)
        if channel is None or not self._lease.held:
            return
        self._sequence += 1
        self._counters.decisions += 1
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
