"""What is wrong with a system and with the agent that runs it, seen from the gateway."""

import asyncio
import contextlib
import dataclasses
import io
import json
import os
import resource
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from brokers import RunningBroker
from lab import TRUNK, running
from patience import wait_until
from test_agent_outbox import Site, site, texts
from test_agent_site import PATIENCE_S, Place, config
from test_bridge_takeover import url_of
from wire_schema import faults

from gateway import commands
from gateway import status as looking
from gateway.agents import habit as habits
from gateway.agents import outbox as rules
from gateway.agents import system_health
from gateway.agents.habit import HOURS
from gateway.agents.outbox import Outbox
from gateway.agents.outbox_file import OutboxFile
from gateway.agents.system_states import SystemStates
from gateway.bus import client
from gateway.bus.client import Bus
from gateway.bus.messages import CloudEvent, decode_event
from gateway.bus.presence import Presence
from gateway.bus.topics import Topics
from gateway.settings import load


@dataclasses.dataclass(slots=True)
class Gateway:
    """What a node with the API hears of systems."""

    bus: Bus
    states: SystemStates
    alarms: list[CloudEvent] = dataclasses.field(default_factory=list)
    wrong: list[str] = dataclasses.field(default_factory=list)

    @property
    def state(self) -> dict[str, Any]:
        return self.states.state(TRUNK)

    def kinds(self, *, active: bool = True) -> list[str]:
        return [e.data["kind"] for e in self.alarms if e.data["active"] is active]

    def standing(self) -> list[str]:
        return [each["kind"] for each in self.state["alarms"]]


@contextlib.asynccontextmanager
async def gateway(broker: RunningBroker, clock_ahead_s: float = 0.0) -> AsyncIterator[Gateway]:
    bus = Bus(broker.address, node="gateway", topics=Topics(), roles=("api",))
    ahead = timedelta(seconds=clock_ahead_s)
    presence = Presence(bus, asyncio.get_running_loop().time)
    it = Gateway(bus, SystemStates(bus, presence, lambda: datetime.now(UTC) + ahead))

    def hear(topic: str, payload: bytes) -> None:
        it.wrong += faults(topic, payload)
        if "/systems/event/" in topic and (event := decode_event(payload)).type == "system.alarm":
            it.alarms.append(event)

    for kind in ("event", "state"):
        bus.subscribe(bus.topics.org_all("systems", kind), hear)
    bus.subscribe(bus.topics.status_all(), hear)
    async with running(bus.run()):
        await bus.connected.wait()
        yield it
    assert it.wrong == []


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_health, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(system_health, "SAY_EVERY_S", 0.1)
    monkeypatch.setattr(rules, "WRITE_AGAIN_S", 0.05)
    monkeypatch.setattr(client, "STATUS_EVERY_S", 0.5)


@contextlib.asynccontextmanager
async def both(
    broker: RunningBroker, file: Path, **bounds: Any
) -> AsyncIterator[tuple[Site, Gateway]]:
    async with gateway(broker) as seen, site(broker, file, **bounds) as it:
        await wait_until(lambda: seen.state["state"] == "online")
        yield it, seen


