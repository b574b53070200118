"""How many requests are answered, how, and how long that takes; for `/metrics`."""

import bisect
import time
from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Traffic:
    """answered: requests by the hundreds of their status. within: how many took no longer than
    each of `BOUNDS_S` but longer than the one before, the last those that took longer than all.
    Streams without an end count when they end."""

    def __init__(self) -> None:
        self.answered = [0] * 6
        self.within = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0

    def lines(self) -> Iterator[str]:
        """In Prometheus' text format."""
        yield "# TYPE hutong_http_requests_total counter"
        for hundreds in range(1, 6):
            yield (f'hutong_http_requests_total{{status="{hundreds}xx"}} {self.answered[hundreds]}')
        name = "hutong_http_request_seconds"
        yield f"# TYPE {name} histogram"
        total = 0
        for bound_s, count in zip((*map(str, BOUNDS_S), "+Inf"), self.within, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound_s}"}} {total}'
        yield f"{name}_sum {self.seconds:.6f}"
        yield f"{name}_count {total}"


class Counted:
    """Counts the requests of an application."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began_s = time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            took_s = time.perf_counter() - began_s
            traffic = self._traffic
            traffic.answered[status // 100] += 1
            traffic.within[bisect.bisect_left(BOUNDS_S, took_s)] += 1
            traffic.seconds += took_s
