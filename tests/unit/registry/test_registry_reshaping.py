"""Organisations move, get other slugs, become one and go; on both databases."""

from datetime import UTC, datetime
from typing import Any

import pytest
from databases import Registry, square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely import Point as Place

from registry import (
    changes,
    channels,
    levels,
    organizations,
    point_lists,
    points,
    repartition,
    reshaping,
    systems,
    users,
)
from registry.channels import NewChannel
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.jurisdictions import read_geometry
from registry.levels import NewLevel, Step
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role, contains, parent_path
from registry.point_lists import PointFilter
from registry.points import NewPoint
from registry.systems import NewSystem

pytest_plugins = ["databases"]

TREE = (
    ("district", None, "d"),
    ("station", "d", "s1"),
    ("workroom", "d/s1", "w1"),
    ("workroom", "d/s1/w1", "post"),
    ("station", "d", "s2"),
    ("workroom", "d/s2", "w1"),
    ("workroom", "d/s2", "w3"),
    ("district", "d", "inner"),
    ("station", "d/inner", "s3"),
)


def admin(path: str) -> Principal:
    grant = Grant(role=Role.ADMIN, organization_id="", path=path)
    return Principal(user_id="01890000-0000-7000-8000-000000000001", name="a", grants=(grant,))


@pytest.fixture
def tree(registry: Registry) -> Registry:
    for kind, parent, slug in TREE:
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        registry(organizations.create, SYSTEM, new)
    return registry


def paths(registry: Registry) -> list[str]:
    return [each.path for each in registry(organizations.tree, SYSTEM)]


def move(registry: Registry, who: Principal, path: str, parent: str | None, **more: Any) -> Any:
    slug = more.pop("slug", path.rpartition("/")[2])
    return registry(reshaping.move, who, path, parent=parent, slug=slug, **more)


def put(registry: Registry, organization: str, **more: Any) -> str:
    point = registry(points.create, SYSTEM, NewPoint(organization=organization, name="p", **more))
    return point.id


def where(registry: Registry, point_id: str) -> tuple[str, str, str]:
    point = registry(points.get, SYSTEM, point_id)
    home = registry(organizations.get_by_id, point.home_id)
    return point.organization.path, home.path, point.assigned_by


def test_a_move_takes_along_all_below_and_all_owned(tree: Registry) -> None:
    point = put(tree, "d/s1/w1/post")
    system = tree(
        systems.create, SYSTEM, NewSystem(adapter="homebrew", name="r", organization="d/s1/w1")
    )
    before = tree(organizations.get, SYSTEM, "d/s1/w1")
    with pytest.raises(VersionMismatch):
        move(tree, admin("d"), "d/s1/w1", "d/s2/w3", version=7)
    moved = move(tree, admin("d"), "d/s1/w1", "d/s2/w3", slug="room", version=before.version)
    assert (moved.id, moved.path, moved.depth, moved.version) == (
        before.id,
        "d/s2/w3/room",
        4,
        before.version + 1,
    )
    assert tree(organizations.get, SYSTEM, "d/s2/w3/room/post").depth == 5
    assert where(tree, point)[0] == "d/s2/w3/room/post"
    assert tree(systems.get, SYSTEM, system.id).organization.path == "d/s2/w3/room"
    with pytest.raises(NotFound):
        tree(organizations.get, SYSTEM, "d/s1/w1")
    # Those of the new place see it, those of the old do not, its past included.
    assert tree(points.get, admin("d/s2"), point).id == point
    with pytest.raises(NotFound):
        tree(points.get, admin("d/s1"), point)
    seen = tree(changes.page, admin("d/s2"), object_id=point).items
    assert [each.organization_path for each in seen] == ["d/s2/w3/room/post"]
    assert tree(changes.page, admin("d/s1"), object_id=point).items == ()
    (last,) = tree(changes.page, admin("d"), kind="organization", object_id=before.id).items[-1:]
    assert (last.action, last.details) == ("move", {"path": ["d/s1/w1", "d/s2/w3/room"]})
    # And the old path is free for somebody else, who finds nothing of it.
    new = NewOrganization(kind="workroom", name="new", slug="w1", parent="d/s1")
    fresh = tree(organizations.create, SYSTEM, new)
    past = tree(changes.page, admin("d/s1/w1")).items
    assert {each.object_id for each in past} == {fresh.id}


