"""Devices that are met again: elsewhere, under another spelling, or with a twin."""

from typing import Any

import pytest
from databases import Registry

from registry import changes, devices, organizations, points, recognition
from registry.devices import DeviceIdentity, NewDevice
from registry.errors import Conflict, NotFound
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.points import NewPoint
from registry.sources import FoundSource, place_of

pytest_plugins = ["databases"]

OLD = "http://10.0.0.1/onvif/device_service"
NEW = "http://10.0.0.99/onvif/device_service"
ACME = DeviceIdentity(manufacturer="Acme", model="NVR", serial="SN-1")
SOURCES = [FoundSource(address=f"v{n}", channel_number=n) for n in (1, 2)]


@pytest.fixture
def district(registry: Registry) -> Registry:
    for kind, parent, slug in (("district", None, "d"), ("station", "d", "s1")):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        registry(organizations.create, SYSTEM, new)
    return registry


def at(endpoint: str, **values: Any) -> NewDevice:
    return NewDevice(
        **{"adapter": "onvif", "endpoint": endpoint, "organization": "d", "secret": b"1", **values}
    )


def integrator(path: str) -> Principal:
    grants = (Grant(role=Role.INTEGRATOR, organization_id="", path=path),)
    return Principal(
        user_id="01890000-0000-7000-8000-000000000001", name="integrator", grants=grants
    )


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("10.0.0.1", ("10.0.0.1", 80)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("HTTP://10.0.0.1/x", ("10.0.0.1", 80)),
        ("https://cam.Local", ("cam.local", 443)),
        ("rtsp://10.0.0.1/x", ("10.0.0.1", 554)),
        ("10.0.0.1:99999", ("10.0.0.1:99999", 0)),
    ],
)
def test_the_place_of_an_endpoint(endpoint: str, place: tuple[str, int]) -> None:
    found = place_of(endpoint)
    assert found[1] == place[1]
    assert found[0] in (place[0], "10.0.0.1")


def test_an_address_is_known_however_it_is_written(district: Registry) -> None:
    first = district(devices.register, SYSTEM, at("10.0.0.1"), []).device_id
    for spelling in (OLD, "10.0.0.1:80", "http://10.0.0.1:80/"):
        assert district(recognition.at_endpoint, SYSTEM, "onvif", spelling) == first
    for other in ("10.0.0.11", "10.0.0.1:81", "https://10.0.0.1"):
        assert district(recognition.at_endpoint, SYSTEM, "onvif", other) is None
    assert district(recognition.at_endpoint, SYSTEM, "rtsp", OLD) is None
    assert district(recognition.at_endpoint, integrator("d/s1"), "onvif", OLD) is None


@pytest.mark.parametrize(
    ("kept", "met", "known"),
    [
        (ACME, ACME, True),
        (ACME, DeviceIdentity(manufacturer="Acme", model="NVR", serial="SN-2"), False),
        (ACME, DeviceIdentity(manufacturer="Other", model="NVR", serial="SN-1"), False),
        (DeviceIdentity(serial="0000"), DeviceIdentity(serial="0000"), False),
        (DeviceIdentity(), DeviceIdentity(), False),
        (
            DeviceIdentity(endpoint_reference="urn:uuid:1"),
            DeviceIdentity(endpoint_reference="urn:uuid:1", serial="SN-9"),
            True,
        ),
    ],
)
def test_a_device_is_known_again_by_what_it_says(
    district: Registry, kept: DeviceIdentity, met: DeviceIdentity, known: bool
) -> None:
    first = district(devices.register, SYSTEM, at(OLD), [], identity=kept).device_id
    found = district(recognition.known_as, SYSTEM, "onvif", NEW, met)
    assert (found is not None and found.id == first) is known
    # At its own address it is not elsewhere, and whom one does not see one is not told of.
    assert district(recognition.known_as, SYSTEM, "onvif", "10.0.0.1", met) is None
    assert district(recognition.known_as, integrator("d/s1"), "onvif", NEW, met) is None


def test_of_twins_the_endpoint_reference_decides_or_nobody_does(district: Registry) -> None:
    second = DeviceIdentity(**{**_fields(ACME), "endpoint_reference": "urn:uuid:2"})
    district(devices.register, SYSTEM, at(OLD), [], identity=ACME)
    twin = district(devices.register, SYSTEM, at("10.0.0.2"), [], identity=second).device_id
    assert district(recognition.known_as, SYSTEM, "onvif", NEW, ACME) is None
    found = district(recognition.known_as, SYSTEM, "onvif", NEW, second)
    assert found is not None
    assert found.id == twin


def _fields(identity: DeviceIdentity) -> dict[str, str]:
    return {
        name: getattr(identity, name)
        for name in ("manufacturer", "model", "serial", "firmware", "endpoint_reference")
    }


