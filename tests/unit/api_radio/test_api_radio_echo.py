"""A test of a patch over HTTP: what comes back is kept on its channel."""

from typing import Any

from databases import ON_SQLITE
from patience import wait_until
from test_api_radio_dispatch import bridged, channels_of, patch_of

from gateway.bus.messages import CloudEvent, decode, encode_event
from registry import changes
from registry.partition import SYSTEM

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE


class Echoing:
    """An agent that keys what it is told to; on one channel it is heard again."""

    def __init__(self, bus: Any, *channels: str, again: str) -> None:
        self._bus, self._again, self._sequence = bus, again, 0
        bus.subscribe(bus.topics.org_all("channels", "command"), self._on_command)
        for channel in channels:
            state = {"node": bus.node, "epoch": bus.epoch, "health": "ok"}
            bus.set_state(bus.topics.org("channels", "state", "d/s1", channel), state)

    def _on_command(self, topic: str, payload: bytes) -> None:
        command, channel = decode(payload), topic.rsplit("/", 1)[1]
        if command["action"] != "floor.request":
            return
        said = {"transmission": command["transmission"], "outcome": "done"}
        self._say("command.result", channel, **said)
        if channel == self._again:
            self._say("floor.taken", channel, stream="back", talker="", hold_s=1.0)

    def _say(self, kind: str, channel: str, **data: Any) -> None:
        self._sequence += 1
        event = CloudEvent(
            id=f"{kind}-{self._sequence}",
            source=f"hutong/{self._bus.node}/system",
            type=kind,
            subject=channel,
            time="2026-01-01T00:00:00.000Z",
            epoch=self._bus.epoch,
            sequence=self._sequence,
            uptime_ms=self._bus.uptime_ms(),
            data=data,
        )
        topic = self._bus.topics.org("channels", "event", "d/s1", channel)
        assert self._bus.publish(topic, encode_event(event))


async def test_what_a_test_measures_is_kept_until_somebody_forgets_it(stage: Any) -> None:
    dispatcher, integrator = await stage.caller("dispatcher"), await stage.caller("integrator")
    a, b = await channels_of(stage, "1/1", "1/2")
    patch = (await patch_of(stage, a, b)).body["id"]
    await bridged(stage, patch, a, b)
    Echoing(stage.agent, a, b, again=a)
    await wait_until(lambda: any(f.present == {a, b} for f in stage.bridge.floors()))
    nudges = len(stage.nudges)
    tested = await dispatcher("POST", f"/patches/{patch}/test", {})
    assert tested.status == 200, tested.body
    found = {each["channel"]: each for each in tested.body["members"]}
    assert [found[each]["outcome"] for each in (a, b)] == ["done", "done"], found
    assert found[a]["echo_s"] > 0
    assert found[b]["echo_s"] is None
    kept = await dispatcher("GET", f"/channels/{a}")
    assert (kept.body["echo_s"], kept.body["measured_echo_s"]) == (None, found[a]["echo_s"])
    listed = (await dispatcher("GET", "/channels")).body["items"]
    assert {each["id"]: each["measured_echo_s"] for each in listed} == {
        a: found[a]["echo_s"],
        b: None,
    }
    assert len(stage.nudges) == nudges + 1
    database = stage.api.context.database
    noted = await database.read(lambda connection: changes.page(connection, SYSTEM, limit=500))
    assert [e.object_id for e in noted.items if e.action == "measure"] == [a]
    # By hand it is set, or forgotten; nobody writes a measurement.
    tag = {"If-Match": kept.headers["ETag"]}
    wrong = await integrator("PATCH", f"/channels/{a}", {"measured_echo_s": 1}, headers=tag)
    assert wrong.status == 422
    body = {"echo_s": 2.5, "measured_echo_s": None}
    by_hand = await integrator("PATCH", f"/channels/{a}", body, headers=tag)
    assert by_hand.status == 200, by_hand.body
    assert (by_hand.body["echo_s"], by_hand.body["measured_echo_s"]) == (2.5, None)