async def test_a_system_is_told_with_what_was_heard_and_what_waits(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    async with both(embedded_broker, tmp_path / "trunk.db") as (it, seen):
        assert seen.state["last_heard"] is None
        it.text("one")
        it.text("two")
        await wait_until(lambda: (seen.state["outbox"] or {}).get("waiting") == 2)
        assert seen.state["last_heard"] is not None
        assert (seen.state["node"], seen.state["alarms"]) == ("agent", [])
        it.script.broken.set()
        await wait_until(lambda: seen.state["state"] == "offline")
        assert "broken by the test" in seen.state["reason"]


async def test_a_state_counts_while_its_agent_is_here(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    async with gateway(embedded_broker) as seen:
        async with site(embedded_broker, tmp_path / "trunk.db"):
            await wait_until(lambda: seen.state["state"] == "online")
            assert list(seen.states.all()) == [TRUNK]
        await seen.bus.connected.wait()
        seen.states._presence.note("agent", {"state": "offline", "epoch": "another life"})
        assert seen.state["state"] == "online"
        epoch = seen.states._presence.epoch("agent")
        seen.states._presence.note("agent", {"state": "offline", "epoch": epoch})
        assert seen.state["state"] == "unknown"
        assert seen.states.all() == {}


async def test_occurrences_that_are_lost_raise_an_alarm_until_none_is_lost_for_a_while(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_health, "LOSING_FOR_S", 0.4)
    async with both(embedded_broker, tmp_path / "trunk.db", most_entries=3) as (it, seen):
        for number in range(5):
            it.text(f"{number}")
        await wait_until(lambda: seen.kinds() == ["outbox_losing"])
        assert "full" in seen.alarms[0].data["reason"]
        await wait_until(lambda: seen.standing() == ["outbox_losing"])
        await wait_until(lambda: seen.state["outbox"]["lost"] == it.outbox.counters.dropped)
        await wait_until(lambda: seen.kinds(active=False) == ["outbox_losing"])
        await wait_until(lambda: seen.standing() == [])
        # The alarm waits for the journal too, and pushes out a text rather than be pushed out.
        kept = [event.type for event in kept_in(it.outbox)]
        assert kept.count("system.alarm") == 2


def kept_in(outbox: Outbox) -> list[CloudEvent]:
    return [entry.event for entry in outbox._entries.values()]


async def test_nobody_who_stores_is_told_while_the_broker_is_there(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_health, "WAITS_LONG_S", 0.3)
    async with both(embedded_broker, tmp_path / "trunk.db") as (it, seen):
        it.text("waits")
        await wait_until(lambda: seen.standing() == ["outbox_waiting"])
        assert seen.state["outbox"]["waiting"] >= 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 96 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_disk_that_is_full_raises_an_alarm_and_nothing_is_lost_by_it(
    embedded_broker: RunningBroker, small_disk: Path
) -> None:
    ballast, file = small_disk / "ballast", small_disk / "trunk.db"
    async with both(embedded_broker, file) as (it, seen):
        it.text("written")
        await wait_until(lambda: texts_in(file) == ["written"])
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as heap:
            while heap.write(bytes(512)):
                pass
        for number in range(20):
            it.text(f"{number} " + "x" * 400)
        await wait_until(lambda: seen.kinds() == ["outbox_not_written"])
        await wait_until(lambda: (seen.state["outbox"] or {}).get("fault") == "the disk is full")
        assert "lost if the agent ends" in seen.state["alarms"][0]["reason"]
        ballast.unlink()
        await wait_until(lambda: seen.kinds(active=False) == ["outbox_not_written"])
        await wait_until(lambda: len(texts_in(file)) == 21)
        assert seen.state["outbox"]["lost"] == 0


def texts_in(file: Path) -> list[str]:
    kept = OutboxFile(file)
    try:
        return texts([decode_event(event) for _, _, event in kept.load()])
    finally:
        kept.close()


async def test_a_file_that_cannot_be_read_at_first_is_taken_in_before_it_is_written(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    file = tmp_path / "outbox" / "trunk.db"
    async with site(embedded_broker, file) as it:
        it.text("of an earlier life")
    hidden = tmp_path / "hidden"
    os.replace(file.parent, hidden)
    file.parent.write_text("a file where the folder should be")
    async with both(embedded_broker, file) as (it, seen):
        await wait_until(lambda: seen.standing() == ["outbox_not_written"])
        it.text("young")
        assert it.outbox.waiting >= 1
        file.parent.unlink()
        os.replace(hidden, file.parent)
        await wait_until(lambda: seen.standing() == [])
        await wait_until(lambda: texts_in(file) == ["of an earlier life", "young"])
        assert texts(kept_in(it.outbox)) == ["of an earlier life", "young"]
        assert it.outbox.counters.lost == 0


async def test_a_file_that_breaks_is_written_anew_from_memory(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    file = tmp_path / "trunk.db"
    async with both(embedded_broker, file) as (it, seen):
        it.text("one")
        await wait_until(lambda: texts_in(file) == ["one"])
        it.outbox._file.close()
        file.write_bytes(b"no database " * 500)
        it.text("two")
        await wait_until(lambda: file.with_suffix(".broken").exists())
        await wait_until(lambda: set(texts_in(file)) == {"one", "two"})
        await wait_until(lambda: seen.standing() == [])
        assert it.outbox.counters.lost == 0


async def test_a_file_that_was_broken_before_is_counted_as_lost(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    file = tmp_path / "trunk.db"
    file.write_bytes(b"no database " * 500)
    async with both(embedded_broker, file) as (it, seen):
        await wait_until(lambda: seen.standing() == ["outbox_losing"])
        assert "not whole" in seen.state["alarms"][0]["reason"]
        it.text("goes on")
        await wait_until(lambda: texts_in(file) == ["goes on"])


async def test_silence_beyond_the_habit_is_told_and_talk_ends_it(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(habits, "LEAST_S", 0.4)
    file = tmp_path / "trunk.db"
    usual = {str(hour): [0.01, 1] for hour in range(HOURS)}
    file.with_suffix(".habit.json").write_text(json.dumps(usual))
    async with both(embedded_broker, file) as (it, seen):
        await wait_until(lambda: seen.standing() == ["silent"])
        assert "nothing was heard" in seen.state["alarms"][0]["reason"]
        it.text("here")
        await wait_until(lambda: seen.kinds(active=False) == ["silent"])
        # And so it is when its wire is cut.
        it.script.failures = [OSError("cut")] * 50
        it.script.broken.set()
        await wait_until(lambda: seen.kinds().count("silent") == 2)


async def test_what_is_usual_is_kept_between_lives(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    file = tmp_path / "trunk.db"
    async with site(embedded_broker, file) as it:
        it.text("one")
        it.text("two")
    assert len(json.loads(file.with_suffix(".habit.json").read_text())) == 1


async def test_a_clock_that_is_a_day_off_is_shown(
    embedded_broker: RunningBroker, tmp_path: Path
) -> None:
    async with (
        gateway(embedded_broker, clock_ahead_s=86_400.0) as seen,
        site(embedded_broker, tmp_path / "trunk.db") as it,
    ):
        await wait_until(lambda: seen.state["state"] == "online")
        it.bus.obeys_bridge(1)  # it says its status once more
        await wait_until(lambda: seen.state["clock_offset_s"] is not None)
        assert seen.state["clock_offset_s"] == pytest.approx(-86_400, abs=20)


# --- `hutong agent`, `hutong status`, `hutong doctor` ---------------------------------------------


async def status_of(place: Place, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Any]]:
    """What `hutong status --json` says. In this process, which saves the imports."""
    printed = io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", printed)
        settings = load(data_dir=place.folder / "other", mqtt_url=place.url)
        wrong = await commands.show_status(settings, as_json=True)
    said: dict[str, Any] = json.loads(printed.getvalue())
    return wrong, said


async def test_the_disk_of_a_site_that_takes_nothing_is_seen_from_the_gateway(
    embedded_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path / "place", url_of(embedded_broker.address))
    async with gateway(embedded_broker) as seen:
        bus = seen.bus
        bus.set_state(bus.topics.system_config(TRUNK), config(place.port))
        async with place.agent() as process, place.repeater() as (zhang, _):
            await wait_until(lambda: seen.state["state"] == "online", PATIENCE_S)
            assert zhang.press(3101, slot=1)
            await zhang.release()
            await wait_until(lambda: len(place.kept()) == 1, PATIENCE_S)
            none = (1, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, none)
            assert zhang.press(3101, slot=1)
            await zhang.release()
            await wait_until(lambda: seen.kinds() == ["outbox_not_written"], PATIENCE_S)
            await wait_until(lambda: seen.standing() == ["outbox_not_written"], PATIENCE_S)
            wrong, said = await status_of(place, monkeypatch)
            assert wrong == 1
            assert "lost if the agent ends" in said["wrong"][0]
            assert said["systems"][TRUNK]["runs_at"] == "site"
            assert said["systems"][TRUNK]["outbox"]["fault"]
            (node,) = [n for n, s in said["nodes"].items() if s["roles"] == ["agent"]]
            assert abs(said["nodes"][node]["clock_offset_s"]) < 20
            free = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, free)
            await wait_until(lambda: seen.kinds(active=False) == ["outbox_not_written"], PATIENCE_S)
            # Both ends of calls and both alarms are on the disk now.
            await wait_until(lambda: len(place.kept()) == 4, PATIENCE_S)
            process.kill()
            await process.wait()
        monkeypatch.setattr(looking, "WITHIN_S", 3.0)
        wrong, said = await status_of(place, monkeypatch)
        assert said["wrong"] == [
            f"system {TRUNK} (homebrew): nothing runs it (hutong agent at its site is not here)"
        ]


async def test_the_doctor_looks_at_systems_too(
    embedded_broker: RunningBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load(data_dir=tmp_path / "data", mqtt_url=url_of(embedded_broker.address))
    assert "nothing runs on this broker yet" in await commands._radio(settings)
    async with both(embedded_broker, tmp_path / "trunk.db", most_entries=2) as (it, seen):
        bus = seen.bus
        said = config(62031, runs_at="gateway")
        bus.set_state(bus.topics.system_config(TRUNK), said)
        looked = asyncio.create_task(commands._radio(settings))
        await wait_until(looked.done, what="looked")
        assert "nothing is wrong with 1 systems" in await looked
        for number in range(5):
            it.text(f"{number}")
        await wait_until(lambda: seen.standing() == ["outbox_losing"])
        with pytest.raises(OSError, match="occurrences were lost"):
            await commands._radio(settings)
