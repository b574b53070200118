"""The copy of an imported file that says beside each refused row why."""

import csv
from pathlib import Path

from registry.exchange.exporting import guarded
from registry.exchange.files import Format, read_records
from registry.exchange.row_values import FORMULA, text_of
from registry.exchange.staging import Staging

REASON = {"en": "reason", "zh": "原因"}


def write_annotated(
    path: Path, source: Path, kind: Format, staging: Staging, language: str = "en"
) -> None:
    """Write the file's rows as CSV, a column with the reasons in front. Importing the copy, once
    it is put right, does what importing the file would have done."""
    refused = staging.refused()
    following = next(refused, None)
    headers: tuple[str, ...] | None = None
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        for n, record in enumerate(read_records(source, kind), 1):
            if record.headers != headers:
                headers = record.headers
                writer.writerow([REASON[language], *headers])
            reasons = ""
            if following is not None and following.n == n:
                reasons = "; ".join(each.line(language) for each in following.refusals)
                following = next(refused, None)
            cells = ("" if c is None or c is FORMULA else guarded(text_of(c)) for c in record.cells)
            writer.writerow([reasons, *cells])
