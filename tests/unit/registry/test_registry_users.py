"""Users, roles, sessions, jobs and the record of changes; on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from databases import Registry

from registry import changes, jobs, organizations, sessions, users
from registry.errors import Conflict, Forbidden, Invalid, NotFound, VersionMismatch
from registry.identity import new_id, now, parse_id, to_milliseconds
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Principal
from registry.users import NewRole, NewUser, User

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


def add(registry: Registry, name: str, *roles: tuple[str, str]) -> User:
    given = tuple(NewRole(role=role, organization=where) for role, where in roles)
    return registry(users.create, SYSTEM, NewUser(name=name, password_hash="#", roles=given))


def principal(registry: Registry, user: User) -> Principal:
    found = registry(users.principal_of, user.id)
    assert found is not None
    return found


def test_a_user_is_a_principal_with_roles(district: Registry) -> None:
    user = add(district, " Li ", ("viewer", "d/s1"), ("dispatcher", "d"), ("viewer", "d/s1"))
    assert user.name == "Li"
    assert [(each.role, each.organization.path) for each in user.roles] == [
        ("dispatcher", "d"),
        ("viewer", "d/s1"),
    ]
    found = principal(district, user)
    assert [(each.role, each.path) for each in found.grants] == [
        ("dispatcher", "d"),
        ("viewer", "d/s1"),
    ]
    credentials = district(users.credentials, "Li ")
    assert credentials == district(users.credentials_of, user.id)
    assert (credentials.user_id, credentials.password_hash) == (user.id, "#")
    assert district(users.credentials, "li") is None


def test_an_admin_rules_only_over_users_that_are_wholly_theirs(district: Registry) -> None:
    chief = add(district, "chief", ("admin", "d"))
    local = add(district, "local", ("admin", "d/s1"))
    inside = add(district, "inside", ("viewer", "d/s1"))
    across = add(district, "across", ("viewer", "d/s1"), ("viewer", "d/s2"))
    outside = add(district, "outside", ("viewer", "d/s2"))
    me = principal(district, local)
    assert [each.name for each in district(users.page, me).items] == ["local", "inside", "across"]
    assert district(users.page, principal(district, chief)).total == 5
    assert district(users.update, me, inside.id, {"disabled": True}).disabled
    for fn, arguments in (
        (users.update, ({"disabled": True},)),
        (users.set_roles, ([NewRole(role="viewer", organization="d/s1")],)),
        (users.delete, ()),
    ):
        with pytest.raises(Forbidden, match="outside what you administer"):
            district(fn, me, across.id, *arguments)
        for hidden in (outside, chief):
            with pytest.raises(NotFound):
                district(fn, me, hidden.id, *arguments)
    with pytest.raises(Forbidden):
        district(users.page, principal(district, across))
    # One sees oneself, and changes nothing.
    assert district(users.get, principal(district, across), across.id) == across
    with pytest.raises(Forbidden):
        district(users.update, principal(district, across), across.id, {"name": "x"})


def test_nobody_gives_a_role_that_reaches_beyond_their_own(district: Registry) -> None:
    local = principal(district, add(district, "local", ("admin", "d/s1")))
    inside = add(district, "inside", ("viewer", "d/s1"))
    for where in ("d", "d/s2", "nowhere"):
        roles = [NewRole(role="admin", organization=where)]
        with pytest.raises(Invalid, match=r"roles\[0\].organization: there is no organization"):
            district(users.set_roles, local, inside.id, roles)
    both = add(district, "both", ("admin", "d/s1"), ("viewer", "d"))
    roles = [NewRole(role="viewer", organization="d/s2")]
    with pytest.raises(Forbidden, match="giving a role at d/s2"):
        district(users.set_roles, principal(district, both), inside.id, roles)
    given = [NewRole(role="admin", organization="d/s1")]
    assert district(users.set_roles, local, inside.id, given, 1).roles[0].role == "admin"
    with pytest.raises(VersionMismatch):
        district(users.set_roles, local, inside.id, given, 1)
    with pytest.raises(Invalid, match="at least one role"):
        district(users.set_roles, local, inside.id, [])
    roles = [NewRole(role="king", organization="d/s1")]
    with pytest.raises(Invalid, match="must be one of viewer"):
        district(users.set_roles, local, inside.id, roles)
    with pytest.raises(Conflict, match="themselves"):
        district(users.delete, local, local.user_id)


def test_clear_view_states_its_purpose_and_its_end(district: Registry) -> None:
    user = add(district, "u", ("viewer", "d"))
    bare = NewRole(role="clear_view", organization="d")
    with pytest.raises(Invalid) as refused:
        district(users.set_roles, SYSTEM, user.id, [bare])
    assert [each.field for each in refused.value.reasons] == [
        "roles[0].purpose",
        "roles[0].ends_at",
    ]
    ends_at = datetime(2999, 1, 1, tzinfo=UTC)
    full = NewRole(role="clear_view", organization="d", purpose="case 7", ends_at=ends_at)
    (role,) = district(users.set_roles, SYSTEM, user.id, [full]).roles
    assert (role.purpose, role.ends_at) == ("case 7", ends_at)


def test_names_are_unique_and_passwords_never_recorded(district: Registry) -> None:
    user = add(district, "u", ("viewer", "d"))
    with pytest.raises(Conflict, match="name in use"):
        add(district, "u ", ("viewer", "d"))
    changed = district(users.update, SYSTEM, user.id, {"password_hash": "#2"}, 1)
    assert changed.version == 2
    records = district(changes.page, SYSTEM, object_id=user.id).items
    assert [each.action for each in records] == ["create", "update"]
    assert "#" not in repr([each.details for each in records])


def test_who_is_disabled_or_gets_another_password_is_signed_out(district: Registry) -> None:
    user = add(district, "u", ("viewer", "d"))
    ends = now() + timedelta(hours=1)

    def sign_in(token: bytes) -> None:
        district(sessions.open_session, user.id, token, ends)

    sign_in(b"1" * 32)
    sign_in(b"2" * 32)
    assert district(sessions.find_session, b"1" * 32).user_id == user.id
    district(users.set_password_hash, principal(district, user), "#2", b"2" * 32)
    assert district(sessions.find_session, b"1" * 32) is None
    assert district(sessions.find_session, b"2" * 32) is not None
    district(users.update, SYSTEM, user.id, {"disabled": True})
    assert district(sessions.find_session, b"2" * 32) is None
    assert district(users.principal_of, user.id) is None
    sign_in(b"3" * 32)
    assert district(sessions.find_session, b"3" * 32) is None
    district(users.update, SYSTEM, user.id, {"disabled": False})
    assert district(sessions.find_session, b"3" * 32) is not None
    assert district(sessions.close_sessions_of, user.id) == 1
    sign_in(b"4" * 32)
    district(users.delete, SYSTEM, user.id)
    assert district(sessions.find_session, b"4" * 32) is None
    assert not district(sessions.close_session, b"4" * 32)


def test_a_session_ends_by_itself(district: Registry) -> None:
    user = add(district, "u", ("viewer", "d"))
    district(sessions.open_session, user.id, b"1" * 32, now() - timedelta(seconds=1))
    assert district(sessions.find_session, b"1" * 32) is None
    district(sessions.open_session, user.id, b"2" * 32, now() + timedelta(hours=1))
    # The one that was over is forgotten with the next sign-in.
    assert not district(sessions.close_session, b"1" * 32)
    assert district(sessions.close_session, b"2" * 32)


def test_a_job_goes_its_way_once(district: Registry) -> None:
    me = principal(district, add(district, "u", ("viewer", "d")))
    other = principal(district, add(district, "o", ("admin", "d")))
    job, fresh = district(jobs.create, me, "import", idempotency_key="k", total=9)
    assert (fresh, job.state, job.is_open) == (True, "queued", True)
    assert district(jobs.create, me, "import", idempotency_key="k") == (job, False)
    assert district(jobs.create, other, "import", idempotency_key="k")[1]
    assert district(jobs.create, me, "discover", idempotency_key="k")[1]
    assert district(jobs.create, me, "import")[1]
    assert district(jobs.progress, job.id, 4, report={"good": 4})
    running = district(jobs.get, me, job.id)
    assert (running.state, running.done, running.total) == ("running", 4, 9)
    with pytest.raises(NotFound):
        district(jobs.get, other, job.id)
    assert district(jobs.get, SYSTEM, job.id).report == {"good": 4}
    assert district(jobs.cancel, me, job.id).state == "cancelled"
    assert not district(jobs.progress, job.id, 5)
    assert not district(jobs.finish, job.id, "done", {})
    with pytest.raises(Conflict, match="over: cancelled"):
        district(jobs.cancel, me, job.id)
    assert district(jobs.create, me, "import", idempotency_key="k")[0].state == "cancelled"
    assert district(jobs.fail_open, "the gateway was restarted") == 3


def test_auditors_see_the_changes_of_their_own_organisations(district: Registry) -> None:
    auditor = principal(district, add(district, "auditor", ("auditor", "d/s1")))
    viewer = principal(district, add(district, "viewer", ("viewer", "d")))
    before = district(changes.stamp)
    district(organizations.update, SYSTEM, "d/s1", {"name": "new"})
    assert district(changes.stamp) > before
    district(organizations.update, SYSTEM, "d/s2", {"name": "new"})
    page = district(changes.page, auditor, kind="organization")
    assert {each.organization_path for each in page.items} == {"d/s1"}
    assert page.items[-1].details == {"name": ["s1", "new"]}
    assert (page.items[-1].user_name, page.total) == ("system", 2)
    with pytest.raises(Forbidden, match="auditor"):
        district(changes.page, viewer)


def test_ids_sort_as_they_were_made_and_times_are_cut() -> None:
    made = [new_id() for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert parse_id(made[0].upper()) == made[0]
    assert parse_id(made[0].replace("-", "")) is None
    assert (
        to_milliseconds(datetime(2026, 1, 1, 8, 0, 0, 999_999, tzinfo=UTC)).microsecond == 999_000
    )
    with pytest.raises(ValueError, match="without a zone"):
        to_milliseconds(datetime(2026, 1, 1))  # noqa: DTZ001
