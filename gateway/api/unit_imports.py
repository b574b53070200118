"""Importing units from a file, as a job."""

import asyncio
import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, UploadFile

from gateway.api.background import Progress
from gateway.api.bodies import Reference
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices
from gateway.api.shapes import answer, job_shape
from registry import organizations, unit_import
from registry.errors import Invalid
from registry.exchange.files import Format, format_of
from registry.exchange.reasons import language_of
from registry.exchange.records import FileRefused
from registry.partition import INTEGRATE, require
from registry.unit_file import UnitFile, read_units
from registry.unit_import import UnitReport

router = APIRouter(tags=["radio"])

MAX_BYTES = 15 * 1024 * 1024
MAX_REPORTED = 10_000
"""Reasons that a job's report lists; it counts all refused rows."""


@router.post("/units/import", status_code=202)
async def import_units(
    organization: Annotated[Reference, Query()],
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
    file: UploadFile,
    dry_run: bool = False,
    partial: bool = False,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Read a CSV or XLSX file of units into an organisation, as a job.

    A row is a person: `alias`, `organization`, `priority`, and for each system that they are on a
    column headed by its name or id with their address there. A row whose address a unit has
    already changes that unit. All of it or nothing; with `partial`, its good rows. The report
    lists refused rows, in the language of Accept-Language.
    """
    database = context.database
    home = await database.read(lambda c: organizations.get(c, principal, organization))
    require(principal, INTEGRATE, home.path)
    language = language_of(request.headers.get("accept-language", ""))
    kind = _kind(file, language)
    content = await file.read()

    async def work(progress: Progress) -> Mapping[str, Any]:
        seen = await database.read(lambda c: unit_import.systems_seen(c, principal))
        read = await asyncio.to_thread(_read, content, kind, seen, language)
        await progress(0, read.count, None)
        report = await database.write(
            lambda c: unit_import.import_units(
                c, principal, read, home.id, dry_run=dry_run, partial=partial
            )
        )
        services.nudge()
        await progress(read.count, read.count, None)
        return _shape(report, language)

    job = await services.jobs.start(principal, "import_units", work, idempotency_key)
    location = {"Location": f"/api/v1/jobs/{job.id}"}
    return answer(job_shape(job), status=202, headers=location)


def _kind(file: UploadFile, language: str) -> Format:
    """Raises: Invalid, in the caller's language."""
    try:
        kind = format_of(file.filename or "")
        if (file.size or 0) > MAX_BYTES:
            raise FileRefused("too_large", most=MAX_BYTES >> 20)
    except FileRefused as refused:
        raise Invalid.at("file", refused.text(language)) from None
    if kind == "geojson":
        raise Invalid.at("file", "units come as .csv or .xlsx")
    return kind


def _read(
    content: bytes, kind: Format, systems: tuple[tuple[str, str], ...], language: str
) -> UnitFile:
    with tempfile.NamedTemporaryFile(prefix="hutong-units-") as kept:
        kept.write(content)
        kept.flush()
        try:
            return read_units(Path(kept.name), kind, systems)
        except FileRefused as refused:
            raise Invalid.at("file", refused.text(language)) from None


def _shape(report: UnitReport, language: str) -> dict[str, Any]:
    counts = dataclasses.asdict(dataclasses.replace(report, refusals=()))
    return counts | {
        "ignored_columns": list(report.ignored_columns),
        "refusals": [
            {
                "row": each.row,
                "column": each.column,
                "value": each.value,
                "reason": each.text(language),
            }
            for each in report.refusals[:MAX_REPORTED]
        ],
    }
