"""What became of a file, as JSON tells it."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from registry.exchange.importing import ImportReport
from registry.exchange.staging import RefusedRow, Staging

Document = dict[str, Any]


def report_document(
    report: ImportReport,
    staging: Staging,
    refused: Iterable[RefusedRow],
    language: str,
    copy: str | None = None,
) -> Document:
    """What became of a file, for a job's report and the command line. copy: where the file is
    with the reasons of all its refused rows."""
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
        "refused_copy": copy,
        "refusals": [each for row in refused for each in refusal_documents(row, language)],
    }


def refusal_documents(row: RefusedRow, language: str) -> list[Document]:
    """Why a row is refused."""
    return [
        {
            "sheet": row.sheet,
            "row": row.row,
            "column": each.column,
            "field": each.field,
            "value": each.value,
            "reason": each.text(language),
        }
        for each in row.refusals
    ]
