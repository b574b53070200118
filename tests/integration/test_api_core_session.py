"""Signing in over HTTP: tokens, cookies, back-off, passwords."""

import pytest
from core_api import PASSWORD, Caller, CoreApi
from databases import ON_SQLITE

from gateway.api.context import COOKIE

pytest_plugins = ["core_api"]
# What is here does not depend on the database; `Access` itself is tested on both.
pytestmark = ON_SQLITE

LOGIN = "/api/v1/auth/login"


async def test_signing_in_gives_a_token_and_the_same_as_a_cookie(core_api: CoreApi) -> None:
    answer = await core_api.anybody()("POST", LOGIN, {"name": "viewer", "password": PASSWORD})
    assert answer.status == 200
    assert answer.body["expires_in"] == 12 * 3600
    cookie = answer.cookies[COOKIE]
    assert cookie.value == answer.body["access_token"]
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "strict"
    assert not cookie["secure"]
    me = await Caller(core_api.session, core_api.url, cookie.value)("GET", "/api/v1/me")
    assert me.status == 200
    assert me.body["name"] == "viewer"
    assert me.headers["ETag"] == '"1"'
    (role,) = me.body["roles"]
    assert role["role"] == "viewer"
    assert role["organization"]["path"] == "d/s1/w1"


async def test_behind_tls_the_cookie_is_secure(core_api: CoreApi) -> None:
    core_api.context.public_url = "https://hutong.example"
    answer = await core_api.anybody()("POST", LOGIN, {"name": "viewer", "password": PASSWORD})
    assert answer.cookies[COOKIE]["secure"]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic dTpw"}]
)
async def test_nobody_gets_a_401_problem(core_api: CoreApi, headers: dict[str, str]) -> None:
    answer = await core_api.anybody()("GET", "/api/v1/me", headers=headers)
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.body["status"] == 401
    assert answer.body["title"] == "Unauthorized"


async def test_the_fifth_wrong_password_has_to_wait(core_api: CoreApi) -> None:
    async def attempt(name: str, password: str) -> int:
        body = {"name": name, "password": password}
        answer = await core_api.anybody()("POST", LOGIN, body)
        if answer.status == 429:
            assert int(answer.headers["Retry-After"]) >= 1
        return answer.status

    assert [await attempt("viewer", "wrong one") for _ in range(5)] == [401] * 5
    assert await attempt("viewer", PASSWORD) == 429
    assert await attempt("VIEWER ", PASSWORD) == 429
    assert await attempt("admin", PASSWORD) == 200


async def test_unknown_name_and_wrong_password_look_the_same(core_api: CoreApi) -> None:
    ask = core_api.anybody()
    unknown = await ask("POST", LOGIN, {"name": "no one", "password": PASSWORD})
    wrong = await ask("POST", LOGIN, {"name": "viewer", "password": "wrong one"})
    assert (unknown.status, unknown.body) == (wrong.status, wrong.body)


async def test_refresh_ends_the_old_token_and_logout_the_new_one(core_api: CoreApi) -> None:
    old = await core_api.sign_in("viewer")
    assert (await old("GET", "/me")).status == 200
    refreshed = await old("POST", "/auth/refresh")
    assert refreshed.status == 200
    new = Caller(core_api.session, f"{core_api.url}/api/v1", refreshed.body["access_token"])
    assert refreshed.cookies[COOKIE].value == new.token
    assert (await old("GET", "/me")).status == 401
    assert (await new("GET", "/me")).status == 200
    out = await new("POST", "/auth/logout")
    assert out.status == 204
    assert out.cookies[COOKIE].value == ""
    assert (await new("GET", "/me")).status == 401
    assert (await new("POST", "/auth/refresh")).status == 401


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "{own}"}, True),
        ({"Origin": "https://hutong.example"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
    ],
)
async def test_a_cookie_works_from_our_own_pages_alone(
    core_api: CoreApi, headers: dict[str, str], allowed: bool
) -> None:
    core_api.context.public_url = "https://hutong.example"
    token = (await core_api.sign_in("admin")).token
    ask = core_api.anybody()
    sent = {name: value.format(own=core_api.url) for name, value in headers.items()}
    sent["Cookie"] = f"{COOKIE}={token}"
    body = {"kind": "station", "name": "x", "slug": "x", "parent": "d"}
    answer = await ask("POST", "/api/v1/organizations", body, headers=sent)
    assert answer.status == (201 if allowed else 403)
    assert (await ask("GET", "/api/v1/me", headers=sent)).status == 200
    # A bearer token is nothing that a browser sends by itself.
    del sent["Cookie"]
    sent["Authorization"] = f"Bearer {token}"
    assert (await ask("POST", "/api/v1/auth/logout", headers=sent)).status == 204


async def test_another_sites_page_cannot_sign_somebody_in(core_api: CoreApi) -> None:
    body = {"name": "viewer", "password": PASSWORD}
    headers = {"Origin": "http://evil.example"}
    assert (await core_api.anybody()("POST", LOGIN, body, headers=headers)).status == 403


async def test_changing_the_password_ends_the_other_sessions(core_api: CoreApi) -> None:
    here = await core_api.sign_in("viewer")
    there = await core_api.sign_in("viewer")
    assert (await there("GET", "/me")).status == 200
    wrong = await here("PUT", "/me/password", {"old": "wrong one", "new": "another good one"})
    assert wrong.status == 401
    short = await here("PUT", "/me/password", {"old": PASSWORD, "new": "short"})
    assert short.status == 422
    assert short.body["errors"][0]["field"] == "password"
    done = await here("PUT", "/me/password", {"old": PASSWORD, "new": "another good one"})
    assert done.status == 204
    assert (await here("GET", "/me")).status == 200
    assert (await there("GET", "/me")).status == 401
    await core_api.sign_in("viewer", "another good one")
    with pytest.raises(AssertionError):
        await core_api.sign_in("viewer")


async def test_a_body_that_is_wrong_is_refused_with_its_place(core_api: CoreApi) -> None:
    ask = core_api.anybody()
    answer = await ask("POST", LOGIN, {"name": "viewer", "password": "s3cret-word", "x": 1})
    assert answer.status == 422
    assert [each["field"] for each in answer.body["errors"]] == ["x"]
    assert "s3cret-word" not in str(answer.body)
    assert (await ask("POST", LOGIN)).status == 422
