"""Privacy masks: what is accepted, who sets them, and what they make of the point."""

import pytest
from databases import Registry
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from registry import devices, masks, organizations, points, reshaping
from registry.devices import NewDevice
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.identity import now
from registry.mask_rules import MAX_CORNERS, MAX_POLYGONS, checked_polygons, checked_presets
from registry.masks import Masks
from registry.models import POINTS
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.points import NewPoint
from registry.sources import FoundSource

pytest_plugins = ["databases"]

WINDOW = [[0.1, 0.1], [0.4, 0.1], [0.4, 0.5], [0.1, 0.5]]
DOOR = [[0.6, 0.2], [0.9, 0.2], [0.9, 0.9]]


def somebody(role: Role, path: str) -> Principal:
    grant = Grant(role=role, organization_id="", path=path)
    return Principal(user_id="01890000-0000-7000-8000-000000000001", name="x", grants=(grant,))


@pytest.fixture
def point_id(registry: Registry) -> str:
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    registry(
        organizations.create,
        SYSTEM,
        NewOrganization(kind="station", name="S", slug="s", parent="d"),
    )
    made = registry(points.create, SYSTEM, NewPoint(organization="d/s", name="gate"))
    return made.id


def put(registry: Registry, point_id: str, who: Principal = SYSTEM, **given: object) -> Masks:
    return registry(lambda c: masks.put(c, who, point_id, **given))  # type: ignore[arg-type]


def test_masks_are_kept_and_mask_the_point(registry: Registry, point_id: str) -> None:
    before = registry(masks.get, SYSTEM, point_id)
    assert (before.version, before.masked, before.polygons) == (0, False, ())
    made = put(registry, point_id, polygons=[WINDOW, [*DOOR, DOOR[0]]], version=0)
    assert (made.version, made.masked) == (1, True)
    assert made.polygons == tuple(tuple(map(tuple, each)) for each in (WINDOW, DOOR))
    assert made.at(None) == made.polygons
    point = registry(points.get, SYSTEM, point_id)
    assert (point.masked, point.version) == (True, 2)
    bare = put(registry, point_id, version=1)
    assert (bare.version, bare.masked, bare.at("gate")) == (2, True, ())
    assert registry(points.get, SYSTEM, point_id).version == 2, "the point itself did not change"


def test_whoever_read_an_older_version_overwrites_nothing(
    registry: Registry, point_id: str
) -> None:
    put(registry, point_id, polygons=[WINDOW])
    with pytest.raises(VersionMismatch):
        put(registry, point_id, version=0)
    assert registry(masks.get, SYSTEM, point_id).version == 1


@pytest.mark.parametrize("role", [each for each in Role if each is not Role.ADMIN])
def test_only_an_admin_of_the_owner_masks(registry: Registry, point_id: str, role: Role) -> None:
    with pytest.raises((Forbidden, NotFound)):
        put(registry, point_id, somebody(role, "d"), polygons=[WINDOW])
    assert not registry(points.get, SYSTEM, point_id).masked
    put(registry, point_id, somebody(Role.ADMIN, "d/s"), polygons=[WINDOW])
    assert registry(points.get, SYSTEM, point_id).masked


def test_a_camera_that_moves_is_masked_by_preset(registry: Registry, point_id: str) -> None:
    with pytest.raises(Invalid, match="does not move"):
        put(registry, point_id, presets={"gate": [WINDOW]})
    registry(
        lambda c: c.execute(
            update(POINTS).values(
                capabilities=["ptz"], version=POINTS.c.version + 1, updated_at=now()
            )
        )
    )
    with pytest.raises(Invalid, match="moves"):
        put(registry, point_id, polygons=[WINDOW])
    made = put(registry, point_id, presets={" gate ": [WINDOW], "yard": [DOOR]})
    assert made.at("gate") == (tuple(map(tuple, WINDOW)),)
    assert made.at("roof") == made.at(None) == ()


def test_who_may_not_unmask_does_not_get_round_it(registry: Registry) -> None:
    """Without its point a camera could be registered again, and shown in clear."""
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    new = NewDevice(adapter="onvif", endpoint="camera", organization="d")
    made = registry(devices.register, SYSTEM, new, [FoundSource(address="1")])
    (bound,) = made.created
    integrator, admin = somebody(Role.INTEGRATOR, "d"), somebody(Role.ADMIN, "d")
    put(registry, bound.point_id, polygons=[WINDOW])
    other = registry(points.create, SYSTEM, NewPoint(organization="d", name="other"))
    for refused in (
        lambda: registry(points.update, integrator, bound.point_id, {"masked": False}),
        lambda: registry(points.clear_source, integrator, bound.point_id),
        lambda: registry(points.delete, integrator, bound.point_id),
        lambda: registry(devices.delete, integrator, made.device_id),
    ):
        with pytest.raises(Forbidden):
            refused()
    with pytest.raises(Conflict):
        registry(points.set_source, integrator, other.id, made.device_id, "1")
    registry(devices.delete, admin, made.device_id)
    assert registry(points.get, SYSTEM, bound.point_id).masked


