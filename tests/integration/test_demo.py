"""The story of the demo, told through its public wires: HTTP, WebSocket, MQTT."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import websockets
from demo import Demo, children_of, running_demo
from patience import wait_until
from wire_schema import Traffic

from gateway.bus.address import BrokerAddress
from gateway.bus.link import connect
from gateway.bus.messages import decode_event

pytestmark = pytest.mark.timeout(240)


def reader(demo: Demo) -> BrokerAddress:
    mqtt = demo.ready["mqtt"]
    return BrokerAddress(
        host=mqtt["host"],
        port=mqtt["port"],
        username=mqtt["username"],
        password=mqtt["password"],
    )


def items(demo: Demo, path: str, token: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = demo.ask("GET", path, token=token).body["items"]
    return found


def test_ready_says_what_the_contract_says(demo: Demo) -> None:
    assert set(demo.ready) == {"url", "mqtt", "users", "simulators", "data_dir"}
    assert set(demo.ready["mqtt"]) == {"host", "port", "username", "password"}
    assert {user["role"] for user in demo.users} == {
        "viewer",
        "dispatcher",
        "integrator",
        "auditor",
        "clear_view",
        "admin",
    }
    assert all(set(u) == {"name", "password", "role", "organization"} for u in demo.users)
    assert len(demo.ready["simulators"]["onvif"]) == 24
    assert len(demo.ready["simulators"]["rtsp"]) == 2
    assert Path(demo.ready["data_dir"]).is_dir()


def test_the_district_is_as_promised(demo: Demo) -> None:
    admin = demo.token("admin")
    tree = items(demo, "/organizations", admin)
    kinds = [each["kind"] for each in tree]
    assert (kinds.count("district"), kinds.count("station"), kinds.count("workroom")) == (1, 3, 8)
    assert all(each["jurisdiction"] for each in tree)
    district = next(each for each in tree if each["kind"] == "district")
    assert district["counts"]["points"] == 26
    assert district["counts"]["unassigned"] == 1
    assert demo.ask("GET", "/points?assigned_by=polygon", token=admin).body["total"] == 23
    devices = items(demo, "/devices?limit=100", admin)
    assert sorted({d["adapter"] for d in devices}) == ["onvif", "rtsp"]
    assert all(d["model"] for d in devices if d["adapter"] == "onvif")
    assert len(items(demo, "/systems", admin)) == 2
    assert len(items(demo, "/channels", admin)) == 4
    (patch,) = items(demo, "/patches", admin)
    assert patch["voice"] == "silence"
    assert len(patch["members"]) == 2


def test_a_workroom_sees_its_own_and_the_rest_does_not_exist(demo: Demo) -> None:
    admin, viewer = demo.token("admin"), demo.token("viewer")
    home = demo.user("viewer")["organization"]
    own = items(demo, "/points", viewer)
    assert own
    assert all(point["organization"]["path"] == home for point in own)
    assert demo.ask("GET", f"/points?organization={home}", token=admin).body["total"] == len(own)
    foreign = next(
        p for p in items(demo, "/points?limit=100", admin) if p["organization"]["path"] != home
    )
    path = f"/points/{foreign['id']}"
    asked = [
        ("GET", path, None),
        ("POST", f"{path}/live", {"profile": "main"}),
        ("GET", f"{path}/snapshot.jpg", None),
        ("POST", f"{path}/ptz", {"pan": 1}),
        ("PUT", f"{path}/source", {"device": foreign["source"]["device"], "address": "x"}),
        ("DELETE", f"{path}/source", None),
        ("GET", f"/devices/{foreign['source']['device']}", None),
        ("GET", f"/organizations/{foreign['organization']['id']}", None),
    ]
    missing = "01a1ffc5-87df-7032-8998-f7c336ce0e99"
    for method, where, body in asked:
        answer = demo.ask(method, where, token=viewer, body=body)
        assert answer.status == 404, (method, where, answer.body)
        unknown = where.replace(foreign["id"], missing)
        if unknown != where:
            same = demo.ask(method, unknown, token=viewer, body=body)
            assert same.status == 404
            shown = json.dumps(answer.body).replace(foreign["id"], missing)
            assert json.loads(shown) == same.body  # not even the wording tells them apart
    for channel in items(demo, "/channels", admin):
        seen = demo.ask("GET", f"/channels/{channel['id']}", token=viewer).status
        within = channel["organization"]["path"].startswith(home)
        assert seen == (200 if within else 404)
    assert demo.ask("GET", "/points", token="").status == 401


def test_roles_end_where_they_end(demo: Demo) -> None:
    point = items(demo, "/points?limit=1", demo.token("admin"))[0]["id"]
    integrator, auditor = demo.token("integrator"), demo.token("auditor")
    assert demo.ask("GET", f"/points/{point}", token=integrator).status == 200
    live = demo.ask("POST", f"/points/{point}/live", token=integrator, body={})
    assert live.status == 403
    assert demo.ask("GET", f"/points/{point}/snapshot.jpg", token=integrator).status == 403
    assert items(demo, "/points", auditor) == []
    viewer = demo.token("viewer")
    own = items(demo, "/points", viewer)[0]["id"]
    assert demo.ask("POST", f"/points/{own}/ptz", token=viewer, body={"pan": 1}).status == 403


async def frames_of(demo: Demo, path: str, count: int) -> list[Any]:
    url = demo.url.replace("http", "ws") + path
    async with websockets.connect(url, max_size=1 << 22) as socket:
        got = []
        async with asyncio.timeout(20):
            while sum(isinstance(message, bytes) for message in got) < count:
                got.append(await socket.recv())
        return got


async def test_a_live_ticket_opens_one_moving_stream(demo: Demo) -> None:
    viewer = demo.token("viewer")
    point = items(demo, "/points?status=online", viewer)[0]["id"]
    answer = demo.ask("POST", f"/points/{point}/live", token=viewer, body={"profile": "sub"})
    assert answer.status == 201
    assert answer.body["codec"] == "avc1"
    assert (answer.body["width"], answer.body["height"]) == (320, 180)
    got = await frames_of(demo, answer.body["urls"]["frames"], 30)
    video = next(json.loads(m) for m in got if isinstance(m, str) and '"video"' in m)
    assert video["codec"].startswith("avc1.")
    units = [m for m in got if isinstance(m, bytes)]
    assert units[0][0] & 1, "starts at a keyframe"
    times = [int.from_bytes(unit[2:10], "big") for unit in units]
    assert times == sorted(times)
    assert len(set(times)) == len(times)
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await frames_of(demo, answer.body["urls"]["frames"], 1)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def test_a_snapshot_is_a_picture_of_the_width_asked_for(demo: Demo) -> None:
    viewer = demo.token("viewer")
    for point in items(demo, "/points?status=online", viewer)[:1]:
        answer = demo.ask("GET", f"/points/{point['id']}/snapshot.jpg?width=160", token=viewer)
        assert answer.status == 200
        assert answer.body[:2] == b"\xff\xd8"


async def test_a_radio_press_reaches_a_phone_and_everybody_who_may_see_it(demo: Demo) -> None:
    events: list[Any] = []
    traffic = Traffic()

    def take(topic: str, payload: bytes) -> None:
        traffic.hear(topic, payload)
        if "/event/" in topic or "/decision/" in topic:
            events.append(decode_event(payload))

    async with connect(reader(demo), "watcher", take) as link:
        assert await link.subscribe("hutong/v1/#", 0)
        dispatcher = demo.token("dispatcher")
        channels = {c["address"]: c["id"] for c in items(demo, "/channels", dispatcher)}
        press = {"talkgroup": 3101, "slot": 1, "seconds": 1.5}
        answer = await asyncio.to_thread(demo.simulate, "/radios/3101001/press", press)
        assert answer.body == {"pressed": True}

        def seen(kind: str, channel: str) -> bool:
            return any(e.type == kind and e.subject == channels[channel] for e in events)

        await wait_until(lambda: seen("floor.taken", "1/3101"))
        await wait_until(lambda: seen("floor.granted", "1/3101"))
        await wait_until(lambda: seen("command.result", "Patrol"))
        state = demo.ask("GET", f"/channels/{channels['1/3101']}", token=dispatcher).body["state"]
        assert state["floor"] == "taken"
        assert state["talker_alias"]
        await wait_until(lambda: seen("floor.idle", "1/3101"))
        simulated = await asyncio.to_thread(
            demo.ask, "GET", f"={demo.ready['simulators']['control']}/state"
        )
        log = simulated.body["zello"][0]["log"]
        kinds = [r["kind"] for r in log if r["username"] == "gateway"]
        assert kinds.index("text") < kinds.index("start")
        assert any("张伟" in r["detail"] for r in log if r["kind"] == "text")
        recent = items(demo, "/events?type=floor.taken", dispatcher)
        assert recent[0]["subject"] == channels["1/3101"]
        assert items(demo, "/events", demo.token("viewer")) == []
    assert traffic.heard > 20
    traffic.check()


def test_a_dispatcher_can_press_and_a_viewer_cannot(demo: Demo) -> None:
    dispatcher = demo.token("dispatcher")
    channel = items(demo, "/channels", dispatcher)[0]["id"]
    talk = f"/channels/{channel}/talk"
    pressed = demo.ask("POST", talk, token=dispatcher, body={"action": "press"})
    assert pressed.status == 202
    assert pressed.body["state"] == "granted"
    assert pressed.body["transmission"]
    released = demo.ask("POST", talk, token=dispatcher, body={"action": "release"})
    assert released.body["state"] == "released"
    refused = demo.ask("POST", talk, token=demo.token("auditor"), body={"action": "press"})
    assert refused.status == 404


async def test_the_event_stream_shows_states_and_events(demo: Demo) -> None:
    token = demo.token("dispatcher")
    host, port = demo.url.removeprefix("http://").split(":")
    streams, writer = await asyncio.open_connection(host, int(port))
    try:
        head = f"GET /api/v1/events/stream HTTP/1.1\r\nHost: {host}:{port}\r\n"
        writer.write(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        await streams.readuntil(b"retry: 2000")
        press = {"channel": "Patrol", "seconds": 0.5}
        await asyncio.to_thread(demo.simulate, "/phones/village-01/press", press)
        said = b""
        async with asyncio.timeout(10):
            while not (b"event: patch" in said and b"hutong.floor.idle" in said):
                said += await streams.readuntil(b"\n\n")
        assert b"event: channel" in said
        assert b"id: " in said
    finally:
        writer.close()
        await writer.wait_closed()


def test_health_ready_metrics_and_openapi(demo: Demo) -> None:
    assert demo.ask("GET", f"={demo.url}/healthz").status == 200
    ready = demo.ask("GET", f"={demo.url}/readyz").body
    assert (ready["database"], ready["broker"]) == ("ok", "ok")
    metrics = demo.ask("GET", f"={demo.url}/metrics").body.decode()
    assert "hutong_bus_connected 1" in metrics
    document = demo.ask("GET", f"={demo.url}/api/openapi.json").body
    assert "/api/v1/points/{point_id}/live" in document["paths"]
    kinds = {k["name"] for k in items(demo, "/adapters", demo.token("integrator"))}
    assert {"onvif", "rtsp", "homebrew", "zello"} <= kinds


def test_passwords_of_cameras_are_nowhere_to_be_read(demo: Demo) -> None:
    folder = Path(demo.ready["data_dir"])
    scenario = (folder / "scenario.yaml").read_text()
    secret = next(line.split(": ")[1] for line in scenario.splitlines() if "password:" in line)
    admin = demo.token("admin")
    shown = json.dumps(
        [
            items(demo, path, admin)
            for path in ("/devices?limit=100", "/points?limit=100", "/systems")
        ]
    )
    assert secret.split("-")[0] not in shown
    for file in folder.glob("hutong.db*"):
        assert secret.encode() not in file.read_bytes()


def test_ctrl_c_ends_every_child_and_the_folder() -> None:
    with running_demo("--cameras", "2", "--no-traffic") as demo:
        children = children_of(demo.pid)
        assert len(children) >= 2  # simulators and broker
        folder = demo.ready["data_dir"]
        assert Path(folder).exists()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    assert not Path(folder).exists()


def test_without_opencv_the_demo_runs_and_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with running_demo("--cameras", "2", "--no-traffic", environment={"PYTHONPATH": path}) as demo:
        admin = demo.token("admin")
        point = items(demo, "/points?status=online", admin)[0]["id"]
        assert demo.ask("GET", f"/points/{point}/snapshot.jpg", token=admin).status == 200
        small = demo.ask("GET", f"/points/{point}/snapshot.jpg?width=100", token=admin)
        assert small.status == 422
        assert "libgl1" in small.body["detail"]


def hutong(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_port_in_use_is_one_clear_sentence(demo: Demo, tmp_path: Path) -> None:
    port = demo.url.rsplit(":", 1)[1]
    done = hutong("serve", HUTONG_HTTP_PORT=port, HUTONG_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in done.stderr
