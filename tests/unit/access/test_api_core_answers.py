"""From errors to problems, and the small rules of the contract's shapes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request
from structlog.testing import capture_logs

from adapters import errors as adapter
from gateway.access import errors as access
from gateway.api.errors import (
    NotAcceptable,
    PreconditionFailed,
    PreconditionRequired,
    install_error_answers,
    problem_of,
    problem_response,
)
from gateway.api.shapes import accepted, given_version, merge_patch, required_version, timestamp
from registry import errors as registry


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (registry.NotFound("point", "x"), 404),
        (registry.Forbidden("no"), 403),
        (registry.Conflict("code in use"), 409),
        (registry.VersionMismatch("point", 1, 2), 412),
        (registry.Invalid.at("name", "too long"), 422),
        (registry.DatabaseAway("away"), 503),
        (registry.DatabaseUnusable("no folder"), 503),
        (access.NotSignedIn(), 401),
        (access.WrongCredentials(), 401),
        (access.UserDisabled(), 403),
        (access.TooManyAttempts(7), 429),
        (access.SignInBusy(), 503),
        (access.CrossSite(), 403),
        (access.NotByToken(), 403),
        (access.Unsealable(), 500),
        (adapter.Unreachable("no answer", device="10.0.0.1"), 503),
        (adapter.TimedOut("late"), 503),
        (adapter.ProtocolViolation("garbage"), 503),
        (adapter.Busy("sessions"), 503),
        (adapter.AuthenticationFailed("wrong password"), 422),
        (adapter.InvalidSettings("no such kind"), 422),
        (adapter.NotSupported("no PTZ"), 422),
        (PreconditionRequired(), 428),
        (PreconditionFailed("no"), 412),
        (NotAcceptable("no"), 406),
        (HTTPException(405), 405),
        (ZeroDivisionError("an inner detail"), 500),
    ],
)
def test_each_error_is_a_problem(error: Exception, status: int) -> None:
    response = problem_response(problem_of(error))
    body = json.loads(bytes(response.body))
    assert response.status_code == body["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    assert "inner detail" not in body["detail"]
    assert ("retry-after" in response.headers) == (status in (429, 503))
    assert ("www-authenticate" in response.headers) == (status == 401)
    assert ("errors" in body) == (status == 422)


def leaves(tree: type[Exception]) -> Iterator[type[Exception]]:
    below = tree.__subclasses__()
    if not below:
        yield tree
    for each in below:
        yield from leaves(each)


def test_no_class_of_error_is_forgotten() -> None:
    """A new class that nobody mapped would be a 500, or a 503 that never goes away."""
    named = {
        type(mark)
        for mark, _ in test_each_error_is_a_problem.pytestmark[0].args[1]  # type: ignore[attr-defined]
    }
    for module, tree in (
        (registry, registry.RegistryError),
        (access, access.AccessError),
        (adapter, adapter.AdapterError),
    ):
        ours = {each for each in leaves(tree) if each.__module__ == module.__name__}
        assert ours <= named


def test_what_is_in_the_way_is_named_only_when_it_may_be() -> None:
    shown = problem_of(registry.Conflict("taken", other="p1", others=("a", "b")))
    assert shown.more == {"other": "p1", "others": ["a", "b"]}
    assert problem_of(registry.Conflict("code in use")).more == {}


async def test_where_the_database_is_stands_in_the_log_alone_and_not_each_time() -> None:
    app = FastAPI()
    install_error_answers(app)
    away = registry.DatabaseAway("postgresql://inside:5432 is away", outward="it does not answer")
    handler: Any = app.exception_handlers[registry.DatabaseAway]
    with capture_logs() as logged:
        bodies = [bytes((await handler(request(), away)).body) for _ in range(3)]
    assert [json.loads(each)["detail"] for each in bodies] == ["it does not answer"] * 3
    assert [each["reason"] for each in logged] == ["postgresql://inside:5432 is away"]


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(("tag", "version"), [('"7"', 7), ("*", None), (' "12" ', 12)])
def test_if_match_carries_a_version(tag: str, version: int | None) -> None:
    assert required_version(request(if_match=tag)) == version
    assert given_version(request(if_match=tag)) == version


@pytest.mark.parametrize("tag", ["7", '"x"', '""', '"', "", 'W/"7"', '"7", "8"', '"٣"', '"-1"'])
def test_what_no_etag_of_ours_can_match_fails(tag: str) -> None:
    with pytest.raises(PreconditionFailed):
        given_version(request(if_match=tag))


def test_a_missing_if_match_is_required_or_not() -> None:
    with pytest.raises(PreconditionRequired):
        required_version(request())
    assert given_version(request()) is None


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # The examples of RFC 7396, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    before = json.dumps(target)
    assert merge_patch(target, patch) == result
    assert json.dumps(target) == before


@settings(deadline=None)
@given(
    at=st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001
        max_value=datetime(2900, 1, 1),  # noqa: DTZ001
    ),
    hours=st.integers(-12, 12),
)
def test_times_have_three_decimals_and_a_z(at: datetime, hours: int) -> None:
    zoned = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    text = timestamp(zoned)
    assert len(text) == len("2026-01-02T03:04:05.678Z")
    assert text.endswith("Z")
    parsed = datetime.fromisoformat(text)
    assert timedelta(0) <= zoned.astimezone(UTC) - parsed < timedelta(milliseconds=1)


def test_media_types_of_accept() -> None:
    assert "application/geo+json" in accepted("text/html, Application/Geo+JSON;q=0.9")
    assert "application/geo+json" not in accepted("*/*")
