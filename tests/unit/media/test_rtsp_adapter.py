"""The rtsp kind: settings, probing, and what it notices while it runs."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
from media_samples import rtp_stream, sample
from pydantic import ValidationError
from scripted_camera import SDP, Asked, camera, until

from adapters import catalog
from adapters.errors import AuthenticationFailed, InvalidSettings, ProtocolViolation, Unreachable
from adapters.events import Event, Online, RtspSource, Secret
from adapters.rtsp.adapter import RtspAdapter
from adapters.rtsp.settings import RtspSettings
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet


def test_credentials_are_moved_out_of_addresses() -> None:
    settings = RtspSettings.model_validate(
        {"endpoint": "rtsp://u:p%40ss@cam/main", "sub_endpoint": "rtsp://u:x@cam/sub"}
    )
    assert settings.source("main") == RtspSource(
        url="rtsp://cam/main", username="u", password=Secret("p@ss")
    )
    assert settings.source("sub").url == "rtsp://cam/sub"
    assert "p@ss" not in repr(settings)
    given = RtspSettings.model_validate(
        {"endpoint": "cam:8554/main", "username": "a", "password": Secret("b")}
    )
    assert given.source("sub").url == "rtsp://cam:8554/main"
    assert given.source("main").password == Secret("b")


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoint": "http://planted-secret@cam/"},
        {"endpoint": ""},
        {},
        {"endpoint": "cam", "password": "planted-secret"},
        {"endpoint": "cam", "sub_endpoint": "ftp://u:planted-secret@cam"},
        {"endpoint": "cam", "check_interval_s": 0},
        {"endpoint": "cam", "unknown": 1},
    ],
)
def test_bad_settings_are_refused_without_showing_them(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as raised:
        RtspSettings.model_validate(fields)
    assert "planted-secret" not in str(raised.value)


def test_settings_have_a_schema_for_forms() -> None:
    schema = json.loads(json.dumps(RtspSettings.model_json_schema()))
    assert schema["properties"]["password"]["format"] == "password"
    assert schema["required"] == ["endpoint"]
    assert catalog.load("rtsp") is RtspAdapter


async def test_probing_reads_the_description(tmp_path: Path) -> None:
    spec = RtspCameraSpec(
        name="a", username="u", password="p", main_size=(320, 192), sub_size=(128, 96), fps=10
    )
    async with RtspFleet([spec], clip_cache=tmp_path) as fleet:
        it = fleet.cameras["a"]
        settings = RtspSettings.model_validate(
            {
                "endpoint": it.url("main"),
                "sub_endpoint": it.url("sub"),
                "username": "u",
                "password": "p",
            }
        )
        inventory = await RtspAdapter(settings).probe()
    (source,) = inventory.sources
    assert (source.address, source.channel_number) == ("1", 1)
    main, sub = source.profiles
    assert (main.name, main.codec, main.width, main.height) == ("main", "h264", 320, 192)
    assert (sub.name, sub.codec, sub.width, sub.height) == ("sub", "h264", 128, 96)
    assert main.fps == pytest.approx(10)
    assert inventory.notes == ()
    assert source.capabilities == frozenset()


async def test_a_size_that_is_not_announced_is_read_from_the_stream() -> None:
    packets = [data for unit in rtp_stream(sample("h264", 320, 180)) for data in unit]
    async with camera(packets=packets) as it:
        inventory = await RtspAdapter(RtspSettings(endpoint=it.url)).probe()
        profile = inventory.sources[0].profiles[0]
        assert (profile.codec, profile.width, profile.height) == ("h264", 320, 180)


async def test_a_camera_of_another_codec_is_known_by_it() -> None:
    sdp = SDP.replace("H264", "MP4V-ES")
    async with camera(sdp=sdp) as it:
        settings = RtspSettings(endpoint=it.url, timeout_s=0.3)
        inventory = await RtspAdapter(settings).probe()
    profile = inventory.sources[0].profiles[0]
    assert (profile.codec, profile.width, profile.height) == ("mpeg4", 0, 0)
    assert "PyAV" in inventory.notes[0]
    assert "MP4V-ES" in inventory.notes[0]


@pytest.mark.parametrize(
    ("codec", "capabilities"), [("PCMA/8000", {"audio"}), ("G726-32/8000", {})]
)
async def test_probing_tells_of_audio(codec: str, capabilities: set[str]) -> None:
    sdp = f"{SDP}m=audio 0 RTP/AVP 98\r\na=rtpmap:98 {codec}\r\n"
    packets = [data for unit in rtp_stream(sample()) for data in unit]
    async with camera(packets=packets, sdp=sdp) as it:
        inventory = await RtspAdapter(RtspSettings(endpoint=it.url)).probe()
    assert inventory.sources[0].capabilities == frozenset(capabilities)
    assert any("G726" in note for note in inventory.notes) == (not capabilities)


async def test_what_the_connection_needs_reaches_the_stream() -> None:
    pin = "AB:" * 31 + "AB"
    settings = RtspSettings.model_validate(
        {"endpoint": "rtsps://cam/", "certificate_sha256": pin, "allow_basic": True}
    )
    source = settings.source("main")
    assert (source.certificate_sha256, source.allow_basic) == ("ab" * 32, True)
    with pytest.raises(ValidationError):
        RtspSettings.model_validate({"endpoint": "cam", "certificate_sha256": "abc"})


async def test_other_sources_and_profiles_are_refused() -> None:
    adapter = RtspAdapter(RtspSettings(endpoint="cam"))
    assert await adapter.open_media("1", "sub") == RtspSource(url="rtsp://cam")
    for address, profile in (("2", "main"), ("1", "third")):
        with pytest.raises(InvalidSettings):
            await adapter.open_media(address, profile)


async def test_running_notices_that_the_camera_has_gone(tmp_path: Path) -> None:
    spec = RtspCameraSpec(
        name="a", username="u", password="p", main_size=(128, 96), sub_size=(128, 96)
    )
    async with RtspFleet([spec], clip_cache=tmp_path) as fleet:
        it = fleet.cameras["a"]
        settings = RtspSettings.model_validate(
            {
                "endpoint": it.url("main"),
                "username": "u",
                "password": "p",
                "check_interval_s": 0.05,
                "timeout_s": 0.5,
            }
        )
        events: list[Event] = []
        task = asyncio.create_task(RtspAdapter(settings).run(events.append))
        await until(lambda: events)
        assert isinstance(events[0], Online)
        requests = it.requests
        await until(lambda: it.requests > requests + 8)
        assert it.sessions == 0
        await it.power(False)
        with pytest.raises(Unreachable):
            await asyncio.wait_for(task, 5)
        assert len(events) == 1

        await it.power(True)
        wrong = settings.model_copy(update={"password": RtspSettings(endpoint="x").password})
        with pytest.raises(AuthenticationFailed):
            await RtspAdapter(wrong).run(events.append)
        it.quirks = dataclasses.replace(it.quirks, garbage=True)
        with pytest.raises(ProtocolViolation):
            await RtspAdapter(settings).run(events.append)
    assert len(events) == 1


async def test_a_path_that_is_not_there_is_noticed() -> None:
    def script(asked: Asked) -> bytes | None:
        return asked.answer("404 Not Found") if asked.method == "DESCRIBE" else None

    async with camera(script) as it:
        with pytest.raises(ProtocolViolation, match="404"):
            await RtspAdapter(RtspSettings(endpoint=it.url)).run(lambda event: None)
