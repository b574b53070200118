"""What the API knows of the bus: the present of channels, patches and points, and what just
happened, for lists and for server-sent events.

The present is the retained state, believed only while its writer is here. What happened is kept
for a while so that a browser that reconnects misses nothing; the journal is the long memory.
"""

import asyncio
import collections
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, cloud_event_object, decode
from gateway.bus.presence import Presence
from gateway.bus.topics import OrgTopic
from gateway.interop.directory import Directory
from registry.identity import now

HISTORY = 2000
LISTENER_QUEUE = 1000

_NO_STATE: dict[str, Any] = {
    "floor": "idle",
    "talker": "",
    "talker_alias": "",
    "since": None,
    "emergency": False,
    "health": "unknown",
    "health_reason": "",
    "transmission": None,
    "measured": {},
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """kind: ``event``, ``channel``, ``patch`` or ``point``. family: ``channels``, ``patches``,
    ``points`` or ``systems``. org: slug path it belongs to. number: its place in this feed, from
    1. heard_at: when it came, by the clock of this node."""

    number: int
    kind: str
    family: str
    org: str
    id: str
    heard_at: datetime
    payload: Mapping[str, Any]


Sees = Callable[[Item], bool]
"""Whether a listener may have an item, asked when it comes."""


@dataclasses.dataclass(slots=True, eq=False)
class _Listener:
    queue: "asyncio.Queue[Item]"
    sees: Sees
    dropped: int = 0


class Feed:
    """Subscribes on the bus of a node that serves the API."""

    def __init__(self, bus: Bus, presence: Presence, directory: Directory) -> None:
        self.epoch = uuid.uuid4().hex[:8]
        self.dropped = 0
        self._presence = presence
        self._directory = directory
        self._topics = bus.topics
        self._number = 0
        self._history: collections.deque[Item] = collections.deque(maxlen=HISTORY)
        self._states: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
        self._told: dict[tuple[str, str], tuple[str, Mapping[str, Any] | None]] = {}
        self._listeners: set[_Listener] = set()
        self._answers: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        for family, kind in (
            ("channels", "event"),
            ("channels", "decision"),
            ("points", "event"),
            ("systems", "event"),
        ):
            bus.subscribe_events(family, kind, self._on_event, later=True)
        for family in ("channels", "patches", "points"):
            bus.subscribe(
                bus.topics.org_all(family, "state"), self._on_state, later=True, kept=True
            )
        presence.on_change(self._on_presence)

    # --- the present ----------------------------------------------------------------------------

    def channel_state(self, channel_id: str) -> dict[str, Any]:
        """`state` of a channel as in the contract."""
        return self._shown("channels", channel_id)

    def patch_state(self, patch_id: str) -> dict[str, Any] | None:
        """The patch's state as on the bus, None while no bridge speaks for it."""
        _, state = self._states.get(("patches", patch_id), ("", None))
        if state is None or not self._bridge_is_here(state):
            return None
        return dict(state)

    def _shown(self, family: str, object_id: str) -> dict[str, Any]:
        _, state = self._states.get((family, object_id), ("", None))
        if state is None or not self._believed(state):
            return dict(_NO_STATE)
        shown = {key: state.get(key, _NO_STATE[key]) for key in _NO_STATE}
        return self._named(shown)

    def _named(self, said: dict[str, Any]) -> dict[str, Any]:
        """With the talker's alias as our own directory has it."""
        talker, alias = str(said.get("talker") or ""), str(said.get("talker_alias") or "")
        return {**said, "talker_alias": self._directory.alias(talker, alias)}

    def _believed(self, state: Mapping[str, Any]) -> bool:
        return self._presence.believes(str(state.get("node")), str(state.get("epoch")))

    def _bridge_is_here(self, state: Mapping[str, Any]) -> bool:
        return any(
            "bridge" in status.get("roles", ())
            and status.get("bridge_epoch") == state.get("bridge_epoch")
            for status in self._presence.nodes().values()
        )

    # --- what happens ---------------------------------------------------------------------------

    async def listen(self, sees: Sees, after: int | None = None) -> AsyncGenerator[Item, None]:
        """Items that `sees` admits, from number `after` on where remembered.

        A listener that does not keep up loses the oldest, counted in `dropped`.
        """
        listener = _Listener(queue=asyncio.Queue(LISTENER_QUEUE), sees=sees)
        for item in self.recent(sees, after) if after is not None else ():
            self._offer(listener, item)
        self._listeners.add(listener)
        try:
            while True:
                yield await listener.queue.get()
        finally:
            self._listeners.discard(listener)

    def recent(self, sees: Sees, after: int | None = None) -> list[Item]:
        """Remembered events, oldest first."""
        return [i for i in self._history if i.number > (after or 0) and sees(i)]

    @contextlib.contextmanager
    def expecting(self, request_id: str) -> Iterator[asyncio.Future[Mapping[str, Any]]]:
        """The bridge's answer to a request of ours, which is sent inside: it may come at once."""
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = answer
        try:
            yield answer
        finally:
            del self._answers[request_id]

    def _on_event(self, parts: OrgTopic, event: CloudEvent) -> None:
        request = event.data.get("request")
        if isinstance(request, str):
            waiting = self._answers.get(request)
            if waiting is not None and not waiting.done():
                waiting.set_result(event.data)
            return
        if event.type in ("command.result", "floor.refreshed"):
            return
        event = dataclasses.replace(event, data=self._directory.named(event.data))
        item = self._item(
            "event", parts.family, parts.org, event.subject, cloud_event_object(event)
        )
        self._history.append(item)
        self._send(item)

    def _on_state(self, topic: str, payload: bytes) -> None:
        parts = self._topics.parse_org(topic)
        if parts is None:
            return
        key = (parts.family, parts.id)
        known = self._states.get(key)
        if not payload:
            if known is not None and known[0] == parts.org:  # not when it moved elsewhere
                del self._states[key]
                self._told.pop(key, None)
            return
        state = decode(payload)
        if known is not None and known[0] == parts.org and _is_older(state, known[1]):
            return  # what is kept may be told after what happened since
        self._states[key] = (parts.org, state)
        self._tell_state(parts.family, parts.id)

    def _tell_state(self, family: str, object_id: str) -> None:
        """Send what is believed of it now, unless that was said already."""
        org, state = self._states[(family, object_id)]
        kind: str
        shown: dict[str, Any]
        match family:
            case "channels":
                kind, shown = "channel", {"state": self.channel_state(object_id)}
            case "patches":
                kind, shown = "patch", {"state": self.patch_state(object_id)}
            case _:
                kind, shown = "point", self._point_shown(state)
        if self._told.get((family, object_id)) != (org, shown):
            self._told[(family, object_id)] = (org, shown)
            self._send(self._item(kind, family, org, object_id, {"id": object_id, **shown}))

    def _point_shown(self, state: Mapping[str, Any]) -> dict[str, Any]:
        if self._believed(state):
            return {key: state.get(key) for key in ("status", "since", "reason")}
        return {"status": "unknown", "since": None, "reason": "its agent is away"}

    def _on_presence(self, node: str) -> None:
        """Whatever a node wrote is believed, or no longer: say so."""
        for (family, object_id), (_, state) in list(self._states.items()):
            if family == "patches" or state.get("node") == node:
                self._tell_state(family, object_id)

    def _item(
        self, kind: str, family: str, org: str, object_id: str, payload: Mapping[str, Any]
    ) -> Item:
        self._number += 1
        return Item(
            number=self._number,
            kind=kind,
            family=family,
            org=org,
            id=object_id,
            heard_at=now(),
            payload=payload,
        )

    def _send(self, item: Item) -> None:
        for listener in self._listeners:
            if listener.sees(item):
                self._offer(listener, item)

    def _offer(self, listener: _Listener, item: Item) -> None:
        if listener.queue.full():
            listener.queue.get_nowait()
            listener.dropped += 1
            self.dropped += 1
        listener.queue.put_nowait(item)


def _is_older(state: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """By its writer's own count."""
    lives = ("epoch", "bridge_epoch")
    count, before = state.get("sequence"), known.get("sequence")
    if any(state.get(life) != known.get(life) for life in lives):
        return False
    return isinstance(count, int) and isinstance(before, int) and count < before
