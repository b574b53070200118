"""From errors to HTTP: the only place where a class of error meets a status code.

Every answer is a problem document (RFC 9457) with `type`, `title`, `status` and `detail`; a 422
has `errors`, each with `field` and `reason`; a 409 has `other` where what is in the way may be
named; a 429 and a 503 carry Retry-After.
"""

import dataclasses
import http
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from adapters import errors as adapter
from gateway.access import errors as access
from gateway.bus import errors as bus
from registry import errors as registry

PROBLEM_JSON = "application/problem+json"
DEVICE_RETRY_AFTER_S = 5
BROKER_RETRY_AFTER_S = 2
TELL_AGAIN_S = 10.0


class ApiError(Exception):
    """What only HTTP can get wrong.

    ApiError
    ├── PreconditionRequired   final   428: an edit without If-Match
    ├── PreconditionFailed     final   412: an If-Match that can never match
    └── NotAcceptable          final   406
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class PreconditionRequired(ApiError):
    def __init__(self) -> None:
        super().__init__('this needs the header If-Match: "<version>" with the version you read')


class PreconditionFailed(ApiError):
    pass


class NotAcceptable(ApiError):
    pass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An answer that is an error. detail: one sentence for a person. more: further members."""

    status: int
    detail: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def problem_response(problem: Problem) -> Response:
    body = {
        "type": "about:blank",
        "title": http.HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.more,
    }
    return Response(
        msgspec.json.encode(body),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=dict(problem.headers),
    )


def problem_of(error: Exception) -> Problem:
    """The problem that an error is to whoever asked."""
    match error:
        case registry.RegistryError():
            return _of_registry(error)
        case access.AccessError():
            return _of_access(error)
        case adapter.AdapterError():
            return _of_adapter(error)
        case bus.BusError():
            return _later(str(error), BROKER_RETRY_AFTER_S)
        case PreconditionRequired():
            return Problem(status=428, detail=error.message)
        case PreconditionFailed():
            return Problem(status=412, detail=error.message)
        case NotAcceptable():
            return Problem(status=406, detail=error.message)
        case RequestValidationError():
            return invalid(map(_located, error.errors()))
        case HTTPException():
            detail = str(error.detail)
            return Problem(status=error.status_code, detail=detail, headers=error.headers or {})
    return Problem(status=500, detail="something went wrong here; it was written to the log")


_LENGTHS: Mapping[str, tuple[str, str]] = {
    "too_long": ("max_length", "must have at most {} characters"),
    "too_short": ("min_length", "must have at least {} characters"),
}


def _located(wrong: Mapping[str, Any]) -> tuple[str, str]:
    """Field and reason of what a body or query has wrong."""
    where, *path = wrong["loc"]
    if wrong["type"] == "json_invalid":
        return str(where), f"no JSON near character {path[0]}: {wrong['ctx']['error']}"
    if wrong["type"] in _LENGTHS and isinstance(wrong["input"], str):
        # A text that is looked at before its length is counted as a list.
        limit, sentence = _LENGTHS[wrong["type"]]
        return ".".join(map(str, path)), sentence.format(wrong["ctx"][limit])
    return ".".join(map(str, path)) or str(where), wrong["msg"]


def invalid(reasons: Iterable[tuple[str, str]]) -> Problem:
    """A 422. reasons: field and why it is refused."""
    errors = [{"field": field, "reason": reason} for field, reason in reasons]
    detail = "; ".join(f"{each['field']}: {each['reason']}" for each in errors)
    return Problem(status=422, detail=detail, more={"errors": errors})


def _of_registry(error: registry.RegistryError) -> Problem:
    match error:
        case registry.NotFound():
            return Problem(status=404, detail=error.message)
        case registry.Forbidden():
            return Problem(status=403, detail=error.message)
        case registry.Conflict():
            more: dict[str, Any] = {"other": error.other} if error.other else {}
            if error.others:
                more["others"] = list(error.others)
            return Problem(status=409, detail=error.message, more=more)
        case registry.VersionMismatch():
            return Problem(status=412, detail=error.message, more={"version": error.actual})
        case registry.Invalid():
            return invalid((each.field, each.reason) for each in error.reasons)
        case registry.DatabaseAway():
            return _later(error.outward, error.retry_after_s)
    return _later(error.message, 30)


def _of_access(error: access.AccessError) -> Problem:
    match error:
        case access.NotSignedIn() | access.WrongCredentials():
            return Problem(status=401, detail=error.message, headers={"WWW-Authenticate": "Bearer"})
        case access.TooManyAttempts():
            headers = {"Retry-After": str(error.retry_after_s)}
            return Problem(status=429, detail=error.message, headers=headers)
        case access.SignInBusy():
            return _later(error.message, error.retry_after_s)
        case access.UserDisabled() | access.CrossSite() | access.NotByToken():
            return Problem(status=403, detail=error.message)
    return Problem(status=500, detail=error.message)


def _of_adapter(error: adapter.AdapterError) -> Problem:
    match error:
        case adapter.AuthenticationFailed():
            return invalid([("password", str(error))])
        case adapter.InvalidSettings():
            return invalid([("settings", str(error))])
        case adapter.NotSupported():
            return invalid([("adapter", str(error))])
    return _later(str(error), DEVICE_RETRY_AFTER_S)


def _later(detail: str, retry_after_s: int) -> Problem:
    return Problem(status=503, detail=detail, headers={"Retry-After": str(retry_after_s)})


async def _answer(request: Request, error: Exception) -> Response:
    if isinstance(error, adapter.AdapterError) and "/points/" in request.url.path:
        error.device = error.address = ""  # who sees a point may not know where its device is
    return problem_response(problem_of(error))


class _AnswerAway:
    """Answers while the database is away. Where it is stands in the log alone, once in a while."""

    def __init__(self) -> None:
        self._told_s = -math.inf

    async def __call__(self, request: Request, error: Exception) -> Response:
        now_s = time.monotonic()
        if now_s >= self._told_s + TELL_AGAIN_S:
            self._told_s = now_s
            structlog.get_logger("hutong.api").warning("database is away", reason=str(error))
        return problem_response(problem_of(error))


async def _answer_unforeseen(request: Request, error: Exception) -> Response:
    log = structlog.get_logger("hutong.api")
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return problem_response(problem_of(error))


def install_error_answers(app: FastAPI) -> None:
    """Make every error of this application a problem document."""
    for kind in (
        registry.RegistryError,
        access.AccessError,
        adapter.AdapterError,
        bus.BusError,
        ApiError,
        RequestValidationError,
        HTTPException,
    ):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(registry.DatabaseAway, _AnswerAway())
    app.add_exception_handler(Exception, _answer_unforeseen)