def test_another_slug_alone(tree: Registry) -> None:
    above = tree(organizations.get, SYSTEM, "d").id
    with pytest.raises(Forbidden):
        move(tree, admin("d/s1"), "d/s1", above, slug="first")
    move(tree, admin("d"), "d/s1", "d", slug="first")
    assert [p for p in paths(tree) if p.startswith("d/first")] == [
        "d/first",
        "d/first/w1",
        "d/first/w1/post",
    ]
    move(tree, admin("d"), "d", None, slug="e")
    assert all(contains("e", path) for path in paths(tree))
    unchanged = tree(organizations.get, SYSTEM, "e")
    assert move(tree, SYSTEM, "e", None) == unchanged


@pytest.mark.parametrize(
    ("who", "path", "parent", "slug", "error"),
    [
        ("d/s1", "d/s1/w1", "d/s2", "w9", NotFound),
        ("d/s1", "d/s1/w1", "d/s1", "W", Invalid),
        ("d", "d/s1/w1", "d/s2", "w1", Conflict),
        ("d", "d/s1/w1", "d", "w1", Invalid),
        ("d", "d/s1/w1", "d/s1/w1/post", "w1", Invalid),
        ("d", "d/s1/w1", "d/s1/w1", "w1", Invalid),
        ("d", "d/inner", None, "inner", Forbidden),
        ("", "d/s1", None, "s1", Invalid),
    ],
)
def test_what_cannot_be_moved(
    tree: Registry, who: str, path: str, parent: str | None, slug: str, error: type[Exception]
) -> None:
    before = tree(organizations.tree, SYSTEM)
    with pytest.raises(error):
        move(tree, admin(who), path, parent, slug=slug)
    assert tree(organizations.tree, SYSTEM) == before


def test_a_boundary_needs_an_admin_of_both_sides(tree: Registry) -> None:
    both = Principal(user_id="", name="", grants=(*admin("d/s1").grants, *admin("d/s2").grants))
    with pytest.raises(Forbidden, match="at d or above"):
        move(tree, both, "d/s1/w1", "d/s2", slug="w9")
    for change in (reshaping.merge, reshaping.delete_reassigning):
        with pytest.raises(Forbidden, match="at d or above"):
            tree(change, both, "d/s1/w1", "d/s2/w1")


def test_a_home_left_behind_becomes_the_nearest_district(tree: Registry) -> None:
    tree(organizations.set_jurisdiction, SYSTEM, "d/s1", square(0, 0, 10))
    point = put(tree, "d", longitude=2.0, latitude=2.0)
    own = put(tree, "d/s1")
    assert where(tree, point) == ("d/s1", "d", "polygon")
    move(tree, admin("d"), "d/s1", "d/inner")
    assert where(tree, point) == ("d/inner/s1", "d", "polygon")
    move(tree, SYSTEM, "d/inner", None)
    assert where(tree, point) == ("inner/s1", "inner", "polygon")
    assert where(tree, own) == ("inner/s1", "inner/s1", "explicit")
    assert tree(repartition.plan, SYSTEM, "inner").moved == 0


def person(registry: Registry, name: str, *roles: users.NewRole) -> str:
    new = users.NewUser(name=name, password_hash="x", roles=roles)
    return registry(users.create, SYSTEM, new).id


