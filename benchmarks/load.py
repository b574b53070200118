"""So many clients asking one question over and over, in a process of its own.

`python -m benchmarks.load HOST PORT TOKEN CLIENTS SECONDS PATH…` prints one JSON object:
``{requests, seconds, p50_ms, p99_ms, bytes}``. Several paths are asked in turn.
"""

import asyncio
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import cast

import uvloop

from benchmarks.gateway import percentile

WARM_UP_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """per_s: requests. size_bytes: of an answer's body."""

    per_s: float
    p50_ms: float
    p99_ms: float
    size_bytes: int


def load(
    address: tuple[str, int], token: str, paths: Sequence[str], *, clients: int, seconds: float
) -> Load:
    """Ask in a child process, so that its work is not the server's. Raises: RuntimeError for an
    answer that is not 200."""
    host, port = address
    command = [sys.executable, "-m", "benchmarks.load", host, str(port), token]
    done = subprocess.run(
        [*command, str(clients), str(seconds), *paths], capture_output=True, check=False, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    found = json.loads(done.stdout)
    return Load(
        per_s=found["requests"] / found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        size_bytes=found["bytes"],
    )


class _Client(asyncio.Protocol):
    """Sends the next request when the answer is whole."""

    def __init__(self, requests: list[bytes], took_s: list[float]) -> None:
        self._requests = requests
        self._took_s = took_s
        self._turn = 0
        self._left = -1
        self._head = b""
        self.size_bytes = 0
        self.wrong: str | None = None
        self.over = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        self._asked_s = time.perf_counter()
        self._transport.write(self._requests[self._turn % len(self._requests)])
        self._turn += 1

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = b""
            if not head.startswith(b"HTTP/1.1 200"):
                self.wrong = (head + body).decode(errors="replace")[:2000].replace("\r\n", " ")
                self._transport.close()
                return
            _, _, rest = head.lower().partition(b"content-length: ")
            self.size_bytes = int(rest.partition(b"\r\n")[0])
            self._left = self.size_bytes - len(body)
        else:
            self._left -= len(data)
        if self._left == 0:
            self._left = -1
            self._took_s.append(time.perf_counter() - self._asked_s)
            if self.over:
                self._transport.close()
            else:
                self._ask()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def _measure(
    host: str, port: int, token: str, clients: int, seconds: float, paths: list[str]
) -> dict[str, float]:
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        for path in paths
    ]
    took_s: list[float] = []
    loop = asyncio.get_running_loop()
    everybody = [
        (await loop.create_connection(lambda: _Client(requests, took_s), host, port))[1]
        for _ in range(clients)
    ]
    await asyncio.sleep(WARM_UP_S)
    took_s.clear()
    began_s = time.perf_counter()
    await asyncio.sleep(seconds)
    lasted_s = time.perf_counter() - began_s
    counted = [each * 1000 for each in took_s]
    for each in everybody:
        each.over = True
    await asyncio.wait([each.ended for each in everybody], timeout=10)
    wrong = next((each.wrong for each in everybody if each.wrong), None)
    if wrong or not counted:
        raise SystemExit(wrong or "no answer came")
    return {
        "requests": len(counted),
        "seconds": lasted_s,
        "p50_ms": percentile(counted, 0.5),
        "p99_ms": percentile(counted, 0.99),
        "bytes": everybody[0].size_bytes,
    }


def main() -> None:
    host, port, token, clients, seconds, *paths = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(_measure(host, int(port), token, int(clients), float(seconds), paths))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
