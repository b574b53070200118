"""The ONVIF camera against stock onvif-zeep."""

import asyncio
import datetime
import itertools
import warnings
from typing import Any

import pytest
import requests
import zeep
from video_peers import TDS, TEV, TRT, one_camera

from simulators.onvif_camera import EventKind, OnvifCamera


def stock_camera(camera: OnvifCamera, session: requests.Session, password: str = "") -> Any:
    from onvif import ONVIFCamera

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ONVIFCamera(
            camera.host,
            camera.onvif_port,
            "admin",
            password or camera.spec.password,
            transport=zeep.Transport(session=session),
        )


def drive_device_and_media(camera: OnvifCamera) -> dict[str, Any]:
    with requests.Session() as session:
        stock = stock_camera(camera, session)
        device, media = stock.devicemgmt, stock.create_media_service()
        clock = device.GetSystemDateAndTime().UTCDateTime
        profiles = media.GetProfiles()
        stream = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        return {
            "xaddrs": dict(stock.xaddrs),
            "information": device.GetDeviceInformation(),
            "services": [s.Namespace for s in device.GetServices({"IncludeCapability": True})],
            "year": clock.Date.Year,
            "scopes": [scope.ScopeItem for scope in device.GetScopes()],
            "hostname": device.GetHostname().Name,
            "mac": device.GetNetworkInterfaces()[0].Info.HwAddress,
            "guid": device.GetEndpointReference().GUID,
            "digest": device.GetServiceCapabilities().Security.HttpDigest,
            "profiles": [(p.token, p.Name) for p in profiles],
            "size": profiles[1].VideoEncoderConfiguration.Resolution.Width,
            "h264": profiles[0].VideoEncoderConfiguration.H264.H264Profile,
            "one": media.GetProfile({"ProfileToken": profiles[1].token}).token,
            "sources": [source.token for source in media.GetVideoSources()],
            "source_configurations": len(media.GetVideoSourceConfigurations()),
            "encoder_configurations": len(media.GetVideoEncoderConfigurations()),
            "uris": [
                media.GetStreamUri({"StreamSetup": stream, "ProfileToken": p.token}).Uri
                for p in profiles
            ],
            "snapshot": media.GetSnapshotUri({"ProfileToken": profiles[0].token}).Uri,
        }


async def test_stock_onvif_zeep_reads_device_and_media() -> None:
    async with one_camera(
        host="127.0.2.9", sources=2, profile="main", location="万莲路 7"
    ) as camera:
        seen = await asyncio.to_thread(drive_device_and_media, camera)
        assert camera.subscriptions == 1  # its constructor opens one and leaves it
        assert seen["uris"] == [
            camera.rtsp_url(kind, source)  # type: ignore[arg-type]
            for source, kind in itertools.product((1, 2), ("main", "sub"))
        ]
        assert seen["xaddrs"][TRT] == f"{camera.base_url}/onvif/media_service"
    assert seen["information"]["SerialNumber"] == "SN-gate"
    assert seen["information"]["Manufacturer"] == "Acme"
    assert seen["services"] == [TDS, TRT, TEV, "http://www.onvif.org/ver20/media/wsdl"]
    assert abs(seen["year"] - datetime.datetime.now(datetime.UTC).year) <= 1
    assert "onvif://www.onvif.org/name/gate" in seen["scopes"]
    assert "onvif://www.onvif.org/location/%E4%B8%87%E8%8E%B2%E8%B7%AF%207" in seen["scopes"]
    assert seen["hostname"] == "camera-SN-gate"
    assert seen["mac"] == camera.spec.mac_address
    assert f"urn:uuid:{seen['guid']}" == camera.spec.endpoint_reference
    assert seen["digest"] is True
    assert seen["profiles"][0] == ("profile_1_main", "main")
    assert len(seen["profiles"]) == seen["encoder_configurations"] == 4
    assert (seen["size"], seen["h264"], seen["one"]) == (120, "Main", "profile_1_sub")
    assert seen["sources"] == ["source_1", "source_2"]
    assert seen["source_configurations"] == 2
    assert seen["snapshot"] == f"http://127.0.2.9:{camera.onvif_port}/onvif/snapshot/profile_1_main"


