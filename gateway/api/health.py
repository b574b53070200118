"""Is it alive, is it ready, and its counters; without prefix and without sign-in."""

import dataclasses
from collections.abc import Iterable, Mapping

from fastapi import APIRouter, Request, Response

from gateway.agents.voice import AgentVoiceCounters
from gateway.api.context import CurrentContext
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import answer
from gateway.vision import Fault
from registry.errors import DatabaseAway

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers."""
    return answer({"state": "ok"})


@router.get("/readyz")
async def readyz(context: CurrentContext, services: CurrentServices) -> Response:
    """200 when database and broker are there; else 503 saying which is away."""
    parts = {"database": "ok", "broker": "ok"}
    try:
        await context.database.ping()
    except DatabaseAway as error:
        parts["database"] = error.outward
    if not services.bus.connected.is_set():
        parts["broker"] = services.bus.last_error or "not connected yet"
    ready = all(state == "ok" for state in parts.values())
    state = "ready" if ready else "not ready"
    headers = {} if ready else {"Retry-After": "2"}
    return answer({"state": state, **parts}, status=200 if ready else 503, headers=headers)


@router.get("/metrics")
async def metrics(request: Request, services: CurrentServices) -> Response:
    """Counters in Prometheus' text format."""
    lines = [line for name, value in _figures(services) for line in _lines(name, value)]
    lines += _found_lines(services)
    lines += _system_lines(services)
    lines += request.app.state.traffic.lines()
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _figures(services: Services) -> Iterable[tuple[str, float]]:
    bus, live = services.bus.counters, services.live.counters
    for field in bus.__dataclass_fields__:
        yield f"hutong_bus_{field}_total", getattr(bus, field)
    yield "hutong_bus_connected", float(services.bus.connected.is_set())
    for field in live.__dataclass_fields__:
        value = getattr(live, field)
        if isinstance(value, int | float):
            yield f"hutong_live_{field}_total", value
    yield "hutong_live_viewers", services.live.viewers
    yield "hutong_live_upstreams", len(services.live.readers())
    yield "hutong_feed_dropped_total", services.feed.dropped
    yield from _interop_figures(services)
    yield from _voice_figures(services)
    yield from _outbox_figures(services)
    yield from _fleet_figures(services)
    yield from _diagnosis_figures(services)
    yield from _media_server_figures(services)
    yield from _privacy_figures(services)


def _interop_figures(services: Services) -> Iterable[tuple[str, float]]:
    """Of the bridge and the journal, where this node has them."""
    if (bridge := services.bridge) is not None:
        for name, value in dataclasses.asdict(bridge.counters).items():
            yield f"hutong_bridge_{name}_total", value
        yield "hutong_bridge_gaps_total", bridge.gaps()
    if (journal := services.journal) is not None:
        for name, value in dataclasses.asdict(journal.counters).items():
            yield f"hutong_journal_{name}_total", value
        yield "hutong_journal_waiting", journal.waiting
        yield "hutong_journal_behind_seconds", journal.behind_s()


def _voice_figures(services: Services) -> Iterable[tuple[str, float]]:
    """Frames of voice, and where they were dropped: connections, bridge, agents on this node."""
    for role, counters in services.bus.voice_counters().items():
        for name, value in dataclasses.asdict(counters).items():
            yield f"hutong_voice_line_{role}_{name}_total", value
    if (bridge := services.bridge) is not None:
        for name, value in dataclasses.asdict(bridge.voice.counters).items():
            yield f"hutong_voice_bridge_{name}_total", value
    found = [agent.voice.counters for agent in services.systems.values()]
    for field in dataclasses.fields(AgentVoiceCounters):
        total = sum(getattr(each, field.name) for each in found)
        yield f"hutong_voice_agents_{field.name}_total", total


def _outbox_figures(services: Services) -> Iterable[tuple[str, float]]:
    """Of the radio agents on this node: what they say until the journal has stored it."""
    found = [agent.outbox for agent in services.systems.values() if agent.outbox is not None]
    for name in ("kept", "released", "late", "again", "dropped", "unreadable"):
        yield f"hutong_outbox_{name}_total", sum(getattr(each.counters, name) for each in found)
    yield "hutong_outbox_waiting", sum(each.waiting for each in found)
    yield "hutong_outbox_not_written", sum(bool(each.fault) for each in found)


