"""An adapter that does what a test says, for agents and supervisor.

PYTEST_DONT_REWRITE: test modules import this before pytest does, and it asserts nothing.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from adapters.base import Adapter, Capability, Emit
from adapters.errors import AdapterError, Unreachable
from adapters.events import (
    DONE,
    Command,
    Event,
    Identity,
    KeyChannel,
    Online,
    Outcome,
    Result,
    SendText,
    UnkeyChannel,
)


def now() -> datetime:
    return datetime.now(UTC)


@dataclasses.dataclass(slots=True)
class Script:
    """failures: what `run` raises, attempt by attempt; None stays up, until broken. gate: what
    commands of the gated kinds wait for. busy: how many keys it answers so, before it takes one.
    keyed: what is on the air, by channel."""

    failures: list[AdapterError | Exception | None] = dataclasses.field(default_factory=list)
    attempts: int = 0
    running: int = 0
    at_once: int = 0
    emit: Emit | None = None
    identity: Identity | None = None
    broken: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    gate: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    gated: tuple[type[Command], ...] = ()
    commands: list[Command] = dataclasses.field(default_factory=list)
    keyed: dict[str, str] = dataclasses.field(default_factory=dict)
    terminators: list[str] = dataclasses.field(default_factory=list)
    silent: bool = False
    busy: int = 0

    def say(self, event: Event) -> None:
        if self.emit is None:
            raise RuntimeError("the adapter does not run")
        self.emit(event)


class ScriptedAdapter(Adapter):
    """settings: the `Script`."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.KEY, Capability.TEXT})

    def __init__(self, settings: Script, channels: Sequence[str] = ()) -> None:
        super().__init__(settings, channels)
        self.script = settings

    async def run(self, emit: Emit) -> None:
        script = self.script
        script.attempts += 1
        script.running += 1
        script.at_once = max(script.at_once, script.running)
        try:
            failure = script.failures.pop(0) if script.failures else None
            if failure is not None:
                await asyncio.sleep(0)
                raise failure
            script.emit = emit
            if not script.silent:
                emit(Online(at=now(), identity=script.identity))
            await script.broken.wait()
            raise Unreachable("broken by the test")
        finally:
            script.running -= 1
            script.emit = None
            script.terminators += script.keyed.values()
            script.keyed.clear()

    async def execute(self, command: Command) -> Outcome:
        script = self.script
        script.commands.append(command)
        if isinstance(command, script.gated):
            await script.gate.wait()
        match command:
            case KeyChannel() if script.busy:
                script.busy -= 1
                return Outcome(result=Result.BUSY, reason="by the script")
            case KeyChannel():
                script.keyed[command.address] = command.transmission
            case UnkeyChannel() if script.keyed.get(command.address) == command.transmission:
                script.terminators.append(script.keyed.pop(command.address))
            case SendText() | UnkeyChannel():
                pass
        return DONE


def maker(script: Script) -> Callable[..., Any]:
    return lambda *_arguments: ScriptedAdapter(script)
