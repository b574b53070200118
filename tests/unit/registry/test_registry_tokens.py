"""What a token carries: never more than its user has, whatever it was narrowed to."""

import itertools

import pytest
from databases import Registry
from hypothesis import given
from hypothesis import strategies as st

from registry import organizations, partition, tokens, users
from registry.identity import now
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role, contains
from registry.tokens import CARRIABLE, CARRIED, NewToken, NewTokenRole, narrowed
from registry.users import NewRole, NewUser

pytest_plugins = ["databases"]

PATHS = ("d", "d/s", "d/s/w", "d/s2", "d-s", "e")
RIGHTS = {
    name: roles
    for name, roles in vars(partition).items()
    if isinstance(roles, frozenset) and roles and all(isinstance(each, Role) for each in roles)
}
GRANTS = st.lists(
    st.builds(
        lambda role, path: Grant(role=role, organization_id=path, path=path),
        st.sampled_from(list(Role)),
        st.sampled_from(PATHS),
    ),
    max_size=6,
)


def test_the_rights_that_roles_give_are_found() -> None:
    """What follows goes through all of them, those too that somebody adds."""
    assert {"SEE_POINTS", "SEE_PICTURES", "SEE_DEVICES", "SEE_AUDIT", "ADMINISTER"} <= set(RIGHTS)


@pytest.mark.parametrize("role", Role)
def test_whoever_may_give_a_role_to_a_token_may_do_all_that_it_may(role: Role) -> None:
    for carried, (name, roles) in itertools.product(CARRIED[role], RIGHTS.items()):
        assert carried not in roles or role in roles, (carried, name)
    assert Role.CLEAR_VIEW not in CARRIED[role]


@given(held=GRANTS, wanted=GRANTS)
def test_a_token_never_carries_more_than_is_held(held: list[Grant], wanted: list[Grant]) -> None:
    carried = narrowed(held, wanted)
    user = Principal(user_id="u", name="u", grants=tuple(held))
    token = Principal(user_id="u", name="u", grants=carried)
    asked = Principal(user_id="u", name="u", grants=tuple(wanted))
    for path, roles in itertools.product((*PATHS, "d/s/w/p", ""), RIGHTS.values()):
        if token.may(roles, path):
            assert user.may(roles, path)
            assert asked.may(roles, path)
    assert all(each.role is not Role.CLEAR_VIEW for each in carried)


@given(held=GRANTS, wanted=GRANTS)
def test_what_is_held_and_wanted_is_carried(held: list[Grant], wanted: list[Grant]) -> None:
    token = Principal(user_id="u", name="u", grants=narrowed(held, wanted))
    for want, path in itertools.product(wanted, PATHS):
        if contains(want.path, path) and any(
            want.role in CARRIED[each.role] and contains(each.path, path) for each in held
        ):
            assert token.may({want.role}, path)


def test_uses_are_written_for_tokens_that_there_are_and_never_go_back(registry: Registry) -> None:
    new = NewOrganization(kind="district", name="d", slug="d", parent=None)
    registry(organizations.create, SYSTEM, new)
    roles = (NewRole(role="viewer", organization="d"),)
    user = registry(users.create, SYSTEM, NewUser(name="u", password_hash="#", roles=roles))
    wish = NewToken(name="t", token_hash=b"h" * 32, user=user.id)
    token = registry(tokens.create, SYSTEM, wish)
    early, late = now(), now().replace(year=now().year + 1)
    for at, known in ((early, early), (late, late), (early, late)):
        registry(tokens.note_uses, {token.id: at, "019ca880-0000-7000-8000-000000000001": at})
        assert registry(tokens.get, SYSTEM, token.id).last_used_at == known
    acting = registry(tokens.find, b"h" * 32)
    assert (acting.last_used_at, acting.ends_at) == (late, token.ends_at)
    assert registry(tokens.find, b"x" * 32) is None
    registry(users.delete, SYSTEM, user.id)
    assert registry(tokens.find, b"h" * 32) is None


def test_a_role_above_and_one_below_do_not_get_in_each_others_way(registry: Registry) -> None:
    for kind, parent, slug in (("district", None, "d"), ("station", "d", "s")):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent)
        registry(organizations.create, SYSTEM, new)
    given_roles = tuple(
        NewRole(role=role, organization=path) for role, path in (("admin", "d"), ("viewer", "d/s"))
    )
    user = registry(users.create, SYSTEM, NewUser(name="u", password_hash="#", roles=given_roles))
    wish = NewToken(
        name="t",
        token_hash=b"h" * 32,
        user=user.id,
        roles=tuple(NewTokenRole(role=role, organization="d") for role in CARRIABLE),
    )
    registry(tokens.create, SYSTEM, wish)
    principal = registry(tokens.find, b"h" * 32).principal
    assert principal.token.narrowed
    assert {each.role for each in principal.grants if each.path == "d"} == set(CARRIABLE)
