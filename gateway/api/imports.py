"""Importing points from a file: a job that goes on where its node ended."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse

from gateway.api.background import JobOver, Progress
from gateway.api.bodies import Reference
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.import_files import ImportFolder, ImportFolders, ImportRequest
from gateway.api.services import CurrentServices
from gateway.api.shapes import answer, job_shape
from registry import jobs, organizations
from registry.database import Connection, Database
from registry.errors import DatabaseAway, Invalid, NotFound
from registry.exchange.annotated import annotated_as_xlsx, write_annotated
from registry.exchange.coordinates import System
from registry.exchange.files import Format, check_size, format_of
from registry.exchange.importing import ImportReport, run_import
from registry.exchange.reasons import language_of
from registry.exchange.records import FileRefused
from registry.exchange.report import report_document
from registry.exchange.staging import RefusedRow, Staging
from registry.partition import INTEGRATE, Principal, require

router = APIRouter(tags=["points"])

MAX_REPORTED = 10_000
"""Refused rows that a job's report lists; it counts all, and the copy has all."""
REPORT_EVERY_S = 0.5
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_NO_FILE = {
    "en": "must be sent, as the form field file",
    "zh": "必须上传，表单字段名为 file",
}
_NOT_KEPT = {
    "en": "must be sent, as nothing is kept here of an import with this Idempotency-Key",
    "zh": "必须上传：此处没有保存该 Idempotency-Key 的导入文件",
}


_GONE = {
    "en": "was merged or removed meanwhile, and nothing was written: import into what it is now",
    "zh": "已被合并或删除，没有写入任何内容：请导入到现在的组织",
}


class _Stopped(Exception):
    pass


