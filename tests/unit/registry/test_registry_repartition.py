"""Points go back to the polygons: what would move, why, and that it moves; on both databases."""

from typing import Any

import pytest
from databases import Registry, square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import changes, organizations, placed_points, point_lists, points, repartition
from registry.errors import Conflict, Forbidden, NotFound
from registry.jurisdictions import Jurisdiction, Jurisdictions, area_m2, read_geometry
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.point_lists import PointFilter
from registry.points import NewPoint, Point

pytest_plugins = ["databases"]

RING = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[4, 4], [6, 4], [6, 6], [4, 6], [4, 4]]
HOLED = {"type": "Polygon", "coordinates": [RING, HOLE]}


def admin(path: str, role: Role = Role.ADMIN) -> Principal:
    grant = Grant(role=role, organization_id="", path=path)
    return Principal(user_id="01890000-0000-7000-8000-000000000001", name="a", grants=(grant,))


def district(registry: Registry, **polygons: Any) -> None:
    """A district ``d`` of stations, each with its polygon."""
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="d", slug="d"))
    for slug, polygon in polygons.items():
        new = NewOrganization(
            kind="station", name=slug, slug=slug, parent="d", jurisdiction=polygon
        )
        registry(organizations.create, SYSTEM, new)


def put(registry: Registry, longitude: float | None, latitude: float | None, **more: Any) -> Point:
    new = NewPoint(
        **{"organization": "d", "name": "p", **more}, longitude=longitude, latitude=latitude
    )
    return registry(points.create, SYSTEM, new)


def owner(registry: Registry, point: Point) -> tuple[str, str]:
    found = registry(points.get, SYSTEM, point.id)
    return found.organization.path, found.assigned_by


def set_polygon(registry: Registry, path: str, polygon: Any) -> None:
    registry(organizations.set_jurisdiction, SYSTEM, path, polygon)


def test_a_dry_run_says_what_would_move_and_writes_nothing(registry: Registry) -> None:
    district(registry, a=square(0, 0, 10), b=None)
    inside, outside = put(registry, 2, 2), put(registry, 50, 50)
    placeless = put(registry, None, None)
    pinned = put(registry, 3, 3, organization="d/a")
    assert owner(registry, inside) == ("d/a", "polygon")
    set_polygon(registry, "d/a", None)
    set_polygon(registry, "d/b", square(40, 40, 20))
    plan = registry(repartition.plan, admin("d"), "d")
    assert {(m.point_id, m.source, m.target, m.assigned_by, m.why.rule) for m in plan.moves} == {
        (inside.id, "d/a", "d", "none", "none"),
        (outside.id, "d", "d/b", "polygon", "only"),
    }
    assert [(f.source, f.target, f.points) for f in plan.flows] == [
        ("d", "d/b", 1),
        ("d/a", "d", 1),
    ]
    assert (plan.examined, plan.explicit, plan.without_position) == (3, 1, 1)
    assert (plan.unassigned, plan.moved) == (2, 2)
    assert owner(registry, inside) == ("d/a", "polygon")
    registry(repartition.apply, admin("d"), plan)
    assert owner(registry, inside) == ("d", "none")
    assert owner(registry, outside) == ("d/b", "polygon")
    assert owner(registry, placeless) == ("d", "none")
    assert owner(registry, pinned) == ("d/a", "explicit")
    # The unassigned are the district's to see, by list and by number.
    seen = registry(point_lists.page, admin("d", Role.VIEWER), PointFilter(assigned_by="none"))
    assert {each.id for each in seen.items} == {inside.id, placeless.id}
    assert registry(organizations.counts, admin("d", Role.VIEWER))["d"].unassigned == 2
    assert registry(repartition.plan, admin("d"), "d").moved == 0
    written = registry(changes.page, admin("d"), kind="point", object_id=inside.id).items
    assert written[-1].action == "partition"
    assert written[-1].details["assigned_by"] == ["polygon", "none"]
    with pytest.raises(Conflict, match="points changed"):
        registry(repartition.apply, admin("d"), plan)
    assert owner(registry, inside) == ("d", "none")


def test_explicit_ones_move_only_when_asked_and_claimed(registry: Registry) -> None:
    district(registry, a=square(0, 0, 10), b=square(20, 0, 10))
    claimed = put(registry, 22, 2, assign="explicit")
    unclaimed = put(registry, 50, 50, assign="explicit")
    plan = registry(repartition.plan, SYSTEM, "d")
    assert (plan.moved, plan.explicit, plan.examined) == (0, 2, 0)
    asked = registry(repartition.plan, SYSTEM, "d", include_explicit=True)
    assert [(m.point_id, m.target) for m in asked.moves] == [(claimed.id, "d/b")]
    registry(repartition.apply, SYSTEM, asked)
    assert owner(registry, claimed) == ("d/b", "polygon")
    assert owner(registry, unclaimed) == ("d", "explicit")


