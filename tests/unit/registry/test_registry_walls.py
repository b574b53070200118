"""Walls are one person's; tours are an organisation's, and show each only what they may see."""

from datetime import timedelta
from typing import Any, cast

import pytest
from databases import ON_SQLITE, Registry

from registry import organizations, points, reshaping, shares, tours, users, walls
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.identity import now
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Principal
from registry.points import NewPoint
from registry.shares import NewShare
from registry.tours import Group, NewTour
from registry.users import NewRole, NewUser
from registry.walls import NewWall

pytest_plugins = ["databases"]


@pytest.fixture
def district(registry: Registry) -> Registry:
    for kind, parent, slug in (
        ("district", None, "d"),
        ("station", "d", "s1"),
        ("station", "d", "s2"),
    ):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        registry(organizations.create, SYSTEM, new)
    return registry


def person(registry: Registry, name: str, role: str, organization: str) -> Principal:
    roles = (NewRole(role=role, organization=organization),)
    new = NewUser(name=name, password_hash="x", roles=roles)
    user = registry(users.create, SYSTEM, new)
    return again(registry, user.id)


def again(registry: Registry, user_id: str) -> Principal:
    """Whoever it is as they are known now, with what is shown to them."""
    return cast(Principal, registry(users.principal_of, user_id))


def camera(registry: Registry, name: str, organization: str = "d/s1") -> str:
    new = NewPoint(organization=organization, name=name, assign="explicit")
    return str(registry(points.create, SYSTEM, new).id)


def tour(registry: Registry, who: Principal, *groups: Group, **values: Any) -> tours.Tour:
    new = NewTour(**{"name": "night", "organization": "d/s1", "groups": groups, **values})
    return cast(tours.Tour, registry(tours.create, who, new))


def test_a_wall_is_its_users_alone(district: Registry) -> None:
    li = person(district, "li", "viewer", "d/s1")
    wang = person(district, "wang", "admin", "d")
    a, b = camera(district, "a"), camera(district, "b")
    made = district(walls.create, li, NewWall(name=" desk ", tiles=4, points=(a, None, b)))
    assert (made.name, made.tiles, made.points) == ("desk", 4, (a, None, b, None))
    assert district(walls.page, li).items == (made,)
    assert district(walls.page, wang).items == ()
    for act in (walls.get, walls.delete):
        with pytest.raises(NotFound):
            district(act, wang, made.id)
    changed = district(walls.update, li, made.id, {"tiles": 1}, made.version)
    assert (changed.version, changed.points, changed.hidden) == (2, (a,), 0)
    with pytest.raises(VersionMismatch):
        district(walls.update, li, made.id, {"name": "x"}, made.version)
    moved = district(walls.update, li, made.id, {"tiles": 4, "points": [b, a]})
    assert moved.points == (b, a, None, None)
    with pytest.raises(Conflict, match="already"):
        district(walls.create, li, NewWall(name="desk", tiles=1))
    assert district(walls.create, wang, NewWall(name="desk", tiles=25)).points == (None,) * 25
    district(walls.delete, li, made.id)
    assert district(walls.page, li).total == 0


@ON_SQLITE
def test_a_wall_is_refused_with_the_place_of_what_is_wrong(district: Registry) -> None:
    li = person(district, "li", "viewer", "d/s1")
    a, foreign = camera(district, "a"), camera(district, "f", "d/s2")
    for new, field in (
        (NewWall(name=" ", tiles=1), "name"),
        (NewWall(name="w", tiles=2), "tiles"),
        (NewWall(name="w", tiles=1, points=(None, a)), "points"),
        (NewWall(name="w", tiles=4, points=(a, foreign)), "points[1]"),
        (NewWall(name="w", tiles=4, points=(None, None, "nothing")), "points[2]"),
        (NewWall(name="w", tiles=4, points=(a, a)), "points[1]"),
    ):
        with pytest.raises(Invalid) as refused:
            district(walls.create, li, new)
        assert [reason.field for reason in refused.value.reasons] == [field]
    assert district(walls.page, li).total == 0


@ON_SQLITE
def test_nobody_fills_the_table_with_walls(
    district: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walls, "MOST_WALLS", 2)
    li = person(district, "li", "viewer", "d/s1")
    for name in ("a", "b"):
        district(walls.create, li, NewWall(name=name, tiles=1))
    with pytest.raises(Conflict, match="delete one first"):
        district(walls.create, li, NewWall(name="c", tiles=1))


def test_what_is_no_longer_seen_is_hidden_and_counted_and_comes_back(district: Registry) -> None:
    li = person(district, "li", "viewer", "d/s1")
    own, lent = camera(district, "own"), camera(district, "lent", "d/s2")
    share = NewShare(
        point=lent,
        to="d/s1",
        purpose="festival",
        starts_at=now(),
        ends_at=now() + timedelta(days=1),
    )
    shared = district(shares.create, SYSTEM, share)
    li = again(district, li.user_id)
    wall = district(walls.create, li, NewWall(name="w", tiles=4, points=(lent, own)))
    assert wall.points == (lent, own, None, None)
    district(shares.delete, SYSTEM, shared.id)
    seen = district(walls.get, li, wall.id)
    assert (seen.points, seen.hidden) == ((None, own, None, None), 1)
    renamed = district(walls.update, li, wall.id, {"name": "other"})
    assert (renamed.hidden, renamed.version) == (1, 2)
    district(shares.create, SYSTEM, share)
    assert district(walls.get, li, wall.id).points == (lent, own, None, None)


