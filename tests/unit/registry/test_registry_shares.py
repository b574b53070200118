"""What one organisation shows another; on both databases."""

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from databases import Registry, square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from registry import (
    changes,
    channels,
    organizations,
    patches,
    point_lists,
    points,
    repartition,
    reshaping,
    shares,
    systems,
)
from registry.channels import NewChannel
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.identity import now
from registry.models import SHARES
from registry.organizations import NewOrganization
from registry.partition import SEE_PICTURES, SEE_POINTS, SYSTEM, Grant, Principal, Role, parent_path
from registry.patches import Member, NewPatch
from registry.point_lists import PointFilter
from registry.points import NewPoint, Point
from registry.shares import NewShare, Share, Shown, Term
from registry.systems import NewSystem

pytest_plugins = ["databases"]

HOUR = timedelta(hours=1)


def holding(*grants: tuple[str, str]) -> Principal:
    return Principal(
        user_id="01890000-0000-7000-8000-000000000001",
        name="u",
        grants=tuple(Grant(role=Role(r), organization_id="", path=path) for r, path in grants),
    )


@pytest.fixture
def tree(registry: Registry) -> Registry:
    for kind, parent, slug in (
        ("district", None, "d"),
        ("station", "d", "s1"),
        ("workroom", "d/s1", "w1"),
        ("station", "d", "s2"),
        ("workroom", "d/s2", "w2"),
        ("station", "d", "s3"),
    ):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        registry(organizations.create, SYSTEM, new)
    return registry


def put(registry: Registry, organization: str = "d/s1", **more: Any) -> Point:
    return registry(points.create, SYSTEM, NewPoint(organization=organization, name="p", **more))


def share(registry: Registry, who: Principal = SYSTEM, **more: Any) -> Share:
    values = {"to": "d/s2", "purpose": "case 7", "ends_at": now() + HOUR, **more}
    return registry(shares.create, who, NewShare(**values))


def seen(registry: Registry, who: Principal) -> set[str]:
    return {each.id for each in registry(point_lists.page, who).items}


def over(registry: Registry, share_id: str) -> None:
    """Its end has come."""
    at = now()
    statement = update(SHARES).where(SHARES.c.id == share_id)
    registry.database.write_now(
        lambda c: c.execute(statement.values(starts_at=at - HOUR, ends_at=at))
    )


def test_a_point_is_shown_to_the_receiver_and_above_until_the_end(tree: Registry) -> None:
    point, other = put(tree), put(tree)
    made = share(tree, holding(("dispatcher", "d/s1")), point=point.id)
    assert (made.owner.path, made.receiver.path, made.approved_by_name) == ("d/s1", "d/s2", "u")
    receiver = holding(("viewer", "d/s2"))
    assert seen(tree, receiver) == {point.id}
    shown = tree(points.get, receiver, point.id, SEE_PICTURES)
    assert shown.organization.path == "d/s1"
    assert shown.shared == points.Shared(share_id=made.id, ends_at=made.ends_at, ptz=False)
    assert seen(tree, holding(("viewer", "d"))) == {point.id, other.id}
    # To whom the owner shows it anyway, it is not shared; below the receiver nobody sees it.
    assert tree(points.get, holding(("viewer", "d")), point.id).shared is None
    assert seen(tree, holding(("viewer", "d/s2/w2"))) == set()
    # In no count of the receiver, and not among what is below it.
    assert tree(organizations.counts, receiver) == {}
    assert tree(point_lists.page, receiver, PointFilter(organization="d/s2")).total == 0
    assert tree(point_lists.page, receiver).total == 1
    over(tree, made.id)
    assert seen(tree, receiver) == set()
    with pytest.raises(NotFound):
        tree(points.get, receiver, point.id)