def test_what_changed_meanwhile_is_planned_again(registry: Registry) -> None:
    district(registry, a=None)
    point = put(registry, 2, 2)
    set_polygon(registry, "d/a", square(0, 0, 10))
    plan = registry(repartition.plan, SYSTEM, "d")
    set_polygon(registry, "d/a", square(1, 1, 10))
    with pytest.raises(Conflict, match="organizations changed"):
        registry(repartition.apply, SYSTEM, plan)
    plan = registry(repartition.plan, SYSTEM, "d")
    registry(points.update, SYSTEM, point.id, {"name": "moved", "longitude": 50.0})
    with pytest.raises(Conflict, match="points changed"):
        registry(repartition.apply, SYSTEM, plan)
    assert owner(registry, point) == ("d", "none")


def test_who_may(registry: Registry) -> None:
    district(registry, a=square(0, 0, 10))
    point = put(registry, 2, 2)
    # A station re-partitions what was created under it, not what the district's polygons gave it.
    assert registry(repartition.plan, admin("d/a"), "d/a").examined == 0
    plan = registry(repartition.plan, admin("d"), "d")
    with pytest.raises(NotFound):
        registry(repartition.plan, admin("d/a"), "d")
    with pytest.raises(Forbidden):
        registry(repartition.plan, admin("d", Role.INTEGRATOR), "d")
    with pytest.raises(NotFound):
        registry(repartition.apply, admin("d/a"), plan)
    assert owner(registry, point) == ("d/a", "polygon")


def test_a_district_inside_a_district_keeps_its_own(registry: Registry) -> None:
    district(registry, a=square(0, 0, 10))
    registry(
        organizations.create,
        SYSTEM,
        NewOrganization(kind="district", name="inner", slug="inner", parent="d"),
    )
    inner = put(registry, 2, 2, organization="d/inner")
    # Its home is the inner district, whose polygons do not reach here: the outer's do not count.
    assert owner(registry, inner) == ("d/inner", "none")
    assert registry(repartition.plan, SYSTEM, "d").moved == 0


def table(**polygons: Any) -> Jurisdictions:
    found = []
    for name, polygon in polygons.items():
        path = name.replace("_", "/")
        geometry = read_geometry(polygon)
        found.append(
            Jurisdiction(
                organization_id=path,
                path=path,
                depth=path.count("/") + 1,
                area_m2=area_m2(geometry),
                geometry=geometry,
            )
        )
    return Jurisdictions(found)


@pytest.mark.parametrize(
    ("place", "rule", "covered_by", "border_of", "hole_of"),
    [
        ((2, 2), "only", ("d/a",), (), ()),
        ((0, 5), "only", ("d/a",), ("d/a",), ()),
        ((4, 5), "only", ("d/a",), ("d/a",), ()),
        ((5, 5), "none", (), (), ("d/a",)),
        ((10, 5), "area", ("d/b", "d/a"), ("d/b", "d/a"), ()),
        ((12, 2), "only", ("d/b",), (), ()),
        ((21, 1), "deepest", ("d/c/w", "d/c"), (), ()),
        ((31, 1), "path", ("d/e", "d/f"), (), ()),
        ((80, 80), "none", (), (), ()),
        ((None, None), "position", (), (), ()),
    ],
)
def test_each_answer_says_by_what_rule(
    place: tuple[float | None, float | None],
    rule: str,
    covered_by: tuple[str, ...],
    border_of: tuple[str, ...],
    hole_of: tuple[str, ...],
) -> None:
    rules = table(
        d_a=HOLED,
        d_b=square(10, 0, 9),
        d_c=square(20, 0, 5),
        d_c_w=square(20, 0, 4),
        d_e=square(30, 0, 5),
        d_f=square(30, 0, 5),
    )
    why = rules.explain(*place)
    assert (why.rule, why.covered_by, why.border_of) == (rule, covered_by, border_of)
    assert why.hole_of == hole_of
    assert ("border of" in why.sentence) is bool(border_of)
    assert ("hole of" in why.sentence) is bool(hole_of)
    if place[0] is not None and place[1] is not None:
        found = rules.owner(place[0], place[1])
        assert (found.path if found else None) == (covered_by[0] if covered_by else None)


