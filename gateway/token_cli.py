"""`hutong token create`: its options. What it does is imported only when it runs."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer

from gateway.settings import Settings

token_app = typer.Typer(help="Access tokens, by which programs ask.", no_args_is_help=True)


def add_token_commands(
    app: typer.Typer, settings: Callable[[], Settings], failed: Callable[[str, int], Exception]
) -> None:
    """Put the command on the command line. settings: read when it runs. failed: makes the error of
    a sentence and a code."""

    @token_app.callback()
    def token() -> None:
        """Access tokens, by which programs ask."""

    @token_app.command("create", short_help="Make an access token, and print it.")
    def create(
        user: Annotated[str, typer.Option(metavar="USER", help="For whom it acts.")],
        name: Annotated[str, typer.Option(help="What it is for, such as 'nightly export'.")],
        days: Annotated[
            int, typer.Option(min=1, max=366, help="When it ends, at the latest in 366.")
        ] = 90,
        role: Annotated[
            list[str] | None,
            typer.Option(
                metavar="ROLE@ORG",
                help="Carry this and no other, such as viewer@shenhe/wanlian; may be repeated. "
                "All that the user has when left out.",
            ),
        ] = None,
    ) -> None:
        """Make an access token. The token alone goes to standard output, once; everything else to
        standard error."""
        from gateway.token_commands import WrongRole, create_token, roles_of

        try:
            roles = roles_of(role or ())
        except WrongRole as error:
            raise failed(str(error), 2) from None
        asyncio.run(create_token(settings(), user, name, days, roles))

    app.add_typer(token_app, name="token")
