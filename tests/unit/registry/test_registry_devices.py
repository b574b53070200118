"""Devices, and how their sources find their points."""

from datetime import UTC, datetime
from typing import Any

import pytest
from databases import Registry, square
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import changes, devices, organizations, point_lists, point_status, points
from registry.devices import DeviceIdentity, NewDevice
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.points import NewPoint
from registry.sources import Candidate, FoundSource, Profile, host_of, match

pytest_plugins = ["databases"]

CODE = "21010300001310000001"
MAIN = Profile(name="main", codec="h264", width=1920, height=1080, fps=25.0, token="p1")


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:8080", "10.0.0.1"),
        ("http://Cam.Local:80/onvif/device_service", "cam.local"),
        ("rtsp://user@[fe80::1]:554/x", "fe80::1"),
        ("  10.0.0.1 ", "10.0.0.1"),
        ("http://[broken", "http://[broken"),
        ("", ""),
    ],
)
def test_the_host_of_an_endpoint(endpoint: str, host: str) -> None:
    assert host_of(endpoint) == host


def candidate(
    point_id: str, code: str | None = None, host: str | None = None, number: int | None = None
) -> Candidate:
    return Candidate(point_id=point_id, code=code, host=host, channel_number=number)


@pytest.mark.parametrize(
    ("source", "candidates", "expected"),
    [
        ({}, [], "fresh"),
        ({}, [candidate("a", host="h", number=1)], "a"),
        ({}, [candidate("a", host="h", number=2)], "fresh"),
        ({}, [candidate("a", host="g", number=1)], "fresh"),
        ({}, [candidate("a", host="h")], "fresh"),
        ({}, [candidate("a", host="h", number=1), candidate("b", host="h", number=1)], "ab"),
        ({"code": CODE}, [candidate("a", code=CODE)], "a"),
        ({"name": f" {CODE} "}, [candidate("a", code=CODE)], "a"),
        ({"code": CODE}, [candidate("a", CODE), candidate("b", None, "h", 1)], "a"),
        ({"code": CODE}, [candidate("b", None, "h", 1)], "b"),
        ({"code": CODE}, [candidate("b", "9" * 20, "h", 1)], "fresh"),
        ({}, [candidate("b", "9" * 20, "h", 1)], "b"),
    ],
)
def test_which_point_a_source_belongs_to(
    source: dict[str, Any], candidates: list[Candidate], expected: str
) -> None:
    matching = match([FoundSource(address="1", **source)], "h", candidates)
    if expected == "fresh":
        assert (matching.fresh, matching.bound, matching.ambiguous) == (("1",), {}, {})
    elif len(expected) == 1:
        assert (matching.bound, matching.ambiguous) == ({"1": expected}, {})
    else:
        assert matching.ambiguous == {"1": tuple(expected)}


def test_two_sources_that_want_one_point_are_ambiguous() -> None:
    sources = [FoundSource(address="1"), FoundSource(address="2")]
    matching = match(sources, "h", [candidate("a", host="h", number=1)])
    assert (matching.bound, matching.fresh) == ({}, ())
    assert matching.ambiguous == {"1": ("a",), "2": ("a",)}


CODES = st.sampled_from([None, "1" * 20, "2" * 20])
NUMBERS = st.integers(1, 3)


@settings(deadline=None)
@given(
    sources=st.lists(st.tuples(CODES, NUMBERS), max_size=5),
    candidates=st.lists(st.tuples(CODES, st.sampled_from(["h", "g"]), NUMBERS), max_size=5),
)
def test_every_source_has_one_fate_and_no_point_two_sources(
    sources: list[tuple[str | None, int]], candidates: list[tuple[str | None, str, int]]
) -> None:
    found = [
        FoundSource(address=str(index), code=code, channel_number=number)
        for index, (code, number) in enumerate(sources)
    ]
    offered = [candidate(str(index), *each) for index, each in enumerate(candidates)]
    matching = match(found, "h", offered)
    fates = [*matching.bound, *matching.ambiguous, *matching.fresh]
    assert sorted(fates) == sorted(source.address for source in found)
    assert len(set(matching.bound.values())) == len(matching.bound)
    for address, point_id in matching.bound.items():
        source, point = found[int(address)], offered[int(point_id)]
        assert source.code is None or point.code in (None, source.code)


@pytest.fixture
def district(registry: Registry) -> Registry:
    for kind, parent, slug, jurisdiction in (
        ("district", None, "d", None),
        ("station", "d", "s1", square(0, 0, 10)),
        ("station", "d", "s2", None),
    ):
        registry(
            organizations.create,
            SYSTEM,
            NewOrganization(
                kind=kind, name=slug, slug=slug, parent=parent, jurisdiction=jurisdiction
            ),
        )
    return registry


