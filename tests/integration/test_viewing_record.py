"""The record of viewing: each opening and closing, why, and a purpose where one is asked for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from databases import ON_SQLITE
from privacy_stage import RIGHT_HALF, FramesEye, Stage, mjpeg_pictures, privacy_stage
from sqlalchemy import select

from registry.database import Database
from registry.models.audit import AUDIT

pytest_plugins = ["databases"]
pytestmark = ON_SQLITE

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture
async def stage(
    database: Database, database_url: str, tmp_path: Path, clips: Path
) -> AsyncIterator[Stage]:
    async with privacy_stage(database, database_url, tmp_path, clips) as it:
        yield it


async def acts(stage: Stage, action: str, number: int) -> list[dict[str, Any]]:
    """So many acts, newest first, as soon as they are written."""
    async with asyncio.timeout(WITHIN_S):
        while len(found := await stage.acts(action)) < number:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.05)
    return found


async def test_each_view_is_recorded_when_it_opens_and_when_it_closes(stage: Stage) -> None:
    viewer = await stage.sign_in("viewer")
    async with asyncio.timeout(WITHIN_S), await stage.watch(viewer, purpose="lost child") as it:
        await FramesEye(it).next()
        (opened,) = await acts(stage, "live_opened", 1)
        assert not await stage.acts("live_closed")
    assert (opened["user"]["name"], opened["object"]) == ("viewer", stage.point_id)
    assert opened["organization"] == "d/s1/w1"
    assert opened["details"] == {
        "view": opened["details"]["view"],
        "profile": "main",
        "transport": "frames",
        "clear": True,
        "jpeg": False,
        "purpose": "lost child",
    }
    (closed,) = await acts(stage, "live_closed", 1)
    assert closed["details"]["view"] == opened["details"]["view"]
    assert closed["details"]["ended"] == "the viewer left"
    assert 0 < closed["details"]["seconds"] < WITHIN_S
    await stage.mask(RIGHT_HALF)
    await mjpeg_pictures(stage.session, await stage.url(viewer, "mjpeg", "sub"), 1)
    closed, _ = await acts(stage, "live_closed", 2)
    told = {name: closed["details"][name] for name in ("profile", "transport", "clear", "jpeg")}
    assert told == {"profile": "sub", "transport": "mjpeg", "clear": False, "jpeg": True}


async def test_a_lost_right_is_why_a_view_closed(stage: Stage) -> None:
    viewer = await stage.sign_in("viewer")
    async with asyncio.timeout(WITHIN_S), await stage.watch(viewer) as socket:
        eye = FramesEye(socket)
        await eye.next()
        await stage.mask(RIGHT_HALF)
        assert await eye.until_closed() == 4403
    (closed,) = await acts(stage, "live_closed", 1)
    assert "right" in closed["details"]["ended"]


async def test_many_who_leave_at_once_are_all_recorded(stage: Stage) -> None:
    viewer, many = await stage.sign_in("viewer"), 100
    async with asyncio.timeout(WITHIN_S):
        sockets = [await (await stage.watch(viewer)) for _ in range(many)]
        await FramesEye(sockets[-1]).next()
        for socket in sockets:
            socket.transport.abort()
    closed = await acts(stage, "live_closed", many)
    assert len({each["details"]["view"] for each in closed}) == many


async def test_what_still_runs_when_the_gateway_stops_is_recorded(
    database: Database, database_url: str, tmp_path: Path, clips: Path, audit_store: Database
) -> None:
    async with privacy_stage(database, database_url, tmp_path, clips) as stage:
        viewer = await stage.sign_in("viewer")
        socket = await (await stage.watch(viewer))
        await FramesEye(socket).next()
        await acts(stage, "live_opened", 1)
    await socket.close()
    found = await audit_store.read(
        lambda c: c.scalars(select(AUDIT.c.details).where(AUDIT.c.action == "live_closed")).all()
    )
    assert len(found) == 1


async def test_where_a_purpose_is_asked_for_nothing_opens_without(stage: Stage) -> None:
    shown = await stage.admin("GET", "/organizations/d/s1")
    headers = {"If-Match": shown.headers["ETag"]}
    body = {"purpose_required": True}
    changed = await stage.admin("PATCH", "/organizations/d/s1", body, headers=headers)
    assert changed.status == 200
    viewer, point = await stage.sign_in("viewer"), f"/points/{stage.point_id}"
    evidence = f"{point}/quality/evidence.jpg"
    for asked in (
        await viewer("POST", f"{point}/live", {}),
        await viewer("POST", f"{point}/live", {"purpose": "  "}),
        await viewer("GET", f"{point}/snapshot.jpg"),
        await viewer("GET", f"{point}/thumbnail.jpg"),
        await viewer("GET", evidence),
    ):
        assert asked.status == 422
        assert asked.body["errors"][0]["field"] == "purpose"
    assert not await stage.acts("snapshot")
    assert (await viewer("POST", f"{point}/live", {"purpose": "lost child"})).status == 201
    assert (await viewer("GET", f"{point}/snapshot.jpg", purpose="lost child")).status == 200
    assert (await viewer("GET", evidence, purpose="lost child")).status == 404
    (shot,) = await stage.acts("snapshot")
    assert shot["details"]["purpose"] == "lost child"
