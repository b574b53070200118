"""A stand-in for MediaMTX's control API over a real socket, strict about what it is asked.

It answers as tests/cases/media_server/control-api.yaml says, or as the description that
`MEDIAMTX_OPENAPI` names, and notes every request that is not as that says. Tokens are checked as
MediaMTX does: by the keys it was told where to get, which it keeps until it is asked to get new
ones.
"""

import base64
import contextlib
import json
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import yaml
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

CASE = Path(__file__).parents[1] / "cases" / "media_server" / "control-api.yaml"
KINDS = (
    *("rtspsessions", "rtspssessions", "rtmpconns", "rtmpsconns", "srtconns"),
    *("webrtcsessions", "hlssessions", "moqsessions"),
)


def published() -> dict[str, Any] | None:
    """MediaMTX's own description, where there is a copy."""
    file = os.environ.get("MEDIAMTX_OPENAPI")
    if not file:
        return None
    document: dict[str, Any] = yaml.safe_load(Path(file).read_text())
    return document


def described() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CASE.read_text())
    return document


class Description:
    """An OpenAPI document, by which requests and answers are judged."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def complaints(
        self, method: str, path: str, query: Mapping[str, str], body: Any, status: int, said: Any
    ) -> list[str]:
        where = f"{method} {path}"
        operation = self._operation(method, path)
        if operation is None:
            return [f"{where}: there is no such operation"]
        known = {each["name"]: each for each in operation.get("parameters", ())}
        wrong = [f"{where}: no parameter {name}" for name in query if name not in known]
        wrong += [
            f"{where}: {name}={value} is no integer"
            for name, value in query.items()
            if name in known
            and known[name]["schema"].get("type") == "integer"
            and not value.isdecimal()
        ]
        wanted = operation.get("requestBody")
        if wanted is None and body is not None:
            wrong.append(f"{where}: no body is wanted")
        elif wanted is not None:
            schema = wanted["content"]["application/json"]["schema"]
            wrong += self._judge(f"{where}: body", schema, body)
        answer = operation["responses"].get(str(status))
        if answer is not None:
            schema = answer["content"]["application/json"]["schema"]
            wrong += self._judge(f"{where}: answer {status}", schema, said)
        elif status not in (401, 500):
            wrong.append(f"{where}: is never answered with {status}")
        return wrong

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        for template, operations in self._document["paths"].items():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in operations:
                found: dict[str, Any] = operations[method.lower()]
                return found
        return None

    def _judge(self, where: str, schema: dict[str, Any], value: Any) -> list[str]:
        """MediaMTX refuses fields that it does not know; so do we, in both directions."""
        root = {**schema, "components": _closed(self._document["components"])}
        found = jsonschema.Draft4Validator(root).iter_errors(value)
        return [f"{where}: {error.message}" for error in found]


def _closed(node: Any) -> Any:
    if isinstance(node, dict):
        closed = {name: _closed(value) for name, value in node.items()}
        if "properties" in closed and closed.get("type") == "object":
            closed.setdefault("additionalProperties", False)
        return closed
    return [_closed(each) for each in node] if isinstance(node, list) else node


class MediaServerDouble:
    """jwks_url: where it gets keys. complaints: all that was not as described. sessions: by kind.
    open_api: answers without a token, as it should not. paths: by name."""

    def __init__(self, jwks_url: str) -> None:
        self.paths: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
        self.kicked: list[str] = []
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.disabled = {"rtmpconns", "rtmpsconns", "srtconns", "moqsessions", "rtspssessions"}
        self.open_api = False
        self.kick_fails = False
        self.configuration: dict[str, Any] = {
            "authMethod": "jwt",
            "authJWTAudience": "hutong-media",
            "authJWTExclude": [],
            "hlsCDNSecret": "",
            "rtsp": True,
            "rtspAddress": ":8554",
            "rtspsAddress": ":8322",
            "rtspEncryption": "no",
            "hls": True,
            "hlsAddress": ":8888",
            "hlsEncryption": False,
            "webrtc": True,
            "webrtcAddress": ":8889",
            "webrtcEncryption": True,
            "rtmp": False,
            "srt": False,
            "moq": False,
            "playback": False,
        }
        self.keys_read = 0
        self.url = ""
        self._jwks_url = jwks_url
        self._keys: list[dict[str, str]] | None = None
        self._started = datetime.now(UTC).isoformat()
        self._description = Description(published() or described())
        self._runner: web.AppRunner | None = None

    # --- as a reader meets it -------------------------------------------------------------------

    async def read(self, kind: str, path: str, token: str) -> str | None:
        """Somebody begins to read; gives the session's id, None where they may not."""
        subject = await self._subject(token, "read", path)
        if subject is None or self.source_of(path) is None:
            return None
        session_id = str(uuid.uuid4())
        self.sessions[kind][session_id] = {
            "id": session_id,
            "created": datetime.now(UTC).isoformat(),
            "path": path,
            "user": subject,
        }
        return session_id

    def source_of(self, path: str) -> str | None:
        """What it reads a path from: names that begin with ~ are patterns."""
        for name, configuration in self.paths.items():
            found = re.search(name[1:], path) if name[0] == "~" else None
            if found:
                return str(configuration["source"]).replace("$G1", found[1])
            if name == path:
                return str(configuration["source"])
        return None

    def leave(self, kind: str, session_id: str) -> None:
        del self.sessions[kind][session_id]

    def has(self, session_id: str | None) -> bool:
        return any(session_id in sessions for sessions in self.sessions.values())

    def restart(self) -> None:
        """Paths that were made by the API are forgotten, and who read is gone."""
        self.paths.clear()
        for sessions in self.sessions.values():
            sessions.clear()
        self._started = datetime.now(UTC).isoformat()
        self._keys = None

    # --- the control API ------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
            self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
            yield
        finally:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = json.loads(text) if (text := await request.text()) else None
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        status, said = 401, {"status": "error", "error": "authentication error"}
        if self.open_api or await self._subject(token, "api") is not None:
            status, said = self._answer(request.method, request.path, request.query, body)
        self.asked.append(f"{request.method} {request.path}")
        if status == 404 and not said:  # a list of a protocol that is off
            return web.Response(status=404, text="404 page not found")
        self.complaints += self._description.complaints(
            request.method, request.path, request.query, body, status, said
        )
        return web.json_response(said, status=status)

    def _answer(
        self, method: str, path: str, query: Mapping[str, str], body: Any
    ) -> tuple[int, dict[str, Any]]:
        ok = 200, {"status": "ok"}
        match [method, *path.removeprefix("/v3/").split("/")]:
            case ["GET", "info"]:
                return 200, {"version": "v0.0.0", "started": self._started}
            case ["POST", "auth", "jwks", "refresh"]:
                self._keys = None
                return ok
            case ["GET", "config", "global", "get"]:
                return 200, self.configuration
            case ["GET", "config", "paths", "list"]:
                return 200, _page([{"name": name} for name in self.paths], query)
            case ["POST", "config", "paths", "replace", name]:
                self.paths[name] = body
                return ok
            case ["GET", "config", "paths", "get", name]:
                if name not in self.paths:
                    return 404, {"status": "error", "error": "path configuration not found"}
                return 200, {"name": name, **self.paths[name]}
            case ["DELETE", "config", "paths", "delete", name]:
                if self.paths.pop(name, None) is None:
                    return 404, {"status": "error", "error": "path not found"}
                for sessions in self.sessions.values():
                    for each in list(sessions.values()):
                        if self.source_of(each["path"]) is None:
                            del sessions[each["id"]]
                return ok
            case ["GET", kind, "list"] if kind in KINDS:
                if kind in self.disabled:
                    return 404, {}
                return 200, _page(list(self.sessions[kind].values()), query)
            case ["POST", kind, "kick", session_id] if kind in KINDS:
                if self.kick_fails:
                    return 500, {"status": "error", "error": "not now"}
                if self.sessions[kind].pop(session_id, None) is None:
                    return 404, {"status": "error", "error": "session not found"}
                self.kicked.append(session_id)
                return ok
        return 400, {"status": "error", "error": "what?"}

    async def _subject(self, token: str, action: str, path: str = "") -> str | None:
        """The `sub` of a token that allows this, None for one that does not."""
        try:
            head, claims, signature = token.split(".")
            kid = json.loads(_decode(head))["kid"]
            key = next(key for key in await self._key_set() if key["kid"] == kid)
            public = Ed25519PublicKey.from_public_bytes(_decode(key["x"]))
            public.verify(_decode(signature), f"{head}.{claims}".encode())
            said = json.loads(_decode(claims))
        except (ValueError, StopIteration, InvalidSignature):
            return None
        allowed = any(
            each["action"] == action and each.get("path", "") in ("", path)
            for each in said["mediamtx_permissions"]
        )
        right = said["aud"] == self.configuration["authJWTAudience"] and said["exp"] > time.time()
        return str(said["sub"]) if allowed and right else None

    async def _key_set(self) -> list[dict[str, str]]:
        if self._keys is None:
            self.keys_read += 1
            async with aiohttp.ClientSession() as session, session.get(self._jwks_url) as answer:
                self._keys = (await answer.json())["keys"]
        return self._keys


def _page(items: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    size, page = int(query.get("itemsPerPage", 100)), int(query.get("page", 0))
    pages = -(-len(items) // size)
    shown = items[page * size : (page + 1) * size]
    return {"itemCount": len(items), "pageCount": pages, "items": shown}


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