def recorder(**values: Any) -> NewDevice:
    return NewDevice(
        **{
            "adapter": "onvif",
            "endpoint": "http://10.0.0.1:80/onvif/device_service",
            "organization": "d",
            "username": "admin",
            "secret": b"\x01sealed",
            "settings": {"transport": "tcp"},
            **values,
        }
    )


def integrator(path: str) -> Principal:
    return Principal(
        user_id="01890000-0000-7000-8000-000000000001",
        name="integrator",
        grants=(Grant(role=Role.INTEGRATOR, organization_id="", path=path),),
    )


def test_registering_binds_creates_and_leaves_alone(district: Registry) -> None:
    def listed(name: str, number: int, organization: str = "d", **values: Any) -> str:
        new = NewPoint(
            organization=organization,
            name=name,
            host="10.0.0.1",
            channel_number=number,
            **values,
        )
        return district(points.create, SYSTEM, new).id

    first = listed("by host", 1)
    by_code = listed("by code", 9, code=CODE)
    twins = (listed("twin", 3), listed("twin", 3))
    registration = district(
        devices.register,
        integrator("d"),
        recorder(),
        [
            FoundSource(address="v1", channel_number=1, profiles=(MAIN,), capabilities=("ptz",)),
            FoundSource(address="v2", channel_number=2, name=CODE),
            FoundSource(address="v3", channel_number=3),
            FoundSource(
                address="v4", channel_number=4, name="Gate", longitude_deg=1.0, latitude_deg=1.0
            ),
            FoundSource(address="v5", channel_number=5, longitude_deg=999.0, latitude_deg=1.0),
        ],
        identity=DeviceIdentity(manufacturer="Acme", model="NVR\x00", serial="7" * 300),
        clock_offset_s=-1.5,
    )
    assert {each.address: each.point_id for each in registration.bound} == {
        "v1": first,
        "v2": by_code,
    }
    (ambiguous,) = registration.ambiguous
    assert (ambiguous.address, ambiguous.point_ids) == ("v3", twins)
    created = {each.address: each.point_id for each in registration.created}
    assert set(created) == {"v4", "v5"}
    gate = district(points.get, SYSTEM, created["v4"])
    assert (gate.name, gate.organization.path, gate.assigned_by) == ("Gate", "d/s1", "polygon")
    nowhere = district(points.get, SYSTEM, created["v5"])
    assert (nowhere.longitude, nowhere.assigned_by) == (None, "none")
    assert nowhere.name == "Acme NVR 5"
    bound = district(points.get, SYSTEM, first)
    assert (bound.device_id, bound.address, bound.profiles) == (
        registration.device_id,
        "v1",
        (MAIN,),
    )
    device = district(devices.get, integrator("d"), registration.device_id)
    assert device.name == "Acme NVR"
    assert (device.identity.serial, device.clock_offset_s) == ("7" * 200, -1.5)
    assert device.points == {"v1": first, "v2": by_code, **created}
    assert device.has_secret
    assert [each.address for each in device.sources] == ["v1", "v2", "v3", "v4", "v5"]
    assert district(devices.page, integrator("d")).items == (device,)
    actions = [each.action for each in district(changes.page, SYSTEM, object_id=first).items]
    assert actions == ["create", "source"]


def test_points_outside_the_organisation_are_never_bound(district: Registry) -> None:
    outside = district(
        points.create,
        SYSTEM,
        NewPoint(organization="d/s2", name="p", code=CODE, host="10.0.0.1", channel_number=1),
    )
    registration = district(
        devices.register,
        integrator("d/s1"),
        recorder(organization="d/s1"),
        [FoundSource(address="v1", code=CODE)],
    )
    assert not registration.bound
    (created,) = registration.created
    # The code is somebody else's, so the new point goes without.
    point = district(points.get, SYSTEM, created.point_id)
    assert (point.code, point.organization.path) == (None, "d/s1")
    assert district(points.get, SYSTEM, outside.id).device_id is None


def test_a_refresh_keeps_points_by_the_address_of_their_source(district: Registry) -> None:
    sources = [FoundSource(address=f"v{n}", channel_number=n) for n in (1, 2)]
    registration = district(devices.register, SYSTEM, recorder(), sources)
    ids = {each.address: each.point_id for each in registration.created}
    again = district(
        devices.refresh,
        SYSTEM,
        registration.device_id,
        [
            FoundSource(address="v3", channel_number=1),
            FoundSource(address="v1", channel_number=2, profiles=(MAIN,)),
        ],
        identity=DeviceIdentity(firmware="2.0"),
    )
    assert {each.address: each.point_id for each in again.kept} == {"v1": ids["v1"]}
    assert [each.address for each in again.created] == ["v3"]
    kept = district(points.get, SYSTEM, ids["v1"])
    assert (kept.profiles, kept.channel_number) == ((MAIN,), 1)
    gone = district(points.get, SYSTEM, ids["v2"])
    assert (gone.device_id, gone.status) == (registration.device_id, "fault")
    assert "no such source" in gone.status_reason
    device = district(devices.get, SYSTEM, registration.device_id)
    assert (device.identity.firmware, device.version) == ("2.0", 2)
    back = district(devices.refresh, SYSTEM, device.id, sources)
    assert {each.address: each.point_id for each in back.kept} == ids
    assert not back.created


