"""Points in files: importing them as a job, exporting them as a stream."""

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from gateway.api.background import Progress
from gateway.api.bodies import Reference
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.points import ListQuery
from gateway.api.services import CurrentServices
from gateway.api.shapes import GEO_JSON, answer, job_shape
from registry import organizations
from registry.completeness import MAX_LISTED, Completeness, completeness
from registry.database import Database
from registry.exchange.coordinates import System
from registry.exchange.exporting import csv_lines, exported, geojson_pieces, row_of, write_xlsx
from registry.exchange.files import Format, check_size, format_of
from registry.exchange.importing import ImportReport, run_import
from registry.exchange.reasons import language_of
from registry.exchange.staging import RefusedRow, Staging
from registry.identity import now
from registry.partition import INTEGRATE, Principal, require

router = APIRouter(tags=["points"])

MAX_REPORTED = 10_000
"""Refused rows that a job's report lists; it counts all."""
REPORT_EVERY_S = 0.5
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_MEDIA_TYPES: Mapping[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": XLSX,
    "geojson": GEO_JSON,
}
_AT_ONCE_CHARACTERS = 1 << 16


class _Stopped(Exception):
    pass


class ExportQuery(ListQuery):
    """What `GET /points` takes; limit and cursor mean nothing here."""

    format: Format = "csv"


@router.post("/points/import", status_code=202)
async def import_points(
    file: UploadFile,
    organization: Annotated[Reference, Query()],
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
    dry_run: bool = False,
    partial: bool = False,
    coordinates: System | None = None,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Read a CSV, XLSX or GeoJSON file of points into an organisation, as a job.

    All of it or nothing; with `partial`, its good rows. The job's report lists each refused row
    with sheet, row, column, value and reason, in the language of Accept-Language. `coordinates`
    says in which system its positions stand, where its header does not.
    """
    home = await context.database.read(lambda c: organizations.get(c, principal, organization))
    require(principal, INTEGRATE, home.path)
    kind = format_of(file.filename or "")
    check_size(file.size or 0)
    language = language_of(request.headers.get("accept-language", ""))
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="hutong-import-"))
    began = now()

    async def work(progress: Progress) -> Mapping[str, Any]:
        try:
            return await _import(
                _Import(
                    database=context.database,
                    principal=principal,
                    folder=folder,
                    kind=kind,
                    system=coordinates,
                    organization=home.id,
                    dry_run=dry_run,
                    partial=partial,
                    language=language,
                ),
                progress,
            )
        finally:
            services.nudge()
            shutil.rmtree(folder, ignore_errors=True)

    try:
        # The upload is gone once this request is answered.
        await asyncio.to_thread(_keep, file, folder / "file")
        job = await services.jobs.start(principal, "import", work, idempotency_key)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if job.created_at < began:
        # The same key gave a job from before, which has a file of its own.
        shutil.rmtree(folder, ignore_errors=True)
    location = {"Location": f"/api/v1/jobs/{job.id}"}
    return answer(job_shape(job), status=202, headers=location)


def _keep(file: UploadFile, path: Path) -> None:
    with path.open("wb") as kept:
        shutil.copyfileobj(file.file, kept, 1 << 20)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    """folder: has the file, and room for the staging file."""

    database: Database
    principal: Principal
    folder: Path
    kind: Format
    system: System | None
    organization: str
    dry_run: bool
    partial: bool
    language: str

    def run(self, keep_on: Callable[[int], None]) -> dict[str, Any]:
        """Blocks. keep_on: told how many rows are read; raises to stop."""
        staging = Staging(self.folder / "staging.db")
        try:
            staging.fill(self.folder / "file", self.kind, self.system, keep_on)
            report = run_import(
                self.database,
                self.principal,
                staging,
                self.organization,
                dry_run=self.dry_run,
                partial=self.partial,
                keep_on=lambda: keep_on(staging.total),
            )
            refused = list(staging.refused(MAX_REPORTED))
            return report_shape(report, staging, refused, self.language)
        finally:
            staging.close()


async def _import(wanted: _Import, progress: Progress) -> Mapping[str, Any]:
    """In a thread, which a cancelled job stops at the next few rows; nothing is written then."""
    stop = threading.Event()
    done = 0

    def keep_on(rows: int) -> None:
        nonlocal done
        done = rows
        if stop.is_set():
            raise _Stopped

    thread = asyncio.create_task(asyncio.to_thread(wanted.run, keep_on))
    try:
        while not thread.done():
            await asyncio.wait({thread}, timeout=REPORT_EVERY_S)
            await progress(done, None, None)
        report = thread.result()
        await progress(report["rows"], report["rows"], None)
        return report
    finally:
        stop.set()
        with contextlib.suppress(_Stopped, Exception):
            await thread


def report_shape(
    report: ImportReport, staging: Staging, refused: list[RefusedRow], language: str
) -> dict[str, Any]:
    """What became of a file, for a job's report and the command line."""
    return {
        "applied": report.applied,
        "rows": staging.total,
        "created": report.created,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "refused": report.refused,
        "coordinates": staging.system,
        "ignored_columns": list(staging.ignored_columns),
        "repeated_columns": list(staging.repeated_columns),
        "outside": dataclasses.asdict(report.outside),
        "write_lock_s": report.write_lock_s,
        "refusals": [
            {
                "sheet": row.sheet,
                "row": row.row,
                "column": each.column,
                "field": each.field,
                "value": each.value,
                "reason": each.text(language),
            }
            for row in refused
            for each in row.refusals
        ],
    }


@router.get("/points/export")
async def export_points(
    query: Annotated[ExportQuery, Query()], context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """The points that the caller sees and the filter wants, as a file. Importing it again changes
    nothing."""
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