def test_merging_makes_one_of_two(tree: Registry) -> None:
    tree(organizations.set_jurisdiction, SYSTEM, "d/s1", square(0, 0, 10))
    tree(organizations.set_jurisdiction, SYSTEM, "d/s2", square(10, 0, 10))
    move(tree, SYSTEM, "d/s2/w1", "d/s2", slug="w2")
    given = put(tree, "d", longitude=2.0, latitude=2.0)
    pinned, unassigned = put(tree, "d/s1"), put(tree, "d/s1", assign="polygon")
    viewer = person(tree, "v", users.NewRole(role="viewer", organization="d/s1"))
    both = person(
        tree,
        "b",
        users.NewRole(role="admin", organization="d/s1"),
        users.NewRole(role="admin", organization="d/s2"),
    )
    clear = person(
        tree,
        "c",
        users.NewRole(role="viewer", organization="d/s1"),
        users.NewRole(
            role="clear_view",
            organization="d/s1",
            purpose="case 7",
            ends_at=datetime(2999, 1, 1, tzinfo=UTC),
        ),
    )
    merged = tree(reshaping.merge, admin("d"), "d/s1", "d/s2")
    assert merged.path == "d/s2"
    assert merged.jurisdiction is not None
    polygon = read_geometry(merged.jurisdiction)
    assert polygon.covers(Place(2, 2))
    assert polygon.covers(Place(18, 2))
    assert where(tree, given) == ("d/s2", "d", "polygon")
    assert where(tree, pinned) == ("d/s2", "d/s2", "explicit")
    assert where(tree, unassigned) == ("d/s2", "d/s2", "none")
    assert paths(tree) == [
        *("d", "d/inner", "d/inner/s3", "d/s2"),
        *("d/s2/w1", "d/s2/w1/post", "d/s2/w2", "d/s2/w3"),
    ]
    for user, expected in ((viewer, ["viewer"]), (both, ["admin"]), (clear, ["viewer"])):
        roles = tree(users.get, SYSTEM, user).roles
        assert [str(each.role) for each in roles] == expected
        assert {each.organization.path for each in roles} == {"d/s2"}


def test_what_cannot_be_merged(tree: Registry) -> None:
    with pytest.raises(Conflict) as refused:
        tree(reshaping.merge, SYSTEM, "d/s1", "d/s2")
    assert refused.value.others == ("d/s2/w1",)
    with pytest.raises(Invalid, match="another station"):
        tree(reshaping.merge, SYSTEM, "d/s1", "d/inner")
    for into in ("d/s1/w1", "d/s1/w1/post"):
        with pytest.raises(Invalid, match="into itself"):
            tree(reshaping.merge, SYSTEM, "d/s1/w1", into)
    for path in ("d/s1/w1", "d/s2/w3"):
        new = NewSystem(adapter="homebrew", name="radio", organization=path)
        tree(systems.create, SYSTEM, new)
    with pytest.raises(Conflict) as refused:
        tree(reshaping.merge, SYSTEM, "d/s1/w1", "d/s2/w3")
    assert refused.value.others == ("systems radio",)


def test_deleting_with_an_heir(tree: Registry) -> None:
    tree(organizations.set_jurisdiction, SYSTEM, "d/s1/w1", square(0, 0, 10))
    given = put(tree, "d", longitude=2.0, latitude=2.0)
    with pytest.raises(Conflict, match="reassign_to") as refused:
        tree(organizations.delete, admin("d"), "d/s1/w1")
    assert refused.value.others == ("1 organizations", "1 points")
    with pytest.raises(VersionMismatch):
        tree(reshaping.delete_reassigning, admin("d"), "d/s1/w1", "d/s1", 99)
    with pytest.raises(Invalid, match="none below a district"):
        tree(reshaping.delete_reassigning, admin("d"), "d/s1/w1", "d")
    tree(reshaping.delete_reassigning, admin("d"), "d/s1/w1", "d/s1")
    assert where(tree, given) == ("d/s1", "d", "explicit")
    assert "d/s1/post" in paths(tree)
    assert "d/s1/w1" not in paths(tree)
    assert tree(organizations.get, SYSTEM, "d/s1").jurisdiction is None


