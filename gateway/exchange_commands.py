"""What `hutong import points` and `hutong export points` do."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.settings import Settings
from gateway.startup import open_database, prepare_data_dir
from registry.database import Database
from registry.errors import Invalid
from registry.exchange.coordinates import System
from registry.exchange.files import format_of
from registry.exchange.importing import run_import
from registry.exchange.records import FileRefused
from registry.exchange.report import report_document
from registry.exchange.staging import Staging
from registry.partition import SYSTEM
from registry.point_lists import PointFilter

T = TypeVar("T")

DONE, FAILED, IN_PART = 0, 1, 3
SHOWN = 20


def with_database(settings: Settings, work: Callable[[Database], T]) -> T:
    prepare_data_dir(settings)
    database = open_database(settings)
    try:
        asyncio.run(database.upgrade())
        return work(database)
    finally:
        database.close_now()


def _bar() -> Progress:
    """On standard error, where only a person sees it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


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

    Raises: RegistryError.
    """
    kind = format_of(file.name)
    if folder_of_imports is not None:
        folder_of_imports.mkdir(exist_ok=True)
    staged = tempfile.TemporaryDirectory(prefix="command-", dir=folder_of_imports)
    with staged as folder, _bar() as bar:
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
            shape = report_document(done, staging, staging.refused(), language)
            if report is not None:
                report.write_text(json.dumps(shape, ensure_ascii=False, indent=1) + "\n", "utf-8")
            if copy is not None:
                from registry.exchange.annotated import write_annotated

                write_annotated(copy, file, kind, staging, language)
        finally:
            staging.close()
    for line in _summary(shape, dry_run=dry_run):
        sys.stdout.write(line + "\n")
    if not done.refused:
        return DONE
    return IN_PART if done.applied else FAILED


def _summary(shape: dict[str, object], *, dry_run: bool) -> Iterator[str]:
    refusals = shape["refusals"]
    listed = refusals if isinstance(refusals, list) else []
    for each in listed[:SHOWN]:
        where = f"{each['sheet']} " if each["sheet"] else ""
        value = f" {each['value']!r}" if each["value"] else ""
        column = each["column"] or each["field"]
        yield f"{where}row {each['row']}, {column}{value}: {each['reason']}"
    if len(listed) > SHOWN:
        yield f"and {len(listed) - SHOWN} more"
    ignored = shape["ignored_columns"]
    if isinstance(ignored, list) and ignored:
        yield f"columns left out: {', '.join(ignored)}"
    outside = shape["outside"]
    if isinstance(outside, dict) and outside["count"]:
        others = ", ".join(f"{name}: {n}" for name, n in outside["would_be_inside"].items())
        hint = f"; inside if they were in another system: {others}" if others else ""
        yield f"{outside['count']} rows lie outside the box of {outside['whose']}{hint}"
    counted = ", ".join(f"{shape[name]} {name}" for name in ("created", "updated", "unchanged"))
    ending = " (nothing was written)" if dry_run or not shape["applied"] else ""
    yield f"{counted}, {shape['refused']} refused{ending}"


def export_file(database: Database, file: Path, organization: str | None = None) -> int:
    """Write the points to a file; gives how many. Raises: RegistryError."""
    # An import that needs no openpyxl does not wait until it is loaded.
    from registry.exchange.exporting import csv_lines, exported, geojson_pieces, row_of, write_xlsx

    kind = format_of(file.name)
    count = 0
    with _bar() as bar:
        task = bar.add_task("write", total=None)

        def rows() -> Iterator[dict[str, object]]:
            nonlocal count
            for point in exported(database, SYSTEM, PointFilter(organization=organization)):
                count += 1
                bar.update(task, completed=count)
                yield row_of(point)

        if kind == "xlsx":
            write_xlsx(file, rows())
        else:
            _write(file, csv_lines(rows()) if kind == "csv" else geojson_pieces(rows()))
    return count


def _write(file: Path, pieces: Iterable[str]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        opened.writelines(pieces)