def drive_ptz(camera: OnvifCamera) -> dict[str, Any]:
    with requests.Session() as session:
        ptz = stock_camera(camera, session).create_ptz_service()
        profile = {"ProfileToken": "profile_1_main"}
        seen: dict[str, Any] = {
            "nodes": [node.token for node in ptz.GetNodes()],
            "configurations": [item.NodeToken for item in ptz.GetConfigurations()],
        }
        velocity = {"PanTilt": {"x": 1.0, "y": -0.5}, "Zoom": {"x": 1.0}}
        timeout = datetime.timedelta(seconds=60)
        ptz.ContinuousMove({**profile, "Velocity": velocity, "Timeout": timeout})
        seen["moving"] = ptz.GetStatus(profile).MoveStatus.PanTilt
        while ptz.GetStatus(profile).Position.PanTilt.x < 0.02:
            pass
        ptz.Stop(profile)
        stopped = ptz.GetStatus(profile)
        seen["stopped"] = (stopped.MoveStatus.PanTilt, stopped.MoveStatus.Zoom)
        token_ = ptz.SetPreset({**profile, "PresetName": "gate"})
        seen["preset"] = [(p.token, p.Name) for p in ptz.GetPresets(profile)]
        ptz.ContinuousMove({**profile, "Velocity": {"PanTilt": {"x": -1, "y": 1}}})
        ptz.GotoPreset({**profile, "PresetToken": token_})
        seen["back"] = ptz.GetStatus(profile).Position.PanTilt.x
        seen["kept"] = stopped.Position.PanTilt.x
        ptz.RemovePreset({**profile, "PresetToken": token_})
        seen["removed"] = ptz.GetPresets(profile)
        return seen


async def test_stock_onvif_zeep_moves_the_head() -> None:
    async with one_camera(ptz=True) as camera:
        seen = await asyncio.to_thread(drive_ptz, camera)
        assert camera.ptz is not None
        assert camera.ptz.moves == 3
        assert camera.ptz.stops == 1
        assert not camera.ptz.moving
        assert camera.ptz.position.tilt < 0 < camera.ptz.position.zoom
    assert seen["nodes"] == seen["configurations"] == ["ptz_node_1"]
    assert seen["moving"] == "MOVING"
    assert seen["stopped"] == ("IDLE", "IDLE")
    assert seen["preset"] == [("1", "gate")]
    assert seen["back"] == seen["kept"] >= 0.02
    assert not seen["removed"]


def drive_events(camera: OnvifCamera, notify: Any) -> list[Any]:
    with requests.Session() as session:
        stock = stock_camera(camera, session)
        assert stock.create_events_service().GetEventProperties().FixedTopicSet is True
        point = stock.create_pullpoint_service()
        wait = {"Timeout": datetime.timedelta(seconds=20), "MessageLimit": 50}
        first = point.PullMessages(wait)
        notify()
        second = point.PullMessages(wait)
        return [
            [
                (message.Message._value_1.get("PropertyOperation"), items(message))
                for message in answer.NotificationMessage
            ]
            for answer in (first, second)
        ]


def items(message: Any) -> dict[str, str]:
    found = message.Message._value_1.iter("{*}SimpleItem")
    return {item.get("Name"): item.get("Value") for item in found}


async def test_stock_onvif_zeep_pulls_events() -> None:
    async with one_camera() as camera:
        loop = asyncio.get_running_loop()

        def motion() -> None:
            loop.call_soon_threadsafe(camera.notify, EventKind.MOTION, True)

        first, second = await asyncio.to_thread(drive_events, camera, motion)
    assert [operation for operation, _ in first] == ["Initialized"] * len(EventKind)
    assert second == [("Changed", {"Source": "source_1", "State": "true"})]


def drive_wrong_password(camera: OnvifCamera) -> Exception:
    with requests.Session() as session:
        stock = stock_camera(camera, session, "wrong")
        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the library makes of it
            stock.devicemgmt.GetDeviceInformation()
        return caught.value


async def test_stock_onvif_zeep_is_refused_with_a_wrong_password() -> None:
    async with one_camera() as camera:
        error = await asyncio.to_thread(drive_wrong_password, camera)
        assert "not authorized" in str(error)
        assert camera.refused == 2  # its constructor tried to subscribe
        assert camera.subscriptions == 0
