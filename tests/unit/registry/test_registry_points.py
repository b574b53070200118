"""Points: owners, filters, pages, edits, status; on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from databases import ON_SQLITE, Registry, square

from registry import changes, devices, organizations, point_lists, point_status, points
from registry.devices import NewDevice
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.point_lists import PointFilter
from registry.points import NewPoint, Point
from registry.sources import FoundSource, Profile

pytest_plugins = ["databases"]


@pytest.fixture
def district(registry: Registry) -> Registry:
    """d ⊃ s1 (0..10) ⊃ w1 (0..5), w2 (5..10); d ⊃ s2 (20..30), squares on the equator."""
    for kind, parent, slug, jurisdiction in (
        ("district", None, "d", None),
        ("station", "d", "s1", square(0, 0, 10)),
        ("station", "d", "s2", square(20, 0, 10)),
        ("workroom", "d/s1", "w1", square(0, 0, 5)),
        ("workroom", "d/s1", "w2", square(5, 0, 5)),
    ):
        new = NewOrganization(
            kind=kind, name=slug.upper(), slug=slug, parent=parent, jurisdiction=jurisdiction
        )
        registry(organizations.create, SYSTEM, new)
    return registry


def somebody(role: Role, path: str) -> Principal:
    return Principal(
        user_id="01890000-0000-7000-8000-000000000001",
        name="somebody",
        grants=(Grant(role=role, organization_id="", path=path),),
    )


def add(registry: Registry, organization: str = "d", name: str = "p", **values: Any) -> Point:
    new = NewPoint(organization=organization, name=name, **values)
    return registry(points.create, SYSTEM, new)


@pytest.mark.parametrize(
    ("organization", "position", "assign", "expected"),
    [
        ("d", (1, 1), None, ("d/s1/w1", "polygon")),
        ("d", (7, 7), None, ("d/s1", "polygon")),
        ("d", (5, 1), None, ("d/s1/w1", "polygon")),
        ("d", (25, 5), None, ("d/s2", "polygon")),
        ("d", (15, 5), None, ("d", "none")),
        ("d", None, None, ("d", "none")),
        ("d", (1, 1), "explicit", ("d", "explicit")),
        ("d/s1", (1, 1), None, ("d/s1", "explicit")),
        ("d/s1", (1, 1), "polygon", ("d/s1/w1", "polygon")),
        ("d/s1", (25, 5), "polygon", ("d/s1", "none")),
        ("d/s1/w1", (25, 5), None, ("d/s1/w1", "explicit")),
    ],
)
def test_whose_a_new_point_is(
    district: Registry,
    organization: str,
    position: tuple[float, float] | None,
    assign: str | None,
    expected: tuple[str, str],
) -> None:
    longitude, latitude = position or (None, None)
    point = add(district, organization, longitude=longitude, latitude=latitude, assign=assign)
    assert (point.organization.path, point.assigned_by) == expected
    home = district(organizations.get_by_id, point.home_id)
    assert home.path == organization
    counts = district(organizations.counts, SYSTEM)
    assert counts["d"].points == 1
    assert counts["d"].unassigned == (expected[1] == "none")


def test_a_point_comes_back_as_it_was_written(district: Registry) -> None:
    point = add(
        district,
        "d/s1",
        "  文艺路 ",
        code="21010300001310000001",
        place="文艺路18号",
        longitude=123.456789,
        latitude=41.5,
        category=1,
        ownership="community",
        host="Camera-7.LOCAL",
        channel_number=3,
        masked=True,
        attributes={"mount": "pole", "重要": [1, None]},
    )
    assert point == district(points.get, SYSTEM, point.id)
    assert point == district(points.get, SYSTEM, point.id.upper())
    assert (point.name, point.host, point.version) == ("文艺路", "camera-7.local", 1)
    assert point.attributes == {"mount": "pole", "重要": [1, None]}
    assert (point.longitude, point.latitude) == (123.456789, 41.5)
    assert point.status_since.tzinfo is UTC
    assert point.status_since.microsecond % 1000 == 0


@ON_SQLITE
@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"name": " "}, ["name"]),
        ({"name": "x" * 201, "place": "x" * 401}, ["name", "place"]),
        ({"name": "a\x00b"}, ["name"]),
        ({"code": "123"}, ["code"]),
        ({"code": "２１０１０３００００１３１０００００００"}, ["code"]),
        ({"longitude": 1.0}, ["latitude"]),
        ({"longitude": 181.0, "latitude": 0.0}, ["longitude"]),
        ({"longitude": 0.0, "latitude": float("nan")}, ["latitude"]),
        ({"category": 4, "ownership": "mine"}, ["category", "ownership"]),
        ({"channel_number": 0}, ["channel_number"]),
        ({"attributes": {"x": "y" * 70_000}}, ["attributes"]),
        ({"attributes": {"x": "\x00"}}, ["attributes"]),
        ({"assign": "anyhow"}, ["assign"]),
    ],
)
def test_wrong_values_are_refused_with_every_place(
    district: Registry, values: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(Invalid) as refused:
        district(points.create, SYSTEM, NewPoint(**{"organization": "d", "name": "p", **values}))
    assert [reason.field for reason in refused.value.reasons] == fields
    assert district(point_lists.page, SYSTEM).total == 0


def test_a_code_is_unique_and_its_holder_named_only_to_who_sees_it(district: Registry) -> None:
    code = "21010300001310000001"
    holder = add(district, "d/s1", code=code)
    with pytest.raises(Conflict, match="code in use") as refused:
        add(district, "d/s2", code=code)
    assert refused.value.other == holder.id
    integrator = somebody(Role.INTEGRATOR, "d/s2")
    with pytest.raises(Conflict, match="code in use") as refused:
        district(points.create, integrator, NewPoint(organization="d/s2", name="p", code=code))
    assert refused.value.other == ""
    assert add(district, "d").code is add(district, "d").code is None


def test_filters(district: Registry) -> None:
    a = add(district, "d", "文艺路口", longitude=1, latitude=1, category=1, code="2" * 20)
    b = add(district, "d", "Gate_B", place="文艺路18号", longitude=179, latitude=-10)
    c = add(district, "d/s2", "100% gate", ownership="property", longitude=-179, latitude=10)
    registry = district
    registry(point_status.set_status, [(b.id, "online", datetime.now(UTC), "")])
    for wanted, expected in (
        (PointFilter(), [a, b, c]),
        (PointFilter(organization="d/s2"), [c]),
        (PointFilter(organization=a.organization.id), [a]),
        (PointFilter(organization="d/s1"), [a]),
        (PointFilter(q="文艺"), [a, b]),
        (PointFilter(q="艺"), [a, b]),
        (PointFilter(q="GATE"), [b, c]),
        (PointFilter(q="gate_"), [b]),
        (PointFilter(q="0%"), [c]),
        (PointFilter(q="文艺 18"), [b]),
        (PointFilter(q="2222"), [a]),
        (PointFilter(q="nowhere"), []),
        (PointFilter(status="online"), [b]),
        (PointFilter(category=1), [a]),
        (PointFilter(ownership="property"), [c]),
        (PointFilter(assigned_by="none"), [b]),
        (PointFilter(assigned_by="polygon"), [a]),
        (PointFilter(bbox=(0, 0, 2, 2)), [a]),
        (PointFilter(bbox=(1, 1, 1, 1)), [a]),
        (PointFilter(bbox=(170, -20, -170, 20)), [b, c]),
        (PointFilter(bbox=(170, -20, -170, 0)), [b]),
        (PointFilter(bbox=(-180, -90, 180, 90), q="gate", ownership="property"), [c]),
    ):
        page = registry(point_lists.page, SYSTEM, wanted)
        assert type(page.total) is int
        found = [point.id for point in page.items]
        assert (found, page.total) == ([each.id for each in expected], len(expected)), wanted


@ON_SQLITE
@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (PointFilter(q=" "), "q"),
        (PointFilter(q="x" * 101), "q"),
        (PointFilter(status="asleep"), "status"),
        (PointFilter(category=4), "category"),
        (PointFilter(bbox=(0, 5, 1, 4)), "bbox"),
        (PointFilter(bbox=(0, 0, 181, 4)), "bbox"),
    ],
)
def test_filters_that_no_point_can_meet(
    district: Registry, wanted: PointFilter, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        district(point_lists.page, SYSTEM, wanted)
    assert refused.value.reasons[0].field == field


def test_pages_stay_right_while_others_write(district: Registry) -> None:
    made = [add(district, name=f"p{number}").id for number in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page = district(point_lists.page, SYSTEM, limit=3, cursor=cursor)
        assert page.total == 7
        seen += [point.id for point in page.items]
        if len(seen) == 3:
            # One that was seen goes and a new one comes: nothing is skipped or shown twice.
            district(points.delete, SYSTEM, made[0])
            made.append(add(district, name="late").id)
        cursor = page.next
        if cursor is None:
            break
    assert seen == made
    for limit in (0, 501):
        with pytest.raises(Invalid, match="limit"):
            district(point_lists.page, SYSTEM, limit=limit)
    for cursor in ("x", "!!!!", "AAAA", "é", "00"):
        with pytest.raises(Invalid, match="cursor"):
            district(point_lists.page, SYSTEM, cursor=cursor)


def test_an_update_needs_the_version_that_was_read(district: Registry) -> None:
    point = add(district, "d/s1")
    changed = district(points.update, SYSTEM, point.id, {"name": "new", "category": 2}, 1)
    assert (changed.name, changed.category, changed.version) == ("new", 2, 2)
    with pytest.raises(VersionMismatch) as refused:
        district(points.update, SYSTEM, point.id, {"name": "newer"}, 1)
    assert (refused.value.expected, refused.value.actual) == (1, 2)
    with pytest.raises(VersionMismatch):
        district(points.delete, SYSTEM, point.id, 1)
    assert district(points.get, SYSTEM, point.id).name == "new"
    with pytest.raises(Invalid, match="status: cannot be changed"):
        district(points.update, SYSTEM, point.id, {"status": "online"}, 2)
    # Nothing changed, nothing counted.
    assert district(points.update, SYSTEM, point.id, {"name": "new"}, 2).version == 2
    district(points.delete, SYSTEM, point.id, 2)
    with pytest.raises(NotFound):
        district(points.get, SYSTEM, point.id)
    records = district(changes.page, SYSTEM, object_id=point.id).items
    assert [each.action for each in records] == ["create", "update", "delete"]
    assert records[1].details == {"name": ["p", "new"], "category": [9, 2]}


def test_a_new_position_is_looked_up_again(district: Registry) -> None:
    point = add(district, "d", longitude=1, latitude=1)
    moved = district(points.update, SYSTEM, point.id, {"longitude": 25, "latitude": 5})
    assert (moved.organization.path, moved.assigned_by) == ("d/s2", "polygon")
    lost = district(points.update, SYSTEM, point.id, {"longitude": None, "latitude": None})
    assert (lost.organization.path, lost.assigned_by) == ("d", "none")
    explicit = add(district, "d/s1", longitude=1, latitude=1)
    stays = district(points.update, SYSTEM, explicit.id, {"longitude": 25, "latitude": 5})
    assert (stays.organization.path, stays.assigned_by) == ("d/s1", "explicit")


def test_nobody_moves_a_point_over_their_own_boundary(district: Registry) -> None:
    point = add(district, "d", longitude=1, latitude=1)
    integrator = somebody(Role.INTEGRATOR, "d/s1/w1")
    near = district(points.update, integrator, point.id, {"longitude": 2, "latitude": 2})
    assert near.organization.path == "d/s1/w1"
    with pytest.raises(Forbidden):
        district(points.update, integrator, point.id, {"longitude": 25, "latitude": 5})
    for role, path in ((Role.INTEGRATOR, "d"), (Role.ADMIN, "d/s1")):
        with pytest.raises((Forbidden, NotFound)):
            district(points.update, somebody(role, path), point.id, {"organization": "d/s2"})
    # Nor pins it where it is, which would hold it against the next partition.
    with pytest.raises(Forbidden):
        district(points.update, integrator, point.id, {"organization": "d/s1/w1"})
    admin = somebody(Role.ADMIN, "d")
    moved = district(points.update, admin, point.id, {"organization": "d/s2"})
    assert (moved.organization.path, moved.assigned_by) == ("d/s2", "explicit")
    with pytest.raises(NotFound):
        district(points.get, integrator, point.id)


def test_masking_is_an_admins(district: Registry) -> None:
    point = add(district, "d/s1")
    with pytest.raises(Forbidden, match="admin"):
        district(points.update, somebody(Role.INTEGRATOR, "d"), point.id, {"masked": True})
    assert district(points.update, somebody(Role.ADMIN, "d"), point.id, {"masked": True}).masked


def test_assigning_all_or_none(district: Registry) -> None:
    a = add(district, "d", longitude=1, latitude=1)
    b = add(district, "d", longitude=7, latitude=7)
    admin = somebody(Role.ADMIN, "d")
    moves = district(points.assign, admin, [a.id, b.id, a.id], "d/s1")
    assert [(move.point_id, move.source, move.target) for move in moves] == [
        (a.id, "d/s1/w1", "d/s1"),
        (b.id, "d/s1", "d/s1"),
    ]
    assert {move.assigned_by for move in moves} == {"explicit"}
    assert district(points.assign, admin, [a.id, b.id], "d/s1") == ()
    back = district(points.assign, admin, [a.id, b.id], None)
    assert [move.target for move in back] == ["d/s1/w1", "d/s1"]
    with pytest.raises(NotFound):
        district(points.assign, somebody(Role.ADMIN, "d/s1/w1"), [a.id, b.id], "d/s1/w1")
    with pytest.raises(Forbidden):
        district(points.assign, somebody(Role.ADMIN, "d/s1"), [a.id], None)
    assert district(points.get, SYSTEM, a.id).assigned_by == "polygon"


def test_roles_see_and_write(district: Registry) -> None:
    point = add(district, "d/s1/w1")
    for role in Role:
        principal = somebody(role, "d/s1")
        if role is Role.AUDITOR:
            with pytest.raises(NotFound):
                district(points.get, principal, point.id)
            continue
        assert district(points.get, principal, point.id).id == point.id
        allowed = role in (Role.INTEGRATOR, Role.ADMIN)
        for fn, arguments in (
            (points.update, ({"name": "new"},)),
            (points.clear_source, ()),
            (points.set_source, ("01890000-0000-7000-8000-000000000009", "1")),
        ):
            expected = NotFound if allowed and fn is points.set_source else Forbidden
            if allowed and fn is not points.set_source:
                district(fn, principal, point.id, *arguments)
            else:
                with pytest.raises(expected):
                    district(fn, principal, point.id, *arguments)
    for outside in (somebody(Role.ADMIN, "d/s2"), somebody(Role.ADMIN, "d/s1/w2")):
        for fn, arguments in ((points.get, ()), (points.update, ({},)), (points.delete, ())):
            with pytest.raises(NotFound):
                district(fn, outside, point.id, *arguments)
    for nonsense in ("", "x", "d/s1", "0" * 36, "%"):
        with pytest.raises(NotFound):
            district(points.get, SYSTEM, nonsense)


def test_status_comes_in_batches_and_is_nobodys_edit(district: Registry) -> None:
    a, b = add(district), add(district)
    at = datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC)
    gone = "01890000-0000-7000-8000-000000000000"
    batch = [
        (a.id, "online", at, ""),
        (b.id, "fault", at, "no\x00 picture"),
        (gone, "online", at, ""),
    ]
    assert district(point_status.set_status, batch) == 2
    later = [(a.id, "online", at + timedelta(hours=1), ""), (b.id, "online", at, "")]
    assert district(point_status.set_status, later) == 1
    first = district(points.get, SYSTEM, a.id)
    assert (first.status, first.status_since, first.version) == (
        "online",
        at.replace(microsecond=678_000),
        1,
    )
    counts = district(organizations.counts, SYSTEM)["d"]
    assert (counts.online, counts.fault, counts.points) == (2, 0, 2)
    assert district(point_status.set_status, []) == 0


def test_a_source_is_bound_and_taken_away_by_hand(district: Registry) -> None:
    profile = Profile(name="main", codec="h264", width=640, height=360, fps=15.0, token="t")
    registration = district(
        devices.register,
        SYSTEM,
        NewDevice(adapter="onvif", endpoint="http://10.0.0.9/onvif", organization="d"),
        [FoundSource(address="v1", profiles=(profile,), capabilities=("ptz",))],
    )
    (created,) = registration.created
    other = add(district, "d/s1")
    device_id = registration.device_id
    with pytest.raises(Conflict, match="another point") as refused:
        district(points.set_source, SYSTEM, other.id, device_id, "v1")
    assert refused.value.other == created.point_id
    with pytest.raises(Invalid, match="it has v1"):
        district(points.set_source, SYSTEM, other.id, device_id, "v2")
    cleared = district(points.clear_source, SYSTEM, created.point_id)
    assert (cleared.device_id, cleared.profiles, cleared.status) == (None, (), "unknown")
    bound = district(points.set_source, SYSTEM, other.id, device_id, "v1", 1)
    assert (bound.device_id, bound.address) == (device_id, "v1")
    assert (bound.profiles, bound.capabilities, bound.version) == ((profile,), ("ptz",), 2)
    with pytest.raises(NotFound, match="device"):
        district(points.set_source, somebody(Role.INTEGRATOR, "d/s1"), other.id, device_id, "v1")