@pytest.mark.parametrize(
    ("role", "sees"),
    [
        ("viewer", True),
        ("dispatcher", True),
        ("admin", True),
        ("integrator", False),
        ("auditor", False),
        ("clear_view", False),
    ],
)
def test_whom_a_share_gives_what(tree: Registry, role: str, sees: bool) -> None:
    point = put(tree, masked=True)
    share(tree, point=point.id, ptz=True)
    who = holding((role, "d/s2"))
    assert seen(tree, who) == ({point.id} if sees else set())
    if not sees:
        return
    shared = tree(points.get, who, point.id).shared
    assert shared is not None
    assert shared.ptz
    # It lends nothing but looking: no edit, no passing on, no clear view, no device.
    assert not who.may({Role.CLEAR_VIEW}, "d/s1")
    with pytest.raises(Forbidden):
        tree(points.update, who, point.id, {"name": "mine"})
    with pytest.raises(Forbidden):
        tree(points.assign, who, [point.id], "d/s2")
    with pytest.raises(Forbidden):
        share(tree, who, point=point.id, to="d/s3")


def test_an_integrator_of_the_owner_looks_only_by_a_share(tree: Registry) -> None:
    point = put(tree)
    who = holding(("integrator", "d/s1"), ("viewer", "d/s2"))
    assert tree(points.get, who, point.id).shared is None
    with pytest.raises(NotFound):
        tree(points.get, who, point.id, SEE_PICTURES)
    share(tree, point=point.id)
    assert tree(points.get, who, point.id, SEE_PICTURES).shared is not None


def test_a_subtree_shows_what_is_in_it_now(tree: Registry) -> None:
    inside, later = put(tree, "d/s1/w1"), put(tree, "d/s3")
    made = share(tree, organization="d/s1")
    receiver = holding(("viewer", "d/s2"))
    assert seen(tree, receiver) == {inside.id}
    tree(points.assign, SYSTEM, [later.id], "d/s1/w1")
    tree(points.assign, SYSTEM, [inside.id], "d/s3")
    assert seen(tree, receiver) == {later.id}
    tree(shares.delete, holding(("admin", "d/s1")), made.id)
    assert seen(tree, receiver) == set()


@pytest.mark.parametrize("how", ["assign", "update", "partition", "move back"])
def test_a_share_of_a_point_ends_with_its_owner_for_good(tree: Registry, how: str) -> None:
    tree(organizations.set_jurisdiction, SYSTEM, "d/s1", square(0, 0, 10))
    point = put(tree, "d", longitude=2.0, latitude=2.0)
    assert point.organization.path == "d/s1"
    made = share(tree, point=point.id)
    if how in ("assign", "move back"):
        tree(points.assign, SYSTEM, [point.id], "d/s3")
    elif how == "update":
        tree(points.update, SYSTEM, point.id, {"longitude": 50.0})
    else:
        tree(organizations.set_jurisdiction, SYSTEM, "d/s1", None)
        tree(repartition.apply, SYSTEM, tree(repartition.plan, SYSTEM, "d"))
    if how == "move back":
        tree(points.assign, SYSTEM, [point.id], "d/s1")
        assert tree(points.get, SYSTEM, point.id).organization.path == "d/s1"
    assert seen(tree, holding(("viewer", "d/s2"))) == set()
    with pytest.raises(NotFound):
        tree(shares.get, SYSTEM, made.id)
    record = tree(changes.page, SYSTEM, kind="share", object_id=made.id).items[-1]
    assert (record.action, record.details["why"]) == ("end", "its point changed owner")


def test_a_share_stays_where_its_organisation_moves(tree: Registry) -> None:
    point = put(tree, "d/s1/w1")
    share(tree, point=point.id)
    tree(reshaping.move, SYSTEM, "d/s1/w1", parent="d/s3", slug="w9")
    tree(reshaping.move, SYSTEM, "d/s2", parent="d", slug="new")
    assert seen(tree, holding(("viewer", "d/new"))) == {point.id}


def test_shares_when_organisations_become_one(tree: Registry) -> None:
    single, whole = put(tree, "d/s1"), put(tree, "d/s1")
    to_merged = put(tree, "d/s3")
    share(tree, point=single.id, to="d/s2")
    share(tree, organization="d/s1", to="d/s2")
    share(tree, point=to_merged.id, to="d/s1")
    receiver = holding(("viewer", "d/s2"))
    assert seen(tree, receiver) == {single.id, whole.id}
    for path in ("d/s3", "d/s1"):
        station = NewOrganization(kind="station", name="x", slug=f"x{path[-1]}", parent="d")
        tree(organizations.create, SYSTEM, station)
    tree(reshaping.merge, SYSTEM, "d/s1", "d/x1")
    assert seen(tree, receiver) == {single.id}
    assert seen(tree, holding(("viewer", "d/x1"))) == {single.id, whole.id, to_merged.id}
    with pytest.raises(Conflict) as refused:
        tree(organizations.delete, SYSTEM, "d/x1")
    assert {"1 shares", "1 shares received"} <= set(refused.value.others)
    tree(reshaping.delete_reassigning, SYSTEM, "d/x1", "d/x3")
    assert seen(tree, receiver) == set()
    assert tree(shares.page, SYSTEM).total == 0


