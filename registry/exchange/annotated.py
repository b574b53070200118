"""The copy of an imported file that says beside each refused row why."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from registry.errors import Invalid
from registry.exchange.exporting import MAX_XLSX_ROWS, guarded, write_sheet
from registry.exchange.files import Format, read_blocks
from registry.exchange.row_values import FORMULA, text_of
from registry.exchange.staging import RefusedRow, Staging

REASON = {"en": "reason", "zh": "原因"}


def write_annotated(
    path: Path,
    source: Path,
    kind: Format,
    staging: Staging,
    language: str = "en",
    keep_on: Callable[[], None] = lambda: None,
) -> None:
    """Write the file's rows as CSV, a column with the reasons in front. Importing the copy, once
    it is put right, does what importing the file would have done. keep_on: called now and then;
    raises to stop."""
    refused = staging.refused()
    following = next(refused, None)
    headers: tuple[str, ...] | None = None
    n = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        for block in read_blocks(source, kind):
            keep_on()
            if block.headers != headers:
                headers = block.headers
                writer.writerow([REASON[language], *headers])
            for cells in block.cells:
                n += 1
                reasons = ""
                if following is not None and following.n == n:
                    reasons = _reasons(following, language)
                    following = next(refused, None)
                writer.writerow([reasons, *map(_text, cells)])


def _reasons(row: RefusedRow, language: str) -> str:
    between = "；" if language == "zh" else "; "
    return between.join(each.line(language) for each in row.refusals)


def _text(cell: Any) -> str:
    return "" if cell is None or cell is FORMULA else guarded(text_of(cell))


def annotated_as_xlsx(path: Path, copy: Path) -> None:
    """The copy that `write_annotated` wrote, as a workbook of texts.

    Raises: Invalid where it has more rows than a sheet.
    """

    def rows() -> Iterator[list[str]]:
        with copy.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if number > MAX_XLSX_ROWS:
                    raise Invalid.at("format", f"a sheet has room for {MAX_XLSX_ROWS} rows: csv")
                yield [text_of(cell) for cell in row]

    write_sheet(path, "refused", rows())
