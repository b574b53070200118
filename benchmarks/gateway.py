"""A gateway to measure: `hutong demo` in a process of its own, and a client for its API."""

import contextlib
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any


class Gateway:
    """ready: what `hutong demo --json` said. seconds: how long it took to say it."""

    def __init__(self, ready: dict[str, Any], seconds: float, pid: int) -> None:
        self.ready = ready
        self.pid = pid
        self.seconds = seconds
        self.url: str = ready["url"]
        self._token = ""

    def sign_in(self, role: str = "admin") -> None:
        user = next(each for each in self.ready["users"] if each["role"] == role)
        body = {"name": user["name"], "password": user["password"]}
        self._token = self.ask("POST", "/auth/login", body)["access_token"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(f"{self.url}/api/v1{path}", method=method)
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=30) as response:
            return json.loads(response.read() or b"null")


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Gateway]:
    """A demo on any free port, its radios silent."""
    command = [sys.executable, "-m", "gateway.cli", "demo", "--json", "--port", "0"]
    began_s = time.perf_counter()
    with subprocess.Popen(
        [*command, "--no-traffic", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout
        try:
            line = child.stdout.readline()
            if not line:
                raise RuntimeError("hutong demo did not start")
            yield Gateway(json.loads(line), time.perf_counter() - began_s, child.pid)
        finally:
            child.send_signal(signal.SIGINT)


def percentile(values: list[float], part: float) -> float:
    """part: 0..1; the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