def test_what_cannot_be_shared(tree: Registry) -> None:
    point = put(tree)
    for wrong, field in (
        ({"point": point.id, "to": "d/s1"}, "to"),
        ({"point": point.id, "to": "d"}, "to"),
        ({"point": point.id, "to": "d/none"}, "to"),
        ({"point": point.id, "organization": "d/s1"}, "from"),
        ({}, "from"),
        ({"point": point.id, "purpose": "  "}, "purpose"),
        ({"point": point.id, "ends_at": datetime(2020, 1, 1, tzinfo=UTC)}, "ends_at"),
        ({"point": point.id, "starts_at": now() + 2 * HOUR}, "ends_at"),
    ):
        with pytest.raises(Invalid) as refused:
            share(tree, **wrong)
        assert {each.field for each in refused.value.reasons} == {field}, wrong
    for who in (holding(("viewer", "d/s1")), holding(("integrator", "d"))):
        with pytest.raises(Forbidden):
            share(tree, who, point=point.id)
    with pytest.raises(NotFound):
        share(tree, holding(("admin", "d/s3")), point=point.id)
    assert tree(shares.page, SYSTEM).total == 0


def test_who_knows_of_a_share_and_who_ends_it(tree: Registry) -> None:
    point = put(tree)
    made = share(tree, point=point.id)
    for who in (
        holding(("dispatcher", "d/s1")),
        holding(("auditor", "d")),
        holding(("viewer", "d/s2")),
    ):
        assert [each.id for each in tree(shares.page, who).items] == [made.id]
        assert tree(shares.get, who, made.id) == made
    for who in (holding(("viewer", "d/s1")), holding(("admin", "d/s3")), holding()):
        assert tree(shares.page, who).total == 0
        with pytest.raises(NotFound):
            tree(shares.delete, who, made.id)
    with pytest.raises(Forbidden):
        tree(shares.delete, holding(("admin", "d/s2")), made.id)
    with pytest.raises(VersionMismatch):
        tree(shares.delete, holding(("admin", "d/s1")), made.id, 2)
    tree(shares.delete, holding(("admin", "d/s1")), made.id, 1)
    assert tree(shares.page, SYSTEM).total == 0
    made = share(tree, point=point.id)
    tree(points.delete, SYSTEM, point.id)
    assert tree(shares.page, SYSTEM).total == 0


def add_channel(registry: Registry, organization: str) -> str:
    system = registry(
        systems.create,
        SYSTEM,
        NewSystem(adapter="homebrew", name=organization, organization=organization),
    )
    new = NewChannel(system=system.id, address="1", name="c", kind="trunk")
    return registry(channels.create, SYSTEM, new).id


