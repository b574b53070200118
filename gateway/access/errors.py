"""What can go wrong between a person and the gate.

AccessError
├── NotSignedIn           final       no token, or one that is unknown, over or revoked
├── WrongCredentials      final       the name or the password is wrong; it is not said which
├── UserDisabled          final       the password is right, and the user is disabled
├── TooManyAttempts       retryable   wait `retry_after_s` before the next attempt
├── SignInBusy            retryable   more people sign in at once than there is room for
├── CrossSite             final       another site's page sent this with the user's cookie
├── NotByToken            final       an access token was shown for what only people do
└── Unsealable            final       a secret was sealed with another key, or was tampered with
"""

from typing import ClassVar


class AccessError(Exception):
    """Base of all errors of access. message: one sentence for a person."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotSignedIn(AccessError):
    def __init__(self, message: str = "sign in first") -> None:
        super().__init__(message)


class WrongCredentials(AccessError):
    def __init__(self) -> None:
        super().__init__("the name or the password is wrong")


class UserDisabled(AccessError):
    def __init__(self) -> None:
        super().__init__("this user is disabled: an admin can enable it again")


class TooManyAttempts(AccessError):
    """retry_after_s: whole seconds, at least 1."""

    retryable = True

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many failed attempts: try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class SignInBusy(AccessError):
    retryable = True

    def __init__(self) -> None:
        super().__init__("too many people sign in at this moment: try again")
        self.retry_after_s = 5


class CrossSite(AccessError):
    def __init__(self) -> None:
        super().__init__("this request came from another site's page")


class NotByToken(AccessError):
    def __init__(self) -> None:
        super().__init__("an access token may not do this: whoever opens a way in signs in first")


class Unsealable(AccessError):
    def __init__(self) -> None:
        super().__init__(
            "a stored secret cannot be opened: HUTONG_SECRET_KEY is not the one it was sealed with"
        )