def test_a_moved_device_keeps_itself_and_its_points(district: Registry) -> None:
    first = district(
        devices.register, SYSTEM, at(OLD, settings={"timeout_s": 3}), SOURCES, identity=ACME
    )
    ids = {each.address: each.point_id for each in first.created}
    moved = district(
        recognition.move,
        integrator("d"),
        first.device_id,
        at(NEW, username="root", secret=b"2", settings={"certificate_sha256": "ab"}),
        [*SOURCES, FoundSource(address="v3", channel_number=3)],
        identity=ACME,
        notes=["odd"],
    )
    assert {each.address: each.point_id for each in moved.kept} == ids
    assert [each.address for each in moved.created] == ["v3"]
    assert district(devices.page, SYSTEM).total == 1
    device = district(devices.get, SYSTEM, first.device_id)
    assert (device.endpoint, device.username, device.notes) == (NEW, "root", ("odd",))
    assert device.settings == {"timeout_s": 3, "certificate_sha256": "ab"}
    assert district(devices.run, first.device_id).secret == b"2"
    # Its points are found again under the new host, should it be registered anew.
    district(devices.delete, SYSTEM, first.device_id)
    again = district(devices.register, SYSTEM, at(NEW), SOURCES)
    assert {each.address: each.point_id for each in again.bound} == ids
    actions = [each.action for each in district(changes.page, SYSTEM, object_id=device.id).items]
    assert actions == ["create", "update", "refresh", "delete"]


def test_a_recorder_that_renames_all_its_sources_keeps_its_points(district: Registry) -> None:
    first = district(devices.register, SYSTEM, at(OLD), SOURCES, identity=ACME)
    ids = {each.address: each.point_id for each in first.created}
    renamed = [FoundSource(address=f"0000{n - 1}", channel_number=n) for n in (2, 1, 3)]
    again = district(devices.refresh, SYSTEM, first.device_id, renamed)
    assert {each.address: each.point_id for each in again.kept} == {
        "00000": ids["v1"], "00001": ids["v2"],
    }  # fmt: skip
    assert [each.address for each in again.created] == ["00002"]
    assert district(points.get, SYSTEM, ids["v1"]).address == "00000"
    # One that keeps some of its names has lost the others.
    lost = district(devices.refresh, SYSTEM, first.device_id, [*renamed[1:], SOURCES[1]])
    assert {each.address for each in lost.kept} == {"00000", "00002"}
    assert district(points.get, SYSTEM, ids["v2"]).status == "fault"


def test_moving_needs_the_right_and_a_free_address(district: Registry) -> None:
    first = district(devices.register, SYSTEM, at(OLD), [], identity=ACME).device_id
    district(devices.register, SYSTEM, at(NEW), [])
    with pytest.raises(NotFound):
        district(recognition.move, integrator("d/s1"), first, at("10.0.0.3"), [], identity=ACME)
    with pytest.raises(Conflict, match="registered already"):
        district(recognition.move, SYSTEM, first, at(NEW), [], identity=ACME)
    assert district(devices.get, SYSTEM, first).endpoint == OLD


def test_what_is_ambiguous_is_told_until_it_is_mended(district: Registry) -> None:
    twins = tuple(
        district(
            points.create,
            SYSTEM,
            NewPoint(organization="d", name="twin", host="10.0.0.1", channel_number=1),
        ).id
        for _ in range(2)
    )
    device_id = district(devices.register, SYSTEM, at(OLD), SOURCES[:1]).device_id
    device = district(devices.get, SYSTEM, device_id)
    (waiting,) = district(recognition.ambiguous, SYSTEM, device)
    assert (waiting.address, waiting.point_ids) == ("v1", twins)
    assert district(recognition.ambiguous, integrator("d/s1"), device) == ()
    district(points.set_source, SYSTEM, twins[0], device_id, "v1")
    assert district(recognition.ambiguous, SYSTEM, district(devices.get, SYSTEM, device_id)) == ()


def test_an_endpoint_reference_outlives_probes_that_do_not_tell_it(district: Registry) -> None:
    known = DeviceIdentity(**{**_fields(ACME), "endpoint_reference": "urn:uuid:1"})
    device_id = district(devices.register, SYSTEM, at(OLD), [], identity=known).device_id
    district(devices.refresh, SYSTEM, device_id, [], identity=ACME)
    assert district(devices.get, SYSTEM, device_id).identity == known
    at_time = district(devices.get, SYSTEM, device_id).status_since
    district(devices.set_status, device_id, "online", at_time, "", ACME)
    assert district(devices.get, SYSTEM, device_id).identity == known
    other = DeviceIdentity(manufacturer="Acme", model="NVR", serial="SN-2")
    district(devices.refresh, SYSTEM, device_id, [], identity=other)
    assert district(devices.get, SYSTEM, device_id).identity == other
