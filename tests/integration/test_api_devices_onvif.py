"""Registering ONVIF cameras over HTTP: one by one, by discovery, again after they moved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from core_api import Answer, Caller
from radio_api import Stage

from registry import devices
from registry.partition import SYSTEM
from simulators.onvif_camera import CameraSpec, OnvifCamera, OnvifFleet, Quirks, with_persona

pytest_plugins = ["core_api", "radio_api"]

PASSWORD = "planted-camera-password"
PATIENCE_S = 20.0


def spec(name: str, *personas: str, **changes: Any) -> CameraSpec:
    known: dict[str, Any] = {
        "username": "admin", "password": PASSWORD, "serial": f"SN-{name}", "manufacturer": "Acme",
        "model": "IPC", "firmware": "1", "main_size": (160, 128), "sub_size": (128, 96), "fps": 5,
    }  # fmt: skip
    return with_persona(CameraSpec(name=name, **(known | changes)), *personas)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@contextlib.asynccontextmanager
async def running(
    clips: Path, *specs: CameraSpec, discovery: bool = False
) -> AsyncIterator[OnvifFleet]:
    async with OnvifFleet(
        specs, clip_cache=clips, discovery_port=0 if discovery else None
    ) as fleet:
        yield fleet


async def register(ask: Caller, camera: OnvifCamera | str, **changes: Any) -> Answer:
    endpoint = camera if isinstance(camera, str) else camera.device_url
    body = {
        "adapter": "onvif",
        "endpoint": endpoint,
        "username": "admin",
        "password": PASSWORD,
        "organization": "d",
        **changes,
    }
    return await ask("POST", "/devices", body)


async def job_of(ask: Caller, started: Answer) -> dict[str, Any]:
    assert started.status == 202, started.body
    async with asyncio.timeout(PATIENCE_S):
        while True:
            job: dict[str, Any] = (await ask("GET", f"/jobs/{started.body['id']}")).body
            if job["state"] not in ("queued", "running"):
                return job
            await asyncio.sleep(0.02)


async def test_what_is_odd_about_a_device_is_shown(stage: Stage, clips: Path) -> None:
    ask = await stage.caller("integrator")
    async with running(clips, spec("gate", "wrong-xaddr")) as fleet:
        made = await register(ask, fleet.cameras["gate"])
        assert made.status == 201, made.body
        services, stream, picture = notes = made.body["notes"]
        assert "192.168.1.108:8899" in services
        assert stream.startswith("stream ")
        assert picture.startswith("picture ")
        again = await ask("GET", f"/devices/{made.body['id']}")
        assert (again.body["notes"], again.body["ambiguous"]) == (notes, [])
        fleet.cameras["gate"].quirks = Quirks()
        await ask("POST", f"/devices/{made.body['id']}/refresh")
        assert (await ask("GET", f"/devices/{made.body['id']}")).body["notes"] == []
        point = made.body["created"][0]["point"]
        viewer = await stage.caller("admin")
        assert "192.168" not in str((await viewer("GET", f"/points/{point}")).body)


async def test_a_discovery_registers_what_it_finds_with_a_result_for_each(
    stage: Stage, clips: Path
) -> None:
    ask = await stage.caller("integrator")
    specs = (spec("one"), spec("two", sources=3), spec("odd", password="other"), spec("here"))
    async with running(clips, *specs, discovery=True) as fleet:
        here = fleet.cameras["here"]
        # Written in another way than discovery finds it: one device all the same.
        known = await register(ask, f"127.0.0.1:{here.onvif_port}")
        body = {
            "interfaces": ["127.0.0.1"],
            "port": fleet.discovery_port,
            "timeout_s": 0.5,
            "register": {"organization": "d", "username": "admin", "password": PASSWORD},
        }
        job = await job_of(ask, await ask("POST", "/devices/discover", body))
        assert (job["state"], job["done"], job["total"]) == ("done", 4, 4)
        assert len(job["report"]["found"]) == 4
        results = {each["endpoint"]: each for each in job["report"]["results"]}
        outcome = {
            name: results[camera.device_url]["outcome"] for name, camera in fleet.cameras.items()
        }
        assert outcome == {
            "one": "registered", "two": "registered", "odd": "refused", "here": "known",
        }  # fmt: skip
        assert len(results[fleet.cameras["two"].device_url]["created"]) == 3
        assert "refused the user name" in results[fleet.cameras["odd"].device_url]["reason"]
        assert results[here.device_url]["device"] == known.body["id"]
        assert PASSWORD not in str(job)
        # Once more, everything is known.
        job = await job_of(ask, await ask("POST", "/devices/discover", body))
        outcomes = sorted(each["outcome"] for each in job["report"]["results"])
        assert outcomes == ["known", "known", "known", "refused"]
        assert (await ask("GET", "/devices")).body["total"] == 3


async def test_a_device_that_announces_a_wrong_host_is_met_where_it_answered_from(
    stage: Stage, clips: Path
) -> None:
    ask = await stage.caller("integrator")
    async with running(clips, spec("gate"), discovery=True) as fleet:
        camera = fleet.cameras["gate"]
        elsewhere = f"127.0.0.9:{camera.onvif_port}"
        camera.quirks = Quirks(announced_host=elsewhere)
        body = {
            "interfaces": ["127.0.0.1"],
            "port": fleet.discovery_port,
            "timeout_s": 0.3,
            "register": {"organization": "d", "username": "admin", "password": PASSWORD},
        }
        job = await job_of(ask, await ask("POST", "/devices/discover", body))
        (result,) = job["report"]["results"]
        assert (result["outcome"], elsewhere in result["endpoint"]) == ("registered", True)
        device = (await ask("GET", f"/devices/{result['device']}")).body
        assert device["endpoint"] == camera.device_url
        assert elsewhere in device["notes"][0]
        # Found anew, it is known, though its announced address is still nobody's.
        again = await job_of(ask, await ask("POST", "/devices/discover", body))
        assert again["report"]["results"][0]["outcome"] == "known"


@pytest.mark.parametrize(
    ("register", "status"),
    [
        ({"organization": "d", "settings": {"password": "x"}}, 422),
        ({"organization": "d", "settings": {"timeout_s": -1}}, 422),
        ({"organization": "nowhere"}, 404),
        ({"username": "admin"}, 422),
    ],
)
async def test_a_wrong_wish_starts_no_discovery(
    stage: Stage, register: dict[str, Any], status: int
) -> None:
    ask = await stage.caller("integrator")
    answer = await ask("POST", "/devices/discover", {"register": register})
    assert answer.status == status, answer.body


class TestMoved:
    async def test_a_camera_keeps_its_points(self, stage: Stage, clips: Path) -> None:
        ask = await stage.caller("integrator")
        async with (
            running(clips, spec("nvr", sources=2)) as before,
            running(clips, spec("nvr", sources=2, password="new"), discovery=True) as after,
        ):
            made = await register(ask, before.cameras["nvr"])
            points = {each["address"]: each["point"] for each in made.body["created"]}
            await before.cameras["nvr"].power(False)
            moved = await register(ask, after.cameras["nvr"], password="new")
            assert moved.status == 200, moved.body
            assert moved.body["id"] == made.body["id"]
            assert moved.body["moved_from"] == before.cameras["nvr"].device_url
            assert moved.body["endpoint"] == after.cameras["nvr"].device_url
            assert (moved.body["bound"], moved.body["created"]) == ([], [])
            shown = (await ask("GET", f"/devices/{made.body['id']}")).body["sources"]
            assert {each["address"]: each["point"] for each in shown} == points
            # The new credentials are kept, too: it can be asked anew.
            assert (await ask("POST", f"/devices/{made.body['id']}/refresh")).status == 200
            assert (await ask("GET", "/points")).body["total"] == 2

    async def test_a_discovery_finds_it_again(self, stage: Stage, clips: Path) -> None:
        ask = await stage.caller("integrator")
        async with running(clips, spec("cam")) as before:
            made = await register(ask, before.cameras["cam"])
        async with running(clips, spec("cam"), discovery=True) as after:
            body = {
                "interfaces": ["127.0.0.1"],
                "port": after.discovery_port,
                "timeout_s": 0.3,
                "register": {"organization": "d", "username": "admin", "password": PASSWORD},
            }
            job = await job_of(ask, await ask("POST", "/devices/discover", body))
            (result,) = job["report"]["results"]
            assert (result["outcome"], result["device"]) == ("moved", made.body["id"])
            run = await stage.api.context.database.read(
                lambda c: devices.get(c, SYSTEM, made.body["id"])
            )
            assert run.identity.endpoint_reference == after.cameras["cam"].spec.endpoint_reference

    async def test_two_with_one_serial_number_are_two(self, stage: Stage, clips: Path) -> None:
        ask = await stage.caller("integrator")
        first, second = spec("a", serial="12345678"), spec("b", serial="12345678")
        async with running(clips, first, second) as fleet:
            answers = [await register(ask, camera) for camera in fleet.cameras.values()]
            assert [each.status for each in answers] == [201, 201]
            assert answers[0].body["id"] != answers[1].body["id"]


async def test_an_ambiguous_source_is_mended_by_hand(stage: Stage, clips: Path) -> None:
    ask = await stage.caller("admin")
    new = {"organization": "d", "name": "twin", "host": "127.0.0.1", "channel_number": 1}
    twins = [(await ask("POST", "/points", new)).body["id"] for _ in range(2)]
    async with running(clips, spec("gate")) as fleet:
        made = (await register(ask, fleet.cameras["gate"])).body
        waiting = [{"address": "source_1", "points": twins}]
        assert made["ambiguous"] == waiting
        path = f"/devices/{made['id']}"
        assert (await ask("GET", path)).body["ambiguous"] == waiting
        source = {"device": made["id"], "address": "source_1"}
        version = {"If-Match": '"1"'}
        mended = await ask("PUT", f"/points/{twins[1]}/source", source, headers=version)
        assert mended.status == 200, mended.body
        shown = (await ask("GET", path)).body
        assert (shown["ambiguous"], shown["sources"][0]["point"]) == ([], twins[1])
        # A later look leaves what a hand has set.
        again = (await ask("POST", f"{path}/refresh")).body
        assert (again["ambiguous"], again["created"]) == ([], [])


async def test_a_certificate_is_shown_kept_and_its_change_refused(
    stage: Stage, clips: Path
) -> None:
    ask = await stage.caller("integrator")
    async with running(clips, spec("gate", "tls")) as fleet:
        camera = fleet.cameras["gate"]
        made = await register(ask, camera)
        assert made.status == 201, made.body
        path = f"/devices/{made.body['id']}"
        assert _digits(camera.fingerprint) in _digits(str(made.body["notes"]))
        assert (await ask("POST", f"{path}/refresh")).status == 200
        assert _digits(camera.fingerprint) in _digits(str((await ask("GET", path)).body["notes"]))
        camera.renew_certificate()
        refused = await ask("POST", f"{path}/refresh")
        assert refused.status == 422, refused.body
        assert "another one now" in refused.body["detail"]
        version = (await ask("GET", path)).body["version"]
        cleared = await ask(
            "PATCH",
            path,
            {"settings": {"certificate_sha256": None}},
            headers={"If-Match": f'"{version}"'},
        )
        assert cleared.status == 200, cleared.body
        again = await ask("POST", f"{path}/refresh")
        assert again.status == 200, again.body
        assert _digits(camera.fingerprint) in _digits(str(again.body["notes"]))


def _digits(text: str) -> str:
    return text.replace(":", "").lower()