def test_a_share_of_a_subtree_shows_its_channels_and_one_of_a_point_does_not(
    tree: Registry,
) -> None:
    point, channel = put(tree, "d/s1/w1"), add_channel(tree, "d/s1/w1")
    other = add_channel(tree, "d/s3")
    receiver = holding(("dispatcher", "d/s2"))
    single = share(tree, point=point.id)
    assert tree(channels.page, receiver).total == 0
    assert tree(shares.shown, receiver) == Shown(
        points={("d/s1/w1", point.id): (Term(single.starts_at, single.ends_at),)},
    )
    whole = share(tree, organization="d/s1", ends_at=now() + 2 * HOUR)
    listed = tree(channels.page, receiver)
    assert ([each.id for each in listed.items], listed.total) == ([channel], 1)
    seen_by_share = tree(channels.get, receiver, channel)
    assert seen_by_share.shared == channels.Shared(share_id=whole.id, ends_at=whole.ends_at)
    assert tree(channels.get, holding(("viewer", "d")), channel).shared is None
    for who in (
        holding(("integrator", "d/s2")),
        holding(("auditor", "d/s2")),
        holding(("viewer", "d/s2/w2")),
    ):
        with pytest.raises(NotFound):
            tree(channels.get, who, channel)
        assert tree(shares.shown, who) == Shown()
    with pytest.raises(NotFound):
        tree(channels.get, receiver, other)
    # It is looking on: no edit, and no patch of theirs may key or hear it.
    with pytest.raises(Forbidden):
        tree(channels.update, receiver, channel, {"name": "mine"})
    patch = NewPatch(name="p", organization="d/s2", members=(Member(channel_id=channel),))
    with pytest.raises(Invalid, match="there is no channel"):
        tree(patches.create, receiver, patch)
    shown = tree(shares.shown, receiver)
    assert shown.subtrees == {"d/s1": (Term(whole.starts_at, whole.ends_at),)}
    assert shown.covers("d/s1/w1", None, now())
    assert shown.covers("d/s1/w1", None, now(), since=whole.starts_at)
    assert not shown.covers("d/s1/w1", None, now(), since=whole.starts_at - HOUR)
    assert not shown.covers("d/s1/w1", None, whole.ends_at)
    assert not shown.covers("d/s3", None, now())
    over(tree, whole.id)
    with pytest.raises(NotFound):
        tree(channels.get, receiver, channel)
    assert tree(channels.page, receiver).total == 0


def test_a_list_can_be_narrowed_to_what_a_share_shows(tree: Registry) -> None:
    point, channel = put(tree, "d/s1/w1"), add_channel(tree, "d/s1/w1")
    receiver = holding(("viewer", "d/s2"))
    made = share(tree, organization="d/s1")
    for path in ("d/s1", "d/s1/w1"):
        named = tree(organizations.get_shown, receiver, path)
        assert (named.path, tree(organizations.get_shown, receiver, named.id)) == (path, named)
        assert tree(channels.page, receiver, organization=path).items[0].id == channel
        with pytest.raises(NotFound):
            tree(organizations.get, receiver, path)
    for path in ("d", "d/s3", "d/none"):
        with pytest.raises(NotFound):
            tree(organizations.get_shown, receiver, path)
    tree(shares.delete, SYSTEM, made.id)
    share(tree, point=point.id)
    assert tree(organizations.get_shown, receiver, "d/s1/w1").path == "d/s1/w1"
    with pytest.raises(NotFound):
        tree(organizations.get_shown, receiver, "d/s1")
    assert tree(channels.page, receiver, organization="d/s1/w1").total == 0


# --- any tree, roles and shares -------------------------------------------------------------------

SLUGS = ("a", "a-b", "ab", "a0", "b", "z9")


@dataclasses.dataclass(frozen=True)
class Given:
    """point: index, None for the subtree of owner. when: -1 over, 0 now, 1 to come."""

    owner: int
    point: int | None
    to: int
    when: int
    ptz: bool


