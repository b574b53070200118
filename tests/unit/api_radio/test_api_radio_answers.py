"""Radio, devices and jobs over HTTP: who may, what is refused and in which words."""

import asyncio
from typing import Any

import pytest
from brokers import free_port
from databases import ON_SQLITE
from patience import wait_until

from gateway.interop.definitions import ChannelDefinition, Definitions
from registry import jobs
from registry.partition import SYSTEM

pytest_plugins = ["radio_api"]
pytestmark = ON_SQLITE
NOWHERE = "01890a5d-ac96-774b-bcce-b302099a8057"


async def system_of(stage: Any, caller: Any, **fields: Any) -> Any:
    body = {"adapter": "homebrew", "name": "Trunk", "organization": "d/s1", "settings": {}}
    body["settings"] = {"port": 0, "passphrase": "s3cret-word"}
    return await caller("POST", "/systems", {**body, **fields})


async def channel_of(stage: Any, caller: Any) -> str:
    system = (await system_of(stage, caller)).body
    body = {"system": system["id"], "address": "1/3101", "name": "TG 3101"}
    made = await caller("POST", "/channels", body)
    assert made.status == 201, made.body
    return str(made.body["id"])


async def test_a_system_hides_its_secrets_and_keeps_those_that_are_not_given(stage: Any) -> None:
    integrator = await stage.caller("integrator")
    made = await system_of(stage, integrator)
    assert made.status == 201
    assert "s3cret-word" not in str(made.body)
    path, tag = f"/systems/{made.body['id']}", {"If-Match": made.headers["ETag"]}
    changed = await integrator("PATCH", path, {"settings": {"port": 62031}}, headers=tag)
    assert changed.status == 200, changed.body
    assert changed.body["settings"]["port"] == 62031
    assert len(stage.nudges) == 2


async def test_settings_are_not_looked_at_for_who_may_not_write_them(stage: Any) -> None:
    """A refusal of settings would tell somebody without the right what the settings are."""
    integrator = await stage.caller("integrator")
    made = (await system_of(stage, integrator)).body
    wrong = {"settings": {"no such": 1}}
    for name, status in (("dispatcher", 403), ("viewer", 404)):
        caller = await stage.caller(name)
        answer = await caller("PATCH", f"/systems/{made['id']}", wrong, headers={"If-Match": '"1"'})
        assert answer.status == status, answer.body
        answer = await system_of(stage, caller, settings={"no such": 1})
        assert answer.status == (403 if name == "dispatcher" else 404), answer.body
    assert (await system_of(stage, integrator, settings={"no such": 1})).status == 422


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"adapter": "homebrew"}, "adapter"),
        ({"adapter": "no such kind"}, "settings"),
        ({"settings": {"password": "x"}}, "settings.password"),
        ({"endpoint": "http://user:word@host"}, "settings"),
    ],
    ids=["a radio kind", "no kind", "a secret in settings", "a secret in the endpoint"],
)
async def test_a_device_that_cannot_be_is_refused_before_it_is_asked(
    stage: Any, fields: dict[str, Any], field: str
) -> None:
    integrator = await stage.caller("integrator")
    body = {"adapter": "onvif", "endpoint": "127.0.0.1:1", "organization": "d/s1", **fields}
    answer = await integrator("POST", "/devices", body)
    assert answer.status == 422, answer.body
    assert [each["field"] for each in answer.body["errors"]] == [field]


async def test_a_device_that_does_not_answer_is_503_and_nothing_is_kept(stage: Any) -> None:
    integrator = await stage.caller("integrator")
    endpoint = f"127.0.0.1:{free_port()}"
    body = {"adapter": "onvif", "endpoint": endpoint, "organization": "d/s1"}
    answer = await integrator("POST", "/devices", body)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert endpoint in answer.body["detail"]
    assert (await integrator("GET", "/devices")).body["total"] == 0