def test_contested_ground_is_named_with_who_gets_it() -> None:
    rules = table(
        d=square(0, 0, 90), d_a=square(0, 0, 10), d_b=square(8, 0, 5), d_c=square(13, 0, 5)
    )
    (overlap,) = rules.overlaps()
    # Crossing polygons contest; a touching border (b, c) and an organisation above (d) do not.
    assert (set(overlap.between), overlap.winner, overlap.rule) == ({"d/a", "d/b"}, "d/b", "area")
    assert overlap.area_m2 > 0
    assert table().overlaps() == ()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    before=st.lists(st.tuples(*[st.integers(0, 6)] * 2, st.integers(1, 4)), max_size=3),
    after=st.lists(st.tuples(*[st.integers(0, 6)] * 2, st.integers(1, 4)), max_size=3),
    places=st.lists(
        st.none() | st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=8
    ),
)
def test_after_it_all_is_as_if_created_now(
    registry: Registry,
    before: list[tuple[int, int, int]],
    after: list[tuple[int, int, int]],
    places: list[tuple[int, int] | None],
) -> None:
    def run(connection):  # type: ignore[no-untyped-def]
        new = NewOrganization(kind="district", name="d", slug="d")
        organizations.create(connection, SYSTEM, new)
        for number in range(3):
            polygon = square(*before[number]) if number < len(before) else None
            new = NewOrganization(
                kind="station", name="s", slug=f"s{number}", parent="d", jurisdiction=polygon
            )
            organizations.create(connection, SYSTEM, new)

        def create(number, place):  # type: ignore[no-untyped-def]
            longitude, latitude = place or (None, None)
            new = NewPoint(
                organization="d", name=f"p{number}", longitude=longitude, latitude=latitude
            )
            return points.create(connection, SYSTEM, new).id

        old = [create(number, place) for number, place in enumerate(places)]
        for number in range(3):
            polygon = square(*after[number]) if number < len(after) else None
            organizations.set_jurisdiction(connection, SYSTEM, f"d/s{number}", polygon)
        repartition.apply(connection, SYSTEM, repartition.plan(connection, SYSTEM, "d"))
        fresh = [create(number, place) for number, place in enumerate(places)]

        def owners(ids):  # type: ignore[no-untyped-def]
            found = points.get_many(connection, SYSTEM, ids)
            return [(each.organization.path, each.assigned_by) for each in found]

        unassigned = point_lists.page(
            connection, SYSTEM, PointFilter(assigned_by="none"), limit=500
        )
        return owners(old), owners(fresh), {each.id for each in unassigned.items}, old

    old, fresh, unassigned, ids = registry.undone(run)
    assert old == fresh
    assert {i for i, (_, by) in zip(ids, old, strict=True) if by == "none"} == unassigned & set(ids)


@pytest.mark.parametrize("few", [0, 1_000])
def test_many_points_in_many_chunks_move_and_are_counted(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """few: up to how many are counted one by one."""
    monkeypatch.setattr(repartition, "_FEW", few)
    monkeypatch.setattr(placed_points, "CHUNK", 7)
    monkeypatch.setattr(repartition, "_WRITTEN_AT_ONCE", 5)
    district(registry, a=None, b=None)
    new = NewOrganization(kind="district", name="inner", slug="inner", parent="d")
    registry(organizations.create, SYSTEM, new)
    made = [
        put(registry, float(number % 10), 1.0, organization="d/inner" if number % 3 else "d")
        for number in range(60)
    ]
    set_polygon(registry, "d/a", square(0, 0, 4))
    set_polygon(registry, "d/b", square(4, 0, 4))
    set_polygon(registry, "d/inner", square(0, 0, 2))
    told: list[tuple[int, int]] = []
    plan = registry(
        repartition.plan, SYSTEM, "d", progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (60, 60)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert (plan.examined, len(plan.changes), len(plan.moves)) == (60, plan.moved, plan.moved)
    registry(repartition.apply, SYSTEM, plan)

    def expected(number: int) -> tuple[str, str]:
        x, inner = number % 10, bool(number % 3)
        if inner:
            return "d/inner", "polygon" if x <= 2 else "none"
        # On the ground of both, the smaller polygon's; on the border of a and b, the first path.
        if x <= 2:
            return "d/inner", "polygon"
        return ("d/a", "polygon") if x <= 4 else ("d/b", "polygon") if x <= 8 else ("d", "none")

    owners = [owner(registry, point) for point in made]
    assert owners == [expected(number) for number in range(60)]
    counts = registry(organizations.counts, SYSTEM)
    for path in ("d", "d/a", "d/b", "d/inner"):
        below = [each for each in owners if each[0] == path or path == "d"]
        assert counts[path].points == len(below)
        assert counts[path].unassigned == sum(by == "none" for _, by in below)
    assert registry(repartition.plan, SYSTEM, "d").moved == 0
    records = registry(changes.page, SYSTEM, kind="point", limit=500).items
    assert sum(each.action == "partition" for each in records) == plan.moved
