"""`hutong adapter new` and `hutong adapter check`: their options. What they do is imported only
when one of them runs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

adapter_app = typer.Typer(help="Adapters as packages of their own.", no_args_is_help=True)


def add_adapter_commands(app: typer.Typer, failed: Callable[[str, int], Exception]) -> None:
    """Put both commands on the command line. failed: makes the error of a sentence and a code."""

    @adapter_app.command("new")
    def new(
        name: Annotated[str, typer.Argument(help="Of the kind: lower-case letters, digits and _.")],
        directory: Annotated[
            Path | None, typer.Option(help="Where to put it; ./hutong-NAME when left out.")
        ] = None,
    ) -> None:
        """Make a package for a new kind of device: settings, wire, adapter, a simulated device
        and the contract, all of which work from the start."""
        from gateway.adapter_commands import CannotMake, WrongName, make_package

        try:
            folder, written = make_package(name, directory)
        except WrongName as error:
            raise failed(str(error), 2) from None
        except CannotMake as error:
            raise failed(str(error), 1) from None
        sys.stdout.write(
            f"{len(written)} files in {folder}. Next:\n"
            f"  pip install -e '{folder}[test]'\n"
            f"  pytest {folder}\n"
            f"  hutong adapter check {name}\n"
        )

    @adapter_app.command("check")
    def check(name: Annotated[str, typer.Argument(help="Of the kind.")]) -> None:
        """Run the contract on an installed package. Exit code 1: it does not keep it; 2: there is
        no such package."""
        from gateway.adapter_commands import check_package

        raise typer.Exit(check_package(name))

    app.add_typer(adapter_app, name="adapter")