def test_agents_get_all_devices_with_their_sealed_passwords(district: Registry) -> None:
    registration = district(
        devices.register, SYSTEM, recorder(), [FoundSource(address="v1", name="Gate")]
    )
    (run,) = district(devices.running)
    assert run.secret == b"\x01sealed"
    assert run.device.settings == {"transport": "tcp"}
    (source,) = run.device.sources
    assert (source.name, source.organization_path) == ("Gate", "d")
    assert district(devices.run, registration.device_id) == run
    assert b"sealed" not in repr(run.device).encode()


def test_deleting_a_device_keeps_its_points(district: Registry) -> None:
    registration = district(
        devices.register, SYSTEM, recorder(), [FoundSource(address="v1", profiles=(MAIN,))]
    )
    point_id = registration.created[0].point_id
    district(point_status.set_status, [(point_id, "online", datetime.now(UTC), "")])
    with pytest.raises(VersionMismatch):
        district(devices.delete, SYSTEM, registration.device_id, 9)
    assert district(points.get, SYSTEM, point_id).device_id == registration.device_id
    district(devices.delete, SYSTEM, registration.device_id, 1)
    point = district(points.get, SYSTEM, point_id)
    assert (point.device_id, point.address, point.status) == (None, None, "unknown")
    # Registered anew, it finds the point by host and channel number.
    again = district(devices.register, SYSTEM, recorder(), [FoundSource(address="x")])
    assert [each.point_id for each in again.bound] == [point_id]


def test_an_endpoint_is_registered_once(district: Registry) -> None:
    first = district(devices.register, SYSTEM, recorder(), [])
    with pytest.raises(Conflict, match="registered already") as refused:
        district(devices.register, SYSTEM, recorder(organization="d/s1"), [])
    assert refused.value.other == first.device_id
    # Another's device is not given away.
    hidden = district(devices.register, integrator("d/s1"), recorder(organization="d/s1"), [])
    assert hidden.device_id != first.device_id


def test_editing_a_device(district: Registry) -> None:
    device_id = district(devices.register, SYSTEM, recorder(), []).device_id
    changed = district(
        devices.update,
        integrator("d"),
        device_id,
        {"name": "North", "secret": b"\x01other", "settings": {}},
        1,
    )
    assert (changed.name, changed.settings, changed.version) == ("North", {}, 2)
    assert district(devices.run, device_id).secret == b"\x01other"
    record = district(changes.page, SYSTEM, object_id=device_id).items[-1]
    assert record.details["secret"] == [None, "changed"]
    assert "other" not in repr(record.details)
    with pytest.raises(Forbidden):
        district(devices.update, integrator("d"), device_id, {"organization": "d/s1"})
    moved = district(devices.update, SYSTEM, device_id, {"organization": "d/s1"})
    assert moved.organization.path == "d/s1"
    with pytest.raises(Invalid, match="adapter: cannot be changed"):
        district(devices.update, SYSTEM, device_id, {"adapter": "rtsp"})
    with pytest.raises(VersionMismatch):
        district(devices.update, SYSTEM, device_id, {"name": "x"}, 1)
    with pytest.raises(NotFound):
        district(devices.update, integrator("d/s2"), device_id, {"name": "x"})


def test_status_is_written_when_it_changes(district: Registry) -> None:
    device_id = district(devices.register, SYSTEM, recorder(), []).device_id
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert district(devices.set_status, device_id, "online", at)
    assert not district(devices.set_status, device_id, "online", datetime.now(UTC))
    identity = DeviceIdentity(serial="42")
    assert district(devices.set_status, device_id, "online", at, "", identity)
    assert district(devices.set_status, device_id, "offline", at, "no answer")
    device = district(devices.get, SYSTEM, device_id)
    assert (device.status, device.status_since, device.last_error) == ("offline", at, "no answer")
    assert (device.identity.serial, device.version) == ("42", 1)


def test_sources_that_cannot_be_told_apart_are_refused(district: Registry) -> None:
    sources = [FoundSource(address="v1"), FoundSource(address="v1")]
    with pytest.raises(Invalid, match="same address"):
        district(devices.register, SYSTEM, recorder(), sources)
    with pytest.raises(Invalid, match="1 to 200"):
        district(devices.register, SYSTEM, recorder(), [FoundSource(address="")])
    assert district(devices.page, SYSTEM).total == 0
    assert district(point_lists.page, SYSTEM).total == 0
