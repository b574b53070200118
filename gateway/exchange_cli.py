"""`hutong import points` and `hutong export points`: their options. What they do is imported only
when one of them runs."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gateway.settings import Settings

import_app = typer.Typer(help="Take points in from files.", no_args_is_help=True)
export_app = typer.Typer(help="Write points to files.", no_args_is_help=True)


def add_exchange_commands(app: typer.Typer, settings: Callable[[], Settings]) -> None:
    """Put both commands on the command line. settings: read when one of them runs."""

    @import_app.command("points")
    def import_points(
        file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
        organization: Annotated[
            str, typer.Option("--organization", "-o", help="Slug path, such as shenhe/wanlian.")
        ],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be.")] = False,
        partial: Annotated[
            bool, typer.Option("--partial", help="Keep the good rows of a file with bad ones.")
        ] = False,
        coordinates: Annotated[
            str | None, typer.Option(help="wgs84, gcj02 or bd09; else what the header says.")
        ] = None,
        report: Annotated[
            Path | None, typer.Option(help="Write the report there, as JSON.")
        ] = None,
        copy: Annotated[
            Path | None, typer.Option(help="Write the rows there as CSV, each with its reason.")
        ] = None,
    ) -> None:
        """CSV, XLSX or GeoJSON by suffix. Exit code 1: nothing was written; 3: a part was."""
        gc.disable()  # what is loaded here stays, and looking at it again and again takes a while
        from gateway.exchange_commands import import_file, unusable, with_database
        from registry.exchange.coordinates import SYSTEMS
        from registry.exchange.files import format_of
        from registry.exchange.reasons import language_of
        from registry.exchange.records import FileRefused

        gc.freeze()
        gc.enable()
        language = language_of(shell_locale())
        try:
            format_of(file.name)
        except FileRefused as refused:
            raise typer.BadParameter(refused.text(language)) from None
        if (why := unusable(file, report, copy)) is not None:
            raise typer.BadParameter(why)
        if coordinates is not None and coordinates not in SYSTEMS:
            raise typer.BadParameter(f"must be one of {', '.join(SYSTEMS)}")
        current = settings()
        code = with_database(
            current,
            lambda database: import_file(
                database,
                file,
                organization,
                dry_run=dry_run,
                partial=partial,
                system=next((each for each in SYSTEMS if each == coordinates), None),
                report=report,
                copy=copy,
                language=language,
                folder_of_imports=current.data_dir / "imports",
            ),
        )
        raise typer.Exit(code)

    @export_app.command("points")
    def export_points(
        file: Path,
        organization: Annotated[
            str | None, typer.Option("--organization", "-o", help="Only those at or below it.")
        ] = None,
    ) -> None:
        """CSV, XLSX or GeoJSON by suffix."""
        from gateway.exchange_commands import export_file, unusable, with_database
        from registry.exchange.files import format_of
        from registry.exchange.reasons import language_of
        from registry.exchange.records import FileRefused

        language = language_of(shell_locale())
        try:
            format_of(file.name)
        except FileRefused as refused:
            raise typer.BadParameter(refused.text(language)) from None
        if (why := unusable(None, file)) is not None:
            raise typer.BadParameter(why)
        count = with_database(settings(), lambda db: export_file(db, file, organization))
        said = "{} points written to {}", "已将 {} 个点位写入 {}"
        sys.stdout.write(said[language == "zh"].format(count, file) + "\n")

    app.add_typer(import_app, name="import")
    app.add_typer(export_app, name="export")


def shell_locale() -> str:
    """In which language the shell wants to be spoken to."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    return next((value for name in names if (value := os.environ.get(name))), "")
