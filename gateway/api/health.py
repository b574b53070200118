"""Is it alive, is it ready, and its counters; without prefix and without sign-in."""

from collections.abc import Iterable

from fastapi import APIRouter, Response

from gateway.api.context import CurrentContext
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import answer
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
        parts["database"] = error.message
    if not services.bus.connected.is_set():
        parts["broker"] = services.bus.last_error or "not connected yet"
    ready = all(state == "ok" for state in parts.values())
    state = "ready" if ready else "not ready"
    headers = {} if ready else {"Retry-After": "2"}
    return answer({"state": state, **parts}, status=200 if ready else 503, headers=headers)


@router.get("/metrics")
async def metrics(services: CurrentServices) -> Response:
    """Counters in Prometheus' text format."""
    lines = [line for name, value in _figures(services) for line in _lines(name, value)]
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


def _lines(name: str, value: float) -> tuple[str, str]:
    kind = "counter" if name.endswith("_total") else "gauge"
    return f"# TYPE {name} {kind}", f"{name} {value:g}"
