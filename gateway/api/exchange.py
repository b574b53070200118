"""Points in files: importing them as a job, exporting them as a stream."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from gateway.api import imports
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.imports import XLSX
from gateway.api.points import ListQuery
from gateway.api.shapes import GEO_JSON, answer
from registry.completeness import MAX_LISTED, Completeness, completeness
from registry.exchange.exporting import (
    check_fits,
    csv_lines,
    exported,
    geojson_pieces,
    row_of,
    write_xlsx,
)
from registry.exchange.files import Format

router = APIRouter(tags=["points"])
router.include_router(imports.router)

_MEDIA_TYPES: Mapping[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": XLSX,
    "geojson": GEO_JSON,
}
_AT_ONCE_CHARACTERS = 1 << 16


class ExportQuery(ListQuery):
    """What `GET /points` takes; limit and cursor mean nothing here."""

    format: Format = "csv"


@router.get("/points/export")
async def export_points(
    query: Annotated[ExportQuery, Query()], context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """The points that the caller sees and the filter wants, as a file. Importing it again changes
    nothing."""
    if query.format == "xlsx":
        await asyncio.to_thread(check_fits, context.database, principal, query.wanted())
    points = exported(context.database, principal, query.wanted())
    # The first is read now, so that a filter nobody can answer is an error and not a broken file.
    first = await asyncio.to_thread(next, points, None)
    rows = map(row_of, _with(first, points))
    headers = {"Content-Disposition": f'attachment; filename="points.{query.format}"'}
    if query.format == "xlsx":
        body = _workbook(rows)
    else:
        body = _encoded(csv_lines(rows) if query.format == "csv" else geojson_pieces(rows))
    return StreamingResponse(body, media_type=_MEDIA_TYPES[query.format], headers=headers)


def _with(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first is not None:
        yield first
        yield from rest


async def _encoded(pieces: Iterator[str]) -> AsyncIterator[bytes]:
    while True:
        block = await asyncio.to_thread(_joined, pieces)
        if not block:
            return
        yield block


def _joined(pieces: Iterator[str]) -> bytes:
    """The next pieces, some 64 kB of them; nothing at the end."""
    parts: list[str] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= _AT_ONCE_CHARACTERS:
            break
    return "".join(parts).encode()


async def _workbook(rows: Iterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="hutong-export-"))
    try:
        path = folder / "points.xlsx"
        await asyncio.to_thread(write_xlsx, path, rows)
        with path.open("rb") as file:
            while block := await asyncio.to_thread(file.read, _AT_ONCE_CHARACTERS):
                yield block
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@router.get("/organizations/{organization:path}/completeness")
async def points_completeness(
    organization: str,
    context: CurrentContext,
    principal: CurrentPrincipal,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
    after: Annotated[str, Query(max_length=36)] = "",
) -> Response:
    """Which points lack which of the sixteen mandatory attributes of *one machine, one file*."""
    report = await context.database.read(
        lambda c: completeness(c, principal, organization, after=after, limit=limit)
    )
    return answer(_completeness_shape(report))


def _completeness_shape(report: Completeness) -> dict[str, Any]:
    return {
        "organization": report.organization,
        "points": report.points,
        "complete": report.complete,
        "lacking": dict(report.lacking),
        "items": [
            {"id": each.point_id, "name": each.name, "lacking": list(each.lacking)}
            for each in report.incomplete
        ],
        "next": report.next,
    }