def test_masks_are_gone_with_their_point(registry: Registry, point_id: str) -> None:
    put(registry, point_id, polygons=[WINDOW])
    registry(points.delete, SYSTEM, point_id)
    assert registry(masks.of_points, [point_id]) == {}


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ([[0, 0], [1, 1]], "3 to"),
        ([[0, 0], [1, 1], [0, 0]], "3 to"),
        ([[0, 0], [1, 1], [0, 1], [1, 0]], "cross"),
        ([[0, 0], [1.01, 0], [1, 1]], "0..1"),
        ([[0, 0], [-0.1, 0], [1, 1]], "0..1"),
        ([[0, 0], [float("nan"), 0], [1, 1]], "0..1"),
        ([[0, 0], [float("inf"), 0], [1, 1]], "0..1"),
        ([[0, 0], [0.5], [1, 1]], "0..1"),
        ([[0, 0], [0.5, 0.5], [1, 1]], "cross"),
        ([[0, 0], [0.001, 0], [0.001, 0.001]], "enclose"),
        ([[n / 100, n * n / 10_000] for n in range(MAX_CORNERS + 1)], "3 to"),
    ],
)
def test_what_is_no_polygon_is_named(corners: list[list[float]], reason: str) -> None:
    with pytest.raises(Invalid, match=reason) as refused:
        checked_polygons("polygons", [WINDOW, corners])
    (only,) = refused.value.reasons
    assert only.field.startswith("polygons[1]")


def test_there_is_a_bound() -> None:
    assert len(checked_polygons("polygons", [WINDOW] * MAX_POLYGONS)) == MAX_POLYGONS
    with pytest.raises(Invalid, match=r"polygons: must be at most"):
        checked_polygons("polygons", [WINDOW] * (MAX_POLYGONS + 1))


@pytest.mark.parametrize("name", ["", "  ", "a" * 65, "a\nb"])
def test_a_preset_has_a_name_and_something_to_hide(name: str) -> None:
    with pytest.raises(Invalid):
        checked_presets({name: [WINDOW]})
    with pytest.raises(Invalid, match="needs a polygon"):
        checked_presets({"gate": []})


@given(st.lists(st.lists(st.lists(st.floats(), max_size=3), max_size=6), max_size=4))
def test_any_polygons_are_taken_or_refused(polygons: list[list[list[float]]]) -> None:
    try:
        taken = checked_polygons("polygons", polygons)
    except Invalid as refused:
        assert refused.reasons
    else:
        assert len(taken) == len(polygons)
        assert all(0 <= each <= 1 for polygon in taken for corner in polygon for each in corner)


def test_a_purpose_is_asked_for_below_whoever_asks(registry: Registry, point_id: str) -> None:
    assert not registry(masks.requires_purpose, "d/s")
    changed = registry(organizations.update, SYSTEM, "d", {"purpose_required": True})
    assert changed.purpose_required
    assert registry(masks.requires_purpose, "d/s")
    assert registry(masks.requires_purpose, "d")
    assert not registry(masks.requires_purpose, "e")
    admin_below = somebody(Role.ADMIN, "d/s")
    with pytest.raises(NotFound):
        registry(organizations.update, admin_below, "d", {"purpose_required": False})


def test_a_purpose_is_still_asked_for_after_a_merge(registry: Registry) -> None:
    for new in (
        NewOrganization(kind="district", name="D", slug="d"),
        NewOrganization(kind="station", name="S", slug="s", parent="d", purpose_required=True),
        NewOrganization(kind="station", name="T", slug="t", parent="d"),
    ):
        registry(organizations.create, SYSTEM, new)
    assert registry(reshaping.merge, SYSTEM, "d/s", "d/t").purpose_required


def test_a_masked_camera_under_another_address_is_not_shown_in_clear(registry: Registry) -> None:
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    sources = [FoundSource(address=each, channel_number=n) for n, each in enumerate("ab", start=1)]
    new = NewDevice(adapter="onvif", endpoint="recorder", organization="d")
    made = registry(devices.register, SYSTEM, new, sources)
    put(registry, made.created[0].point_id, polygons=[WINDOW])
    # One source goes by another name now; the other kept its own.
    found = [FoundSource(address="a2", channel_number=1), sources[1]]
    again = registry(devices.refresh, SYSTEM, made.device_id, found)
    (created,) = again.created
    assert registry(points.get, SYSTEM, created.point_id).masked
    # Nothing masked was lost with this one.
    more = [*found, FoundSource(address="c", channel_number=3)]
    registry(points.update, SYSTEM, made.created[0].point_id, {"masked": False})
    (other,) = registry(devices.refresh, SYSTEM, made.device_id, more).created
    assert not registry(points.get, SYSTEM, other.point_id).masked
