"""What `hutong import points` and `hutong export points` do."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from gateway.progress import progress_bar
from gateway.settings import Settings
from gateway.startup import open_database, prepare_data_dir
from registry.database import Database
from registry.errors import Invalid
from registry.exchange.coordinates import System
from registry.exchange.files import format_of
from registry.exchange.importing import run_import
from registry.exchange.records import FileRefused
from registry.exchange.report import Document, refusal_documents, report_document
from registry.exchange.staging import Staging
from registry.exchange.summary import SHOWN, summary
from registry.partition import SYSTEM
from registry.point_lists import PointFilter

T = TypeVar("T")

DONE, FAILED, IN_PART = 0, 1, 3


def with_database(settings: Settings, work: Callable[[Database], T]) -> T:
    prepare_data_dir(settings)
    database = open_database(settings)
    try:
        asyncio.run(database.upgrade())
        return work(database)
    finally:
        database.close_now()


def import_file(
    database: Database,
    file: Path,
    organization: str,
    *,
    dry_run: bool = False,
    partial: bool = False,
    system: System | None = None,
    report: Path | None = None,
    copy: Path | None = None,
    language: str = "en",
    folder_of_imports: Path | None = None,
) -> int:
    """Import a file as the gateway itself; gives the exit code. folder_of_imports: where it is
    staged, with room for three times the file; None for the system's own place for such things.

    Raises: RegistryError, OSError.
    """
    kind = format_of(file.name)
    if folder_of_imports is not None:
        folder_of_imports.mkdir(exist_ok=True)
    staged = tempfile.TemporaryDirectory(prefix="command-", dir=folder_of_imports)
    with staged as folder, progress_bar() as bar:
        staging = Staging(Path(folder) / "staging.db")
        try:
            reading = bar.add_task("read", total=None)
            try:
                staging.fill(file, kind, system, lambda rows: bar.update(reading, completed=rows))
            except FileRefused as refused:
                raise Invalid.at("file", refused.text(language)) from None
            bar.update(reading, total=staging.total, completed=staging.total)
            writing = bar.add_task("check and write", total=None)
            done = run_import(
                database,
                SYSTEM,
                staging,
                organization,
                dry_run=dry_run,
                partial=partial,
                keep_on=lambda: bar.advance(writing),
            )
            shape = report_document(done, staging, staging.refused(SHOWN), language)
            if report is not None:
                write_report(report, shape, staging, language)
            if copy is not None:
                from registry.exchange.annotated import write_annotated

                with replacing(copy) as path:
                    write_annotated(path, file, kind, staging, language)
        finally:
            staging.close()
    for line in summary(shape, language, dry_run=dry_run):
        sys.stdout.write(line + "\n")
    if not done.refused:
        return DONE
    return IN_PART if done.applied else FAILED


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside that one, which takes its place once it is whole; else it goes, and what was
    there before stays."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def unusable(read: Path | None, *written: Path | None) -> str | None:
    """Why files cannot be written before anything is done, None where they can be. read: the file
    that is read meanwhile."""
    seen = set() if read is None else {read.resolve()}
    for path in written:
        if path is None:
            continue
        if path.resolve() in seen:
            return f"{path} is named twice, and would be overwritten"
        seen.add(path.resolve())
        if path.is_dir():
            return f"{path} is a folder"
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}"
        if not os.access(path.parent, os.W_OK):
            return f"the folder {path.parent} cannot be written to"
    return None


def write_report(path: Path, shape: Document, staging: Staging, language: str) -> None:
    """The report with all refusals, a row at a time, as a file can have a million."""
    begin = json.dumps({**shape, "refusals": []}, ensure_ascii=False, indent=1)
    head, tail = begin.rsplit("[]", 1)
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        between = ""
        file.write(f"{head}[")
        for row in staging.refused():
            for refusal in refusal_documents(row, language):
                file.write(f"{between}\n  {json.dumps(refusal, ensure_ascii=False)}")
                between = ","
        file.write(f"]{tail}\n")


def export_file(database: Database, file: Path, organization: str | None = None) -> int:
    """Write the points to a file; gives how many. What was there before stays until all is
    written. Raises: RegistryError, OSError."""
    wanted = PointFilter(organization=organization)
    # An import that needs no openpyxl does not wait until it is loaded.
    from registry.exchange.exporting import (
        check_fits,
        csv_lines,
        exported,
        geojson_pieces,
        row_of,
        write_xlsx,
    )

    kind = format_of(file.name)
    if kind == "xlsx":
        check_fits(database, SYSTEM, wanted)
    count = 0
    with progress_bar() as bar:
        task = bar.add_task("write", total=None)

        def rows() -> Iterator[dict[str, object]]:
            nonlocal count
            for point in exported(database, SYSTEM, wanted):
                count += 1
                bar.update(task, completed=count)
                yield row_of(point)

        with replacing(file) as beside:
            if kind == "xlsx":
                write_xlsx(beside, rows())
            else:
                _write(beside, csv_lines(rows()) if kind == "csv" else geojson_pieces(rows()))
    return count


def _write(file: Path, pieces: Iterable[str]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        opened.writelines(pieces)
