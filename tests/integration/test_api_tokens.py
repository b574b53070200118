"""Access tokens over HTTP: made, shown once, used, narrowed, ended; on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from core_api import PASSWORD, Answer, Caller, CoreApi, square
from databases import ON_SQLITE
from lab import running
from patience import wait_until

from gateway.access import tokens as access_tokens
from gateway.access.sessions import hash_token
from registry import tokens, users
from registry.identity import now, parse_id
from registry.models import TOKENS
from registry.partition import SYSTEM
from registry.users import NewRole

pytest_plugins = ["core_api"]

API = "/api/v1"


async def made(who: Caller, **body: Any) -> Answer:
    answer = await who("POST", "/tokens", {"name": "export", **body})
    assert answer.status == 201, answer.body
    return answer


async def program(core_api: CoreApi, who: Caller, **body: Any) -> Caller:
    """What asks by a new token."""
    token = (await made(who, **body)).body["token"]
    return Caller(core_api.session, f"{core_api.url}{API}", token)


def viewer_at(*paths: str) -> list[dict[str, str]]:
    return [{"role": "viewer", "organization": path} for path in paths]


async def user_id(who: Caller) -> str:
    found: str = (await who("GET", "/me")).body["id"]
    return found


async def add_point(who: Caller, longitude: float, latitude: float, name: str = "p") -> str:
    body = {"organization": "d", "name": name, "longitude": longitude, "latitude": latitude}
    answer = await who("POST", "/points", body)
    assert answer.status == 201, answer.body
    found: str = answer.body["id"]
    return found


async def test_a_token_is_shown_once_and_asks_for_its_user(core_api: CoreApi) -> None:
    viewer = await core_api.sign_in("viewer")
    answer = await made(viewer, name=" nightly export ")
    shown = dict(answer.body)
    secret = shown.pop("token")
    assert secret.startswith("hutong_")
    assert len(secret) == 50
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] == f"{API}/tokens/{shown['id']}"
    assert answer.headers["ETag"] == '"1"'
    assert parse_id(shown["id"])
    me = await viewer("GET", "/me")
    owner = {"id": me.body["id"], "name": "viewer"}
    assert (shown["name"], shown["user"], shown["created_by"]) == ("nightly export", owner, owner)
    assert (shown["roles"], shown["last_used_at"]) == (None, None)
    days = (datetime.fromisoformat(shown["ends_at"]) - datetime.now(UTC)) / timedelta(days=1)
    assert 89.9 < days <= 90
    listed = await viewer("GET", "/tokens")
    assert (listed.body["items"], listed.body["total"]) == ([shown], 1)
    assert (await viewer("GET", f"/tokens/{shown['id']}")).body == shown
    asks = Caller(core_api.session, f"{core_api.url}{API}", secret)
    by_token = await asks("GET", "/me")
    assert by_token.body == {**me.body, "token": shown}
    assert me.body["token"] is None
    stored = await core_api.context.database.read(lambda c: c.execute(TOKENS.select()).all())
    assert secret not in repr(stored)
    assert bytes(stored[0].token_hash) == hash_token(secret)


async def test_a_revoked_token_is_refused_at_once(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    answer = await made(admin)
    asks = Caller(core_api.session, f"{core_api.url}{API}", answer.body["token"])
    assert (await asks("GET", "/points")).status == 200
    path = f"/tokens/{answer.body['id']}"
    assert (await admin("DELETE", path, headers={"If-Match": '"7"'})).status == 412
    assert (await admin("DELETE", path)).status == 204
    for asked in ("/points", "/me", "/tokens"):
        refused = await asks("GET", asked)
        assert refused.status == 401, asked
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert (await admin("DELETE", path)).status == 404


async def test_what_is_wrong_with_a_wish_is_said_with_its_place(core_api: CoreApi) -> None:
    dispatcher = await core_api.sign_in("dispatcher")  # at d/s1
    tomorrow = (now() + timedelta(days=1)).isoformat()
    for body, field in (
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"ends_at": (now() - timedelta(seconds=1)).isoformat()}, "ends_at"),
        ({"ends_at": (now() + timedelta(days=367)).isoformat()}, "ends_at"),
        ({"ends_at": "tomorrow"}, "ends_at"),
        ({"days": 3}, "days"),
        ({"roles": []}, "roles"),
        ({"roles": [{"role": "king", "organization": "d/s1"}]}, "roles[0].role"),
        ({"roles": [{"role": "clear_view", "organization": "d/s1"}]}, "roles[0].role"),
        ({"roles": [*viewer_at("d/s1"), *viewer_at("d/nothing")]}, "roles[1].organization"),
        ({"roles": viewer_at("d/s2")}, "roles[0].organization"),
        ({"roles": [{"role": "integrator", "organization": "d/s1"}]}, "roles[0]"),
        ({"roles": [{"role": "admin", "organization": "d/s1/w1"}]}, "roles[0]"),
    ):
        answer = await dispatcher("POST", "/tokens", {"name": "x", "ends_at": tomorrow, **body})
        assert answer.status == 422, (body, answer.body)
        assert [each["field"] for each in answer.body["errors"]] == [field], body
    assert (await dispatcher("GET", "/tokens")).body["total"] == 0
    longest = now() + timedelta(days=366)
    assert (await made(dispatcher, ends_at=longest.isoformat())).status == 201


async def test_a_token_narrowed_to_a_workroom_sees_its_workroom_alone(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    own, other = await add_point(admin, 1, 1), await add_point(admin, 6, 1)
    asks = await program(core_api, admin, roles=viewer_at("d/s1/w1"))
    listed = await asks("GET", "/points")
    assert [each["id"] for each in listed.body["items"]] == [own]
    assert listed.body["total"] == 1
    assert (await asks("GET", f"/points/{own}")).status == 200
    assert (await asks("GET", f"/points/{other}")).status == 404
    assert (await asks("GET", "/organizations/d/s1/w2")).status == 404
    assert (await asks("GET", "/organizations/d")).status == 404
    me = (await asks("GET", "/me")).body
    held = [(each["role"], each["organization"]["path"]) for each in me["roles"]]
    assert held == [("viewer", "d/s1/w1")]
    assert me["token"]["roles"] == me["roles"]
    # It is an admin's, and no admin.
    assert (await asks("GET", "/users")).status == 403
    assert (await asks("GET", f"/users/{me['id']}")).status == 404
    assert (await asks("GET", "/audit")).status == 403
    body = {"organization": "d/s1/w1", "name": "x"}
    assert (await asks("POST", "/points", body)).status == 403
    assert (await asks("DELETE", f"/points/{own}")).status == 403


async def test_a_token_never_has_more_than_its_user_has_now(core_api: CoreApi) -> None:
    admin, integrator = await core_api.sign_in("admin"), await core_api.sign_in("integrator")
    wide = [{"role": "integrator", "organization": path} for path in ("d", "d/s2")]
    narrow = await program(core_api, integrator, roles=wide)
    whole = await program(core_api, integrator)
    path = f"/users/{await user_id(integrator)}/roles"

    async def held(who: Caller) -> list[tuple[str, str]]:
        me = (await who("GET", "/me")).body
        return sorted((each["role"], each["organization"]["path"]) for each in me["roles"])

    assert await held(narrow) == [("integrator", "d"), ("integrator", "d/s2")]
    # Lower than the token: carried there alone; and what comes new is carried by the whole one.
    roles = [{"role": "integrator", "organization": "d/s1"}, *viewer_at("d/s2/w3")]
    assert (await admin("PUT", path, roles)).status == 200
    assert await held(narrow) == [("integrator", "d/s1")]
    assert await held(whole) == [("integrator", "d/s1"), ("viewer", "d/s2/w3")]
    # Lost: nothing is seen. Given again: carried again.
    assert (await admin("PUT", path, viewer_at("d/s2"))).status == 200
    assert await held(narrow) == []
    assert (await narrow("GET", "/points")).body["total"] == 0
    assert (await narrow("GET", "/organizations")).body["items"] == []
    above = [{"role": "admin", "organization": "d"}]
    assert (await admin("PUT", path, above)).status == 200
    assert await held(narrow) == [("integrator", "d"), ("integrator", "d/s2")]


async def test_clear_view_never_goes_by_a_token(core_api: CoreApi) -> None:
    admin, viewer = await core_api.sign_in("admin"), await core_api.sign_in("viewer")
    path = f"/users/{await user_id(viewer)}/roles"
    ends_at = (now() + timedelta(hours=1)).isoformat()
    clear = {"role": "clear_view", "purpose": "case 7", "ends_at": ends_at}
    clear["organization"] = "d/s1/w1"
    assert (await admin("PUT", path, [*viewer_at("d/s1/w1"), clear])).status == 200
    asks = await program(core_api, viewer)
    assert [each["role"] for each in (await asks("GET", "/me")).body["roles"]] == ["viewer"]
    assert (await admin("PUT", path, [clear])).status == 200
    assert (await asks("GET", "/me")).body["roles"] == []
    assert (await asks("GET", "/points")).body["items"] == []
    refused = await viewer("POST", "/tokens", {"name": "x"})
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "roles")


async def test_whoever_is_disabled_or_removed_takes_their_tokens_along(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    for name in ("viewer", "dispatcher"):
        person = await core_api.sign_in(name)
        path = f"/users/{await user_id(person)}"
        asks = await program(core_api, person)
        assert (await asks("GET", "/points")).status == 200
        if name == "dispatcher":
            assert (await admin("DELETE", path)).status == 204
            assert (await asks("GET", "/points")).status == 401
            continue
        for disabled, status in ((True, 401), (False, 401)):
            given = {"disabled": disabled}
            answer = await admin("PATCH", path, given, headers={"If-Match": "*"})
            assert answer.status == 200
            # Enabled again, nobody is surprised by what goes on.
            assert (await asks("GET", "/points")).status == status
            if disabled:
                refused = await admin("POST", "/tokens", {"name": "x", "user": path[7:]})
                assert refused.status == 409
    record = (await admin("GET", "/audit", kind="user", action="update")).body["items"]
    assert [each["details"].get("tokens") for each in record] == [None, [1, 0]]


async def test_a_token_ends_by_itself(core_api: CoreApi) -> None:
    viewer = await core_api.sign_in("viewer")
    asks = await program(core_api, viewer)
    assert (await asks("GET", "/points")).status == 200
    end = now() + timedelta(milliseconds=300)
    await core_api.context.database.write(lambda c: c.execute(TOKENS.update().values(ends_at=end)))
    async with asyncio.timeout(30):
        while (answer := await asks("GET", "/points")).status == 200:
            pass
    assert answer.status == 401
    assert now() >= end
    assert (await viewer("GET", "/tokens")).body["total"] == 1
    await made(viewer)
    assert (await viewer("GET", "/tokens")).body["total"] == 1  # the one that is over is forgotten


async def test_what_only_people_do(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    viewer_id = await user_id(await core_api.sign_in("viewer"))
    asks = await program(core_api, admin)
    role = viewer_at("d")
    new = {"name": "eve", "password": "another good one", "roles": role}
    any_version = {"If-Match": "*"}
    for method, path, body in (
        ("POST", "/tokens", {"name": "another"}),
        ("PUT", "/me/password", {"old": PASSWORD, "new": "another good one"}),
        ("POST", "/auth/refresh", None),
        ("POST", "/auth/logout", None),
        ("POST", "/users", new),
        ("PATCH", f"/users/{viewer_id}", {"password": "another good one"}),
        ("PUT", f"/users/{viewer_id}/roles", role),
        ("DELETE", f"/users/{viewer_id}", None),
    ):
        answer = await asks(method, path, body, headers=any_version)
        assert answer.status == 403, (method, path, answer.body)
        assert "access token" in answer.body["detail"]
    assert (await asks("GET", f"/users/{viewer_id}")).status == 200
    assert (await asks("GET", "/me")).status == 200
    await core_api.sign_in("viewer")
    await core_api.sign_in("admin")


async def test_a_token_ends_itself_and_no_other(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    other = (await made(admin)).body["id"]
    asks = await program(core_api, admin)
    own = (await asks("GET", "/me")).body["token"]["id"]
    assert (await asks("DELETE", f"/tokens/{other}")).status == 403
    assert (await asks("DELETE", f"/tokens/{own}")).status == 204
    assert (await asks("GET", "/me")).status == 401
    assert [each["id"] for each in (await admin("GET", "/tokens")).body["items"]] == [other]


async def test_who_sees_whose_tokens(core_api: CoreApi) -> None:
    names = ("admin", "station-admin", "dispatcher", "viewer", "integrator")
    people = {name: await core_api.sign_in(name) for name in names}
    ids = {name: (await made(each)).body["id"] for name, each in people.items()}
    seen = {
        "admin": set(names),
        "station-admin": {"station-admin", "dispatcher", "viewer"},
        "dispatcher": {"dispatcher"},
        "viewer": {"viewer"},
    }
    for name, expected in seen.items():
        listed = await people[name]("GET", "/tokens", limit=500)
        assert {each["user"]["name"] for each in listed.body["items"]} == expected, name
        for whose in names:
            answer = await people[name]("GET", f"/tokens/{ids[whose]}")
            assert answer.status == (200 if whose in expected else 404), (name, whose)
    for name, whose in (("dispatcher", "viewer"), ("station-admin", "admin"), ("viewer", "admin")):
        assert (await people[name]("DELETE", f"/tokens/{ids[whose]}")).status == 404
    # A token sees itself in place of all that its user has.
    asks = await program(core_api, people["viewer"])
    own = (await asks("GET", "/me")).body["token"]["id"]
    assert [each["id"] for each in (await asks("GET", "/tokens")).body["items"]] == [own]
    assert (await asks("GET", f"/tokens/{ids['viewer']}")).status == 404
    assert (await people["station-admin"]("DELETE", f"/tokens/{ids['viewer']}")).status == 204
    first = await people["admin"]("GET", "/tokens", limit=2)
    rest = await people["admin"]("GET", "/tokens", limit=500, cursor=first.body["next"])
    assert len(first.body["items"]) + len(rest.body["items"]) == first.body["total"] == 5


async def test_an_admin_makes_tokens_for_users_that_are_wholly_theirs(core_api: CoreApi) -> None:
    admin, station = await core_api.sign_in("admin"), await core_api.sign_in("station-admin")
    viewer, far = await core_api.sign_in("viewer"), await core_api.sign_in("integrator")
    viewer_id = await user_id(viewer)
    answer = await made(station, user=viewer_id, roles=viewer_at("d/s1/w1"))
    assert answer.body["user"]["name"] == "viewer"
    assert answer.body["created_by"]["name"] == "station-admin"
    asks = Caller(core_api.session, f"{core_api.url}{API}", answer.body["token"])
    assert (await asks("GET", "/me")).body["name"] == "viewer"
    both = [*viewer_at("d/s1/w1"), *viewer_at("d/s2")]
    assert (await admin("PUT", f"/users/{viewer_id}/roles", both)).status == 200
    for who, whose, status in (
        (station, viewer_id, 403),
        (station, await user_id(far), 404),
        (viewer, await user_id(far), 404),
        (admin, "nonsense", 404),
    ):
        refused = await who("POST", "/tokens", {"name": "x", "user": whose})
        assert refused.status == status, refused.body
    assert (await station("DELETE", f"/tokens/{answer.body['id']}")).status == 403
    assert (await viewer("DELETE", f"/tokens/{answer.body['id']}")).status == 204


async def test_making_and_ending_are_recorded_and_so_is_what_is_done_by_one(
    core_api: CoreApi,
) -> None:
    admin = await core_api.sign_in("admin")
    answer = await made(admin, name="loader", roles=[{"role": "integrator", "organization": "d"}])
    asks = Caller(core_api.session, f"{core_api.url}{API}", answer.body["token"])
    point = await asks("POST", "/points", {"organization": "d/s1/w1", "name": "by a program"})
    assert point.status == 201, point.body
    assert (await admin("DELETE", f"/tokens/{answer.body['id']}")).status == 204
    (line,) = (await admin("GET", "/audit", kind="token", action="create")).body["items"]
    assert (line["user"]["name"], line["object"]) == ("admin", answer.body["id"])
    assert line["organization"] == "d"
    assert line["details"] == {
        "name": "loader",
        "user": "admin",
        "ends_at": line["details"]["ends_at"],
        "roles": ["integrator at d"],
    }
    assert answer.body["token"] not in str(line)
    ended = (await admin("GET", "/audit", kind="token", action="delete")).body["items"]
    assert [each["object"] for each in ended] == [answer.body["id"]]
    (line,) = (await admin("GET", "/audit", kind="point", action="create")).body["items"]
    assert line["user"]["name"] == "admin"
    assert line["details"]["token"] == {"id": answer.body["id"], "name": "loader"}


async def test_a_user_has_so_many_tokens_and_no_more(
    core_api: CoreApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_TOKENS", 2)
    viewer = await core_api.sign_in("viewer")
    first = await made(viewer)
    await made(viewer)
    refused = await viewer("POST", "/tokens", {"name": "third"})
    assert refused.status == 409
    assert "revoke one" in refused.body["detail"]
    assert (await viewer("DELETE", f"/tokens/{first.body['id']}")).status == 204
    await made(viewer)


@ON_SQLITE
async def test_the_same_wrong_token_has_to_wait_and_keeps_nobody_else_out(
    core_api: CoreApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_api.context.access.wrong_tokens, "_clock", lambda: 1000.0)
    viewer = await core_api.sign_in("viewer")
    asks = await program(core_api, viewer)
    wrong = Caller(core_api.session, f"{core_api.url}{API}", access_tokens.new_access_token())
    # By the short way as by the long one, each request counts once.
    answers = [(await wrong("GET", path)).status for path in ("/points", "/me") * 3]
    assert answers == [401, 401, 401, 401, 401, 429]
    last = await wrong("GET", "/points")
    assert (last.status, last.headers["Content-Type"]) == (429, "application/problem+json")
    assert int(last.headers["Retry-After"]) >= 1
    assert (await asks("GET", "/me")).status == 200
    another = Caller(core_api.session, f"{core_api.url}{API}", access_tokens.new_access_token())
    assert (await another("GET", "/me")).status == 401
    await core_api.sign_in("dispatcher")


async def test_the_first_use_is_written_down_and_the_next_ones_rarely(
    core_api: CoreApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, access = await core_api.sign_in("viewer"), core_api.context.access
    token_id = (answer := await made(viewer)).body["id"]
    asks = Caller(core_api.session, f"{core_api.url}{API}", answer.body["token"])

    async def last_used() -> datetime | None:
        said = (await viewer("GET", f"/tokens/{token_id}")).body["last_used_at"]
        return datetime.fromisoformat(said) if said else None

    async with running(access.uses.run()):
        began = now()
        assert (await asks("GET", "/points")).status == 200
        await wait_until(lambda: not access.uses._waiting)
        first = await last_used()
        assert first is not None
        assert began - timedelta(seconds=1) <= first <= now()
        access.forget_all()
        assert (await asks("GET", "/points")).status == 200
        assert not access.uses._waiting
        monkeypatch.setattr(access_tokens, "NOTED_EVERY", timedelta(0))
        access.forget_all()
        assert (await asks("GET", "/points")).status == 200
        await wait_until(lambda: not access.uses._waiting)
        again = await last_used()
        assert again is not None
        assert again > first


@ON_SQLITE
async def test_nobody_is_asked_about_a_token_on_hot_pages(
    core_api: CoreApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = await program(core_api, await core_api.sign_in("viewer"))
    assert (await asks("GET", "/points")).status == 200
    lookups = []
    found = tokens.find

    def counted(*arguments: Any) -> Any:
        lookups.append(arguments)
        return found(*arguments)

    monkeypatch.setattr(tokens, "find", counted)
    monkeypatch.setattr(core_api.context.access, "_cache_s", 3600.0)
    core_api.context.access.forget_all()
    for _ in range(20):
        assert (await asks("GET", "/points")).status == 200
    assert len(lookups) == 1


@ON_SQLITE
async def test_walls_are_a_persons_and_not_a_narrowed_tokens(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    wall = {"name": "duty", "tiles": 4, "points": []}
    assert (await admin("POST", "/walls", wall)).status == 201
    narrow = await program(core_api, admin, roles=viewer_at("d/s1/w1"))
    assert (await narrow("GET", "/walls")).status == 403
    assert (await narrow("POST", "/walls", {**wall, "name": "x"})).status == 403
    assert (await (await program(core_api, admin))("GET", "/walls")).body["total"] == 1


async def test_roles_of_tokens_follow_what_becomes_of_an_organisation(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    point = await add_point(admin, 6, 1)  # d/s1/w2
    asks = await program(core_api, admin, roles=viewer_at("d/s1/w1", "d/s1/w2"))
    gone = await program(core_api, admin, roles=viewer_at("d/s2/w3"))
    merged = await admin("POST", "/organizations/d/s1/w1/merge", {"into": "d/s1/w2"})
    assert merged.status in (200, 201), merged.body
    me = (await asks("GET", "/me")).body
    assert [each["organization"]["path"] for each in me["roles"]] == ["d/s1/w2"]
    assert [each["id"] for each in (await asks("GET", "/points")).body["items"]] == [point]
    # What is narrowed to nothing that there is does not become wide.
    assert (await admin("DELETE", "/organizations/d/s2/w3")).status == 204
    assert (await gone("GET", "/me")).body["roles"] == []
    assert (await gone("GET", "/points")).body["items"] == []


async def test_what_is_shared_is_seen_by_who_may_look_where_it_is_shown(core_api: CoreApi) -> None:
    admin = await core_api.sign_in("admin")
    await admin("PUT", "/organizations/d/s2/w3/jurisdiction", square(20, 0, 5))
    point = await add_point(admin, 21, 1)
    body = {
        "from": {"point": point},
        "to": "d/s1/w1",
        "purpose": "festival",
        "ends_at": (now() + timedelta(hours=1)).isoformat(),
    }
    assert (await admin("POST", "/shares", body)).status == 201
    dispatcher = await core_api.sign_in("dispatcher")  # at d/s1
    here = await program(core_api, dispatcher, roles=viewer_at("d/s1/w1"))
    there = await program(core_api, dispatcher, roles=viewer_at("d/s1/w2"))
    assert (await here("GET", f"/points/{point}")).body["shared"] is not None
    assert (await there("GET", f"/points/{point}")).status == 404
    assert (await there("GET", "/points")).body["items"] == []


async def test_the_gateway_itself_makes_and_ends_any(core_api: CoreApi) -> None:
    database = core_api.context.database
    viewer = await database.read(lambda c: users.page(c, SYSTEM, q="viewer").items[0])
    new = tokens.NewToken(name="x", token_hash=b"x" * 32, user=viewer.id)
    token = await database.write(lambda c: tokens.create(c, SYSTEM, new))
    assert (token.created_by_id, token.created_by_name) == ("", "system")
    assert await database.read(lambda c: tokens.principal_of(c, token.id)) is not None
    given = [NewRole(role="auditor", organization="d")]
    await database.write(lambda c: users.set_roles(c, SYSTEM, viewer.id, given))
    await database.write(lambda c: tokens.revoke(c, SYSTEM, token.id))
    assert await database.read(lambda c: tokens.principal_of(c, token.id)) is None