_FLEET_COUNTERS = frozenset({"attempts", "hellos", "brought_forward"})


def _fleet_figures(services: Services) -> Iterable[tuple[str, float]]:
    for name, value in dataclasses.asdict(services.fleet.figures()).items():
        yield f"hutong_fleet_{name}{'_total' if name in _FLEET_COUNTERS else ''}", value
    yield "hutong_fleet_attempts_limit", services.fleet.budget.limit


def _diagnosis_figures(services: Services) -> Iterable[tuple[str, float]]:
    if (rounds := services.rounds) is None:
        return
    for name in ("looks", "no_picture", "put_off"):
        yield f"hutong_diagnosis_{name}_total", getattr(rounds.counters, name)
    yield "hutong_diagnosis_points", rounds.points
    yield "hutong_diagnosis_under_way", rounds.under_way
    yield "hutong_diagnosis_late_seconds", rounds.late_s()


def _media_server_figures(services: Services) -> Iterable[tuple[str, float]]:
    if (media := services.media) is None:
        return
    for name, value in dataclasses.asdict(media.counters).items():
        yield f"hutong_media_servers_{name}_total", value
    yield "hutong_media_servers", len(media.servers)
    yield "hutong_media_servers_ready", sum(server.ready for server in media.servers)
    yield "hutong_media_servers_readers", media.readers
    yield "hutong_media_servers_fed", media.feed.reading


def _privacy_figures(services: Services) -> Iterable[tuple[str, float]]:
    """Of masked streams, of the record of views, and of small pictures."""
    if (masking := services.masking) is not None:
        yield "hutong_live_masked_streams", masking.streams
        yield "hutong_live_masked_refused_total", masking.refused
    if (record := services.record) is not None:
        yield "hutong_live_record_lost_total", record.lost
        yield "hutong_live_record_waiting", record.waiting
    if (small := services.thumbnails) is not None:
        yield "hutong_thumbnails_points", len(small)
        yield "hutong_thumbnails_bytes", small.bytes_kept
        yield "hutong_thumbnails_taken_total", small.taken
        yield "hutong_thumbnails_failed_total", small.failed


def _found_lines(services: Services) -> list[str]:
    """How many looks found each fault: one name with a label."""
    if services.rounds is None:
        return []
    name, found = "hutong_diagnosis_found_total", services.rounds.counters.found
    return [
        f"# TYPE {name} counter",
        *(f'{name}{{fault="{fault.value}"}} {found[fault]}' for fault in Fault),
    ]


def _system_lines(services: Services) -> list[str]:
    """Of systems and nodes wherever they run, as they say on the bus; ids as labels, and no word
    that would tell more to whoever may not sign in."""
    if services.system_states is None:
        return []
    states, lines = services.system_states, []
    every = states.all()

    def gauge(name: str, label: str, values: Mapping[str, float]) -> None:
        if values:
            lines.append(f"# TYPE {name} gauge")
            lines.extend(f'{name}{{{label}="{each}"}} {v:g}' for each, v in values.items())

    gauge("hutong_system_online", "system", {n: s["state"] == "online" for n, s in every.items()})
    gauge("hutong_system_alarms", "system", {n: len(s["alarms"]) for n, s in every.items()})
    outboxes = {n: s["outbox"] for n, s in every.items() if isinstance(s["outbox"], Mapping)}
    for field in ("waiting", "oldest_s", "lost"):
        name = f"hutong_system_outbox_{field.replace('_s', '_seconds')}"
        gauge(name, "system", {n: _number(box.get(field)) for n, box in outboxes.items()})
    written = {n: bool(box.get("fault")) for n, box in outboxes.items()}
    gauge("hutong_system_outbox_not_written", "system", written)
    offsets = {node: states.clock_offset_s(node) for node in sorted(states.nodes())}
    known = {node: offset_s for node, offset_s in offsets.items() if offset_s is not None}
    gauge("hutong_node_clock_offset_seconds", "node", known)
    return lines


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0


def _lines(name: str, value: float) -> tuple[str, str]:
    kind = "counter" if name.endswith("_total") else "gauge"
    return f"# TYPE {name} {kind}", f"{name} {value:g}"
