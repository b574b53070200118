"""The contract finds what it is there for: an adapter that keeps it, and one for each breach."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from pydantic import BaseModel, SecretStr

from adapters import peers
from adapters.base import Adapter, Capability, Emit, RadioTraits
from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.events import (
    DONE,
    Command,
    FloorIdle,
    FloorTaken,
    KeyChannel,
    Malformed,
    Online,
    Outcome,
    Result,
    UnkeyChannel,
)
from adapters.testing import RadioContract, RadioPeer

PASSWORD, WRONG = "planted-password", "planted-wrong-password"


class LineSettings(BaseModel):
    host: str
    port: int
    password: SecretStr


class LineAdapter(Adapter):
    """A radio over lines of text: password, then ``talk``, ``idle``, ``key NAME``, ``unkey NAME``.

    breach: which promise it breaks, empty for none.
    """

    capabilities = frozenset({Capability.KEY})
    traits = RadioTraits()
    Settings = LineSettings
    breach = ""
    left: list[Any]

    def __init__(self, settings: LineSettings, channels: Sequence[str] = ()) -> None:
        super().__init__(settings, channels)
        self._writer: asyncio.StreamWriter | None = None
        self._keyed: set[str] = set()

    def __repr__(self) -> str:
        if self.breach == "shows the password":
            return f"LineAdapter({self.settings.password.get_secret_value()})"
        return "LineAdapter()"

    def _now(self) -> datetime:
        if self.breach == "time without zone":
            return datetime.now()  # noqa: DTZ005 - the breach
        return datetime.now(UTC)

    async def run(self, emit: Emit) -> None:
        settings = self.settings
        if self.breach == "logs the password":
            logging.getLogger("acme").debug("go", extra={"p": settings.password.get_secret_value()})
        try:
            reader, writer = await asyncio.open_connection(settings.host, settings.port)
        except OSError:
            if self.breach == "dead is final":
                raise NotSupported("nobody is there", device="line") from None
            raise Unreachable("nobody is there", device="line") from None
        try:
            writer.write(settings.password.get_secret_value().encode() + b"\n")
            try:
                async with asyncio.timeout(None if self.breach == "waits for ever" else 0.3):
                    greeting = await reader.readline()
            except TimeoutError:
                raise TimedOut("no answer to the password", device="line") from None
            if greeting != b"welcome\n":
                error = Unreachable if self.breach == "wrong is retryable" else AuthenticationFailed
                raise error("the password is wrong", device="line")
            emit(Online(at=self._now()))
            self._leave_behind()
            self._writer = writer
            if self.breach != "returns":
                await self._read(reader, emit)
        finally:
            self._writer = None
            if self.breach != "keeps its key":
                for name in self._keyed:
                    writer.write(f"unkey {name}\n".encode())
            if self.breach == "leaves a socket":
                self.left.append(writer)
            else:
                writer.close()

    def _leave_behind(self) -> None:
        if self.breach == "leaves a task":
            self.left.append(asyncio.create_task(asyncio.sleep(60)))
        if self.breach == "leaves a thread":
            done = threading.Event()
            self.left.append(done)
            threading.Thread(target=done.wait, name="forgotten", daemon=True).start()

    async def _read(self, reader: asyncio.StreamReader, emit: Emit) -> None:
        while line := await reader.readline():
            match line:
                case b"talk\n":
                    emit(FloorTaken(at=self._now(), address="1", stream="s", talker="7", hold_s=3))
                case b"idle\n" if self.breach != "talks never end":
                    emit(FloorIdle(at=self._now(), address="1", stream="s"))
                case _ if self.breach == "dies of garbage":
                    raise NotSupported("what is that", device="line")
                case _ if self.breach != "overlooks garbage":
                    emit(Malformed(at=self._now(), reason="no such line"))
        raise ProtocolViolation("it hung up on us", device="line")

    async def execute(self, command: Command) -> Outcome:
        if not isinstance(command, KeyChannel | UnkeyChannel):
            if self.breach == "pretends":
                return DONE
            raise NotSupported("a line can be keyed and unkeyed", device="line")
        if command.address not in self.channels and self.breach != "keys anything":
            return Outcome(result=Result.REFUSED, reason="there is no such channel")
        assert self._writer is not None
        name, keying = command.transmission, isinstance(command, KeyChannel)
        if keying is (name in self._keyed) and not (keying and self.breach == "keys twice"):
            return DONE
        (self._keyed.add if keying else self._keyed.discard)(name)
        self._writer.write(f"{'key' if keying else 'unkey'} {name}\n".encode())
        return DONE


class LinePeer(RadioPeer):
    secrets = (PASSWORD, WRONG)
    channels = ("1",)

    def __init__(self, adapter: type[LineAdapter]) -> None:
        self.adapter = adapter
        self._writers: set[asyncio.StreamWriter] = set()
        self._heard: list[list[Any]] = []
        adapter.left = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for left in self.adapter.left:  # type: ignore[attr-defined]
            if isinstance(left, threading.Event):
                left.set()
            elif isinstance(left, asyncio.Task):
                left.cancel()
            else:
                left.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if await reader.readline() == f"{PASSWORD}\n".encode():
                writer.write(b"welcome\n")
                self._writers.add(writer)
                async for line in reader:
                    self._hear(line.decode().split())
                self._writers.discard(writer)
            else:
                writer.write(b"no\n")
        writer.close()

    def _hear(self, words: list[str]) -> None:
        if words[0] == "key":
            self._heard.append([words[1], True])
        for each in self._heard:
            if words == ["unkey", each[0]]:
                each[1] = False

    def settings(self) -> Any:
        return self._at("127.0.0.1", self._port, PASSWORD)

    def wrong_password(self) -> Any:
        return self._at("127.0.0.1", self._port, WRONG)

    def at(self, host: str, port: int) -> Any:
        return self._at(host, port, PASSWORD)

    def _at(self, host: str, port: int, password: str) -> Any:
        known = {"host": host, "port": port, "password": password}
        return self.adapter.Settings.model_validate(known)

    async def send_garbage(self) -> None:
        for writer in self._writers:
            writer.write(b"\x00\xff\n")

    async def send_good(self) -> None:
        for writer in self._writers:
            writer.write(b"talk\nidle\n")

    def heard(self, address: str) -> Sequence[bool]:
        return [going_on for _, going_on in self._heard]


class LineContract(RadioContract):
    def __init__(self, adapter: type[LineAdapter]) -> None:
        self._adapter = adapter

    def peer(self) -> LinePeer:
        return LinePeer(self._adapter)


CHECKS = [name for name in dir(RadioContract) if name.startswith("test_")]


@pytest.mark.parametrize("check", CHECKS)
def test_an_adapter_that_keeps_the_contract_passes(check: str) -> None:
    getattr(LineContract(LineAdapter), check)()


@pytest.mark.parametrize(
    ("breach", "check"),
    [
        ("time without zone", "test_run_reports_online_and_times_carry_a_zone"),
        ("returns", "test_run_reports_online_and_times_carry_a_zone"),
        ("leaves a task", "test_cancelling_leaves_nothing_behind"),
        ("leaves a socket", "test_cancelling_leaves_nothing_behind"),
        ("leaves a thread", "test_cancelling_leaves_nothing_behind"),
        ("dead is final", "test_a_dead_peer_is_retryable"),
        ("waits for ever", "test_a_silent_peer_is_retryable"),
        ("wrong is retryable", "test_a_wrong_password_is_not_retryable"),
        ("overlooks garbage", "test_garbage_is_counted_and_the_next_good_frame_arrives"),
        ("dies of garbage", "test_garbage_is_counted_and_the_next_good_frame_arrives"),
        ("pretends", "test_what_is_not_declared_is_not_supported"),
        ("logs the password", "test_secrets_are_told_to_nobody"),
        ("shows the password", "test_secrets_are_told_to_nobody"),
        ("talks never end", "test_a_talk_is_reported_from_start_to_end"),
        ("keys twice", "test_a_key_reaches_the_peer_once_and_ends"),
        ("keys anything", "test_an_unknown_channel_is_refused_with_a_reason"),
        ("keeps its key", "test_cancelling_ends_our_transmission"),
    ],
)
def test_a_breach_is_found(breach: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PATIENCE_S", 0.8)
    broken = type("Broken", (LineAdapter,), {"breach": breach})
    with pytest.raises((AssertionError, pytest.fail.Exception, TimeoutError, AdapterError)):
        getattr(LineContract(broken), check)()