@pytest.mark.parametrize("garbage", [b"not HTTP at all\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n\r\n<"])
async def test_a_device_that_answers_garbage_is_503_in_words(stage: Any, garbage: bytes) -> None:
    async def answer_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(garbage)
        writer.close()

    async with await asyncio.start_server(answer_garbage, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        integrator = await stage.caller("integrator")
        body = {"adapter": "onvif", "endpoint": f"127.0.0.1:{port}", "organization": "d/s1"}
        answer = await integrator("POST", "/devices", body)
    assert answer.status == 503, answer.body
    assert "Retry-After" in answer.headers
    assert str(port) in answer.body["detail"]


async def test_kinds_that_find_nothing_are_not_looked_for(stage: Any) -> None:
    integrator = await stage.caller("integrator")
    answer = await integrator("POST", "/devices/discover", {"adapter": "homebrew"})
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "adapter"
    viewer = await stage.caller("viewer")
    assert (await viewer("POST", "/devices/discover", {})).status == 403


async def test_a_patch_names_the_member_whose_channel_there_is_not(stage: Any) -> None:
    integrator, dispatcher = await stage.caller("integrator"), await stage.caller("dispatcher")
    channel = await channel_of(stage, integrator)
    body = {"name": "Joined", "organization": "d/s1", "members": [{"channel": channel}]}
    unknown = {**body, "members": [{"channel": channel}, {"channel": NOWHERE}]}
    answer = await dispatcher("POST", "/patches", unknown)
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "members[1].channel"
    first = await dispatcher("POST", "/patches", body)
    assert first.status == 201, first.body
    again = await dispatcher("POST", "/patches", {**body, "name": "Other"})
    assert (again.status, again.body["other"]) == (409, first.body["id"])


async def test_who_may_press_and_where(stage: Any) -> None:
    integrator = await stage.caller("integrator")
    channel = await channel_of(stage, integrator)
    press = {"action": "press"}
    for name, status in (("viewer", 404), ("auditor", 404), ("integrator", 403)):
        caller = await stage.caller(name)
        assert (await caller("POST", f"/channels/{channel}/talk", press)).status == status
    dispatcher = await stage.caller("dispatcher")
    assert (await dispatcher("POST", f"/channels/{NOWHERE}/talk", press)).status == 404


async def test_a_press_without_a_bridge_or_broker_is_503_and_leaves_nothing(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.talk.ANSWER_TIMEOUT_S", 0.05)
    channel = await channel_of(stage, await stage.caller("integrator"))
    dispatcher = await stage.caller("dispatcher")
    answer = await dispatcher("POST", f"/channels/{channel}/talk", {"action": "press"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert "no bridge answers" in answer.body["detail"]
    monkeypatch.setattr(stage.services.bus, "publish", lambda *_a, **_k: False)
    answer = await dispatcher("POST", f"/channels/{channel}/talk", {"action": "press"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert "the broker is away" in answer.body["detail"]
    assert stage.services.feed._answers == {}


async def test_a_press_is_answered_by_the_bridge(stage: Any) -> None:
    channel = await channel_of(stage, await stage.caller("integrator"))
    defined = ChannelDefinition(id=channel, name="TG", org="d/s1", system_id="s")
    stage.bridge.define(Definitions(channels=(defined,)))
    await wait_until(lambda: stage.lease.held)
    dispatcher = await stage.caller("dispatcher")
    path = f"/channels/{channel}/talk"
    pressed = await dispatcher("POST", path, {"action": "press", "priority": 254})
    assert (pressed.status, pressed.body["state"]) == (202, "granted")
    (talk,) = next(iter(stage.bridge.floors())).talks.values()
    assert talk.priority == 100  # what a dispatcher may at most
    released = await dispatcher("POST", path, {"action": "release"})
    assert released.body["state"] == "released"


async def test_a_job_that_is_at_work_when_the_gateway_stops_has_failed(stage: Any) -> None:
    begun = asyncio.Event()

    async def work(_progress: Any) -> dict[str, Any]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    running = stage.services.jobs
    job = await running.start(SYSTEM, "discover", work)
    await begun.wait()
    await running.close()
    database = stage.api.context.database
    ended = await database.read(lambda c: jobs.get(c, SYSTEM, job.id))
    assert (ended.state, ended.report) == ("failed", {"error": "the gateway stopped"})


async def test_readiness_says_that_the_broker_is_away(stage: Any) -> None:
    anybody = stage.api.anybody()
    assert (await anybody("GET", "/readyz")).status == 200
    stage.services.bus.connected.clear()
    answer = await anybody("GET", "/readyz")
    assert (answer.status, answer.body["database"]) == (503, "ok")
    assert answer.body["broker"] != "ok"
    assert (await anybody("GET", "/healthz")).status == 200
