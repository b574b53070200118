"""A running `hutong demo` for tests: the command itself, in a process of its own."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 90.0
"""CI's two cores may be busy; how long it takes is the benchmarks' business."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Demo:
    """What `--json` said, and how to ask it."""

    ready: dict[str, Any]
    pid: int
    seconds: float
    log: Path

    def said(self) -> str:
        """All that it wrote on standard error so far."""
        return self.log.read_text(errors="replace")

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def users(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.ready["users"]
        return found

    def user(self, role: str) -> dict[str, str]:
        return next(user for user in self.users if user["role"] == role)

    def token(self, role: str) -> str:
        user = self.user(role)
        body = {"name": user["name"], "password": user["password"]}
        return str(self.ask("POST", "/auth/login", body=body).body["access_token"])

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Any status is an answer. path: below /api/v1, or absolute with a leading `=`."""
        url = path[1:] if path.startswith("=") else f"{self.url}/api/v1{path}"
        request = urllib.request.Request(url, method=method)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=30) as response:
                return _answer(response.status, response.read(), dict(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read(), dict(error.headers))

    def simulate(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Ask the simulators' control API."""
        return self.ask("POST", f"={self.ready['simulators']['control']}{path}", body=body)


def _answer(status: int, data: bytes, headers: Mapping[str, str]) -> Answer:
    kind = headers.get("content-type", headers.get("Content-Type", ""))
    return Answer(status, json.loads(data) if "json" in kind and data else data, headers)


@contextlib.contextmanager
def running_demo(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Demo]:
    """Start `hutong demo --json`, wait until it is ready, and end it with SIGINT."""
    command = [sys.executable, "-m", "gateway.cli", "demo", "--json", "--port", "0", *arguments]
    with tempfile.NamedTemporaryFile(prefix="hutong-log-") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )
        try:
            assert process.stdout is not None
            line = _first_line(process, log)
            yield Demo(json.loads(line), process.pid, time.monotonic() - began, Path(log.name))
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            finally:
                assert process.stdout is not None
                process.stdout.close()


def _first_line(process: "subprocess.Popen[bytes]", log: Any) -> bytes:
    assert process.stdout is not None
    deadline = time.monotonic() + START_TIMEOUT_S
    os.set_blocking(process.stdout.fileno(), False)
    data = b""
    while b"\n" not in data:
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            said = log.read().decode(errors="replace")[-3000:]
            raise AssertionError(f"the demo did not start:\n{said}")
        data += process.stdout.read() or b""
        time.sleep(0.05)
    return data.partition(b"\n")[0]


def children_of(pid: int) -> set[int]:
    """All descendants of a process, by /proc."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = (entry / "stat").read_text()
                parent = int(stat.rpartition(")")[2].split()[1])
                if parent == pid:
                    found |= {int(entry.name)} | children_of(int(entry.name))
    return found
