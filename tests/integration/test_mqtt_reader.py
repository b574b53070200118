"""The reader of feeds against real brokers: what it takes, and how it fails."""

import asyncio
import contextlib
import dataclasses
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker, free_port, mosquitto_path
from patience import wait_until

from adapters.errors import AuthenticationFailed, InvalidSettings, TimedOut, Unreachable
from adapters.mqtt import reader
from adapters.mqtt.reader import Broker, Message, distinct, read
from gateway.bus.link import connect


def place(broker: RunningBroker) -> Broker:
    at = broker.address
    return Broker(
        host=at.host, port=at.port, username=at.username or "", password=at.password or ""
    )


@contextlib.asynccontextmanager
async def reading(broker: Broker, patterns: list[str], got: list[Message]) -> Any:
    subscribed = asyncio.Event()
    task = asyncio.create_task(read(broker, patterns, got.append, subscribed.set))
    try:
        async with asyncio.timeout(30):
            await subscribed.wait()
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Unreachable):
            await task


async def test_each_message_comes_once_and_says_whether_it_was_kept(
    broker: RunningBroker,
) -> None:
    got: list[Message] = []
    async with connect(broker.address, "writer") as link:
        link.publish("feeds/systems", b"1", retain=True)
        link.publish("other/systems", b"x")
        await link.drain()
        patterns = ["feeds/+", "feeds/systems", "feeds/rates", "feeds/+"]
        async with reading(place(broker), patterns, got):
            await wait_until(lambda: got)
            for number in range(500):
                link.publish("feeds/rates", str(number).encode(), qos=number % 2)
            await wait_until(lambda: len(got) >= 501)
    assert got[0] == Message("feeds/systems", b"1", True)
    assert sorted(int(m.payload) for m in got[1:]) == list(range(500))
    assert not any(message.retained for message in got[1:])


async def test_a_broker_that_dies_ends_the_reading(broker: RunningBroker) -> None:
    async with reading(place(broker), ["feeds/+"], []) as task:
        await broker.kill()
        with pytest.raises(Unreachable) as failure:
            async with asyncio.timeout(30):
                await task
        assert "127.0.0.1" not in failure.value.message
        assert str(broker.address.port) in failure.value.device


async def test_a_name_that_is_refused_is_not_retryable(embedded_broker: RunningBroker) -> None:
    wrong = dataclasses.replace(place(embedded_broker), password="planted-wrong")
    with pytest.raises(AuthenticationFailed) as refused:
        await read(wrong, ["feeds/+"], lambda _: None, lambda: None)
    assert "planted" not in f"{refused.value!r} {wrong!r}"


async def test_nobody_there_and_nobody_answering_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "CONNECT_S", 0.3)
    nobody = Broker(host="127.0.0.1", port=free_port())
    with pytest.raises(Unreachable):
        await read(nobody, ["a"], lambda _: None, lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as accepts:  # and never answers
        silent = Broker(host="127.0.0.1", port=accepts.getsockname()[1])
        with pytest.raises(TimedOut):
            await read(silent, ["a"], lambda _: None, lambda: None)


def test_no_filter_covers_another() -> None:
    patterns = ["t/+/+", "t/trunk_recorder/status", "t/rates", "t/+/messages", "t/rates"]
    assert distinct(patterns) == ["t/+/+", "t/rates"]


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself: certificate and key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    crt, key = tmp_path / "crt.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1"
    subject = ["-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1"]
    out = ["-keyout", str(key), "-out", str(crt)]
    subprocess.run([*command.split(), *subject, *out], check=True, capture_output=True)
    return crt, key


@contextlib.asynccontextmanager
async def secure_broker(certificate: tuple[Path, Path], directory: Path) -> Any:
    binary = mosquitto_path()
    if binary is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    crt, key = certificate
    port = free_port()
    config = directory / "secure.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        f"certfile {crt}\nkeyfile {key}\n"
    )
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        binary, "-c", str(config), stdout=nothing, stderr=nothing
    )
    try:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(ConnectionError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()
        yield Broker(host="127.0.0.1", port=port, tls=True, ca_file=str(crt))
    finally:
        process.terminate()
        await process.wait()


async def test_a_certificate_is_checked(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    async with secure_broker(certificate, tmp_path) as broker:
        got: list[Message] = []
        async with reading(broker, ["a"], got):
            pass
        with pytest.raises(InvalidSettings, match="not trusted"):
            await read(dataclasses.replace(broker, ca_file=None), ["a"], got.append, lambda: None)
        absent = dataclasses.replace(broker, ca_file=str(tmp_path / "absent.pem"))
        with pytest.raises(InvalidSettings, match="ca_file"):
            await read(absent, ["a"], got.append, lambda: None)


async def test_cancelled_while_it_connects_it_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone: list[int] = []

    async def served(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await stream.read(100):
                pass
        gone.append(1)
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    async with server:
        silent = Broker(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        for _ in range(5):
            task = asyncio.create_task(read(silent, ["a"], lambda _: None, lambda: None))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await wait_until(lambda: len(gone) == 5)