def test_a_deleted_point_leaves_walls_and_tours_and_a_deleted_user_takes_walls_along(
    district: Registry,
) -> None:
    li = person(district, "li", "dispatcher", "d/s1")
    a, b = camera(district, "a"), camera(district, "b")
    wall = district(walls.create, li, NewWall(name="w", tiles=4, points=(a, b)))
    made = tour(district, li, Group(name="one", points=(a, b)), Group(name="two", points=(a,)))
    district(points.delete, SYSTEM, a)
    left = district(walls.get, li, wall.id)
    assert (left.points, left.hidden) == ((None, b, None, None), 0)
    after = district(tours.get, li, made.id)
    assert [(group.points, group.hidden) for group in after.groups] == [((b,), 0), ((), 0)]
    district(users.delete, SYSTEM, li.user_id)
    assert district(walls.page, li).total == 0
    assert district(tours.page, SYSTEM).total == 1


def test_a_tour_shows_each_only_what_they_may_see(district: Registry) -> None:
    chief = person(district, "chief", "dispatcher", "d")
    li = person(district, "li", "viewer", "d/s1")
    own, foreign = camera(district, "own"), camera(district, "f", "d/s2")
    groups = (Group(name="all", points=(foreign, own)), Group(name="far", points=(foreign,)))
    made = tour(district, chief, *groups, dwell_s=20)
    assert (made.groups, made.hidden, made.dwell_s) == (groups, 0, 20)
    seen = district(tours.get, li, made.id)
    assert [(group.name, group.points, group.hidden) for group in seen.groups] == [
        ("all", (own,), 1),
        ("far", (), 1),
    ]
    assert seen.hidden == 2
    elsewhere = person(district, "zhao", "admin", "d/s2")
    with pytest.raises(NotFound):
        district(tours.get, elsewhere, made.id)
    assert district(tours.page, elsewhere).total == 0
    assert district(tours.page, chief, organization="d/s1").items == (made,)
    assert district(tours.page, chief, organization="d/s2").items == ()


def test_who_may_write_a_tour(district: Registry) -> None:
    li = person(district, "li", "dispatcher", "d/s1")
    viewer = person(district, "wang", "viewer", "d/s1")
    own, foreign = camera(district, "own"), camera(district, "f", "d/s2")
    with pytest.raises(Forbidden):
        tour(district, viewer, Group(name="g", points=(own,)))
    with pytest.raises(Invalid, match="there is no point"):
        tour(district, li, Group(name="g", points=(own, foreign)))
    made = tour(district, li, Group(name="g", points=(own,)))
    with pytest.raises(Conflict, match="already"):
        tour(district, li, Group(name="g", points=(own,)))
    with pytest.raises(Forbidden):
        district(tours.update, viewer, made.id, {"name": "x"})
    with pytest.raises(Forbidden):
        district(tours.delete, viewer, made.id)
    changed = district(
        tours.update, li, made.id, {"dwell_s": 60, "groups": [Group(name="h", points=(own,))]}, 1
    )
    assert (changed.version, changed.dwell_s) == (2, 60)
    assert [group.name for group in changed.groups] == ["h"]
    with pytest.raises(VersionMismatch):
        district(tours.delete, li, made.id, 1)
    district(tours.delete, li, made.id, 2)
    assert district(tours.page, li).total == 0


@ON_SQLITE
def test_a_tour_is_refused_with_the_place_of_what_is_wrong(district: Registry) -> None:
    a = camera(district, "a")
    good = Group(name="g", points=(a,))
    for values, field in (
        ({"name": ""}, "name"),
        ({"dwell_s": 4}, "dwell_s"),
        ({"groups": (good, Group(name=" ", points=(a,)))}, "groups[1].name"),
        ({"groups": (good, Group(name="g"))}, "groups[1].points"),
        ({"groups": (Group(name="g", points=(a, a)),)}, "groups[0].points[1]"),
        ({"groups": (good,) * (tours.MOST_GROUPS + 1)}, "groups"),
    ):
        with pytest.raises(Invalid) as refused:
            tour(district, SYSTEM, **values)
        assert [reason.field for reason in refused.value.reasons] == [field]


def test_an_organisation_with_tours_is_merged_not_deleted(district: Registry) -> None:
    a = camera(district, "a", "d/s2")
    made = tour(district, SYSTEM, Group(name="g", points=(a,)))
    with pytest.raises(Conflict, match="1 tours"):
        district(organizations.delete, SYSTEM, "d/s1")
    district(reshaping.merge, SYSTEM, "d/s1", "d/s2")
    assert district(tours.get, SYSTEM, made.id).organization.path == "d/s2"