def test_the_past_of_what_is_gone_is_told_above(tree: Registry) -> None:
    gone = tree(organizations.get, SYSTEM, "d/inner/s3").id
    tree(organizations.delete, admin("d"), "d/inner/s3")
    seen = tree(changes.page, admin("d/inner"), object_id=gone).items
    assert [each.action for each in seen] == ["create", "delete"]


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["move", "merge", "delete"]), st.integers(0, 8), st.integers(0, 8)
        ),
        max_size=6,
    )
)
def test_whatever_is_done_the_tree_stays_one(
    registry: Registry, steps: list[tuple[str, int, int]]
) -> None:
    def run(connection):  # type: ignore[no-untyped-def]
        ids = []
        for kind, parent, slug in TREE:
            new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
            ids.append(organizations.create(connection, SYSTEM, new).id)
            points.create(connection, SYSTEM, NewPoint(organization=ids[-1], name="p"))
        for verb, one, other in steps:
            with_savepoint = connection.begin_nested()
            try:
                if verb == "move":
                    reshaping.move(connection, SYSTEM, ids[one], parent=ids[other], slug=f"n{one}")
                elif verb == "merge":
                    reshaping.merge(connection, SYSTEM, ids[one], ids[other])
                else:
                    reshaping.delete_reassigning(connection, SYSTEM, ids[one], ids[other])
                with_savepoint.commit()
            except (NotFound, Invalid, Conflict):
                with_savepoint.rollback()
        found = point_lists.page(connection, SYSTEM, limit=500)
        none = point_lists.page(connection, SYSTEM, PointFilter(assigned_by="none"), limit=500)
        return organizations.tree(connection, SYSTEM), found, none

    tree, found, none = registry.undone(run)
    by_id = {each.id: each for each in tree}
    for each in tree:
        assert each.path.rpartition("/")[2] == each.slug
        assert each.depth == each.path.count("/") + 1
        above = by_id[each.parent_id].path if each.parent_id else ""
        assert parent_path(each.path) == above
        kind = by_id[each.parent_id].kind if each.parent_id else None
        assert kind in organizations.PARENT_KINDS[each.kind]
    assert found.total == len(TREE)
    for point in found.items:
        assert by_id[point.organization.id].path == point.organization.path
        assert contains(by_id[point.home_id].path, point.organization.path)
    assert all(each.organization.id == each.home_id for each in none.items)


def test_response_levels_go_to_the_heir_and_none_in_force_is_lost(tree: Registry) -> None:
    system = tree(
        systems.create, SYSTEM, NewSystem(adapter="homebrew", name="radio", organization="d/s1/w1")
    )
    new = NewChannel(system=system.id, address="1", name="c", kind="trunk")
    channel = tree(channels.create, SYSTEM, new).id
    plan = (Step(kind="channel", id=channel, field="priority", value=9),)
    level = tree(
        levels.create, SYSTEM, NewLevel(name="一级", organization="d/s1/w1", rank=1, plan=plan)
    ).id
    with pytest.raises(Conflict) as refused:
        tree(organizations.delete, SYSTEM, "d/s1/w1")
    assert "1 levels" in refused.value.others
    tree(levels.apply, SYSTEM, level)
    for fn in (reshaping.merge, reshaping.delete_reassigning):
        with pytest.raises(Conflict, match="restore it first"):
            tree(fn, SYSTEM, "d/s1/w1", "d/s2/w3")
    tree(levels.restore, SYSTEM, level)
    tree(reshaping.merge, SYSTEM, "d/s1/w1", "d/s2/w3")
    kept = tree(levels.get, SYSTEM, level)
    assert (kept.organization.path, kept.plan) == ("d/s2/w3", plan)
    twice = NewLevel(name="一级", organization="d/s2/w1", rank=1, plan=())
    tree(levels.create, SYSTEM, twice)
    with pytest.raises(Conflict) as refused:
        tree(reshaping.merge, SYSTEM, "d/s2/w3", "d/s2/w1")
    assert "levels 一级" in refused.value.others