@dataclasses.dataclass(frozen=True)
class Case:
    paths: tuple[str, ...]
    owners: tuple[int, ...]
    grants: tuple[tuple[Role, int], ...]
    shares: tuple[Given, ...]
    moved: tuple[tuple[int, int], ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    paths: list[str] = []
    for _ in range(draw(st.integers(2, 8))):
        parent = draw(st.sampled_from(["", *paths]))
        slug = draw(st.sampled_from(SLUGS))
        path = f"{parent}/{slug}" if parent else slug
        if path not in paths:
            paths.append(path)
    which = st.integers(0, len(paths) - 1)
    owners = draw(st.lists(which, min_size=1, max_size=6))
    point = st.integers(0, len(owners) - 1)
    given = st.builds(
        Given,
        owner=which,
        point=st.none() | point,
        to=which,
        when=st.sampled_from([-1, 0, 0, 0, 1]),
        ptz=st.booleans(),
    )
    return Case(
        paths=tuple(paths),
        owners=tuple(owners),
        grants=tuple(draw(st.lists(st.tuples(st.sampled_from(Role), which), max_size=3))),
        shares=tuple(draw(st.lists(given, max_size=5))),
        moved=tuple(draw(st.lists(st.tuples(point, which), max_size=2))),
    )


def at_or_above(path: str, wanted: str) -> bool:
    """Whether wanted is path or above it, by walking up."""
    while path:
        if path == wanted:
            return True
        path = parent_path(path)
    return False


def has(case: Case, roles: frozenset[Role], path: str) -> bool:
    return any(r in roles and at_or_above(path, case.paths[i]) for r, i in case.grants)


def brute_force(
    case: Case, made: list[Given], owners: list[str], ended: set[int], roles: frozenset[Role]
) -> dict[int, tuple[bool, bool]]:
    """By the rules as written: what is seen, each with (whether by a share, whether with PTZ)."""
    looks = frozenset({Role.VIEWER, Role.DISPATCHER, Role.ADMIN})
    found = {}
    for number, owner in enumerate(owners):
        by = [
            each
            for index, each in enumerate(made)
            if each.when == 0
            and index not in ended
            and has(case, looks, case.paths[each.to])
            and (
                each.point == number
                if each.point is not None
                else at_or_above(owner, case.paths[each.owner])
            )
        ]
        if not (has(case, roles, owner) or by):
            continue
        shared = bool(by) and not has(case, SEE_PICTURES, owner)
        found[number] = (shared, shared and any(each.ptz for each in by))
    return found


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=cases())
def test_sql_shows_exactly_what_the_rules_give(registry: Registry, case: Case) -> None:
    def run(connection):  # type: ignore[no-untyped-def]
        for path in case.paths:
            parent, _, slug = path.rpartition("/")
            new = NewOrganization(kind="district", name=slug, slug=slug, parent=parent or None)
            organizations.create(connection, SYSTEM, new)
        ids = [
            points.create(
                connection,
                SYSTEM,
                NewPoint(organization=case.paths[owner], name="p", assign="explicit"),
            ).id
            for owner in case.owners
        ]
        made = []
        for each in case.shares:
            new_share = NewShare(
                point=None if each.point is None else ids[each.point],
                organization=case.paths[each.owner] if each.point is None else None,
                to=case.paths[each.to],
                purpose="x",
                starts_at=now() + each.when * 2 * HOUR - HOUR,
                ends_at=now() + (1 + max(0, each.when) * 2) * HOUR,
                ptz=each.ptz,
            )
            with contextlib.suppress(Invalid):
                created = shares.create(connection, SYSTEM, new_share)
                made.append(each)
                if each.when < 0:
                    at = now()
                    statement = update(SHARES).where(SHARES.c.id == created.id)
                    connection.execute(statement.values(starts_at=at - HOUR, ends_at=at))
        owners, ended = [case.paths[owner] for owner in case.owners], set()
        for point, to in case.moved:
            if case.paths[to] != owners[point]:
                owners[point] = case.paths[to]
                ended |= {index for index, each in enumerate(made) if each.point == point}
                points.assign(connection, SYSTEM, [ids[point]], case.paths[to])
        principal = holding(*((str(role), case.paths[index]) for role, index in case.grants))
        listed = point_lists.page(connection, principal, limit=500)
        answers = {}
        for roles in (SEE_POINTS, SEE_PICTURES):
            found = {}
            for number, point_id in enumerate(ids):
                with contextlib.suppress(NotFound):
                    one = points.get(connection, principal, point_id, roles)
                    found[number] = (
                        one.shared is not None,
                        one.shared is not None and one.shared.ptz,
                    )
            answers[roles] = found, brute_force(case, made, owners, ended, roles)
        counts = organizations.counts(connection, principal)
        own = {number for number, path in enumerate(owners) if has(case, SEE_POINTS, path)}
        total = sum(each.points for path, each in counts.items() if "/" not in path)
        in_list = {ids.index(each.id): each.shared is not None for each in listed.items}
        return answers, in_list, listed.total, len(own), total

    answers, in_list, total, own, counted = registry.undone(run)
    for found, expected in answers.values():
        assert found == expected
    expected = answers[SEE_POINTS][1]
    assert in_list == {number: shared for number, (shared, _) in expected.items()}
    assert total == len(expected)
    assert counted == own
