"""`hutong backup` and `hutong restore`: their options. What they do is imported only when one of
them runs."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from gateway.exchange_cli import shell_locale
from gateway.settings import Settings


def add_backup_commands(
    app: typer.Typer, settings: Callable[[], Settings], failed: Callable[[str, int], Exception]
) -> None:
    """Put both commands on the command line. settings: read when one of them runs. failed: makes
    the error of a sentence and a code."""

    @app.command(short_help="Writes all that a gateway needs to be put up again into one file.")
    def backup(
        file: Annotated[Path, typer.Argument(help="Such as hutong-2026-11-22.backup.")],
        force: Annotated[
            bool, typer.Option("--force", help="Replace FILE where there is one.")
        ] = False,
        without_key: Annotated[
            bool,
            typer.Option(
                "--without-key",
                help="Leave the secret key out: FILE alone gives no password away, and without "
                "the key all device passwords must be typed again.",
            ),
        ] = False,
    ) -> None:
        """Registry, record of viewing, journal and secret key, while the gateway runs. FILE opens
        every device: it is made with mode 0600, keep it as you keep a key.

        Run it with the settings of the gateway."""
        from gateway.backup_commands import save_backup
        from gateway.exchange_commands import unusable

        if (why := unusable(None, file)) is not None:
            raise typer.BadParameter(why)
        with _in_words(failed) as language:
            code = save_backup(
                settings(), file, force=force, without_key=without_key, language=language
            )
        raise typer.Exit(code)

    @app.command(short_help="Puts back what a backup holds.")
    def restore(
        file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
        force: Annotated[
            bool,
            typer.Option("--force", help="Replace everything in a database that is not empty."),
        ] = False,
    ) -> None:
        """Put back what a backup of this or an older version holds, into either kind of database.
        All of FILE is verified first; then all of it is restored, or nothing. Gateways must be
        ended.

        Afterwards everybody signs in again. Exit code 3: restored, but device passwords do not
        open with the key that is there."""
        from gateway.backup_commands import restore_backup

        with _in_words(failed) as language:
            code = restore_backup(settings(), file, force=force, language=language)
        raise typer.Exit(code)


@contextlib.contextmanager
def _in_words(failed: Callable[[str, int], Exception]) -> Iterator[str]:
    """Gives the language of the shell, and refuses in it."""
    from registry.backup.refused import BackupRefused
    from registry.exchange.reasons import language_of

    language = language_of(shell_locale())
    try:
        yield language
    except BackupRefused as refused:
        raise failed(refused.text(language), 1) from None
