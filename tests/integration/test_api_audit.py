"""The record of who looked and signed in, over HTTP: complete, and not stopped by a long write."""

import asyncio
import sqlite3
import time
import types
from collections.abc import AsyncIterator

import pytest
from core_api import PASSWORD, CoreApi
from databases import ON_SQLITE

from adapters.base import MediaSource
from gateway.api import PREFIX, views
from gateway.live import LiveService
from registry import devices
from registry.devices import NewDevice
from registry.errors import DatabaseAway
from registry.partition import SYSTEM
from registry.sources import FoundSource

pytest_plugins = ["core_api"]


async def no_media(_point: str, _profile: str) -> MediaSource:
    raise AssertionError("no test here opens a stream")


async def always(_user: str, _point: str) -> bool:
    return True


@pytest.fixture
async def point(core_api: CoreApi) -> AsyncIterator[str]:
    """A point with a camera, and the routes that look at it."""
    database = core_api.context.database
    device = NewDevice(adapter="onvif", endpoint="camera", organization="d/s1/w1")
    found = [FoundSource(address="v1")]
    registered = await database.write(lambda c: devices.register(c, SYSTEM, device, found))
    async with LiveService(no_media, always) as live:
        core_api.app.state.services = types.SimpleNamespace(live=live, media=None)
        core_api.app.include_router(views.router, prefix=PREFIX)
        yield registered.created[0].point_id


async def test_looking_and_signing_in_are_told_with_the_writes(
    core_api: CoreApi, point: str
) -> None:
    viewer = await core_api.sign_in("viewer")
    looked = await viewer("POST", f"/points/{point}/live", {"purpose": "case 7"})
    assert looked.status == 201, looked.body
    anybody = core_api.anybody()
    for name in ("viewer", "a password typed as a name"):
        given = {"name": name, "password": "wrong horse"}
        assert (await anybody("POST", "/api/v1/auth/login", given)).status == 401
    auditor = await core_api.sign_in("auditor")
    told = (await auditor("GET", "/audit", limit=100)).body
    assert told["total"] == len(told["items"])
    assert [each["action"] for each in told["items"][:4]] == [
        *("sign_in", "sign_in_refused", "open_live", "sign_in"),
    ]
    refused, seen, signed_in = told["items"][1:4]
    assert seen["object"] == point
    assert (seen["user"]["name"], seen["organization"]) == ("viewer", "d/s1/w1")
    assert seen["details"] == {"profile": "main", "purpose": "case 7"}
    assert (signed_in["address"], signed_in["kind"]) == ("127.0.0.1", "user")
    assert signed_in["object"] == seen["user"]["id"]
    assert refused["details"] == {"reason": "the name or the password is wrong"}
    assert "a password typed as a name" not in str(told)
    assert PASSWORD not in str(told)
    writes = {(each["action"], each["kind"]) for each in told["items"]}
    assert {("create", "user"), ("register", "device")} & writes
    pages, cursor = [], ""
    while cursor is not None:
        page = await auditor("GET", "/audit", limit=3, **({"cursor": cursor} if cursor else {}))
        pages += page.body["items"]
        cursor = page.body["next"]
    assert pages == told["items"]
    only = (await auditor("GET", "/audit", action="open_live", object=point)).body
    assert only["items"] == [seen]
    for name in ("viewer", "dispatcher", "integrator"):
        assert (await (await core_api.sign_in(name))("GET", "/audit")).status == 403
    station = (await (await core_api.sign_in("station-admin"))("GET", "/audit")).body
    assert seen in station["items"]
    assert {each["organization"].split("/")[1] for each in station["items"]} == {"s1"}


@ON_SQLITE
async def test_a_long_write_to_the_registry_stops_no_record(
    core_api: CoreApi, point: str, database_url: str
) -> None:
    viewer, auditor = await core_api.sign_in("viewer"), await core_api.sign_in("auditor")
    importing = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    importing.execute("BEGIN IMMEDIATE")
    try:
        began_s = time.monotonic()
        looked = await viewer("POST", f"/points/{point}/live", {})
        told = await auditor("GET", "/audit", action="open_live")
        took_s = time.monotonic() - began_s
        assert (looked.status, told.body["total"]) == (201, 1)
        assert told.body["items"][0]["object"] == point
        # The registry's own lock is waited for 5 s.
        assert took_s < 2.5
    finally:
        importing.rollback()
        importing.close()


@ON_SQLITE
async def test_nobody_looks_without_a_record_and_anybody_signs_in(
    core_api: CoreApi, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = await core_api.sign_in("viewer")

    async def away(_fn: object) -> None:
        await asyncio.sleep(0)
        raise DatabaseAway("the record is away")

    audit = core_api.context.audit
    monkeypatch.setattr(audit, "_store", types.SimpleNamespace(write=away))
    refused = await viewer("POST", f"/points/{point}/live", {})
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    lost = audit.lost
    assert (await core_api.sign_in("viewer")).token
    assert audit.lost == lost + 1
