"""Who sees what: the pure rules, and that SQL says the same, on both databases."""

import contextlib
import dataclasses
from datetime import UTC, datetime

import pytest
from databases import Registry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from registry import organizations, point_lists, points, systems, users
from registry.errors import Forbidden, NotFound
from registry.models import ORGANIZATIONS
from registry.organizations import NewOrganization
from registry.partition import (
    ALL_ROLES,
    SEE_DEVICES,
    SEE_PICTURES,
    SEE_POINTS,
    SYSTEM,
    Grant,
    Principal,
    Role,
    common_path,
    contains,
    parent_path,
    require,
    top_paths,
    visible_organizations,
)
from registry.points import NewPoint
from registry.systems import NewSystem

pytest_plugins = ["databases"]


def holding(*grants: tuple[Role, str]) -> Principal:
    return Principal(
        user_id="u",
        name="u",
        grants=tuple(
            Grant(role=role, organization_id="", path=path, ends_at=None) for role, path in grants
        ),
    )


@pytest.mark.parametrize(
    ("path", "other", "expected"),
    [
        ("a", "a", True),
        ("a", "a/b", True),
        ("a/b", "a", False),
        ("a", "ab", False),
        ("a", "a-b", False),
        ("a", "a-b/c", False),
        ("", "a", True),
    ],
)
def test_an_organisation_contains_itself_and_what_is_below(
    path: str, other: str, expected: bool
) -> None:
    assert contains(path, other) is expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("a/b", "a/c"), "a"),
        (("a/b", "a/b/c"), "a/b"),
        (("a/b", "a/bc"), "a"),
        (("a", "b"), ""),
        (("a/b/c", "a/b/c"), "a/b/c"),
    ],
)
def test_the_deepest_that_contains_both(paths: tuple[str, ...], expected: str) -> None:
    assert common_path(*paths) == expected


def test_a_role_is_inherited_below_and_nowhere_else() -> None:
    principal = holding((Role.VIEWER, "a/b"))
    require(principal, Role.VIEWER, "a/b/c")
    for path in ("a", "a/bc", "b"):
        with pytest.raises(Forbidden, match="viewer"):
            require(principal, Role.VIEWER, path)
    with pytest.raises(Forbidden, match="admin or integrator at a/b"):
        require(principal, {Role.ADMIN, Role.INTEGRATOR}, "a/b")


def test_grants_below_another_add_nothing() -> None:
    principal = holding((Role.VIEWER, "a/b"), (Role.ADMIN, "a"), (Role.AUDITOR, "c"))
    assert top_paths(principal, SEE_POINTS) == ("a",)
    assert top_paths(principal, {Role.VIEWER}) == ("a/b",)
    assert top_paths(principal, ALL_ROLES) == ("a", "c")


def test_integrators_see_no_picture_and_auditors_no_point() -> None:
    assert Role.INTEGRATOR in SEE_POINTS
    assert Role.INTEGRATOR not in SEE_PICTURES
    assert Role.AUDITOR not in SEE_POINTS
    assert {Role.VIEWER, Role.DISPATCHER, Role.CLEAR_VIEW} & SEE_DEVICES == set()


# Slugs that only byte order and whole segments tell apart, and wildcards of LIKE.
SLUGS = ("a", "a-b", "ab", "a0", "b", "z9")


@dataclasses.dataclass(frozen=True)
class Case:
    paths: tuple[str, ...]
    owners: tuple[int, ...]
    grants: tuple[tuple[Role, int], ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A tree of districts, points in it, and somebody with roles."""
    paths: list[str] = []
    for _ in range(draw(st.integers(1, 9))):
        parent = draw(st.sampled_from(["", *paths]))
        slug = draw(st.sampled_from(SLUGS))
        path = f"{parent}/{slug}" if parent else slug
        if path not in paths:
            paths.append(path)
    which = st.integers(0, len(paths) - 1)
    return Case(
        paths=tuple(paths),
        owners=tuple(draw(st.lists(which, max_size=12))),
        grants=tuple(draw(st.lists(st.tuples(st.sampled_from(Role), which), max_size=4))),
    )


def brute_force(case: Case, roles: frozenset[Role], path: str) -> bool:
    """The rule as it is written: a role at the organisation or at one above it."""
    here = path
    while here:
        if any(case.paths[index] == here and role in roles for role, index in case.grants):
            return True
        here = parent_path(here)
    return False


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=cases())
def test_sql_shows_exactly_what_the_rules_give(registry: Registry, case: Case) -> None:
    def run(connection):  # type: ignore[no-untyped-def]
        ids = {}
        for path in case.paths:
            parent, _, slug = path.rpartition("/")
            new = NewOrganization(kind="district", name=slug, slug=slug, parent=parent or None)
            ids[path] = organizations.create(connection, SYSTEM, new).id
        made = {}
        for number, owner in enumerate(case.owners):
            path = case.paths[owner]
            point = points.create(
                connection,
                SYSTEM,
                NewPoint(organization=path, name=f"p{number}", assign="explicit"),
            )
            made[point.id] = path
            systems.create(
                connection,
                SYSTEM,
                NewSystem(adapter="homebrew", name=f"s{number}", organization=path),
            )
        principal = Principal(
            user_id="",
            name="",
            grants=tuple(
                Grant(role=role, organization_id=ids[case.paths[index]], path=case.paths[index])
                for role, index in case.grants
            ),
        )
        shown = {
            roles: set(
                connection.scalars(
                    select(ORGANIZATIONS.c.path).where(
                        ORGANIZATIONS.c.id.in_(visible_organizations(principal, roles))
                    )
                )
            )
            for roles in (SEE_POINTS, SEE_PICTURES, SEE_DEVICES, ALL_ROLES)
        }
        listed = point_lists.page(connection, principal, limit=500)
        readable = set()
        for point_id in made:
            with contextlib.suppress(NotFound):
                readable.add(points.get(connection, principal, point_id).id)
        seen_systems = systems.page(connection, principal, limit=500)
        tree = organizations.tree(connection, principal)
        counts = organizations.counts(connection, principal)
        return shown, listed, readable, seen_systems, tree, counts, made, principal

    shown, listed, readable, seen_systems, tree, counts, made, principal = registry.undone(run)
    for roles, paths in shown.items():
        assert paths == {path for path in case.paths if brute_force(case, roles, path)}
        assert paths == {path for path in case.paths if principal.may(roles, path)}
    expected = {point for point, path in made.items() if brute_force(case, SEE_POINTS, path)}
    assert {point.id for point in listed.items} == readable == expected
    assert listed.total == len(expected)
    assert len(seen_systems.items) == seen_systems.total == len(expected)
    assert [each.path for each in tree] == sorted(shown[ALL_ROLES])
    for each in tree:
        below = sum(
            contains(each.path, path) and brute_force(case, SEE_POINTS, path)
            for path in made.values()
        )
        assert counts.get(each.path, organizations.Counts()).points == below


def test_a_grant_that_is_over_is_no_grant(registry: Registry) -> None:
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="D", slug="d"))
    past = datetime(2020, 1, 1, tzinfo=UTC)
    future = datetime(2999, 1, 1, tzinfo=UTC)
    for name, ends_at, expected in (("past", past, 1), ("future", future, 2)):
        user = registry(
            users.create,
            SYSTEM,
            users.NewUser(
                name=name,
                password_hash="x",
                roles=(
                    users.NewRole(role="viewer", organization="d"),
                    users.NewRole(
                        role="clear_view", organization="d", purpose="case 7", ends_at=ends_at
                    ),
                ),
            ),
        )
        principal = registry(users.principal_of, user.id)
        assert len(principal.grants) == expected