@router.post("/points/import", status_code=202)
async def import_points(
    organization: Annotated[Reference, Query()],
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
    file: UploadFile | None = None,
    dry_run: bool = False,
    partial: bool = False,
    coordinates: System | None = None,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Read a CSV, XLSX or GeoJSON file of points into an organisation, as a job.

    All of it or nothing; with `partial`, its good rows. The job's report lists refused rows with
    sheet, row, column, value and reason, in the language of Accept-Language, and names the copy of
    the file that has them all. `coordinates` says in which system its positions stand, where its
    header does not. The same `Idempotency-Key` gives the same job; one that was interrupted goes
    on, with the file that is kept of it, so that none needs to be sent.
    """
    home = await context.database.read(lambda c: organizations.get(c, principal, organization))
    require(principal, INTEGRATE, home.path)
    language = language_of(request.headers.get("accept-language", ""))
    running = services.jobs
    folders = ImportFolders(running.folder)
    await asyncio.to_thread(folders.sweep, running.at_work)
    arrived: ImportFolder | None = None
    try:
        if file is not None:
            wanted = ImportRequest(
                kind=_kind(file, language),
                organization=home.id,
                system=coordinates,
                dry_run=dry_run,
                partial=partial,
                language=language,
            )
            arrived = folders.arriving()
            # The upload is gone once this request is answered.
            await asyncio.to_thread(arrived.keep, file.file, wanted)
        known = None
        if idempotency_key is not None:
            key = idempotency_key
            known = await context.database.read(lambda c: jobs.find(c, principal, "import", key))
        if arrived is None and known is None:
            why = _NO_FILE if idempotency_key is None else _NOT_KEPT
            raise Invalid.at("file", why[language])
        kept = known is not None and folders.of(known.id).is_complete
        if arrived is None and known is not None and known.interrupted and not kept:
            raise Invalid.at("file", _NOT_KEPT[language])
        job, fresh = await running.open(
            principal, "import", idempotency_key, resume=kept or arrived is not None
        )
        if fresh:
            folder = await asyncio.to_thread(folders.settle, arrived, job.id)
            work = _Import(context.database, principal, job.id, folder)

            async def do(progress: Progress) -> Mapping[str, Any]:
                goes_on = False
                try:
                    return await _watched(work, progress)
                except DatabaseAway:
                    goes_on = True
                    raise
                finally:
                    services.nudge()
                    if not (goes_on or running.is_closing):
                        await asyncio.to_thread(folder.finish)

            running.run(job, do)
    finally:
        if arrived is not None:
            # Where a job has it now, it is not there any more.
            await asyncio.to_thread(arrived.remove)
    location = {"Location": f"/api/v1/jobs/{job.id}"}
    return answer(job_shape(job), status=202, headers=location)


def _kind(file: UploadFile, language: str) -> Format:
    """Raises: Invalid, in the caller's language."""
    try:
        check_size(file.size or 0)
        return format_of(file.filename or "")
    except FileRefused as refused:
        raise Invalid.at("file", refused.text(language)) from None


@dataclasses.dataclass(frozen=True, slots=True)
class _Import:
    database: Database
    principal: Principal
    job_id: str
    folder: ImportFolder

    def run(self, keep_on: Callable[[int], None]) -> tuple[dict[str, Any], bool]:
        """The report, and whether the job is over with it. Blocks. keep_on: told how many rows
        are read; raises to stop."""
        wanted = self.folder.request()
        staging = Staging(self.folder.staging)
        refused: list[RefusedRow] = []

        def explain() -> None:
            refused[:] = staging.refused(MAX_REPORTED)
            if refused:
                write_annotated(
                    *(self.folder.refused, self.folder.file, wanted.kind, staging),
                    wanted.language,
                    lambda: keep_on(staging.total),
                )

        def shape(report: ImportReport) -> dict[str, Any]:
            copy = f"/api/v1/jobs/{self.job_id}/refused.csv" if refused else None
            return report_document(report, staging, refused, wanted.language, copy)

        def end(connection: Connection, report: ImportReport) -> None:
            """The job is done with the points written, or neither."""
            jobs.progress(connection, self.job_id, staging.total, staging.total)
            if not jobs.finish(connection, self.job_id, "done", shape(report)):
                raise _Stopped

        try:
            staging.fill(self.folder.file, wanted.kind, wanted.system, keep_on)
            report = run_import(
                self.database,
                self.principal,
                staging,
                wanted.organization,
                dry_run=wanted.dry_run,
                partial=wanted.partial,
                keep_on=lambda: keep_on(staging.total),
                after_look=explain,
                before_commit=end,
            )
            return shape(report), report.applied
        except FileRefused as error:
            raise Invalid.at("file", error.text(wanted.language)) from None
        except NotFound:
            # It was there when the job was asked for, and is the only thing that is looked up.
            raise Invalid.at("organization", _GONE[wanted.language]) from None
        finally:
            staging.close()


async def _watched(wanted: _Import, progress: Progress) -> Mapping[str, Any]:
    """In a thread, which a cancelled job stops at the next few rows; nothing is written then."""
    stop = threading.Event()
    done = 0

    def keep_on(rows: int) -> None:
        nonlocal done
        done = rows
        if stop.is_set():
            raise _Stopped

    thread = asyncio.create_task(asyncio.to_thread(wanted.run, keep_on))
    told = 0
    try:
        while not thread.done():
            await asyncio.wait({thread}, timeout=REPORT_EVERY_S)
            # While it writes to SQLite, nobody else can; there is nothing to tell then either.
            if done != told and not thread.done():
                told = done
                await progress(done, None, None)
        report, is_over = thread.result()
        if not is_over:
            await progress(report["rows"], report["rows"], None)
            return report
        with contextlib.suppress(DatabaseAway):
            # For how long others had to wait is known only now.
            await wanted.database.write(lambda c: jobs.amend(c, wanted.job_id, report))
        return report
    except _Stopped:
        raise JobOver from None
    finally:
        stop.set()
        await _ended(thread)


async def _ended(thread: asyncio.Task[Any]) -> None:
    """Wait for a thread, and go on waiting when cancelled: it uses files that are removed next."""
    cancelled = False
    while not thread.done():
        try:
            await asyncio.wait({thread})
        except asyncio.CancelledError:
            cancelled = True
    if not thread.cancelled():
        thread.exception()
    if cancelled:
        raise asyncio.CancelledError


@router.get("/jobs/{job_id}/refused.csv")
async def refused_csv(
    job_id: str, context: CurrentContext, services: CurrentServices, principal: CurrentPrincipal
) -> Response:
    """The imported file as CSV, a reason beside each row that was refused. Kept for a day, at the
    node that did the job."""
    copy = await _copy(job_id, context.database, services.jobs.folder, principal)
    return FileResponse(copy, media_type="text/csv; charset=utf-8", filename="refused.csv")


@router.get("/jobs/{job_id}/refused.xlsx")
async def refused_xlsx(
    job_id: str, context: CurrentContext, services: CurrentServices, principal: CurrentPrincipal
) -> Response:
    """The same as a workbook."""
    copy = await _copy(job_id, context.database, services.jobs.folder, principal)
    workbook = copy.with_suffix(".xlsx")
    await asyncio.to_thread(annotated_as_xlsx, workbook, copy)
    return FileResponse(workbook, media_type=XLSX, filename="refused.xlsx")


async def _copy(job_id: str, database: Database, root: Path, principal: Principal) -> Path:
    """Raises: NotFound."""
    job = await database.read(lambda c: jobs.get(c, principal, job_id))
    copy = ImportFolders(root).of(job.id).refused
    if not copy.is_file():
        raise NotFound("copy of refused rows", job_id)
    return copy
